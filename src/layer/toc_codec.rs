//! Tables of contents on disk, and the identity of what they list.
//!
//! A file is `magic ‖ version ‖ length ‖ sha256(length ‖ payload) ‖ payload`; the payload is the postcard form of the
//! entries, compressed with zstd. The hash is checked before anything is unpacked.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

use super::entry::{Entry, EntryKind};
use super::error::{Error, Result, TocProblem};
use super::toc::Toc;
use crate::oci::{Digest, Hasher};

const MAGIC: &[u8; 8] = b"layertoc";
const VERSION: u32 = 1;
/// More than any layer that can be read has (see `toc_builder`), so a bound for what decoding allocates.
const MAX_UNPACKED: u64 = 1 << 30;
/// Names compress well even at the fastest setting, and digests not at all.
const ZSTD_LEVEL: i32 = 1;

impl Toc {
    /// The compact form for the disk; the same table always gives the same bytes.
    ///
    /// # Errors
    /// Only what the compressor reports.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let failed = |error: postcard::Error| Error::EncodeToc(std::io::Error::other(error));
        let plain = postcard::to_extend(self.entries(), Vec::with_capacity(128 * self.len()));
        let plain = plain.map_err(failed)?;
        let payload = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(Error::EncodeToc)?;
        let length = (plain.len() as u64).to_le_bytes();
        let mut bytes = Vec::with_capacity(payload.len() + 52);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(checksum(&length, &payload).as_bytes());
        bytes.extend_from_slice(&payload);
        Ok(bytes)
    }

    /// Reads the compact form.
    ///
    /// # Errors
    /// Bytes that [`Toc::encode`] of this version did not write, down to the last bit.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::DecodeToc(TocProblem::Damaged);
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or(Error::DecodeToc(TocProblem::Magic))?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(Error::DecodeToc(TocProblem::Version(version)));
        }
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (sum, payload) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
        let unpacked = u64::from_le_bytes(*length);
        if checksum(length, payload).as_bytes() != sum || unpacked > MAX_UNPACKED {
            return Err(damaged());
        }
        let mut plain = Vec::new();
        zstd::stream::read::Decoder::with_buffer(payload)
            .and_then(|decoder| decoder.take(unpacked).read_to_end(&mut plain))
            .map_err(|_| damaged())?;
        let entries: Vec<Entry> = postcard::from_bytes(&plain).map_err(|_| damaged())?;
        Self::from_sorted(entries)
    }

    /// The identity of what the layer contains: all of the table but times and places in the tar, so that a step that
    /// made the same files at another time made the same content. A directory that is only implied counts by its name.
    #[must_use]
    pub fn content_id(&self) -> Digest {
        let mut hasher = Hasher::new("layer content 1");
        let mut record = Vec::with_capacity(256);
        for entry in self.entries() {
            record.clear();
            write_canonical(entry, &mut record);
            hasher.field(&record);
        }
        hasher.finish()
    }
}

fn checksum(length: &[u8; 8], payload: &[u8]) -> Digest {
    let mut hasher = Hasher::new("layer toc file");
    hasher.field(length);
    hasher.field(payload);
    hasher.finish()
}

