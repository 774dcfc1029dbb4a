//! Caches outside this machine: what one store built is found by another, and nothing moves that nobody needs.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use crate::support::bases::{self, Base};
use crate::support::docker_registry::DockerRegistry;
use crate::support::layout::{self, Image};
use crate::support::progress::Progress;
use crate::support::registry::{Effect, FakeRegistry};
use crate::support::{Outcome, TestEnv, process, require_capability};

const DOCKERFILE: &str = "\
FROM base AS tools
RUN echo tool >/tool && head -c 300000 /dev/urandom >/ballast
FROM base
COPY --from=tools /tool /tool
RUN cat /tool >/used && head -c 200000 /dev/urandom >/more
COPY last.txt /
RUN cat /last.txt >/end
";

/// Some stores, one context.
struct Project {
    source: TestEnv,
}

impl Project {
    fn new() -> Self {
        let source = TestEnv::new();
        source.write("context/Dockerfile", DOCKERFILE);
        source.write("context/last.txt", "last\n");
        Self { source }
    }

    /// Builds in the store of `env`.
    fn run(&self, env: &TestEnv, more: &[&str]) -> Outcome {
        let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
        arguments.extend(more.iter().map(OsString::from));
        arguments.push(self.source.path("context").into());
        env.build(arguments)
    }

    #[track_caller]
    fn build(&self, env: &TestEnv, more: &[&str]) -> (Progress, String) {
        let outcome = self.run(env, more).succeeded();
        (Progress::read(&outcome.stderr), outcome.stderr)
    }

    /// The image that the store of `env` makes of it.
    #[track_caller]
    fn image(&self, env: &TestEnv, more: &[&str]) -> (Progress, Image) {
        let output = format!("type=oci,dest={},tar=false", env.path("image").display());
        let (progress, _) = self.build(env, &[&["-o", &output], more].concat());
        (progress, layout::read(&env.path("image")))
    }
}

fn blob_requests(registry: &FakeRegistry) -> Vec<String> {
    let requests = registry.requests().into_iter();
    requests
        .filter(|line| line.starts_with("GET") && line.contains("/blobs/"))
        .collect()
}

#[test]
fn a_full_cache_answers_an_empty_store_and_only_its_document_is_read() {
    require_capability!(Root, Overlay, Base(Busybox));
    let (project, registry) = (Project::new(), FakeRegistry::start());
    let place = format!("{}/app:cache", registry.host());
    let to = format!("type=registry,ref={place},mode=max");
    let first = TestEnv::new();
    let (_, image) = project.image(&first, &["--cache-to", &to]);
    registry.clear_log();

    // Nothing runs, nothing but the document is fetched.
    let second = TestEnv::new();
    let (progress, stderr) = project.build(&second, &["--cache-from", &place]);
    progress.all_cached(5);
    assert!(stderr.contains("importing cache manifest from"), "{stderr}");
    assert_eq!(
        blob_requests(&registry).len(),
        1,
        "{:?}",
        registry.requests()
    );
    // Another build of the same store knows the document already.
    registry.clear_log();
    project
        .build(&second, &["--cache-from", &place])
        .0
        .all_cached(5);
    assert_eq!(registry.requests().len(), 1, "{:?}", registry.requests());

    // Beforehand it can be seen, too.
    let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    arguments.extend(["--cache-from", &place].map(OsString::from));
    arguments.push(project.source.path("context").into());
    let planned = TestEnv::new().builder("plan", arguments).succeeded().stdout;
    assert_eq!(
        planned.matches("in an imported cache").count(),
        5,
        "{planned}"
    );

    // The last file changes: the layers below are needed, that of the other stage is not.
    registry.clear_log();
    project.source.write("context/last.txt", "changed\n");
    let (progress, _) = project.build(&second, &["--cache-from", &place]);
    assert_eq!(
        progress.ran(),
        ["COPY last.txt /", "RUN cat /last.txt >/end"]
    );
    assert_eq!(
        blob_requests(&registry).len(),
        2,
        "{:?}",
        registry.requests()
    );
    // What was fetched is found without the cache.
    let (progress, _) = project.build(&second, &[]);
    let ran = progress.ran();
    assert!(
        !ran.contains(&"RUN cat /tool >/used && head -c 200000 /dev/urandom >/more"),
        "{ran:?}"
    );

    // And the image is the same as without a cache.
    project.source.write("context/last.txt", "last\n");
    let third = TestEnv::new();
    let (progress, imported) = project.image(&third, &["--cache-from", &place]);
    progress.all_cached(5);
    assert_eq!(imported.digest, image.digest);
    // In the other compression it has to be made anew, and still is the same image.
    let zstd = format!(
        "type=oci,dest={},tar=false,compression=zstd",
        third.path("zstd").display()
    );
    project
        .build(&third, &["--cache-from", &place, "-o", &zstd])
        .0
        .all_cached(5);
    let zstd = format!(
        "type=oci,dest={},tar=false,compression=zstd",
        first.path("zstd").display()
    );
    project.build(&first, &["-o", &zstd]).0.all_cached(5);
    let digest = |env: &TestEnv| layout::read(&env.path("zstd")).digest;
    assert_eq!(digest(&third), digest(&first));
}

