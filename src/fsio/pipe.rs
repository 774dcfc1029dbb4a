//! Copies a stream so that it is known which end failed.

use std::io::{self, Read, Write};

/// Bytes that are under way at once.
const BUFFER: usize = 1 << 17;

/// Which end of a copy failed.
#[derive(Debug)]
pub enum PipeError {
    /// What was to be copied could not be read.
    Read(io::Error),
    /// It could not be written.
    Write(io::Error),
}

/// Copies everything; gives the number of bytes.
///
/// # Errors
/// Either end, told apart.
pub fn pipe(reader: &mut impl Read, writer: &mut impl Write) -> Result<u64, PipeError> {
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                writer
                    .write_all(&buffer[..count])
                    .map_err(PipeError::Write)?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PipeError::Read(error)),
        }
    }
}
