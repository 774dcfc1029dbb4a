//! Words of the command line to a request, and failures to exit codes.
//!
//! Three steps: `args` is what was typed, `settings` is what it means (the only place that reads the environment), on top of
//! what the files say (`config`, `preferences`), `commands/` does it. `failure` turns any error into words, hints and an exit code.

mod args;
mod caches;
mod commands;
mod config;
mod contexts;
mod failure;
mod limits;
mod permissions;
mod preferences;
mod run_settings;
mod settings;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches as _;

use args::{Cli, Command};
use failure::Failure;
use preferences::Preferences;
use settings::Environment;

use crate::sandbox::Footing;

/// Runs the program: parses `args`, does what they say, prints, and answers with the exit code.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut environment = Environment::read();
    let parsed = args::command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    environment.debug = cli.global.debug;
    let colours = environment.colours;
    // A panic is a mistake of ours; the panic hook has printed where.
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dispatch(cli, &environment)));
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(colours),
        Err(_) => Failure::mistake().report(colours),
    }
}

fn dispatch(cli: Cli, environment: &Environment) -> Result<(), Failure> {
    let preferences = || Preferences::read(cli.global.root, environment);
    match cli.command {
        Command::Build(args) => {
            commands::build::run(*args, &preferences()?, Footing::take(), environment)
        }
        Command::Check(args) => commands::check::run(&args, &preferences()?, environment),
        Command::Config(args) => commands::config::run(&args, &preferences()?, environment),
        Command::Context(args) => commands::context::run(&args, environment),
        Command::Du(args) => {
            let preferences = preferences()?;
            // What a step made may be for the eyes of other ids only.
            let _footing = Footing::take();
            commands::space::du(&args, &preferences.root.value, environment)
        }
        Command::Prune(args) => {
            let preferences = preferences()?;
            let _footing = Footing::take();
            commands::space::prune(&args, &preferences.root.value, environment)
        }
        Command::Fsck(args) => commands::fsck::run(
            &args,
            &preferences()?.root.value,
            Footing::take(),
            environment,
        ),
        Command::Plan(args) => {
            commands::plan::run(&args, &preferences()?, Footing::take(), environment)
        }
        Command::Why(args) => commands::why::run(args, &preferences()?.root.value, environment),
        Command::Doctor(args) => {
            commands::doctor::run(&args, &preferences()?.root.value, environment)
        }
        Command::Completions { shell } => commands::completions::run(shell, environment),
        Command::Images(args) => {
            commands::images::list(&args, &preferences()?.root.value, environment)
        }
        Command::Rmi(args) => {
            commands::images::remove(&args, &preferences()?.root.value, environment)
        }
        Command::Save(args) => {
            commands::save::run(&args, &preferences()?, Footing::take(), environment)
        }
    }
}
