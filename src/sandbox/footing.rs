//! What the builder stands on: the rights with which it makes files and runs steps, found out once at its start.
//!
//! The ways to run a step are a ladder. Each rung below the first costs something, and none gives another result: the layers
//! of a step are the same on all of them, or the step fails with words that say why. Everything after the start asks the footing
//! and nothing else; it is data, and knows no step.

use crate::sys::probe::{self, Kernel};

/// A way to run steps, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// As root of the machine.
    Root,
    /// As root of a user namespace that has a range of ids: an ordinary user with subordinate ids, or root of a container of
    /// such a user.
    SubordinateIds,
    /// As root of a user namespace that has one user and one group, those of the builder's user.
    OneId,
    /// As root of a container that may neither mount nor make namespaces: in a changed root, and in nothing else.
    Chroot,
}

/// Why no step can run on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// An ordinary user.
    #[error("a RUN needs root, and this process has other rights")]
    NoRights,
    /// Root in a container that may not mount.
    #[error("a RUN needs the right to mount, which this container lacks")]
    MayNotMount,
    /// No overlay.
    #[error("a RUN needs overlay file systems, which this kernel lacks")]
    NoOverlay,
    /// Old kernel.
    #[error("a RUN needs Linux 5.12 or newer")]
    OldKernel,
}

impl Obstacle {
    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoRights => {
                "run the builder as root; a Dockerfile without RUN needs no privileges"
            }
            Self::MayNotMount => "run that container with `--privileged`",
            Self::NoOverlay => "load it with `modprobe overlay`",
            Self::OldKernel => {
                "update the kernel; a Dockerfile without RUN is built on older ones too"
            }
        }
    }
}

/// What the builder stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footing {
    rung: Result<Rung, Obstacle>,
    user_namespace: bool,
    one_id: bool,
}

impl Footing {
    /// Finds out what this process has. To be called before there is a second thread.
    #[must_use]
    pub fn take() -> Self {
        let kernel = probe::kernel();
        match rung(kernel) {
            Ok(rung) => Self::on(rung),
            Err(obstacle) => Self {
                rung: Err(obstacle),
                user_namespace: false,
                one_id: kernel.euid != 0,
            },
        }
    }

    /// The footing of a process that is known to have the rights of a rung.
    #[must_use]
    pub const fn on(rung: Rung) -> Self {
        Self {
            rung: Ok(rung),
            user_namespace: matches!(rung, Rung::SubordinateIds | Rung::OneId),
            one_id: matches!(rung, Rung::OneId),
        }
    }

    /// How steps are run.
    ///
    /// # Errors
    /// Why none can be run here.
    pub const fn rung(&self) -> Result<Rung, Obstacle> {
        self.rung
    }

    /// Whether the process is in a user namespace: overlays keep their notes in attributes of users, and devices cannot be made.
    #[must_use]
    pub const fn in_user_namespace(&self) -> bool {
        self.user_namespace
    }

    /// Whether there is but one user and one group: files cannot be given to anybody, and nobody else can be become.
    #[must_use]
    pub const fn has_one_id(&self) -> bool {
        self.one_id
    }
}

fn rung(kernel: Kernel) -> Result<Rung, Obstacle> {
    if !kernel.mount_descriptors {
        return Err(Obstacle::OldKernel);
    }
    // Nothing is mounted on the last rung.
    if !kernel.overlay && kernel.may_mount {
        return Err(Obstacle::NoOverlay);
    }
    match (kernel.may_mount, kernel.euid) {
        (true, 0) => Ok(Rung::Root),
        (false, 0) if kernel.may_change_root => Ok(Rung::Chroot),
        (false, 0) => Err(Obstacle::MayNotMount),
        _ => Err(Obstacle::NoRights),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_or_the_first_obstacle_is_named() {
        let root = Kernel {
            euid: 0,
            may_mount: true,
            may_change_root: true,
            overlay: true,
            mount_descriptors: true,
        };
        let contained = Kernel {
            may_mount: false,
            ..root
        };
        let locked_up = Kernel {
            may_change_root: false,
            ..contained
        };
        let user = Kernel {
            euid: 1000,
            ..contained
        };
        let without_overlay = Kernel {
            overlay: false,
            ..root
        };
        let old = Kernel {
            mount_descriptors: false,
            ..root
        };
        let cases = [
            (root, Ok(Rung::Root)),
            (contained, Ok(Rung::Chroot)),
            (locked_up, Err(Obstacle::MayNotMount)),
            (user, Err(Obstacle::NoRights)),
            (without_overlay, Err(Obstacle::NoOverlay)),
            (old, Err(Obstacle::OldKernel)),
        ];
        for (kernel, expected) in cases {
            assert_eq!(rung(kernel), expected);
        }
    }

    #[test]
    fn only_root_of_the_machine_needs_no_user_namespace() {
        assert!(!Footing::on(Rung::Root).in_user_namespace());
        assert!(Footing::on(Rung::SubordinateIds).in_user_namespace());
        assert!(Footing::on(Rung::OneId).has_one_id());
        assert!(!Footing::on(Rung::SubordinateIds).has_one_id());
    }
}
