//! What can go wrong with a sandbox, one variant for each operation that failed.
//!
//! A command that ran and returned non-zero is not an error here: that is an [`Exit`](super::Exit).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CgroupError;

/// Why a step did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The specification cannot be carried out by any machine.
    #[error("the specification of the sandbox is wrong: {0}")]
    Spec(SpecProblem),
    /// The step cannot be limited as it should be.
    #[error(transparent)]
    Limits(#[from] CgroupError),
    /// Something that a container runtime is not asked for.
    #[error("`{0}` is not done through another runtime")]
    NotByRuntime(&'static str),
    /// Something that only namespaces give, on a rung without them.
    #[error("`{0}` takes namespaces or mounts, which this container does not allow")]
    OutOfReach(&'static str),
    /// The builder could not make the channels to the sandbox.
    #[error("cannot make the {what} of the sandbox: {}", plain(source))]
    Channel {
        /// "control socket", "output pipe".
        what: &'static str,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The builder's own executable could not be started again.
    #[error("cannot start the sandbox with `{}`: {}", executable.display(), plain(source))]
    Start {
        /// The executable.
        executable: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// Talking to the sandbox failed on the builder's side.
    #[error("cannot {operation} the sandbox: {}", plain(source))]
    Talk {
        /// "send the set-up to", "read the output of".
        operation: &'static str,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The sandbox could not be set up.
    #[error("cannot set up the sandbox: {0}")]
    Setup(SetupFailure),
    /// The command could not be started.
    #[error("{0}")]
    Exec(ExecFailure),
    /// The sandbox went away without saying how the command ended; something outside of it killed it.
    #[error("the sandbox ended without a report ({how})")]
    Died {
        /// `signal 9`, `exit code 3`.
        how: String,
    },
    /// The step was cancelled; everything in it is gone.
    #[error("cancelled")]
    Cancelled,
    /// The step took too long; everything in it is gone.
    #[error("stopped after {} s, its time limit (--timeout)", after.as_secs_f64())]
    TimedOut {
        /// The limit.
        after: Duration,
    },
}

impl SandboxError {
    /// The exit code that shells and container runtimes give for this failure: 127 for a command that is not there, 126
    /// for one that cannot be executed.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exec(failure) => Some(failure.exit_code()),
            _ => None,
        }
    }

    /// Whether the machine cannot mount this overlay: its file system cannot be a layer of one, or the layers are too many for
    /// the kernel. Nothing of the step has run.
    #[must_use]
    pub fn is_overlay_refused(&self) -> bool {
        use rustix::io::Errno;
        let Self::Setup(failure) = self else {
            return false;
        };
        let refusals = [
            Errno::INVAL,
            Errno::NODEV,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
            Errno::PERM,
            Errno::TOOBIG,
        ];
        let errno = Errno::from_raw_os_error(failure.errno);
        failure.operation == Operation::MountOverlay && refusals.contains(&errno)
    }

    /// What to try, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Setup(failure) => failure.hint(),
            Self::Exec(failure) => failure.hint(),
            Self::Limits(error) => error.hint(),
            Self::NotByRuntime(_) => Some("leave `--runtime` away"),
            Self::OutOfReach(_) => Some(
                "run that container with `--privileged`, or with `--security-opt seccomp=unconfined`",
            ),
            Self::Died { .. } => {
                Some("the machine may be out of memory: see `dmesg`, lower `--jobs`")
            }
            _ => None,
        }
    }
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecProblem {
    /// There is nothing to run.
    #[error("the command is empty")]
    EmptyCommand,
    /// A string for the kernel has a NUL byte.
    #[error("`{0}` has a NUL byte")]
    NulByte(String),
    /// A variable's name is empty or has `=`.
    #[error("`{0}` is no name of a variable")]
    VariableName(String),
    /// A path that has to be absolute is not.
    #[error("the path `{0}` is not absolute")]
    RelativePath(String),
    /// A mount cannot replace the root.
    #[error("nothing can be mounted on `/`")]
    MountOnRoot,
    /// A device outside of the folder that is in memory would become part of the layer.
    #[error("the device `{0}` is not below `/dev`")]
    DeviceElsewhere(String),
    /// A number does not fit the kernel's form.
    #[error("{0} is out of range")]
    Number(&'static str),
}

/// A step of the set-up that failed inside the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupFailure {
    /// What was being done.
    pub operation: Operation,
    /// To what: a path inside or outside, a host name; empty if there is nothing to name.
    pub object: String,
    /// What the kernel answered.
    pub errno: i32,
}

impl SetupFailure {
    fn hint(&self) -> Option<&'static str> {
        let errno = rustix::io::Errno::from_raw_os_error(self.errno);
        match (self.operation, errno) {
            (Operation::Unshare, rustix::io::Errno::PERM) => Some(
                "a RUN needs root or user namespaces; inside a container, run that container with `--privileged`",
            ),
            (Operation::Unshare, rustix::io::Errno::NOSPC) => {
                Some("the limit on namespaces is reached: see `/proc/sys/user/max_*_namespaces`")
            }
            (Operation::RegisterEmulator, _) => Some(
                "this takes Linux 6.7 and the right to make user namespaces; elsewhere have the machine set up to emulate: install \
                 `binfmt-support` beside `qemu-user-static`",
            ),
            (Operation::EnterCgroup, _) => Some(
                "the kernel lets a process move only inside a part of the cgroups that was delegated to it: run the builder \
                 in there, or as root",
            ),
            (Operation::MountOverlay, rustix::io::Errno::INVAL | rustix::io::Errno::NODEV) => Some(
                "the file system below the builder's `--root` may not support overlay mounts: choose another, or `--snapshotter copy`",
            ),
            (Operation::SetUser, rustix::io::Errno::INVAL) => Some(
                "the builder's user has too few subordinate ids for this one: see `builder doctor`",
            ),
            (_, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                Some("the disk is full: `builder prune` frees space")
            }
            (_, rustix::io::Errno::NOSYS) => Some("the kernel is too old: 5.12 or newer is needed"),
            _ => None,
        }
    }
}

impl fmt::Display for SetupFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = plain(&io::Error::from_raw_os_error(self.errno));
        let words = self.operation.words();
        if self.object.is_empty() {
            write!(formatter, "cannot {words}: {reason}")
        } else {
            write!(formatter, "cannot {words} `{}`: {reason}", self.object)
        }
    }
}

