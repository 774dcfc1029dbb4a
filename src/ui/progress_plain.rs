//! The events of a build as lines, for logs and for terminals that are none.
//!
//! Every line begins with the number of the line of work it belongs to, so that steps that run at the same time can be
//! told apart.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::solve::{BuildEvent, EventSink, Outcome, StepResources, VertexId};

use super::lines::LineSplitter;
use super::screen::Screen;
use super::style::{Style, paint};
use super::{text, units};

/// What a step may write before the rest of its output is left out.
const CLIP_BYTES: u64 = 2 * 1024 * 1024;
/// Milliseconds that a step has to take before anybody cares what it used.
const WORTH_FIGURES: u64 = 1000;
/// The least time between two lines about the same transfer.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Writes lines.
pub(super) struct PlainProgress {
    screen: Screen,
    running: BTreeMap<VertexId, Running>,
    /// Whether anything was written, so that the first block has no empty line before it.
    begun: bool,
}

struct Running {
    started: Duration,
    splitter: LineSplitter,
    written: u64,
    reported: Duration,
    used: Option<StepResources>,
}

impl Running {
    fn new(now: Duration) -> Self {
        Self {
            started: now,
            splitter: LineSplitter::default(),
            written: 0,
            reported: now,
            used: None,
        }
    }
}

impl PlainProgress {
    pub(super) fn new(screen: Screen) -> Self {
        Self {
            screen,
            running: BTreeMap::new(),
            begun: false,
        }
    }

    fn line(&mut self, VertexId(id): VertexId, line: &str) {
        self.begun = true;
        self.screen.write(&format!("#{id} {line}\n"));
    }

    /// A line that belongs to no step.
    fn free_line(&mut self, line: &str) {
        self.begun = true;
        self.screen.write(&format!("{line}\n"));
    }

    fn painted(&self, style: Style, text: &str) -> String {
        paint(self.screen.colours, style, text)
    }

    fn started(&mut self, id: VertexId, name: &str) {
        let now = self.screen.now();
        self.running.insert(id, Running::new(now));
        if self.begun {
            self.screen.write("\n");
        }
        self.line(id, &text::one_line(name));
    }

    fn output(&mut self, id: VertexId, bytes: &[u8]) {
        let now = self.screen.now();
        let step = self.running.entry(id).or_insert_with(|| Running::new(now));
        let room = CLIP_BYTES.saturating_sub(step.written);
        let shown = usize::try_from(room).map_or(bytes, |room| &bytes[..bytes.len().min(room)]);
        let clips = room > 0 && shown.len() < bytes.len();
        step.written += shown.len() as u64;
        let mut block = String::new();
        let (started, colours) = (step.started, self.screen.colours);
        let mut take = |since, line: &[u8]| {
            output_line(
                &mut block,
                id,
                started,
                since,
                &text::neutralise(line, colours),
            );
        };
        step.splitter.push(shown, now, &mut take);
        if clips {
            step.splitter.finish(take);
        }
        if !block.is_empty() {
            self.begun = true;
            self.screen.write(&block);
        }
        if clips {
            let limit = CLIP_BYTES / (1024 * 1024);
            self.line(id, &format!("... output beyond {limit} MiB is not shown"));
        }
    }

    /// Writes what is left of a step's output and forgets the step. Gives what it used.
    fn ended(&mut self, id: VertexId) -> Option<StepResources> {
        let mut step = self.running.remove(&id)?;
        let mut block = String::new();
        let colours = self.screen.colours;
        step.splitter.finish(|since, line| {
            let line = text::neutralise(line, colours);
            output_line(&mut block, id, step.started, since, &line);
        });
        self.screen.write(&block);
        step.used
    }

    fn progress(&mut self, id: VertexId, current: u64, total: Option<u64>) {
        let now = self.screen.now();
        let step = self.running.entry(id).or_insert_with(|| Running::new(now));
        if now.saturating_sub(step.reported) < PROGRESS_EVERY {
            return;
        }
        step.reported = now;
        let elapsed = units::seconds(units::millis(now.saturating_sub(step.started)));
        self.line(
            id,
            &format!("{} {elapsed}", units::progress(current, total)),
        );
    }
}

