//! The two Python applications of `testdata/apps`: built as a user would, then read, unpacked and run by tools that know
//! nothing of this project.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::bases::{self, Base};
use crate::support::docker::Docker;
use crate::support::docker_registry::DockerRegistry;
use crate::support::env::repository;
use crate::support::podman::Podman;
use crate::support::progress::Progress;
use crate::support::{Outcome, TestEnv, layout, process, require_capability};

/// An application that was built once, for several tests.
struct App {
    env: TestEnv,
    /// What `builder build` was given, but for the context and the outputs.
    arguments: Vec<OsString>,
    context: PathBuf,
    name: &'static str,
}

impl App {
    fn build(folder: &str, name: &'static str, base: &str) -> Self {
        let env = TestEnv::shared(&format!("app-{folder}"));
        let context = env.copy_tree(&repository(&format!("testdata/apps/{folder}")), "context");
        let mut arguments: Vec<OsString> =
            ["-t", name, "--ca-certs", "system"].map(Into::into).into();
        arguments.extend(bases::build_context(base, Base::Python));
        arguments.extend(proxy_arguments());
        let app = Self {
            env,
            arguments,
            context,
            name,
        };
        app.rebuild(&app.context, &[]).succeeded();
        app
    }

    fn rebuild(&self, context: &Path, more: &[&str]) -> Outcome {
        let arguments = self.arguments.iter().cloned();
        let more = more.iter().map(OsString::from);
        self.env.build(
            arguments
                .chain(more)
                .chain([context.as_os_str().to_owned()]),
        )
    }

    /// The image as an archive of this type in a file of its own.
    fn archive(&self, kind: &str, file: &str) -> PathBuf {
        let path = self.env.path(file);
        let output = format!("type={kind},dest={}", path.display());
        let outcome = self.rebuild(&self.context, &["-o", &output]).succeeded();
        Progress::read(&outcome.stderr).all_cached(3);
        path
    }

    /// A copy of the context that one test may change.
    fn own_context(&self, name: &str) -> PathBuf {
        self.env.copy_tree(&self.context, name)
    }
}

/// The predefined proxy arguments that this machine needs, as docker's client passes them on.
fn proxy_arguments() -> Vec<OsString> {
    let mut arguments = Vec::new();
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        if let Some(value) = process::host_variable(name) {
            let mut argument = OsString::from(format!("{name}="));
            argument.push(value);
            arguments.extend(["--build-arg".into(), argument]);
        }
    }
    arguments
}

fn flask() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| App::build("flask", "my-python-app", "python:3.8-slim"))
}

fn command_line() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| App::build("cli", "wordtable", "python:3.9-slim"))
}

/// What both engines have to get from the web application.
fn check_answers(answers: &[crate::support::http::Response]) {
    let [health, page] = answers else {
        panic!("two answers, found {answers:?}");
    };
    assert_eq!(
        (health.status, health.body.trim()),
        (200, r#"{"status":"ok"}"#)
    );
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<h1>Hello, reader!</h1>"), "{page:?}");
}

const PATHS: &[&str] = &["/health", "/?name=reader"];

#[test]
fn skopeo_inspects_the_archive() {
    require_capability!(Root, Overlay, PackageIndex, Program("skopeo"), Base(Python));
    let app = flask();
    let image = format!(
        "oci-archive:{}",
        app.archive("oci", "inspect.tar").display()
    );
    let skopeo = |arguments: &[&str]| -> Value {
        let outcome = process::run(app.env.tool("skopeo").arg("inspect").args(arguments));
        serde_json::from_str(&outcome.succeeded().stdout).expect("skopeo prints JSON")
    };
    let seen = skopeo(&[&image]);
    assert_eq!(seen["Os"], "linux");
    // One of the base, then WORKDIR, COPY and RUN.
    assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(4));
    let config = &skopeo(&["--config", &image])["config"];
    assert_eq!(config["Cmd"], serde_json::json!(["python", "app.py"]));
    assert_eq!(config["WorkingDir"], "/app");
}

#[test]
fn umoci_unpacks_the_layout() {
    require_capability!(Root, Overlay, PackageIndex, Program("umoci"), Base(Python));
    let app = flask();
    let folder = app.env.path("unpack");
    let output = format!("type=oci,dest={},tar=false", folder.display());
    app.rebuild(&app.context, &["-o", &output]).succeeded();
    let image = layout::read(&folder);
    let tag = image.entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
    let image = format!("{}:{}", folder.display(), tag.expect("a tag"));
    let bundle = app.env.path("bundle");
    let mut umoci = app.env.tool("umoci");
    process::run(umoci.args(["unpack", "--image", &image]).arg(&bundle)).succeeded();
    let there = |path: &str| bundle.join("rootfs").join(path).exists();
    assert!(there("app/app.py") && there("usr/local/bin/flask"));
    assert!(!there("app/README.md"), "`.dockerignore` names this file");
}

