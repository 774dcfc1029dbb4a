//! `builder plan`: what a build would do.

use super::super::args::PlanArgs;
use super::super::failure::Failure;
use super::super::preferences::Preferences;
use super::super::settings::{self, Environment};
use super::workshop::Workshop;
use crate::build::{self, Sources};
use crate::fsio::{self, Durability};
use crate::sandbox::Footing;
use crate::solve::{BuildEvent, EventSink};
use crate::ui::{self, Console, GraphFormat};

/// Shows the graph of a build and what would become of it.
pub(in crate::cli) fn run(
    args: &PlanArgs,
    preferences: &Preferences,
    footing: Footing,
    environment: &Environment,
) -> Result<(), Failure> {
    let format = args.format.parse::<GraphFormat>().map_err(Failure::usage)?;
    let request = settings::build(&args.as_build(), preferences, environment)?;
    let workshop = Workshop::open(&request, footing, environment)?;
    let colours = environment.colours;
    let mut sources = Sources::default();
    let mut warnings = Warnings::default();
    let foreseen = build::forecast(&request, &workshop.tools(), &mut sources, &mut warnings);
    let mut console = Console::process(colours);
    for warning in &warnings.0 {
        console.warning(warning);
    }
    let foreseen = workshop.network.outcome(foreseen, |error| {
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
