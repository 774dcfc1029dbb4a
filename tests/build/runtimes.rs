//! RUN through a container runtime of the machine: the same layers, and the same care.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::ffi::OsString;
use std::process::Stdio;

use crate::sandbox::ending::{eventually, processes_with};
use crate::support::bases::{self, Base};
use crate::support::lodger::Lodger;
use crate::support::progress::Progress;
use crate::support::rung_cases::{RUNG_CASES, layers_of};
use crate::support::{Outcome, TestEnv, require_capability};

/// The cases that a runtime is given: without devices and file systems that differ in kind.
const CASES: [&str; 5] = ["owners", "users", "deletes", "stages", "caches"];

fn flags(runtime: &str) -> [OsString; 2] {
    ["--runtime".into(), runtime.into()]
}

#[test]
fn runc_makes_the_layers_that_builder_makes() {
    require_capability!(Root, Overlay, Program("runc"), Base(Busybox));
    same_layers("runc");
}

#[test]
fn crun_makes_the_layers_that_builder_makes() {
    require_capability!(Root, Overlay, Program("crun"), Base(Busybox));
    same_layers("crun");
}

fn same_layers(runtime: &str) {
    for case in RUNG_CASES.iter().filter(|case| CASES.contains(&case.name)) {
        let env = TestEnv::new();
        let folder = env.path("case");
        case.copy_to(&folder);
        let (own, by_runtime) = (env.path("own"), env.path("by-runtime"));
        env.build(case.arguments(&folder, &own)).succeeded();
        let mut arguments = case.arguments(&folder, &by_runtime);
        arguments.extend(flags(runtime));
        arguments.push("--no-cache".into());
        env.build(arguments).succeeded();
        assert_eq!(layers_of(&by_runtime), layers_of(&own), "{}", case.name);
    }
}

fn build(env: &TestEnv, runtime: &str, dockerfile: &str, more: &[&str]) -> Outcome {
    env.write("context/Dockerfile", dockerfile);
    let mut arguments = bases::build_context("base", Base::Busybox).to_vec();
    arguments.extend(flags(runtime));
    arguments.extend(more.iter().map(OsString::from));
    arguments.push("context".into());
    env.build(arguments)
}

#[test]
fn a_step_of_a_runtime_is_confined_and_its_secrets_stay_in_memory() {
    require_capability!(
        Root,
        Overlay,
        Program("runc"),
        Program("crun"),
        Base(Busybox)
    );
    for runtime in ["runc", "crun"] {
        let env = TestEnv::new();
        env.write("token", "hush-5519");
        let dockerfile = "\
FROM base
RUN --mount=type=secret,id=t,env=TOKEN echo $(hostname) $TOKEN $(awk '/^(Seccomp|NoNewPrivs):/ { print $2 }' /proc/self/status)
RUN mkdir m; ! unshare -U true && ! mount -t tmpfs none m && ! (echo x >/proc/sys/kernel/hostname)
RUN --network=none ! ping -c1 -W1 192.0.2.1 && ls /sys/class/net
USER 1000:100
RUN id -u; ! cat /etc/shadow; exit 7
";
        let flags = ["--secret", "id=t,src=token"];
        let failed = build(&env, runtime, dockerfile, &flags).exited(1);
        let progress = Progress::read(&failed.stderr);
        let said = |step: &str| progress.step(step).output.join("|");
        assert_eq!(said("echo $(hostname)"), "buildkitsandbox hush-5519 0 2");
        assert!(said("--network=none").ends_with("lo"), "{}", failed.stderr);
        assert!(said("id -u").starts_with("1000"), "{}", failed.stderr);
        assert!(failed.stderr.contains("exit code: 7"), "{}", failed.stderr);
        let found = std::process::Command::new("grep")
            .args(["-rl", "hush-5519"])
            .arg(env.root())
            .output();
        assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
    }
}

