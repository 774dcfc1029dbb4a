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
use crate::sys::process;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(10);
/// The most that is kept of what `git` prints.
const MOST_OUTPUT: u64 = 64 << 20;
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
        process::dies_with_us(&mut command);
        self.configure(&mut command);
        let mut child = command.spawn().map_err(GitError::Start)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            let stdout = scope.spawn(move || read_all(stdout));
            let stderr = scope.spawn(move || read_all(stderr));
            let status = self.wait(&mut child);
            let read = |thread: std::thread::ScopedJoinHandle<'_, Vec<u8>>| {
                thread.join().unwrap_or_default()
            };
            let (stdout, stderr) = (read(stdout), read(stderr));
            Ok(Printed {
                success: status?.success(),
                stdout,
                stderr: shortened(&stderr),
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
            // Nobody is there to be asked: the first key that a host shows is taken, another one later is refused.
            command.env(
                "GIT_SSH_COMMAND",
                "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
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

fn read_all(source: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        // What cannot be read is not there; the exit status tells whether the call succeeded.
        let _read = source.by_ref().take(MOST_OUTPUT).read_to_end(&mut bytes);
        // Nobody who writes more has to wait for a reader.
        let _rest = std::io::copy(&mut source, &mut std::io::sink());
    }
    bytes
}

/// The last lines, without progress and without logins in URLs.
fn shortened(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .split(['\n', '\r'])
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let first = lines.len().saturating_sub(LINES_SHOWN);
    lines.get(first..).unwrap_or_default().join("\n")
}
