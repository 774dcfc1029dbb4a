//! The `builder` binary: the child of a sandbox, or the command line.

use std::process::ExitCode;

use builder::sandbox::init;

fn main() -> ExitCode {
    // Before anything else: the child of a sandbox has to stay single-threaded.
    if init::is_init(std::env::args_os()) {
        return init::run_init(std::env::args_os());
    }
    builder::cli::run(std::env::args_os())
}
