//! `RUN`: its command in all its forms, and what it is to be run with.

use super::super::ast::{
    DeviceRequest, NetworkMode, RunCommand, RunInstruction, SecurityMode, Word,
};
use super::super::glued::GluedText;
use super::super::{csv, mount};
use super::flags::Flags;
use super::{Parts, command};
use crate::source::{Diagnostic, Spanned, boolean};

pub(super) fn run(
    mut parts: Parts<'_>,
    mut flags: Flags<'_>,
) -> Result<RunInstruction, Diagnostic> {
    let mounts = flags
        .list("mount")
        .iter()
        .map(mount::parse)
        .collect::<Result<_, _>>()?;
    let devices = flags
        .list("device")
        .iter()
        .map(device)
        .collect::<Result<_, _>>()?;
    let network = flags.text("network").map(network).transpose()?;
    let security = flags.text("security").map(security).transpose()?;
    Ok(RunInstruction {
        command: run_command(&mut parts),
        mounts,
        network,
        security,
        devices,
    })
}

fn run_command(parts: &mut Parts<'_>) -> RunCommand {
    let line = parts.arguments.text();
    let mut heredocs = std::mem::take(&mut parts.heredocs);
    match parts.markers.as_slice() {
        [] => RunCommand::Plain(command::command(parts)),
        [only] if only.range == (0..line.len()) && heredocs.len() == 1 => {
            let heredoc = heredocs.remove(0);
            if heredoc.body.starts_with("#!") {
                RunCommand::Executable(heredoc)
            } else {
                RunCommand::Script(heredoc)
            }
        }
        _ => {
            let mut text = line.to_owned();
            for heredoc in &heredocs {
                text.push('\n');
                text.push_str(&heredoc.body);
                text.push_str(&heredoc.name);
            }
            RunCommand::Reassembled {
                text,
                line: line.to_owned(),
                heredocs,
            }
        }
    }
}

fn network(value: Word) -> Result<Spanned<NetworkMode>, Diagnostic> {
    let mode = match value.text.as_str() {
        "default" => NetworkMode::Default,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        other => {
            let message = format!("invalid network mode {other:?}");
            return Err(Diagnostic::error("bad-flag-value", message)
                .at(value.span, "")
                .hint("it is one of `default`, `none` and `host`"));
        }
    };
    Ok(Spanned::new(mode, value.span))
}

fn security(value: Word) -> Result<Spanned<SecurityMode>, Diagnostic> {
    let mode = match value.text.as_str() {
        "sandbox" => SecurityMode::Sandbox,
        "insecure" => SecurityMode::Insecure,
        other => {
            let message = format!("security {other:?} is not valid");
            return Err(Diagnostic::error("bad-flag-value", message)
                .at(value.span, "")
                .hint("it is one of `sandbox` and `insecure`"));
        }
    };
    Ok(Spanned::new(mode, value.span))
}

/// `NAME[,required[=BOOL]]`; the name may also be written `name=NAME`.
fn device(value: &GluedText<'_>) -> Result<Spanned<DeviceRequest>, Diagnostic> {
    let bad = |message: String, field: &GluedText<'_>| {
        Err(Diagnostic::error("bad-flag-value", message).at(field.whole(), ""))
    };
    let fields = csv::fields(value).map_err(|reason| {
        let message = format!("failed to parse csv devices: {reason}");
        Diagnostic::error("bad-flag-value", message).at(value.whole(), "")
    })?;
    let mut request = DeviceRequest {
        name: String::new(),
        required: false,
    };
    for field in &fields {
        let text = field.text();
        match text.split_once('=') {
            None if text.eq_ignore_ascii_case("required") => request.required = true,
            Some((key, required)) if key.eq_ignore_ascii_case("required") => {
                match boolean(required) {
                    Some(required) => request.required = required,
                    None => return bad(format!("invalid value for required: {required}"), field),
                }
            }
            Some((key, name)) if key.eq_ignore_ascii_case("name") => {
                name.clone_into(&mut request.name)
            }
            Some((key, _)) if !key.contains('/') => {
                return bad(format!("unexpected key '{key}' in '{text}'"), field);
            }
            _ if request.name.is_empty() => text.clone_into(&mut request.name),
            _ => return bad(format!("unexpected field '{text}'"), field),
        }
    }
    if request.name.is_empty() {
        return bad("a device needs a name".to_owned(), value);
    }
    Ok(Spanned::new(request, value.whole()))
}
