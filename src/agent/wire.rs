//! The agent protocol on the wire: messages with their length before them, and the strings in them.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;

use super::stop::Stop;

/// The longest message, as in OpenSSH.
pub(super) const MOST_BYTES: usize = 256 << 10;

/// "Which keys are there?"
pub(super) const LIST: u8 = 11;
/// "Sign this with that key."
pub(super) const SIGN: u8 = 13;
/// The answer to [`LIST`].
pub(super) const IDENTITIES: u8 = 12;
/// The answer to [`SIGN`].
pub(super) const SIGNATURE: u8 = 14;
/// The answer to what is not done.
pub(super) const FAILURE: u8 = 5;

/// Reads a message, without its length; `None` where the other side has ended.
///
/// # Errors
/// The end of the service, a message that is empty, cut off or too long.
pub(super) fn read_message(mut stream: &UnixStream, stop: &Stop) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match read_some(&mut stream, &mut length, stop)? {
        0 => return Ok(None),
        4 => {}
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length == 0 || length > MOST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    if read_some(&mut stream, &mut message, stop)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

/// Fills `into` as far as the other side sends.
fn read_some(stream: &mut &UnixStream, into: &mut [u8], stop: &Stop) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        stop.wait(*stream, PollFlags::IN)?;
        match stream.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes a message with its length before it.
///
/// # Errors
/// The end of the service, or what the operating system answered.
pub(super) fn write_message(
    mut stream: &UnixStream,
    message: &[u8],
    stop: &Stop,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(message.len() + 4);
    put_string(&mut bytes, message);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        stop.wait(stream, PollFlags::OUT)?;
        match stream.write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Appends bytes with their length before them.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a number. What has more than 32 bits is longer than any message.
pub(super) fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

/// Takes a number off the front.
pub(super) fn take_number(from: &mut &[u8]) -> Option<u32> {
    let (number, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    Some(u32::from_be_bytes(*number))
}

/// Takes bytes with their length before them off the front.
pub(super) fn take_string<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(from)?).ok()?;
    let (string, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(string)
}
