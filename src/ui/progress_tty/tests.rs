//! Plays what the live view writes to a small terminal and looks at its rows.

use std::sync::Arc;

use super::*;
use crate::oci::Digest;
use crate::solve::{Outcome, VertexId};
use crate::ui::screen::Size;
use crate::ui::screen::fake::{Record, started, wrote};

/// What a terminal of some width shows after the bytes it got, rows that scrolled away included.
fn rows(bytes: &str, columns: usize) -> Vec<String> {
    let mut rows: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut rest = bytes.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => (row, column) = (row + 1, 0),
            '\u{1b}' => {
                assert_eq!(rest.next(), Some('['));
                let mut number = String::new();
                let end = rest.find(|c| {
                    number.push(*c);
                    !c.is_ascii_digit() && *c != ';'
                });
                number.pop();
                let count: usize = number.parse().unwrap_or(1);
                match end {
                    // Leaving the last column cancels the wrap that is due there.
                    Some('A') => (row, column) = (row - count, column.min(columns - 1)),
                    Some('B') => (row, column) = (row + count, column.min(columns - 1)),
                    Some('K') => rows[row].clear(),
                    Some('m') => {}
                    other => panic!("unexpected sequence {number:?} {other:?}"),
                }
            }
            c => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                rows.resize(rows.len().max(row + 1), Vec::new());
                let width = rows[row].len().max(column + 1);
                rows[row].resize(width, ' ');
                rows[row][column] = c;
                column += 1;
            }
        }
        rows.resize(rows.len().max(row + 1), Vec::new());
    }
    let mut rows: Vec<String> = rows
        .into_iter()
        .map(|row| row.into_iter().collect::<String>().trim_end().to_owned())
        .collect();
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows
}

struct Stage {
    record: Record,
    columns: u16,
    progress: TtyProgress,
}

impl Stage {
    fn new(columns: u16, rows: u16) -> Self {
        let record = Record::default();
        let screen = Screen {
            size: Arc::new(move || Size { columns, rows }),
            ..record.screen(false)
        };
        let progress = TtyProgress::still(screen);
        Self {
            record,
            columns,
            progress,
        }
    }

    fn emit(&mut self, event: BuildEvent) {
        self.progress.emit(event);
    }

    fn finish(&mut self, id: u32, outcome: Outcome, millis: u64) {
        self.emit(BuildEvent::Finished {
            id: VertexId(id),
            outcome,
            millis,
        });
    }

    fn see(&self) -> String {
        self.progress.bar.force_draw();
        rows(&self.record.text(), usize::from(self.columns)).join("\n")
    }

    fn close(self) -> String {
        drop(self.progress);
        let text = self.record.text();
        assert!(text.ends_with('\n'), "the prompt gets a line of its own");
        rows(&text, usize::from(self.columns)).join("\n")
    }
}

#[test]
fn ended_steps_stand_above_running_ones() {
    let mut stage = Stage::new(40, 20);
    assert_eq!(stage.see(), "");
    stage.emit(started(1, "[1/3] FROM busybox"));
    stage.finish(1, Outcome::Cached, 0);
    stage.emit(started(2, "[2/3] RUN make all the things there are"));
    stage.emit(BuildEvent::Missed {
        id: VertexId(2),
        reason: "`x.c` changed".to_owned(),
    });
    stage.record.advance(1250);
    stage.emit(started(3, "pulling"));
    stage.emit(BuildEvent::Noted {
        id: VertexId(3),
        text: "asked 1 min ago".to_owned(),
    });
    stage.emit(BuildEvent::Progress {
        id: VertexId(3),
        current: 1_000_000,
        total: Some(2_000_000),
    });
    stage.emit(wrote(2, b"1\n2\n3\n4\n5\n6\n7\nhalf"));
    let live = " => CACHED [1/3] FROM busybox      0.0s
[+] Building 1.3s (1/3)
 => [2/3] RUN make all the things… 1.3s
 => => why: `x.c` changed
 => => 3
 => => 4
 => => 5
 => => 6
 => => 7
 => => half
 => pulling                        0.0s
 => => asked 1 min ago
 => => 1MB / 2MB";
    assert_eq!(stage.see(), live);
    assert_eq!(stage.see(), live, "drawn over itself");

    stage.finish(3, Outcome::Done, 2000);
    stage.record.advance(1000);
    stage.finish(2, Outcome::Done, 2250);
    stage.emit(BuildEvent::Warning {
        message: "look".to_owned(),
    });
    stage.emit(BuildEvent::Built {
        image_id: Digest::from_bytes([0; 32]),
        names: vec!["app".to_owned()],
    });
    let ended = " => CACHED [1/3] FROM busybox      0.0s
 => pulling                        2.0s
 => => asked 1 min ago
 => [2/3] RUN make all the things… 2.3s
 => => why: `x.c` changed
 => warning: look
 => image sha256:00000000000000000000000
0000000000000000000000000000000000000000
0
 => named app
[+] Building 2.3s (3/3) FINISHED";
    // The image ID is longer than a row.
    assert_eq!(stage.close(), ended);
}

