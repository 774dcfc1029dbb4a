//! `builder completions`

use super::super::args;
use super::super::failure::Failure;
use super::super::settings::Environment;
use crate::ui::Console;

/// Prints a completion script.
pub(in crate::cli) fn run(
    shell: clap_complete::Shell,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "builder", &mut script);
    Console::process(environment.colours)
        .write(script)
        .map_err(Failure::environment)
}