#[test]
fn a_cache_that_is_imported_and_exported_stays_as_it_is() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    let folder = project.source.path("cache");
    let to = format!("type=local,dest={},mode=max", folder.display());
    let from = format!("type=local,src={}", folder.display());
    let index = || {
        let index = builder::fsio::read(folder.join("index.json")).expect("an index");
        serde_json::from_slice::<Value>(&index).expect("JSON")["manifests"][0]["digest"].clone()
    };
    let first = TestEnv::new();
    let (_, stderr) = project.build(&first, &["--cache-to", &to]);
    assert!(stderr.contains("5 records, 5 blobs sent"), "{stderr}");
    let digest = index();
    for env in [&first, &TestEnv::new(), &TestEnv::new()] {
        let (progress, stderr) = project.build(env, &["--cache-from", &from, "--cache-to", &to]);
        progress.all_cached(5);
        assert!(stderr.contains("5 records, all there already"), "{stderr}");
        assert_eq!(index(), digest);
    }
    // Elsewhere it is the same document, with the blobs copied from here.
    let other = project.source.path("other");
    let to = format!("type=local,dest={},mode=max", other.display());
    let (_, stderr) = project.build(&TestEnv::new(), &["--cache-from", &from, "--cache-to", &to]);
    assert!(stderr.contains("5 records, 5 blobs sent"), "{stderr}");
    let tree = |folder: &Path| builder::fsio::read_dir_sorted(folder.join("blobs/sha256")).unwrap();
    assert_eq!(tree(&other), tree(&folder));
}

#[test]
fn a_small_cache_has_the_steps_of_the_image_and_shares_its_blobs() {
    require_capability!(Root, Overlay, Base(Busybox));
    let (project, registry) = (Project::new(), FakeRegistry::start());
    let name = format!("{}/app:1", registry.host());
    let to = format!("type=registry,ref={}/app:cache", registry.host());
    let (_, stderr) = project.build(&TestEnv::new(), &["-t", &name, "--push", "--cache-to", &to]);
    assert!(
        stderr.contains("4 records, 0 blobs sent (0 B), 4 were there"),
        "{stderr}"
    );
    let empty = TestEnv::new();
    let (progress, _) = project.build(
        &empty,
        &["--cache-from", &format!("{}/app:cache", registry.host())],
    );
    // The stage that only lends files is not in it; what it makes is not known without running it.
    assert!(
        progress.ran()[0].starts_with("RUN echo tool"),
        "{:?}",
        progress.ran()
    );
}

