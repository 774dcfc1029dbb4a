//! PID 1 of a sandbox: carries out the set-up, starts the command, reaps what it leaves behind, and reports.
//!
//! It forwards no signals and hides from the step: its memory (which held the secrets) and its descriptors cannot be looked
//! at by a command without the right to trace.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::super::handshake::{self, Report};
use super::super::setup::{Namespaces, Program};
use super::super::{Exit, Network, Operation, Resources, SetupFailure};
use super::interpret::Setup;
use super::supervisor::send;
use super::{command, failed, membership};
use crate::sys::binfmt::Emulation;
use crate::sys::process::{self, Fork, SingleThreaded, Standard};

/// What PID 1 has from the supervisor.
pub(super) struct Inherited<'a> {
    /// The socket to the builder.
    pub(super) control: BorrowedFd<'a>,
    /// Where the list of made mount points goes, once.
    pub(super) stubs: OwnedFd,
    /// The supervisor: readable when it is gone.
    pub(super) supervisor: OwnedFd,
    /// Where the command goes, if it needs an emulator.
    pub(super) emulation: Option<Emulation>,
}

/// Does everything and ends the process; its end is the end of all processes of the step.
pub(super) fn run(evidence: &SingleThreaded, program: Program, inherited: Inherited<'_>) -> ! {
    let control = inherited.control;
    let report = match run_step(evidence, program, inherited) {
        Ok((exit, resources)) => Report::Ended { exit, resources },
        Err(failure) => Report::Failed(failure),
    };
    process::exit_now(i32::from(send(control, &report).is_err()))
}

fn run_step(
    evidence: &SingleThreaded,
    program: Program,
    inherited: Inherited<'_>,
) -> Result<(Exit, Resources), SetupFailure> {
    let Inherited {
        control,
        stubs,
        supervisor,
        emulation,
    } = inherited;
    tie_to(&supervisor).map_err(failed(Operation::TieToParent, ""))?;
    drop(supervisor);
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed(Operation::Detach, ""))?;
    // Modes are given explicitly until the command starts.
    rustix::process::umask(Mode::empty());
    let mut shield = None;
    if let Some(cgroups) = &program.cgroups {
        shield = membership::shield();
        membership::enter(cgroups)?;
    }
    enter(&program.namespaces)?;

    let Program { setup, command, .. } = program;
    let mut tree = Setup::new();
    let result = tree.carry_out(setup);
    tell(stubs, &tree.into_stubs()).map_err(failed(Operation::CreateTarget, ""))?;
    result?;

    let pid = match process::fork(evidence).map_err(failed(Operation::Fork, ""))? {
        Fork::Child => command::run(evidence, &command, emulation.as_ref(), control),
        Fork::Parent(pid) => pid,
    };
    if let Some(shield) = shield {
        membership::raise(shield);
    }
    // The command has the output now; its end shall not wait for us.
    let null = std::io::stdin();
    for standard in [Standard::Output, Standard::Error] {
        process::redirect(std::os::fd::AsFd::as_fd(&null), standard)
            .map_err(failed(Operation::Redirect, ""))?;
    }
    let exit = wait_for(pid).map_err(failed(Operation::Fork, ""))?;
    end_all().map_err(failed(Operation::Fork, ""))?;
    let used = process::usage_of_children();
    let resources = Resources {
        user_time: used.user_time,
        system_time: used.system_time,
        max_rss_bytes: used.max_rss_bytes,
        peak_memory_bytes: None,
        read_bytes: used.read_bytes,
        written_bytes: used.written_bytes,
    };
    Ok((exit, resources))
}

/// The supervisor's end kills this process, also if it came before this call.
fn tie_to(supervisor: &OwnedFd) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut events = [PollFd::new(supervisor, PollFlags::IN)];
    let at_once = rustix::event::Timespec::default();
    if retry_on_intr(|| poll(&mut events, Some(&at_once)))? > 0 {
        return Err(Errno::SRCH);
    }
    Ok(())
}

fn enter(namespaces: &Namespaces) -> Result<(), SetupFailure> {
    let mut flags =
        UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | UnshareFlags::NEWCGROUP;
    match &namespaces.network {
        Network::Host => {}
        Network::None => flags |= UnshareFlags::NEWNET,
        // Before `/proc` is one that does not have the builder.
        Network::Namespace(path) => {
            join_network(path).map_err(failed(Operation::JoinNetwork, path.to_string_lossy()))?;
        }
    }
    process::unshare_namespaces(flags).map_err(failed(Operation::Unshare, ""))?;
    // Fails where there are no keys or where they are forbidden: then there are none to protect.
    let _unused = process::join_new_session_keyring();
    Ok(())
}

fn join_network(path: &Path) -> Result<(), Errno> {
    let namespace = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}

/// Sends the list and closes the pipe, which also says that the set-up is done.
fn tell(pipe: OwnedFd, made: &super::stubs::Stubs) -> Result<(), Errno> {
    let bytes = handshake::encode(made)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let written = retry_on_intr(|| rustix::io::write(&pipe, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Waits for the command, reaping everything else that ends meanwhile.
fn wait_for(command: Pid) -> Result<Exit, Errno> {
    loop {
        let ended = retry_on_intr(|| rustix::process::wait(WaitOptions::empty()))?;
        match ended {
            Some((pid, status)) if pid == command => return Ok(exit_of(status)),
            _ => {}
        }
    }
}

/// Kills and reaps every other process of the namespace.
fn end_all() -> Result<(), Errno> {
    loop {
        process::kill_all_others();
        match retry_on_intr(|| rustix::process::wait(WaitOptions::empty())) {
            Ok(_) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

/// How a process that was waited for ended.
pub(super) fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // Stops are not asked for.
        (None, None) => Exit::Code(-1),
    }
}
