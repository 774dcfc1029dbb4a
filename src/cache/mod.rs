//! Caches outside this machine: what one build made, for others to find.
//!
//! Two things travel, over the same three ways (a folder with an OCI layout, a registry, S3):
//!
//! | what | by |
//! |---|---|
//! | records of steps with their layers | [`import()`], [`export()`]: `--cache-from`, `--cache-to` |
//! | the folders of `RUN --mount=type=cache` | [`mounts`]: `--cache-mounts` |
//!
//! Each is an OCI manifest: its config is a document of ours, its layers are blobs. The manifest comes last, so that nothing is
//! ever half there. What comes in is hostile: documents have limits, blobs are verified when they are fetched, a record counts
//! only for the step that asks for its very key. Nothing here decides what is built, and no failure here is a build's failure
//! unless the user wants it so; `build` sees to that.
//!
//! | file | what |
//! |---|---|
//! | `spec`, `place` | the grammar of the flags; where a cache is |
//! | `document` | the form of records, versioned |
//! | `import`, `export`, `inline` | documents to answers for the solver; results of the solver to documents |
//! | `backend/` | how each kind of place is read and written |
//! | `mounts/` | folders as chunks |

mod backend;
mod document;
mod error;
mod export;
mod import;
mod inline;
pub mod mounts;
mod place;
mod spec;

pub use backend::Sent;
pub use error::CacheError;
pub use export::{BuiltStep, Exported, export};
pub use import::{Imported, import};
pub use inline::{INLINE_KEY, inline};
pub use place::{Defaults, Folder, Place, S3};
pub use spec::{CacheSpecError, ExportSpec, ExportTo, ImportSpec, Mode};

use crate::registry::Client;
use crate::store::Store;
use std::sync::Arc;
use std::time::SystemTime;

/// What a cache is read and written with.
#[derive(Clone, Debug)]
pub struct Means {
    /// The local store.
    pub store: Arc<Store>,
    /// Talks to registries, and waits for the network.
    pub client: Client,
    /// Says what time it is.
    pub clock: fn() -> SystemTime,
}

/// Bytes as people read them: `412 MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, so that `1.2 GB` can be said.
    let (mut tenths, mut unit) = (bytes / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    match tenths {
        0..100 => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", tenths / 10, UNITS[unit]),
    }
}

/// The caches that a build uses.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Asked in this order for what the local store does not have.
    pub from: Vec<ImportSpec>,
    /// Written after the build.
    pub to: Vec<ExportSpec>,
    /// Where the folders of cache mounts come from and go to.
    pub mounts: Vec<mounts::MountsSpec>,
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_as_people_read_them() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (41_900_000, "41 MB"),
            (999_999, "999 kB"),
            (1_250_000_000, "1.2 GB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
