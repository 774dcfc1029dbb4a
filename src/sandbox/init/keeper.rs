//! The keeper of a program that carries packets: starts it with a network namespace as its standard input, and ends it when the
//! builder is gone or wants it no more, whatever rights the program has given up.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags};

use crate::sys::process::{self, SingleThreaded};

/// Does the keeper's work: arguments are the namespace, the program, and the program's own.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let kept = SingleThreaded::begin().and_then(|_evidence| {
        // Keys that are pressed at the builder's terminal are for the builder.
        rustix::process::setsid()?;
        let namespace = arguments.next().ok_or(Errno::INVAL)?;
        let program = arguments.next().ok_or(Errno::INVAL)?;
        let namespace = openat(
            CWD,
            namespace,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        keep(Command::new(program).args(arguments), namespace)
    });
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(_told_by_the_code) => ExitCode::from(3),
    }
}

fn keep(program: &mut Command, namespace: OwnedFd) -> Result<(), Errno> {
    // Should the keeper itself be killed. A program that gives up rights may lose this, which is why there is a keeper.
    process::dies_with_us(program);
    let started = program.stdin(Stdio::from(namespace)).spawn();
    let mut child = started.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let waited = watch(child.id());
    // Fails only if it is gone already.
    let _unused = child.kill();
    let _unused = child.wait();
    waited
}

/// Returns when the builder has closed its end of the pipe, or the program has ended.
fn watch(program: u32) -> Result<(), Errno> {
    let id = i32::try_from(program).ok().and_then(Pid::from_raw);
    let end = rustix::process::pidfd_open(id.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let builder = std::io::stdin();
    let mut events = [
        PollFd::new(&builder, PollFlags::IN),
        PollFd::new(&end, PollFlags::IN),
    ];
    retry_on_intr(|| poll(&mut events, None)).map(drop)
}
