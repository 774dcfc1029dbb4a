//! How a build went, kept for `builder why`: each step with its outcome and, where it ran, the reason in full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::miss::MissReason;
use crate::oci::Digest;

/// Bytes of a message that are kept.
const LONGEST_MESSAGE: usize = 2000;

/// How a build went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// What was built.
    #[serde(flatten)]
    pub subject: Subject,
    /// When it ended, RFC 3339.
    pub ended: String,
    /// Whether every step is done.
    pub complete: bool,
    /// The steps, in the order of the plan.
    pub steps: Vec<BuiltStep>,
}

/// Names what a build builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The Dockerfile: its real path if it is a file of this machine, else where it came from.
    pub dockerfile: String,
    /// The stage that was asked for; empty for the last one.
    pub target: String,
    /// The main context, if it is a folder.
    pub folder: Option<String>,
}

impl Subject {
    /// Names Dockerfile and target in the store.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(format!("{}\n{}", self.dockerfile, self.target))
    }
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltStep {
    /// Its number as shown; none if it was not begun.
    pub number: Option<u32>,
    /// As shown: `[build 2/4] RUN make`.
    pub label: String,
    /// The name of its stage; empty for the only stage of a file.
    pub stage: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// Its key, where it is known.
    pub key: Option<Digest>,
    /// How long it took now; of a step that the cache had, how long it took when it ran.
    pub millis: u64,
    /// Why it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<MissReason>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What its key is made of, of a step that has no record of its own because it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingredients: Option<BTreeMap<String, String>>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// The store had the result.
    Cached,
    /// An imported cache had the result.
    Imported,
    /// It ran.
    Ran,
    /// It failed.
    Failed,
    /// It was stopped, because of a failure elsewhere or an interrupt.
    Stopped,
    /// The build did not come to it.
    NotReached,
}

impl StepOutcome {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Imported => "imported",
            Self::Ran => "ran",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::NotReached => "not reached",
        }
    }

    /// Whether the cache did not have it.
    #[must_use]
    pub fn is_miss(self) -> bool {
        matches!(self, Self::Ran | Self::Failed | Self::Stopped)
    }
}

/// A message as it is kept.
pub(super) fn kept_message(message: &str) -> String {
    let ends = message.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= LONGEST_MESSAGE).last();
    message[..end.unwrap_or_default()].to_owned()
}
