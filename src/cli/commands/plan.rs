//! `builder plan`: what a build would do.

use super::super::args::PlanArgs;
use super::super::failure::Failure;
use super::super::preferences::Preferences;
use super::super::settings::{self, Environment};
use super::{Network, open_store, resolver};
use crate::build::{self, Sources, Tools};
use crate::fsio::{self, Durability};
use crate::sandbox::NativeRunner;
use crate::solve::{BuildEvent, EventSink};
use crate::ui::{self, Console, GraphFormat};

/// Shows the graph of a build and what would become of it.
pub(in crate::cli) fn run(
    args: &PlanArgs,
    preferences: &Preferences,
    environment: &Environment,
) -> Result<(), Failure> {
    let format = args.format.parse::<GraphFormat>().map_err(Failure::usage)?;
    let request = settings::build(&args.as_build(), preferences, environment)?;
    let store = open_store(&request.root, request.cache_max)?;
    let network = Network::start()?.interruptible();
    let client = network.client(request.registry.clone())?;
    let resolver = resolver(
        Some(&store),
        &client,
        &request,
        network.cancel(),
        environment,
    );
    let runner = NativeRunner::new();
    let tools = Tools {
        store,
        resolver: &resolver,
        client,
        runner: &runner,
        cancel: network.cancel(),
        stdin: ui::stdin,
        stdout: ui::stdout,
    };
    let colours = environment.colours;
    let mut sources = Sources::default();
    let mut warnings = Warnings::default();
    let foreseen = build::forecast(&request, &tools, &mut sources, &mut warnings);
    let mut console = Console::process(colours);
    for warning in &warnings.0 {
        console.warning(warning);
    }
    let foreseen = network.outcome(foreseen, |error| {
        Failure::build(&error, &sources, &[], colours)
    })?;
    let text = ui::graph(&foreseen, format);
    match &args.output {
        Some(path) => fsio::write_atomic(path, text.as_bytes(), Durability::Cached)
            .map_err(Failure::environment),
        None => console.write(text).map_err(Failure::environment),
    }
}

/// Of what happens on the way, only warnings are worth telling: what is asked for is the graph.
#[derive(Debug, Default)]
struct Warnings(Vec<String>);

impl EventSink for Warnings {
    fn emit(&mut self, event: BuildEvent) {
        if let BuildEvent::Warning { message } = event {
            self.0.push(message);
        }
    }
}
