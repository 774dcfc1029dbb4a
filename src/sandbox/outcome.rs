//! How a step ended, and what it used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a step that ran ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutcome {
    /// How the command ended.
    pub exit: Exit,
    /// What the command and its descendants used.
    pub resources: Resources,
    /// From the start of the sandbox until everything in it was gone.
    pub wall_time: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It returned.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

impl Exit {
    /// Whether the command said that all went well.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The one number that shells give for either ending: 128 + n for signal n.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// What a command and its descendants used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor time in the programs.
    pub user_time: Duration,
    /// Processor time in the kernel for them.
    pub system_time: Duration,
    /// Resident memory of the largest process at its peak. Not below what the sandbox's own start takes (a few MiB).
    pub max_rss_bytes: u64,
}
