//! What the builder and the sandbox say to each other over their socket: one program in, reports out.
//!
//! A message is its length (four bytes, little endian) and its encoding. The socket is closed by the end of the process that
//! held it, so that neither side ever waits for one that is gone.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::SendFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ExecFailure, Exit, Resources, SetupFailure};

/// No message is longer: a program with thousands of layers and all the secrets allowed stays far below.
const LONGEST: usize = 256 * 1024 * 1024;

/// What the sandbox says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The set-up failed, or what had been set up could not be removed.
    Failed(SetupFailure),
    /// The command could not be executed.
    NotExecuted(ExecFailure),
    /// The command ended, and nothing of it is left.
    Ended {
        /// How.
        exit: Exit,
        /// What it used.
        resources: Resources,
    },
    /// PID 1 ended without a report of its own.
    Lost(Exit),
}

/// Encodes one message.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    let body = postcard::to_stdvec(message).map_err(|_too_large| Errno::MSGSIZE)?;
    if body.len() > LONGEST {
        return Err(Errno::MSGSIZE);
    }
    let length = u32::try_from(body.len()).map_err(|_too_large| Errno::MSGSIZE)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(body);
    Ok(bytes)
}

/// Sends all bytes. A peer that is gone is an error (`PIPE`), not a signal.
pub(super) fn send(socket: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let sent = retry_on_intr(|| rustix::net::send(socket, bytes, SendFlags::NOSIGNAL))?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Receives one message; for the side that has nothing else to wait for.
pub(super) fn receive<T: DeserializeOwned>(descriptor: BorrowedFd<'_>) -> Result<T> {
    let mut incoming = Incoming::default();
    let mut buffer = [0; 4096];
    loop {
        let length = retry_on_intr(|| rustix::io::read(descriptor, &mut buffer))?;
        if length == 0 {
            return Err(Errno::CONNRESET);
        }
        incoming.push(buffer.get(..length).unwrap_or_default());
        if let Some(message) = incoming.next()? {
            return Ok(message);
        }
    }
}

/// Bytes that came, until they are whole messages.
#[derive(Debug, Default)]
pub(super) struct Incoming(Vec<u8>);

impl Incoming {
    /// More bytes came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next message, if it is whole.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some((length, rest)) = self.0.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length =
            usize::try_from(u32::from_le_bytes(*length)).map_err(|_large| Errno::MSGSIZE)?;
        if length > LONGEST {
            return Err(Errno::MSGSIZE);
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = postcard::from_bytes(body).map_err(|_malformed| Errno::BADMSG)?;
        self.0.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let first = Report::Lost(Exit::Signal(9));
        let second = Report::Ended {
            exit: Exit::Code(3),
            resources: Resources::default(),
        };
        let mut bytes = encode(&first).unwrap();
        bytes.extend(encode(&second).unwrap());
        for size in 1..bytes.len() {
            let mut incoming = Incoming::default();
            let mut received = Vec::new();
            for chunk in bytes.chunks(size) {
                incoming.push(chunk);
                while let Some(report) = incoming.next::<Report>().unwrap() {
                    received.push(report);
                }
            }
            assert_eq!(received, [first.clone(), second.clone()]);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut incoming = Incoming::default();
        incoming.push(&[1, 0, 0, 0, 99]);
        assert_eq!(incoming.next::<Report>().unwrap_err(), Errno::BADMSG);
        let mut incoming = Incoming::default();
        incoming.push(&[255; 8]);
        assert_eq!(incoming.next::<Report>().unwrap_err(), Errno::MSGSIZE);
    }
}
