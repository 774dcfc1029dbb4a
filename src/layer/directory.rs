//! Unpacks a layer into a directory of its own that overlayfs can take as a lower one.
//!
//! Removals become character devices 0:0, directories that hide lower ones get overlayfs's attribute. Everything is
//! reached through [`Beneath`], so that no archive can write outside. What comes in any order (a tar that is read
//! while it is unpacked) is made at once; what depends on the whole (removals, and metadata of directories, whose
//! times change with every file made in them) waits for [`DirectoryWriter::finish`].
//!
//! A layer on its own does not always say everything: see [`Toc::needs_lower`] and [`settle`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dev, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat, symlinkat,
};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::content::{ContentSource, copy_content};
use super::entry::{Entry, EntryKind};
use super::error::{Error, Result};
use super::metadata::{self, Privileges, Target};
use super::stack::Stack;
use super::tar_write::BUFFER;
use super::toc::Toc;
use crate::fsio::Context as _;

/// From this size on, runs of zeros become holes.
const SPARSE_FROM: u64 = 1 << 20;

/// A layer's directory in the making.
#[derive(Debug)]
pub struct DirectoryWriter {
    root: Beneath,
    privileges: Privileges,
    /// Hard links whose other name was not there, with that name.
    pending: Vec<(PathBuf, PathBuf)>,
    buffer: Vec<u8>,
}

impl DirectoryWriter {
    /// Unpacks into `root`, an empty directory.
    ///
    /// # Errors
    /// A root that cannot be opened.
    pub fn new(root: impl Into<PathBuf>, privileges: Privileges) -> Result<Self> {
        Ok(Self {
            root: Beneath::open(root)?,
            privileges,
            pending: Vec::new(),
            buffer: vec![0; BUFFER],
        })
    }

    /// Makes what an entry says at `path` (the entry's own path does not matter), instead of what is there. Removals
    /// and the metadata of directories wait until the end.
    ///
    /// # Errors
    /// What the operating system answers, and failures to read `content`.
    pub fn put(
        &mut self,
        path: &Path,
        entry: &Entry,
        content: Option<&mut dyn Read>,
    ) -> Result<()> {
        match &entry.kind {
            EntryKind::Whiteout => Ok(()),
            EntryKind::Directory { .. } => self.put_directory(path),
            EntryKind::HardLink { target } => self.put_link(path, target),
            EntryKind::File { size, .. } => self.put_file(path, *size, entry, content),
            EntryKind::Symlink { target } => {
                let make =
                    |directory: &_, name: &OsStr| symlinkat(target.as_path(), directory, name);
                self.put_node(path, entry, &make)
            }
            EntryKind::CharDevice { major, minor } => self.put_device(
                path,
                entry,
                FileType::CharacterDevice,
                makedev(*major, *minor),
            ),
            EntryKind::BlockDevice { major, minor } => {
                self.put_device(path, entry, FileType::BlockDevice, makedev(*major, *minor))
            }
            EntryKind::Fifo => self.put_device(path, entry, FileType::Fifo, 0),
        }
    }

