//! The few cursor movements that redrawing takes, collected and written as one piece.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use crate::ui::screen::Size;

/// A terminal behind a stream. Clones share it.
#[derive(Clone)]
pub(super) struct Terminal {
    stream: Arc<Mutex<Stream>>,
    size: Arc<dyn Fn() -> Size + Send + Sync>,
}

struct Stream {
    output: Box<dyn Write + Send>,
    pending: Vec<u8>,
    held: bool,
}

impl Terminal {
    pub(super) fn new(
        output: Box<dyn Write + Send>,
        size: Arc<dyn Fn() -> Size + Send + Sync>,
    ) -> Self {
        let stream = Stream {
            output,
            pending: Vec::new(),
            held: false,
        };
        Self {
            stream: Arc::new(Mutex::new(stream)),
            size,
        }
    }

    /// The size now; never less than one character.
    pub(super) fn size(&self) -> Size {
        let Size { columns, rows } = (self.size)();
        Size {
            columns: columns.max(1),
            rows: rows.max(1),
        }
    }

    /// From now on nothing is written, whatever `indicatif` thinks is complete.
    pub(super) fn hold(&self) {
        self.lock().held = true;
    }

    /// Ends [`Terminal::hold`].
    pub(super) fn release(&self) {
        self.lock().held = false;
    }

    /// Adds to what will be written next.
    pub(super) fn add(&self, text: &str) {
        self.lock().pending.extend_from_slice(text.as_bytes());
    }

    /// Writes what was added. A terminal that went away is no reason to stop a build, so failures are not reported.
    pub(super) fn send(&self) {
        let mut stream = self.lock();
        if stream.held || stream.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut stream.pending);
        let written = stream.output.write_all(&pending);
        written.and_then(|()| stream.output.flush()).ok();
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, count: usize, direction: char) -> io::Result<()> {
        if count > 0 {
            self.add(&format!("\u{1b}[{count}{direction}"));
        }
        Ok(())
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.size().columns
    }

    fn height(&self) -> u16 {
        self.size().rows
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.step(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text);
        self.add("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.send();
        Ok(())
    }
}
