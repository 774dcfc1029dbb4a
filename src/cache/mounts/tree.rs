//! What is in a saved folder: its entries, and where the chunks of their content are.
//!
//! The contents of all files, one after the other in the order of their paths, are one stream, which is cut into chunks where
//! the content says. So a hundred thousand small files are no hundred thousand chunks, and a change moves those chunks alone
//! that it is in. A file says where in the stream it starts; what no file says belongs to nobody.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CacheError;
use crate::layer::{Entry, EntryKind, Listed, Toc};
use crate::oci::Digest;

/// More than the tree of any folder that is worth moving has: a bound for what reading it takes.
const MAX_UNPACKED: u64 = 128 << 20;
const VERSION: u32 = 1;
const ZSTD_LEVEL: i32 = 3;

/// Bytes of a chunk: the least, on average, the most.
pub(super) const CHUNK: [usize; 3] = [8 << 10, 32 << 10, 128 << 10];

/// The content of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    version: u32,
    entries: Vec<(Entry, u32)>,
    /// The stream.
    chunks: Vec<Chunk>,
}

/// A piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    /// Digest of its content.
    pub(super) digest: Digest,
    /// Bytes of content.
    pub(super) length: u32,
    /// Which of the folder's packs it is in.
    pub(super) pack: u32,
    /// Where in the pack it starts.
    pub(super) start: u32,
    /// Bytes that it takes there.
    pub(super) packed: u32,
}

impl Tree {
    pub(super) fn new(listed: Vec<Listed>, chunks: Vec<Chunk>) -> Self {
        let entries = listed.into_iter().map(|one| (one.entry, one.nanos));
        Self {
            version: VERSION,
            entries: entries.collect(),
            chunks,
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        let sizes = self.entries.iter().map(|(entry, _)| size(entry));
        sizes.fold(0, u64::saturating_add)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, CacheError> {
        let failed = |source| CacheError::Read {
            what: "the list of a folder",
            source,
        };
        let plain = postcard::to_extend(self, Vec::with_capacity(128 * self.entries.len()))
            .map_err(|error| failed(std::io::Error::other(error)))?;
        zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(failed)
    }

    /// Reads a tree. The table of contents that comes with it has clean paths, each in a directory of the table, so that nothing
    /// outside can be named; there are no devices; every file is within the stream, one after the other.
    pub(super) fn decode(bytes: &[u8], id: &str) -> Result<Decoded, CacheError> {
        use std::io::Read as _;
        let wrong = |reason: &str| CacheError::Mount {
            id: id.to_owned(),
            reason: reason.to_owned(),
        };
        let mut plain = Vec::new();
        zstd::stream::read::Decoder::with_buffer(bytes)
            .and_then(|decoder| decoder.take(MAX_UNPACKED + 1).read_to_end(&mut plain))
            .map_err(|_| wrong("its list is damaged"))?;
        if plain.len() as u64 > MAX_UNPACKED {
            return Err(wrong("its list is too large"));
        }
        let tree: Self =
            postcard::from_bytes(&plain).map_err(|_| wrong("its list is of another form"))?;
        if tree.version != VERSION {
            return Err(wrong("it was saved by another version of builder"));
        }
        let (entries, nanos) = tree
            .entries
            .into_iter()
            .map(|(entry, nanos)| (entry, nanos.min(999_999_999)))
            .unzip();
        let toc = Toc::from_sorted(entries)
            .map_err(|_| wrong("its list has paths that no folder has"))?;
        let decoded = Decoded {
            toc,
            nanos,
            chunks: tree.chunks,
        };
        decoded.check().map_err(wrong)?;
        Ok(decoded)
    }
}

/// A tree that was read and can be relied on.
#[derive(Debug)]
pub(super) struct Decoded {
    /// What is in the folder; files say where they start in the stream.
    pub(super) toc: Toc,
    /// For each entry the part of its time that it has no room for.
    pub(super) nanos: Vec<u32>,
    /// The stream.
    pub(super) chunks: Vec<Chunk>,
}

impl Decoded {
    fn check(&self) -> Result<(), &'static str> {
        let toc = &self.toc;
        let lengths = self.chunks.iter().map(|chunk| u64::from(chunk.length));
        let stream = lengths.fold(0, u64::saturating_add);
        if self
            .chunks
            .iter()
            .any(|chunk| chunk.length as usize > CHUNK[2])
        {
            return Err("a chunk is too large");
        }
        let mut end = 0;
        for entry in toc.entries() {
            match &entry.kind {
                EntryKind::Directory {
                    opaque: false,
                    implied: false,
                }
                | EntryKind::Symlink { .. }
                | EntryKind::Fifo => {}
                EntryKind::File { size, offset, .. } => {
                    let inside = *offset >= end
                        && offset.checked_add(*size).is_some_and(|end| end <= stream);
                    if !inside {
                        return Err("a file is not in its content");
                    }
                    end = offset + size;
                }
                EntryKind::HardLink { target } => {
                    let is_file = |entry: &Entry| !entry.is_directory();
                    if !toc.get(target).is_some_and(is_file) {
                        return Err("a hard link leads to nothing");
                    }
                }
                _ => return Err("it has devices in it"),
            }
        }
        match toc.get(Path::new("")) {
            Some(_) => Ok(()),
            None => Err("it says nothing of the folder itself"),
        }
    }
}

fn size(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: Vec<Entry>, bytes: u32) -> Tree {
        let listed = entries.into_iter().map(|entry| Listed { entry, nanos: 5 });
        let chunk = Chunk {
            digest: Digest::of("x"),
            length: bytes,
            pack: 0,
            start: 0,
            packed: bytes,
        };
        Tree::new(listed.collect(), vec![chunk])
    }

