//! Control groups: the limits of a step as a whole, what it used as a whole, and a second net to catch its processes with.
//!
//! Version 2, version 1 and machines with both. The builder makes a cgroup for a step (`place` says where, `settings` what is
//! written to it), PID 1 is born in it or enters it before it makes its namespaces, and the builder reads what was counted and removes it.
//! There is one only for a step with limits: entering one of version 1 makes the kernel wait for all processors, which is
//! more than all the rest of a step.

mod error;
mod hierarchy;
mod leftover;
mod place;
mod settings;
mod step;
#[cfg(test)]
mod tests;
mod usage;

use std::sync::OnceLock;

use super::limits::Limits;
use crate::fsio;
use hierarchy::Hierarchies;

pub use error::CgroupError;
pub(super) use leftover::remove;
pub(super) use step::StepCgroup;
pub(super) use usage::kills_of_machine;

/// The cgroups of this machine, looked for when a step first needs one.
#[derive(Debug, Default)]
pub(super) struct Cgroups(OnceLock<Hierarchies>);

impl Cgroups {
    /// Makes a cgroup with limits.
    pub(super) fn make(&self, limits: &Limits) -> Result<StepCgroup, CgroupError> {
        let hierarchies = self.0.get_or_init(|| {
            let text = |path| fsio::read(path).unwrap_or_default();
            let (cgroup, mounts) = (text("/proc/self/cgroup"), text("/proc/self/mountinfo"));
            Hierarchies::read(
                &String::from_utf8_lossy(&cgroup),
                &String::from_utf8_lossy(&mounts),
            )
        });
        let place = place::find(hierarchies, limits)?;
        StepCgroup::make(place, limits, &step::by_kernel)
    }
}