    /// Makes removals and gives directories their metadata, according to the whole table.
    ///
    /// Implied directories become 0755 and root's; hard links to lower layers are left out. [`settle`] puts both right.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn finish(mut self, toc: &Toc) -> Result<()> {
        for (path, target) in std::mem::take(&mut self.pending) {
            // If it is still not there, it is in a lower layer.
            let is_link = toc.get(&path).is_some() && toc.get(&target).is_some();
            if is_link {
                self.link(&path, &target)?;
            }
        }
        for entry in toc.entries() {
            if entry.kind == EntryKind::Whiteout {
                self.put_whiteout(&entry.path)?;
            }
        }
        self.finish_directories(toc, &|_| None)
    }

    fn put_directory(&mut self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let parent = self.root.make_parent(path)?;
        let name = path.file_name().unwrap_or_default();
        let shown = self.root.shown(path);
        match mkdirat(&parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            result => return Ok(result.context("create the folder", &shown)?),
        }
        let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .context("look at", &shown)?;
        if !FileType::from_raw_mode(found.st_mode).is_dir() {
            self.root.remove(path)?;
            mkdirat(&parent, name, Mode::RWXU).context("create the folder", &shown)?;
        }
        Ok(())
    }

    fn put_file(
        &mut self,
        path: &Path,
        size: u64,
        entry: &Entry,
        content: Option<&mut dyn Read>,
    ) -> Result<()> {
        let parent = self.root.make_parent(path)?;
        let name = path.file_name().unwrap_or_default();
        let shown = self.root.shown(path);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || openat(&parent, name, flags, Mode::RUSR | Mode::WUSR);
        let file = match create() {
            Err(Errno::EXIST) => {
                self.root.remove(path)?;
                create()
            }
            result => result,
        };
        let mut file = File::from(file.context("create", &shown)?);
        if let Some(content) = content {
            copy_content(path, size, content, &mut self.buffer, |bytes| {
                let is_hole = size >= SPARSE_FROM && bytes.iter().all(|byte| *byte == 0);
                let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                let written = match is_hole {
                    true => file.seek(SeekFrom::Current(length)).map(drop),
                    false => file.write_all(bytes),
                };
                Ok(written.context("write", &shown)?)
            })?;
            if size >= SPARSE_FROM {
                file.set_len(size).context("write", &shown)?;
            }
        }
        Ok(metadata::apply(
            Target::Open(file.as_fd()),
            entry,
            self.privileges,
            &shown,
        )?)
    }

    fn put_link(&mut self, path: &Path, target: &Path) -> Result<()> {
        match self.link(path, target) {
            Err(Error::File(error)) if error.is_not_found() => {
                self.pending.push((path.to_owned(), target.to_owned()));
                Ok(())
            }
            result => result,
        }
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        let from = self.root.parent(target)?;
        let to = self.root.make_parent(path)?;
        let (from_name, to_name) = (target.file_name(), path.file_name().unwrap_or_default());
        let link = || {
            linkat(
                &from,
                from_name.unwrap_or_default(),
                &to,
                to_name,
                AtFlags::empty(),
            )
        };
        let result = match link() {
            Err(Errno::EXIST) => {
                self.root.remove(path)?;
                link()
            }
            result => result,
        };
        Ok(result.context("link", &self.root.shown(path))?)
    }

    /// Makes something that is made by one call on its name.
    fn put_node(
        &mut self,
        path: &Path,
        entry: &Entry,
        make: &dyn Fn(&std::os::fd::OwnedFd, &OsStr) -> Result<(), Errno>,
    ) -> Result<()> {
        let parent = self.root.make_parent(path)?;
        let name = path.file_name().unwrap_or_default();
        let shown = self.root.shown(path);
        let made = match make(&parent, name) {
            Err(Errno::EXIST) => {
                self.root.remove(path)?;
                make(&parent, name)
            }
            result => result,
        };
        made.context("create", &shown)?;
        let target = Target::Named(parent.as_fd(), name);
        Ok(metadata::apply(target, entry, self.privileges, &shown)?)
    }

    fn put_device(
        &mut self,
        path: &Path,
        entry: &Entry,
        kind: FileType,
        device: Dev,
    ) -> Result<()> {
        let mode = Mode::RUSR | Mode::WUSR;
        let make = |directory: &_, name: &OsStr| mknodat(directory, name, kind, mode, device);
        match self.put_node(path, entry, &make) {
            // Nobody but the machine's root may make devices, and a RUN in a user namespace could not use them.
            Err(Error::File(error))
                if error.is_permission() && self.privileges != Privileges::Full =>
            {
                Ok(())
            }
            result => result,
        }
    }

    fn put_whiteout(&mut self, path: &Path) -> Result<()> {
        let parent = self.root.make_parent(path)?;
        let name = path.file_name().unwrap_or_default();
        let made = metadata::make_whiteout(parent.as_fd(), name);
        Ok(made.context("mark as removed", &self.root.shown(path))?)
    }

    /// Gives directories their metadata, those deepest down first; `lower` knows what implied ones look like.
    fn finish_directories(
        &mut self,
        toc: &Toc,
        lower: &dyn Fn(&Path) -> Option<Entry>,
    ) -> Result<()> {
        for entry in toc
            .entries()
            .iter()
            .rev()
            .filter(|entry| entry.is_directory())
        {
            let below = entry.is_implied().then(|| lower(&entry.path)).flatten();
            self.finish_directory(below.as_ref().unwrap_or(entry), entry)?;
        }
        // The root of a layer that says nothing about it is like any other image's.
        if toc.get("").is_none() {
            let root = lower(Path::new("")).unwrap_or_else(|| Entry::implied_directory(""));
            self.finish_directory(&root, &root)?;
        }
        Ok(())
    }

    fn finish_directory(&mut self, attributes: &Entry, entry: &Entry) -> Result<()> {
        let shown = self.root.shown(&entry.path);
        let place = self.root.directory(&entry.path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory =
            openat(&place, ".", flags, Mode::empty()).context("open the folder", &shown)?;
        if entry.is_opaque() {
            metadata::set_opaque(&directory, self.privileges, &shown)?;
        }
        Ok(metadata::apply(
            Target::Open(directory.as_fd()),
            attributes,
            self.privileges,
            &shown,
        )?)
    }
}

