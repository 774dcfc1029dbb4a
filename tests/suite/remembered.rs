//! Bases without a network: what registries said before, and builds that must not ask. The registry is a mirror on loopback,
//! since one that is on this machine itself is asked each time.

use crate::support::registry::{Effect, FakeImage, FakeRegistry};
use crate::support::{Outcome, TestEnv, process};

/// A registry and a place to build on top of what it has.
struct Place {
    env: TestEnv,
    registry: FakeRegistry,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            env: TestEnv::new(),
            registry: FakeRegistry::start(),
        };
        place.put("library/base:1", b"one");
        place.from("base:1");
        place
    }

    fn put(&self, name: &str, layer: &[u8]) -> builder::oci::Digest {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(layer.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "file", layer).unwrap();
        let layer = tar.into_inner().unwrap();
        let platform = builder::oci::Platform::host().to_string();
        self.registry
            .put_image(name, &FakeImage::new(&platform, &[&layer]))
    }

    fn from(&self, name: &str) {
        let dockerfile = format!("FROM {name}\nCOPY Dockerfile /\n");
        self.env.write("context/Dockerfile", dockerfile);
    }

    /// Builds, and says what the registry was asked.
    fn build(&self, arguments: &[&str]) -> (Outcome, Vec<String>) {
        self.registry.clear_log();
        let mut command = self
            .env
            .command("build", ["--progress", "plain", "context"]);
        command.args(arguments).env(
            "BUILDER_MIRRORS",
            format!("docker.io=http://{}", self.registry.host()),
        );
        let outcome = process::run(&mut command);
        (outcome, self.registry.requests())
    }
}

/// What the line of work about the base says.
fn remark(outcome: &Outcome) -> Option<&str> {
    let lines = outcome.stderr.lines();
    let mut told = lines.filter_map(|line| line.strip_prefix("#2 sha256:"));
    told.next()
}

#[test]
fn a_build_that_changes_nothing_asks_nobody() {
    let place = Place::new();
    let (first, asked) = place.build(&[]);
    assert_eq!(remark(&first.succeeded()), None);
    assert!(
        asked.iter().any(|line| line.contains("/manifests/1")),
        "{asked:?}"
    );
    let (second, asked) = place.build(&[]);
    let second = second.succeeded();
    assert_eq!(asked, [""; 0]);
    assert!(
        remark(&second).unwrap().contains("… asked "),
        "{}",
        second.stderr
    );
    // One short question where the answer is to be new.
    for arguments in [
        ["--pull"].as_slice(),
        &["--tag-age", "0"],
        &["--tag-age=0s"],
    ] {
        let (outcome, asked) = place.build(arguments);
        assert_eq!(remark(&outcome.succeeded()), None, "{arguments:?}");
        let asked: Vec<_> = asked
            .iter()
            .filter(|line| !line.contains("/v2/ "))
            .collect();
        assert_eq!(
            asked,
            ["HEAD /v2/library/base/manifests/1 200"],
            "{arguments:?}"
        );
    }
}

#[test]
fn a_base_that_moved_is_seen_by_the_next_question() {
    let place = Place::new();
    place.build(&[]).0.succeeded();
    place.put("library/base:1", b"two");
    let (still, _) = place.build(&[]);
    let still = still.succeeded().stderr;
    assert!(!still.contains("moved"), "{still}");
    let (moved, asked) = place.build(&["--pull"]);
    let moved = moved.succeeded().stderr;
    assert!(moved.contains("#2 moved: sha256:"), "{moved}");
    assert!(
        asked
            .iter()
            .any(|line| line.contains("GET") && line.contains("/manifests/1")),
        "{asked:?}"
    );
    // And the question counts for the builds after it.
    let (after, asked) = place.build(&[]);
    assert!(after.succeeded().stderr.contains("asked "));
    assert_eq!(asked, [""; 0]);
}