#[test]
fn a_blob_that_is_gone_or_is_another_layer_makes_its_step_run() {
    require_capability!(Root, Overlay, Base(Busybox));
    let (project, registry) = (Project::new(), FakeRegistry::start());
    let place = format!("{}/app:cache", registry.host());
    let to = format!("type=registry,ref={place},mode=max");
    project.build(&TestEnv::new(), &["--cache-to", &to]);
    let (_, manifest) = registry.manifest("app", "cache").expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let largest = manifest["layers"].as_array().expect("layers");
    let largest = largest
        .iter()
        .max_by_key(|layer| layer["size"].as_u64())
        .expect("a layer");
    let digest = largest["digest"].as_str().expect("a digest");

    // The image needs every layer of the final stage; that one cannot be read.
    registry.fault(
        &format!("/blobs/{digest}"),
        100,
        Effect::Status(404, Vec::new(), String::new()),
    );
    let second = TestEnv::new();
    project.source.write(
        "context/Dockerfile",
        DOCKERFILE.replace(
            "/tool\nRUN cat /tool",
            "/tool\nCOPY --from=tools /ballast /\nRUN cat /tool",
        ),
    );
    let outcome = project.run(&second, &["--cache-from", &place]).succeeded();
    assert!(outcome.stderr.contains("is not used"), "{}", outcome.stderr);
    assert!(
        Progress::read(&outcome.stderr)
            .ran()
            .iter()
            .any(|step| step.starts_with("RUN echo tool"))
    );

    // A hostile cache: the right digest of another layer.
    let (_, bytes) = registry.manifest("app", "cache").expect("a manifest");
    let mut manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
    let smallest = manifest["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .min_by_key(|l| l["size"].as_u64())
        .cloned()
        .expect("a layer");
    for layer in manifest["layers"].as_array_mut().expect("layers") {
        *layer = smallest.clone();
    }
    let bytes = serde_json::to_vec(&manifest).expect("JSON");
    registry.put_manifest(
        "app:hostile",
        "application/vnd.oci.image.manifest.v1+json",
        &bytes,
    );
    project.source.write("context/Dockerfile", DOCKERFILE);
    project.source.write("context/last.txt", "more\n");
    let hostile = format!("{}/app:hostile", registry.host());
    let outcome = project
        .run(&TestEnv::new(), &["--cache-from", &hostile])
        .succeeded();
    assert!(
        outcome.stderr.contains("its content is another one"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_cache_that_is_not_there_is_a_warning_unless_asked_otherwise() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    let env = TestEnv::new();
    let nowhere = "type=local,src=/nowhere/at/all";
    // Somebody's file is in the way.
    let blocked = project.source.write("file", "x");
    let to = format!("type=local,dest={}/cache", blocked.display());
    let (_, stderr) = project.build(&env, &["--cache-from", nowhere, "--cache-to", &to]);
    assert!(
        stderr.contains("there is no cache at /nowhere/at/all yet"),
        "{stderr}"
    );
    assert!(stderr.contains("was not written"), "{stderr}");
    let asked = format!("{to},ignore-error=false");
    let refused = project.run(&env, &["--cache-to", &asked]).exited(3);
    assert!(
        refused.stderr.contains("cannot write the cache"),
        "{}",
        refused.stderr
    );
    let unknown = project.run(&env, &["--cache-to", "type=gha"]).exited(2);
    assert!(
        unknown
            .stderr
            .contains("expected inline, local, registry or s3"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn an_image_carries_its_own_cache() {
    require_capability!(Root, Overlay, Base(Busybox), Program("docker-registry"));
    let (project, registry) = (Project::new(), DockerRegistry::start());
    let name = format!("{}/app:1", registry.address());
    let arguments = ["-t", &name, "--push", "--cache-to", "type=inline"];
    let first = TestEnv::new();
    let (_, image) = project.image(&first, &arguments);
    assert!(image.config.get("builder.cache.v1").is_some());
    // Once more the same image: nothing in it tells of this run.
    assert_eq!(project.image(&first, &arguments).1.digest, image.digest);
    let (progress, imported) = project.image(
        &TestEnv::new(),
        &["--cache-from", &name, "--cache-to", "type=inline"],
    );
    let ran = progress.ran();
    // The other stage is not in the image, but it makes the same, so the steps after it are found.
    assert!(
        ran.iter().all(|step| step.starts_with("RUN echo tool")),
        "{ran:?}"
    );
    assert_eq!(imported.layers.len(), image.layers.len());
    // What is built upon it does not claim its records.
    let next = TestEnv::new();
    next.write("next/Dockerfile", format!("FROM {name}\nLABEL next=1\n"));
    next.build(["-o", "type=oci,dest=out,tar=false", "next"])
        .succeeded();
    assert!(
        layout::read(&next.path("out"))
            .config
            .get("builder.cache.v1")
            .is_none()
    );
}

#[test]
fn platforms_of_one_build_share_a_cache_and_other_tools_can_copy_it() {
    require_capability!(Program("skopeo"), Program("docker-registry"));
    let source = TestEnv::new();
    source.write(
        "context/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY <<EOF /arch\n$TARGETARCH\nEOF\nCOPY file /\n",
    );
    source.write("context/file", "file\n");
    let registry = DockerRegistry::start();
    let build = |env: &TestEnv, more: &[&str]| {
        let context = source.path("context");
        let platforms = ["--platform", "linux/amd64,linux/arm64"];
        let mut arguments: Vec<OsString> =
            platforms.iter().chain(more).map(OsString::from).collect();
        arguments.push(context.into());
        env.build(arguments).succeeded().stderr
    };
    let folder = source.path("cache");
    let to = format!("type=local,dest={},mode=max", folder.display());
    let stderr = build(&TestEnv::new(), &["--cache-to", &to]);
    assert!(stderr.contains("4 records"), "{stderr}");
    let place = format!("{}/cache:1", registry.address());
    let mut skopeo = source.tool("skopeo");
    skopeo.args(["copy", "--dest-tls-verify=false"]);
    skopeo.arg(format!("oci:{}:latest", folder.display()));
    process::run(skopeo.arg(format!("docker://{place}"))).succeeded();
    let stderr = build(&TestEnv::new(), &["--cache-from", &place]);
    Progress::read(&stderr).all_cached(4);
}

/// The store of a machine, and the same build with a cache mount on it.
fn build_with_mount(env: &TestEnv, run: &str, more: &[&str]) -> String {
    let context = env.write(
        "context/Dockerfile",
        "FROM base\nARG RUN\nRUN --mount=type=cache,id=stuff,target=/stuff \\\n    \
         ls /stuff >/found && date >/stuff/$RUN && head -c 3000000 /dev/urandom >/stuff/large-$RUN && cat /found\n",
    );
    let context = context.parent().expect("a folder");
    let argument = format!("RUN={run}");
    let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    arguments.extend(
        ["--build-arg", &argument]
            .iter()
            .chain(more)
            .map(OsString::from),
    );
    arguments.push(context.into());
    env.build(arguments).succeeded().stderr
}

#[test]
fn a_cache_mount_goes_from_machine_to_machine() {
    require_capability!(Root, Overlay, Base(Busybox));
    let registry = FakeRegistry::start();
    let place = format!("type=registry,ref={}/app:mounts", registry.host());
    let flags = ["--cache-mounts", &place];
    let first = TestEnv::new();
    let said = build_with_mount(&first, "one", &flags);
    assert!(said.contains("stuff: 3.0 MB, 3.0 MB sent"), "{said}");

    // Another machine begins with what the first one had, and adds to it.
    let second = TestEnv::new();
    let said = build_with_mount(&second, "two", &flags);
    assert!(said.contains("stuff: 3.0 MB, 3.0 MB fetched"), "{said}");
    assert!(said.contains("large-one"), "{said}");
    assert!(said.contains("stuff: 6.0 MB, 3.0 MB sent"), "{said}");

    // What is there is kept: nothing is fetched for it.
    registry.clear_log();
    let said = build_with_mount(
        &first,
        "three",
        &["--cache-mounts", &format!("{place},mode=restore")],
    );
    assert!(
        !said.contains("fetched") && said.contains("large-one") && !said.contains("large-two"),
        "{said}"
    );
    assert_eq!(registry.requests(), [""; 0]);

    // A build that the cache answers needs no folder, and one that is to start anew gets none.
    let third = TestEnv::new();
    let said = build_with_mount(
        &third,
        "four",
        &[
            "--no-cache",
            "--cache-mounts",
            &format!("{place},mode=restore"),
        ],
    );
    assert!(!said.contains("large-one"), "{said}");
    registry.clear_log();
    let said = build_with_mount(&third, "four", &flags);
    assert!(
        !said.contains("saving cache mounts") && registry.requests().is_empty(),
        "{said}"
    );

    // A place that cannot be read is a warning.
    let nowhere = format!("{place},mode=restore").replace("app:mounts", "app/../x");
    assert!(
        third
            .build(["--cache-mounts", &nowhere, "."])
            .exited(2)
            .stderr
            .contains("invalid cache reference")
    );
    registry.fault(
        "/manifests/mounts",
        100,
        Effect::Status(403, Vec::new(), String::new()),
    );
    let said = build_with_mount(&TestEnv::new(), "five", &flags);
    assert!(
        said.contains("cache mount stuff was not restored from"),
        "{said}"
    );
    assert!(said.contains("cache mounts were not saved to"), "{said}");
}
