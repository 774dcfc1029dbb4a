//! What the live view shows: a value that events change and a clock reads. It knows no terminal but its size.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::solve::{BuildEvent, Outcome, VertexId};
use crate::ui::lines::{LineSplitter, Tail};
use crate::ui::screen::Size;
use crate::ui::style::{Style, paint};
use crate::ui::{text, units};

/// Below this width times are left out.
const NARROW: usize = 20;
/// Bytes kept of the last lines of a step; several of the longest kind.
const TAIL_BYTES: usize = 64 * 1024;

/// What is known about a build while it runs.
pub(super) struct View {
    colours: bool,
    tail_lines: usize,
    start: Duration,
    started: usize,
    ended: usize,
    running: BTreeMap<VertexId, Running>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Built,
    Failed,
}

struct Running {
    name: String,
    started: Duration,
    remarks: Vec<String>,
    progress: Option<String>,
    splitter: LineSplitter,
    tail: Tail,
}

impl View {
    pub(super) fn new(colours: bool, tail_lines: usize, start: Duration) -> Self {
        Self {
            colours,
            tail_lines,
            start,
            started: 0,
            ended: 0,
            running: BTreeMap::new(),
            end: End::Open,
        }
    }

    /// Takes an event; gives the lines that it adds above the live part, which are final.
    pub(super) fn apply(&mut self, event: BuildEvent, now: Duration, size: Size) -> Vec<String> {
        let columns = usable(size);
        match event {
            BuildEvent::Started { id, name } => self.begin(id, &name, now),
            BuildEvent::Missed { id, reason } => {
                if let Some(step) = self.running.get_mut(&id) {
                    step.remarks
                        .push(format!("why: {}", text::one_line(&reason)));
                }
            }
            BuildEvent::Used { .. } => {}
            // What is as everybody expects it is not worth a line of somebody who watches.
            BuildEvent::Footing { rung: "root", .. } => {}
            BuildEvent::Footing { text, .. } => {
                return vec![format!(" => {}", units::footing(&text))];
            }
            BuildEvent::Noted { id, text } => {
                if let Some(step) = self.running.get_mut(&id) {
                    step.remarks.push(text::one_line(&text));
                }
            }
            BuildEvent::Output { id, bytes } => {
                let colours = self.colours;
                if let Some(Running { splitter, tail, .. }) = self.running.get_mut(&id) {
                    splitter.push(&bytes, now, |_, line| {
                        tail.push(text::neutralise(line, colours));
                    });
                }
            }
            BuildEvent::Progress { id, current, total } => {
                if let Some(step) = self.running.get_mut(&id) {
                    step.progress = Some(units::progress(current, total));
                }
            }
            BuildEvent::Finished {
                id,
                outcome,
                millis,
            } => {
                let label = match outcome {
                    Outcome::Done => "",
                    Outcome::Cached => "CACHED ",
                };
                return self.close(id, label, Style::Done, millis, columns);
            }
            BuildEvent::Failed {
                id,
                message,
                millis,
            } => return self.fail(id, &message, millis, columns),
            BuildEvent::Cancelled { id } => {
                let started = self.running.get(&id).map_or(now, |step| step.started);
                let millis = units::millis(now.saturating_sub(started));
                return self.close(id, "CANCELED ", Style::Warning, millis, columns);
            }
            BuildEvent::Warning { message } => {
                let label = paint(self.colours, Style::Warning, "warning:");
                return vec![format!(" => {label} {}", text::one_line(&message))];
            }
            BuildEvent::Finding { .. } => {}
            BuildEvent::Account {
                saved_millis,
                cost_millis,
            } => {
                let line = units::account(saved_millis, cost_millis);
                return vec![format!(" => {line}")];
            }
            BuildEvent::Built { image_id, names } => {
                self.end = End::Built;
                let mut lines = vec![format!(" => image {image_id}")];
                lines.extend(
                    names
                        .iter()
                        .map(|name| format!(" => named {}", text::one_line(name))),
                );
                return lines;
            }
        }
        Vec::new()
    }

    fn begin(&mut self, id: VertexId, name: &str, now: Duration) {
        self.started += 1;
        let step = Running {
            name: text::one_line(name),
            started: now,
            remarks: Vec::new(),
            progress: None,
            splitter: LineSplitter::default(),
            tail: Tail::new(self.tail_lines, TAIL_BYTES),
        };
        self.running.insert(id, step);
    }

