//! Writes a layer's tar, deterministically: sorted paths, normalised headers, nothing of the machine it ran on.
//!
//! Each byte of content is read once; it is hashed for the file and for the tar on its way. With [`std::io::sink`] as
//! the target only the identities come out.

use std::collections::BTreeSet;
use std::io::{BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::content::copy_content;
use super::content_hash::ContentHash;
use super::entry::{Entry, EntryKind, Xattrs, ancestors, compare_paths, is_at_or_beneath};
use super::error::{EntryProblem, Error, Result};
use super::tar_header::{BLOCK, HeaderFields, MAX_OCTAL_7, padding, write_header};
use super::toc::{Toc, is_clean};
use crate::fsio::HashingWriter;
use crate::oci::Digest;

/// How removed paths are written: an empty file with this before the name.
pub(super) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// An empty file of this name hides what lower layers have in its directory.
pub(super) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// How much content is read at once.
pub(super) const BUFFER: usize = 128 << 10;

/// What is known of a layer when its tar has gone by once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its table of contents.
    pub toc: Toc,
    /// The SHA-256 of its uncompressed tar.
    pub diff_id: Digest,
    /// Bytes of its uncompressed tar.
    pub size: u64,
}

/// Writes entries, which must come in the order of [`compare_paths`], to a tar.
///
/// Directories that something is beneath but that were not appended get into the table as implied ones, not into the
/// tar. An implied directory that is appended is treated the same.
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    out: HashingWriter<BufWriter<W>>,
    entries: Vec<Entry>,
    /// Targets of hard links that have not come yet: they have to be in a lower layer.
    lower_targets: BTreeSet<PathBuf>,
    block: Vec<u8>,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// A layer without entries so far.
    pub fn new(out: W) -> Self {
        Self {
            out: HashingWriter::new(BufWriter::with_capacity(BUFFER, out)),
            entries: Vec::new(),
            lower_targets: BTreeSet::new(),
            block: Vec::with_capacity(2 * BLOCK),
            buffer: Vec::new(),
        }
    }

    /// Appends an entry; a file's kind says its size (see [`EntryKind::file`]), and exactly that much `content` has to
    /// follow. Digest and place are filled in; the answer is the entry as it stands in the table.
    ///
    /// # Errors
    /// An entry out of order or unfit for a tar, content longer or shorter than said, reading and writing.
    pub fn append(&mut self, mut entry: Entry, content: Option<&mut dyn Read>) -> Result<&Entry> {
        self.check(&entry)?;
        self.append_implied_ancestors(&entry.path)?;
        if !entry.is_implied() {
            self.write_entry_header(&entry)?;
        }
        let path = &entry.path;
        match (&mut entry.kind, content) {
            (
                EntryKind::File {
                    size,
                    digest,
                    offset,
                    sparse,
                },
                Some(content),
            ) => {
                (*offset, *sparse) = (self.out.bytes(), false);
                *digest = self.write_content(path, *size, content)?;
            }
            (
                EntryKind::File {
                    size: 0,
                    digest,
                    offset,
                    sparse,
                },
                None,
            ) => {
                (*offset, *sparse, *digest) = (self.out.bytes(), false, Digest::of([]));
            }
            (EntryKind::File { .. }, None) | (_, Some(_)) => {
                return Err(refuse(path, EntryProblem::Content));
            }
            (EntryKind::Directory { opaque: true, .. }, None) => {
                let marker = name_in(path, OPAQUE_NAME, b"");
                self.write_marker(&marker)?;
            }
            (EntryKind::HardLink { target }, None) if self.position(target).is_err() => {
                self.lower_targets.insert(target.clone());
            }
            (_, None) => {}
        }
        self.entries.push(entry);
        let last = self.entries.len() - 1;
        Ok(&self.entries[last])
    }

    /// Ends the tar; the facts of the layer and the target, flushed but not synced.
    ///
    /// # Errors
    /// Writing the end.
    pub fn finish(mut self) -> Result<(Layer, W)> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush().map_err(Error::WriteTar)?;
        let (digest, size, out) = self.out.finish();
        let out = out
            .into_inner()
            .map_err(|error| Error::WriteTar(error.into_error()))?;
        let layer = Layer {
            toc: Toc::trusted(self.entries),
            diff_id: Digest::from_bytes(digest),
            size,
        };
        Ok((layer, out))
    }

    /// Refuses what a layer cannot hold, before anything is written.
    fn check(&self, entry: &Entry) -> Result<()> {
        let refuse = |problem| Err(refuse(&entry.path, problem));
        if !is_clean(&entry.path) || (entry.path.as_os_str().is_empty() && !entry.is_directory()) {
            return refuse(EntryProblem::NotRelative);
        }
        if let Some(last) = self.entries.last()
            && compare_paths(&last.path, &entry.path).is_ge()
        {
            return refuse(EntryProblem::OutOfOrder(last.path.clone()));
        }
        if entry.name().as_bytes().starts_with(WHITEOUT_PREFIX) {
            return refuse(EntryProblem::WhiteoutName);
        }
        if self.lower_targets.contains(&entry.path) && entry.kind != EntryKind::Whiteout {
            return refuse(EntryProblem::HardLinkTarget(entry.path.clone()));
        }
        match &entry.kind {
            EntryKind::HardLink { target } => {
                let found = self
                    .position(target)
                    .ok()
                    .and_then(|at| self.entries.get(at));
                let linkable = found.is_none_or(|found| {
                    !found.is_directory() && !matches!(found.kind, EntryKind::Whiteout)
                });
                if !linkable
                    || !is_clean(target)
                    || *target == entry.path
                    || target.as_os_str().is_empty()
                {
                    return refuse(EntryProblem::HardLinkTarget(target.clone()));
                }
            }
            EntryKind::Symlink { target } if target.as_os_str().as_bytes().contains(&0) => {
                return refuse(EntryProblem::Nul);
            }
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor }
                if (*major).max(*minor) > MAX_OCTAL_7 =>
            {
                return refuse(EntryProblem::DeviceNumber(*major, *minor));
            }
            _ => {}
        }
        let unfit = |name: &&Vec<u8>| name.is_empty() || name.contains(&b'=') || name.contains(&0);
        match entry.xattrs.keys().find(unfit) {
            Some(name) => refuse(EntryProblem::XattrName(
                String::from_utf8_lossy(name).into_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Puts the directories that are missing above `path` into the table.
    fn append_implied_ancestors(&mut self, path: &Path) -> Result<()> {
        // Entries are sorted, so a directory is there if and only if the last entry is in it.
        let is_there = |writer: &Self, directory: &Path| {
            let last = writer.entries.last();
            last.is_some_and(|last| is_at_or_beneath(&last.path, directory))
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some(last) = self.entries.last()
            && is_at_or_beneath(path, &last.path)
            && !last.is_directory()
        {
            let problem = EntryProblem::ParentNotDirectory(last.path.clone());
            return Err(refuse(path, problem));
        }
        if is_there(self, parent) {
            return Ok(());
        }
        for directory in ancestors(path) {
            if is_there(self, directory) {
                continue;
            }
            let name = directory.file_name().unwrap_or_default();
            if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
                return Err(refuse(directory, EntryProblem::WhiteoutName));
            }
            self.entries.push(Entry::implied_directory(directory));
        }
        Ok(())
    }

    /// Where a path is among the entries so far.
    fn position(&self, path: &Path) -> std::result::Result<usize, usize> {
        self.entries
            .binary_search_by(|entry| compare_paths(&entry.path, path))
    }

    fn write_entry_header(&mut self, entry: &Entry) -> Result<()> {
        let path = entry.path.as_os_str().as_bytes();
        let mut device = (0, 0);
        let (name, entry_type, link) = match &entry.kind {
            EntryKind::Whiteout => {
                let parent = entry.path.parent().unwrap_or(Path::new(""));
                let marker = name_in(parent, WHITEOUT_PREFIX, entry.name().as_bytes());
                return self.write_marker(&marker);
            }
            EntryKind::Directory { .. } if path.is_empty() => {
                (b"./".to_vec(), EntryType::Directory, &[][..])
            }
            EntryKind::Directory { .. } => ([path, b"/"].concat(), EntryType::Directory, &[][..]),
            EntryKind::File { .. } => (path.to_vec(), EntryType::Regular, &[][..]),
            EntryKind::Symlink { target } => (
                path.to_vec(),
                EntryType::Symlink,
                target.as_os_str().as_bytes(),
            ),
            EntryKind::HardLink { target } => (
                path.to_vec(),
                EntryType::Link,
                target.as_os_str().as_bytes(),
            ),
            EntryKind::CharDevice { major, minor } => {
                device = (*major, *minor);
                (path.to_vec(), EntryType::Char, &[][..])
            }
            EntryKind::BlockDevice { major, minor } => {
                device = (*major, *minor);
                (path.to_vec(), EntryType::Block, &[][..])
            }
            EntryKind::Fifo => (path.to_vec(), EntryType::Fifo, &[][..]),
        };
        self.write_fields(&HeaderFields {
            name: &name,
            entry_type,
            link,
            size: entry.size(),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            device,
            xattrs: &entry.xattrs,
        })
    }

    /// Writes the empty file that stands for a removal.
    fn write_marker(&mut self, name: &[u8]) -> Result<()> {
        self.write_fields(&HeaderFields {
            name,
            entry_type: EntryType::Regular,
            link: &[],
            size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            device: (0, 0),
            xattrs: &Xattrs::new(),
        })
    }

    fn write_fields(&mut self, fields: &HeaderFields<'_>) -> Result<()> {
        self.block.clear();
        write_header(fields, &mut self.block);
        self.out.write_all(&self.block).map_err(Error::WriteTar)
    }

    /// Writes exactly `size` bytes of content and fills its last block.
    fn write_content(&mut self, path: &Path, size: u64, content: &mut dyn Read) -> Result<Digest> {
        let mut hash = ContentHash::new(size);
        let out = &mut self.out;
        copy_content(path, size, content, &mut self.buffer, |bytes| {
            hash.update(bytes);
            out.write_all(bytes).map_err(Error::WriteTar)
        })?;
        self.write(&[0; BLOCK][..padding(size)])?;
        Ok(hash.finish())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::WriteTar)
    }
}

/// `directory/PREFIX NAME` in the bytes of a tar.
fn name_in(directory: &Path, prefix: &[u8], name: &[u8]) -> Vec<u8> {
    let directory = directory.as_os_str().as_bytes();
    let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, separator, prefix, name].concat()
}

fn refuse(path: &Path, problem: EntryProblem) -> Error {
    let path = path.to_owned();
    Error::RefusedEntry { path, problem }
}
