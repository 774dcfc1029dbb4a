//! Reading what a tree digest needs of files: content digests and attributes, from the index where it knows them.
//!
//! A few threads share a batch; each file is streamed once through a small buffer.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::local::xattrs_of;
use super::stat_index::Known;
use super::{ContextError, Entry, EntryKind, LocalContext, Stamp, StatIndex, Xattrs};
use crate::fsio::{Context as _, HashingReader};
use crate::oci::Digest;

/// What has to be read of an entry.
#[derive(Default)]
pub(super) struct Read {
    /// Digest of a file's content.
    pub(super) content: Option<Digest>,
    /// The extended attributes that a copy keeps.
    pub(super) xattrs: Xattrs,
}

/// Reads entries of a context with an index at hand.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) context: &'a LocalContext,
    pub(super) index: &'a StatIndex,
}

impl Reading<'_> {
    /// What was read of each entry, in order.
    pub(super) fn contents(
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
        self.context.go_on()?;
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
        while reader.read(buffer).context("read", &full)? > 0 {
            self.context.go_on()?;
        }
        let (bytes, _, _) = reader.finish();
        let digest = Digest::from_bytes(bytes);
        // A file that changed while it was read has another stamp now; the old one must not name this content.
        if let Some(file) = content.file()
            && Stamp::of(&rustix::fs::fstat(file).context("look at", &full)?) == entry.stamp
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
