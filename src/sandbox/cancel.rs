//! A request to stop that wakes those who wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// Those who stop when this one does.
    children: Mutex<Vec<Weak<Shared>>>,
}

impl Cancel {
    /// Nothing requested yet.
    #[must_use]
    pub fn new() -> Self {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        Self(Arc::new(Shared {
            requested: AtomicBool::new(false),
            wake,
            children: Mutex::default(),
        }))
    }

    /// A wish of its own, which follows this one: to stop a part without stopping the whole.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let mut children = self.children();
        children.retain(|other| other.strong_count() > 0);
        children.push(Arc::downgrade(&child.0));
        drop(children);
        // A request that came before it was registered.
        if self.is_cancelled() {
            child.cancel();
        }
        child
    }

    fn children(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.0
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the request; may be called by anybody, any number of times.
    pub fn cancel(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        if let Some(wake) = &self.0.wake {
            // Fails only when the counter is full, and then the descriptor is readable already.
            let _unused = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
        let children: Vec<Self> = self
            .children()
            .iter()
            .filter_map(|child| child.upgrade().map(Self))
            .collect();
        children.iter().for_each(Self::cancel);
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

    #[test]
    fn a_child_follows_and_does_not_lead() {
        let cancel = Cancel::new();
        let [child, other] = [cancel.child(), cancel.child()];
        other.cancel();
        assert!(!cancel.is_cancelled() && !child.is_cancelled());
        cancel.cancel();
        assert!(child.is_cancelled());
        assert!(cancel.child().is_cancelled(), "even one that is born later");
    }
}
