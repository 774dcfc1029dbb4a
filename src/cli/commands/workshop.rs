//! What a command works with that builds, plans or writes images: store, network, whoever finds bases and runs steps.

use std::sync::Arc;

use super::super::failure::Failure;
use super::super::settings::Environment;
use super::{Network, open_store, resolver};
use crate::build::{Request, Resolver, Tools};
use crate::registry::Client;
use crate::sandbox::{Footing, NativeRunner, Networks, Rung};
use crate::store::Store;
use crate::ui;

/// Opened for one command.
pub(super) struct Workshop {
    pub(super) store: Arc<Store>,
    pub(super) network: Network,
    pub(super) client: Client,
    pub(super) resolver: Resolver,
    pub(super) footing: Footing,
    pub(super) networks: Networks,
    pub(super) runner: NativeRunner,
}

impl Workshop {
    /// For a build as asked for. From here on an interrupt is a wish to stop.
    pub(super) fn open(
        request: &Request,
        footing: Footing,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let store = open_store(&request.root, request.cache_max)?;
        let network = Network::start()?.interruptible();
        let client = network.client(request.registry.clone())?;
        let resolver = resolver(
            Some(&store),
            &client,
            request,
            network.cancel(),
            environment,
        );
        Ok(Self {
            store,
            network,
            client,
            resolver,
            footing,
            networks: networks(footing, environment),
            runner: NativeRunner::new(footing),
        })
    }

    /// What a build takes of it.
    pub(super) fn tools(&self) -> Tools<'_> {
        Tools {
            store: Arc::clone(&self.store),
            resolver: &self.resolver,
            client: self.client.clone(),
            footing: self.footing,
            networks: &self.networks,
            runner: &self.runner,
            cancel: self.network.cancel(),
            stdin: ui::stdin,
            stdout: ui::stdout,
        }
    }
}

/// The networks that steps are given on a footing.
pub(super) fn networks(footing: Footing, environment: &Environment) -> Networks {
    Networks::new(
        environment.program_folders(),
        footing.rung() == Ok(Rung::Root),
    )
}
