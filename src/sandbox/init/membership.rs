//! The cgroups of a step from the inside: PID 1 is born in one or enters it, and is the last that the kernel kills for want of memory.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::super::setup::StepCgroups;
use super::super::{Operation, SetupFailure};
use super::failed;
use crate::sys::process::{self, Fork, SingleThreaded};

/// The last but one to be killed: a process that can never be killed could block a cgroup.
const LAST: &[u8] = b"-999";

/// Makes the process that becomes PID 1, in the cgroup of version 2 if there is one.
pub(super) fn fork(
    evidence: &SingleThreaded,
    cgroups: Option<&StepCgroups>,
) -> Result<Fork, SetupFailure> {
    let Some(folder) = cgroups.and_then(|cgroups| cgroups.unified.as_ref()) else {
        return process::fork(evidence).map_err(failed(Operation::Fork, ""));
    };
    let name = folder.display().to_string();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let born = openat(CWD, folder, flags, Mode::empty())
        .and_then(|folder| process::fork_into(evidence, folder.as_fd()));
    born.map_err(failed(Operation::EnterCgroup, name))
}

/// Enters the cgroups of version 1, in which nobody can be born.
pub(super) fn enter(cgroups: &StepCgroups) -> Result<(), SetupFailure> {
    for folder in &cgroups.legacy {
        let path = folder.join("cgroup.procs");
        let enter = || {
            let file = openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            // The process that writes.
            rustix::io::write(&file, b"0")
        };
        enter().map_err(failed(Operation::EnterCgroup, folder.display().to_string()))?;
    }
    Ok(())
}

/// What [`raise`] takes; opened while the machine's `/proc` is there.
pub(super) fn shield() -> Option<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    // Some machines hide it from others than its owner; then the kernel chooses by size.
    openat(CWD, "/proc/self/oom_score_adj", flags, Mode::empty()).ok()
}

/// Makes PID 1 the last to be killed in its cgroup. After the command was started: that is not to inherit it.
pub(super) fn raise(shield: OwnedFd) {
    // Takes a right over the machine. Without it the kernel chooses by size, and PID 1 is small.
    let _unused = rustix::io::write(shield, LAST);
}
