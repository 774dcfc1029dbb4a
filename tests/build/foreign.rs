//! RUN for other processors: emulated without any set-up of the machine, with the same layers as anywhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::ffi::OsString;
use std::time::{Duration, Instant};

use builder::fsio;
use builder::image::validate_layout;
use builder::oci::Platform;

use crate::support::bases::{self, Base};
use crate::support::layout::{self, digest};
use crate::support::progress::Progress;
use crate::support::{Outcome, TestEnv, require_capability};

/// The processor of the foreign base: as platforms name it, as the kernel does, and the emulator.
fn foreign() -> (&'static str, &'static str, &'static str) {
    match Platform::host().arch.as_str() {
        "arm64" => ("amd64", "x86_64", "qemu-x86_64-static"),
        _ => ("arm64", "aarch64", "qemu-aarch64-static"),
    }
}

/// `build` arguments for a Dockerfile whose bases are `base-ARCH`.
fn arguments(env: &TestEnv, dockerfile: &str, platforms: &str) -> Vec<OsString> {
    env.write("context/Dockerfile", dockerfile);
    let own = Platform::host().arch;
    let mut arguments = Vec::new();
    arguments.extend(bases::build_context(&format!("base-{own}"), Base::Busybox));
    arguments.extend(bases::build_context(
        &format!("base-{}", foreign().0),
        Base::Foreign,
    ));
    arguments.push(format!("--platform={platforms}").into());
    arguments.push("context".into());
    arguments
}

fn build(env: &TestEnv, dockerfile: &str, platforms: &str, output: &str) -> Outcome {
    let mut arguments = arguments(env, dockerfile, platforms);
    arguments.push(format!("-o=type=oci,dest={output},tar=false").into());
    env.build(arguments)
}

fn foreign_platform() -> String {
    format!("linux/{}", foreign().0)
}

#[test]
fn a_step_runs_on_the_other_processor_and_says_so() {
    require_capability!(Root, Overlay, Program("qemu-aarch64-static"), Base(Foreign));
    let env = TestEnv::new();
    // A program learns by which name it was called: busybox does not know this one.
    let dockerfile =
        "ARG TARGETARCH\nFROM base-$TARGETARCH\nRUN uname -m; (exec -a other busybox) || true\n";
    let built = build(&env, dockerfile, &foreign_platform(), "out").succeeded();
    let progress = Progress::read(&built.stderr);
    let output = &progress.step("uname -m").output;
    let (_, kernel, _) = foreign();
    assert!(output.contains(&kernel.to_owned()), "{output:?}");
    assert!(
        output.contains(&"other: applet not found".to_owned()),
        "{output:?}"
    );
    let noted = format!("{} is emulated by ", foreign_platform());
    assert!(built.stderr.contains(&noted), "{}", built.stderr);
    // Nothing of the machine was set up for it.
    let registered = fsio::read_dir_sorted("/proc/sys/fs/binfmt_misc").unwrap_or_default();
    assert!(!registered.iter().any(|name| name == "emulator"));
    let mounts = fsio::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("/emulator"));
}

#[test]
fn users_and_set_user_id_programs_are_as_anywhere() {
    require_capability!(Root, Overlay, Program("qemu-aarch64-static"), Base(Foreign));
    let env = TestEnv::new();
    // Of the applets this one keeps the rights of its file.
    let dockerfile = "\
ARG TARGETARCH
FROM base-$TARGETARCH
RUN cp /bin/busybox /home/crontab && chmod 4755 /home/crontab && mkdir -p -m 700 /var/spool/cron/crontabs
USER 1000:100
RUN echo user $(id -u):$(id -g) && echo '* * * * * kept' | /home/crontab - && /home/crontab -l
RUN ls /var/spool/cron/crontabs 2>/dev/null || echo kept out
";
    let built = build(&env, dockerfile, &foreign_platform(), "out").succeeded();
    let progress = Progress::read(&built.stderr);
    let output = &progress.step("echo user").output;
    assert!(output.contains(&"user 1000:100".to_owned()), "{output:?}");
    assert!(output.contains(&"* * * * * kept".to_owned()), "{output:?}");
    let output = &progress.step("ls /var/spool/cron/crontabs").output;
    assert!(output.contains(&"kept out".to_owned()), "{output:?}");
}