#[test]
fn podman_runs_the_web_application() {
    require_capability!(
        Root,
        Overlay,
        PackageIndex,
        Program("podman"),
        Program("runc"),
        Base(Python)
    );
    let app = flask();
    let podman = Podman::new();
    let loaded = podman.load(&app.archive("oci", "podman.tar"));
    assert!(loaded.contains(app.name), "{loaded}");
    check_answers(&podman.serve(app.name, 5000, PATHS));
}

#[test]
fn docker_runs_the_web_application() {
    require_capability!(
        Root,
        Overlay,
        PackageIndex,
        Program("dockerd"),
        Base(Python)
    );
    let app = flask();
    let docker = Docker::start();
    let loaded = docker.load(&app.archive("docker", "docker.tar"));
    assert!(loaded.contains("my-python-app:latest"), "{loaded}");
    check_answers(&docker.serve(app.name, 5000, PATHS));
}

#[test]
fn the_command_line_application_runs_with_and_without_arguments() {
    require_capability!(
        Root,
        Overlay,
        PackageIndex,
        Program("podman"),
        Program("runc"),
        Base(Python)
    );
    let app = command_line();
    let podman = Podman::new();
    podman.load(&app.archive("docker", "podman.tar"));
    let help = podman.run_to_end(app.name, &[]).succeeded();
    assert!(help.stdout.starts_with("usage: wordtable"), "{help:?}");
    let version = podman.run_to_end(app.name, &["--version"]).succeeded();
    assert_eq!(version.line(), "wordtable 1.2.0");
    let table = podman
        .run_to_end(app.name, &["requirements.txt"])
        .succeeded();
    assert!(table.stdout.contains("requirements.txt"), "{table:?}");
}

#[test]
fn a_registry_takes_the_image() {
    require_capability!(Root, Overlay, PackageIndex, Base(Python));
    require_capability!(Program("skopeo"), Program("docker-registry"));
    let app = flask();
    let registry = DockerRegistry::start();
    let name = format!("{}/team/my-python-app:1.0", registry.address());
    let mut arguments = app.arguments.clone();
    arguments[1] = (&name).into();
    arguments.extend(["--push".into(), app.context.clone().into()]);
    app.env.build(&arguments).succeeded();
    let mut skopeo = app.env.tool("skopeo");
    skopeo.args(["inspect", "--tls-verify=false", &format!("docker://{name}")]);
    let seen: Value = serde_json::from_str(&process::run(&mut skopeo).succeeded().stdout)
        .expect("skopeo prints JSON");
    assert_eq!(seen["RepoTags"], serde_json::json!(["1.0"]));
    assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(4));
}

#[test]
fn the_second_build_runs_nothing() {
    require_capability!(Root, Overlay, PackageIndex, Base(Python));
    let app = flask();
    let outcome = app.rebuild(&app.context, &[]).succeeded();
    Progress::read(&outcome.stderr).all_cached(3);
}

#[test]
fn a_changed_source_file_runs_the_copy_and_what_follows() {
    require_capability!(Root, Overlay, PackageIndex, Base(Python));
    let app = flask();
    let context = app.own_context("changed");
    let source = context.join("app.py");
    let text = builder::fsio::read_to_string(&source).expect("the application");
    app.env
        .write("changed/app.py", format!("{text}# changed\n"));
    let outcome = app.rebuild(&context, &[]).succeeded();
    assert_eq!(
        Progress::read(&outcome.stderr).ran(),
        ["COPY . /app", "RUN pip install -r requirements.txt"]
    );
}

#[test]
fn a_changed_file_that_is_ignored_runs_nothing() {
    require_capability!(Root, Overlay, PackageIndex, Base(Python));
    let app = flask();
    let context = app.own_context("ignored");
    app.env.write("ignored/README.md", "something else\n");
    app.env.write("ignored/.git/HEAD", "ref: refs/heads/main\n");
    let outcome = app.rebuild(&context, &[]).succeeded();
    Progress::read(&outcome.stderr).all_cached(3);
}

#[test]
fn certificates_of_the_machine_stay_out_of_the_image() {
    require_capability!(Root, Overlay, PackageIndex, Base(Python));
    let app = flask();
    let archive = app.archive("oci", "certificates.tar");
    let folder = app.env.path("certificates");
    layout::unpack(&archive, &folder);
    let image = layout::read(&folder);
    let base = layout::read(&bases::layout(Base::Python));
    let rootfs = crate::support::rootfs::Rootfs::of(&image);
    let beyond = rootfs.beyond(&crate::support::rootfs::Rootfs::of(&base));
    let elsewhere: Vec<_> = beyond
        .lines()
        .filter(|line| {
            !["/app", "/usr/local", "/root", "/tmp"]
                .iter()
                .any(|kept| line[2..].starts_with(kept))
        })
        .collect();
    assert_eq!(elsewhere, [""; 0], "paths that pip has no reason to touch");
    for word in ["CERT", "CA_BUNDLE", "CAINFO"] {
        let config = image.config.to_string();
        assert!(!config.contains(word), "{config}");
    }
}
