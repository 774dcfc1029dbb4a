//! Instructions that only change the config: ENV, LABEL, CMD, ENTRYPOINT, EXPOSE, VOLUME, USER, SHELL, STOPSIGNAL,
//! HEALTHCHECK, MAINTAINER, ONBUILD.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::lower::{Lowering, Place};
use super::super::observation::Fact;
use super::super::stage::StageState;
use super::super::{Failure, expand_failure, fail, history, ports, signals};
use super::expand;
use crate::dockerfile::ast::{Assignments, Command, Healthcheck, InstructionKind, Word};
use crate::dockerfile::word;
use crate::oci;

pub(super) fn lower(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    kind: &InstructionKind,
    place: Place,
) -> Result<(), Failure> {
    match kind {
        InstructionKind::Env(pairs) => env(lowering, state, pairs, place),
        InstructionKind::Label(pairs) => label(lowering, state, pairs, place),
        InstructionKind::Cmd(command) => {
            cmd(state, command);
            let alone = state.config.get::<Vec<String>>("Entrypoint").is_none();
            notice_shell_form(lowering, state, command, place, alone);
            Ok(())
        }
        InstructionKind::Entrypoint(command) => {
            entrypoint(state, command);
            let alone = state.config.get::<Vec<String>>("Cmd").is_none();
            notice_shell_form(lowering, state, command, place, alone);
            Ok(())
        }
        InstructionKind::Expose(words) => expose(lowering, state, words, place),
        InstructionKind::Volume(words) => volume(lowering, state, words, place),
        InstructionKind::User(word) => {
            let user = expand(lowering, state, word, place)?;
            state.config_mut().set("User", Some(json!(user)));
            state.record(format!("USER {user}"), None);
            Ok(())
        }
        InstructionKind::Shell(shell) => {
            state.config_mut().set("Shell", Some(json!(shell)));
            state.record(format!("SHELL {}", history::go_list(shell)), None);
            Ok(())
        }
        InstructionKind::Stopsignal(word) => stop_signal(lowering, state, word, place),
        InstructionKind::Healthcheck(check) => {
            healthcheck(state, check);
            Ok(())
        }
        InstructionKind::Maintainer(name) => {
            state.config_mut().set_top("author", Some(json!(name)));
            state.record(format!("MAINTAINER {name}"), None);
            Ok(())
        }
        InstructionKind::Onbuild(onbuild) => {
            state.triggers.push(onbuild.text.clone());
            Ok(())
        }
        // These make steps or declare arguments and are lowered elsewhere.
        InstructionKind::Add(_)
        | InstructionKind::Copy(_)
        | InstructionKind::Run(_)
        | InstructionKind::Workdir(_)
        | InstructionKind::Arg(_) => Ok(()),
    }
}

/// Every value is expanded with the environment from before the instruction.
fn pairs(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    assignments: &Assignments,
    place: Place,
) -> Result<Vec<(String, String)>, Failure> {
    let mut pairs = Vec::new();
    for (key, value) in &assignments.pairs {
        pairs.push((
            expand(lowering, state, key, place)?,
            expand(lowering, state, value, place)?,
        ));
    }
    Ok(pairs)
}

fn joined(pairs: &[(String, String)]) -> String {
    let texts: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    texts.join(" ")
}

fn env(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    assignments: &Assignments,
    place: Place,
) -> Result<(), Failure> {
    let pairs = pairs(lowering, state, assignments, place)?;
    for (key, value) in &pairs {
        if key.is_empty() {
            return Err(fail("blank-name", place.span, "ENV names can not be blank"));
        }
        state.set_env(key, value);
    }
    state.record(format!("ENV {}", joined(&pairs)), None);
    Ok(())
}

fn label(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    assignments: &Assignments,
    place: Place,
) -> Result<(), Failure> {
    let pairs = pairs(lowering, state, assignments, place)?;
    for (key, value) in &pairs {
        state.config_mut().insert_into("Labels", key, json!(value));
    }
    state.record(format!("LABEL {}", joined(&pairs)), None);
    Ok(())
}

fn argv(state: &StageState, command: &Command) -> Vec<String> {
    match command {
        Command::Shell(text) => state.in_shell(text),
        Command::Exec(argv) => argv.clone(),
    }
}

