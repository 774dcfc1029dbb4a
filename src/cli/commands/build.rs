//! `builder build`

use std::path::{Path, PathBuf};

use super::super::args::BuildArgs;
use super::super::failure::Failure;
use super::super::preferences::Preferences;
use super::super::settings::{self, Environment};
use super::claim;
use super::workshop::Workshop;
use crate::build::{self, Sources};
use crate::fsio;
use crate::sandbox::Footing;
use crate::ui::{self, Console, Mode, Screen, StepLog};

/// Builds an image.
pub(in crate::cli) fn run(
    args: BuildArgs,
    preferences: &Preferences,
    footing: Footing,
    environment: &Environment,
) -> Result<(), Failure> {
    let request = settings::build(&args, preferences, environment)?;
    if let Some(call) = settings::call(&args)? {
        let mode = mode(&args, environment)?;
        return super::call::run(call, &request, mode, environment);
    }
    let mut workshop = Workshop::open(&request, footing, environment)?;
    claim(&workshop.store, footing)?;
    workshop.runner = workshop
        .runner
        .with_scaffold(workshop.store.scaffold())
        .map_err(Failure::environment)?;
    if let Some(runtime) = &args.runtime {
        workshop.runner = workshop.runner.with_runtime(found(runtime, environment)?);
    }
    let (tools, network) = (workshop.tools(), &workshop.network);
    let log = StepLog::new(environment.colours);
    let mode = mode(&args, environment)?;
    let mut sources = Sources::default();
    let mut sink = log.listen(ui::renderer(mode, screen(mode, environment.colours)));
    let failed = |error: &build::BuildError, sources: &Sources| {
        Failure::build(error, sources, &log.failures(), environment.colours)
    };
    if args.print.is_some() {
        let plan = build::plan_only(&request, &tools, &mut sources, sink.as_mut());
        let plan = network.outcome(plan, |error| failed(&error, &sources))?;
        drop(sink);
        let mut console = Console::process(environment.colours);
        return console
            .write(crate::plan::dump(&plan))
            .map_err(Failure::environment);
    }
    let report = build::build(&request, &tools, &mut sources, sink.as_mut());
    // The live view has to be gone before anything else is printed.
    drop(sink);
    let told = matches!(mode, Mode::Plain | Mode::Tty);
    let mut console = Console::process(environment.colours);
    let (colours, debug) = (environment.colours, environment.debug);
    let summary = ui::summary(&sources.map, &sources.warnings, debug, colours);
    if told && !summary.is_empty() {
        console.message(&summary);
    }
    network.outcome(report, |error| failed(&error, &sources))?;
    if !told {
        return Ok(());
    }
    if request.names.is_empty() && request.outputs.is_empty() {
        console.warning("the image has no name and no output: its layers are in the cache, nothing else is kept");
        console.hint("name it with `-t NAME`, or write it somewhere with `-o`");
    }
    Ok(())
}

/// The program of a runtime: a path as it is, a name as a shell of root would find it.
fn found(runtime: &Path, environment: &Environment) -> Result<PathBuf, Failure> {
    if runtime.components().count() > 1 {
        return fsio::canonicalize(runtime).map_err(Failure::environment);
    }
    let mut folders = environment.program_folders();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut candidates = folders.into_iter().map(|folder| folder.join(runtime));
    let program = candidates.find(|path| fsio::metadata(path).is_ok_and(|there| there.is_file()));
    program.ok_or_else(|| {
        let name = runtime.display();
        Failure::environment(format!("--runtime: `{name}` is not installed")).hint(format!(
            "install the package `{name}`, or leave `--runtime` away"
        ))
    })
}

fn mode(args: &BuildArgs, environment: &Environment) -> Result<Mode, Failure> {
    let mode = if args.quiet {
        Mode::Quiet
    } else {
        args.progress
            .parse::<Mode>()
            .map_err(|e| Failure::usage(e.to_string()))?
    };
    Ok(mode.resolve(environment.terminal))
}

pub(super) fn screen(mode: Mode, colours: bool) -> Screen {
    if mode == Mode::Quiet {
        Screen::stdout(colours)
    } else {
        Screen::stderr(colours)
    }
}
