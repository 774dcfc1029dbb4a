//! Readers and writers that end when somebody wants to stop.

use std::io::{Error, Read, Result, Write};

/// Somebody wanted to stop: nothing is wrong with what was read or written.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Stopped;

/// Passes everything through, until `is_stopped` says that nobody wants it any more: then it fails.
#[derive(Debug)]
pub struct Stoppable<T, F> {
    inner: T,
    is_stopped: F,
}

impl<T, F: Fn() -> bool> Stoppable<T, F> {
    /// Wraps `inner`.
    pub fn new(inner: T, is_stopped: F) -> Self {
        Self { inner, is_stopped }
    }

    fn check(&self) -> Result<()> {
        match (self.is_stopped)() {
            // Not of the kind "interrupted", after which callers try again.
            true => Err(Error::other(Stopped)),
            false => Ok(()),
        }
    }
}

impl<T: Read, F: Fn() -> bool> Read for Stoppable<T, F> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.check()?;
        self.inner.read(buffer)
    }
}

impl<T: Write, F: Fn() -> bool> Write for Stoppable<T, F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_copy_fails_once_it_is_to_stop() {
        let stopped = Cell::new(false);
        let mut reader = Stoppable::new(b"text".as_slice(), || stopped.get());
        let mut writer = Stoppable::new(Vec::new(), || stopped.get());
        std::io::copy(&mut reader, &mut writer).unwrap();
        assert_eq!(writer.inner, b"text");
        stopped.set(true);
        assert!(writer.write(b"more").is_err());
        assert!(std::io::copy(&mut reader, &mut std::io::sink()).is_err());
    }
}
