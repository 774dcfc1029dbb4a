//! What a context says about one path: kind, mode, times, identity. Not its content.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat, major, minor};

use super::lexical;

/// One path of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the context root, without links on the way; empty for the root itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission, set-id and sticky bits: the low 12 bits of the mode.
    pub mode: u32,
    /// Owner to give to a copy. Always 0: who owns the files of a context is an accident of the machine.
    pub uid: u32,
    /// Group to give to a copy. Always 0, like the owner.
    pub gid: u32,
    /// Modification time in whole seconds since 1970.
    pub mtime: i64,
    /// For a file with more than one name: what tells that two names are the same file.
    pub hard_link: Option<LinkIdentity>,
    /// What `stat` said, to notice a change.
    pub stamp: Stamp,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file. A socket counts as an empty one: it cannot be copied.
    File {
        /// Bytes of content.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it says, unresolved.
        target: PathBuf,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// Identity of a file that has several names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkIdentity {
    /// Device it is on.
    pub device: u64,
    /// Inode on that device.
    pub inode: u64,
    /// Number of its names, inside and outside the context.
    pub names: u64,
}

/// The part of a `stat` that changes whenever the content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, u32),
    /// Change time of the inode: seconds and nanoseconds. Nobody can set it back.
    pub changed: (i64, u32),
}

impl Stamp {
    /// The stamp in a `stat` result.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        let nanos = |nanos: u64| u32::try_from(nanos).unwrap_or(0);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: size(stat),
            modified: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
        }
    }
}

impl Entry {
    /// An entry from a `stat` that did not follow links; `read_link` is asked only for a symbolic link.
    pub(super) fn new<E>(
        path: PathBuf,
        stat: &Stat,
        read_link: impl FnOnce() -> Result<PathBuf, E>,
    ) -> Result<Self, E> {
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink {
                target: read_link()?,
            },
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileType::Socket => EntryKind::File { size: 0 },
            _ => EntryKind::File { size: size(stat) },
        };
        #[allow(
            clippy::useless_conversion,
            reason = "its type is another one elsewhere"
        )]
        let names = u64::from(stat.st_nlink);
        let linked = matches!(kind, EntryKind::File { .. }) && names > 1;
        Ok(Self {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: 0,
            gid: 0,
            mtime: stat.st_mtime,
            hard_link: linked.then_some(LinkIdentity {
                device: stat.st_dev,
                inode: stat.st_ino,
                names,
            }),
            stamp: Stamp::of(stat),
        })
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    /// Bytes of content: 0 for everything but a regular file.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size } => size,
            _ => 0,
        }
    }

    /// The path relative to `root`, the directory that is being copied; the whole path where it is not below it.
    #[must_use]
    pub fn path_below(&self, root: &Path) -> &Path {
        lexical::below(&self.path, root).unwrap_or(&self.path)
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