#[test]
fn no_runtime_opens_a_device_that_an_image_brings() {
    require_capability!(
        Root,
        Overlay,
        Program("runc"),
        Program("crun"),
        Base(Busybox)
    );
    // As good as a disk: what is read from it is zeros.
    let with_device = "FROM base\nRUN --security=insecure mknod -m 666 /zero c 1 5\n";
    let opened = format!("{with_device}RUN head -c 4 /zero | wc -c\n");
    let build_by = |runtime| {
        let env = TestEnv::new();
        env.write("context/Dockerfile", with_device);
        let mut arguments = bases::build_context("base", Base::Busybox).to_vec();
        arguments.extend(["--allow", "security.insecure", "context"].map(OsString::from));
        env.build(arguments).succeeded();
        // The device comes from the cache here, as it would with an image.
        build(&env, runtime, &opened, &["--allow", "security.insecure"])
    };
    let refused = build_by("crun").exited(3);
    let words = "`a RUN on an image with devices` is not done through another runtime";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    let denied = build_by("runc").succeeded();
    let text = &denied.stderr;
    assert!(
        text.contains("/zero: Permission denied") || text.contains("'/zero': Permission denied"),
        "{text}"
    );
}

#[test]
fn limits_hold_for_a_step_of_a_runtime() {
    require_capability!(Root, Overlay, Program("runc"), Base(Busybox));
    let env = TestEnv::new();
    let dockerfile = "FROM base\nRUN head -c 64m /dev/zero | tail -n 1 >/dev/null\n";
    let failed = build(&env, "runc", dockerfile, &["--memory", "24m"]).exited(1);
    assert!(failed.stderr.contains("out of memory"), "{}", failed.stderr);
    let slow = "FROM base\nRUN sleep 600\n";
    let stopped = build(&env, "runc", slow, &["--timeout", "1s"]).exited(1);
    assert!(stopped.stderr.contains("time limit"), "{}", stopped.stderr);
}

#[test]
fn a_killed_build_leaves_nothing_of_its_runtime() {
    require_capability!(
        Root,
        Overlay,
        Program("runc"),
        Program("crun"),
        Base(Busybox)
    );
    const MARK: &str = "86421";
    for runtime in ["runc", "crun"] {
        let env = TestEnv::new();
        env.write(
            "context/Dockerfile",
            format!("FROM base\nRUN sleep {MARK} & sleep {MARK}\n"),
        );
        let mut command = env.command("build", flags(runtime));
        command
            .args(bases::build_context("base", Base::Busybox))
            .arg("context");
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut builder = command.spawn().unwrap();
        eventually("the step runs", || processes_with(MARK) == 2);
        builder.kill().unwrap();
        builder.wait().unwrap();
        eventually("nothing is left", || processes_with(MARK) == 0);
        let mounts = builder::fsio::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(env.root().to_str().unwrap()), "{mounts}");
    }
}

#[test]
fn a_user_without_root_can_have_a_runtime_too() {
    require_capability!(
        Root,
        Overlay,
        UserNamespaces,
        Program("newuidmap"),
        Program("crun"),
        Base(Busybox)
    );
    let lodger = Lodger::with_ids();
    let case = RUNG_CASES
        .iter()
        .find(|case| case.name == "owners")
        .unwrap();
    let folder = lodger.path(case.name);
    case.copy_to(&folder);
    let env = TestEnv::new();
    let by_root = env.path("by-root");
    env.build(case.arguments(&folder, &by_root)).succeeded();
    let by_user = lodger.path("home").join("image");
    let mut arguments = case.arguments(&folder, &by_user);
    arguments.extend(flags("crun"));
    lodger.build(arguments).succeeded();
    assert_eq!(layers_of(&by_user), layers_of(&by_root));
}

#[test]
fn a_runtime_that_is_not_there_is_named() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    let refused = build(&env, "no-such-runtime", "FROM base\n", &[]).exited(3);
    let words = "--runtime: `no-such-runtime` is not installed";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
}
