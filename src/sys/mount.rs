//! Mounts by descriptor: file systems are made detached, given their attributes, and attached where a descriptor points.
//!
//! No path is looked up twice and none is looked up in a tree that someone else can change. Takes Linux 5.12; overlays of
//! many layers take 6.5, older kernels get the classic call with its limit of about 230 layers.

use std::fmt::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

/// The kernel's `struct mount_attr`.
#[repr(C)]
#[derive(Debug, Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds attributes to a mount, with all mounts below it if `recursive`.
///
/// # Errors
/// `NOSYS` before Linux 5.12.
pub fn add_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    recursive: bool,
) -> Result<()> {
    let change = MountAttributes {
        set: u64::from(attributes.bits()),
        ..MountAttributes::default()
    };
    let flags = if recursive {
        libc::AT_EMPTY_PATH | libc::AT_RECURSIVE
    } else {
        libc::AT_EMPTY_PATH
    };
    // SAFETY: needed because no safe crate offers mount_setattr. It holds because the path is a NUL-terminated literal, the
    // structure is the kernel's first version and its size is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const change,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

/// Makes a file system of a kind that needs no device, not attached anywhere yet.
///
/// # Errors
/// What the kernel answered: `NODEV` for an unknown kind, `INVAL` for an option it does not take.
pub fn create(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // What `/proc/mounts` shows in the first column.
    fsconfig_set_string(context.as_fd(), "source", kind)?;
    for &(key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(context.as_fd(), key)?;
        } else {
            fsconfig_set_string(context.as_fd(), key, value)?;
        }
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Attaches a detached mount on the file or directory that `target` is.
///
/// # Errors
/// What the kernel answered: `NOTDIR` if one is a directory and the other is not.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}

/// A detached second mount of what `source` is: a directory, a file, a socket.
///
/// # Errors
/// What the kernel answered.
pub fn clone_of(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(source, "", flags)
}

/// A descriptor of a path for attaching and cloning, not for reading.
///
/// # Errors
/// What the kernel answered.
pub fn path_descriptor(path: &Path) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// The directories of an overlay, open. The kernel is told descriptors, not paths: there is no limit on their length, and
/// `/proc/mounts` inside shows nothing of the machine.
#[derive(Debug)]
pub struct OverlayDirectories {
    lower: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
}

impl OverlayDirectories {
    /// Opens the layers, topmost first, and the upper and work directories.
    ///
    /// # Errors
    /// The path that could not be opened, and what the kernel answered.
    pub fn open(
        lower: &[PathBuf],
        upper_and_work: Option<(&Path, &Path)>,
    ) -> std::result::Result<Self, (PathBuf, Errno)> {
        let open = |path: &Path| path_descriptor(path).map_err(|errno| (path.to_owned(), errno));
        let lower = lower
            .iter()
            .map(|path| open(path))
            .collect::<std::result::Result<_, _>>()?;
        let upper = match upper_and_work {
            Some((upper, work)) => Some((open(upper)?, open(work)?)),
            None => None,
        };
        Ok(Self { lower, upper })
    }

    /// Adds an empty directory below the layers if they are too few: the kernel wants two directories at the least.
    ///
    /// # Errors
    /// What opening it answered.
    pub fn fill_up(&mut self, mut empty: impl FnMut() -> Result<OwnedFd>) -> Result<()> {
        let fewest = if self.upper.is_some() { 1 } else { 2 };
        while self.lower.len() < fewest {
            self.lower.push(empty()?);
        }
        Ok(())
    }

    /// The work directory; nothing is looked up in it by name once it is open.
    #[must_use]
    pub fn work(&self) -> Option<BorrowedFd<'_>> {
        self.upper.as_ref().map(|(_, work)| work.as_fd())
    }

    /// Makes the overlay, detached, the modern way.
    ///
    /// Layers are exactly what their directories say (no redirects, no metadata-only copies), as the layer format has no
    /// place for anything else. `volatile` leaves out all syncing: without it the end of every step would sync the whole file system
    /// below `upper`, and a crash loses the step either way.
    ///
    /// # Errors
    /// What the kernel answered; `INVAL` or `NOSYS` from a kernel that is too old for this way.
    pub fn create(&self, user_namespace: bool) -> Result<OwnedFd> {
        match self.create_with(user_namespace, true) {
            Err(Errno::INVAL) if self.upper.is_some() => self.create_with(user_namespace, false),
            result => result,
        }
    }

    fn create_with(&self, user_namespace: bool, volatile: bool) -> Result<OwnedFd> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        fsconfig_set_string(context, "source", "overlay")?;
        for layer in &self.lower {
            fsconfig_set_string(context, "lowerdir+", magic_link(layer))?;
        }
        if let Some((upper, work)) = &self.upper {
            fsconfig_set_string(context, "upperdir", magic_link(upper))?;
            fsconfig_set_string(context, "workdir", magic_link(work))?;
        }
        for key in ["redirect_dir", "metacopy", "index"] {
            fsconfig_set_string(context, key, "off")?;
        }
        if self.upper.is_some() && volatile {
            fsconfig_set_flag(context, "volatile")?;
        }
        if user_namespace {
            fsconfig_set_flag(context, "userxattr")?;
        }
        fsconfig_create(context)?;
        fsmount(
            context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
    }

    /// Mounts the overlay on `target` the classic way, whose options have to fit a page.
    ///
    /// # Errors
    /// What the kernel answered; `TOOBIG` for more layers than fit.
    pub fn mount_classic(&self, target: BorrowedFd<'_>, user_namespace: bool) -> Result<()> {
        let mut options = String::from("redirect_dir=off,metacopy=off,index=off");
        if user_namespace {
            options.push_str(",userxattr");
        }
        for (position, layer) in self.lower.iter().enumerate() {
            options.push_str(if position == 0 { ",lowerdir=" } else { ":" });
            options.push_str(&magic_link(layer));
        }
        if let Some((upper, work)) = &self.upper {
            // Writing to a string cannot fail.
            let _unused = write!(
                options,
                ",upperdir={},workdir={}",
                magic_link(upper),
                magic_link(work)
            );
        }
        if options.len() >= 4096 {
            return Err(Errno::TOOBIG);
        }
        let options = std::ffi::CString::new(options).map_err(|_nul| Errno::INVAL)?;
        let target = format!("/proc/self/fd/{}", target.as_raw_fd());
        rustix::mount::mount(
            "overlay",
            target,
            "overlay",
            rustix::mount::MountFlags::empty(),
            &*options,
        )
    }
}

fn magic_link(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}
