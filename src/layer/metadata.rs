//! Owners, modes, times and extended attributes of files in a layer's directory.
//!
//! Files are named by an open descriptor, or by the descriptor of their directory and their name; never by a path that
//! could lead through a link.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
    chmodat, chownat, fchmod, fchown, flistxattr, fsetxattr, futimens, lgetxattr, llistxattr,
    lsetxattr, mknodat, openat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::entry::{Entry, Xattrs};
use crate::fsio::{self, Context as _};

/// How much this process may do to files, and where overlayfs looks for its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// Root of the machine: everything.
    Full,
    /// Root in a user namespace with a range of ids: no devices, attributes of overlayfs in `user.overlay.`.
    UserNamespace,
    /// One id only: also no owners; those live in the table of contents.
    OneId,
}

impl Privileges {
    /// The attribute that makes a directory hide the lower layers' content.
    #[must_use]
    pub const fn opaque_attribute(self) -> &'static str {
        match self {
            Self::Full => "trusted.overlay.opaque",
            Self::UserNamespace | Self::OneId => "user.overlay.opaque",
        }
    }
}

/// The attribute of an empty file that stands for a removal.
const WHITEOUT_ATTRIBUTE: &str = "user.overlay.whiteout";

/// A file to look at or to change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name in an open directory; links are not followed.
    Named(BorrowedFd<'a>, &'a OsStr),
}

impl Target<'_> {
    /// A path that leads there through the descriptor alone, for the calls that know no descriptors.
    fn proc_path(directory: BorrowedFd<'_>, name: &OsStr) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.as_bytes());
        path
    }
}

