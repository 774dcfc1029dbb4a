//! The builder's side of a sandbox: starts it, feeds it, listens to it, ends it.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::MountAttrFlags;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};

use super::handshake::{self, Incoming, Report};
use super::init::ARGV0;
use super::setup;
use super::{
    Cancel, Exit, Resources, RunOutcome, SandboxError, SandboxSpec, SpecProblem, StepRunner,
};
use crate::fsio;
use crate::sys::mount;

/// How long the sandbox may take to end itself when it was asked to; then its supervisor is killed, which ends it as well.
const GRACE: Duration = Duration::from_secs(2);

/// How often a request to stop is looked for if there is no descriptor to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Runs steps with the kernel's own means, without a container runtime.
#[derive(Clone, Debug)]
pub struct NativeRunner {
    executable: PathBuf,
    /// The executable on a mount that nobody can write through. A step can get hold of the file it was started from (a
    /// script may name `/proc/self/exe` as its interpreter); through this mount it gets a file that is read-only.
    sealed: Option<Arc<OwnedFd>>,
    scaffold: Option<PathBuf>,
}

impl NativeRunner {
    /// A runner that starts the running executable again; its `main` has to branch to [`run_init`](super::init::run_init).
    #[must_use]
    pub fn new() -> Self {
        Self::with_executable("/proc/self/exe")
    }

    /// A runner that starts another copy of `builder`; for tests, which are not `builder`.
    #[must_use]
    pub fn with_executable(executable: impl Into<PathBuf>) -> Self {
        let executable = executable.into();
        // Takes the right to mount. Without it the step has no more rights on the file than the builder's user.
        let sealed = seal(&executable).ok().map(Arc::new);
        Self {
            executable,
            sealed,
            scaffold: None,
        }
    }

    /// Uses `folder`, made if it is missing, as the bottom layer of every root file system: it has the mount points that every
    /// step needs. Without it each step makes and removes those that its image lacks, which costs a millisecond or two on
    /// a journaling file system. To be kept on the file system of the layers, and for as long as steps run.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn with_scaffold(mut self, folder: impl Into<PathBuf>) -> fsio::Result<Self> {
        let folder = folder.into();
        for name in setup::SCAFFOLD_FOLDERS {
            fsio::create_dir_all(folder.join(name))?;
        }
        for name in setup::SCAFFOLD_FILES {
            fsio::create(folder.join(name))?;
        }
        self.scaffold = Some(folder);
        Ok(self)
    }

    fn start(&self, control: OwnedFd, output: (OwnedFd, OwnedFd)) -> Result<Child, SandboxError> {
        let path = match &self.sealed {
            Some(sealed) => PathBuf::from(format!("/proc/self/fd/{}", sealed.as_raw_fd())),
            None => self.executable.clone(),
        };
        Command::new(path)
            .arg0(ARGV0)
            .env_clear()
            .stdin(Stdio::from(control))
            .stdout(Stdio::from(output.0))
            .stderr(Stdio::from(output.1))
            .spawn()
            .map_err(|source| SandboxError::Start {
                executable: self.executable.clone(),
                source,
            })
    }
}

impl Default for NativeRunner {
    fn default() -> Self {
        Self::new()
    }
}