#[test]
fn a_digest_never_ages() {
    let place = Place::new();
    let digest = place.put("library/base:2", b"two");
    place.from(&format!("base@{digest}"));
    place.build(&[]).0.succeeded();
    let (outcome, asked) = place.build(&["--pull", "--tag-age", "0"]);
    assert_eq!(remark(&outcome.succeeded()), None);
    assert_eq!(asked, [""; 0]);
}

#[test]
fn a_registry_on_this_machine_is_asked_each_time() {
    let place = Place::new();
    place.from(&place.registry.reference("library/base:1").to_string());
    place.build(&[]).0.succeeded();
    assert_ne!(place.build(&[]).1, [""; 0]);
    place.put("library/base:1", b"two");
    let (moved, _) = place.build(&[]);
    assert!(moved.succeeded().stderr.contains("#2 moved: "));

    // Where it does not answer, what is known is named with the ways to use it.
    let Place { env, registry } = place;
    drop(registry);
    let outcome = env.build(["context"]).exited(3);
    for words in [
        "connection refused",
        "the store knows sha256:",
        "… asked ",
        "`--offline`",
    ] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    env.build(["context", "--offline"]).succeeded();
}

#[test]
fn damage_is_a_question() {
    let place = Place::new();
    place.build(&[]).0.succeeded();
    let store = place.env.root().join("v1");
    let records = builder::fsio::read_dir_sorted(store.join("resolved")).unwrap();
    assert_eq!(records.len(), 1);
    let record = store.join("resolved").join(&records[0]);
    let config = place.registry.manifest("library/base", "1").unwrap().1;
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let config = config["config"]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    for path in [record, store.join("blobs/sha256").join(config)] {
        builder::fsio::rewrite(&path, b"damaged").unwrap();
        assert_ne!(place.build(&[]).1, [""; 0], "{}", path.display());
        assert_eq!(place.build(&[]).1, [""; 0], "{}", path.display());
    }
}

#[test]
fn offline_nothing_is_asked_and_what_is_missing_is_named() {
    let place = Place::new();
    let (cold, asked) = place.build(&["--offline"]);
    let cold = cold.exited(3).stderr;
    assert_eq!(asked, [""; 0]);
    for words in [
        "cannot resolve `base:1`: not on this machine",
        "run once without `--offline`",
        "Dockerfile:1",
    ] {
        assert!(cold.contains(words), "{cold}");
    }
    place
        .build(&["--output", "type=oci,dest=out.tar"])
        .0
        .succeeded();
    let (warm, asked) = place.build(&["--offline", "--tag-age", "0", "--pull", "--no-cache"]);
    assert!(remark(&warm.succeeded()).unwrap().contains("asked "));
    assert_eq!(asked, [""; 0]);
    // A platform that nobody asked for is not known, even if the image would have it.
    let (other, asked) = place.build(&["--offline", "--platform", "linux/s390x"]);
    assert!(other.exited(3).stderr.contains("not on this machine"));
    assert_eq!(asked, [""; 0]);
}

#[test]
fn offline_a_layer_that_is_not_here_is_named() {
    let place = Place::new();
    place.build(&["--check"]).0.succeeded();
    let store = place.env.root().join("v1");
    assert!(!store.exists(), "a check makes no store");
    // Only the manifest and the config are here after a plan.
    place.build(&["--print", "plan"]).0.succeeded();
    let (outcome, asked) = place.build(&["--offline", "--output", "type=oci,dest=out.tar"]);
    let outcome = outcome.exited(3).stderr;
    assert_eq!(asked, [""; 0]);
    for words in [
        "blob sha256:",
        "`docker.io/library/base` is not on this machine",
        "run once without",
    ] {
        assert!(outcome.contains(words), "{outcome}");
    }
}

