//! New network namespaces, and work inside of them.
//!
//! A namespace is made by a thread of its own, which ends with the work; the descriptor keeps the namespace.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::NetworkError;
use crate::sys::{network, process};

/// Makes a network namespace with a loopback that is up, and works inside of it.
pub(super) fn make<T: Send>(
    work: impl FnOnce(&OwnedFd) -> std::result::Result<T, NetworkError> + Send,
) -> std::result::Result<(OwnedFd, T), NetworkError> {
    let inside = || {
        let namespace = begin().map_err(NetworkError::kernel("make a network namespace"))?;
        let result = work(&namespace)?;
        Ok((namespace, result))
    };
    in_thread(inside)
}

/// Works inside of a network namespace.
pub(super) fn within<T: Send>(
    namespace: &OwnedFd,
    work: impl FnOnce() -> T + Send,
) -> std::result::Result<T, NetworkError> {
    let inside = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(NetworkError::kernel("enter a network namespace"))?;
        Ok(work())
    };
    in_thread(inside)
}

/// Works in a thread of its own; one that cannot be had is an error as any other.
fn in_thread<T: Send>(
    work: impl FnOnce() -> std::result::Result<T, NetworkError> + Send,
) -> std::result::Result<T, NetworkError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
            NetworkError::kernel("start a thread")(errno)
        })?;
        let joined = thread.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn begin() -> Result<OwnedFd> {
    process::unshare_namespaces(UnshareFlags::NEWNET)?;
    network::raise_loopback()?;
    own()
}

/// The namespace of the calling thread.
fn own() -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match openat(CWD, "/proc/thread-self/ns/net", flags, Mode::empty()) {
        Err(Errno::NOENT) => Err(Errno::NOSYS),
        result => result,
    }
}