#[test]
fn a_failed_step_keeps_its_last_lines() {
    let mut stage = Stage::new(60, 20);
    stage.emit(started(1, "[1/2] RUN make"));
    stage.emit(started(2, "[2/2] RUN sleep"));
    stage.record.advance(500);
    stage.emit(wrote(1, b"cc x.c\nx.c:1: \x1b[2Jerror"));
    stage.emit(BuildEvent::Failed {
        id: VertexId(1),
        message: "exit code 2".to_owned(),
        millis: 500,
    });
    stage.emit(BuildEvent::Cancelled { id: VertexId(2) });
    let expected = " => ERROR [1/2] RUN make                               0.5s
 => => cc x.c
 => => x.c:1: error
 => => exit code 2
 => CANCELED [2/2] RUN sleep                           0.5s
[+] Building 0.5s (2/2) FAILED";
    assert_eq!(stage.close(), expected);
}

#[test]
fn a_small_terminal_shows_what_fits() {
    let mut stage = Stage::new(16, 6);
    for id in 1..=3 {
        stage.emit(started(id, "[1/9] RUN something"));
        stage.emit(wrote(id, b"1\n2\n3\n4\n"));
    }
    assert_eq!(
        stage.see(),
        "[+] Building 0…\n => [1/9] RUN …\n => [1/9] RUN …\n => [1/9] RUN …\n => => 4"
    );
    for id in 4..=9 {
        stage.emit(started(id, "more"));
    }
    assert_eq!(
        stage.see(),
        "[+] Building 0…\n => [1/9] RUN …\n => [1/9] RUN …\n => [1/9] RUN …\n => and 6 more"
    );
}

#[test]
fn no_size_is_too_small() {
    for (columns, rows) in [(0, 0), (1, 1), (2, 1), (1, 2), (3, 3)] {
        let mut stage = Stage::new(columns, rows);
        for id in 1..=3 {
            stage.emit(started(id, "[1/9] RUN something"));
            stage.emit(wrote(id, b"output\n"));
        }
        stage.progress.bar.force_draw();
        stage.finish(1, Outcome::Done, 1);
        drop(stage.progress);
        assert!(stage.record.text().ends_with("(1/3)\n"), "{columns} {rows}");
    }
}

#[test]
fn a_build_that_did_nothing_leaves_no_trace() {
    let record = Record::default();
    drop(TtyProgress::new(record.screen(true)));
    assert_eq!(record.text(), "");
}

#[test]
fn the_view_is_redrawn_by_itself_until_it_is_dropped() {
    let record = Record::default();
    let mut progress = TtyProgress::new(record.screen(true));
    progress.emit(started(1, "[1/1] RUN sleep"));
    while !record.text().contains("[1/1] RUN sleep") {
        std::thread::yield_now();
    }
    drop(progress);
    let text = record.text();
    assert!(text.ends_with("[+] Building 0.0s (0/1)\n"), "{text:?}");
}