#[test]
fn layers_are_those_of_the_own_processor() {
    require_capability!(Root, Overlay, Program("qemu-aarch64-static"), Base(Foreign));
    let env = TestEnv::new();
    let dockerfile = "\
ARG TARGETARCH
FROM base-$TARGETARCH
RUN mkdir -p /a/b && echo x >/a/b/file && chown 7:8 /a/b/file && chmod 6755 /a/b/file && ln /a/b/file /a/hard \\
 && ln -s b /a/link && mkfifo /a/fifo && chown 1234567:7654321 /a/fifo && rm /etc/group && rmdir /home/builder \\
 && find /a /home -exec touch -h -d @1000000000 {} + && touch -d @1000000000 /etc
";
    let own = Platform::host().to_string();
    let last = |platform: &str, folder: &str| {
        build(&env, dockerfile, platform, folder).succeeded();
        let image = layout::read(&env.path(folder));
        digest(image.layers.last().unwrap().open())
    };
    assert_eq!(last(&own, "own"), last(&foreign_platform(), "foreign"));
}

#[test]
fn several_platforms_share_what_runs_on_the_build_platform() {
    require_capability!(Root, Overlay, Program("qemu-aarch64-static"), Base(Foreign));
    let env = TestEnv::new();
    let dockerfile = "\
ARG TARGETARCH
ARG BUILDARCH
FROM --platform=$BUILDPLATFORM base-$BUILDARCH AS tools
RUN uname -m >/made-on
FROM base-$TARGETARCH
COPY --from=tools /made-on /
RUN uname -m >/runs-on
RUN cat /made-on /runs-on
";
    let own = Platform::host();
    let both = format!("{own},{}", foreign_platform());
    let built = build(&env, dockerfile, &both, "out").succeeded();
    assert_eq!(
        validate_layout(&env.path("out")).expect("a valid layout"),
        2
    );
    let progress = Progress::read(&built.stderr);
    let made_on = progress
        .steps()
        .filter(|step| step.name.ends_with("uname -m >/made-on"));
    assert_eq!(made_on.count(), 1);
    let (_, kernel, _) = foreign();
    let machine = rustix::system::uname();
    let machine = machine.machine().to_str().unwrap();
    let mut outputs: Vec<_> = progress
        .steps()
        .filter(|step| step.name.ends_with("cat /made-on /runs-on"))
        .map(|step| {
            let said = |line: &&String| *line == machine || *line == kernel;
            step.output.iter().filter(said).cloned().collect::<Vec<_>>()
        })
        .collect();
    outputs.sort();
    let mut expected = [[machine, machine], [machine, kernel]];
    expected.sort_unstable();
    assert_eq!(outputs, expected);
}

#[test]
fn without_an_emulator_the_step_is_refused_with_what_to_install() {
    require_capability!(Root, Overlay, NothingRegistered, Base(Foreign));
    let env = TestEnv::new();
    let dockerfile = "ARG TARGETARCH\nFROM base-$TARGETARCH\nRUN uname -m\n";
    let arguments = arguments(&env, dockerfile, &foreign_platform());
    let mut command = env.command("build", ["--progress", "plain"]);
    command.args(arguments).env("PATH", env.path("home"));
    let refused = crate::support::process::run(&mut command).exited(3);
    let message = format!(
        "a RUN for {} on {}: no emulator",
        foreign_platform(),
        Platform::host()
    );
    for words in [
        message.as_str(),
        "Dockerfile:3",
        "`qemu-user-static`",
        foreign().2,
    ] {
        assert!(
            refused.stderr.contains(words),
            "{words}: {}",
            refused.stderr
        );
    }
}

#[test]
fn a_killed_build_leaves_no_emulator_behind() {
    require_capability!(Root, Overlay, Program("qemu-aarch64-static"), Base(Foreign));
    let env = TestEnv::new();
    let mark = format!("{}", 100_000 + std::process::id());
    let dockerfile =
        format!("ARG TARGETARCH\nFROM base-$TARGETARCH\nRUN sleep {mark} & sleep {mark}\n");
    let arguments = arguments(&env, &dockerfile, &foreign_platform());
    let mut command = env.command("build", arguments);
    command.stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_for("both sleep", || emulated(&mark) >= 2);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("none is left", || emulated(&mark) == 0);
}

/// Processes that an emulator runs with this word at the end of their command lines.
fn emulated(mark: &str) -> usize {
    let end = format!("sleep\0{mark}\0");
    let processes = fsio::read_dir_sorted("/proc").unwrap();
    let lines = processes.iter().filter_map(|name| {
        let path = std::path::Path::new("/proc").join(name).join("cmdline");
        fsio::read(path).ok()
    });
    lines.filter(|line| line.ends_with(end.as_bytes())).count()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
