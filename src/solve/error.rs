//! What stops a step, one variant for each thing that was being done.

use crate::agent::AgentError;
use crate::cdi::CdiError;
use crate::context::ContextError;
use crate::fsio;
use crate::layer;
use crate::oci::Digest;
use crate::sandbox::{Exit, MetLimits, Obstacle, SandboxError};
use crate::source::Span;
use crate::store::StoreError;

/// A step that failed, with its place.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct SolveError {
    /// The step as shown to people.
    pub label: String,
    /// The instruction.
    pub span: Span,
    /// Why.
    pub source: StepError,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The command returned non-zero.
    #[error("process \"{}\" did not complete successfully: {}{}", process, exit_text(*exit), limits_text(*exit, met))]
    Exit {
        /// The command line.
        process: String,
        /// How it ended.
        exit: Exit,
        /// The limits that it met, one of which may be the reason.
        met: MetLimits,
        /// Whether it ran where there is one user only, which may be why.
        one_id: bool,
    },
    /// The command could not be run.
    #[error("process \"{process}\" {}: {source}", not_run(source))]
    Sandbox {
        /// The command line.
        process: String,
        /// Why.
        source: SandboxError,
    },
    /// A RUN where none can run.
    #[error(transparent)]
    NoFooting(#[from] Obstacle),
    /// Limits that this machine cannot hold a RUN to.
    #[error("RUN cannot be limited: {0}")]
    Limits(#[source] SandboxError),
    /// A RUN as a user that cannot be become here.
    #[error(
        "this RUN is to run as user {uid}, group {gid}, and here there is no user but root: the builder's user has one id"
    )]
    OtherUser {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// `USER` or `--chown` names somebody who is not there.
    #[error(transparent)]
    User(#[from] super::step::UserError),
    /// The files of a COPY or ADD.
    #[error(transparent)]
    Copy(#[from] super::step::CopyError),
    /// A secret that has to be there is not.
    #[error("secret {id}: not found")]
    SecretMissing {
        /// Its name.
        id: String,
    },
    /// A secret that cannot be read.
    #[error("secret {id}: {source}")]
    SecretUnreadable {
        /// Its name.
        id: String,
        /// Why.
        source: fsio::Error,
    },
    /// A secret that is too large.
    #[error("secret {id} is larger than 500 KiB")]
    SecretTooLarge {
        /// Its name.
        id: String,
    },
    /// An SSH agent that has to be there is not.
    #[error("no SSH key \"{id}\" forwarded from the client")]
    SshMissing {
        /// Its name.
        id: String,
    },
    /// A device that the step cannot be given.
    #[error(transparent)]
    Device(#[from] CdiError),
    /// An SSH agent cannot be lent to the step.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The build context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The files of a state could not be copied for a RUN.
    #[error("cannot lay out the files for the step: {0}")]
    LayOut(#[source] layer::Error),
    /// The changes of a RUN could not be read.
    #[error("cannot read what the step changed: {0}")]
    Changes(#[source] layer::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// Stopped because of a failure elsewhere or an interrupt.
    #[error("cancelled")]
    Cancelled,
}

/// A command that cannot be executed counts as one that returned what a shell returns then.
fn not_run(source: &SandboxError) -> String {
    match (source.exit_code(), source) {
        (Some(code), _) => format!("did not complete successfully: exit code: {code}"),
        (None, SandboxError::TimedOut { .. }) => "did not complete successfully".to_owned(),
        (None, _) => "could not be run".to_owned(),
    }
}

fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code: {code}"),
        Exit::Signal(signal) => format!(
            "exit code: {} (killed by signal {signal})",
            signal.saturating_add(128)
        ),
    }
}

/// What the kernel did to the command, or to one of those that it started.
fn limits_text(exit: Exit, met: &MetLimits) -> String {
    const KILLED: i32 = 137;
    match (met.explain(), met.out_of_memory, exit.status()) {
        (false, ..) => String::new(),
        (true, Some(_), status) if status != KILLED => format!(": a process was {met}"),
        (true, ..) => format!(": {met}"),
    }
}

/// A layer that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It is malformed.
    #[error("layer {diff_id}: {source}")]
    Format {
        /// Which layer.
        diff_id: Digest,
        /// What is wrong.
        source: layer::Error,
    },
    /// The blob does not unpack to the layer that the image's config names.
    #[error("layer {diff_id} unpacks to something else, {found}")]
    WrongContent {
        /// Which layer.
        diff_id: Digest,
        /// What it is.
        found: Digest,
    },
    /// Nobody wants it any more.
    #[error("interrupted")]
    Stopped,
    /// The store lost it while it was in use.
    #[error("layer {diff_id} is no longer in the store; build again")]
    Gone {
        /// Which layer.
        diff_id: Digest,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
}

impl LayerError {
    /// The layer, if the store had it and it is damaged or gone: whoever makes it again can go on.
    #[must_use]
    pub fn damaged_layer(&self) -> Option<Digest> {
        match self {
            Self::Gone { diff_id } => Some(*diff_id),
            Self::Format { diff_id, source } if source.is_damage() => Some(*diff_id),
            _ => None,
        }
    }
}

impl StepError {
    /// The layer whose damage was in the way, if that is why the step failed.
    #[must_use]
    pub fn damaged_layer(&self) -> Option<Digest> {
        match self {
            Self::Layer(error) => error.damaged_layer(),
            Self::Copy(super::step::CopyError::Damaged { layer, .. }) => Some(*layer),
            _ => None,
        }
    }

    /// Whether the machine is at fault rather than the Dockerfile: a full disk, a registry, a kernel feature.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        if fsio::is_no_space(self) {
            return true;
        }
        match self {
            Self::Sandbox { source, .. } => {
                source.exit_code().is_none() && !matches!(source, SandboxError::TimedOut { .. })
            }
            Self::NoFooting(_)
            | Self::Limits(_)
            | Self::OtherUser { .. }
            | Self::Agent(_)
            | Self::Device(_)
            | Self::Layer(_)
            | Self::Store(_)
            | Self::Disk(_)
            | Self::LayOut(_)
            | Self::Changes(_) => true,
            Self::Context(error) => !matches!(error, ContextError::Lookup(_)),
            Self::Copy(super::step::CopyError::Damaged { .. }) => true,
            _ => false,
        }
    }
}