macro_rules! operations {
    ($($name:ident = $words:literal,)*) => {
        /// What was being done when the set-up of a sandbox failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Operation {
            $(#[doc = concat!("To ", $words, ".")] $name,)*
        }

        impl Operation {
            /// The operation as a verb phrase: "mount", "set the host name to".
            #[must_use]
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

operations! {
    ReceiveSetup = "receive the set-up",
    Detach = "detach from the builder's session",
    TieToParent = "tie its life to the builder's",
    EnterCgroup = "enter the cgroup",
    CloseDescriptors = "close inherited descriptors",
    Unshare = "make the namespaces",
    JoinNetwork = "join the network namespace",
    Fork = "start a process",
    RegisterEmulator = "tell the kernel of the emulator",
    EnterEmulation = "enter the user namespace of the emulator",
    MakePrivate = "make the mounts private",
    SetHostname = "set the host name to",
    RaiseLoopback = "bring up the loopback interface",
    MountOverlay = "mount the overlay on",
    OpenSource = "open the source",
    Mount = "mount",
    CreateTarget = "create the mount point",
    WriteFile = "write the file for",
    MakeNode = "make the device",
    Link = "make the symbolic link",
    Mask = "mask",
    MakeReadOnly = "make read-only",
    CreateDirectory = "create the folder",
    Pivot = "change the root to",
    Redirect = "redirect standard input and output",
    Limit = "set the limit of",
    ChangeDirectory = "change the directory to",
    DropCapabilities = "drop capabilities",
    FilterCalls = "install the filter of system calls",
    SetUser = "change the user to",
    RemoveStub = "remove the mount point",
}

/// Why a command could not be started, in the words of container runtimes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecFailure {
    /// The command as written, or the file that was found for it.
    pub name: String,
    /// What is wrong with it.
    pub problem: ExecProblem,
}

/// What is wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecProblem {
    /// No folder of `PATH` has it.
    NotInPath,
    /// The path cannot be looked at: errno.
    Stat(i32),
    /// The path is a folder.
    IsDirectory,
    /// Execute permission is missing.
    Denied,
    /// The kernel refused to execute it: errno.
    Exec(i32),
}

impl ExecFailure {
    /// 127 for what is not there, 126 for what is there and cannot be executed.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self.problem {
            ExecProblem::NotInPath => 127,
            ExecProblem::Stat(errno) | ExecProblem::Exec(errno) if is_absence(errno) => 127,
            _ => 126,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self.problem {
            ExecProblem::NotInPath => {
                Some("check the spelling, and that the base image has this program")
            }
            ExecProblem::Exec(errno) if is_absence(errno) => Some(
                "the file is there, but the interpreter or dynamic loader that it names is not",
            ),
            ExecProblem::Exec(errno) if errno == rustix::io::Errno::NOEXEC.raw_os_error() => Some(
                "the program is for another processor than the step's platform, or a script without a `#!` line",
            ),
            ExecProblem::Denied => Some("`chmod +x` it, or run it through its interpreter"),
            _ => None,
        }
    }
}

