//! `builder build --call`: what a Dockerfile is, instead of what it makes. No step runs, nothing is stored.

use super::super::failure::Failure;
use super::super::settings::Environment;
use super::super::values::{Call, Method};
use super::{build, check};
use crate::build::{self as library, MissingBases, Request, Sources};
use crate::lint;
use crate::ui::{self, Console, Mode};

/// Answers a call.
pub(super) fn run(
    call: Call,
    request: &Request,
    mode: Mode,
    environment: &Environment,
) -> Result<(), Failure> {
    let colours = environment.colours;
    let mut console = Console::process(colours);
    let mut sources = Sources::default();
    let mut sink = ui::renderer(mode, build::screen(mode, colours));
    let failed = |error: library::BuildError, sources: &Sources| {
        Failure::build(&error, sources, &[], colours)
    };
    let network = super::Network::start()?.interruptible();
    let resolver = check::resolver(request, &network, environment)?;
    let reader = check::reader(&resolver, network.cancel());
    let text = match call.method {
        Method::Check => {
            let bases = MissingBases::Refuse;
            let checked = library::check(request, &reader, bases, &mut sources, sink.as_mut());
            drop(sink);
            let mut checked = network.outcome(checked, |error| failed(error, &sources))?;
            // The same exit code as the reference's: rules that it does not have are for `builder check`.
            let known = |code| lint::rule(code).is_none_or(|rule| !rule.ours);
            checked.warnings.retain(|warning| known(warning.code));
            let text = match call.json {
                true => ui::check_json(&sources.map, &checked),
                false => ui::check_text(&sources.map, &checked.warnings, checked.error.is_some()),
            };
            console.write(text).map_err(Failure::environment)?;
            return check::verdict(&checked, &sources, call.ignore_status, colours);
        }
        Method::Outline => {
            let outline = library::outline(request, &reader, &mut sources, sink.as_mut());
            let outline = network.outcome(outline, |error| failed(error, &sources))?;
            match call.json {
                true => ui::outline_json(&sources.map, &outline),
                false => ui::outline_text(&outline),
            }
        }
        Method::Targets => {
            let targets = library::targets(request, &reader, &mut sources, sink.as_mut());
            let targets = network.outcome(targets, |error| failed(error, &sources))?;
            match call.json {
                true => ui::targets_json(&sources.map, &targets),
                false => ui::targets_text(&targets),
            }
        }
        Method::Describe => match call.json {
            true => ui::methods_json(),
            false => ui::methods_text(),
        },
    };
    // The live view has to be gone before anything else is printed.
    drop(sink);
    console.write(text).map_err(Failure::environment)
}
