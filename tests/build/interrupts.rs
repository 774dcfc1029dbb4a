//! Builds that are stopped: by Ctrl-C, by `kill -9`, by a full disk. Nothing is left running or mounted, nothing
//! half-written is taken for an image, and the next build works.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use builder::fsio;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::bases::{self, Base};
use crate::support::registry::{Effect, FakeImage, FakeRegistry, gzip};
use crate::support::{TestEnv, require_capability};

/// How long a test waits for something that has to happen; never for something that must not.
const PATIENCE: Duration = Duration::from_secs(60);

fn arguments(context: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    arguments.extend(["-t".into(), "image".into(), context.into()]);
    arguments
}

/// A build that does not outlive its test.
struct Build(Child);

impl Drop for Build {
    fn drop(&mut self) {
        // Fails for one that has ended, as it should have.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts a build whose RUN tells that it has begun and then takes for ever. `mark` is on the command line of what
/// it leaves in the background.
fn start(env: &TestEnv, mark: u32) -> Build {
    let dockerfile = format!("FROM base\nRUN echo be''gun; sleep {mark} & sleep {mark}\n");
    let child = start_of(env, "context", &dockerfile, " begun");
    wait_for("both of its processes ran", || running(mark) == 2);
    child
}

/// Starts a build, and waits until it says some words.
fn start_of(env: &TestEnv, context: &str, dockerfile: &str, words: &str) -> Build {
    env.write(&format!("{context}/Dockerfile"), dockerfile);
    let seen = env.write(&format!("seen-{context}"), "");
    let mut command = env.command("build", arguments(&env.path(context)));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .stderr(fsio::create(&seen).unwrap())
        .process_group(0);
    let child = Build(command.spawn().unwrap());
    wait_for(words, || {
        fsio::read_to_string(&seen).unwrap().contains(words)
    });
    child
}

/// Interrupts a build that would go on for minutes. That it takes milliseconds is what `benches/interrupts` shows.
#[track_caller]
fn ends(env: &TestEnv, mut build: Build) {
    signal(&build, Signal::INT);
    let asked = Instant::now();
    let status = build.0.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let scratch = env.root().join("v1/tmp");
    assert_eq!(fsio::read_dir_sorted(scratch).unwrap().len(), 0);
    nothing_is_left(env);
}

#[test]
fn an_interrupt_ends_a_step_that_does_not_listen() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let mark = 86_333;
    let deaf = format!("trap '' TERM INT HUP; (sleep {mark} & sleep {mark}) & echo be''gun; wait");
    let build = start_of(
        &env,
        "context",
        &format!("FROM base\nRUN {deaf}\n"),
        " begun",
    );
    wait_for("its processes ran", || running(mark) == 2);
    ends(&env, build);
    assert_eq!(running(mark), 0);
    next_build_works(&env);
}

#[test]
fn an_interrupt_ends_hashing() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    // Takes no room, and minutes to read.
    let large = fsio::create(env.write("context/large", "")).unwrap();
    large.set_len(256 << 30).unwrap();
    ends(
        &env,
        start_of(
            &env,
            "context",
            "FROM scratch\nCOPY large /\n",
            "COPY large",
        ),
    );
}

#[test]
fn an_interrupt_ends_waiting_for_another_builder() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let dockerfile = "FROM base\nRUN echo be''gun; sleep 86444\n";
    let first = start_of(&env, "context", dockerfile, " begun");
    // The same step, of which it says nothing until it has the lock.
    let second = start_of(&env, "second", dockerfile, "] RUN");
    signal(&second, Signal::INT);
    let mut second = second;
    assert_eq!(second.0.wait().unwrap().code(), Some(130));
    assert_eq!(running(86_444), 1, "the first one goes on");
    ends(&env, first);
}