fn notice_shell_form(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    command: &Command,
    place: Place,
    alone: bool,
) {
    if matches!(command, Command::Shell(_)) && state.config.shell().is_none() {
        lowering.notice(place.span, Fact::ShellForm { alone });
    }
}

fn cmd(state: &mut StageState, command: &Command) {
    let argv = argv(state, command);
    state.config_mut().set("Cmd", Some(json!(argv)));
    state.config_mut().set("ArgsEscaped", Some(json!(true)));
    state.cmd_set = true;
    state.record(format!("CMD {}", history::go_quoted_list(&argv)), None);
}

fn entrypoint(state: &mut StageState, command: &Command) {
    let argv = argv(state, command);
    state
        .config_mut()
        .set("Entrypoint", (!argv.is_empty()).then(|| json!(argv)));
    if !state.cmd_set {
        // Arguments that were meant for the inherited entry point.
        state.config_mut().set("Cmd", None);
    }
    state.record(
        format!("ENTRYPOINT {}", history::go_quoted_list(&argv)),
        None,
    );
}

fn expose(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    words: &[Word],
    place: Place,
) -> Result<(), Failure> {
    let mut sorted: Vec<&Word> = words.iter().collect();
    sorted.sort_by(|a, b| a.text.cmp(&b.text));
    let mut exposed = Vec::new();
    let mut known = BTreeSet::new();
    for word in sorted {
        let lookup = |name: &str| state.variable(name);
        let expansion = word::expand_words(word, place.escape, &lookup).map_err(expand_failure)?;
        lowering.notice_undefined(state, expansion.unset, word.span);
        for spec in expansion.values {
            let ports =
                ports::exposed(&spec).map_err(|message| fail("expose", word.span, message))?;
            lowering.notice(word.span, Fact::ExposedPort { spec });
            exposed.extend(ports.filter(|&port| known.insert(port)));
        }
    }
    let mut text = String::from("EXPOSE [");
    for (position, port) in exposed.iter().enumerate() {
        let space = if position == 0 { "" } else { " " };
        text.push_str(&format!("{space}{port}"));
    }
    text.push(']');
    state.expose(known);
    state.record(text, None);
    Ok(())
}

fn volume(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    words: &[Word],
    place: Place,
) -> Result<(), Failure> {
    let mut volumes = Vec::new();
    for word in words {
        let path = expand(lowering, state, word, place)?.trim().to_owned();
        if path.is_empty() {
            return Err(fail(
                "volume",
                word.span,
                "VOLUME specified can not be an empty string",
            ));
        }
        state.config_mut().insert_into("Volumes", &path, json!({}));
        volumes.push(path);
    }
    state.record(format!("VOLUME {}", history::go_list(&volumes)), None);
    Ok(())
}

fn stop_signal(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    word: &Word,
    place: Place,
) -> Result<(), Failure> {
    let signal = expand(lowering, state, word, place)?;
    if !signals::is_signal(&signal) {
        let failure = fail("signal", word.span, format!("invalid signal: {signal}"));
        return Err(Box::new(
            failure.hint("a number from 1 to 64 or a name such as SIGTERM"),
        ));
    }
    state.config_mut().set("StopSignal", Some(json!(signal)));
    state.record(format!("STOPSIGNAL {signal}"), None);
    Ok(())
}

fn healthcheck(state: &mut StageState, check: &Healthcheck) {
    let check = match check {
        Healthcheck::None => oci::Healthcheck {
            test: vec!["NONE".to_owned()],
            ..oci::Healthcheck::default()
        },
        Healthcheck::Cmd(command) => {
            let test = match &command.command {
                Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                Command::Exec(argv) => std::iter::once("CMD".to_owned())
                    .chain(argv.iter().cloned())
                    .collect(),
            };
            let nanos = |time: Option<Duration>| {
                i64::try_from(time.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
            };
            oci::Healthcheck {
                test,
                interval: nanos(command.interval),
                timeout: nanos(command.timeout),
                start_period: nanos(command.start_period),
                start_interval: nanos(command.start_interval),
                retries: i64::from(command.retries),
            }
        }
    };
    let value = serde_json::to_value(&check).unwrap_or(Value::Null);
    state.config_mut().set("Healthcheck", Some(value));
    state.record(
        format!("HEALTHCHECK {}", history::go_healthcheck(&check)),
        None,
    );
}
