//! Archives as trees: entries in order, owned by root, confined to the tree.

use std::io::Read;
use std::path::Path;

use super::http::open_archive;
use super::tree::Facts;
use super::{FetchError, Fetcher};
use crate::fsio::{self, HashingWriter};
use crate::layer::{self, ContentSource, Entry, EntryKind, Markers};
use crate::oci::{Digest, Hasher};
use crate::store::FetchedRecord;

impl Fetcher {
    /// An archive on the local disk. It is known by its content, wherever it lies.
    pub(super) fn archive(&self, path: &Path) -> Result<FetchedRecord, FetchError> {
        let name = path.display().to_string();
        let content = self.digest_of(path)?;
        let mut hasher = Hasher::new("archive");
        hasher.field(content.as_bytes());
        let key = hasher.finish();
        if let Some(known) = self.remembered(key) {
            return Ok(known);
        }
        let _lock = self.lock(key)?;
        if let Some(known) = self.remembered(key) {
            return Ok(known);
        }
        let Some(plain) = open_archive(&name, path)? else {
            return Err(FetchError::NotAnArchive(name));
        };
        let facts = Facts {
            content: Some(content),
            ..Facts::default()
        };
        self.unpack(key, &name, plain, facts)
    }

    /// Keeps what is in an uncompressed tar as a tree. Files are read again when the layer is written, each from its place in
    /// the tar, since its order may be any.
    pub(super) fn unpack(
        &self,
        key: Digest,
        name: &str,
        mut plain: Box<dyn Read + Send>,
        mut facts: Facts,
    ) -> Result<FetchedRecord, FetchError> {
        let unfit = |source| FetchError::Unfit {
            name: name.to_owned(),
            source,
        };
        let scratch = self.store.scratch()?;
        let path = scratch.path().join("plain");
        let mut file = fsio::create(&path)?;
        // What decompresses reads and names no file; what fails then is the archive, not the disk.
        let broken = |source| {
            let path = name.into();
            unfit(layer::Error::ReadContent { path, source })
        };
        let on_disk = |source| fsio::Error::new("unpack to", &path, source).into();
        self.copy(&mut plain, &mut file, &broken, &on_disk)?;
        drop(file);
        let read = layer::read_tar(fsio::open(&path)?, Markers::Names, None).map_err(unfit)?;
        let originals: Vec<&Entry> = read
            .toc
            .entries()
            .iter()
            .filter(|entry| !entry.is_implied())
            .collect();
        let entries: Vec<Entry> = originals.iter().copied().map(of_root).collect();
        // A source that has no time of its own is as old as the newest thing in it.
        facts.time = facts.time.or_else(|| newest(&entries));
        let content = ContentSource::Tar(path);
        let open = |index: usize| {
            let reader = content.open(originals[index]).map_err(unfit)?;
            Ok(reader as Box<dyn Read>)
        };
        self.keep(key, name, &entries, &open, facts)
    }

    /// Digest of a file on the local disk.
    fn digest_of(&self, path: &Path) -> Result<Digest, FetchError> {
        let mut writer = HashingWriter::new(std::io::sink());
        let failed = |source| fsio::Error::new("read", path, source).into();
        self.copy(&mut fsio::open(path)?, &mut writer, &failed, &failed)?;
        Ok(Digest::from_bytes(writer.finish().0))
    }
}

/// What is offered to COPY belongs to root, whoever packed it.
fn of_root(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    (entry.uid, entry.gid) = (0, 0);
    entry
        .xattrs
        .retain(|name, _| name == b"security.capability" || name.starts_with(b"user."));
    if let EntryKind::File { size, .. } = entry.kind {
        entry.kind = EntryKind::file(size);
    }
    entry
}

fn newest(entries: &[Entry]) -> Option<i64> {
    entries.iter().map(|entry| entry.mtime).max()
}
