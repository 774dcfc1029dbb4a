//! One file a subcommand: settings in, one call to the library, output out.

pub(super) mod build;
mod call;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod config;
pub(super) mod context;
pub(super) mod doctor;
pub(super) mod fsck;
pub(super) mod images;
mod network;
pub(super) mod plan;
pub(super) mod save;
pub(super) mod space;
pub(super) mod why;
mod workshop;

use std::path::Path;
use std::sync::Arc;

use network::Network;

use super::failure::Failure;
use super::settings::{self, Environment};
use crate::build::{Request, Resolver, privileges};
use crate::fetch::Fetcher;
use crate::registry::{Client, Secret};
use crate::sandbox::{Cancel, Footing};
use crate::store::{Ceiling, Store};

/// Finds images and fetches trees, with the logins among the secrets.
fn resolver(
    store: Option<&Arc<Store>>,
    client: &Client,
    request: &Request,
    cancel: Cancel,
    environment: &Environment,
) -> Resolver {
    let secrets = request.run.clone();
    // A secret that cannot be read is no login; the step that asks for it says why.
    let secret = move |id: &str| {
        let bytes = secrets.secret(id).ok().flatten()?;
        String::from_utf8(bytes).ok().map(Secret::new)
    };
    Resolver {
        store: store.map(Arc::clone),
        client: client.clone(),
        fetcher: store.map(|store| Fetcher {
            store: Arc::clone(store),
            client: client.clone(),
            secrets: Arc::new(secret),
            agents: request.run.agents.clone(),
            git_environment: environment.for_git(),
            clock: request.clock,
            is_cancelled: Arc::new(move || cancel.is_cancelled()),
        }),
        pull: request.pull,
        tag_age: request.tag_age,
        clock: request.clock,
    }
}

/// The store, with the failure that a user can do something about.
fn open_store(root: &Path, cache_max: Option<u64>) -> Result<Arc<Store>, Failure> {
    let failed = |error: crate::store::StoreError| {
        Failure::environment(format!("cannot open the store: {error}"))
            .hint("choose another folder with `--root DIR`")
    };
    let ceiling = cache_max.map(|max| Ceiling {
        max,
        clock: settings::clock(),
    });
    let store = Store::open(root).map_err(failed)?;
    Ok(Arc::new(store.with_ceiling(ceiling)))
}

/// Makes sure that files in the store belong to whom they should, for a process that has a way to run steps.
fn claim(store: &Store, footing: Footing) -> Result<(), Failure> {
    if footing.rung().is_err() {
        // It makes no directories of layers, and reads those that are there as anybody may.
        return Ok(());
    }
    store.claim(privileges(footing)).map_err(|error| {
        Failure::environment(error)
            .hint("choose another folder with `--root DIR`, or remove this one as whoever made it")
    })
}
