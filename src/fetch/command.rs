//! Runs `git`: with an environment of our choosing, stopped when the build is, its words kept short and without secrets.
//!
//! The program rather than a library: it alone speaks every transport, submodules, shallow fetches and SHA-256 repositories, and
//! whoever has repositories has it. It sees no configuration of the machine or the user, since that could change what
//! is checked out; hooks and filters of the repository are not run.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{FetchError, GitError};
use crate::registry::Secret;
use crate::sys::{identity, process};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(10);
/// The longest answer that is read: names of a hundred thousand branches and tags.
const MOST_OUTPUT: usize = 16 << 20;
/// As much is kept of the end of its complaints.
const MOST_COMPLAINTS: usize = 64 << 10;
/// Lines of its complaints that are repeated in a message.
const LINES_SHOWN: usize = 5;

/// Settings that hold for every call.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.symlinks", "true"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsync", "none"),
    ("init.templateDir", ""),
    ("init.defaultBranch", "main"),
    ("advice.detachedHead", "false"),
    ("protocol.ext.allow", "never"),
    ("protocol.file.allow", "never"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
];

/// Runs `git` for one repository.
pub(super) struct Git<'g> {
    /// What it inherits.
    pub(super) environment: &'g [(OsString, OsString)],
    /// The repository, for messages.
    pub(super) remote: &'g str,
    /// `Authorization` header and the URL it is for.
    pub(super) authorization: Option<(String, Secret)>,
    /// Whether no network is to be touched: then it is not run at all.
    pub(super) offline: bool,
    /// Whether to stop.
    pub(super) is_cancelled: &'g (dyn Fn() -> bool + Sync),
}

/// What a call printed.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Git<'_> {
    /// Runs a command in a folder and demands success.
    pub(super) fn must(&self, folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, FetchError> {
        let printed = self.run(folder, arguments)?;
        if printed.success {
            return Ok(printed.stdout);
        }
        Err(self.failed(arguments, &printed).into())
    }

    /// The error of a call that failed.
    pub(super) fn failed(&self, arguments: &[&str], printed: &Printed) -> GitError {
        GitError::Failed {
            command: arguments.first().copied().unwrap_or_default().to_owned(),
            remote: self.remote.to_owned(),
            output: printed.stderr.clone(),
        }
    }

    /// Runs a command in a folder.
    pub(super) fn run(&self, folder: &Path, arguments: &[&str]) -> Result<Printed, FetchError> {
        if self.offline {
            return Err(FetchError::Offline(self.remote.to_owned()));
        }
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Helpers that it starts are stopped with it.
            .process_group(0);
        identity::as_ourselves(&mut command);
        process::dies_with_us(&mut command);
        self.configure(&mut command);
        let mut child = command.spawn().map_err(GitError::Start)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            let stdout = scope.spawn(move || read_start(stdout));
            let stderr = scope.spawn(move || read_end(stderr));
            let status = self.wait(&mut child);
            let (stdout, stderr) = (stdout.join(), stderr.join());
            let status = status?;
            let Some(stdout) = stdout.unwrap_or_default() else {
                return Err(GitError::LongAnswer(self.remote.to_owned()).into());
            };
            Ok(Printed {
                success: status.success(),
                stdout,
                stderr: shortened(&stderr.unwrap_or_default()),
            })
        })
    }

    /// Configuration travels in the environment: arguments are seen by everybody on the machine.
    fn configure(&self, command: &mut Command) {
        let mut settings: Vec<(String, OsString)> = SETTINGS
            .iter()
            .map(|(key, value)| ((*key).to_owned(), OsString::from(value)))
            .collect();
        if let Some((url, secret)) = &self.authorization {
            let header = format!("Authorization: {}", secret.reveal());
            settings.push((format!("http.{url}.extraHeader"), header.into()));
        }
        for (index, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command
            .env("GIT_CONFIG_COUNT", settings.len().to_string())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("LC_ALL", "C");
        let has = |name: &str| {
            self.environment
                .iter()
                .any(|(key, _)| key == OsStr::new(name))
        };
        if !has("GIT_SSH_COMMAND") && !has("GIT_SSH") {
            // Nobody is there to be asked: the first key that a host shows is taken, another one later is refused. No
            // connection for others to share stays behind, which would keep our pipe open.
            command.env(
                "GIT_SSH_COMMAND",
                "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ControlMaster=no",
            );
        }
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, FetchError> {
        loop {
            if let Some(status) = child.try_wait().map_err(GitError::Start)? {
                return Ok(status);
            }
            if (self.is_cancelled)() {
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                // It may just have ended by itself.
                let _gone = group.map(|group| kill_process_group(group, Signal::KILL));
                let _status = child.wait();
                return Err(FetchError::Cancelled);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// All that is printed, if it is not too long. What cannot be read is not there; the exit status tells whether the call
/// succeeded.
fn read_start(source: Option<impl Read>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        let limit = MOST_OUTPUT as u64 + 1;
        let _read = source.by_ref().take(limit).read_to_end(&mut bytes);
        // Nobody who writes more has to wait for a reader.
        let _rest = std::io::copy(&mut source, &mut std::io::sink());
    }
    (bytes.len() <= MOST_OUTPUT).then_some(bytes)
}

/// The end of what is printed.
fn read_end(source: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        let piece = MOST_COMPLAINTS as u64;
        while source
            .by_ref()
            .take(piece)
            .read_to_end(&mut bytes)
            .unwrap_or(0)
            > 0
        {
            bytes.drain(..bytes.len().saturating_sub(MOST_COMPLAINTS));
        }
    }
    bytes
}

/// The last lines, without progress and without logins in URLs.
fn shortened(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<String> = text
        .split(['\n', '\r'])
        .map(|line| without_logins(line.trim_end()))
        .filter(|line| !line.is_empty())
        .collect();
    let first = lines.len().saturating_sub(LINES_SHOWN);
    lines.get(first..).unwrap_or_default().join("\n")
}

/// A line with `***` for what stands before the `@` of URLs: a submodule may have a login that we never gave to `git`.
fn without_logins(line: &str) -> String {
    let mut parts = line.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '\'' | '"') || c.is_whitespace();
        let authority = part.split(ends).next().unwrap_or_default();
        if let Some(at) = authority.rfind('@') {
            shown.push_str("***");
            shown.push_str(&part[at..]);
        } else {
            shown.push_str(part);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_short_and_show_no_login() {
        for (stderr, shown) in [
            ("", ""),
            ("a\rb\n\n", "a\nb"),
            ("1\n2\n3\n4\n5\n6\n", "2\n3\n4\n5\n6"),
            ("at https://a.io/x@y", "at https://a.io/x@y"),
            (
                "fatal: 'https://me:pa@ss@a.io/x' is not ssh://git@b.io:22 or c@d.io:e",
                "fatal: 'https://***@a.io/x' is not ssh://***@b.io:22 or c@d.io:e",
            ),
        ] {
            assert_eq!(shortened(stderr.as_bytes()), shown);
        }
    }

    #[test]
    fn no_more_is_kept_than_is_of_use() {
        let long = vec![b'a'; MOST_OUTPUT];
        assert_eq!(read_start(Some(long.as_slice())), Some(long.clone()));
        let longer = long.as_slice().chain(&b"b"[..]);
        assert_eq!(read_start(Some(longer)), None);
        let end = read_end(Some(long.as_slice().chain(&b"end"[..])));
        assert_eq!(end.len(), MOST_COMPLAINTS);
        assert!(end.ends_with(b"aend"));
    }
}
