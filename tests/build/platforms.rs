//! Several platforms in one build: an index over images that share what they have in common.

use builder::fsio;
use builder::image::validate_layout;
use serde_json::Value;

use crate::support::docker_registry::DockerRegistry;
use crate::support::progress::Progress;
use crate::support::{Outcome, TestEnv, layout, process, require_capability};

/// One stage that runs on the build platform, and one for each.
const DOCKERFILE: &str = "\
FROM --platform=$BUILDPLATFORM scratch AS common
COPY hello.txt /
FROM --platform=$BUILDPLATFORM scratch AS cross
ARG TARGETARCH
COPY <<EOF /arch
$TARGETARCH
EOF
FROM scratch
COPY --from=common / /
COPY --from=cross / /
";

fn build(env: &TestEnv, more: &[&str]) -> Outcome {
    if !env.path("context").exists() {
        env.write("context/Dockerfile", DOCKERFILE);
        env.write("context/hello.txt", "hello\n");
    }
    let mut arguments = more.to_vec();
    arguments.push("context");
    env.build(arguments)
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// The one index of a layout: its digest and what it says.
fn index(env: &TestEnv, folder: &str) -> (String, Value) {
    let folder = env.path(folder);
    let top = json(&fsio::read(folder.join("index.json")).expect("an index.json"));
    let digest = top["manifests"][0]["digest"].as_str().expect("a digest");
    let path = format!("blobs/sha256/{}", &digest["sha256:".len()..]);
    let index = json(&fsio::read(folder.join(path)).expect("the index"));
    (digest.to_owned(), index)
}

fn platforms(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().expect("manifests");
    let platform = |entry: &Value| {
        let text = |key: &str| {
            entry["platform"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        format!("{}/{}{}", text("os"), text("architecture"), text("variant"))
    };
    manifests.iter().map(platform).collect()
}

#[test]
fn an_index_lists_the_images_in_the_order_asked_for() {
    let env = TestEnv::new();
    let built = build(
        &env,
        &[
            "--platform=linux/arm64,linux/amd64",
            "--platform=linux/arm/v7,linux/aarch64",
            "-t=app",
            "-o=type=oci,dest=out,tar=false",
            "--iidfile=id",
        ],
    )
    .succeeded();
    let (digest, index) = index(&env, "out");
    assert_eq!(
        platforms(&index),
        ["linux/arm64", "linux/amd64", "linux/armv7"]
    );
    assert_eq!(
        validate_layout(&env.path("out")).expect("a valid layout"),
        3
    );
    assert_eq!(
        fsio::read_to_string(env.path("id")).expect("an ID file"),
        digest
    );
    let progress = Progress::read(&built.stderr);
    let names: Vec<&str> = progress.steps().map(|step| step.name.as_str()).collect();
    let common = names
        .iter()
        .filter(|name| name.contains(" common "))
        .count();
    assert_eq!(common, 1, "{names:?}");
    let machine = builder::oci::Platform::host();
    for arch in ["arm64", "amd64"]
        .into_iter()
        .filter(|a| *a != machine.arch)
    {
        let cross = format!("[{machine}->{arch} cross 2/2]");
        assert!(
            names.iter().any(|name| name.starts_with(&cross)),
            "{names:?}"
        );
    }
}

#[test]
fn a_name_stands_for_every_platform() {
    let env = TestEnv::new();
    build(
        &env,
        &[
            "--platform=linux/arm64,linux/amd64",
            "-t=app",
            "-o=type=oci,dest=out,tar=false",
        ],
    )
    .succeeded();
    let list = env.builder("images", ["app"]).succeeded().stdout;
    assert!(
        list.contains("linux/arm64") && list.contains("linux/amd64"),
        "{list}"
    );
    env.builder("save", ["app", "-o", "type=oci,dest=saved,tar=false"])
        .succeeded();
    assert_eq!(index(&env, "saved").0, index(&env, "out").0);

    env.write("context/Dockerfile", "FROM app\nCOPY hello.txt /more\n");
    for arch in ["arm64", "amd64"] {
        let platform = format!("--platform=linux/{arch}");
        let output = format!("-o=type=oci,dest={arch},tar=false");
        build(&env, &[&platform, &output]).succeeded();
        let image = layout::read(&env.path(arch));
        assert_eq!(image.config["architecture"].as_str(), Some(arch));
        assert_eq!(image.layers.len(), 3);
    }
}

#[test]
fn one_platform_gets_an_index_if_it_is_asked_for() {
    let env = TestEnv::new();
    let forced = [
        "--build-arg=BUILDKIT_MULTI_PLATFORM=1",
        "--platform=linux/arm64",
    ];
    build(
        &env,
        &[&forced[..], &["-o=type=oci,dest=out,tar=false"]].concat(),
    )
    .succeeded();
    assert_eq!(platforms(&index(&env, "out").1), ["linux/arm64"]);
    let refused = build(
        &env,
        &[&forced[..], &["-o=type=docker,dest=out.tar"]].concat(),
    )
    .exited(2);
    let said = "docker exporter does not currently support exporting manifest lists";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    assert!(
        !refused.stderr.contains("[internal]"),
        "nothing is done for it"
    );
}

#[test]
fn a_registry_gets_the_images_and_the_index() {
    require_capability!(Program("skopeo"), Program("docker-registry"));
    let env = TestEnv::new();
    let registry = DockerRegistry::start();
    let name = format!("{}/app:1", registry.address());
    build(
        &env,
        &[
            "--platform=linux/arm64,linux/amd64",
            "--push",
            "-t",
            &name,
            "-o=type=oci,dest=out,tar=false",
        ],
    )
    .succeeded();
    let mut skopeo = env.tool("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false"]);
    let raw = process::run(skopeo.arg(format!("docker://{name}"))).succeeded();
    assert_eq!(json(raw.stdout.as_bytes()), index(&env, "out").1);
    let mut skopeo = env.tool("skopeo");
    skopeo.args(["copy", "--all", "--src-tls-verify=false"]);
    skopeo.arg(format!("docker://{name}"));
    process::run(skopeo.arg(format!("oci:{}", env.path("copied").display()))).succeeded();
}

#[test]
fn a_base_for_another_machine_only_gives_its_platform() {
    let env = TestEnv::new();
    let other = match builder::oci::Platform::host().arch.as_str() {
        "arm64" => "amd64",
        _ => "arm64",
    };
    let platform = format!("--platform=linux/{other}");
    build(&env, &[&platform, "-o=type=oci,dest=other,tar=false"]).succeeded();
    env.write("context/Dockerfile", "FROM base\nCOPY hello.txt /\n");
    let context = "--build-context=base=oci-layout://other";
    let built = build(&env, &[context, "-o=type=oci,dest=out,tar=false"]).succeeded();
    let image = layout::read(&env.path("out"));
    assert_eq!(image.config["architecture"].as_str(), Some(other));

    let only_here = "localhost:1/only-here";
    build(&env, &[context, "-t", only_here]).succeeded();
    env.write(
        "context/Dockerfile",
        format!("FROM {only_here}\nCOPY hello.txt /more\n"),
    );
    build(&env, &["-o=type=oci,dest=local,tar=false"]).succeeded();
    let image = layout::read(&env.path("local"));
    assert_eq!(image.config["architecture"].as_str(), Some(other));
    assert!(
        !built.stderr.contains("was pulled with platform"),
        "{}",
        built.stderr
    );
}
