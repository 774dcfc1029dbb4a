//! The digest of what a COPY takes from a context: names, types, modes, link targets, devices, attributes, content.
//!
//! Not part of it: times and owners, which a copy sets or which say nothing about content, and where in the context
//! the files are. Files are hashed on a few threads, a bounded batch at a time.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::listing::ListingBuilder;
use super::local::xattrs_of;
use super::stat_index::Known;
use super::{
    ContextError, Entry, EntryKind, Listing, LocalContext, PatternList, Stamp, StatIndex, Xattrs,
};
use crate::fsio::{Context as _, HashingReader};
use crate::oci::{Digest, Hasher};

/// Entries that are hashed together; bounds the memory.
const BATCH: usize = 4096;

/// How much of a source is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What is in a directory, without the directory; for anything else, itself. What COPY does.
    Contents,
    /// The entry and everything below it.
    Whole,
    /// The entry and nothing below it: a directory on the way to a source of `COPY --parents`.
    Alone,
}

/// One source of a COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What is there.
    pub entry: Entry,
    /// What it is called in the digest: the base name for a file, empty for a directory whose contents are taken,
    /// the path below the destination for `COPY --parents`.
    pub name: PathBuf,
    /// How much of it.
    pub reach: Reach,
}

impl Source {
    /// The source of an ordinary COPY: a file by the last component of `named`, or the contents of a directory.
    #[must_use]
    pub fn new(entry: Entry, named: &Path) -> Self {
        let name = match entry.is_directory() {
            true => PathBuf::new(),
            false => named.file_name().unwrap_or_default().into(),
        };
        Self {
            entry,
            name,
            reach: Reach::Contents,
        }
    }
}

/// Everything that one COPY, ADD or bind mount takes from a context.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// In the order of the instruction; the matches of a wildcard sorted.
    pub sources: Vec<Source>,
    /// `--exclude`, relative to each source directory.
    pub exclude: PatternList,
}

/// The digest of a selection and what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeDigest {
    /// The digest.
    pub digest: Digest,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// The paths, to tell later which of them changed.
    pub listing: Listing,
}

/// Hashes a selection, reading only files that `index` does not know, on up to `threads` threads.
///
/// # Errors
/// A file or directory that cannot be read.
pub fn tree_digest(
    context: &LocalContext,
    selection: &Selection,
    index: &StatIndex,
    threads: usize,
) -> Result<TreeDigest, ContextError> {
    let mut folding = Folding {
        reading: Reading { context, index },
        threads,
        tree: Hasher::new("context tree v1"),
        listing: ListingBuilder::default(),
        batch: Vec::new(),
        entries: 0,
        bytes: 0,
    };
    for source in &selection.sources {
        let root = &source.entry;
        if source.reach != Reach::Contents || !root.is_directory() {
            folding.add(source.name.clone(), root.clone())?;
        }
        if source.reach != Reach::Alone {
            for entry in context.walk(root, &selection.exclude) {
                let entry = entry?;
                folding.add(source.name.join(entry.path_below(&root.path)), entry)?;
            }
        }
        folding.flush()?;
        folding.tree.field("end of source");
    }
    Ok(TreeDigest {
        digest: folding.tree.finish(),
        entries: folding.entries,
        bytes: folding.bytes,
        listing: folding.listing.finish(),
    })
}

/// Entries on their way into the digest.
struct Folding<'a> {
    reading: Reading<'a>,
    threads: usize,
    tree: Hasher,
    listing: ListingBuilder,
    batch: Vec<(PathBuf, Entry)>,
    entries: u64,
    bytes: u64,
}

impl Folding<'_> {
    fn add(&mut self, name: PathBuf, entry: Entry) -> Result<(), ContextError> {
        self.batch.push((name, entry));
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.flush()
    }

    /// Hashes the batch and adds it to the digest in order.
    fn flush(&mut self) -> Result<(), ContextError> {
        let batch = std::mem::take(&mut self.batch);
        let contents = self.reading.contents(&batch, self.threads);
        for ((name, entry), content) in batch.into_iter().zip(contents) {
            let digest = entry_digest(&entry, &content?);
            self.tree.field(name.as_os_str().as_encoded_bytes());
            self.tree.field(digest.as_bytes());
            self.listing.add(&entry.path, &digest);
            self.entries += 1;
            self.bytes += entry.size();
        }
        Ok(())
    }
}

