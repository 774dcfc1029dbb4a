//! Shows events and results; the only module that touches standard output and standard error.
//!
//! A build reports [`BuildEvent`]s to an [`EventSink`]; [`renderer`] makes the one that the
//! user asked for. What a failed build ends with is put together in [`report`], what a command prints goes through
//! [`Console`]. Nothing here decides anything about the build, and nothing reads the environment: colours, terminal
//! and tail length are given.

mod console;
mod context_view;
mod events_json;
mod findings;
mod findings_json;
mod fixed;
mod graph;
mod image_id;
mod lines;
mod mode;
mod outline;
mod progress_plain;
mod progress_tty;
pub mod report;
mod screen;
mod step_log;
mod style;
mod table;
mod text;
mod units;
mod why;

pub use console::{Console, ConsoleError, stderr_is_terminal, stdin, stdout, stdout_is_terminal};
pub use context_view::ContextView;
pub use findings::{check_text, short, summary};
pub use findings_json::{check_json, sarif};
pub use fixed::{diff, fixed};
pub use graph::{GraphFormat, graph};
pub use mode::{Mode, ModeError};
pub use outline::{
    methods_json, methods_text, outline_json, outline_text, targets_json, targets_text,
};
pub use screen::{Clock, Screen, Size, monotonic_clock, stderr_size};
pub use step_log::{FailedStep, StepLog};
pub use table::{Align, Table};
pub use text::excerpt;
pub use units::{age, size};
pub use why::{ToldStep, why_json, why_list, why_step};

use crate::solve::{BuildEvent, EventSink};

/// Makes what turns the events of a build into output on `screen`.
///
/// [`Mode::Auto`] is for the caller to resolve ([`Mode::resolve`]); left unresolved it means plain lines.
#[must_use]
pub fn renderer(mode: Mode, screen: Screen) -> Box<dyn EventSink> {
    match mode {
        Mode::Auto | Mode::Plain => Box::new(progress_plain::PlainProgress::new(screen)),
        Mode::Tty => Box::new(progress_tty::TtyProgress::new(screen)),
        Mode::RawJson => Box::new(events_json::JsonLines::new(screen)),
        Mode::Quiet => Box::new(image_id::ImageId::new(screen)),
        Mode::None => Box::new(Silence),
    }
}

/// Shows nothing.
struct Silence;

impl EventSink for Silence {
    fn emit(&mut self, _: BuildEvent) {}
}
