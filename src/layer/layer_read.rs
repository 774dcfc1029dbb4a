//! Reads a layer from an untrusted, uncompressed tar: its identity, its table of contents and, in the same pass, its
//! directory.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use super::content::copy_content;
use super::content_hash::ContentHash;
use super::directory::DirectoryWriter;
use super::entry::{Entry, EntryKind, join, path_from};
use super::error::{EntryProblem, Error, Result};
use super::metadata::is_overlay_private;
use super::tar_read::{TarEntry, TarKind, TarReader};
use super::tar_write::{BUFFER, Layer, OPAQUE_NAME, WHITEOUT_PREFIX};
use super::toc_builder::{Placed, TocBuilder};
use crate::fsio::HashingReader;
use crate::oci::Digest;

/// Names that start like this are aufs's own records, which every engine skips.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
/// Buffers between the thread that reads and hashes the tar and the one that takes it apart.
const IN_FLIGHT: usize = 4;

/// What names that start with `.wh.` mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markers {
    /// The tar is a layer: they are removals.
    Removals,
    /// The tar is an archive that someone adds: they are names.
    Names,
}

/// Reads a tar to its last byte. Nothing in it is trusted: what is malformed, or would make memory grow without bound, is
/// refused. So is `..` in a name of a layer; in an archive it leads no further up than to the top. With `directory` the layer is unpacked there at the same time; on an error what has
/// been unpacked is left behind.
///
/// # Errors
/// What is wrong with the tar, and failures to read it or to write the directory.
pub fn read_tar<R: Read + Send>(
    source: R,
    markers: Markers,
    directory: Option<DirectoryWriter>,
) -> Result<Layer> {
    let mut hashing = HashingReader::new(source);
    let toc = std::thread::scope(|scope| {
        let (full, filled) = sync_channel(IN_FLIGHT);
        let (empty, emptied) = sync_channel::<Vec<u8>>(IN_FLIGHT + 2);
        for _ in 0..IN_FLIGHT + 2 {
            let _room = empty.try_send(Vec::new());
        }
        let hashing = &mut hashing;
        let pump = move || {
            for mut buffer in emptied {
                buffer.resize(BUFFER, 0);
                let read = read_full(hashing, &mut buffer);
                let ended = !matches!(&read, Ok(count) if *count > 0);
                buffer.truncate(*read.as_ref().unwrap_or(&0));
                // An error here, or nobody there to take it: either way there is no more to do.
                if full.send(read.map(|_| buffer)).is_err() || ended {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("tar".into());
        thread
            .spawn_scoped(scope, pump)
            .map_err(|source| Error::ReadTar { offset: 0, source })?;
        let pieces = Pieces {
            filled,
            empty,
            piece: Vec::new(),
            at: 0,
            ended: false,
        };
        take_apart(pieces, markers, directory)
    })?;
    let (diff_id, size, _) = hashing.finish();
    let diff_id = Digest::from_bytes(diff_id);
    Ok(Layer { toc, diff_id, size })
}

/// Goes through the entries and then to the end of the bytes.
fn take_apart(
    pieces: Pieces,
    markers: Markers,
    mut directory: Option<DirectoryWriter>,
) -> Result<super::Toc> {
    let mut tar = TarReader::new(pieces);
    let mut builder = TocBuilder::default();
    let mut buffer = Vec::new();
    while let Some(found) = tar.next_entry()? {
        match interpret(found, markers)? {
            Meaning::Nothing => {}
            Meaning::Opaque(path) => builder.put_opaque(&path)?,
            Meaning::Entry(entry) => {
                let metadata = (markers == Markers::Names).then(|| entry.clone());
                let placed = builder.put(entry)?;
                if let (Some(metadata), Placed::Link(_, target)) = (metadata, &placed) {
                    builder.set_metadata(target, metadata);
                }
                place(
                    &placed,
                    &mut tar,
                    &mut builder,
                    directory.as_mut(),
                    &mut buffer,
                )?;
            }
        }
    }
    let offset = tar.position();
    let failed = |source| Error::ReadTar { offset, source };
    // Part of the identity, whatever it is.
    let mut rest = BufReader::with_capacity(BUFFER, tar.into_inner());
    io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
    let toc = builder.finish();
    if let Some(directory) = directory {
        directory.finish(&toc)?;
    }
    Ok(toc)
}

/// Unpacks what has found its place in the table, and hashes the content of files.
fn place(
    placed: &Placed,
    tar: &mut TarReader<Pieces>,
    builder: &mut TocBuilder,
    directory: Option<&mut DirectoryWriter>,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    let (Placed::At(path) | Placed::Link(path, _)) = placed else {
        return Ok(());
    };
    let Some(entry) = builder.get(path) else {
        return Ok(());
    };
    let EntryKind::File { size, .. } = entry.kind else {
        return match directory {
            Some(directory) => directory.put(path, entry, None),
            None => Ok(()),
        };
    };
    let mut content = HashedContent {
        tar,
        hash: ContentHash::new(size),
    };
    match directory {
        Some(directory) => directory.put(path, entry, Some(&mut content))?,
        None => copy_content(path, size, &mut content, buffer, |_| Ok(()))?,
    }
    let digest = content.hash.finish();
    builder.set_digest(path, digest);
    Ok(())
}

/// Content that is hashed while it is read.
struct HashedContent<'a> {
    tar: &'a mut TarReader<Pieces>,
    hash: ContentHash,
}

impl Read for HashedContent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// What an entry of a tar means for a layer.
enum Meaning {
    /// Nothing: a record of aufs, or a file without a name in an archive.
    Nothing,
    /// What lower layers have in this directory is hidden.
    Opaque(PathBuf),
    Entry(Entry),
}

fn interpret(found: TarEntry, markers: Markers) -> Result<Meaning> {
    let path = match markers {
        Markers::Removals => clean_path(&found.name)?,
        Markers::Names => confined_path(&found.name)?,
    };
    let entry = |kind, xattrs| Entry {
        path: path.clone(),
        kind,
        mode: found.mode,
        uid: found.uid,
        gid: found.gid,
        mtime: found.mtime,
        xattrs,
    };
    if found.uid == u32::MAX || found.gid == u32::MAX {
        return Err(refuse(&path, EntryProblem::Owner));
    }
    if markers == Markers::Removals
        && let Some(meaning) = interpret_marker(&path)?
    {
        return Ok(meaning);
    }
    let is_root = path.as_os_str().is_empty();
    if is_root && found.kind != TarKind::Directory {
        if markers == Markers::Names {
            return Ok(Meaning::Nothing);
        }
        return Err(refuse(&path, EntryProblem::NotRelative));
    }
    let text = |link: Vec<u8>| match link.is_empty() || link.contains(&0) {
        true => Err(refuse(&path, EntryProblem::NotRelative)),
        false => Ok(path_from(link)),
    };
    let kind = match found.kind {
        TarKind::File { size, sparse } => EntryKind::File {
            size,
            digest: Digest::of([]),
            offset: found.offset,
            sparse,
        },
        TarKind::Directory => EntryKind::directory(),
        TarKind::Symlink(target) => EntryKind::Symlink {
            target: text(target)?,
        },
        TarKind::HardLink(target) => {
            let clean = match markers {
                Markers::Removals => clean_path(&target),
                Markers::Names => confined_path(&target),
            };
            let target = clean.map_err(|_| {
                refuse(
                    &path,
                    EntryProblem::HardLinkTarget(path_from(target.clone())),
                )
            })?;
            EntryKind::HardLink { target }
        }
        // In a directory of overlayfs there is no way to tell such a device from a removal, so it is one.
        TarKind::CharDevice(0, 0) if markers == Markers::Removals => {
            return Ok(Meaning::Entry(Entry::whiteout(path)));
        }
        TarKind::CharDevice(major, minor) => EntryKind::CharDevice { major, minor },
        TarKind::BlockDevice(major, minor) => EntryKind::BlockDevice { major, minor },
        TarKind::Fifo => EntryKind::Fifo,
    };
    let xattrs = found.xattrs.into_iter();
    let xattrs = xattrs
        .filter(|(name, _)| !is_overlay_private(name))
        .collect();
    Ok(Meaning::Entry(entry(kind, xattrs)))
}

/// What a name means if it is, or is beneath, one that starts with `.wh.`.
fn interpret_marker(path: &Path) -> Result<Option<Meaning>> {
    use std::os::unix::ffi::OsStrExt as _;
    let directory = path.parent().unwrap_or(Path::new(""));
    let is_marker = |name: &std::ffi::OsStr| name.as_bytes().starts_with(WHITEOUT_PREFIX);
    if let Some(above) = directory.iter().find(|name| is_marker(name)) {
        return match above.as_bytes().starts_with(AUFS_PREFIX) {
            true => Ok(Some(Meaning::Nothing)),
            false => Err(refuse(path, EntryProblem::WhiteoutName)),
        };
    }
    let name = path.file_name().unwrap_or_default().as_bytes();
    let Some(removed) = name.strip_prefix(WHITEOUT_PREFIX) else {
        return Ok(None);
    };
    if name == OPAQUE_NAME {
        return Ok(Some(Meaning::Opaque(directory.to_owned())));
    }
    if name.starts_with(AUFS_PREFIX) {
        return Ok(Some(Meaning::Nothing));
    }
    if matches!(removed, b"" | b"." | b"..") {
        return Err(refuse(path, EntryProblem::WhiteoutOfNothing));
    }
    let removed = join(directory, std::ffi::OsStr::from_bytes(removed));
    Ok(Some(Meaning::Entry(Entry::whiteout(removed))))
}

/// A name in an archive that someone adds, as a path below the directory it is unpacked in: `..` never leads out of it.
fn confined_path(name: &[u8]) -> Result<PathBuf> {
    if name.contains(&0) {
        return Err(refuse(&path_from(name), EntryProblem::Nul));
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    Ok(path_from(parts.join(&b'/')))
}

/// A name of a tar as a path of a layer: `./a//b/` and `/a/b` are both `a/b`.
fn clean_path(name: &[u8]) -> Result<PathBuf> {
    let refuse = |problem| Err(refuse(&path_from(name), problem));
    if name.is_empty() {
        return refuse(EntryProblem::NotRelative);
    }
    if name.contains(&0) {
        return refuse(EntryProblem::Nul);
    }
    let mut clean = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return refuse(EntryProblem::ParentComponent),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Ok(path_from(clean))
}

fn refuse(path: &Path, problem: EntryProblem) -> Error {
    let path = path.to_owned();
    Error::RefusedEntry { path, problem }
}

/// Reads until the buffer is full or the source ends.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The tar, piece by piece, from the thread that reads it.
struct Pieces {
    filled: Receiver<io::Result<Vec<u8>>>,
    empty: std::sync::mpsc::SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended {
            let used = std::mem::take(&mut self.piece);
            let _gone = self.empty.try_send(used);
            self.at = 0;
            match self.filled.recv() {
                Ok(Ok(piece)) => self.piece = piece,
                Ok(Err(error)) => return Err(error),
                // The thread has come to the end.
                Err(_) => {}
            }
            self.ended = self.piece.is_empty();
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}
