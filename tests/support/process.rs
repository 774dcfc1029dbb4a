//! Runs programs: to their end, with all that they said, or as a daemon for as long as a test needs it.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// How a program ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command as one line, for messages.
    pub command: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Outcome {
    /// Panics with everything the program said unless it ended well.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.exited(0)
    }

    /// Panics with everything the program said unless its exit code is `code`.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "expected exit code {code}, found {:?}: {}\n--- standard output\n{}\n--- standard error\n{}",
            self.code,
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output without the line end.
    pub fn line(&self) -> &str {
        self.stdout.trim_end()
    }
}

/// A variable of the environment in which the tests were started.
pub fn host_variable(name: &str) -> Option<OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests look at the real machine, where builder is given settings"
    )]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A command with nothing of this machine in its environment but the search path; `home` is its home and temporary folder.
pub fn hermetic(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", host_variable("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let line = line.join(" ");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run {line}: {error}"),
    };
    Outcome {
        command: line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program that serves until it is dropped; it ends with the thread that started it, too.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts the command with its output in the file `log`.
    #[track_caller]
    pub fn start(command: &Command, log: &Path) -> Self {
        let out = builder::fsio::create(log).expect("a log file");
        let err = out.try_clone().expect("a second handle of the log file");
        // `setpriv` has the kernel end the daemon should this process be killed.
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "TERM", "--"]);
        guarded.arg(command.get_program()).args(command.get_args());
        guarded.env_clear().envs(
            command
                .get_envs()
                .filter_map(|(name, value)| value.map(|value| (name, value))),
        );
        let child = guarded
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("setpriv of util-linux runs");
        Self { child }
    }

    /// Panics with the log if the daemon has ended.
    #[track_caller]
    pub fn expect_running(&mut self, log: &Path) {
        let ended = self.child.try_wait().expect("the state of a child");
        if let Some(status) = ended {
            let log = builder::fsio::read_to_string(log).unwrap_or_default();
            panic!("the daemon ended early ({status}):\n{log}");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _gone = kill_process(id, Signal::TERM);
        }
        let _ended = self.child.wait();
    }
}

/// Removes the control groups of this name, which container engines leave behind empty.
pub fn remove_control_groups(name: &str) {
    let parents = builder::fsio::read_dir_sorted("/sys/fs/cgroup").unwrap_or_default();
    let parents = parents.iter().map(Path::new);
    for parent in parents.chain([Path::new("")]) {
        let group = Path::new("/sys/fs/cgroup").join(parent).join(name);
        for child in builder::fsio::read_dir_sorted(&group).unwrap_or_default() {
            let _file_or_busy = builder::fsio::remove_dir(group.join(child));
        }
        let _not_there = builder::fsio::remove_dir(group);
    }
}
