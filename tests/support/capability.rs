//! What a test needs of the machine. Where it is missing, the test says so and ends; in CI it fails.

use std::io::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::bases::{self, Base};
use super::process;

/// One thing that not every machine offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// The tests run as root.
    Root,
    /// User namespaces can be made.
    UserNamespaces,
    /// An overlay can be mounted where the tests keep their stores.
    Overlay,
    /// A program of this name is on the search path.
    Program(&'static str),
    /// A base image that can be made here from Debian packages.
    Base(Base),
    /// Steps can be limited by a cgroup controller of this name of version 1, or of 2 at the top.
    Cgroup(&'static str),
    /// There is a cgroup hierarchy of version 2, whatever it limits.
    Cgroup2,
    /// The machine itself is set up for no emulator.
    NothingRegistered,
    /// The Python package index answers.
    PackageIndex,
    /// A server that speaks the protocol of S3.
    S3,
}

impl Capability {
    /// Why it is missing, with what to do about it.
    fn missing(self) -> Result<(), String> {
        static NAMESPACES: OnceLock<Result<(), String>> = OnceLock::new();
        static OVERLAY: OnceLock<Result<(), String>> = OnceLock::new();
        static INDEX: OnceLock<Result<(), String>> = OnceLock::new();
        match self {
            Self::Root => {
                if rustix::process::geteuid().is_root() {
                    Ok(())
                } else {
                    Err("the tests do not run as root".to_owned())
                }
            }
            Self::UserNamespaces => NAMESPACES.get_or_init(user_namespaces).clone(),
            Self::Overlay => OVERLAY.get_or_init(overlay).clone(),
            Self::Program(name) => match find_program(name) {
                Some(_) => Ok(()),
                None => Err(format!("`{name}` is not installed; run `.ci/setup tests`")),
            },
            Self::Cgroup(name) => cgroup(name),
            Self::Cgroup2 => match cgroup2() {
                Some(_) => Ok(()),
                None => Err("no cgroup hierarchy of version 2 is mounted".to_owned()),
            },
            Self::NothingRegistered => nothing_registered(),
            Self::Base(base) => bases::make(base).map(drop),
            Self::S3 => match super::s3::program().is_file() {
                true => Ok(()),
                false => Err("there is no `moto_server`; run `.ci/setup tests`".to_owned()),
            },
            Self::PackageIndex => INDEX.get_or_init(package_index).clone(),
        }
    }
}

fn nothing_registered() -> Result<(), String> {
    let entries = builder::fsio::read_dir_sorted("/proc/sys/fs/binfmt_misc").unwrap_or_default();
    let is_emulator = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("qemu-");
    match entries.iter().any(is_emulator) {
        true => Err("the machine is set up to emulate other processors".to_owned()),
        false => Ok(()),
    }
}

/// Whether all of `needs` are there; says what is missing, and panics about it in CI.
///
/// The reason is written past the test runner's capture: a test that did nothing must not look like one that passed.
pub fn available(needs: &[Capability]) -> bool {
    for need in needs {
        let Err(reason) = need.missing() else {
            continue;
        };
        assert!(
            process::host_variable("CI").is_none(),
            "CI has to offer {need:?}: {reason}"
        );
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let _written = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
        return false;
    }
    true
}

/// Ends the test if one of the capabilities is missing.
macro_rules! require_capability {
    ($($need:expr),+ $(,)?) => {{
        #[allow(unused_imports, reason = "not every list names each kind")]
        use $crate::support::{bases::Base::*, capability::Capability::*};
        if !$crate::support::capability::available(&[$($need),+]) {
            return;
        }
    }};
}
pub(crate) use require_capability;

fn find_program(name: &str) -> Option<PathBuf> {
    let path = process::host_variable("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn user_namespaces() -> Result<(), String> {
    attempt(
        Command::new("unshare").args(["--user", "--map-root-user", "true"]),
        "user namespaces cannot be made here",
    )
}

fn overlay() -> Result<(), String> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .map_err(|error| format!("no scratch folder: {error}"))?;
    let script = "cd \"$1\" && mkdir lower upper work merged && \
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged";
    attempt(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .args(["sh".as_ref(), folder.path().as_os_str()]),
        "overlays cannot be mounted here",
    )
}

fn attempt(command: &mut Command, reason: &str) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(format!("{reason}: {}", words.trim()))
        }
        Err(error) => Err(format!("{reason}: {error}")),
    }
}

/// Where the cgroup hierarchy of version 2 is.
pub fn cgroup2() -> Option<PathBuf> {
    let mounts = builder::fsio::read_to_string("/proc/self/mountinfo").ok()?;
    let mut lines = mounts.lines();
    let line = lines.find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

fn cgroup(name: &str) -> Result<(), String> {
    let at = |path: &str| builder::fsio::read_to_string(path).unwrap_or_default();
    let unified = at("/sys/fs/cgroup/cgroup.controllers");
    let legacy = at("/proc/self/mountinfo");
    let is_mounted = |line: &str| {
        let (_, kind) = line.split_once(" - cgroup ").unwrap_or_default();
        kind.split([' ', ',']).any(|word| word == name)
    };
    let is_there =
        unified.split_whitespace().any(|word| word == name) || legacy.lines().any(is_mounted);
    match is_there {
        true => Ok(()),
        false => Err(format!("there is no cgroup controller `{name}` here")),
    }
}

fn package_index() -> Result<(), String> {
    let addresses = ("pypi.org", 443)
        .to_socket_addrs()
        .map_err(|error| format!("the Python package index has no address here: {error}"))?;
    for address in addresses {
        if TcpStream::connect_timeout(&address, Duration::from_secs(10)).is_ok() {
            return Ok(());
        }
    }
    Err("the Python package index does not answer".to_owned())
}
