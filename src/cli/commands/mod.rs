//! One file a subcommand: settings in, one call to the library, output out.

pub(super) mod build;
mod call;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod images;
pub(super) mod save;

use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use crate::store::Store;

/// The store, with the failure that a user can do something about.
fn open_store(root: &Path) -> Result<Arc<Store>, Failure> {
    let failed = |error: crate::store::StoreError| {
        Failure::environment(format!("cannot open the store: {error}"))
            .hint("choose another folder with `--root DIR`")
    };
    Store::open(root).map(Arc::new).map_err(failed)
}

/// Waits for the network; made only for commands that use it.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime
        .map_err(|error| Failure::environment(format!("cannot start the network threads: {error}")))
}
