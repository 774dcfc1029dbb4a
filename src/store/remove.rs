//! Takes objects out of the store: whole, in one rename, never under somebody who uses them.
//!
//! What is taken out is moved to `gone/` and deleted there. Whoever opens the store next deletes what was left.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Store;
use super::lease;
use crate::fsio;
use crate::oci::Digest;

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
        self.move_away(path, "free").map(|()| true)
    }

    /// Takes an object out that is damaged. Who uses it keeps what he has: it is deleted when nobody does.
    pub(super) fn retire(&self, kind: Leased, what: Digest, path: &Path) {
        // If it cannot be moved, the next one who reads it finds the damage again.
        let _moved = self.move_away(path, &format!("{}-{}", kind.word(), what.hex()));
    }

    fn move_away(&self, path: &Path, prefix: &str) -> fsio::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{number}", std::process::id());
        match fsio::rename(path, self.paths.gone().join(name)) {
            Err(error) if error.is_not_found() => Ok(()),
            // Not even room for a name: there is no half of a file, and a layer without its table is none.
            Err(error) if fsio::is_no_space(&error) => remove_in_place(path),
            result => result,
        }
    }

    /// Deletes what was taken out, except what is still in use. Best effort: the next one tries again.
    pub(super) fn sweep(&self) {
        let folder = self.paths.gone();
        for name in fsio::read_dir_sorted(&folder).unwrap_or_default() {
            let name = name.to_string_lossy().into_owned();
            let used = Leased::ALL.iter().find_map(|kind| {
                let rest = name.strip_prefix(kind.word())?.strip_prefix('-')?;
                Some((*kind, Digest::from_hex(rest.get(..64)?).ok()?))
            });
            let taken = used.map(|(kind, what)| self.leases_of(kind).take(what));
            if matches!(taken, Some(Ok(None) | Err(_))) {
                continue;
            }
            let _gone = remove_any(&folder.join(name));
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
