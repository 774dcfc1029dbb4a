//! Limits of RUN steps against what they are for: bombs of memory and of processes, processors that are kept busy, commands that never
//! end. And that no cgroup is left, however a build ends.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use builder::fsio;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::bases::{self, Base};
use crate::support::process::{self, run};
use crate::support::progress::Progress;
use crate::support::{Outcome, TestEnv, capability, require_capability};

fn arguments(env: &TestEnv, run: &str, flags: &[&str]) -> Vec<OsString> {
    env.write("context/Dockerfile", format!("FROM base\nRUN {run}\n"));
    let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    arguments.extend(flags.iter().map(OsString::from));
    arguments.push("context".into());
    arguments
}

fn build(env: &TestEnv, run: &str, flags: &[&str]) -> Outcome {
    env.build(arguments(env, run, flags))
}

#[track_caller]
fn says(outcome: &Outcome, words: &[&str]) {
    for word in words {
        let stderr = &outcome.stderr;
        assert!(stderr.contains(word), "no `{word}` in\n{stderr}");
    }
}

/// Takes memory until it is killed: `tail` keeps a line until it ends.
const BOMB: &str = "tail /dev/zero";

#[test]
fn a_memory_bomb_ends_at_the_limit_and_says_so() {
    require_capability!(Root, Overlay, Cgroup("memory"), Base(Busybox));
    let env = TestEnv::new();
    let flags = ["--memory", "24m"];
    let outcome = build(&env, &format!("exec {BOMB}"), &flags).exited(1);
    says(
        &outcome,
        &[
            "killed: out of memory: peak 2", // 23.9 or 24
            "limit 24 MiB (--memory)",
        ],
    );
    // The shell gets over the end of its child, and fails for another reason.
    let outcome = build(&env, &format!("{BOMB}; exit 3"), &flags).exited(1);
    says(
        &outcome,
        &["exit code: 3: a process was killed: out of memory"],
    );
    // Or does not fail at all.
    let outcome = build(&env, &format!("{BOMB} || true"), &flags).succeeded();
    says(
        &outcome,
        &[
            "warning: process ",
            "succeeded, but one of it was killed: out of memory",
        ],
    );
    let outcome = build(&env, "echo enough", &["--memory", "6m"]).succeeded();
    says(&outcome, &["enough"]);
    assert!(!outcome.stderr.contains("memory"), "{}", outcome.stderr);
}

/// A cgroup that limits memory, removed when it is dropped.
struct MemoryParent {
    folder: PathBuf,
    /// Below the top of the hierarchy.
    path: String,
}

impl MemoryParent {
    fn new(bytes: u64) -> Self {
        let name = format!("builder-test-memory-{}", std::process::id());
        let own = fsio::read_to_string("/proc/self/cgroup").expect("our cgroups");
        let legacy = Path::new("/sys/fs/cgroup/memory");
        let (top, path, limit) = if legacy.is_dir() {
            let mut lines = own.lines();
            let own = lines
                .find_map(|line| line.split_once(":memory:"))
                .expect("our cgroup of memory")
                .1;
            let path = format!("{}/{name}", own.trim_end_matches('/'));
            (legacy, path, "memory.limit_in_bytes")
        } else {
            let top = Path::new("/sys/fs/cgroup");
            fsio::write_to(top.join("cgroup.subtree_control"), b"+memory")
                .expect("limits below the top");
            (top, format!("/{name}"), "memory.max")
        };
        let folder = top.join(path.trim_start_matches('/'));
        fsio::create_dir(&folder).expect("a cgroup");
        let parent = Self { folder, path };
        fsio::write_to(parent.folder.join(limit), bytes.to_string().as_bytes()).expect("its limit");
        parent
    }
}

impl Drop for MemoryParent {
    fn drop(&mut self) {
        let _unused = fsio::remove_dir(&self.folder);
    }
}

