//! The builder's side of a sandbox: starts it, and judges what came of it.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;

use super::cgroup::{self, Cgroups, StepCgroup};
use super::default_limits::with_defaults;
use super::handshake::{self, Report};
use super::init::ARGV0;
use super::setup::StepCgroups;
use super::setup::{self, Order};
use super::talk::{Stop, Talk};
use super::{
    Cancel, Exit, Footing, Limits, MetLimits, OutOfMemory, Resources, RunOutcome, Rung,
    SandboxError, SandboxSpec, SpecProblem, StepRunner,
};
use crate::fsio;
use crate::sys::mount;

/// Runs steps with the kernel's own means, without a container runtime.
#[derive(Clone, Debug)]
pub struct NativeRunner {
    footing: Footing,
    executable: PathBuf,
    /// The executable on a mount that nobody can write through. A step can get hold of the file it was started from (a
    /// script may name `/proc/self/exe` as its interpreter); through this mount it gets a file that is read-only.
    sealed: Option<Arc<OwnedFd>>,
    scaffold: Option<PathBuf>,
    /// The OCI runtime that runs the commands, if it is not the builder.
    runtime: Option<PathBuf>,
    cgroups: Arc<Cgroups>,
    /// How many processes the kernel had killed for want of memory before the first step.
    killed_before: Arc<OnceLock<Option<u64>>>,
}

impl NativeRunner {
    /// A runner that starts the running executable again; its `main` has to branch to [`run_init`](super::init::run_init).
    #[must_use]
    pub fn new(footing: Footing) -> Self {
        Self::with_executable("/proc/self/exe", footing)
    }

    /// A runner that starts another copy of `builder`; for tests, which are not `builder`.
    #[must_use]
    pub fn with_executable(executable: impl Into<PathBuf>, footing: Footing) -> Self {
        let executable = executable.into();
        // Takes the right to mount. Without it the step has no more rights on the file than the builder's user.
        let sealed = seal(&executable).ok().map(Arc::new);
        Self {
            footing,
            executable,
            sealed,
            scaffold: None,
            runtime: None,
            cgroups: Arc::default(),
            killed_before: Arc::default(),
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
            let path = folder.join(name);
            if fsio::symlink_metadata(&path).is_err() {
                fsio::create_dir_all(&path)?;
                // A command sees these where its image has none, whatever the builder's umask is.
                fsio::set_mode(&path, 0o755)?;
            }
        }
        for name in setup::SCAFFOLD_FILES {
            let path = folder.join(name);
            if fsio::symlink_metadata(&path).is_err() {
                fsio::create(&path)?;
                fsio::set_mode(&path, 0o644)?;
            }
        }
        self.scaffold = Some(folder);
        Ok(self)
    }

    /// Has an OCI runtime run the commands: a program that knows `run --bundle` as runc does.
    #[must_use]
    pub fn with_runtime(mut self, runtime: impl Into<PathBuf>) -> Self {
        self.runtime = Some(runtime.into());
        self
    }

