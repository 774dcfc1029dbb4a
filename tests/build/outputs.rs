//! Where an image can go, and the flags that say what is built, on builds that run nothing.

use std::ffi::OsString;

use serde_json::Value;

use crate::support::bases::{self, Base};
use crate::support::docker_registry::DockerRegistry;
use crate::support::rootfs::Rootfs;
use crate::support::{Outcome, TestEnv, layout, process, require_capability};

/// A build of one COPY on busybox.
fn build(env: &TestEnv, more: &[&str]) -> Outcome {
    if !env.path("context").exists() {
        env.write("context/Dockerfile", "FROM base\nCOPY hello.txt /\n");
        env.write("context/hello.txt", "hello\n");
    }
    let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    arguments.extend(more.iter().map(OsString::from));
    arguments.push("context".into());
    env.build(arguments)
}

/// The image of the store as a layout in the scratch folder.
fn exported(env: &TestEnv) -> layout::Image {
    build(env, &["-o", "type=oci,dest=exported,tar=false"]).succeeded();
    layout::read(&env.path("exported"))
}

#[test]
fn the_image_is_listed_under_its_names() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    let empty = env.builder("images", [""; 0]).succeeded();
    assert!(!empty.stdout.contains("first-name"), "{empty:?}");
    build(
        &env,
        &["-t", "first-name", "-t", "example.org/second/name:v2"],
    )
    .succeeded();
    let list = env.builder("images", [""; 0]).succeeded().stdout;
    let id = exported(&env).id;
    let short = &id["sha256:".len()..][..12];
    for name in ["first-name", "example.org/second/name"] {
        let row = list.lines().find(|line| line.contains(name));
        let row = row.unwrap_or_else(|| panic!("no `{name}` in\n{list}"));
        assert!(row.contains(short), "no {short} in\n{list}");
    }
}

#[test]
fn the_image_id_goes_to_a_file() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    build(&env, &["--iidfile", "id"]).succeeded();
    let id = builder::fsio::read_to_string(env.path("id")).expect("an ID file");
    assert_eq!(id, exported(&env).id);
}

#[test]
fn an_archive_holds_the_same_image_as_a_folder() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    build(&env, &["-o", "type=oci,dest=image.tar"]).succeeded();
    layout::unpack(&env.path("image.tar"), &env.path("unpacked"));
    let image = layout::read(&env.path("unpacked"));
    assert_eq!(image.digest, exported(&env).digest);
    let rootfs = Rootfs::of(&image);
    let base = Rootfs::of(&layout::read(&bases::layout(Base::Busybox)));
    assert_eq!(
        rootfs.beyond(&base),
        "+ /hello.txt  0644 0:0 file \"hello\\n\"\n"
    );
}

#[test]
fn a_docker_archive_is_an_oci_layout_with_a_manifest_for_docker() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    build(
        &env,
        &["-t", "name:tag", "-o", "type=docker,dest=image.tar"],
    )
    .succeeded();
    let folder = env.path("unpacked");
    layout::unpack(&env.path("image.tar"), &folder);
    let image = layout::read(&folder);
    let manifest = builder::fsio::read(folder.join("manifest.json")).expect("a manifest.json");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["name:tag"]));
    let config = manifest[0]["Config"].as_str().expect("a config");
    assert!(config.contains(&image.id["sha256:".len()..]), "{manifest}");
    let layers = layout::strings(&manifest[0]["Layers"]);
    assert_eq!(layers.len(), image.layers.len());
    for layer in layers {
        assert!(folder.join(layer).is_file());
    }
}

#[test]
fn a_layout_that_is_there_takes_another_image() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    let output = "type=oci,dest=layout,tar=false";
    build(&env, &["-t", "app:one", "-o", output]).succeeded();
    env.write("context/hello.txt", "changed\n");
    build(&env, &["-t", "app:two", "-o", output]).succeeded();
    let images = layout::read_all(&env.path("layout"));
    let tag = |image: &layout::Image| {
        let annotations = &image.entry["annotations"];
        annotations["org.opencontainers.image.ref.name"].to_string()
    };
    let tags: Vec<_> = images.iter().map(tag).collect();
    assert_eq!(tags, ["\"one\"", "\"two\""]);
}

#[test]
fn a_registry_on_localhost_is_spoken_to_over_plain_http() {
    require_capability!(Program("skopeo"), Program("docker-registry"), Base(Busybox));
    let env = TestEnv::new();
    let registry = DockerRegistry::start();
    let name = format!("{}/hello", registry.address());
    build(&env, &["-t", &name, "--push"]).succeeded();
    let inspect = |raw: &[&str]| {
        let mut skopeo = env.tool("skopeo");
        skopeo.args(["inspect", "--tls-verify=false"]).args(raw);
        process::run(skopeo.arg(format!("docker://{name}"))).succeeded()
    };
    let seen: Value = serde_json::from_str(&inspect(&[]).stdout).expect("skopeo prints JSON");
    assert_eq!(seen["Digest"].as_str(), Some(&*exported(&env).digest));
}

#[test]
fn an_image_that_was_pushed_is_a_base() {
    require_capability!(Program("docker-registry"), Base(Busybox));
    let env = TestEnv::new();
    let registry = DockerRegistry::start();
    let name = format!("{}/hello:1", registry.address());
    build(&env, &["-t", &name, "--push"]).succeeded();
    let other = TestEnv::new();
    other.write("next/Dockerfile", format!("FROM {name}\nLABEL next=1\n"));
    let output = "type=oci,dest=image,tar=false";
    other.build(["-o", output, "next"]).succeeded();
    let rootfs = Rootfs::of(&layout::read(&other.path("image")));
    assert!(rootfs.paths().contains(&"hello.txt"));
}

#[test]
fn another_dockerfile_may_lie_elsewhere() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    env.write(
        "elsewhere/My.dockerfile",
        "FROM base\nLABEL elsewhere=yes\n",
    );
    let output = "type=oci,dest=image,tar=false";
    build(&env, &["-f", "elsewhere/My.dockerfile", "-o", output]).succeeded();
    let image = layout::read(&env.path("image"));
    assert_eq!(image.config["config"]["Labels"]["elsewhere"], "yes");
}

#[test]
fn a_build_argument_reaches_the_config() {
    require_capability!(Base(Busybox));
    let env = TestEnv::new();
    env.write(
        "context/Dockerfile",
        "ARG BASE\nFROM $BASE\nARG V=1\nENV VERSION=$V\n",
    );
    let output = "type=oci,dest=image,tar=false";
    let arguments = [
        "--build-arg",
        "BASE=base",
        "--build-arg",
        "V=2",
        "-o",
        output,
    ];
    build(&env, &arguments).succeeded();
    let env = layout::strings(&layout::read(&env.path("image")).config["config"]["Env"]);
    assert!(env.contains(&"VERSION=2".to_owned()), "{env:?}");
}
