//! An ordinary user of this machine, made for one test by root and gone with it: what `builder` does without root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use builder::fsio;

use super::process::{self, Outcome};

/// A user with a home of its own, a `builder` in it, and nothing else.
#[derive(Debug)]
pub struct Lodger {
    name: String,
    folder: tempfile::TempDir,
}

impl Lodger {
    /// Makes a user to whom ids are lent.
    #[track_caller]
    pub fn with_ids() -> Self {
        let lodger = Self::make(65_536);
        for file in ["/etc/subuid", "/etc/subgid"] {
            let lent = fsio::read_to_string(file).expect("a table of ids that are lent");
            let start = format!("{}:", lodger.name);
            assert!(
                lent.contains(&start),
                "`useradd` lends no ids here: see {file}"
            );
        }
        lodger
    }

    /// Makes a user who has one id.
    #[track_caller]
    pub fn without_ids() -> Self {
        Self::make(0)
    }

    #[track_caller]
    fn make(lent: u32) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("lodger-{}-{number}", std::process::id());
        // Not below the project: that may be where only its owner can look.
        let folder = tempfile::Builder::new()
            .prefix("lodger-")
            .tempdir_in("/var/tmp");
        let folder = folder.expect("a folder for the user");
        let home = folder.path().join("home");
        let mut command = Command::new("useradd");
        command
            .args([
                "--no-create-home",
                "--user-group",
                "--shell",
                "/bin/sh",
                "--home-dir",
            ])
            .arg(&home);
        for key in ["SUB_UID_COUNT", "SUB_GID_COUNT"] {
            command.args(["-K", &format!("{key}={lent}")]);
        }
        alone(command.arg(&name)).succeeded();
        let lodger = Self { name, folder };
        fsio::set_mode(lodger.folder.path(), 0o755).expect("others may enter");
        fsio::create_dir(&home).expect("a home");
        fsio::copy(env!("CARGO_BIN_EXE_builder"), lodger.path("builder"))
            .expect("a copy of builder");
        lodger.give(&home);
        lodger
    }

    /// A path in the folder that holds the user's home.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives a file or a tree to the user.
    #[track_caller]
    pub fn give(&self, path: &Path) {
        let owner = format!("{}:", self.name);
        process::run(Command::new("chown").args(["-R", &owner]).arg(path)).succeeded();
    }

    /// `builder SUBCOMMAND --root ROOT ARGUMENTS...` as the user, in the user's home.
    pub fn command<I>(&self, subcommand: &str, arguments: I) -> Command
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        let home = self.path("home");
        let mut command = process::hermetic("setpriv", &home);
        command
            .args([
                "--reuid",
                &self.name,
                "--regid",
                &self.name,
                "--init-groups",
            ])
            .arg(self.path("builder"))
            .arg(subcommand)
            .arg("--root")
            .arg(home.join("root"))
            .args(arguments)
            .current_dir(&home);
        command
    }

    /// Runs `builder SUBCOMMAND` as the user.
    #[track_caller]
    pub fn builder<I>(&self, subcommand: &str, arguments: I) -> Outcome
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        process::run(&mut self.command(subcommand, arguments))
    }

    /// Runs `builder build --progress plain` as the user.
    #[track_caller]
    pub fn build<I>(&self, arguments: I) -> Outcome
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        let mut command = self.command("build", ["--progress", "plain"]);
        process::run(command.args(arguments))
    }
}

impl Drop for Lodger {
    fn drop(&mut self) {
        // With the user go the ids that were lent.
        let _gone = alone(Command::new("userdel").arg(&self.name));
    }
}

/// Runs a program that changes the accounts of the machine, which only one can do at a time.
#[track_caller]
fn alone(command: &mut Command) -> Outcome {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for _attempt in 0..50 {
        let outcome = process::run(command);
        if !outcome.stderr.contains("lock") {
            return outcome;
        }
        // Another test run has its turn.
        std::thread::sleep(Duration::from_millis(100));
    }
    process::run(command)
}