#[test]
fn offline_is_refused_for_what_goes_elsewhere() {
    let place = Place::new();
    for arguments in [
        ["--offline", "--push", "-t", "a.example/b"].as_slice(),
        &[
            "--offline",
            "--output",
            "type=image,push=true,name=a.example/b",
        ],
        &["--offline", "--cache-from", "a.example/b"],
        &["--offline", "--cache-to", "type=s3,bucket=b,region=r"],
        &[
            "--offline",
            "--cache-mounts",
            "type=registry,ref=a.example/b",
        ],
    ] {
        let outcome = place.build(arguments).0.exited(2);
        assert!(outcome.stderr.contains("(--offline)"), "{}", outcome.stderr);
    }
    let mut command = place.env.command("save", ["a.example/b", "--push"]);
    let outcome = process::run(command.env("BUILDER_OFFLINE", "1")).exited(2);
    assert!(
        outcome.stderr.contains("(BUILDER_OFFLINE)"),
        "{}",
        outcome.stderr
    );
    // A flag goes before the variable.
    let mut command = place
        .env
        .command("build", ["--offline=false", "--check", "context"]);
    command.env("BUILDER_OFFLINE", "1").env(
        "BUILDER_MIRRORS",
        format!("docker.io=http://{}", place.registry.host()),
    );
    process::run(&mut command).succeeded();
    assert_ne!(place.registry.requests(), [""; 0]);
}

#[test]
fn a_mirror_in_trouble_is_warned_of_once() {
    let place = Place::new();
    let broken = FakeRegistry::start();
    broken.fault("/", 100, Effect::Status(500, Vec::new(), String::new()));
    let mirrors = format!(
        "docker.io=http://{} docker.io=http://{}",
        broken.host(),
        place.registry.host()
    );
    let mut command = place
        .env
        .command("build", ["--progress", "plain", "context"]);
    let outcome = process::run(command.env("BUILDER_MIRRORS", mirrors)).succeeded();
    let warning = format!(
        "warning: the mirror `{}` of `docker.io` is not used",
        broken.host()
    );
    assert_eq!(
        outcome.stderr.matches(&warning).count(),
        1,
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_layer_that_is_wrong_at_a_mirror_comes_from_the_registry() {
    let place = Place::new();
    let mirror = FakeRegistry::start();
    let digest = place.put("library/base:1", b"a layer");
    let layer = {
        let manifest = place.registry.manifest("library/base", "1").unwrap().1;
        assert_eq!(builder::oci::Digest::of(&manifest), digest);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
    };
    let (kind, manifest) = place.registry.manifest("library/base", "1").unwrap();
    mirror.put_manifest("library/base:1", &kind, &manifest);
    let document: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    for blob in [
        &document["config"]["digest"],
        &document["layers"][0]["digest"],
    ] {
        let blob = blob.as_str().unwrap().parse().unwrap();
        let bytes = place.registry.blob("library/base", blob).unwrap();
        mirror.put_blob("library/base", &bytes);
    }
    mirror.fault(&layer, 9, Effect::OtherBytes);
    let mirrors = format!(
        "docker.io=http://{} docker.io=http://{}",
        mirror.host(),
        place.registry.host()
    );
    let mut command = place
        .env
        .command("build", ["--progress", "plain", "context"]);
    command.args(["--output", "type=oci,dest=out.tar"]);
    let outcome = process::run(command.env("BUILDER_MIRRORS", mirrors)).succeeded();
    assert_eq!(mirror.count(&layer), 1);
    assert_eq!(place.registry.count(&layer), 1);
    let warning = format!("the mirror `{}` of `docker.io` is not used", mirror.host());
    assert!(outcome.stderr.contains(&warning), "{}", outcome.stderr);
}

#[test]
fn a_filter_that_no_stage_has_is_warned_of() {
    let place = Place::new();
    place.env.write(
        "context/Dockerfile",
        "FROM scratch AS build\nCOPY Dockerfile /\n",
    );
    let (outcome, _) = place.build(&["--no-cache-filter", "biuld,build,stage-7"]);
    let told = outcome.succeeded().stderr;
    let expected =
        "warning: --no-cache-filter: there is no stage `biuld` (did you mean the stage `build`?)";
    assert!(told.contains(expected), "{told}");
    assert!(told.contains("there is no stage `stage-7`\n"), "{told}");
    assert!(!told.contains("no stage `build`"), "{told}");
}
