//! Where a renderer writes, and what it has to know about that place.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time since some fixed moment; never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl Default for Size {
    /// The size of a terminal that does not tell.
    fn default() -> Self {
        Self {
            columns: 80,
            rows: 24,
        }
    }
}

/// A place to write progress to.
pub struct Screen {
    /// Takes the bytes.
    pub output: Box<dyn Write + Send>,
    /// Whether colours may be used, by us and by what a `RUN` writes.
    pub colours: bool,
    /// Asked before every frame of the live view, so that a resized terminal is noticed.
    pub size: Arc<dyn Fn() -> Size + Send + Sync>,
    /// Where elapsed times come from.
    pub clock: Clock,
    /// How many of the last output lines of a running step the live view shows.
    pub tail_lines: usize,
}

impl Screen {
    /// How many output lines of a running step the live view shows unless told otherwise.
    pub const TAIL_LINES: usize = 6;

    /// A screen on `output`, with the machine's clock, of the size of a terminal that does not tell.
    #[must_use]
    pub fn new(output: Box<dyn Write + Send>, colours: bool) -> Self {
        Self {
            output,
            colours,
            size: Arc::new(Size::default),
            clock: monotonic_clock(),
            tail_lines: Self::TAIL_LINES,
        }
    }

    /// Standard error, where progress goes.
    #[must_use]
    pub fn stderr(colours: bool) -> Self {
        Self {
            size: Arc::new(stderr_size),
            ..Self::new(Box::new(io::stderr()), colours)
        }
    }

    /// Standard output, where the image ID of [`Mode::Quiet`](super::Mode::Quiet) goes.
    #[must_use]
    pub fn stdout(colours: bool) -> Self {
        Self::new(Box::new(io::stdout()), colours)
    }

    /// Writes a piece of output at once. Progress that nobody can read is no reason to stop a build, so a failure,
    /// for instance of a closed pipe, is not reported.
    pub(super) fn write(&mut self, text: &str) {
        let written = self.output.write_all(text.as_bytes());
        written.and_then(|()| self.output.flush()).ok();
    }

    /// The time now.
    pub(super) fn now(&self) -> Duration {
        (self.clock)()
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("colours", &self.colours)
            .field("tail_lines", &self.tail_lines)
            .finish_non_exhaustive()
    }
}

/// A clock that starts now.
#[must_use]
pub fn monotonic_clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

/// The size of the terminal on standard error; the usual one if there is none.
#[must_use]
pub fn stderr_size() -> Size {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size {
            columns: size.ws_col,
            rows: size.ws_row,
        },
        _ => Size::default(),
    }
}

/// A screen that remembers what was written, with a clock that stands still until it is told otherwise.
#[cfg(test)]
pub(super) mod fake {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::solve::{BuildEvent, VertexId};

    #[derive(Clone, Default)]
    pub(in crate::ui) struct Record {
        bytes: Arc<Mutex<Vec<u8>>>,
        millis: Arc<AtomicU64>,
    }

    impl Record {
        pub(in crate::ui) fn screen(&self, colours: bool) -> Screen {
            let millis = Arc::clone(&self.millis);
            Screen {
                clock: Arc::new(move || Duration::from_millis(millis.load(Ordering::Relaxed))),
                ..Screen::new(Box::new(self.clone()), colours)
            }
        }

        pub(in crate::ui) fn advance(&self, millis: u64) {
            self.millis.fetch_add(millis, Ordering::Relaxed);
        }

        pub(in crate::ui) fn text(&self) -> String {
            String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Record {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(in crate::ui) fn started(id: u32, name: &str) -> BuildEvent {
        BuildEvent::Started {
            id: VertexId(id),
            name: name.to_owned(),
        }
    }

    pub(in crate::ui) fn wrote(id: u32, bytes: &[u8]) -> BuildEvent {
        BuildEvent::Output {
            id: VertexId(id),
            bytes: bytes.to_vec(),
        }
    }
}
