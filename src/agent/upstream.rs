//! Answers to requests: what is let through, and to whom. All else is refused here, before anybody sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::stop::Stop;
use super::wire::{FAILURE, IDENTITIES, LIST, SIGN, SIGNATURE, read_message, write_message};
use super::{AgentSource, Source};

/// How soon an agent that has too many callers is called again.
const CALL_AGAIN: Duration = Duration::from_millis(20);

/// The agent behind one connection.
#[derive(Debug)]
pub(super) struct Upstream<'a> {
    source: &'a AgentSource,
    /// The connection to an agent that runs elsewhere, made with the first request.
    connection: Option<UnixStream>,
}

impl<'a> Upstream<'a> {
    pub(super) fn new(source: &'a AgentSource) -> Self {
        Self {
            source,
            connection: None,
        }
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// The end of the service.
    pub(super) fn answer(&mut self, request: &[u8], stop: &Stop) -> io::Result<Vec<u8>> {
        let (request, wanted) = match request {
            // Only what the request says, not what may follow it.
            [LIST, ..] => (&request[..1], IDENTITIES),
            [SIGN, ..] => (request, SIGNATURE),
            _ => return Ok(vec![FAILURE]),
        };
        let answer = match &self.source.0 {
            Source::Keys(keys) => keys.answer(request),
            Source::Socket(path) => match self.forward(path, request, stop) {
                Ok(answer) => answer,
                Err(error) => {
                    self.connection = None;
                    // The end of the service ends the connection; an agent that is gone is one that does not sign.
                    stop.pause(Duration::ZERO)?;
                    let _gone: io::Error = error;
                    None
                }
            },
        };
        Ok(answer
            .filter(|answer| answer.first() == Some(&wanted))
            .unwrap_or_else(|| vec![FAILURE]))
    }

    fn forward(&mut self, path: &Path, request: &[u8], stop: &Stop) -> io::Result<Option<Vec<u8>>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(path, stop)?),
        };
        write_message(connection, request, stop)?;
        match read_message(connection, stop)? {
            Some(answer) => Ok(Some(answer)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Connects without getting stuck in an agent that does not take calls.
fn connect(path: &Path, stop: &Stop) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket: OwnedFd = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket.into()),
            Err(Errno::AGAIN | Errno::INTR) => stop.pause(CALL_AGAIN)?,
            Err(errno) => return Err(errno.into()),
        }
    }
}