/// What has to be read of an entry.
#[derive(Default)]
struct Read {
    content: Option<Digest>,
    xattrs: Xattrs,
}

/// Reads entries of a context with an index at hand.
#[derive(Clone, Copy)]
struct Reading<'a> {
    context: &'a LocalContext,
    index: &'a StatIndex,
}

impl Reading<'_> {
    /// What was read of each entry, in order.
    fn contents(
        self,
        batch: &[(PathBuf, Entry)],
        threads: usize,
    ) -> Vec<Result<Read, ContextError>> {
        let mut results: Vec<_> = batch.iter().map(|(_, entry)| self.known(entry)).collect();
        let missing: Vec<usize> = (0..results.len())
            .filter(|&position| results.get(position).is_some_and(Option::is_none))
            .collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            let mut buffer = vec![0; 128 * 1024];
            while let Some(&position) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some((_, entry)) = batch.get(position) {
                    done.push((position, self.read(entry, &mut buffer)));
                }
            }
            done
        };
        // The calling thread works too, and alone where there is little to do.
        let others = threads.min(missing.len() / 2).saturating_sub(1);
        let done = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for worker in workers {
                match worker.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        for (position, result) in done {
            if let Some(slot) = results.get_mut(position) {
                *slot = Some(result);
            }
        }
        results.into_iter().flatten().collect()
    }

    /// What is known without reading; `None` where it has to be read.
    fn known(self, entry: &Entry) -> Option<Result<Read, ContextError>> {
        let content = match entry.kind {
            EntryKind::File { .. } | EntryKind::Directory => self.index.get(&entry.stamp)?,
            _ => return Some(Ok(Read::default())),
        };
        let xattrs = match content.has_xattrs {
            true => self.context.xattrs(entry),
            false => Xattrs::new(),
        };
        Some(Ok(Read {
            content: (!entry.is_directory()).then_some(content.content),
            xattrs,
        }))
    }

    /// Reads an entry and remembers what was read.
    fn read(self, entry: &Entry, buffer: &mut [u8]) -> Result<Read, ContextError> {
        if entry.is_directory() {
            let xattrs = self.context.xattrs(entry);
            self.remember(&entry.stamp, Digest::of(b""), &xattrs);
            return Ok(Read {
                content: None,
                xattrs,
            });
        }
        let mut content = self.context.open_content(entry)?;
        let xattrs = content.file().map(xattrs_of).unwrap_or_default();
        let full = self.context.root().join(&entry.path);
        let mut reader = HashingReader::new(&mut content);
        while reader.read(buffer).context("read", &full)? > 0 {}
        let (bytes, _, _) = reader.finish();
        let digest = Digest::from_bytes(bytes);
        // A file that changed while it was read has another stamp now; the old one must not name this content.
        if let Some(file) = content.file()
            && Stamp::of(&file.metadata().context("look at", &full)?) == entry.stamp
        {
            self.remember(&entry.stamp, digest, &xattrs);
        }
        Ok(Read {
            content: Some(digest),
            xattrs,
        })
    }

    fn remember(self, stamp: &Stamp, content: Digest, xattrs: &Xattrs) {
        let has_xattrs = !xattrs.is_empty();
        self.index.put(
            stamp,
            Known {
                content,
                has_xattrs,
            },
        );
    }
}

/// The digest of everything about an entry but its name, times and owner.
fn entry_digest(entry: &Entry, read: &Read) -> Digest {
    let mut hasher = Hasher::new("context entry v1");
    hasher.number(u64::from(entry.mode));
    let mut device = |kind: &str, major: u32, minor: u32| {
        hasher.field(kind);
        hasher.number(u64::from(major));
        hasher.number(u64::from(minor));
    };
    match &entry.kind {
        EntryKind::CharDevice { major, minor } => device("character device", *major, *minor),
        EntryKind::BlockDevice { major, minor } => device("block device", *major, *minor),
        EntryKind::Directory => hasher.field("directory"),
        EntryKind::Fifo => hasher.field("fifo"),
        EntryKind::Symlink { target } => {
            hasher.field("symlink");
            hasher.field(target.as_os_str().as_encoded_bytes());
        }
        EntryKind::File { .. } => {
            hasher.field("file");
            if let Some(content) = &read.content {
                hasher.field(content.as_bytes());
            }
        }
    }
    for (name, value) in &read.xattrs {
        hasher.field(name);
        hasher.field(value);
    }
    hasher.finish()
}
