//! What a context says about one path: kind, mode, times, identity. Not its content.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

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
    pub fn of(metadata: &Metadata) -> Self {
        let nanos = |nanos: i64| u32::try_from(nanos).unwrap_or(0);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), nanos(metadata.mtime_nsec())),
            changed: (metadata.ctime(), nanos(metadata.ctime_nsec())),
        }
    }
}

impl Entry {
    /// An entry from a `stat` that did not follow links; `read_link` is asked only for a symbolic link.
    pub(super) fn new<E>(
        path: PathBuf,
        metadata: &Metadata,
        read_link: impl FnOnce() -> Result<PathBuf, E>,
    ) -> Result<Self, E> {
        let kind = metadata.file_type();
        let (major, minor) = (
            rustix::fs::major(metadata.rdev()),
            rustix::fs::minor(metadata.rdev()),
        );
        let kind = if kind.is_dir() {
            EntryKind::Directory
        } else if kind.is_symlink() {
            EntryKind::Symlink {
                target: read_link()?,
            }
        } else if kind.is_fifo() {
            EntryKind::Fifo
        } else if kind.is_char_device() {
            EntryKind::CharDevice { major, minor }
        } else if kind.is_block_device() {
            EntryKind::BlockDevice { major, minor }
        } else if kind.is_socket() {
            EntryKind::File { size: 0 }
        } else {
            EntryKind::File {
                size: metadata.size(),
            }
        };
        let linked = matches!(kind, EntryKind::File { .. }) && metadata.nlink() > 1;
        Ok(Self {
            path,
            kind,
            mode: metadata.mode() & 0o7777,
            uid: 0,
            gid: 0,
            mtime: metadata.mtime(),
            hard_link: linked.then(|| LinkIdentity {
                device: metadata.dev(),
                inode: metadata.ino(),
                names: metadata.nlink(),
            }),
            stamp: Stamp::of(metadata),
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
        self.path.strip_prefix(root).unwrap_or(&self.path)
    }
}
