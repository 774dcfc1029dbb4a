//! Failures made to order, to see what they cost: the n-th operation of a kind on certain paths fails as a disk would have it.
//!
//! Only in builds with debug assertions, and only where the process was told to. Otherwise nothing of it is there.

use std::io;
use std::path::Path;

/// What is to fail, as `OPERATION:PART OF THE PATH:NUMBER:ERROR`. `ERROR` is `ENOSPC`, `EIO`, or `SHORT`, by which a write does half of
/// its work and then finds the disk full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    operation: String,
    path: String,
    number: u64,
    error: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NoSpace,
    Io,
    Short,
}

impl std::str::FromStr for Fault {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(());
        Ok(Self {
            operation: part()?.to_owned(),
            path: part()?.to_owned(),
            number: part()?.parse().map_err(|_| ())?,
            error: match part()? {
                "ENOSPC" => Kind::NoSpace,
                "EIO" => Kind::Io,
                "SHORT" => Kind::Short,
                _ => return Err(()),
            },
        })
    }
}

/// What a write has to do instead of writing all.
#[derive(Debug)]
pub(super) enum Instead {
    /// Write half, then fail.
    Half(io::Error),
    /// Fail.
    Nothing(io::Error),
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Fault, Instead, Kind, Path, io};

    struct Armed {
        fault: Option<Fault>,
        log: Option<File>,
        met: AtomicU64,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Has an operation fail, or every operation written to a file, from here on in this process.
    pub fn arm(fault: Option<Fault>, log: Option<File>) {
        let met = AtomicU64::new(0);
        let _first = ARMED.set(Armed { fault, log, met });
    }

    pub(in crate::fsio) fn at(operation: &str, path: &Path) -> Option<Instead> {
        let armed = ARMED.get()?;
        if let Some(mut log) = armed.log.as_ref() {
            let line = format!("{operation}:{}\n", path.display());
            // It is what the test looks at: without it there is nothing to see.
            let _logged = log.write_all(line.as_bytes());
        }
        let fault = armed.fault.as_ref()?;
        let matches = fault.operation == operation && path.to_string_lossy().contains(&fault.path);
        if !matches || armed.met.fetch_add(1, Ordering::SeqCst) + 1 != fault.number {
            return None;
        }
        let error = |number: rustix::io::Errno| io::Error::from(number);
        Some(match fault.error {
            Kind::NoSpace => Instead::Nothing(error(rustix::io::Errno::NOSPC)),
            Kind::Io => Instead::Nothing(error(rustix::io::Errno::IO)),
            Kind::Short => Instead::Half(error(rustix::io::Errno::NOSPC)),
        })
    }
}

#[cfg(debug_assertions)]
pub use armed::arm;
#[cfg(debug_assertions)]
pub(super) use armed::at;

/// Nothing fails that does not fail by itself.
#[cfg(not(debug_assertions))]
#[expect(
    clippy::inline_always,
    reason = "where nothing is made to fail, nothing must be left of it"
)]
#[inline(always)]
pub(super) fn at(_operation: &str, _path: &Path) -> Option<Instead> {
    None
}

/// The failure of an operation that is no write, if it is to fail.
pub(super) fn check(operation: &str, path: &Path) -> io::Result<()> {
    match at(operation, path) {
        None => Ok(()),
        Some(Instead::Half(error) | Instead::Nothing(error)) => Err(error),
    }
}