fn is_absence(errno: i32) -> bool {
    let errno = rustix::io::Errno::from_raw_os_error(errno);
    matches!(errno, rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)
}

impl fmt::Display for ExecFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        let words = |errno| plain(&io::Error::from_raw_os_error(errno));
        match self.problem {
            ExecProblem::NotInPath => write!(
                formatter,
                "exec: \"{name}\": executable file not found in $PATH"
            ),
            ExecProblem::Stat(errno) => {
                write!(formatter, "exec: \"{name}\": stat {name}: {}", words(errno))
            }
            ExecProblem::IsDirectory => write!(formatter, "exec: \"{name}\": is a directory"),
            ExecProblem::Denied => write!(formatter, "exec: \"{name}\": permission denied"),
            ExecProblem::Exec(errno) => write!(formatter, "exec {name}: {}", words(errno)),
        }
    }
}

/// The operating system's words without the "(os error N)" that people never need.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn exec_failures_speak_like_runtimes() {
        let noent = Errno::NOENT.raw_os_error();
        let cases = [
            (
                "x",
                ExecProblem::NotInPath,
                127,
                "exec: \"x\": executable file not found in $PATH",
            ),
            (
                "/x",
                ExecProblem::Stat(noent),
                127,
                "exec: \"/x\": stat /x: no such file or directory",
            ),
            (
                "/x",
                ExecProblem::Denied,
                126,
                "exec: \"/x\": permission denied",
            ),
            (
                "/x",
                ExecProblem::IsDirectory,
                126,
                "exec: \"/x\": is a directory",
            ),
            (
                "/x",
                ExecProblem::Exec(noent),
                127,
                "exec /x: no such file or directory",
            ),
            (
                "/x",
                ExecProblem::Exec(Errno::NOEXEC.raw_os_error()),
                126,
                "exec /x: exec format error",
            ),
        ];
        for (name, problem, code, text) in cases {
            let failure = ExecFailure {
                name: name.to_owned(),
                problem,
            };
            assert_eq!(failure.to_string(), text);
            assert_eq!(failure.exit_code(), code, "{text}");
        }
    }

    #[test]
    fn a_set_up_failure_names_operation_and_object() {
        let failure = SetupFailure {
            operation: Operation::Mount,
            object: "/ctx".to_owned(),
            errno: Errno::ROFS.raw_os_error(),
        };
        let error = SandboxError::Setup(failure);
        assert_eq!(
            error.to_string(),
            "cannot set up the sandbox: cannot mount `/ctx`: read-only file system"
        );
        let unshare = SetupFailure {
            operation: Operation::Unshare,
            object: String::new(),
            errno: Errno::PERM.raw_os_error(),
        };
        assert!(
            SandboxError::Setup(unshare)
                .hint()
                .unwrap()
                .contains("root")
        );
    }
}
