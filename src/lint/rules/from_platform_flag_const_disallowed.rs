//! `FromPlatformFlagConstDisallowed`: a stage is not bound to one platform, unless its name says so.

use std::cell::RefCell;

use crate::dockerfile::ast::Word;
use crate::dockerfile::word::{self, Mode};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::oci::Platform;

pub(super) const RULE: Rule = Rule {
    name: "FromPlatformFlagConstDisallowed",
    description: "The `--platform` of a `FROM` should not be a constant",
    url: Some("https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for stage in &subject.dockerfile.stages {
        let from = &stage.from.kind;
        let Some(platform) = &from.platform else {
            continue;
        };
        let (value, names) = variables(platform, subject.dockerfile.escape);
        let Ok(parsed) = value.parse::<Platform>() else {
            continue;
        };
        let stage_name = from.name.as_ref().map_or("", |name| &name.lower);
        if !names.is_empty() || stage_name.contains(&parsed.os) || stage_name.contains(&parsed.arch)
        {
            continue;
        }
        let message = format!("FROM --platform flag should not use constant value \"{value}\"");
        let finding = found.warning(message).at(platform.span, "");
        found.add(finding.hint(
            "leave the flag out, use `$BUILDPLATFORM`, or put the platform into the name of the stage",
        ));
    }
}

/// A word with `<NAME>` for each variable that its value depends on, and the names of all that it mentions.
pub(super) fn variables(word: &Word, escape: char) -> (String, Vec<String>) {
    let names = RefCell::new(Vec::new());
    let lookup = |name: &str| {
        let mut names = names.borrow_mut();
        if !names.iter().any(|seen| seen == name) {
            names.push(name.to_owned());
        }
        Some(format!("<{name}>"))
    };
    let expansion = word::expand(word, escape, &lookup, Mode::Argument).unwrap_or_default();
    (expansion.value, names.into_inner())
}