    /// The final lines of a step: what it was and why it ran.
    fn close(
        &mut self,
        id: VertexId,
        label: &str,
        style: Style,
        millis: u64,
        columns: usize,
    ) -> Vec<String> {
        let Some(step) = self.running.remove(&id) else {
            return Vec::new();
        };
        self.ended += 1;
        let name = format!(" => {label}{}", step.name);
        let mut lines = vec![paint(
            self.colours,
            style,
            &row(&name, &units::seconds(millis), columns),
        )];
        lines.extend(self.remarks(&step, columns));
        lines
    }

    fn fail(&mut self, id: VertexId, message: &str, millis: u64, columns: usize) -> Vec<String> {
        self.end = End::Failed;
        let mut tail = Vec::new();
        if let Some(step) = self.running.get_mut(&id) {
            let colours = self.colours;
            step.splitter
                .finish(|_, line| step.tail.push(text::neutralise(line, colours)));
            tail.extend(step.tail.iter().map(|line| detail(line, columns)));
        }
        let mut lines = self.close(id, "ERROR ", Style::Error, millis, columns);
        lines.extend(tail);
        // The whole message: this line may wrap, it is not drawn again.
        lines.push(format!(" => => {}", text::one_line(message)));
        lines
    }

    fn remarks(&self, step: &Running, columns: usize) -> Vec<String> {
        let remarks = step.remarks.iter();
        remarks
            .map(|remark| paint(self.colours, Style::Faint, &detail(remark, columns)))
            .collect()
    }

    /// The live part: a headline and the running steps, as many lines as there are rows to spare.
    pub(super) fn frame(&self, now: Duration, size: Size) -> Vec<String> {
        if self.started == 0 || self.end != End::Open && self.running.is_empty() {
            return Vec::new();
        }
        let columns = usable(size);
        // One row stays free, so that the last line above is seen.
        let mut rows = usize::from(size.rows).saturating_sub(2);
        let mut lines = vec![text::fit(&self.headline(now), columns)];
        let shown = match self.running.len() {
            count if count <= rows => count,
            _ => rows.saturating_sub(1),
        };
        let hidden = self.running.len() - shown;
        rows = rows.saturating_sub(shown + usize::from(hidden > 0));
        for (index, step) in self.running.values().take(shown).enumerate() {
            let elapsed = units::seconds(units::millis(now.saturating_sub(step.started)));
            lines.push(row(&format!(" => {}", step.name), &elapsed, columns));
            // Rows are shared evenly by the steps that are still to come.
            let details = self.details(step, rows / (shown - index), columns);
            rows -= details.len();
            lines.extend(details);
        }
        if hidden > 0 && lines.len() + 1 < usize::from(size.rows) {
            lines.push(text::fit(&format!(" => and {hidden} more"), columns));
        }
        lines
    }

    /// What is beneath a running step: why it runs, how far it is, and its last lines.
    fn details(&self, step: &Running, room: usize, columns: usize) -> Vec<String> {
        let mut lines = self.remarks(step, columns);
        lines.extend(step.progress.iter().map(|text| detail(text, columns)));
        lines.truncate(room);
        let partial = text::neutralise(step.splitter.partial(), self.colours);
        let partial = Some(partial.as_str()).filter(|line| !line.is_empty());
        let most = self.tail_lines.min(room - lines.len());
        let mut tail: Vec<String> = step
            .tail
            .iter()
            .chain(partial)
            .rev()
            .take(most)
            .map(|line| detail(line, columns))
            .collect();
        tail.reverse();
        lines.extend(tail);
        lines
    }

    fn headline(&self, now: Duration) -> String {
        let elapsed = units::seconds(units::millis(now.saturating_sub(self.start)));
        format!("[+] Building {elapsed} ({}/{})", self.ended, self.started)
    }

    /// The last line of all, once the view is gone; none if nothing was begun.
    pub(super) fn summary(&self, now: Duration) -> Option<String> {
        if self.started == 0 {
            return None;
        }
        let (word, style) = match self.end {
            End::Built => (" FINISHED", Style::Done),
            End::Failed => (" FAILED", Style::Error),
            End::Open => ("", Style::Done),
        };
        let word = paint(self.colours, style, word);
        Some(format!("{}{word}", self.headline(now)))
    }
}

/// Columns to write to: the last one stays free, because some terminals go on to the next row when it is written.
fn usable(size: Size) -> usize {
    usize::from(size.columns).saturating_sub(1)
}

/// A name at the left and a time at the right.
fn row(name: &str, time: &str, columns: usize) -> String {
    if columns < NARROW {
        return text::fit(name, columns);
    }
    let room = columns.saturating_sub(time.len() + 1);
    let name = text::fit(name, room);
    let gap = columns.saturating_sub(text::columns(&name) + time.len());
    format!("{name}{}{time}", " ".repeat(gap))
}

fn detail(line: &str, columns: usize) -> String {
    text::fit(&format!(" => => {line}"), columns)
}
