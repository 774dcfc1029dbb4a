//! The stage: a file system in memory, beside the new root, on which mounts are prepared before they go to their places. It holds
//! the root's own mount point, the content of secret files, devices, and overlays of which a part is shown. It goes away with the
//! machine's mounts; what was shown of it stays.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chownat, fchmod, fchown, makedev, mkdirat, mknodat, openat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::MountAttrFlags;
use rustix::process::{Gid, Uid};

use super::super::setup::{BUNDLE, Overlay};
use super::super::{Device, DeviceKind, FileContent, Operation, SetupFailure};
use super::failed;
use crate::sys::mount::{self, OverlayDirectories};

/// An empty folder of the stage: what a masked folder shows, and the bottom of an overlay of too few layers.
const EMPTY: &str = "empty";

/// The stage, mounted.
#[derive(Debug)]
pub(super) struct Stage {
    root: OwnedFd,
    /// Numbers the things on the stage.
    things: u32,
}

impl Stage {
    /// Makes the stage, and mounts it where nothing else is looked up any more.
    pub(super) fn new(place: BorrowedFd<'_>) -> Result<Self, Errno> {
        // Devices work here: nobody but this process sees the stage, and what is shown of it is told for each thing.
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
        // Without swap secrets stay off the disk; older kernels and user namespaces do not offer it.
        let root = match mount::create("tmpfs", &[("mode", "0700"), ("noswap", "")], attributes) {
            Err(Errno::INVAL | Errno::PERM) => {
                mount::create("tmpfs", &[("mode", "0700")], attributes)?
            }
            result => result?,
        };
        // Parts of a mount can be shown elsewhere only once it is mounted itself.
        mount::attach(root.as_fd(), place)?;
        mkdirat(&root, EMPTY, Mode::from_raw_mode(0o755))?;
        Ok(Self { root, things: 0 })
    }

    /// The empty folder.
    pub(super) fn empty(&self) -> Result<OwnedFd, Errno> {
        self.open(EMPTY)
    }

    fn open(&self, name: &str) -> Result<OwnedFd, Errno> {
        openat(
            &self.root,
            name,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    fn next_name(&mut self) -> String {
        self.things = self.things.wrapping_add(1);
        self.things.to_string()
    }

    /// A file in memory with exactly this content, owner and mode.
    pub(super) fn file(
        &mut self,
        content: &FileContent,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<OwnedFd, Errno> {
        let name = self.next_name();
        let file = write(self.root.as_fd(), &name, content)?;
        let (uid, gid) = owner;
        fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        // After the owner, whose change clears the set-id bits.
        fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        self.open(&name)
    }

    /// Attaches a detached mount on the stage; the result is its root.
    pub(super) fn show(&mut self, mounted: OwnedFd) -> Result<OwnedFd, Errno> {
        let name = self.next_name();
        mkdirat(&self.root, &*name, Mode::from_raw_mode(0o700))?;
        mount::attach(mounted.as_fd(), self.open(&name)?.as_fd())?;
        Ok(mounted)
    }

    /// A device with exactly this number, owner and mode.
    pub(super) fn device(&mut self, device: &Device) -> Result<OwnedFd, Errno> {
        let name = self.next_name();
        let mode = Mode::from_raw_mode(device.mode & 0o7777);
        let number = makedev(device.major, device.minor);
        mknodat(&self.root, &*name, file_type(device.kind), mode, number)?;
        if (device.uid, device.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(&self.root, &*name, Some(uid), Some(gid), flags)?;
        }
        self.open(&name)
    }

    /// Makes the folder of a bundle with its configuration; the result is where its root file system goes.
    pub(super) fn bundle(&mut self, config: &FileContent) -> Result<OwnedFd, Errno> {
        let folder = Mode::from_raw_mode(0o700);
        mkdirat(&self.root, BUNDLE, folder)?;
        let bundle = self.open(BUNDLE)?;
        mkdirat(&bundle, "rootfs", folder)?;
        write(bundle.as_fd(), "config.json", config)?;
        openat(
            &bundle,
            "rootfs",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// Mounts an overlay on the stage; the result is its root.
    pub(super) fn overlay(
        &mut self,
        directories: &mut OverlayDirectories,
        user_namespace: bool,
    ) -> Result<OwnedFd, Errno> {
        if let Some(mut bottom) = directories.take_bottom() {
            let bottom = self.overlay(&mut bottom, user_namespace)?;
            directories.put_below(bottom);
        }
        // An overlay is of two directories at the least.
        directories.fill_up(|| self.empty())?;
        let name = self.next_name();
        mkdirat(&self.root, &*name, Mode::from_raw_mode(0o700))?;
        let place = self.open(&name)?;
        match directories.create(user_namespace) {
            Ok(overlay) => {
                mount::attach(overlay.as_fd(), place.as_fd())?;
                Ok(overlay)
            }
            // The kernel does not know this way, or does not take these layers: the other way tells.
            Err(Errno::INVAL | Errno::NOSYS) => {
                directories.mount_classic(place.as_fd(), user_namespace)?;
                self.open(&name)
            }
            Err(errno) => Err(errno),
        }
    }
}

/// A new file for its owner alone.
fn write(folder: BorrowedFd<'_>, name: &str, content: &FileContent) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
    let mut rest = content.0.as_slice();
    while !rest.is_empty() {
        let written = retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(file)
}

/// Opens the directories of an overlay.
pub(super) fn directories_of(overlay: &Overlay) -> Result<OverlayDirectories, SetupFailure> {
    let writable = overlay.writable.as_ref();
    let upper = writable.map(|writable| (&*writable.upper, &*writable.work));
    OverlayDirectories::open(&overlay.lower, upper)
        .map_err(|(path, errno)| failed(Operation::OpenSource, path.display().to_string())(errno))
}

/// What the kernel calls a kind of device.
pub(super) fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Character => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Pipe => FileType::Fifo,
    }
}

/// Whether a descriptor is of a directory.
pub(super) fn is_directory(descriptor: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode).is_dir())
}
