//! Takes objects out of the store: whole, in one rename, never under somebody who uses them.
//!
//! What is taken out is moved to `gone/` and deleted there. Whoever opens the store next deletes what was left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Store;
use super::lease;
use crate::fsio;
use crate::oci::Digest;

/// What was taken out so long ago and is still there was left behind: who deletes something begins at once.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Kinds of objects that processes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leased {
    Layer,
    Blob,
    Mount,
}

impl Leased {
    const ALL: [Self; 3] = [Self::Layer, Self::Blob, Self::Mount];

    fn word(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Blob => "blob",
            Self::Mount => "mount",
        }
    }
}

impl Store {
    fn leases_of(&self, kind: Leased) -> &lease::Kind {
        match kind {
            Leased::Layer => &self.leases.layers,
            Leased::Blob => &self.leases.blobs,
            Leased::Mount => &self.leases.mounts,
        }
    }

    /// Whether a process uses an object, this one included.
    pub(super) fn is_used(&self, kind: Leased, what: Digest) -> bool {
        matches!(self.leases_of(kind).take(what), Ok(None))
    }

    /// Takes an object out that nobody uses; whether nobody did. Nothing is deleted yet: see [`Store::sweep`].
    pub(super) fn take_out(&self, kind: Leased, what: Digest, path: &Path) -> fsio::Result<bool> {
        let Some(_taken) = self.leases_of(kind).take(what)? else {
            return Ok(false);
        };
        match fsio::rename(path, self.gone_place("free")) {
            Err(error) if error.is_not_found() => {}
            // Not even room for a name: there is no half of a file, and a layer without its table is none.
            Err(error) if fsio::is_no_space(&error) => remove_in_place(path)?,
            result => result?,
        }
        Ok(true)
    }

    /// Takes an object out that is damaged. Who uses it keeps what he has: it is deleted when nobody does.
    pub(super) fn retire(&self, kind: Leased, what: Digest, path: &Path) {
        // If it cannot be moved, the next one who reads it finds the damage again.
        let _moved = fsio::rename(path, self.place_of_retired(kind, what));
    }

    /// Where something goes that may be in use: whoever deletes it asks for the lease first.
    pub(super) fn place_of_retired(&self, kind: Leased, what: Digest) -> PathBuf {
        self.gone_place(&format!("{}-{}", kind.word(), what.hex()))
    }

    fn gone_place(&self, prefix: &str) -> PathBuf {
        self.paths
            .gone()
            .join(format!("{prefix}-{}", fsio::unique()))
    }

    /// Deletes what others took out some time ago and did not delete, as after a crash.
    pub(super) fn sweep_leftovers(&self) {
        self.sweep_older(LEFT_BEHIND);
    }

    /// Deletes what was taken out, except what is still in use. Best effort: the next one tries again.
    pub(super) fn sweep(&self) {
        self.sweep_older(Duration::ZERO);
    }

    fn sweep_older(&self, age: Duration) {
        let folder = self.paths.gone();
        for name in fsio::read_dir_sorted(&folder).unwrap_or_default() {
            let path = folder.join(&name);
            if fsio::since_change(&path).is_none_or(|since| since < age) {
                continue;
            }
            let name = name.to_string_lossy();
            let used = Leased::ALL.iter().find_map(|kind| {
                let rest = name.strip_prefix(kind.word())?.strip_prefix('-')?;
                Some((*kind, Digest::from_hex(rest.get(..64)?).ok()?))
            });
            let path = match used {
                None => path,
                Some((kind, what)) => {
                    let Ok(Some(_taken)) = self.leases_of(kind).take(what) else {
                        continue;
                    };
                    // Nobody waits while it is being deleted.
                    let free = self.gone_place("free");
                    match fsio::rename(&path, &free) {
                        Ok(()) => free,
                        Err(_) => path,
                    }
                }
            };
            let _gone = remove_any(&path);
        }
    }
}

fn remove_any(path: &Path) -> fsio::Result<()> {
    match fsio::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fsio::remove_tree(path),
        _ => fsio::remove_file_if_there(path),
    }
}

/// The table of a layer goes first: without it the rest counts for nothing.
fn remove_in_place(path: &Path) -> fsio::Result<()> {
    for name in fsio::read_dir_sorted(path).unwrap_or_default() {
        if name.as_encoded_bytes().starts_with(b"toc") {
            fsio::remove_file_if_there(path.join(name))?;
        }
    }
    remove_any(path)
}
