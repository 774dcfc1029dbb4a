//! Why limits cannot be had on this machine.

use crate::fsio;

/// Limits that were asked for and cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel or whoever set up the machine does not offer what it takes.
    #[error("{} cannot be limited here: there is no cgroup controller `{controller}`{}", of(controller), offered(*.visible))]
    NoController {
        /// Its name.
        controller: &'static str,
        /// Whether there are cgroups at all.
        visible: bool,
    },
    /// No cgroup can be made with the controllers that it takes.
    #[error("no cgroup can be made for the step{controllers}: {reason}")]
    NoPlace {
        /// Which are needed: empty, or ` with the controllers a, b`.
        controllers: String,
        /// What was in the way at the last place that was tried.
        reason: String,
    },
    /// What `--cgroup-parent` names is not there.
    #[error("the cgroup `{parent}` is not there: {source}")]
    Parent {
        /// As it was given.
        parent: String,
        /// What the operating system answered.
        source: fsio::Error,
    },
    /// The kernel does not take a limit.
    #[error("the kernel does not take {value} as the limit: {source}")]
    Refused {
        /// The value.
        value: String,
        /// What the operating system answered, with the file.
        source: fsio::Error,
    },
    /// The kernel has no file for a limit.
    #[error("this kernel has no limit of that kind: no `{file}`")]
    Unknown {
        /// The file.
        file: &'static str,
    },
    /// A device that was named is none.
    #[error("`{path}` is no block device")]
    NoDevice {
        /// The path.
        path: String,
    },
    /// The cgroup cannot be made.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
}

impl CgroupError {
    /// What to try.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoController { .. } | Self::NoPlace { .. } | Self::Disk(_) => Some(
                "run the builder as root, or with a cgroup of its own: `systemd-run --user --scope -p Delegate=yes builder build …`; \
                 in a container, with `--privileged` and `--cgroup-parent`",
            ),
            Self::Parent { .. } => {
                Some("name a cgroup by its path below the top of the hierarchy, and make it first")
            }
            Self::Refused { .. } | Self::Unknown { .. } | Self::NoDevice { .. } => None,
        }
    }
}

/// What a controller limits.
fn of(controller: &str) -> &'static str {
    match controller {
        "memory" => "memory",
        "pids" => "the number of processes",
        "cpu" => "processor time",
        "cpuset" => "the choice of processors",
        _ => "input and output",
    }
}

fn offered(visible: bool) -> &'static str {
    match visible {
        true => " for this process",
        false => ", and no cgroup hierarchy is mounted",
    }
}
