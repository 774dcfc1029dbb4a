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
    /// Whether processes without rights may make user namespaces, as far as the settings say.
    pub user_namespaces: bool,
    /// Whether the kernel has overlay file systems. A module that is not loaded yet counts as absent unless this process may
    /// mount, which loads it.
    pub overlay: bool,
    /// Whether mounts can be made by descriptor (Linux 5.2).
    pub mount_descriptors: bool,
}

/// How a step can be run, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// As root, with all users and all rights to give.
    Root,
    /// In a user namespace whose only user is the builder's own.
    OneUser,
}

/// Why no step can run on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Neither rights nor user namespaces.
    #[error("a RUN needs root or user namespaces, and this process has neither")]
    NoRights,
    /// Root in a container that may neither mount nor make user namespaces.
    #[error(
        "a RUN needs the right to mount, which this container lacks (run it with `--privileged`)"
    )]
    MayNotMount,
    /// No overlay.
    #[error("a RUN needs overlay file systems, which this kernel lacks (`modprobe overlay`)")]
    NoOverlay,
    /// Old kernel.
    #[error("a RUN needs Linux 5.12 or newer")]
    OldKernel,
}

/// Looks at the machine; cheap, leaves nothing behind.
#[must_use]
pub fn kernel() -> Kernel {
    let may_mount = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    Kernel {
        euid: rustix::process::geteuid().as_raw(),
        may_mount,
        user_namespaces: setting("/proc/sys/user/max_user_namespaces")
            .is_some_and(|limit| limit > 0)
            && setting("/proc/sys/kernel/unprivileged_userns_clone") != Some(0)
            && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") != Some(1),
        overlay: has_file_system("overlay")
            || (may_mount && fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).is_ok()),
        mount_descriptors: open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).err()
            != Some(Errno::NOSYS),
    }
}

impl Kernel {
    /// The best way to run a step. A setting that this does not know (a security module, a filter of system calls) can still
    /// forbid it; the step's failure says so then.
    ///
    /// # Errors
    /// The first obstacle to all of them.
    pub fn rung(&self) -> Result<Rung, Obstacle> {
        if !self.mount_descriptors {
            return Err(Obstacle::OldKernel);
        }
        if !self.overlay {
            return Err(Obstacle::NoOverlay);
        }
        match (self.may_mount, self.user_namespaces, self.euid) {
            (true, _, _) => Ok(Rung::Root),
            (false, true, _) => Ok(Rung::OneUser),
            (false, false, 0) => Err(Obstacle::MayNotMount),
            (false, false, _) => Err(Obstacle::NoRights),
        }
    }
}

/// The number in a file below `/proc/sys`.
fn setting(path: &str) -> Option<u64> {
    read_small(path)?.trim().parse().ok()
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
    fn the_best_way_or_the_first_obstacle_is_named() {
        let all = Kernel {
            euid: 0,
            may_mount: true,
            user_namespaces: true,
            overlay: true,
            mount_descriptors: true,
        };
        let user = Kernel {
            euid: 1000,
            may_mount: false,
            ..all
        };
        let cases = [
            (all, Ok(Rung::Root)),
            (user, Ok(Rung::OneUser)),
            (
                Kernel {
                    may_mount: false,
                    ..all
                },
                Ok(Rung::OneUser),
            ),
            (
                Kernel {
                    may_mount: false,
                    user_namespaces: false,
                    ..all
                },
                Err(Obstacle::MayNotMount),
            ),
            (
                Kernel {
                    user_namespaces: false,
                    ..user
                },
                Err(Obstacle::NoRights),
            ),
            (
                Kernel {
                    overlay: false,
                    ..user
                },
                Err(Obstacle::NoOverlay),
            ),
            (
                Kernel {
                    mount_descriptors: false,
                    ..all
                },
                Err(Obstacle::OldKernel),
            ),
        ];
        for (kernel, expected) in cases {
            assert_eq!(kernel.rung(), expected);
        }
    }

    #[test]
    fn the_probe_knows_who_runs_it() {
        assert_eq!(kernel().euid, rustix::process::geteuid().as_raw());
        assert!(has_file_system("proc"));
    }
}
