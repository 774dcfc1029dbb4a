//! `HEALTHCHECK [flags] CMD command` and `HEALTHCHECK NONE`.

use std::time::Duration;

use super::super::ast::{Command, Healthcheck, HealthcheckCommand, Word};
use super::super::duration;
use super::super::keyword::Keyword;
use super::flags::Flags;
use super::{Parts, at_least_one, command};
use crate::source::Diagnostic;

pub(super) fn healthcheck(parts: &Parts<'_>) -> Result<Healthcheck, Diagnostic> {
    let arguments = &parts.arguments;
    let text = arguments.text();
    if text.is_empty() {
        return Err(at_least_one(parts.name()));
    }
    let kind_end = text.find(char::is_whitespace).unwrap_or(text.len());
    let kind = text[..kind_end].to_uppercase();
    let rest = arguments.part(kind_end..text.len()).trimmed();
    if kind == "NONE" {
        return if rest.text().is_empty() {
            Ok(Healthcheck::None)
        } else {
            Err(bad("HEALTHCHECK NONE takes no arguments".to_owned()).at(rest.whole(), ""))
        };
    }
    let mut flags = Flags::check(Keyword::Healthcheck, &parts.flags)?;
    if kind != "CMD" {
        let message = format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)");
        return Err(bad(message).at(arguments.span(0..kind_end), ""));
    }
    let command = command::command_of(&rest)?;
    if matches!(&command, Command::Shell(text) if text.is_empty())
        || matches!(&command, Command::Exec(elements) if elements.is_empty())
    {
        return Err(bad("Missing command after HEALTHCHECK CMD".to_owned()));
    }
    Ok(Healthcheck::Cmd(HealthcheckCommand {
        command,
        interval: interval(&mut flags, "interval")?,
        timeout: interval(&mut flags, "timeout")?,
        start_period: interval(&mut flags, "start-period")?,
        start_interval: interval(&mut flags, "start-interval")?,
        retries: retries(&mut flags)?,
    }))
}

/// A duration; zero is the same as none.
fn interval(flags: &mut Flags<'_>, name: &str) -> Result<Option<Duration>, Diagnostic> {
    const SHORTEST: i64 = 1_000_000;
    let Some(value) = flags.text(name) else {
        return Ok(None);
    };
    let nanoseconds = duration::parse(&value.text).map_err(|message| bad_value(message, &value))?;
    match u64::try_from(nanoseconds) {
        Ok(0) => Ok(None),
        Ok(nanoseconds_unsigned) if nanoseconds >= SHORTEST => {
            Ok(Some(Duration::from_nanos(nanoseconds_unsigned)))
        }
        _ => Err(bad_value(
            format!("Interval {name:?} cannot be less than 1ms"),
            &value,
        )),
    }
}

fn retries(flags: &mut Flags<'_>) -> Result<u32, Diagnostic> {
    let Some(value) = flags.text("retries") else {
        return Ok(0);
    };
    match value.text.parse::<i32>() {
        Ok(retries) => u32::try_from(retries)
            .map_err(|_| bad_value(format!("--retries cannot be negative ({retries})"), &value)),
        Err(_) => Err(bad_value(
            format!(
                "invalid value for --retries, expected a number: {}",
                value.text
            ),
            &value,
        )),
    }
}

fn bad(message: String) -> Diagnostic {
    Diagnostic::error("healthcheck", message)
}

fn bad_value(message: String, value: &Word) -> Diagnostic {
    Diagnostic::error("bad-flag-value", message).at(value.span, "")
}
