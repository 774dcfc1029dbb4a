//! A step without namespaces and mounts: in a changed root, for root of a container that allows no more.
//!
//! One process stays outside, in the place of both supervisor and PID 1. It puts into the tree what the step is to find there,
//! starts the command in it, and becomes the parent of every process that the command leaves behind, so that none is left when it
//! takes everything out again. It ends with the builder: its socket tells, whatever became of the builder.
//!
//! The wall around the step is the changed root and nothing else. The command cannot change its root again, which would lead out,
//! and so has fewer rights than the container's other processes, which is why it cannot trace them. It shares their network, and
//! may signal them if it is root.

mod descendants;
mod pipe;
mod place;

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions};

use super::super::handshake::Report;
use super::super::setup::BareProgram;
use super::super::{Exit, Operation, Resources, SetupFailure};
use super::pid1::exit_of;
use super::supervisor::{release_output, send};
use super::{command, failed};
use crate::sys::process::{self, Fork, SingleThreaded};
use place::Places;

/// How often orphans are reaped while the command runs.
const REAP_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Runs the step to its end, and reports.
pub(super) fn run(
    evidence: &SingleThreaded,
    program: BareProgram,
    control: BorrowedFd<'_>,
) -> Result<(), SetupFailure> {
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).map_err(failed(Operation::Detach, ""))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed(Operation::Detach, ""))?;
    // Modes are given explicitly until the command starts.
    rustix::process::umask(Mode::empty());
    let BareProgram {
        tree,
        setup,
        command,
    } = program;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let shown = tree.display().to_string();
    let root = rustix::fs::openat(CWD, &tree, flags, Mode::empty())
        .map_err(failed(Operation::OpenSource, shown))?;
    let mut places = Places::new(root, &tree).map_err(failed(Operation::CreateTarget, "/"))?;
    let started = places
        .put_all(setup, evidence)
        .and_then(|()| start(evidence, &places.root, &command, control));
    let made = places.recorded();
    let ended = match started {
        Ok(child) => watch(child, control),
        Err(failure) => {
            // What serves secrets was started already.
            descendants::end_all();
            places.take_out(&tree, &made)?;
            return Err(failure);
        }
    };
    descendants::end_all();
    let used = process::usage_of_children();
    places.take_out(&tree, &made)?;
    let exit = ended.map_err(failed(Operation::Fork, ""))?;
    let report = Report::Ended {
        exit,
        resources: Resources {
            user_time: used.user_time,
            system_time: used.system_time,
            max_rss_bytes: used.max_rss_bytes,
            read_bytes: used.read_bytes,
            written_bytes: used.written_bytes,
            ..Resources::default()
        },
    };
    // The builder may be gone, which is one of the reasons for being here.
    let _unused = send(control, &report);
    Ok(())
}

fn start(
    evidence: &SingleThreaded,
    root: &OwnedFd,
    command: &super::super::setup::Command,
    control: BorrowedFd<'_>,
) -> Result<Pid, SetupFailure> {
    match process::fork(evidence).map_err(failed(Operation::Fork, ""))? {
        Fork::Child => {
            let enter = || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                rustix::process::fchdir(root)?;
                rustix::process::chroot(".")?;
                rustix::process::chdir("/")
            };
            if let Err(errno) = enter() {
                let failure = failed(Operation::Pivot, "/")(errno);
                let _unused = send(control, &Report::Failed(failure));
                process::exit_now(127);
            }
            command::run(evidence, command, None, control)
        }
        Fork::Parent(child) => {
            release_output().map_err(failed(Operation::Redirect, ""))?;
            Ok(child)
        }
    }
}

/// Waits for the command, or for the wish to end it, reaping what else ends meanwhile.
fn watch(command: Pid, control: BorrowedFd<'_>) -> Result<Exit, Errno> {
    let handle = rustix::process::pidfd_open(command, PidfdFlags::empty())?;
    loop {
        let mut events = [
            PollFd::new(&handle, PollFlags::IN),
            PollFd::new(&control, PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut events, Some(&REAP_EVERY)))?;
        let asked = !events[1].revents().is_empty();
        while let Some((pid, status)) =
            retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG))?
        {
            if pid == command {
                return Ok(exit_of(status));
            }
        }
        if asked {
            return Ok(Exit::Signal(Signal::KILL.as_raw()));
        }
    }
}
