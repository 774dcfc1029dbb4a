//! What a build reports while it runs: a closed set of typed events.
//!
//! Events are the product's output: `ui` turns them into lines, a live view or JSON. They are versioned as JSON lines
//! (`EVENT_VERSION`); `RUN` output travels as bytes and is never parsed.

use serde::Serialize;

use crate::oci::Digest;
use crate::store::StepResources;

/// Version of the JSON form of [`BuildEvent`]; raised when a field changes its meaning.
pub const EVENT_VERSION: u32 = 1;

/// Number of a line of work as shown to people, from 1, in the order in which lines first appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct VertexId(pub u32);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum BuildEvent {
    /// A line of work began.
    Started {
        /// Which.
        id: VertexId,
        /// `[build 2/4] RUN make`, `[internal] load build context`, `exporting to oci layout`.
        name: String,
    },
    /// A step ran because the cache could not answer it.
    Missed {
        /// Which.
        id: VertexId,
        /// One line that says why.
        reason: String,
    },
    /// How steps are run on this machine; before the first that runs.
    Footing {
        /// The rung, as a word: `root`, `subordinate-ids`, `one-id`, `chroot`.
        rung: &'static str,
        /// The same in one line.
        text: String,
    },
    /// Something that people should know of a line of work: where its result comes from.
    Noted {
        /// Which.
        id: VertexId,
        /// One line.
        text: String,
    },
    /// Bytes that a RUN wrote, standard output and error in the order they were written.
    Output {
        /// Which.
        id: VertexId,
        /// The bytes as they came, not split at lines.
        bytes: Vec<u8>,
    },
    /// Progress of a transfer or of an export.
    Progress {
        /// Which.
        id: VertexId,
        /// Bytes so far.
        current: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// What the command of a RUN used, when it has ended.
    Used {
        /// Which.
        id: VertexId,
        /// What it used.
        #[serde(flatten)]
        resources: StepResources,
    },
    /// A line of work ended well.
    Finished {
        /// Which.
        id: VertexId,
        /// How.
        outcome: Outcome,
        /// Milliseconds since it started.
        millis: u64,
    },
    /// A line of work failed.
    Failed {
        /// Which.
        id: VertexId,
        /// The error in one line.
        message: String,
        /// Milliseconds since it started.
        millis: u64,
    },
    /// A line of work was stopped because of a failure elsewhere or an interrupt.
    Cancelled {
        /// Which.
        id: VertexId,
    },
    /// Something the user should know, not bound to a step's failure.
    Warning {
        /// The text, one line.
        message: String,
    },
    /// A doubt about the Dockerfile, known before the first step runs. Listed for people when the build has ended.
    Finding {
        /// The rule.
        rule: &'static str,
        /// What is wrong, in one line.
        message: String,
        /// Line of the Dockerfile, from 1, if it is about one.
        line: Option<usize>,
        /// Where to read on, if there is such a place.
        url: Option<&'static str>,
    },
    /// What the cache saved and cost, at the end of a build, if it is worth telling.
    Account {
        /// Milliseconds that the steps took that did not have to run, when they ran.
        saved_millis: u64,
        /// Milliseconds that keys, look-ups, records and caches of others took.
        cost_millis: u64,
    },
    /// The image exists.
    Built {
        /// Digest of the image config, the image ID; of the index where several platforms were built.
        image_id: Digest,
        /// Names it was given.
        names: Vec<String>,
    },
}

/// How a line of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The work was done.
    Done,
    /// The cache had the result.
    Cached,
}

/// Receives events. The solver's coordinator is the only one that calls it during a solve.
pub trait EventSink: Send {
    /// Takes one event; must not block for long.
    fn emit(&mut self, event: BuildEvent);
}
