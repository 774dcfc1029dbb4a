//! The builder's conversation with one running sandbox: the program in, output and reports out, the order to end.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::Shutdown;

use super::handshake::{self, Incoming, Report};
use super::{Cancel, SandboxError};

/// How often a request to stop is looked for if there is no descriptor to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long the sandbox may take to end itself when it was asked to; then its supervisor is killed, which ends it as well.
const GRACE: Duration = Duration::from_secs(2);

/// The child; killed and reaped if it is dropped before it was waited for, whatever the reason.
#[derive(Debug)]
struct Started(Option<Child>);

impl Started {
    fn kill(&mut self) {
        if let Some(child) = &mut self.0 {
            // Fails only when it is gone already.
            let _unused = child.kill();
        }
    }

    fn wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.take().map(|mut child| child.wait()).transpose()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
        // There is nobody to tell.
        let _unused = self.wait();
    }
}

/// Why the builder ended the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled,
    TimedOut,
}

/// The conversation with one sandbox.
#[derive(Debug)]
pub(super) struct Talk {
    child: Started,
    /// Until the sandbox hung up.
    control: Option<OwnedFd>,
    /// Until its end.
    pipe: Option<OwnedFd>,
    deadline: Option<Instant>,
    kill_at: Option<Instant>,
    stopped: Option<Stop>,
    reports: Vec<Report>,
}

/// What there is to know after a conversation.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reports: Vec<Report>,
    pub(super) status: Option<ExitStatus>,
    pub(super) stopped: Option<Stop>,
}

/// Which descriptors have something.
#[derive(Clone, Copy, Debug)]
struct Ready {
    control: bool,
    pipe: bool,
}

impl Talk {
    /// With a child that was started, over the socket and the pipe whose other ends it has.
    pub(super) fn new(
        child: Child,
        control: OwnedFd,
        pipe: OwnedFd,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            child: Started(Some(child)),
            control: Some(control),
            pipe: Some(pipe),
            deadline,
            kill_at: None,
            stopped: None,
            reports: Vec::new(),
        }
    }

    /// Sends the program, and listens until everything in the sandbox is gone.
    pub(super) fn run(
        mut self,
        program: &[u8],
        output: &mut dyn FnMut(&[u8]),
        cancel: &Cancel,
    ) -> Result<Ended, SandboxError> {
        if let Some(control) = &self.control {
            match handshake::send(control.as_fd(), program) {
                // It ended already, and may have said why.
                Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
                Err(errno) => return Err(talk("send the set-up to")(errno)),
            }
        }
        let mut buffer = vec![0; 64 * 1024];
        let mut incoming = Incoming::default();
        // The sandbox hangs up when everything in it is gone.
        while self.control.is_some() {
            let ready = self.wait(cancel)?;
            if ready.pipe {
                self.pump(&mut buffer, output)?;
            }
            if ready.control {
                self.listen(&mut buffer, &mut incoming)?;
            }
            self.look_for_stop(cancel);
        }
        let status = self.child.wait().map_err(|source| SandboxError::Talk {
            operation: "wait for",
            source,
        })?;
        // What is left in the pipe; not its end, which somebody outside may hold open.
        while self.poll(None, Some(Duration::ZERO))?.pipe {
            self.pump(&mut buffer, output)?;
        }
        Ok(Ended {
            reports: self.reports,
            status,
            stopped: self.stopped,
        })
    }

    fn wait(&self, cancel: &Cancel) -> Result<Ready, SandboxError> {
        let now = Instant::now();
        let stopping = self.stopped.is_some();
        let next = if stopping {
            self.kill_at
        } else {
            self.deadline
        };
        let mut timeout = next.map(|at| at.saturating_duration_since(now));
        if cancel.wake().is_none() && !stopping {
            timeout = Some(timeout.map_or(LOOK_AGAIN, |timeout| timeout.min(LOOK_AGAIN)));
        }
        // Once stopping, the request would wake without end.
        self.poll((!stopping).then_some(cancel), timeout)
    }

    fn poll(
        &self,
        cancel: Option<&Cancel>,
        timeout: Option<Duration>,
    ) -> Result<Ready, SandboxError> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let wake = cancel.and_then(Cancel::wake);
        let descriptors = [self.control.as_ref(), self.pipe.as_ref()];
        let descriptors =
            descriptors.map(|descriptor| descriptor.map(|descriptor| descriptor.as_fd()));
        let mut events: Vec<_> = descriptors
            .into_iter()
            .chain([wake])
            .flatten()
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        retry_on_intr(|| poll(&mut events, timeout.as_ref())).map_err(talk("wait for"))?;
        let mut happened = events.iter().map(|event| !event.revents().is_empty());
        let control = self.control.is_some() && happened.next().unwrap_or(false);
        let pipe = self.pipe.is_some() && happened.next().unwrap_or(false);
        Ok(Ready { control, pipe })
    }

    /// Hands on what is in the pipe. One read: a command that never stops writing must not keep the rest waiting.
    fn pump(
        &mut self,
        buffer: &mut [u8],
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), SandboxError> {
        let Some(pipe) = &self.pipe else {
            return Ok(());
        };
        let length = retry_on_intr(|| rustix::io::read(pipe, &mut *buffer))
            .map_err(talk("read the output of"))?;
        match buffer.get(..length) {
            Some(bytes) if !bytes.is_empty() => output(bytes),
            _ => self.pipe = None,
        }
        Ok(())
    }

    fn listen(&mut self, buffer: &mut [u8], incoming: &mut Incoming) -> Result<(), SandboxError> {
        let Some(control) = &self.control else {
            return Ok(());
        };
        let length = match retry_on_intr(|| rustix::io::read(control, &mut *buffer)) {
            // It was killed with the program unread.
            Err(Errno::CONNRESET) => 0,
            result => result.map_err(talk("read the reports of"))?,
        };
        if length == 0 {
            self.control = None;
        }
        incoming.push(buffer.get(..length).unwrap_or_default());
        while let Some(report) = incoming.next().map_err(talk("understand"))? {
            self.reports.push(report);
        }
        Ok(())
    }

    fn look_for_stop(&mut self, cancel: &Cancel) {
        let now = Instant::now();
        if self.stopped.is_none() {
            self.stopped = if cancel.is_cancelled() {
                Some(Stop::Cancelled)
            } else if self.deadline.is_some_and(|deadline| deadline <= now) {
                Some(Stop::TimedOut)
            } else {
                None
            };
            if let (Some(_), Some(control)) = (self.stopped, &self.control) {
                self.kill_at = now.checked_add(GRACE);
                // The supervisor takes the end of what we say as the order to end; it tidies up, which a kill would not.
                let _unused = rustix::net::shutdown(control, Shutdown::Write);
            }
        } else if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.child.kill();
        }
    }
}

fn talk(operation: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Talk {
        operation,
        source: errno.into(),
    }
}
