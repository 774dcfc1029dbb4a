//! `SecretsUsedInArgOrEnv`: secrets are mounted, not put into arguments and variables, which everyone can read in the image.

use crate::dockerfile::ast::{InstructionKind, Word};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "SecretsUsedInArgOrEnv",
    description: "Secrets should not be passed by `ARG` or `ENV`",
    url: Some("https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/"),
    experimental: false,
    ours: false,
    check,
};

/// Parts of a name that make it a secret.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// Parts of a name that make it none all the same.
const PUBLIC: [&str; 3] = ["public", "file", "version"];

/// A global `ARG` gives nothing away before a stage declares it.
fn check(subject: &Subject<'_>, found: &mut Found) {
    for instruction in subject.built_instructions() {
        let (keyword, names): (_, Vec<&Word>) = match &instruction.kind {
            InstructionKind::Arg(arg) => (
                "ARG",
                arg.declarations.iter().map(|one| &one.name).collect(),
            ),
            InstructionKind::Env(env) => ("ENV", env.pairs.iter().map(|(name, _)| name).collect()),
            _ => continue,
        };
        for name in names {
            let plain = name.text.trim_matches(['"', '\'']);
            if !is_secret(plain) {
                continue;
            }
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({keyword} \"{plain}\")"
            );
            let finding = found.warning(message).at(name.span, "");
            found.add(finding.hint(
                "the value can be read in the image or its history; give it to the `RUN` that needs it with `--mount=type=secret`",
            ));
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| name.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&PUBLIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_their_parts() {
        for name in [
            "API_KEY",
            "git_key",
            "Password",
            "APIKEY",
            "_token_",
            "A_SECRET_B",
            "auth",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PUBLIC_KEY",
            "TOKENS",
            "MONKEY",
            "KEY_FILE",
            "SECRET_VERSION",
            "author",
            "",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
