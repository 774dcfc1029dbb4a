//! Credential helpers: programs `docker-credential-<name>` that keep logins in a system's keychain.
//!
//! The protocol is Docker's: `get` with the registry on standard input, a JSON object on standard output.

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{CredentialsError, Login};
use crate::registry::transport::Secret;
use crate::sys::identity;

/// What a helper says, on standard output and with a failing exit code, if it knows nothing about the registry.
const NOT_FOUND: &str = "credentials not found";

/// The longest part of a helper's words that is repeated in a message.
const LONGEST_REASON: usize = 200;

/// The user that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: Secret,
}

/// Asks the helper `name` for the login of `registry`.
pub(super) fn get(name: &str, registry: &str) -> Result<Option<Login>, CredentialsError> {
    let program = format!("docker-credential-{name}");
    if name.contains('/') {
        return Err(CredentialsError::Start {
            program,
            reason: "its name may not contain `/`".to_owned(),
        });
    }
    ask(Command::new(&program), &program, registry)
}

/// Runs `command get` and reads its answer.
fn ask(
    mut command: Command,
    program: &str,
    registry: &str,
) -> Result<Option<Login>, CredentialsError> {
    let failed = |reason: String| CredentialsError::Helper {
        program: program.to_owned(),
        registry: registry.to_owned(),
        reason,
    };
    // It looks for the keychain of whoever it runs as.
    identity::as_ourselves(&mut command);
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| CredentialsError::Start {
            program: program.to_owned(),
            reason: match error.kind() {
                ErrorKind::NotFound => "no such program".to_owned(),
                _ => error.to_string(),
            },
        })?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input fails in its own words, below.
        match input.write_all(registry.as_bytes()) {
            Ok(()) | Err(_) => {}
        }
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let said = said.lines().next().unwrap_or_default().trim();
        if said.to_lowercase().contains(NOT_FOUND) {
            return Ok(None);
        }
        return Err(failed(if said.is_empty() {
            output.status.to_string()
        } else {
            said.chars().take(LONGEST_REASON).collect()
        }));
    }
    // The words of a parse error may repeat parts of the text, which holds a secret.
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not valid JSON".to_owned()))?;
    Ok(match answer {
        Answer { secret, .. } if secret.is_empty() => None,
        Answer { username, secret } if username == TOKEN_USER => Some(Login::Identity(secret)),
        Answer { username, secret } => Some(Login::Basic {
            user: username,
            password: secret,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a helper that is a few words of shell.
    fn answer(script: &str) -> Result<Option<Login>, CredentialsError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ask(command, "docker-credential-test", "a.io")
    }

    #[test]
    fn answers() {
        let echo = r#"read -r url; printf '{"ServerURL":"%s","Username":"u","Secret":"%s"}' "$url" "$url""#;
        assert_eq!(
            answer(echo).unwrap(),
            Some(Login::Basic {
                user: "u".to_owned(),
                password: Secret::new("a.io")
            })
        );
        assert_eq!(
            answer(r#"echo '{"Username":"<token>","Secret":"t"}'"#).unwrap(),
            Some(Login::Identity(Secret::new("t")))
        );
        for nothing in [
            r#"echo '{"Username":"","Secret":""}'"#,
            "echo credentials not found in native keychain; exit 1",
        ] {
            assert_eq!(answer(nothing).unwrap(), None, "{nothing}");
        }
    }

    #[test]
    fn failures_are_told_without_secrets() {
        for (script, words) in [
            (
                "echo the keychain is locked; exit 1",
                "the keychain is locked",
            ),
            ("exit 3", "exit status: 3"),
            ("echo '{\"Secret\": hunter2}'", "not valid JSON"),
        ] {
            let message = answer(script).unwrap_err().to_string();
            assert!(
                message.contains(words) && !message.contains("hunter2"),
                "{message}"
            );
        }
    }

    #[test]
    fn helpers_that_cannot_run_are_named() {
        for name in ["none-such-anywhere", "../evil"] {
            let error = get(name, "a.io").unwrap_err();
            assert!(matches!(error, CredentialsError::Start { .. }));
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
