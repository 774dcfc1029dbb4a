//! What commands print: their result on standard output, messages to the user on standard error.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use super::report::labelled;
use super::style::Style;
use super::text;

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Standard output took no more, for another reason than that its reader went away.
    #[error("cannot write to standard output")]
    Output {
        /// What the operating system answered.
        source: io::Error,
    },
}

/// The two streams of a command.
pub struct Console {
    output: Box<dyn Write + Send>,
    messages: Box<dyn Write + Send>,
    colours: bool,
    closed: bool,
}

impl Console {
    /// The streams of this process. `colours` is for messages; results have none.
    #[must_use]
    pub fn process(colours: bool) -> Self {
        Self::new(stdout(), Box::new(io::stderr()), colours)
    }

    /// Two given streams.
    #[must_use]
    pub fn new(
        output: Box<dyn Write + Send>,
        messages: Box<dyn Write + Send>,
        colours: bool,
    ) -> Self {
        Self {
            output,
            messages,
            colours,
            closed: false,
        }
    }

    /// Writes a piece of the command's result as it is. A reader that went away (`| head`) is no error: nothing more
    /// is written, and [`Console::is_closed`] tells so.
    ///
    /// # Errors
    /// Standard output took no more for another reason, a full disk for instance.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), ConsoleError> {
        if self.closed {
            return Ok(());
        }
        let written = self.output.write_all(bytes.as_ref());
        match written.and_then(|()| self.output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result.map_err(|source| ConsoleError::Output { source }),
        }
    }

    /// Writes a line of the command's result.
    ///
    /// # Errors
    /// As [`Console::write`].
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<(), ConsoleError> {
        self.write(format!("{}\n", line.as_ref()))
    }

    /// Whether the reader of the result went away, so that a long list may end early.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Tells the user something.
    pub fn message(&mut self, message: &str) {
        let mut lines = String::new();
        for line in message.trim_end().split('\n') {
            lines.push_str(&text::neutralise(line.as_bytes(), self.colours));
            lines.push('\n');
        }
        self.tell(&lines);
    }

    /// Warns the user: `warning: …`.
    pub fn warning(&mut self, message: &str) {
        self.labelled("warning", Style::Warning, message);
    }

    /// Tells the user what went wrong: `error: …`.
    pub fn error(&mut self, message: &str) {
        self.labelled("error", Style::Error, message);
    }

    /// Tells the user what is good to know: `note: …`.
    pub fn note(&mut self, message: &str) {
        self.labelled("note", Style::Hint, message);
    }

    /// Tells the user what to try: `hint: …`.
    pub fn hint(&mut self, message: &str) {
        self.labelled("hint", Style::Hint, message);
    }

    fn labelled(&mut self, label: &str, style: Style, message: &str) {
        let mut lines = String::new();
        labelled(&mut lines, label, style, message, self.colours);
        self.tell(&lines);
    }

    /// There is nowhere left to report that messages cannot be written.
    fn tell(&mut self, lines: &str) {
        let written = self.messages.write_all(lines.as_bytes());
        written.and_then(|()| self.messages.flush()).ok();
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("colours", &self.colours)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Standard output, for an artefact that is written there as a stream.
#[must_use]
pub fn stdout() -> Box<dyn Write + Send> {
    Box::new(io::stdout())
}

/// Standard input, for a context or Dockerfile that is given there.
#[must_use]
pub fn stdin() -> Box<dyn io::Read + Send> {
    Box::new(io::stdin())
}

/// Whether standard error, where progress goes, is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard output is a terminal, which is no place for an archive.
#[must_use]
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::screen::fake::Record;

    /// A stream that takes nothing.
    struct Refusal(io::ErrorKind);

    impl Write for Refusal {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn results_and_messages_go_their_own_ways() {
        let (output, messages) = (Record::default(), Record::default());
        let mut console = Console::new(Box::new(output.clone()), Box::new(messages.clone()), false);
        console.line("sha256:0").unwrap();
        console.write([b'x']).unwrap();
        console.message("removed 2 images\n");
        console.warning("disk is nearly full");
        console.error("no such image\n`app`");
        console.hint("run `builder images`");
        assert_eq!(output.text(), "sha256:0\nx");
        assert_eq!(
            messages.text(),
            "removed 2 images\nwarning: disk is nearly full\nerror: no such image\n       `app`\nhint: run `builder images`\n"
        );
    }

    #[test]
    fn a_reader_that_went_away_ends_the_output_quietly() {
        let refusal = Box::new(Refusal(io::ErrorKind::BrokenPipe));
        let mut console = Console::new(refusal, Box::new(Record::default()), false);
        assert!(!console.is_closed());
        console.line("one").unwrap();
        assert!(console.is_closed());
        console.line("two").unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let refusal = Box::new(Refusal(io::ErrorKind::StorageFull));
        let mut console = Console::new(refusal, Box::new(Record::default()), false);
        assert_eq!(
            console.line("one").unwrap_err().to_string(),
            "cannot write to standard output"
        );
        assert!(!console.is_closed());
    }

    #[test]
    fn messages_to_nobody_are_dropped() {
        let refusal = Box::new(Refusal(io::ErrorKind::BrokenPipe));
        let mut console = Console::new(Box::new(Record::default()), refusal, false);
        console.message("hello");
    }
}
