//! `builder check`: what is doubtful in a Dockerfile, and what of it a machine can mend.

use std::sync::Arc;
use std::time::Duration;

use super::super::args::CheckArgs;
use super::super::failure::Failure;
use super::super::preferences::Preferences;
use super::super::settings::{self, Environment};
use super::Network;
use crate::build::{self, Checked, MissingBases, Reader, Request, Resolver, Sources};
use crate::registry::Patience;
use crate::sandbox::Cancel;
use crate::store::Store;
use crate::ui::{self, Console, Mode};

/// A check answers while somebody looks, so a registry that does not is soon given up.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(3),
    silence: Duration::from_secs(10),
    upload_silence: Duration::ZERO,
    attempts: 1,
    first_wait: Duration::ZERO,
    longest_wait: Duration::ZERO,
};

/// Checks a Dockerfile.
pub(in crate::cli) fn run(
    args: &CheckArgs,
    preferences: &Preferences,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut request = settings::build(&args.as_build(), preferences, environment)?;
    request.registry.patience = PATIENCE;
    let network = Network::start()?.interruptible();
    let resolver = resolver(&request, &network, environment)?;
    if args.fix || args.diff {
        return fix(&request, &resolver, &network, args.diff, environment);
    }
    let colours = environment.colours;
    let mut sources = Sources::default();
    let mut silence = ui::renderer(Mode::None, super::build::screen(Mode::None, colours));
    let bases = MissingBases::Tolerate;
    let checked = build::check(
        &request,
        &reader(&resolver, network.cancel()),
        bases,
        &mut sources,
        silence.as_mut(),
    );
    let checked = network.outcome(checked, |error| {
        Failure::build(&error, &sources, &[], colours)
    })?;
    let mut console = Console::process(colours);
    let text = match args.format.as_str() {
        "json" => ui::check_json(&sources.map, &checked),
        "sarif" => ui::sarif(&sources.map, &checked),
        _ => ui::check_text(&sources.map, &checked.warnings, checked.error.is_some()),
    };
    console.write(text).map_err(Failure::environment)?;
    note_missing(&checked, &mut console);
    let mendable = checked.warnings.iter().filter(|w| !w.fix.is_empty());
    match mendable.count() {
        0 => {}
        1 => console.hint("`builder check --fix` may mend one of them"),
        count => console.hint(&format!("`builder check --fix` may mend {count} of them")),
    }
    verdict(&checked, &sources, false, colours)
}

/// Finds base images: in the store if there is one, else at registries. A store is only made for contexts that have to be
/// fetched into one.
pub(super) fn resolver(
    request: &Request,
    network: &Network,
    environment: &Environment,
) -> Result<Resolver, Failure> {
    let store = if request.source.needs_store() {
        Some(super::open_store(&request.root, request.cache_max)?)
    } else {
        let store = Store::open_existing(&request.root).unwrap_or_else(|error| {
            Console::process(environment.colours)
                .warning(&format!("the local store is not used: {error}"));
            None
        });
        store.map(Arc::new)
    };
    let client = network.client(request.registry.clone())?;
    Ok(super::resolver(
        store.as_ref(),
        &client,
        request,
        network.cancel(),
        environment,
    ))
}

/// What context and Dockerfile are read with.
pub(super) fn reader(resolver: &Resolver, cancel: Cancel) -> Reader<'_> {
    Reader {
        resolver,
        store: resolver.store.as_ref(),
        stdin: ui::stdin,
        cancel,
    }
}

/// The error that would end the build, or that there are findings.
pub(super) fn verdict(
    checked: &Checked,
    sources: &Sources,
    ignore_findings: bool,
    colours: bool,
) -> Result<(), Failure> {
    if let Some(error) = &checked.error {
        return Err(Failure::build(error, sources, &[], colours).of_the_build());
    }
    match checked.warnings.is_empty() || ignore_findings {
        true => Ok(()),
        false => Err(Failure::findings()),
    }
}

fn note_missing(checked: &Checked, console: &mut Console) {
    for base in &checked.missing {
        console.note(&format!(
            "base image {} could not be looked at, so what depends on it was not checked: {}",
            base.name, base.reason
        ));
    }
}

/// Mends what can be mended, or shows what that would be.
fn fix(
    request: &Request,
    resolver: &Resolver,
    network: &Network,
    only_show: bool,
    environment: &Environment,
) -> Result<(), Failure> {
    let colours = environment.colours;
    let mut silence = ui::renderer(Mode::None, super::build::screen(Mode::None, colours));
    let fixed = build::fix(
        request,
        &reader(resolver, network.cancel()),
        silence.as_mut(),
    );
    let fixed = network.outcome(fixed, |failed| {
        Failure::build(&failed.0, &failed.1, &[], colours)
    })?;
    let mut console = Console::process(colours);
    if only_show {
        console
            .write(ui::diff(&fixed))
            .map_err(Failure::environment)?;
    } else {
        fixed
            .write()
            .map_err(|error| Failure::build(&error, &fixed.sources, &[], colours))?;
        let left = &fixed.checked.warnings;
        let mut text = ui::fixed(&fixed);
        text.push_str(&ui::check_text(&fixed.sources.map, left, false));
        console.write(text).map_err(Failure::environment)?;
    }
    for (rule, refusal) in &fixed.refused {
        console.note(&format!("`{rule}` was not mended: {refusal}"));
    }
    note_missing(&fixed.checked, &mut console);
    match only_show && !fixed.done.is_empty() {
        true => Err(Failure::findings()),
        false => verdict(&fixed.checked, &fixed.sources, false, colours),
    }
}
