//! What the kernel and the process's rights offer for a sandbox.

use std::os::fd::AsFd as _;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags, fsopen, open_tree};
use rustix::thread::CapabilitySet;

/// What a sandbox can be built from on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Effective user id of this process.
    pub euid: u32,
    /// Whether this process may mount (and so may make namespaces of all kinds without a user namespace).
    pub may_mount: bool,
    /// Whether this process may change its root directory.
    pub may_change_root: bool,
    /// Whether mounts can be made by descriptor (Linux 5.2).
    pub mount_descriptors: bool,
}

/// Looks at the machine; cheap, leaves nothing behind.
#[must_use]
pub fn kernel() -> Kernel {
    let rights = rustix::thread::capabilities(None);
    let may = |right| rights.is_ok_and(|sets| sets.effective.contains(right));
    let may_mount = may(CapabilitySet::SYS_ADMIN);
    Kernel {
        euid: rustix::process::geteuid().as_raw(),
        may_mount,
        may_change_root: may(CapabilitySet::SYS_CHROOT),
        mount_descriptors: open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).err()
            != Some(Errno::NOSYS),
    }
}

/// Why a user namespace could not be made, as far as the settings of the machine say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// `kernel.unprivileged_userns_clone` is 0 (Debian before 11, some hardened kernels).
    UsernsClone,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1 (Ubuntu from 23.10 on).
    AppArmor,
    /// `user.max_user_namespaces` is 0 (RHEL 7, hardened machines).
    MaxUserNamespaces,
    /// No setting that is known: a filter of system calls, another security module.
    Unknown,
}

/// Looks for the setting that forbids user namespaces.
#[must_use]
pub fn why_forbidden() -> Forbidden {
    let setting = |path: &str| read_small(path)?.trim().parse::<u64>().ok();
    if setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        Forbidden::UsernsClone
    } else if setting("/proc/sys/user/max_user_namespaces") == Some(0) {
        Forbidden::MaxUserNamespaces
    } else if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        Forbidden::AppArmor
    } else {
        Forbidden::Unknown
    }
}

/// Whether this process may mount here, asked by making a file system that is never mounted: capabilities do not tell what a
/// security module forbids.
///
/// # Errors
/// What the kernel answered.
pub fn may_mount_here() -> rustix::io::Result<()> {
    let memory = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(memory.as_fd())?;
    rustix::mount::fsmount(
        memory.as_fd(),
        rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC,
        rustix::mount::MountAttrFlags::empty(),
    )
    .map(drop)
}

fn read_small(path: &str) -> Option<String> {
    let file =
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = vec![0; 8192];
    let length = rustix::io::read(&file, &mut bytes).ok()?;
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_knows_who_runs_it() {
        assert_eq!(kernel().euid, rustix::process::geteuid().as_raw());
    }
}
