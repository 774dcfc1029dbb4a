//! RUN: the command line and what it sees; its mounts are in `mounts.rs`.

use super::super::lower::{Lowering, Place};
use super::super::stage::StageState;
use super::super::step::{DeviceRequest, NetworkMode, RunStep, StepKind};
use super::super::{Failure, fail};
use super::mounts;
use crate::dockerfile::ast::{
    self, Command, Heredoc, Instruction, RunCommand, RunInstruction, SecurityMode,
};
use crate::source::Spanned;

/// Where the script of a heredoc with `#!` is seen.
const SCRIPT_FOLDER: &str = "/dev/pipes/";

pub(super) fn run(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    run: &RunInstruction,
    place: Place,
) -> Result<(), Failure> {
    let insecure = run
        .security
        .as_ref()
        .is_some_and(|mode| mode.value == SecurityMode::Insecure);
    if let Some(mode) = &run.security
        && insecure
        && !lowering.options.entitlements.security_insecure
    {
        let failure = fail("entitlement", mode.span, "security.insecure is not allowed");
        return Err(Box::new(
            failure.hint("allow it with `--allow security.insecure`"),
        ));
    }
    let network = network(lowering, run)?;
    let (argv, script) = command_line(state, &run.command);
    let mounts = mounts::lower(lowering, state, &run.mounts, place)?;
    let mut env = state.env();
    mounts::add_variables(&mut env, &mounts);
    let declared_elsewhere = |name: &String| !state.declares(name);
    let proxy_env = lowering
        .globals
        .proxies()
        .into_iter()
        .filter(|(name, _)| declared_elsewhere(name))
        .collect();
    let hostname = lowering
        .globals
        .build_arg("BUILDKIT_SANDBOX_HOSTNAME")
        .cloned();
    let step = RunStep {
        argv: argv.clone(),
        env,
        arguments: state.arguments(),
        proxy_env,
        cwd: state.cwd(),
        user: state.config.user(),
        hostname: hostname.unwrap_or_else(|| crate::plan::DEFAULT_HOSTNAME.to_owned()),
        network,
        insecure,
        mounts,
        devices: run.devices.iter().map(device).collect(),
        script,
    };
    let text = label(instruction, &run.command);
    let step = lowering.step(state, place, &text, StepKind::Run(step));
    let created_by = format!("RUN {}{} # buildkit", state.history_args(), argv.join(" "));
    state.record(created_by, Some(step));
    Ok(())
}

fn device(request: &Spanned<ast::DeviceRequest>) -> DeviceRequest {
    DeviceRequest {
        name: request.value.name.clone(),
        required: request.value.required,
        span: request.span,
    }
}

fn network(lowering: &Lowering<'_>, run: &RunInstruction) -> Result<NetworkMode, Failure> {
    let Some(mode) = &run.network else {
        return Ok(lowering.options.network.clone());
    };
    match mode.value {
        ast::NetworkMode::Default => Ok(NetworkMode::Default),
        ast::NetworkMode::None => Ok(NetworkMode::None),
        ast::NetworkMode::Host if lowering.options.entitlements.network_host => {
            Ok(NetworkMode::Host)
        }
        ast::NetworkMode::Host => {
            let failure = fail("entitlement", mode.span, "network.host is not allowed");
            Err(Box::new(
                failure.hint("allow it with `--allow network.host`"),
            ))
        }
    }
}

fn command_line(
    state: &StageState,
    command: &RunCommand,
) -> (Vec<String>, Option<(String, String)>) {
    match command {
        RunCommand::Plain(Command::Shell(text)) => (state.in_shell(text), None),
        RunCommand::Plain(Command::Exec(argv)) => (argv.clone(), None),
        RunCommand::Script(heredoc) => (state.in_shell(&heredoc.content()), None),
        RunCommand::Executable(heredoc) => {
            let path = format!("{SCRIPT_FOLDER}{}", heredoc.name);
            (state.in_shell(&path), Some((path, heredoc.content())))
        }
        RunCommand::Reassembled { text, .. } => (state.in_shell(text), None),
    }
}

/// The text of the instruction; of a heredoc its first line.
fn label(instruction: &Instruction, command: &RunCommand) -> String {
    let first = command.heredocs().first().and_then(|heredoc: &Heredoc| {
        let body = heredoc.body.trim();
        let line = body.lines().next()?;
        Some(if body.lines().nth(1).is_some() {
            format!("{line}...")
        } else {
            line.to_owned()
        })
    });
    match first {
        Some(line) => format!("{} ({line})", instruction.text),
        None => instruction.text.clone(),
    }
}
