//! Puts things into a tree for as long as a step takes, and takes them out again.
//!
//! What has a name already is moved aside and comes back afterwards, as if something had been mounted over it. Paths are resolved
//! as they are for mounts: the tree may be hostile. Between the two there is a command that may do anything to the tree; what it
//! has taken away stays away, and what it put in the place of something that was lent is not that.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, makedev, mkdirat,
    mknodat, openat, renameat, statat, symlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::super::super::setup::BareOp;
use super::super::super::{Device, DeviceKind, FileContent, Operation, SetupFailure};
use super::super::failed;
use super::super::stubs::{self, Recorder, Stubs};
use super::super::target::{self, Kind, Place};
use super::pipe::{self, Look};
use crate::sys::process::SingleThreaded;

/// The folder beside the tree for what is kept aside.
const ASIDE: &str = "aside";

/// A tree with things in it that are not its own.
pub(super) struct Places {
    pub(super) root: OwnedFd,
    aside: OwnedFd,
    recorder: Recorder,
    /// In the order in which they were put there.
    put: Vec<Put>,
}

/// One thing that was put somewhere.
struct Put {
    folder: OwnedFd,
    name: Vec<u8>,
    /// The name of what was there before, in the folder for that.
    kept: String,
    /// Where it belongs, and which one it is.
    home: Option<Home>,
}

struct Home {
    folder: OwnedFd,
    name: Vec<u8>,
    inode: u64,
}

impl Places {
    pub(super) fn new(root: OwnedFd, tree: &Path) -> Result<Self, Errno> {
        let beside = tree.parent().ok_or(Errno::INVAL)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beside = openat(CWD, beside, flags, Mode::empty())?;
        mkdirat(&beside, ASIDE, Mode::RWXU)?;
        let aside = openat(&beside, ASIDE, flags, Mode::empty())?;
        Ok(Self {
            root,
            aside,
            recorder: Recorder::default(),
            put: Vec::new(),
        })
    }

    /// Does what the list says, up to the first failure.
    pub(super) fn put_all(
        &mut self,
        ops: Vec<BareOp>,
        evidence: &SingleThreaded,
    ) -> Result<(), SetupFailure> {
        for op in ops {
            self.put(op, evidence)?;
        }
        Ok(())
    }

    /// What was made on the way, once nothing more will be and nothing of the step runs yet.
    pub(super) fn recorded(&mut self) -> Stubs {
        std::mem::take(&mut self.recorder).finish()
    }

    /// Takes everything out, and gives back what was there and what was lent.
    pub(super) fn take_out(self, tree: &Path, made: &Stubs) -> Result<(), SetupFailure> {
        let mut result = Ok(());
        stubs::remove_around(tree, made, || {
            for put in self.put.iter().rev() {
                let name = String::from_utf8_lossy(&put.name).into_owned();
                let taken = take_out(put, &self.aside);
                if result.is_ok() {
                    result = taken.map_err(failed(Operation::RemoveStub, name));
                }
            }
        })?;
        result
    }

    fn put(&mut self, op: BareOp, evidence: &SingleThreaded) -> Result<(), SetupFailure> {
        match op {
            BareOp::Folder { target, mode } => self
                .make_room(&target, Kind::Directory, None)
                .and_then(|(folder, name)| {
                    mkdirat(&folder, &*name, Mode::RWXU)?;
                    chmodat(&folder, &*name, Mode::from_raw_mode(mode), AtFlags::empty())
                })
                .map_err(failed(Operation::CreateTarget, target)),
            BareOp::Lend {
                source,
                sub_path,
                target,
            } => self
                .lend(&source, &sub_path, &target)
                .map_err(failed(Operation::Mount, target)),
            BareOp::File { target, content } => self
                .make_room(&target, Kind::File, None)
                .and_then(|(folder, name)| write(&folder, &name, &content))
                .map_err(failed(Operation::WriteFile, target)),
            BareOp::Pipe {
                target,
                content,
                mode,
                uid,
                gid,
            } => self
                .make_room(&target, Kind::File, None)
                .and_then(|(folder, name)| {
                    let next = format!("pipe-{}", self.put.len());
                    let place = (&folder, name.as_slice());
                    let look = Look { mode, uid, gid };
                    pipe::serve(evidence, place, (&self.aside, &next), &content, look)
                })
                .map_err(failed(Operation::WriteFile, target)),
            BareOp::Node(device) => self
                .make_node(&device)
                .map_err(failed(Operation::MakeNode, &*device.path)),
            BareOp::Link { path, says } => self
                .parent(&path)
                .and_then(|(folder, name)| symlinkat(&*says, &folder, name))
                .map_err(failed(Operation::Link, &*path)),
            BareOp::Directory { path } => {
                target::open_or_make(self.root.as_fd(), &path, Kind::Directory, None)
                    .map(drop)
                    .map_err(failed(Operation::CreateDirectory, path))
            }
        }
    }

