//! Keeps the last output of each running step, for the report of a failure.
//!
//! It listens to the same events as the renderer, whichever that is: a quiet build that fails still ends with the
//! output that explains why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::solve::{BuildEvent, EventSink, VertexId};

use super::lines::{LineSplitter, Tail};
use super::text;

/// A step that failed, with the end of what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// Its name as shown: `[build 2/4] RUN make`.
    pub name: String,
    /// Its error in one line.
    pub message: String,
    /// The last lines of its output, safe to show.
    pub lines: Vec<String>,
    /// How many lines came before those.
    pub omitted: u64,
}

/// The last output lines of the steps of one build. Clones share their content.
#[derive(Clone)]
pub struct StepLog {
    record: Arc<Mutex<Record>>,
}

struct Record {
    colours: bool,
    running: BTreeMap<VertexId, Running>,
    failed: Vec<FailedStep>,
}

struct Running {
    name: String,
    splitter: LineSplitter,
    tail: Tail,
}

impl StepLog {
    /// Lines kept of a step.
    const LINES: usize = 20;
    /// Bytes kept of a step; at least one line of the longest kind.
    const BYTES: usize = 64 * 1024;

    /// An empty log; `colours` tells whether those in the output are kept.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self {
            record: Arc::new(Mutex::new(Record {
                colours,
                running: BTreeMap::new(),
                failed: Vec::new(),
            })),
        }
    }

    /// A sink that notes each event here and hands it on.
    #[must_use]
    pub fn listen(&self, next: Box<dyn EventSink>) -> Box<dyn EventSink> {
        Box::new(Listener {
            log: self.clone(),
            next,
        })
    }

    /// Notes an event.
    pub fn observe(&self, event: &BuildEvent) {
        self.lock().observe(event);
    }

    /// The steps that failed so far, in the order in which they did.
    #[must_use]
    pub fn failures(&self) -> Vec<FailedStep> {
        self.lock().failed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // Every change leaves the record whole, so one that a panic interrupted is still good to read.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StepLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepLog").finish_non_exhaustive()
    }
}

impl Record {
    fn observe(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::Started { id, name } => {
                let running = Running {
                    name: text::one_line(name),
                    splitter: LineSplitter::default(),
                    tail: Tail::new(StepLog::LINES, StepLog::BYTES),
                };
                self.running.insert(*id, running);
            }
            BuildEvent::Output { id, bytes } => {
                let colours = self.colours;
                if let Some(Running { splitter, tail, .. }) = self.running.get_mut(id) {
                    splitter.push(bytes, Duration::ZERO, |_, line| {
                        tail.push(text::neutralise(line, colours));
                    });
                }
            }
            BuildEvent::Failed { id, message, .. } => {
                let colours = self.colours;
                let Some(mut step) = self.running.remove(id) else {
                    return;
                };
                step.splitter
                    .finish(|_, line| step.tail.push(text::neutralise(line, colours)));
                self.failed.push(FailedStep {
                    name: step.name,
                    message: text::one_line(message),
                    lines: step.tail.iter().map(str::to_owned).collect(),
                    omitted: step.tail.omitted(),
                });
            }
            BuildEvent::Finished { id, .. } | BuildEvent::Cancelled { id } => {
                self.running.remove(id);
            }
            BuildEvent::Missed { .. }
            | BuildEvent::Used { .. }
            | BuildEvent::Footing { .. }
            | BuildEvent::Noted { .. }
            | BuildEvent::Progress { .. }
            | BuildEvent::Warning { .. }
            | BuildEvent::Finding { .. }
            | BuildEvent::Account { .. }
            | BuildEvent::Built { .. } => {}
        }
    }
}

struct Listener {
    log: StepLog,
    next: Box<dyn EventSink>,
}

impl EventSink for Listener {
    fn emit(&mut self, event: BuildEvent) {
        self.log.observe(&event);
        self.next.emit(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::Outcome;
    use crate::ui::screen::fake::{Record as Screenshot, started, wrote};
    use crate::ui::{Mode, renderer};

    fn failed(id: u32) -> BuildEvent {
        BuildEvent::Failed {
            id: VertexId(id),
            message: "exit code 1".to_owned(),
            millis: 10,
        }
    }

    #[test]
    fn a_failed_step_keeps_the_end_of_its_output() {
        let log = StepLog::new(false);
        log.observe(&started(1, "[1/2] RUN make"));
        log.observe(&started(2, "[2/2] RUN true"));
        for line in 0..25 {
            log.observe(&wrote(1, format!("line {line}\n").as_bytes()));
        }
        log.observe(&wrote(2, b"other\n"));
        log.observe(&wrote(1, b"\x1b[31mlast"));
        log.observe(&failed(1));
        let failures = log.failures();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].name, "[1/2] RUN make");
        assert_eq!(failures[0].message, "exit code 1");
        assert_eq!(failures[0].lines.len(), 20);
        assert_eq!(failures[0].lines[0], "line 6");
        assert_eq!(failures[0].lines[19], "last");
        assert_eq!(failures[0].omitted, 6);
    }

    #[test]
    fn what_ends_well_is_forgotten() {
        let log = StepLog::new(false);
        log.observe(&started(1, "[1/1] RUN make"));
        log.observe(&BuildEvent::Finished {
            id: VertexId(1),
            outcome: Outcome::Done,
            millis: 1,
        });
        log.observe(&failed(1));
        assert_eq!(log.failures(), []);
    }

    #[test]
    fn a_listener_hands_events_on() {
        let log = StepLog::new(false);
        let record = Screenshot::default();
        let mut sink = log.listen(renderer(Mode::Plain, record.screen(false)));
        sink.emit(started(1, "[1/1] RUN make"));
        sink.emit(failed(1));
        assert_eq!(log.failures().len(), 1);
        assert!(record.text().contains("#1 [1/1] RUN make\n"));
    }
}
