//! Whether a file is an archive that `ADD` unpacks: by its content, never by its name.

use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use super::decompress::Packing;
use super::error::Result;
use super::tar_read::TarReader;
use crate::fsio::{self, Context as _};

/// The uncompressed tar in the file at `path`, if it is one: plain, or packed with gzip, bzip2, xz or zstd, with at
/// least one entry that can be read. Whatever else it is, damaged archives included, is just a file.
///
/// # Errors
/// Opening and reading the file itself.
pub fn open_archive(path: impl AsRef<Path>) -> Result<Option<Box<dyn Read + Send>>> {
    let path = path.as_ref();
    let mut file = fsio::open(path)?;
    let mut start = [0; 8];
    let mut filled = 0;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).context("read", path)? {
            0 => break,
            count => filled += count,
        }
    }
    let packing = Packing::of(start.get(..filled).unwrap_or_default());
    file.seek(SeekFrom::Start(0)).context("read", path)?;
    let has_entry = match packing.unpack(&mut file) {
        Ok(unpacked) => matches!(
            TarReader::new(BufReader::new(unpacked)).next_entry(),
            Ok(Some(_))
        ),
        Err(_) => false,
    };
    if !has_entry {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0)).context("read", path)?;
    Ok(Some(packing.unpack(file).context("read", path)?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::layer::{Entry, EntryKind, TarWriter};

    fn is_archive(bytes: &[u8]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whatever.zip");
        fsio::write_atomic(&path, bytes, fsio::Durability::Cached).unwrap();
        match open_archive(&path).unwrap() {
            Some(mut source) => {
                let mut unpacked = Vec::new();
                source.read_to_end(&mut unpacked).unwrap();
                assert_eq!(unpacked, tar());
                true
            }
            None => false,
        }
    }

    fn tar() -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        let entry = Entry::new("a", EntryKind::file(3), 0o644);
        writer.append(entry, Some(&mut &b"abc"[..])).unwrap();
        writer.finish().unwrap().1
    }

    #[test]
    fn archives_are_known_by_content() {
        let tar = tar();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&tar).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar).unwrap();
        let zstd = zstd::bulk::compress(&tar, 1).unwrap();
        for bytes in [
            &tar,
            &gzip,
            &bzip2.finish().unwrap(),
            &xz.finish().unwrap(),
            &zstd,
        ] {
            assert!(is_archive(bytes));
        }
        let packed_text = zstd::bulk::compress(b"just text", 1).unwrap();
        let empty_tar = [0; 1024];
        for bytes in [
            &b""[..],
            b"text",
            &tar[..511],
            &gzip[..20],
            &packed_text,
            &empty_tar,
        ] {
            assert!(!is_archive(bytes));
        }
    }
}
