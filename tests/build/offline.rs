//! `--offline` as the kernel sees it: no socket of the network is used, and steps have none to use.

use std::path::Path;

use builder::fsio;

use crate::support::bases::{self, Base};
use crate::support::progress::Progress;
use crate::support::registry::{FakeImage, FakeRegistry};
use crate::support::{Outcome, TestEnv, process, require_capability};

/// Builds under `strace`, and says what was asked of the network: lines of calls.
fn traced(env: &TestEnv, arguments: &[&str], mirror: &str) -> (Outcome, Vec<String>) {
    let log = env.path("trace");
    let mut command = env.tool("strace");
    command
        .args(["-f", "-qq", "-e", "trace=connect,sendto,sendmsg,bind", "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_builder"))
        .args(["build", "--progress", "plain", "--root"])
        .arg(env.root())
        .args(arguments)
        .arg("context")
        .env("BUILDER_MIRRORS", format!("docker.io=http://{mirror}"))
        .current_dir(env.path(""));
    let outcome = process::run(&mut command);
    let text = fsio::read_to_string(&log).expect("a log");
    let network = text.lines().filter(|line| line.contains("AF_INET"));
    (outcome, network.map(str::to_owned).collect())
}

/// An image with busybox at the registry that stands in for Docker Hub.
fn registry() -> FakeRegistry {
    let registry = FakeRegistry::start();
    let busybox = crate::support::layout::read(Path::new(&bases::layout(Base::Busybox)));
    let layers: Vec<Vec<u8>> = busybox
        .layers
        .iter()
        .map(|layer| {
            let mut tar = Vec::new();
            std::io::Read::read_to_end(&mut layer.open(), &mut tar).expect("a layer");
            tar
        })
        .collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let platform = builder::oci::Platform::host().to_string();
    registry.put_image("library/base:1", &FakeImage::new(&platform, &layers));
    registry
}

#[test]
fn nothing_of_the_network_is_touched() {
    require_capability!(Root, Overlay, Base(Busybox), Program("strace"));
    let (env, registry) = (TestEnv::new(), registry());
    let addresses = "RUN cat /proc/net/dev >/interfaces; echo looked";
    env.write("context/Dockerfile", format!("FROM base:1\n{addresses}\n"));

    let (cold, network) = traced(&env, &["--offline"], registry.host());
    let cold = cold.exited(3);
    assert_eq!(network, [""; 0], "{}", cold.stderr);
    assert!(
        cold.stderr.contains("cannot resolve `base:1`"),
        "{}",
        cold.stderr
    );

    // That the trace would show it.
    let (online, network) = traced(&env, &[], registry.host());
    online.succeeded();
    assert_ne!(network, [""; 0]);

    let (warm, network) = traced(&env, &["--offline", "--tag-age=0"], registry.host());
    Progress::read(&warm.succeeded().stderr).all_cached(1);
    assert_eq!(network, [""; 0]);
    let (ran, network) = traced(&env, &["--offline", "--no-cache"], registry.host());
    let ran = ran.succeeded();
    assert_eq!(network, [""; 0], "{}", ran.stderr);
    assert!(
        ran.stderr.contains("without the network: --offline"),
        "{}",
        ran.stderr
    );
}

#[test]
fn steps_have_their_loopback_and_the_keys_they_always_had() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let build = |text: &str, arguments: &[&str]| {
        env.write("context/Dockerfile", format!("FROM base\n{text}\n"));
        let mut all: Vec<_> = bases::build_context("base", Base::Busybox).into();
        all.extend(arguments.iter().map(Into::into));
        all.push("context".into());
        env.build(all)
    };
    let interfaces = "RUN ip -o link | sed 's/^[0-9]*: \\([^:@]*\\).*/interface \\1/'";
    let outcome = build(interfaces, &["--offline"]).succeeded();
    let progress = Progress::read(&outcome.stderr);
    assert_eq!(progress.step("RUN").output, ["interface lo"]);
    // What was made offline is what is made online, and the other way round.
    Progress::read(&build(interfaces, &[]).succeeded().stderr).all_cached(1);
    build("RUN echo other", &[]).succeeded();
    let cached = build("RUN echo other", &["--offline"]).succeeded();
    Progress::read(&cached.stderr).all_cached(1);
    assert!(
        !cached.stderr.contains("without the network"),
        "{}",
        cached.stderr
    );
    let allowed = ["--offline", "--allow=network.host", "--network=host"];
    let host = interfaces.replace("RUN", "RUN --network=host");
    let outcome = build(&host, &allowed).succeeded();
    let progress = Progress::read(&outcome.stderr);
    assert_eq!(progress.step("RUN").output, ["interface lo"]);
}
