//! Mounts by descriptor: file systems are made detached, given their attributes, and attached where a descriptor points.
//!
//! No path is looked up twice and none is looked up in a tree that someone else can change. Takes Linux 5.12; overlays of
//! many layers take 6.5, older kernels get the classic call with its limit of about 230 layers. The kernel takes 500 layers in one
//! overlay and one overlay in another, which makes 999.

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

/// What is the same for every overlay: attributes of layers that would refer to other places are neither made nor followed.
const FIXED_OPTIONS: [(&str, &str); 3] = [
    ("redirect_dir", "nofollow"),
    ("metacopy", "off"),
    ("index", "off"),
];

/// As many layers as the kernel takes in one overlay.
const MOST_LAYERS: usize = 500;

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

    /// Takes the bottom layers away if there are more than the kernel takes in one overlay, as an overlay of their own, whose root
    /// [`Self::put_below`] puts in their place. Only the bottom ones can be taken together: what a layer removes from those
    /// below it would not be seen in a mount of its own.
    #[must_use]
    pub fn take_bottom(&mut self) -> Option<Self> {
        let above = self.lower.len().checked_sub(MOST_LAYERS)?;
        (above > 0).then(|| Self {
            lower: self.lower.split_off(above),
            upper: None,
        })
    }

    /// Adds a directory below all layers.
    pub fn put_below(&mut self, directory: OwnedFd) {
        self.lower.push(directory);
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
        for (key, value) in FIXED_OPTIONS {
            fsconfig_set_string(context, key, value)?;
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
        let fixed = FIXED_OPTIONS.map(|(key, value)| format!("{key}={value}"));
        let mut options = fixed.join(",");
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::mount::MountPropagationFlags;
    use rustix::thread::UnshareFlags;

    use super::*;
    use crate::fsio;

    /// Runs `test` on a thread with mounts of its own, which vanish with it.
    fn with_own_mounts(test: impl FnOnce() + Send) {
        if !crate::sys::probe::kernel().may_mount {
            assert!(option_env!("CI").is_none(), "CI has to let tests mount");
            println!("not tested: this process may not mount");
            return;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                crate::sys::process::unshare_namespaces(UnshareFlags::NEWNS | UnshareFlags::FS)
                    .unwrap();
                let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                rustix::mount::mount_change("/", private).unwrap();
                test();
            });
        });
    }

    #[test]
    fn both_ways_of_making_an_overlay_show_the_same() {
        with_own_mounts(|| {
            for classic in [false, true] {
                let scratch = tempfile::tempdir().unwrap();
                let path = |name: &str| scratch.path().join(name);
                for name in ["a", "b", "upper", "work", "place"] {
                    fsio::create_dir(path(name)).unwrap();
                }
                symlink("a", path("a/which")).unwrap();
                symlink("b", path("b/which")).unwrap();
                symlink("b", path("b/only")).unwrap();
                let lower = [path("b"), path("a")];
                let directories =
                    OverlayDirectories::open(&lower, Some((&path("upper"), &path("work"))))
                        .unwrap();
                let place = path_descriptor(&path("place")).unwrap();
                if classic {
                    directories.mount_classic(place.as_fd(), false).unwrap();
                } else {
                    attach(directories.create(false).unwrap().as_fd(), place.as_fd()).unwrap();
                }
                assert_eq!(
                    fsio::read_link(path("place/which")).unwrap().to_str(),
                    Some("b")
                );
                fsio::remove_file(path("place/only")).unwrap();
                fsio::create_dir(path("place/made")).unwrap();
                assert_eq!(
                    fsio::read_dir_sorted(path("upper")).unwrap(),
                    ["made", "only"]
                );
                rustix::mount::unmount(path("place"), rustix::mount::UnmountFlags::DETACH).unwrap();
            }
        });
    }

    #[test]
    fn too_many_layers_for_the_classic_way_are_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let lower = vec![scratch.path().to_owned(); 300];
        let directories = OverlayDirectories::open(&lower, None).unwrap();
        let place = path_descriptor(scratch.path()).unwrap();
        assert_eq!(
            directories.mount_classic(place.as_fd(), false).unwrap_err(),
            Errno::TOOBIG
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let gone = PathBuf::from("/no/such/layer");
        let (path, errno) =
            OverlayDirectories::open(std::slice::from_ref(&gone), None).unwrap_err();
        assert_eq!((path, errno), (gone, Errno::NOENT));
    }
}
