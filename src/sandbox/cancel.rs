//! A request to stop that wakes those who wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A request to stop, shared by its clones. Once made it stays.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    requested: AtomicBool,
    /// Readable from the request on; nobody ever reads it, so that it wakes everybody. `None` if the process had no
    /// descriptor left when it was made: waiting then falls back to looking at `requested` now and then.
    wake: Option<OwnedFd>,
}

impl Cancel {
    /// Nothing requested yet.
    #[must_use]
    pub fn new() -> Self {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        let requested = AtomicBool::new(false);
        Self(Arc::new(Shared { requested, wake }))
    }

    /// Makes the request; may be called by anybody, any number of times.
    pub fn cancel(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        if let Some(wake) = &self.0.wake {
            // Fails only when the counter is full, and then the descriptor is readable already.
            let _unused = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
    }

    /// Whether the request was made.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// A descriptor that is readable once the request was made; for `poll`, not for reading.
    #[must_use]
    pub fn wake(&self) -> Option<BorrowedFd<'_>> {
        self.0.wake.as_ref().map(AsFd::as_fd)
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn a_request_reaches_every_clone_and_stays_readable() {
        let cancel = Cancel::new();
        let clone = cancel.clone();
        assert!(!clone.is_cancelled());
        cancel.cancel();
        cancel.cancel();
        assert!(clone.is_cancelled());
        for _ in 0..2 {
            let wake = clone.wake().unwrap();
            let mut fds = [PollFd::from_borrowed_fd(wake, PollFlags::IN)];
            assert_eq!(poll(&mut fds, None).unwrap(), 1);
        }
    }
}
