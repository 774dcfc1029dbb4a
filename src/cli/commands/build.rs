//! `builder build`

use std::path::PathBuf;

use super::super::args::BuildArgs;
use super::super::failure::Failure;
use super::super::settings::{self, Environment};
use super::{open_store, resolver, runtime};
use crate::build::{self, Sources, Tools};
use crate::registry::Client;
use crate::sandbox::{Cancel, NativeRunner};
use crate::ui::{self, Console, Mode, Screen, StepLog};

/// Builds an image.
pub(in crate::cli) fn run(
    args: BuildArgs,
    root: PathBuf,
    environment: &Environment,
) -> Result<(), Failure> {
    let request = settings::build(&args, root, environment)?;
    if let Some(call) = settings::call(&args)? {
        let mode = mode(&args, environment)?;
        return super::call::run(call, &request, mode, environment);
    }
    let store = open_store(&request.root)?;
    let runtime = runtime()?;
    let cancel = Cancel::new();
    runtime.spawn(watch_signals(cancel.clone()));
    let client = Client::new(request.registry.clone(), runtime.handle().clone());
    let resolver = resolver(Some(&store), &client, &request, cancel.clone(), environment);
    let runner = NativeRunner::new()
        .with_scaffold(store.scaffold())
        .map_err(Failure::environment)?;
    let tools = Tools {
        store,
        resolver: &resolver,
        client,
        runner: &runner,
        cancel,
        stdin: ui::stdin,
        stdout: ui::stdout,
    };
    let log = StepLog::new(environment.colours);
    let mode = mode(&args, environment)?;
    let mut sources = Sources::default();
    let mut sink = log.listen(ui::renderer(mode, screen(mode, environment.colours)));
    let failed = |error: &build::BuildError, sources: &Sources| {
        Failure::build(error, sources, &log.failures(), environment.colours)
    };
    if args.print.is_some() {
        let plan = build::plan_only(&request, &tools, &mut sources, sink.as_mut())
            .map_err(|e| failed(&e, &sources))?;
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
    report.map_err(|error| failed(&error, &sources))?;
    if !told {
        return Ok(());
    }
    if request.names.is_empty() && request.outputs.is_empty() {
        console.warning("the image has no name and no output: its layers are in the cache, nothing else is kept");
        console.hint("name it with `-t NAME`, or write it somewhere with `-o`");
    }
    Ok(())
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

/// The first signal asks the build to stop and clean up; the second one does not wait for it.
pub(super) async fn watch_signals(cancel: Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if cancel.is_cancelled() {
            // Everything of a step dies with this process; what is left in the store is cleared by the next one.
            let _killed = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
        cancel.cancel();
    }
}
