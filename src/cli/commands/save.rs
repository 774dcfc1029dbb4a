//! `builder save`

use super::super::args::SaveArgs;
use super::super::failure::Failure;
use super::super::preferences::Preferences;
use super::super::settings::{self, Environment};
use super::workshop::{Workshop, networks};
use super::{Network, open_store};
use crate::build::{self, Resolver, Sources};
use crate::sandbox::{Footing, NativeRunner};
use crate::ui::{self, Mode, Screen};

/// Writes an image of the local store somewhere else.
pub(in crate::cli) fn run(
    args: &SaveArgs,
    preferences: &Preferences,
    footing: Footing,
    environment: &Environment,
) -> Result<(), Failure> {
    let name = settings::name(&args.name)?;
    if args.output.is_empty() && !args.push {
        return Err(Failure::usage("nowhere to save to")
            .hint("give `-o type=docker,dest=FILE.tar`, `-o type=oci,dest=FILE.tar` or `--push`"));
    }
    let outputs = settings::outputs(&args.output, args.push, std::slice::from_ref(&name))?;
    settings::refuse_pushes(&outputs, preferences)?;
    let store = open_store(&preferences.root.value, preferences.cache_max.value)?;
    // Not interruptible: it does nothing that a signal could not just end.
    let network = Network::start()?;
    let client = network.client(settings::registry(
        &args.insecure_registry,
        preferences,
        environment,
    )?)?;
    let resolver = Resolver {
        store: Some(std::sync::Arc::clone(&store)),
        client: client.clone(),
        fetcher: None,
        pull: false,
        tag_age: std::time::Duration::ZERO,
        clock: settings::clock(),
    };
    let workshop = Workshop {
        store,
        network,
        client,
        resolver,
        footing,
        networks: networks(footing, environment),
        runner: NativeRunner::new(footing),
    };
    let mode = Mode::Auto.resolve(environment.terminal);
    let mut sink = ui::renderer(mode, Screen::stderr(environment.colours));
    let saved = build::save(&workshop.tools(), &name, &outputs, sink.as_mut());
    drop(sink);
    saved.map_err(|error| Failure::build(&error, &Sources::default(), &[], environment.colours))
}
