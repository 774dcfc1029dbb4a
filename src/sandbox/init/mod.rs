//! The child's side of a sandbox: our own executable, started again to do nothing but this.
//!
//! Two processes stay for the length of a step. The *supervisor* (outside of the new process namespace) watches the builder and
//! PID 1 and tidies up; *PID 1* (inside) sets up the file system, starts the command and reaps what it leaves. All three are
//! single-threaded, so that they may fork. A failure goes to the builder as a typed report over the control socket.

mod bare;
mod command;
mod interpret;
mod keeper;
mod membership;
mod pid1;
mod stage;
mod stubs;
mod supervisor;
mod target;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use rustix::io::Errno;

use super::{Operation, SetupFailure};

/// The name that the builder gives its child in place of a program's path.
pub(super) const ARGV0: &str = "builder-sandbox-init";

/// The first argument of a child that is no sandbox: it keeps a program that carries packets.
pub(super) const KEEP: &str = "keep";

/// Whether the process was started as the child of a sandbox: its first argument says so.
#[must_use]
pub fn is_init<A: AsRef<OsStr>>(mut args: impl Iterator<Item = A>) -> bool {
    args.next().is_some_and(|name| name.as_ref() == ARGV0)
}

/// Does the child's work, with the arguments of the process; to be called before the process does anything else.
#[must_use]
pub fn run_init(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.nth(1) {
        Some(what) if what == KEEP => keeper::run(args),
        _ => supervisor::run(),
    }
}

/// Gives an error number its operation and object.
fn failed(operation: Operation, object: impl Into<String>) -> impl FnOnce(Errno) -> SetupFailure {
    let object = object.into();
    move |errno| SetupFailure {
        operation,
        object,
        errno: errno.raw_os_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_private_name_is_the_child() {
        assert!(is_init([ARGV0, "x"].iter()));
        assert!(!is_init(["/usr/bin/builder", ARGV0].iter()));
        assert!(!is_init(std::iter::empty::<&str>()));
    }
}
