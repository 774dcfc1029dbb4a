//! The first process of the child: makes the process namespace, waits for PID 1, kills it when the builder asks or dies, and
//! removes the mount points that the set-up had to make.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use super::super::cgroup;
use super::super::handshake::{self, Report};
use super::super::setup::{Order, Program};
use super::super::{Exit, Operation, SetupFailure};
use super::pid1::{self, Inherited};
use super::stubs::Stubs;
use super::{bare, failed, membership, stubs};
use crate::sys::binfmt::{Emulation, Registration};
use crate::sys::process::{self, Fork, SingleThreaded, Standard};

/// Does the child's work. The code tells the builder something only if no report could be sent.
pub(super) fn run() -> ExitCode {
    let begin = || Ok::<_, Errno>((SingleThreaded::begin()?, take_control_socket()?));
    let Ok((evidence, control)) = begin() else {
        return ExitCode::from(3);
    };
    let Err(failure) = supervise(&evidence, &control) else {
        return ExitCode::SUCCESS;
    };
    match send(control.as_fd(), &Report::Failed(failure)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_gone) => ExitCode::from(4),
    }
}

/// The control socket comes as standard input; the command gets an empty one in its place.
fn take_control_socket() -> Result<OwnedFd, Errno> {
    let control = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    let null = null_device()?;
    process::redirect(null.as_fd(), Standard::Input)?;
    Ok(control)
}

fn null_device() -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn supervise(evidence: &SingleThreaded, control: &OwnedFd) -> Result<(), SetupFailure> {
    use Operation::{Detach, Fork as Start, ReceiveSetup, Unshare};
    // Keys that are pressed at the builder's terminal are for the builder.
    rustix::process::setsid().map_err(failed(Detach, ""))?;
    let order = handshake::receive(control.as_fd()).map_err(failed(ReceiveSetup, ""))?;
    let program = match order {
        Order::InNamespaces(program) => *program,
        Order::Bare(program) => return bare::run(evidence, *program, control.as_fd()),
    };

    // Here, where process ids are those of `/proc`.
    let emulation = emulation(evidence, &program)?;
    process::unshare_namespaces(UnshareFlags::NEWPID).map_err(failed(Unshare, ""))?;
    let (stubs_in, stubs_out) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed(Start, ""))?;
    let own_id = rustix::process::getpid();
    let supervisor =
        rustix::process::pidfd_open(own_id, PidfdFlags::empty()).map_err(failed(Start, ""))?;

    match membership::fork(evidence, program.cgroups.as_ref())? {
        Fork::Child => {
            drop(stubs_in);
            let inherited = Inherited {
                control: control.as_fd(),
                stubs: stubs_out,
                supervisor,
                emulation,
            };
            pid1::run(evidence, program, inherited)
        }
        Fork::Parent(child) => {
            drop((stubs_out, supervisor, emulation));
            release_output().map_err(failed(Operation::Redirect, ""))?;
            let watch = || {
                let handle = rustix::process::pidfd_open(child, PidfdFlags::empty())?;
                // Comes at the end of the set-up, also of one that failed.
                wait_for(handle.as_fd(), stubs_in.as_fd(), control.as_fd())?;
                let stubs: Stubs = handshake::receive(stubs_in.as_fd()).unwrap_or_default();
                wait_for(handle.as_fd(), handle.as_fd(), control.as_fd())?;
                Ok((stubs, exit_of(child)?))
            };
            let (stubs, exit) = watch().map_err(failed(Start, ""))?;
            if let Some(cgroups) = program.cgroups.filter(|_| is_gone(control.as_fd())) {
                // The builder would have looked what the step used, and then removed them.
                let folders = cgroups.unified.iter().chain(&cgroups.legacy);
                folders.for_each(|folder| cgroup::remove(folder));
            }
            if exit != Exit::Code(0) {
                // The builder may be gone, which is one of the reasons for being here.
                let _unused = send(control.as_fd(), &Report::Lost(exit));
            }
            stubs::remove(&program.upper, &stubs)
        }
    }
}

/// The user namespace in which the command has its emulator.
fn emulation(
    evidence: &SingleThreaded,
    program: &Program,
) -> Result<Option<Emulation>, SetupFailure> {
    let Some(emulator) = &program.emulator else {
        return Ok(None);
    };
    let registration = Registration {
        program: &emulator.program,
        magic: &emulator.header,
        mask: &emulator.mask,
    };
    let name = emulator.program.display().to_string();
    let begun = Emulation::begin(evidence, registration);
    begun
        .map(Some)
        .map_err(failed(Operation::RegisterEmulator, name))
}

/// Only processes of the step hold the output pipe, so that its end is their end.
pub(super) fn release_output() -> Result<(), Errno> {
    let null = null_device()?;
    process::redirect(null.as_fd(), Standard::Output)?;
    process::redirect(null.as_fd(), Standard::Error)
}

/// Waits for something of PID 1. The builder says nothing after the program: whatever happens on its socket asks for the end.
fn wait_for(
    child: BorrowedFd<'_>,
    awaited: BorrowedFd<'_>,
    control: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut events = [
        PollFd::new(&awaited, PollFlags::IN),
        PollFd::new(&control, PollFlags::IN),
    ];
    retry_on_intr(|| poll(&mut events, None))?;
    if events[0].revents().is_empty() {
        // The end of PID 1 is the end of everything in its namespace.
        match rustix::process::pidfd_send_signal(child, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether the builder is no longer there, as opposed to one that asked for the end and waits for it.
fn is_gone(control: BorrowedFd<'_>) -> bool {
    let mut events = [PollFd::new(&control, PollFlags::IN)];
    let at_once = rustix::event::Timespec::default();
    let polled = retry_on_intr(|| poll(&mut events, Some(&at_once)));
    polled.is_ok() && events[0].revents().contains(PollFlags::HUP)
}

/// Waits for the end of PID 1.
fn exit_of(child: Pid) -> Result<Exit, Errno> {
    let status = retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()))?;
    let status = status.map(|(_pid, status)| status);
    Ok(status.map_or(Exit::Code(-1), pid1::exit_of))
}

/// Sends a report to the builder.
pub(super) fn send(control: BorrowedFd<'_>, report: &Report) -> Result<(), Errno> {
    handshake::send(control, &handshake::encode(report)?)
}