    fn file(path: &str, offset: u64, size: u64) -> Entry {
        let kind = EntryKind::File {
            size,
            digest: Digest::of(""),
            offset,
            sparse: false,
        };
        Entry::new(path, kind, 0o644)
    }

    #[test]
    fn hostile_trees_are_refused() {
        let root = || Entry::new("", EntryKind::directory(), 0o755);
        let link = |target: &str| EntryKind::HardLink {
            target: target.into(),
        };
        let check = |entries: Vec<Entry>, bytes| {
            let bytes = tree(entries, bytes).encode().unwrap();
            Tree::decode(&bytes, "id").map(|tree| tree.toc.content_size())
        };
        let good = vec![
            root(),
            file("a", 2, 3),
            file("b", 5, 5),
            Entry::new("c", link("a"), 0o644),
        ];
        assert_eq!(check(good, 10).unwrap(), 8);
        let device = EntryKind::BlockDevice { major: 8, minor: 0 };
        for (entries, bytes) in [
            (vec![root(), file("../a", 0, 1)], 10),
            (vec![root(), file("/a", 0, 1)], 10),
            (vec![root(), file("a/b", 0, 1)], 10),
            (vec![root(), file("a", 0, 11)], 10),
            (vec![root(), file("a", u64::MAX, 2)], 10),
            (vec![root(), file("a", 5, 5), file("b", 0, 5)], 10),
            (vec![root(), Entry::new("a", device, 0o644)], 10),
            (vec![root(), Entry::whiteout("a")], 10),
            (
                vec![root(), Entry::new("a", link("/etc/passwd"), 0o644)],
                10,
            ),
            (vec![root(), Entry::new("a", link(""), 0o644)], 10),
            (vec![file("a", 0, 1)], 10),
            (vec![root()], 1 << 30),
        ] {
            let names: Vec<_> = entries.iter().map(|e| e.path.clone()).collect();
            assert!(check(entries, bytes).is_err(), "{names:?}");
        }
        assert!(Tree::decode(b"nonsense", "id").is_err());
    }
}
