//! Makes the tar of a layer again, byte for byte, from its table of contents and the content of its files.

use std::io::{Read, Write};
use std::path::PathBuf;

use super::beneath::Beneath;
use super::entry::{Entry, EntryKind};
use super::error::{Error, Result};
use super::tar_write::TarWriter;
use super::toc::Toc;
use crate::oci::Digest;

/// Writes the tar of the layer whose directory is `root`. Only content is taken from there; all the rest is in the
/// table, so it does not matter what this process may see of owners and attributes. For layers that a [`TarWriter`]
/// made: the tar of a pulled layer is another's, and is kept.
///
/// # Errors
/// Content that is not the layer's any more, a tar that does not come out as `diff_id`, reading and writing.
pub fn write_tar_from_directory<W: Write>(
    toc: &Toc,
    diff_id: Digest,
    root: impl Into<PathBuf>,
    out: W,
) -> Result<W> {
    let mut root = Beneath::open(root)?;
    write_tar(toc, diff_id, out, |entry| {
        Ok(Box::new(root.file(&entry.path)?))
    })
}

/// The same with the content of each file from `open`.
///
/// # Errors
/// As [`write_tar_from_directory`].
pub fn write_tar<W: Write>(
    toc: &Toc,
    diff_id: Digest,
    out: W,
    mut open: impl FnMut(&Entry) -> Result<Box<dyn Read + Send>>,
) -> Result<W> {
    let mut tar = TarWriter::new(out);
    for entry in toc.entries() {
        let EntryKind::File {
            digest: expected, ..
        } = entry.kind
        else {
            tar.append(entry.clone(), None)?;
            continue;
        };
        let mut content = open(entry)?;
        let written = tar.append(entry.clone(), Some(&mut content))?;
        if let EntryKind::File { digest: found, .. } = written.kind
            && found != expected
        {
            let path = entry.path.clone();
            return Err(Error::ContentChanged {
                path,
                expected,
                found,
            });
        }
    }
    let (layer, out) = tar.finish()?;
    match layer.diff_id == diff_id {
        true => Ok(out),
        false => Err(Error::DiffIdChanged {
            expected: diff_id,
            found: layer.diff_id,
        }),
    }
}