#[test]
fn an_interrupt_ends_waiting_for_a_registry() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    // Takes connections, as the kernel does, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dockerfile = format!("FROM {}/a/b:1\n", silent.local_addr().unwrap());
    ends(&env, start_of(&env, "silent", &dockerfile, "load metadata"));

    let registry = FakeRegistry::start();
    let noise: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let platform = builder::oci::Platform::host().to_string();
    registry.put_image("a/b:1", &FakeImage::new(&platform, &[&noise]));
    let layer = builder::oci::Digest::of(gzip(&noise)).to_string();
    registry.fault(&layer, 100, Effect::StallAfter(1000));
    let dockerfile = format!("FROM {}/a/b:1\nRUN x\n", registry.host());
    let build = start_of(&env, "layer", &dockerfile, "] RUN x");
    wait_for("the layer was asked for", || registry.count(&layer) > 0);
    ends(&env, build);
}

#[track_caller]
fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes of the machine that sleep for `mark` seconds.
fn running(mark: u32) -> usize {
    let wanted = format!("sleep\0{mark}\0");
    let names = fsio::read_dir_sorted("/proc").unwrap();
    let command_line = |name: &OsString| {
        fsio::read(Path::new("/proc").join(name).join("cmdline")).unwrap_or_default()
    };
    names
        .iter()
        .filter(|name| command_line(name) == wanted.as_bytes())
        .count()
}

fn signal(build: &Build, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(build.0.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// No mount of the machine is in the store, and no image has got the name.
fn nothing_is_left(env: &TestEnv) {
    let mounts = fsio::read_to_string("/proc/self/mountinfo").unwrap();
    let root = env.root().display().to_string();
    assert!(!mounts.contains(&root), "{mounts}");
    assert_eq!(env.builder("images", ["-q"]).succeeded().stdout, "");
}

fn next_build_works(env: &TestEnv) {
    env.write("context/Dockerfile", "FROM base\nRUN echo works >/file\n");
    env.build(arguments(&env.path("context"))).succeeded();
    assert!(
        env.builder("images", ["-q"])
            .succeeded()
            .stdout
            .starts_with("sha256:")
    );
    let scratch = env.root().join("v1/tmp");
    assert_eq!(
        fsio::read_dir_sorted(scratch).unwrap(),
        [""; 0].map(OsString::from)
    );
}

#[test]
fn an_interrupt_ends_the_step_and_cleans_up() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let mut child = start(&env, 86_111);
    signal(&child, Signal::INT);
    assert_eq!(child.0.wait().unwrap().code(), Some(130));
    assert_eq!(running(86_111), 0);
    let scratch = env.root().join("v1/tmp");
    assert_eq!(fsio::read_dir_sorted(scratch).unwrap().len(), 0);
    nothing_is_left(&env);
    next_build_works(&env);
}

#[test]
fn a_killed_build_takes_its_step_with_it() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let mut child = start(&env, 86_222);
    signal(&child, Signal::KILL);
    assert_eq!(child.0.wait().unwrap().code(), None);
    wait_for("the step was gone", || running(86_222) == 0);
    nothing_is_left(&env);
    next_build_works(&env);
}

/// A small file system, gone with the guard.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        fsio::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "none"])
            .arg(&path)
            .status();
        assert!(mounted.unwrap().success());
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(std::thread::panicking() || unmounted.unwrap().success());
    }
}

#[test]
fn a_full_disk_is_named_and_the_next_build_works() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let disk = SmallDisk::mount(env.path("disk"));
    let root: OsString = format!("--root={}", disk.0.join("root").display()).into();
    let build = |dockerfile: &str| {
        env.write("context/Dockerfile", dockerfile);
        let mut command = env.command("build", arguments(&env.path("context")));
        // The last one of a flag is not taken twice, so the environment's own is replaced.
        let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
        let place = words.iter().position(|word| word == "--root").unwrap();
        command = env.tool(env!("CARGO_BIN_EXE_builder"));
        command
            .args(&words[..place])
            .arg(&root)
            .args(&words[place + 2..]);
        crate::support::process::run(&mut command)
    };
    env.write("context/large", vec![7; 32 << 20]);
    let outcome = build("FROM base\nCOPY large /\n").exited(3);
    for words in [
        "no space left on device",
        "the disk is full",
        "Dockerfile:2",
    ] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    build("FROM base\nRUN echo works >/file\n").succeeded();
}