/// Gives a file the metadata of its entry; `shown` is for messages. In this order because a change of owner clears the
/// set-user-ID bit and capabilities.
pub(super) fn apply(
    target: Target<'_>,
    entry: &Entry,
    privileges: Privileges,
    shown: &Path,
) -> fsio::Result<()> {
    if privileges != Privileges::OneId {
        // The largest number stands for "leave it", which no entry means.
        let is_id = |id: &u32| *id != u32::MAX;
        let uid = Some(entry.uid).filter(is_id).map(Uid::from_raw);
        let gid = Some(entry.gid).filter(is_id).map(Gid::from_raw);
        match target {
            Target::Open(file) => fchown(file, uid, gid),
            Target::Named(directory, name) => {
                chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
        .context(fsio::SET_OWNER, shown)?;
    }
    for (name, value) in &entry.xattrs {
        set_xattr(target, name, value, privileges, shown)?;
    }
    let mode = Mode::from_raw_mode(entry.mode);
    match target {
        Target::Open(file) => fchmod(file, mode).context("set the mode of", shown)?,
        // Links have no mode, and whatever else has just been made under this name is no link.
        Target::Named(..) if matches!(entry.kind, super::EntryKind::Symlink { .. }) => {}
        Target::Named(directory, name) => {
            chmodat(directory, name, mode, AtFlags::empty()).context("set the mode of", shown)?;
        }
    }
    set_mtime(target, entry.mtime, shown)
}

/// Gives a file the owner, attributes, mode and time of another, which `like` and `xattrs` describe.
pub(super) fn copy_onto(
    target: Target<'_>,
    like: &Stat,
    xattrs: &Xattrs,
    shown: &Path,
) -> fsio::Result<()> {
    let owner = (
        Some(Uid::from_raw(like.st_uid)),
        Some(Gid::from_raw(like.st_gid)),
    );
    match target {
        Target::Open(file) => fchown(file, owner.0, owner.1),
        Target::Named(directory, name) => {
            chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
    .context("set the owner of", shown)?;
    for (name, value) in xattrs {
        // What could be set on the original is put up with here: it may have been made with more rights.
        set_xattr(target, name, value, Privileges::UserNamespace, shown)?;
    }
    let mode = Mode::from_raw_mode(like.st_mode);
    match target {
        Target::Open(file) => fchmod(file, mode).context("set the mode of", shown)?,
        Target::Named(..) if FileType::from_raw_mode(like.st_mode).is_symlink() => {}
        Target::Named(directory, name) => {
            chmodat(directory, name, mode, AtFlags::empty()).context("set the mode of", shown)?;
        }
    }
    let nanoseconds = i64::try_from(like.st_mtime_nsec).unwrap_or(0);
    set_times(target, (like.st_mtime, nanoseconds), shown)
}

/// Sets the time of the last change, in whole seconds.
pub(super) fn set_mtime(target: Target<'_>, seconds: i64, shown: &Path) -> fsio::Result<()> {
    set_times(target, (seconds, 0), shown)
}

/// Sets the time of the last change, in seconds and nanoseconds.
pub(super) fn set_times(
    target: Target<'_>,
    (seconds, nanoseconds): (i64, i64),
    shown: &Path,
) -> fsio::Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        },
    };
    match target {
        Target::Open(file) => futimens(file, &times),
        Target::Named(directory, name) => {
            utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
    .context("set the time of", shown)
}

/// Sets an attribute. File systems without attributes, and kernels that forbid this one here, are put up with: the
/// table of contents has the truth, the directory is what a RUN sees.
fn set_xattr(
    target: Target<'_>,
    name: &[u8],
    value: &[u8],
    privileges: Privileges,
    shown: &Path,
) -> fsio::Result<()> {
    let result = CString::new(name)
        .map_err(|_| Errno::INVAL)
        .and_then(|name| match target {
            Target::Open(file) => fsetxattr(file, &*name, value, XattrFlags::empty()),
            Target::Named(directory, file) => {
                let path = Target::proc_path(directory, file);
                lsetxattr(path, &*name, value, XattrFlags::empty())
            }
        });
    match result {
        Err(Errno::NOTSUP) => Ok(()),
        Err(Errno::PERM) if privileges != Privileges::Full || name.starts_with(b"user.") => Ok(()),
        result => result.context("set an extended attribute of", shown),
    }
}

/// Marks a name as removed from the lower layers. Where the file system takes no such device (an overlay is one), the mark is
/// what overlayfs has for that case: an empty file with an attribute.
pub(super) fn make_whiteout(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::PERM) => {}
        made => return made,
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mark = openat(directory, name, flags, Mode::empty())?;
    fsetxattr(&mark, WHITEOUT_ATTRIBUTE, b"y", XattrFlags::empty()).inspect_err(|_| {
        // A file that says nothing would count as a file.
        let _unused = unlinkat(directory, name, AtFlags::empty());
    })
}

/// Marks a directory as hiding what lower layers have in it. Unlike other attributes this has to work.
pub(super) fn set_opaque(
    directory: impl AsFd,
    privileges: Privileges,
    shown: &Path,
) -> fsio::Result<()> {
    fsetxattr(
        directory,
        privileges.opaque_attribute(),
        b"y",
        XattrFlags::empty(),
    )
    .context("make opaque", shown)
}

/// All attributes of a file, with those that overlayfs and the machine keep for themselves.
pub(super) fn read_xattrs(target: Target<'_>, shown: &Path) -> fsio::Result<Xattrs> {
    const WORDS: &str = "read the extended attributes of";
    let path = match target {
        Target::Open(_) => Vec::new(),
        Target::Named(directory, name) => Target::proc_path(directory, name),
    };
    let names = grow(|buffer| match target {
        Target::Open(file) => flistxattr(file, spare_capacity(buffer)),
        Target::Named(..) => llistxattr(path.as_slice(), spare_capacity(buffer)),
    });
    let names = match names {
        Err(Errno::NOTSUP) => return Ok(Xattrs::new()),
        names => names.context(WORDS, shown)?,
    };
    let mut xattrs = Xattrs::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let value = grow(|buffer| match target {
            Target::Open(file) => rustix::fs::fgetxattr(file, name, spare_capacity(buffer)),
            Target::Named(..) => lgetxattr(path.as_slice(), name, spare_capacity(buffer)),
        });
        match value {
            // Attributes of the kernel's modules may be listed and not be there.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            value => {
                xattrs.insert(name.to_vec(), value.context(WORDS, shown)?);
            }
        }
    }
    Ok(xattrs)
}

/// Calls with larger and larger buffers until the answer fits; the kernel's limit is 64 KiB.
fn grow(mut call: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(256);
    loop {
        buffer.clear();
        match call(&mut buffer) {
            Ok(_) => return Ok(buffer),
            Err(Errno::RANGE) if buffer.capacity() < 1 << 20 => {
                buffer.reserve(4 * buffer.capacity())
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether overlayfs keeps this attribute for itself. In a directory it can make overlayfs look for a file's content
/// somewhere else, so none may come from an archive.
pub(super) fn is_overlay_private(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Whether an attribute says something about this machine rather than about the file: the label that its security
/// policy gave, or a hash keyed with the machine's secret.
pub(super) fn is_of_this_machine(name: &[u8]) -> bool {
    matches!(name, b"security.selinux" | b"security.evm")
}
