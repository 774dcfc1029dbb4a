//! What the builder stands on: the rights with which it makes files and runs steps, found out once at its start.
//!
//! The ways to run a step are a ladder. Each rung below the first costs something, and none gives another result: the layers
//! of a step are the same on all of them, or the step fails with words that say why. An ordinary user's builder moves as a whole
//! into a user namespace before it does anything else, and is root there; everything after that asks the footing and nothing
//! else. A footing is data, and knows no step.

mod enter;
mod obstacle;
mod subordinate;

pub use obstacle::{Obstacle, Shortcoming};

use crate::sys::identity::IdMaps;
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

impl Rung {
    /// A word for it, for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::SubordinateIds => "subordinate-ids",
            Self::OneId => "one-id",
            Self::Chroot => "chroot",
        }
    }

    /// What it is, in one line.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Root => "as root of the machine",
            Self::SubordinateIds => "without root, in a user namespace with subordinate ids",
            Self::OneId => {
                "without root, in a user namespace with one id: no other user can run or own files"
            }
            Self::Chroot => "in a changed root, without namespaces and mounts",
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
    /// Finds out what this process has, and takes it: without root it is in a user namespace afterwards. To be called before there
    /// is a second thread.
    #[must_use]
    pub fn take() -> Self {
        Self::take_and_tell().0
    }

    /// The same, with what keeps the process from a better rung, best first.
    #[must_use]
    pub fn take_and_tell() -> (Self, Vec<Shortcoming>) {
        let mut shortcomings = Vec::new();
        let kernel = probe::kernel();
        let footing = climb(kernel, &mut shortcomings).unwrap_or_else(|obstacle| Self {
            rung: Err(obstacle),
            user_namespace: false,
            one_id: kernel.euid != 0,
        });
        (footing, shortcomings)
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

/// The best rung that this process can be on.
fn climb(kernel: Kernel, shortcomings: &mut Vec<Shortcoming>) -> Result<Footing, Obstacle> {
    if !kernel.mount_descriptors {
        return Err(Obstacle::OldKernel);
    }
    let is_root = kernel.euid == 0;
    if kernel.may_mount && is_root {
        let maps = IdMaps::of_this_process().map_err(|_silent| Obstacle::NoProc)?;
        return Ok(Footing::on(rung_of(&maps)));
    }
    match enter::namespace(is_root, shortcomings) {
        // Nothing is mounted on the last rung.
        Err(Obstacle::MayNotMount) if is_root && kernel.may_change_root => {
            Ok(Footing::on(Rung::Chroot))
        }
        result => result,
    }
}

/// The rung of a process that may mount and is root.
fn rung_of(maps: &IdMaps) -> Rung {
    if maps.are_the_machines() {
        Rung::Root
    } else if maps.are_single() {
        Rung::OneId
    } else {
        Rung::SubordinateIds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::identity::Extent;

    #[test]
    fn root_of_a_container_is_told_by_its_ids() {
        let extent = |inside, outside, count| Extent {
            inside,
            outside,
            count,
        };
        let same = |extents: Vec<Extent>| IdMaps {
            uids: extents.clone(),
            gids: extents,
        };
        for (maps, rung) in [
            (same(vec![extent(0, 0, u32::MAX)]), Rung::Root),
            (same(vec![extent(0, 100_000, 65_536)]), Rung::SubordinateIds),
            (
                same(vec![extent(0, 1000, 1), extent(1, 100_000, 65_536)]),
                Rung::SubordinateIds,
            ),
            (IdMaps::only(1000, 1000), Rung::OneId),
        ] {
            assert_eq!(rung_of(&maps), rung, "{maps:?}");
        }
    }

    #[test]
    fn only_root_of_the_machine_needs_no_user_namespace() {
        assert!(!Footing::on(Rung::Root).in_user_namespace());
        assert!(Footing::on(Rung::SubordinateIds).in_user_namespace());
        assert!(Footing::on(Rung::OneId).has_one_id());
        assert!(!Footing::on(Rung::SubordinateIds).has_one_id());
    }

    #[test]
    fn an_old_kernel_is_told_before_anything_is_tried() {
        let kernel = Kernel {
            euid: 0,
            may_mount: true,
            may_change_root: true,
            mount_descriptors: false,
        };
        assert_eq!(climb(kernel, &mut Vec::new()), Err(Obstacle::OldKernel));
    }
}
