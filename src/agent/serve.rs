//! A socket that lends an agent: one thread that takes calls and one for each connection, all of which end with the service.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::PollFlags;

use super::stop::{Stop, StopOnDrop, stop};
use super::upstream::Upstream;
use super::wire::{read_message, write_message};
use super::{AgentError, AgentSource};
use crate::fsio;

/// As many connections are served at a time; others wait in the socket's queue.
const MOST_CONNECTIONS: usize = 32;

/// How soon a call is taken again after it could not be.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Name of the socket in its folder.
const SOCKET: &str = "agent";

/// Who may connect to the socket.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// User and group; `None` for those of the builder.
    pub owner: Option<(u32, u32)>,
}

impl Access {
    /// For the builder's own user only.
    pub const PRIVATE: Self = Self {
        mode: 0o600,
        owner: None,
    };
}

/// An agent that is being lent. Dropping it ends every connection and waits for their threads; the socket's file stays, for
/// the owner of the folder to remove.
#[derive(Debug)]
pub struct ServedAgent {
    path: PathBuf,
    /// Both are there until the drop.
    stop: Option<StopOnDrop>,
    thread: Option<JoinHandle<()>>,
}

impl ServedAgent {
    pub(super) fn start(
        source: AgentSource,
        folder: &Path,
        access: Access,
    ) -> Result<Self, AgentError> {
        let path = folder.join(SOCKET);
        let failed = |operation| {
            let path = path.clone();
            move |source: io::Error| AgentError::Serve {
                operation,
                path,
                source,
            }
        };
        fsio::create_dir(folder)?;
        // Until the socket has its mode, and on the machine for good: nobody else gets to it.
        fsio::set_mode(folder, 0o700)?;
        let listener = listen(folder).map_err(failed("make"))?;
        if let Some((uid, gid)) = access.owner {
            fsio::set_owner(&path, uid, gid)?;
        }
        fsio::set_mode(&path, access.mode & 0o7777)?;
        let (end, stop) = stop().map_err(failed("make"))?;
        let thread = thread::Builder::new()
            .name("ssh-agent".to_owned())
            .spawn(move || take_calls(&listener, &source, &stop))
            .map_err(failed("serve"))?;
        Ok(Self {
            path,
            stop: Some(end),
            thread: Some(thread),
        })
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ServedAgent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ended = thread.join();
        }
    }
}

/// Listens in a folder however long its path is: an address of a socket has room for about a hundred bytes.
fn listen(folder: &Path) -> io::Result<UnixListener> {
    let folder = fsio::open(folder).map_err(io::Error::other)?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn take_calls(listener: &UnixListener, source: &AgentSource, stop: &Stop) {
    let active = AtomicUsize::new(0);
    // The scope waits for the connections, all of which hear of the end.
    thread::scope(|scope| {
        loop {
            let call = || -> io::Result<UnixStream> {
                while active.load(Ordering::Acquire) >= MOST_CONNECTIONS {
                    stop.pause(TRY_AGAIN)?;
                }
                stop.wait(listener, PollFlags::IN)?;
                Ok(listener.accept()?.0)
            };
            let served = call().and_then(|stream| {
                stream.set_nonblocking(true)?;
                active.fetch_add(1, Ordering::AcqRel);
                let serve = || {
                    // A caller that breaks off or breaks the protocol is left alone.
                    let _ended = serve_connection(&stream, source, stop);
                    drop(stream);
                    active.fetch_sub(1, Ordering::AcqRel);
                };
                let spawned = thread::Builder::new().spawn_scoped(scope, serve);
                if spawned.is_err() {
                    active.fetch_sub(1, Ordering::AcqRel);
                }
                spawned.map(drop)
            });
            // The caller went away, or the machine is short of something for a while.
            if served.is_err() && stop.pause(TRY_AGAIN).is_err() {
                return;
            }
        }
    });
}

fn serve_connection(stream: &UnixStream, source: &AgentSource, stop: &Stop) -> io::Result<()> {
    let mut upstream = Upstream::new(source);
    while let Some(request) = read_message(stream, stop)? {
        let answer = upstream.answer(&request, stop)?;
        write_message(stream, &answer, stop)?;
    }
    Ok(())
}