/// Adds `#7 0.123 line`; the time is that of the line's first byte since the step began.
fn output_line(
    block: &mut String,
    VertexId(id): VertexId,
    started: Duration,
    since: Duration,
    line: &str,
) {
    let millis = units::millis(since.saturating_sub(started));
    let line = format!("#{id} {}.{:03} {line}", millis / 1000, millis % 1000);
    block.push_str(line.trim_end());
    block.push('\n');
}

impl EventSink for PlainProgress {
    fn emit(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::Started { id, name } => self.started(id, &name),
            BuildEvent::Missed { id, reason } => {
                let why = format!("why: {}", text::one_line(&reason));
                self.line(id, &self.painted(Style::Faint, &why));
            }
            BuildEvent::Footing { text, .. } => self.free_line(&units::footing(&text)),
            BuildEvent::Noted { id, text } => self.line(id, &text::one_line(&text)),
            BuildEvent::Output { id, bytes } => self.output(id, &bytes),
            BuildEvent::Progress { id, current, total } => self.progress(id, current, total),
            BuildEvent::Used { id, resources } => {
                if let Some(step) = self.running.get_mut(&id) {
                    step.used = Some(resources);
                }
            }
            BuildEvent::Finished {
                id,
                outcome,
                millis,
            } => {
                let used = self.ended(id).filter(|_| millis >= WORTH_FIGURES);
                let used = used.map_or(String::new(), |used| format!(" ({})", units::used(&used)));
                let line = match outcome {
                    Outcome::Done => format!("DONE {}{used}", units::seconds(millis)),
                    Outcome::Cached => "CACHED".to_owned(),
                };
                self.line(id, &self.painted(Style::Done, &line));
            }
            BuildEvent::Failed { id, message, .. } => {
                self.ended(id);
                let error = self.painted(Style::Error, "ERROR:");
                self.line(id, &format!("{error} {}", text::one_line(&message)));
            }
            BuildEvent::Cancelled { id } => {
                self.ended(id);
                self.line(id, &self.painted(Style::Warning, "CANCELED"));
            }
            BuildEvent::Warning { message } => {
                let label = self.painted(Style::Warning, "warning:");
                self.free_line(&format!("{label} {}", text::one_line(&message)));
            }
            BuildEvent::Finding { .. } => {}
            BuildEvent::Account {
                saved_millis,
                cost_millis,
            } => self.free_line(&units::account(saved_millis, cost_millis)),
            BuildEvent::Built { image_id, names } => {
                if self.begun {
                    self.screen.write("\n");
                }
                self.free_line(&format!("image {image_id}"));
                for name in names {
                    self.free_line(&format!("named {}", text::one_line(&name)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::ui::screen::fake::{Record, started, wrote};

    fn finished(id: u32, outcome: Outcome, millis: u64) -> BuildEvent {
        BuildEvent::Finished {
            id: VertexId(id),
            outcome,
            millis,
        }
    }

    #[test]
    fn a_build_is_told_in_lines() {
        let record = Record::default();
        let mut sink = PlainProgress::new(record.screen(false));
        sink.emit(started(1, "[1/4] FROM busybox"));
        sink.emit(finished(1, Outcome::Cached, 0));
        sink.emit(started(2, "[2/4] RUN make\nall"));
        sink.emit(BuildEvent::Missed {
            id: VertexId(2),
            reason: "`src/x.c` changed".to_owned(),
        });
        sink.emit(BuildEvent::Noted {
            id: VertexId(2),
            text: "with\x1b[2J all".to_owned(),
        });
        sink.emit(started(3, "[other 1/1] RUN sleep"));
        record.advance(123);
        sink.emit(wrote(2, b"one\ntw"));
        record.advance(1000);
        sink.emit(wrote(2, b"o\n\n\x1b[2Jpart\xff"));
        sink.emit(wrote(3, b"zzz"));
        record.advance(1);
        sink.emit(BuildEvent::Failed {
            id: VertexId(2),
            message: "exit code 2".to_owned(),
            millis: 1124,
        });
        sink.emit(BuildEvent::Cancelled { id: VertexId(3) });
        sink.emit(BuildEvent::Warning {
            message: "no `.dockerignore`".to_owned(),
        });
        let expected = "\
#1 [1/4] FROM busybox
#1 CACHED

#2 [2/4] RUN make all
#2 why: `src/x.c` changed
#2 with all

#3 [other 1/1] RUN sleep
#2 0.123 one
#2 0.123 two
#2 1.123
#2 1.123 part\u{fffd}
#2 ERROR: exit code 2
#3 1.123 zzz
#3 CANCELED
warning: no `.dockerignore`
";
        assert_eq!(record.text(), expected);
    }

    #[test]
    fn what_a_long_step_used_is_told() {
        let record = Record::default();
        let mut sink = PlainProgress::new(record.screen(false));
        for (id, millis, whole_step) in [(1, 999, true), (2, 1000, true), (3, 2000, false)] {
            sink.emit(started(id, "x"));
            let resources = StepResources {
                user_micros: 1_900_000,
                system_micros: 100_000,
                peak_memory: 64_000_000,
                whole_step,
                ..StepResources::default()
            };
            let id = VertexId(id);
            sink.emit(BuildEvent::Used { id, resources });
            sink.emit(finished(id.0, Outcome::Done, millis));
        }
        let text = record.text();
        let ends: Vec<&str> = text.lines().filter(|line| line.contains("DONE")).collect();
        let expected = [
            "#1 DONE 1.0s",
            "#2 DONE 1.0s (processor 2.0s, memory 64MB)",
            "#3 DONE 2.0s (processor 2.0s, memory of the largest process 64MB)",
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn the_image_is_named_at_the_end() {
        let record = Record::default();
        let mut sink = PlainProgress::new(record.screen(false));
        sink.emit(started(1, "exporting to image"));
        sink.emit(finished(1, Outcome::Done, 1249));
        sink.emit(BuildEvent::Built {
            image_id: Digest::from_bytes([0; 32]),
            names: vec!["docker.io/library/app:latest".to_owned()],
        });
        let expected = format!(
            "#1 exporting to image\n#1 DONE 1.2s\n\nimage sha256:{}\nnamed docker.io/library/app:latest\n",
            "0".repeat(64)
        );
        assert_eq!(record.text(), expected);
    }

    #[test]
    fn colours_of_the_output_stay_where_they_are_wanted() {
        for (colours, expected) in [
            (true, "#1 x\n#1 0.000 \x1b[31mred\x1b[0m\n"),
            (false, "#1 x\n#1 0.000 red\n"),
        ] {
            let record = Record::default();
            let mut sink = PlainProgress::new(record.screen(colours));
            sink.emit(started(1, "x"));
            sink.emit(wrote(1, b"\x1b[31mred\n"));
            assert_eq!(record.text(), expected);
        }
    }

    #[test]
    fn output_beyond_the_limit_is_left_out_once() {
        let record = Record::default();
        let mut sink = PlainProgress::new(record.screen(false));
        sink.emit(started(1, "x"));
        let line = [b"y".repeat(1023).as_slice(), b"\n"].concat();
        for _ in 0..2 * 1024 - 1 {
            sink.emit(wrote(1, &line));
        }
        assert!(!record.text().contains("not shown"));
        sink.emit(wrote(1, &[&line[1..], b"zz\nlater\n"].concat()));
        sink.emit(wrote(1, b"even later\n"));
        sink.emit(finished(1, Outcome::Done, 0));
        let text = record.text();
        assert!(
            text.ends_with(
                "yyy\n#1 0.000 z\n#1 ... output beyond 2 MiB is not shown\n#1 DONE 0.0s\n"
            )
        );
        assert!(!text.contains("later"));
        assert_eq!(text.matches("not shown").count(), 1);
    }

    #[test]
    fn a_transfer_is_reported_now_and_then() {
        let record = Record::default();
        let mut sink = PlainProgress::new(record.screen(false));
        sink.emit(started(1, "pulling busybox"));
        for second in 1..=11_u64 {
            record.advance(1000);
            sink.emit(BuildEvent::Progress {
                id: VertexId(1),
                current: second * 1_000_000,
                total: (second > 5).then_some(20_000_000),
            });
        }
        assert_eq!(
            record.text(),
            "#1 pulling busybox\n#1 5MB 5.0s\n#1 10MB / 20MB 10.0s\n"
        );
    }

    #[test]
    fn output_of_an_unknown_step_is_shown_all_the_same() {
        let record = Record::default();
        let mut sink = PlainProgress::new(record.screen(false));
        sink.emit(wrote(9, b"hello\n"));
        assert_eq!(record.text(), "#9 0.000 hello\n");
    }
}