#[test]
fn who_else_has_no_more_memory_is_told_from_the_step() {
    require_capability!(Root, Overlay, Cgroup("memory"), Base(Busybox));
    let env = TestEnv::new();
    let parent = MemoryParent::new(24 << 20);
    let flags = ["--memory", "500m", "--cgroup-parent", &parent.path];
    let outcome = build(&env, &format!("exec {BOMB}"), &flags).exited(1);
    says(
        &outcome,
        &[
            "killed: out of memory: peak 2",
            "a cgroup above the step has no more",
        ],
    );
    assert!(left(&parent.folder).is_empty());
}

#[test]
fn a_fork_bomb_ends_at_the_limit_and_says_so() {
    require_capability!(Root, Overlay, Cgroup("pids"), Base(Busybox));
    let env = TestEnv::new();
    let bomb = "b() { b | b & }; b; sleep 1; exit 9";
    let outcome = build(&env, bomb, &["--pids-limit", "20"]).exited(1);
    says(
        &outcome,
        &["no process could be started: limit 20 (--pids-limit)"],
    );
    let few = build(&env, "sleep 0 & wait; echo enough", &["--pids-limit", "20"]).succeeded();
    says(&few, &["enough"]);
}

#[test]
fn a_step_ends_at_its_time_limit() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let started = Instant::now();
    for run in [
        "sleep 600",
        "trap '' TERM INT HUP QUIT; while :; do sleep 600; done",
        "(trap '' TERM; setsid sleep 600) & sleep 600",
    ] {
        let outcome = build(&env, run, &["--timeout", "1s"]).exited(1);
        says(&outcome, &["stopped after 1 s, its time limit (--timeout)"]);
    }
    assert!(started.elapsed() < Duration::from_secs(300), "none slept");
    build(&env, "true", &["--timeout", "5m"]).succeeded();
}

#[test]
fn settings_limit_every_step() {
    require_capability!(Root, Overlay, Cgroup("pids"), Base(Busybox));
    let env = TestEnv::new();
    env.write(
        "home/.config/builder/config.toml",
        "pids-limit = \"20\"\ntimeout = \"1s\"\n",
    );
    let outcome = build(&env, "sleep 600", &[]).exited(1);
    says(&outcome, &["its time limit"]);
    let many = "for i in $(seq 40); do sleep 0.2 & done; wait";
    build(&env, many, &["--timeout", "none"]).exited(1);
    build(&env, many, &["--timeout", "none", "--pids-limit", "none"]).succeeded();
}

#[test]
fn a_limit_that_cannot_be_is_an_error_before_anything_runs() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let outcome = build(&env, "echo it ran", &["--device-read-bps", "/dev/null:1m"]).exited(3);
    says(
        &outcome,
        &["RUN cannot be limited", "`/dev/null` is no block device"],
    );
    let outcome = build(&env, "echo it ran", &["--cgroup-parent", "not-there"]).exited(3);
    says(&outcome, &["the cgroup `not-there` is not there"]);
    assert_eq!(Progress::read(&outcome.stderr).steps().count(), 0);
    // Without a RUN there is nothing to limit.
    env.write("context/Dockerfile", "FROM base\nCOPY Dockerfile /\n");
    let mut words: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    words.extend(["--cgroup-parent", "not-there", "context"].map(OsString::from));
    env.build(words).succeeded();
}

#[test]
fn limits_enter_no_key_and_what_was_used_is_kept() {
    require_capability!(Root, Overlay, Cgroup("memory"), Base(Busybox));
    let env = TestEnv::new();
    // Half a second of a processor, and memory that it has for a moment.
    let run = "head -c 30000000 /dev/zero | tail -n 1 >/dev/null; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
    build(&env, run, &["--memory", "200m"]).succeeded();
    let again = build(&env, run, &["--memory", "300m", "--pids-limit", "50"]).succeeded();
    says(&again, &["CACHED"]);
    let why = env.builder("why", ["RUN", "--json"]).succeeded().stdout;
    let why: serde_json::Value = serde_json::from_str(&why).unwrap();
    let used = &why["steps"][0]["resources"];
    assert_eq!(used["whole_step"], true, "{why}");
    assert!(used["peak_memory"].as_u64().unwrap() > 25_000_000, "{why}");
    assert!(used["user_micros"].as_u64().unwrap() > 0, "{why}");
    let text = env.builder("why", ["RUN"]).succeeded().stdout;
    assert!(text.contains("used: processor "), "{text}");
}

