//! What the kernel and the process's rights offer for a sandbox.

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
    /// Whether the kernel has overlay file systems. A module that is not loaded yet counts as absent unless this process may
    /// mount, which loads it.
    pub overlay: bool,
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
        overlay: has_file_system("overlay")
            || (may_mount && fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).is_ok()),
        mount_descriptors: open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).err()
            != Some(Errno::NOSYS),
    }
}

fn has_file_system(name: &str) -> bool {
    let Some(list) = read_small("/proc/filesystems") else {
        return false;
    };
    list.lines()
        .any(|line| line.rsplit('\t').next() == Some(name))
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
        assert!(has_file_system("proc"));
    }
}