    /// What would be done for a spec, one operation a line; secrets are left out.
    ///
    /// # Errors
    /// What is wrong with the spec.
    pub fn describe(&self, spec: &SandboxSpec) -> Result<String, SpecProblem> {
        Ok(setup::compile(spec, self.footing, self.scaffold.as_deref())?.to_string())
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

impl NativeRunner {
    fn order(&self, spec: &SandboxSpec) -> Result<Order, SandboxError> {
        let in_chroot = self.footing.rung() == Ok(Rung::Chroot);
        if let Some(runtime) = &self.runtime {
            if in_chroot {
                return Err(SandboxError::OutOfReach("--runtime"));
            }
            let scaffold = self.scaffold.as_deref();
            let program = setup::compile_for_runtime(spec, runtime, self.footing, scaffold)?;
            return Ok(Order::InNamespaces(Box::new(program)));
        }
        if in_chroot {
            return Ok(Order::Bare(Box::new(setup::compile_bare(spec)?)));
        }
        let program = setup::compile(spec, self.footing, self.scaffold.as_deref());
        let program = program.map_err(SandboxError::Spec)?;
        Ok(Order::InNamespaces(Box::new(program)))
    }

    /// The cgroup that a step needs; entering one is not for nothing.
    fn cgroup(&self, limits: &Limits) -> Result<Option<StepCgroup>, SandboxError> {
        match limits.is_empty() {
            true => Ok(None),
            false => Ok(Some(self.cgroups.make(limits)?)),
        }
    }

    /// A step that was killed, and not for its own limit, may have been in the way of the machine.
    fn with_machine(&self, met: MetLimits, exit: Exit) -> MetLimits {
        const KILLED: i32 = 137;
        let machine_killed = || {
            let now = cgroup::kills_of_machine()?;
            Some(now > (*self.killed_before.get()?)?)
        };
        match met.out_of_memory {
            None if exit.status() == KILLED && machine_killed() == Some(true) => MetLimits {
                out_of_memory: Some(OutOfMemory::Perhaps),
                ..met
            },
            _ => met,
        }
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
        let mut order = self.order(spec)?;
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        self.killed_before.get_or_init(cgroup::kills_of_machine);
        let cgroup = self.cgroup(&spec.limits)?;
        let own_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let limits = with_defaults(&spec.ulimits, own_files);
        match &mut order {
            Order::InNamespaces(program) => {
                program.command.limits = limits;
                program.cgroups = cgroup.as_ref().map(membership);
            }
            Order::Bare(program) => program.command.limits = limits,
        }
        let program = handshake::encode(&order).map_err(|_too_large| {
            SandboxError::Spec(SpecProblem::Number("the size of the specification"))
        })?;
        let (control, theirs) = control_sockets().map_err(channel("control socket"))?;
        let (pipe, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(channel("output pipe"))?;
        let second_writer =
            rustix::io::fcntl_dupfd_cloexec(&writer, 3).map_err(channel("output pipe"))?;
        let child = self.start(theirs, (writer, second_writer))?;
        let deadline = spec.timeout.and_then(|limit| started.checked_add(limit));
        let talk = Talk::new(child, control, pipe, deadline);
        let ended = talk.run(&program, output, cancel)?;
        match ended.stopped {
            Some(Stop::Cancelled) => Err(SandboxError::Cancelled),
            Some(Stop::TimedOut) => Err(SandboxError::TimedOut {
                after: spec.timeout.unwrap_or_default(),
            }),
            None => {
                let met = cgroup.as_ref().map(StepCgroup::met).unwrap_or_default();
                let (exit, mut resources) = match judge(ended.reports, ended.status) {
                    // PID 1 is the last to be killed for want of memory, not one that never is.
                    Err(SandboxError::Died { .. }) if met.out_of_memory.is_some() => {
                        (Exit::Signal(Signal::KILL.as_raw()), Resources::default())
                    }
                    result => result?,
                };
                if let Some(cgroup) = &cgroup {
                    cgroup.account(&mut resources);
                }
                Ok(RunOutcome {
                    exit,
                    resources,
                    met: self.with_machine(met, exit),
                    wall_time: started.elapsed(),
                })
            }
        }
    }

    fn try_limits(&self, limits: &Limits) -> Result<(), SandboxError> {
        self.cgroup(limits).map(drop)
    }

    fn opens_devices(&self) -> bool {
        // In a user namespace the kernel forbids it, whatever the mount says.
        self.footing.rung() == Ok(Rung::Root)
            && self.runtime.as_deref().is_some_and(setup::opens_devices)
    }
}

fn membership(cgroup: &StepCgroup) -> StepCgroups {
    StepCgroups {
        unified: cgroup.unified().map(Path::to_owned),
        legacy: cgroup.legacy().map(Path::to_owned).collect(),
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

    use super::super::{ExecFailure, ExecProblem, Operation, Rung, SetupFailure};
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
        let error = NativeRunner::with_executable("/no/builder", Footing::on(Rung::Root)).run(
            &spec,
            &mut |_| {},
            &Cancel::new(),
        );
        assert!(error.unwrap_err().to_string().contains("`/no/builder`"));
    }
}