/// Unpacks the layer of a table of contents into `root`, an empty directory; `open` gives the content of each file.
///
/// # Errors
/// What the operating system answers, and content that is not of the size in the table.
pub fn write_directory(
    toc: &Toc,
    root: impl Into<PathBuf>,
    privileges: Privileges,
    mut open: impl FnMut(&Entry) -> Result<Box<dyn Read + Send>>,
) -> Result<()> {
    let mut writer = DirectoryWriter::new(root, privileges)?;
    for entry in toc.entries() {
        match entry.kind {
            EntryKind::File { .. } => writer.put(&entry.path, entry, Some(&mut open(entry)?))?,
            _ => writer.put(&entry.path, entry, None)?,
        }
    }
    writer.finish(toc)
}

/// Puts right what the directory of a layer cannot know from the layer alone: mode and owner of implied directories,
/// which in an overlay would hide those of the layers below, and hard links to files of the layers below, which become
/// copies. To be called, if [`Toc::needs_lower`], once the layers below are known; `sources` has the content of each.
/// The directory then belongs to this chain of layers.
///
/// # Errors
/// What the operating system answers; content that cannot be read; a hard link to nothing.
pub fn settle(
    toc: &Toc,
    root: impl Into<PathBuf>,
    privileges: Privileges,
    lower: &Stack,
    sources: &[ContentSource],
) -> Result<()> {
    let mut writer = DirectoryWriter::new(root, privileges)?;
    let mut copies: BTreeMap<&Path, &Path> = BTreeMap::new();
    for entry in toc.entries() {
        let EntryKind::HardLink { target } = &entry.kind else {
            continue;
        };
        if toc.get(target).is_some() {
            continue;
        }
        if let Some(copy) = copies.get(target.as_path()) {
            writer.link(&entry.path, copy)?;
            continue;
        }
        let missing = || Error::RefusedEntry {
            path: entry.path.clone(),
            problem: super::EntryProblem::HardLinkTarget(target.clone()),
        };
        let found = lower
            .lookup(target)
            .and_then(|found| lower.content_of(found));
        let found = found.ok_or_else(missing)?;
        match found.entry.kind {
            EntryKind::File { .. } => {
                let source = sources.get(found.layer).ok_or_else(missing)?;
                writer.put(
                    &entry.path,
                    found.entry,
                    Some(&mut source.open(found.entry)?),
                )?;
            }
            EntryKind::Directory { .. } => return Err(missing()),
            _ => writer.put(&entry.path, found.entry, None)?,
        }
        copies.insert(target, &entry.path);
    }
    writer.finish_directories(toc, &|path| Some(lower.lookup(path)?.entry.clone()))
}
