//! The end of a service: whoever waits for bytes waits for it too, so that no thread outlives what it serves.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

/// Hears of the end: the read end of a pipe that nobody writes to.
#[derive(Debug)]
pub(super) struct Stop(OwnedFd);

/// Brings the end when it is dropped.
#[derive(Debug)]
pub(super) struct StopOnDrop(#[expect(dead_code, reason = "its end is the message")] OwnedFd);

/// A new end to wait for.
pub(super) fn stop() -> io::Result<(StopOnDrop, Stop)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((StopOnDrop(write), Stop(read)))
}

impl Stop {
    /// Waits until `what` is ready for `how`, or closed.
    ///
    /// # Errors
    /// The end has come.
    pub(super) fn wait(&self, what: &impl AsFd, how: PollFlags) -> io::Result<()> {
        let mut both = [PollFd::new(what, how), PollFd::new(&self.0, PollFlags::IN)];
        loop {
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) if !both[1].revents().is_empty() => return Err(stopped()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Lets some time pass.
    ///
    /// # Errors
    /// The end has come.
    pub(super) fn pause(&self, time: Duration) -> io::Result<()> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        let mut only = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut only, Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
            Ok(_) => Err(stopped()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn stopped() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}