#[test]
fn a_quota_of_processor_time_throttles() {
    require_capability!(Root, Overlay, Cgroup("cpu"), Base(Busybox));
    let env = TestEnv::new();
    // The command looks from inside at the cgroup that its namespace has at the top.
    let look = "mkdir /cg && mount -t cgroup -o cpu none /cg && grep nr_throttled /cg/cpu.stat; umount /cg; rmdir /cg";
    let run =
        format!("--security=insecure i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; {look}");
    let flags = ["--cpus", "0.1", "--allow", "security.insecure"];
    let outcome = build(&env, &run, &flags).succeeded();
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.contains("nr_throttled "));
    let line = line.expect("a line of the cgroup");
    assert!(!line.ends_with(" 0"), "{line}");
}

#[test]
fn a_step_is_at_the_top_of_what_it_sees() {
    require_capability!(Root, Overlay, Cgroup("pids"), Base(Busybox));
    let env = TestEnv::new();
    let flags = ["--pids-limit", "100", "--memory", "100m"];
    let outcome = build(&env, "cat /proc/self/cgroup", &flags).succeeded();
    for controller in ["memory", "pids"] {
        let lines = outcome.stderr.lines();
        let mut of_it = lines.filter(|line| line.contains(&format!(":{controller}:")));
        assert!(of_it.all(|line| line.ends_with(":/")), "{}", outcome.stderr);
    }
}

/// Cgroups of steps anywhere below a folder.
fn left(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in fsio::read_dir_sorted(folder).unwrap_or_default() {
        let path = folder.join(&name);
        if fsio::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
            found.extend(left(&path));
            if name.to_string_lossy().starts_with("builder-step-") {
                found.push(path);
            }
        }
    }
    found
}