/// The bytes that stand for an entry in a content ID: every field of variable length carries its length.
fn write_canonical(entry: &Entry, record: &mut Vec<u8>) {
    let field = |record: &mut Vec<u8>, bytes: &[u8]| {
        record.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        record.extend_from_slice(bytes);
    };
    field(record, entry.path.as_os_str().as_bytes());
    match &entry.kind {
        EntryKind::File { size, digest, .. } => {
            record.push(b'f');
            record.extend_from_slice(&size.to_le_bytes());
            record.extend_from_slice(digest.as_bytes());
        }
        EntryKind::Directory { opaque, implied } => {
            record.extend_from_slice(&[b'd', u8::from(*opaque)]);
            if *implied {
                return;
            }
        }
        EntryKind::Symlink { target } => {
            record.push(b'l');
            field(record, target.as_os_str().as_bytes());
        }
        EntryKind::HardLink { target } => {
            record.push(b'h');
            field(record, target.as_os_str().as_bytes());
        }
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            let is_char = matches!(entry.kind, EntryKind::CharDevice { .. });
            record.push(if is_char { b'c' } else { b'b' });
            record.extend_from_slice(&major.to_le_bytes());
            record.extend_from_slice(&minor.to_le_bytes());
        }
        EntryKind::Fifo => record.push(b'p'),
        EntryKind::Whiteout => {
            record.push(b'w');
            return;
        }
    }
    for number in [entry.mode, entry.uid, entry.gid] {
        record.extend_from_slice(&number.to_le_bytes());
    }
    for (name, value) in &entry.xattrs {
        field(record, name);
        field(record, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change<'a> = &'a dyn Fn(&mut Vec<Entry>);

    /// One entry of each kind, with a name that is no UTF-8.
    fn sample() -> Toc {
        use EntryKind::{BlockDevice, CharDevice, Fifo, HardLink, Symlink};
        let file = EntryKind::File {
            size: 3,
            digest: Digest::of(b"abc"),
            offset: 512,
            sparse: false,
        };
        let target = || "a".into();
        let mut entries = vec![
            Entry::new("a", file, 0o4755),
            Entry::implied_directory("b"),
            Entry::new("b/\u{1}", Symlink { target: target() }, 0o777),
            Entry::new("b/l", HardLink { target: target() }, 0o4755),
            Entry::new("c", CharDevice { major: 1, minor: 3 }, 0o666),
            Entry::new("d", BlockDevice { major: 8, minor: 0 }, 0o660),
            Entry::new("e", Fifo, 0o600),
            Entry::whiteout("f"),
            Entry::new(super::super::entry::path_from(*b"g\xff"), Fifo, 0o600),
        ];
        entries[0].xattrs.insert(b"user.x".to_vec(), vec![0, 10]);
        entries[0].mtime = -5;
        Toc::from_sorted(entries).unwrap()
    }

    #[test]
    fn round_trip_and_every_damage_is_found() {
        let toc = sample();
        let bytes = toc.encode().unwrap();
        assert_eq!(Toc::decode(&bytes).unwrap(), toc);
        assert_eq!(
            Toc::decode(&Toc::default().encode().unwrap()).unwrap(),
            Toc::default()
        );
        for cut in 0..bytes.len() {
            assert!(Toc::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Toc::decode(&bad).is_err(), "bit flipped at {at}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Toc::decode(&longer).is_err());
    }

    #[test]
    fn a_right_checksum_does_not_make_a_lie_true() {
        let plain = postcard::to_stdvec(&vec![Entry::whiteout("../x")]).unwrap();
        let payload = zstd::bulk::compress(&plain, 1).unwrap();
        let length = (plain.len() as u64).to_le_bytes();
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes(), &length].concat();
        bytes.extend_from_slice(checksum(&length, &payload).as_bytes());
        bytes.extend_from_slice(&payload);
        let error = Toc::decode(&bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the table of contents: inconsistent at `../x`"
        );
    }

    #[test]
    fn content_id_ignores_time_and_place_and_nothing_else() {
        let id = |change: Change| {
            let mut entries = sample().entries().to_vec();
            change(&mut entries);
            Toc::from_sorted(entries).unwrap().content_id()
        };
        let original = sample().content_id();
        let place = |entries: &mut Vec<Entry>| {
            if let EntryKind::File { offset, sparse, .. } = &mut entries[0].kind {
                (*offset, *sparse) = (9, true);
            }
        };
        assert_eq!(id(&place), original);
        assert_eq!(id(&|e| e.iter_mut().for_each(|e| e.mtime = 7)), original);
        // The mode of an implied directory is nobody's statement.
        assert_eq!(id(&|e| e[1].mode = 0o700), original);
        let changes: [Change; 7] = [
            &|e| e[0].mode = 0o755,
            &|e| e[0].uid = 1,
            &|e| e[0].gid = 1,
            &|e| e[0].xattrs.clear(),
            &|e| e[1].kind = EntryKind::directory(),
            &|e| e[4].kind = EntryKind::BlockDevice { major: 1, minor: 3 },
            &|e| drop(e.pop()),
        ];
        for (number, change) in changes.iter().enumerate() {
            assert_ne!(id(change), original, "change {number}");
        }
        assert_ne!(Toc::default().content_id(), original);
    }
}