fn seal(executable: &Path) -> rustix::io::Result<OwnedFd> {
    let file = mount::path_descriptor(executable)?;
    let clone = mount::clone_of(file.as_fd(), false)?;
    mount::add_attributes(clone.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
    Ok(clone)
}

impl StepRunner for NativeRunner {
    fn run(
        &self,
        spec: &SandboxSpec,
        output: &mut dyn FnMut(&[u8]),
        cancel: &Cancel,
    ) -> Result<RunOutcome, SandboxError> {
        let started = Instant::now();
        let program = setup::compile(spec, self.scaffold.as_deref()).map_err(SandboxError::Spec)?;
        let program = handshake::encode(&program).map_err(|_too_large| {
            SandboxError::Spec(SpecProblem::Number("the size of the specification"))
        })?;
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        let (control, theirs) = control_sockets().map_err(channel("control socket"))?;
        let (pipe, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(channel("output pipe"))?;
        let second_writer =
            rustix::io::fcntl_dupfd_cloexec(&writer, 3).map_err(channel("output pipe"))?;
        let child = Started(Some(self.start(theirs, (writer, second_writer))?));

        let talk = Talk {
            child,
            control: Some(control),
            pipe: Some(pipe),
            deadline: spec.timeout.and_then(|limit| started.checked_add(limit)),
            kill_at: None,
            stopped: None,
            reports: Vec::new(),
        };
        let ended = talk.run(&program, output, cancel)?;
        match ended.stopped {
            Some(Stop::Cancelled) => Err(SandboxError::Cancelled),
            Some(Stop::TimedOut) => Err(SandboxError::TimedOut {
                after: spec.timeout.unwrap_or_default(),
            }),
            None => {
                let (exit, resources) = judge(ended.reports, ended.status)?;
                Ok(RunOutcome {
                    exit,
                    resources,
                    wall_time: started.elapsed(),
                })
            }
        }
    }
}

fn control_sockets() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

fn channel(what: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Channel {
        what,
        source: errno.into(),
    }
}

fn talk(operation: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Talk {
        operation,
        source: errno.into(),
    }
}

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
enum Stop {
    Cancelled,
    TimedOut,
}

/// The conversation with one sandbox.
#[derive(Debug)]
struct Talk {
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
struct Ended {
    reports: Vec<Report>,
    status: Option<ExitStatus>,
    stopped: Option<Stop>,
}

/// Which descriptors have something.
#[derive(Clone, Copy, Debug)]
struct Ready {
    control: bool,
    pipe: bool,
}

impl Talk {
    fn run(
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

/// What the reports say. A failure counts before an end: the end of a command that could not start says nothing.
fn judge(
    reports: Vec<Report>,
    status: Option<ExitStatus>,
) -> Result<(Exit, Resources), SandboxError> {
    let mut ended = None;
    let mut lost = None;
    for report in reports {
        match report {
            Report::Failed(failure) => return Err(SandboxError::Setup(failure)),
            Report::NotExecuted(failure) => return Err(SandboxError::Exec(failure)),
            Report::Ended { exit, resources } => ended = Some((exit, resources)),
            Report::Lost(exit) => lost = Some(exit),
        }
    }
    ended.ok_or_else(|| SandboxError::Died {
        how: match (lost, status) {
            (Some(Exit::Code(code)), _) => format!("exit code {code}"),
            (Some(Exit::Signal(signal)), _) => format!("signal {signal}"),
            (None, Some(status)) => status.to_string(),
            (None, None) => "unknown".to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::super::{ExecFailure, ExecProblem, Operation, SetupFailure};
    use super::*;

    #[test]
    fn a_failure_counts_before_an_end() {
        let ended = Report::Ended {
            exit: Exit::Code(127),
            resources: Resources::default(),
        };
        let name = "x".to_owned();
        let missing = Report::NotExecuted(ExecFailure {
            name,
            problem: ExecProblem::NotInPath,
        });
        let error = judge(vec![missing, ended.clone()], None).unwrap_err();
        assert_eq!(error.exit_code(), Some(127));

        let failure = SetupFailure {
            operation: Operation::RemoveStub,
            object: "hosts".to_owned(),
            errno: Errno::IO.raw_os_error(),
        };
        let error = judge(vec![ended.clone(), Report::Failed(failure)], None).unwrap_err();
        assert!(matches!(error, SandboxError::Setup(_)));

        assert_eq!(judge(vec![ended], None).unwrap().0, Exit::Code(127));
        let error = judge(vec![Report::Lost(Exit::Signal(9))], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the sandbox ended without a report (signal 9)"
        );
    }

    #[test]
    fn a_runner_without_an_executable_says_which() {
        let rootfs = super::super::OverlayView {
            lower: vec![],
            upper: "/u".into(),
            work: "/w".into(),
        };
        let spec = SandboxSpec::new(rootfs, vec!["true".to_owned()]);
        let error =
            NativeRunner::with_executable("/no/builder").run(&spec, &mut |_| {}, &Cancel::new());
        assert!(error.unwrap_err().to_string().contains("`/no/builder`"));
    }
}
