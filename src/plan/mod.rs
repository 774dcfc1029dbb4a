//! Syntax tree to instruction graph. Pure: no network, no clock, no file system.
//!
//! [`lower`] either makes the whole [`Plan`] or says which images it has to know first ([`Lowered::Needs`]); the caller
//! resolves them and calls again, until nothing is missing: triggers of a base image may ask for more. Every config and
//! every history text is final here; only what layers contain is left to the solver.

mod base;
mod chmod;
mod dump;
mod epoch;
mod from;
mod frontend;
mod globals;
mod graph;
mod history;
mod instructions;
mod lower;
mod merge;
mod needs;
mod observation;
mod options;
mod origin;
mod outline;
mod paths;
mod ports;
mod reach;
mod signals;
mod stage;
mod step;
mod variables;

pub use chmod::FileMode;
pub use dump::dump;
pub use graph::{Plan, PlannedHistory, PlannedImage};
pub use lower::{Lowered, lower, observe};
pub use merge::merge;
pub use observation::{Fact, Observation};
pub use options::{
    Entitlements, MainContext, NamedContext, NoCache, PlanOptions, ResolvedBases, context_name,
};
pub use origin::{
    GitError, GitSource, GitTime, HttpError, HttpSource, Login, Origin, Revision, is_git, is_http,
};
pub use outline::{Outline, OutlineArgument, OutlineNeed, Target, outline, targets};
pub use reach::{stage_hint, unknown_stages};
pub use step::{
    BaseId, BaseRequest, BaseSource, CopySource, CopyStep, DeviceRequest, NetworkMode, RunMount,
    RunStep, Sharing, StateRef, Step, StepId, StepKind, TreeSource, WorkdirStep,
};

use crate::dockerfile::ast::Word;
use crate::dockerfile::word::{self, ExpandError, Expansion, Mode};
use crate::source::{Diagnostic, Span};

/// The PATH of images and commands that name none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The host name inside RUN steps: the same for everybody, so that no machine name reaches an image.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// A mistake of the author that stops the planning of a stage.
type Failure = Box<Diagnostic>;

fn fail(code: &'static str, span: Span, message: impl Into<String>) -> Failure {
    Box::new(Diagnostic::error(code, message).at(span, ""))
}

/// Expands a word to one text.
fn expanded(
    word: &Word,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expansion, Failure> {
    word::expand(word, escape, lookup, Mode::Argument).map_err(expand_failure)
}

fn expand_failure(error: ExpandError) -> Failure {
    fail("expansion", error.span, error.to_string())
}

#[cfg(test)]
mod tests;