/// Those made by one process: the name has its number.
fn left_by(pid: u32) -> Vec<PathBuf> {
    let mark = format!("builder-step-{pid}-");
    let mut found = left(Path::new("/sys/fs/cgroup"));
    found.retain(|path| path.to_string_lossy().contains(&mark));
    found
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn no_cgroup_is_left_however_a_build_ends() {
    require_capability!(Root, Overlay, Cgroup("pids"), Base(Busybox));
    let env = TestEnv::new();
    let words = arguments(
        &env,
        "sleep 543",
        &["--pids-limit", "100", "--memory", "100m"],
    );
    for signal in [Signal::INT, Signal::KILL] {
        let mut command = env.command("build", ["--progress", "plain"]);
        command
            .args(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut builder = command.spawn().unwrap();
        let pid = builder.id();
        let runs = || left_by(pid).iter().any(|folder| has_processes(folder));
        eventually("the step is in its cgroup", runs);
        kill_process(Pid::from_child(&builder), signal).unwrap();
        builder.wait().unwrap();
        eventually("the cgroup is gone", || left_by(pid).is_empty());
    }
}

fn has_processes(folder: &Path) -> bool {
    let processes = fsio::read(folder.join("cgroup.procs")).unwrap_or_default();
    // PID 1 and the command.
    processes.iter().filter(|byte| **byte == b'\n').count() >= 2
}

#[test]
fn what_a_killed_builder_and_its_supervisor_leave_is_removed_by_the_next() {
    require_capability!(Root, Overlay, Cgroup("pids"), Base(Busybox));
    let env = TestEnv::new();
    let words = arguments(&env, "sleep 544", &["--pids-limit", "100"]);
    let mut command = env.command("build", ["--progress", "plain"]);
    command
        .args(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut builder = command.spawn().unwrap();
    let pid = builder.id();
    let runs = || left_by(pid).iter().any(|folder| has_processes(folder));
    eventually("the step is in its cgroup", runs);
    let children = format!("/proc/{pid}/task/{pid}/children");
    // The supervisor was started by a thread; whichever has children.
    let mut supervisors = Vec::new();
    for thread in fsio::read_dir_sorted(format!("/proc/{pid}/task")).unwrap() {
        let thread = thread.to_string_lossy().into_owned();
        let path = children.replace(&format!("task/{pid}"), &format!("task/{thread}"));
        let text = fsio::read_to_string(path).unwrap_or_default();
        supervisors.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    assert!(!supervisors.is_empty(), "a supervisor");
    // Stopped, it cannot tidy up between the two.
    for supervisor in &supervisors {
        kill_process(Pid::from_raw(*supervisor).unwrap(), Signal::STOP).unwrap();
    }
    builder.kill().unwrap();
    builder.wait().unwrap();
    for supervisor in &supervisors {
        kill_process(Pid::from_raw(*supervisor).unwrap(), Signal::KILL).unwrap();
    }
    assert!(!left_by(pid).is_empty(), "there is something to remove");
    // Its processes are on their way out; a builder that comes a moment too early leaves it to the next.
    eventually("the leftover is gone", || {
        build(&env, "true", &["--pids-limit", "100", "--no-cache"]).succeeded();
        left_by(pid).is_empty()
    });
}

/// A user without a name, and without subordinate ids.
const NOBODY_ELSE: u32 = 40_321;

/// A cgroup of version 2 that was given to that user, with a cgroup in it for the builder.
struct Delegated {
    folder: PathBuf,
    name: String,
}

impl Delegated {
    fn new() -> Self {
        let name = format!("builder-test-delegated-{}", std::process::id());
        let folder = capability::cgroup2().expect("version 2").join(&name);
        fsio::create_dir(&folder).expect("a cgroup");
        let delegated = Self { folder, name };
        fsio::create_dir(delegated.inside()).expect("a cgroup");
        for given in [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "own",
            "own/cgroup.procs",
        ] {
            let path = delegated.folder.join(given);
            fsio::set_owner(path, NOBODY_ELSE, NOBODY_ELSE).expect("a cgroup of the user");
        }
        delegated
    }

    fn inside(&self) -> PathBuf {
        self.folder.join("own")
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _unused = fsio::remove_dir(self.inside());
        let _unused = fsio::remove_dir(&self.folder);
    }
}

#[test]
fn a_user_has_the_cgroups_that_were_delegated() {
    require_capability!(
        Root,
        Overlay,
        UserNamespaces,
        Cgroup2,
        Program("setpriv"),
        Base(Busybox)
    );
    let delegated = Delegated::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fsio::copy(env!("CARGO_BIN_EXE_builder"), path("builder")).expect("a copy");
    let script = format!(
        "cp -r {} base && mkdir ctx && printf 'FROM base\\nRUN grep ^0: /proc/self/cgroup\\n' >ctx/Dockerfile && \
         chmod -R a+rX . && chown {NOBODY_ELSE} .",
        bases::layout(Base::Busybox).display(),
    );
    run(Command::new("sh")
        .args(["-c", &script])
        .current_dir(&folder))
    .succeeded();
    let build = |enter: &str| {
        let script = format!(
            "{enter} exec setpriv --reuid {NOBODY_ELSE} --regid {NOBODY_ELSE} --clear-groups ./builder build --progress plain --root root \
             --no-cache --cgroup-parent {} --build-context base=oci-layout://base ctx",
            delegated.name
        );
        let mut command = process::hermetic("sh", folder.path());
        run(command.args(["-c", &script]).current_dir(&folder))
    };
    let enter = format!("echo 0 >{}/cgroup.procs;", delegated.inside().display());
    says(&build(&enter).succeeded(), &["0::/\n"]);
    assert!(left(&delegated.folder).is_empty());
    // From elsewhere nobody may move there, which is known before anything runs.
    let outcome = build("").exited(3);
    says(
        &outcome,
        &[
            "RUN cannot be limited: no cgroup can be made for the step: ",
            "Delegate=yes",
        ],
    );
    assert_eq!(Progress::read(&outcome.stderr).steps().count(), 0);
}
