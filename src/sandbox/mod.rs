//! One RUN in namespaces: a specification as data, and the child that interprets it.
//!
//! The caller fills a [`SandboxSpec`] and hands it to a [`StepRunner`]. The parent turns the spec into a list of set-up
//! operations (`setup`, pure), starts the builder's own executable again and sends it the list (`parent`); the child, which is
//! single-threaded by construction, makes the namespaces, interprets the list and executes the command (`init`).
//! Nothing here knows a Dockerfile, a layer's content or a cache key.

mod cancel;
mod cgroup;
pub mod checkup;
mod default_limits;
mod device;
mod emulation;
mod error;
pub mod files;
mod filter;
mod footing;
mod handshake;
pub mod init;
mod limits;
mod network;
mod outcome;
mod parent;
mod setup;
mod spec;
mod talk;

pub use cancel::Cancel;
pub use cgroup::CgroupError;
pub use device::{Device, DeviceKind};
pub use emulation::{Emulator, Emulators, Execution, NoEmulator};
pub use error::{ExecFailure, ExecProblem, Operation, SandboxError, SetupFailure, SpecProblem};
pub use footing::{Footing, Obstacle, Rung, Shortcoming};
pub use limits::{CpuLimits, DeviceLimit, IoLimits, Limits, SwapLimit};
pub use network::{Connection, NetworkError, Networks};
pub use outcome::{Exit, MetLimits, OutOfMemory, Resources, RunOutcome};
pub use parent::NativeRunner;
pub use spec::{
    Attributes, DEFAULT_HOSTNAME, DEFAULT_SHM_SIZE, Environment, FileContent, LimitedResource,
    Mount, MountKind, Network, OverlayView, RootFs, SandboxSpec, Security, Ulimit,
    UpperDirectories, User,
};

/// Runs one step to its end.
pub trait StepRunner: std::fmt::Debug + Send + Sync {
    /// Runs the command of `spec` and hands its output, standard output and error in the order they were written, to
    /// `output` as it comes. Blocks until every process of the step is gone.
    ///
    /// After it returns, [`RootFs::written`] of the root file system holds the changes and nothing of the sandbox's own. They
    /// are not synced: whoever keeps them syncs them.
    ///
    /// # Errors
    /// When the step could not be run to its end. A command that returned non-zero is an outcome.
    fn run(
        &self,
        spec: &SandboxSpec,
        output: &mut dyn FnMut(&[u8]),
        cancel: &Cancel,
    ) -> Result<RunOutcome, SandboxError>;

    /// Tries whether steps can be limited so, before the first of them runs.
    ///
    /// # Errors
    /// What this machine cannot hold them to.
    fn try_limits(&self, limits: &Limits) -> Result<(), SandboxError>;

    /// Whether a confined command can open devices that its image has: then no image with any is for it.
    fn opens_devices(&self) -> bool {
        false
    }
}
