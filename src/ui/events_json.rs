//! The events of a build as JSON lines, for programs.
//!
//! Each line is an object: `version` ([`EVENT_VERSION`]), `at` (milliseconds since the stream began), `event` (which),
//! and the fields of that event. Of `output`, `text` is the bytes read as UTF-8, with replacement characters where they
//! are not; then and only then `bytes` has them as an array of numbers. A character that was cut by the end of a read
//! is such a case on both sides of the cut.

use std::time::Duration;

use serde::Serialize;

use crate::solve::{BuildEvent, EVENT_VERSION, EventSink, VertexId};

use super::screen::Screen;
use super::units;

/// Writes one object a line.
pub(super) struct JsonLines {
    screen: Screen,
    start: Duration,
}

#[derive(Serialize)]
struct Line<E> {
    version: u32,
    at: u64,
    #[serde(flatten)]
    event: E,
}

/// [`BuildEvent::Output`] with text in the place of an array of numbers.
#[derive(Serialize)]
#[serde(tag = "event", rename = "output")]
struct Output<'a> {
    id: VertexId,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<&'a [u8]>,
}

impl JsonLines {
    pub(super) fn new(screen: Screen) -> Self {
        let start = screen.now();
        Self { screen, start }
    }

    fn write(&mut self, event: impl Serialize) {
        let line = Line {
            version: EVENT_VERSION,
            at: units::millis(self.screen.now().saturating_sub(self.start)),
            event,
        };
        // Events hold nothing that JSON cannot say, so there is no failure to tell about.
        if let Ok(mut line) = serde_json::to_string(&line) {
            line.push('\n');
            self.screen.write(&line);
        }
    }
}

impl EventSink for JsonLines {
    fn emit(&mut self, event: BuildEvent) {
        let BuildEvent::Output { id, bytes } = event else {
            return self.write(&event);
        };
        let text = String::from_utf8_lossy(&bytes);
        let is_exact = text.as_bytes() == bytes;
        self.write(Output {
            id,
            text: &text,
            bytes: (!is_exact).then_some(&bytes),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::solve::{Outcome, StepResources};
    use crate::ui::screen::fake::{Record, started, wrote};

    #[test]
    fn each_event_is_an_object_on_a_line() {
        let record = Record::default();
        record.advance(5000);
        let mut sink = JsonLines::new(record.screen(false));
        let id = VertexId(1);
        sink.emit(started(1, "[1/1] RUN \"make\""));
        record.advance(1);
        sink.emit(BuildEvent::Missed {
            id,
            reason: "`x` changed".to_owned(),
        });
        sink.emit(wrote(1, b"a\x1b[0m\n"));
        sink.emit(wrote(1, b"\xff\n"));
        sink.emit(BuildEvent::Progress {
            id,
            current: 1,
            total: None,
        });
        sink.emit(BuildEvent::Used {
            id,
            resources: StepResources {
                user_micros: 3,
                peak_memory: 4096,
                ..StepResources::default()
            },
        });
        sink.emit(BuildEvent::Finished {
            id,
            outcome: Outcome::Cached,
            millis: 7,
        });
        sink.emit(BuildEvent::Cancelled { id });
        sink.emit(BuildEvent::Built {
            image_id: Digest::from_bytes([0; 32]),
            names: vec!["app".to_owned()],
        });
        let zeros = "0".repeat(64);
        let expected = format!(
            r#"{{"version":1,"at":0,"event":"started","id":1,"name":"[1/1] RUN \"make\""}}
{{"version":1,"at":1,"event":"missed","id":1,"reason":"`x` changed"}}
{{"version":1,"at":1,"event":"output","id":1,"text":"a\u001b[0m\n"}}
{{"version":1,"at":1,"event":"output","id":1,"text":"{}\n","bytes":[255,10]}}
{{"version":1,"at":1,"event":"progress","id":1,"current":1,"total":null}}
{{"version":1,"at":1,"event":"used","id":1,"user_micros":3,"system_micros":0,"peak_memory":4096,"whole_step":false,"read_bytes":0,"written_bytes":0}}
{{"version":1,"at":1,"event":"finished","id":1,"outcome":"cached","millis":7}}
{{"version":1,"at":1,"event":"cancelled","id":1}}
{{"version":1,"at":1,"event":"built","image_id":"sha256:{zeros}","names":["app"]}}
"#,
            '\u{fffd}'
        );
        assert_eq!(record.text(), expected);
    }
}