    /// Finds the place of `target`, with those on the way made, and moves aside what is there.
    fn make_room(
        &mut self,
        target: &str,
        kind: Kind,
        home: Option<Home>,
    ) -> Result<(OwnedFd, Vec<u8>), Errno> {
        let Place {
            folder,
            folder_path,
            name,
        } = target::place(self.root.as_fd(), target, kind, &mut self.recorder)?;
        self.recorder
            .before_changing(folder.as_fd(), &folder_path)?;
        let kept = format!("kept-{}", self.put.len());
        renameat(&folder, &*name, &self.aside, &*kept)?;
        let again = rustix::io::fcntl_dupfd_cloexec(&folder, 3)?;
        self.put.push(Put {
            folder,
            name: name.clone(),
            kept,
            home,
        });
        Ok((again, name))
    }

    fn lend(&mut self, source: &Path, sub_path: &str, target: &str) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let home = if sub_path.trim_matches('/').is_empty() {
            let folder = source.parent().ok_or(Errno::INVAL)?;
            let folder = openat(CWD, folder, flags, Mode::empty())?;
            let name = source.file_name().ok_or(Errno::INVAL)?;
            (folder, name.as_encoded_bytes().to_vec())
        } else {
            let source = openat(CWD, source, flags, Mode::empty())?;
            let mut unused = Recorder::default();
            let place = target::place(source.as_fd(), sub_path, Kind::Directory, &mut unused)?;
            (place.folder, place.name)
        };
        let (from, name) = home;
        let stat = statat(&from, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            kind @ (FileType::Directory | FileType::Socket) => {
                let kind = match kind {
                    FileType::Directory => Kind::Directory,
                    _ => Kind::File,
                };
                let again = rustix::io::fcntl_dupfd_cloexec(&from, 3)?;
                let home = Home {
                    folder: again,
                    name: name.clone(),
                    inode: stat.st_ino,
                };
                let (folder, to) = self.make_room(target, kind, Some(home))?;
                renameat(&from, &*name, &folder, &*to)
            }
            _ => {
                let file = openat(
                    &from,
                    &*name,
                    OFlags::RDONLY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                let (folder, to) = self.make_room(target, Kind::File, None)?;
                copy(file, &folder, &to)
            }
        }
    }

    /// A device; where this process may not make any, `null` at least is a file that everybody may write to.
    fn make_node(&self, device: &Device) -> Result<(), Errno> {
        let (folder, name) = self.parent(&device.path)?;
        let mode = Mode::from_raw_mode(device.mode & 0o7777);
        let kind = match device.kind {
            DeviceKind::Character => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
            DeviceKind::Pipe => FileType::Fifo,
        };
        let number = makedev(device.major, device.minor);
        match mknodat(&folder, name, kind, mode, number) {
            Err(Errno::PERM) if name == "null" => {
                mknodat(&folder, name, FileType::RegularFile, mode, 0)
            }
            Err(Errno::PERM) => Ok(()),
            made => made,
        }
    }

    /// The folder of a path in a folder that was put there, and the name in it.
    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), Errno> {
        let (folder, name) = path.rsplit_once('/').ok_or(Errno::INVAL)?;
        let folder = target::open_or_make(self.root.as_fd(), folder, Kind::Directory, None)?;
        Ok((folder, name))
    }
}

/// A file that everybody may read, as those that a mount shows.
fn write(folder: &OwnedFd, name: &[u8], content: &FileContent) -> Result<(), Errno> {
    let file = create(folder, name)?;
    let mut rest = content.0.as_slice();
    while !rest.is_empty() {
        let written = retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn create(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::from_raw_mode(0o644))
}

/// A copy with owner and mode.
fn copy(from: OwnedFd, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let stat = fstat(&from)?;
    let to = std::fs::File::from(create(folder, name)?);
    let mut from = std::fs::File::from(from);
    std::io::copy(&mut from, &mut &to)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(
        folder,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    chmodat(
        folder,
        name,
        Mode::from_raw_mode(stat.st_mode),
        AtFlags::empty(),
    )
}

fn take_out(put: &Put, aside: &OwnedFd) -> Result<(), Errno> {
    let there = statat(&put.folder, &*put.name, AtFlags::SYMLINK_NOFOLLOW);
    match (&put.home, there) {
        (Some(home), Ok(there)) if there.st_ino == home.inode => {
            renameat(&put.folder, &*put.name, &home.folder, &*home.name)?;
        }
        // What the command put there, or what was put there for it alone, goes with the folder aside.
        (_, Ok(_)) => {
            let gone = format!("gone-{}", put.kept);
            renameat(&put.folder, &*put.name, aside, &*gone)?;
        }
        (_, Err(_)) => {}
    }
    match renameat(aside, &*put.kept, &put.folder, &*put.name) {
        // The command has removed the folder that it was in.
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
