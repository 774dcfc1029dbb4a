//! Where the content of a layer's files is, and reading it from there.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::beneath::Beneath;
use super::entry::{Entry, EntryKind};
use super::error::{Error, Result, TarProblem};
use super::tar_read::{TarKind, TarReader};
use super::tar_write::BUFFER;
use crate::fsio::{self, Context as _};

/// A representation of a layer that has the content of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentSource {
    /// The layer's directory.
    Directory(PathBuf),
    /// The layer's uncompressed tar, the one that its table of contents was made with.
    Tar(PathBuf),
}

impl ContentSource {
    /// Opens the content of a file entry of this layer. It is not checked against the digest.
    ///
    /// # Errors
    /// An entry that is no file, and what the operating system answers.
    pub fn open(&self, entry: &Entry) -> Result<Box<dyn Read + Send>> {
        let EntryKind::File {
            size,
            offset,
            sparse,
            ..
        } = entry.kind
        else {
            return Err(Error::NotAFile {
                path: entry.path.clone(),
                kind: entry.kind.describe(),
            });
        };
        match self {
            Self::Directory(root) => Ok(Box::new(Beneath::open(root)?.file(&entry.path)?)),
            Self::Tar(path) => {
                let mut file = fsio::open(path)?;
                file.seek(SeekFrom::Start(offset)).context("read", path)?;
                match sparse {
                    true => open_sparse(file, offset),
                    false => Ok(Box::new(file.take(size))),
                }
            }
        }
    }
}

/// The content of a sparse file whose headers are at `offset`.
fn open_sparse(file: File, offset: u64) -> Result<Box<dyn Read + Send>> {
    let mut reader = TarReader::at(BufReader::new(file), offset);
    match reader.next_entry()?.map(|entry| entry.kind) {
        Some(TarKind::File { .. }) => Ok(Box::new(reader)),
        _ => {
            let problem = TarProblem::SparseMap;
            Err(Error::MalformedTar { offset, problem })
        }
    }
}

/// Passes exactly `size` bytes of content on, piece by piece.
pub(super) fn copy_content(
    path: &Path,
    size: u64,
    content: &mut dyn Read,
    buffer: &mut Vec<u8>,
    mut pass_on: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    buffer.resize(BUFFER, 0);
    let mut left = size;
    loop {
        // One byte more than is left, to notice content that is longer than was said.
        let want = usize::try_from(left.saturating_add(1)).unwrap_or(BUFFER);
        let part = buffer.get_mut(..want.min(BUFFER)).unwrap_or_default();
        let count = match content.read(part) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                let path = path.to_owned();
                return Err(Error::ReadContent { path, source });
            }
        };
        if count as u64 > left || (count == 0 && left > 0) {
            return Err(Error::ContentSize {
                path: path.to_owned(),
                expected: size,
                found: size - left + count as u64,
            });
        }
        if count == 0 {
            return Ok(());
        }
        left -= count as u64;
        pass_on(part.get(..count).unwrap_or_default())?;
    }
}
