//! Several stages: which run, in what order, and what of them reaches the image.

use std::ffi::OsString;
use std::path::Path;

use crate::support::bases::{self, Base};
use crate::support::docker::Docker;
use crate::support::env::repository;
use crate::support::progress::{End, Progress};
use crate::support::rootfs::Rootfs;
use crate::support::{Outcome, TestEnv, layout, require_capability};

/// Builds `testdata/apps/multistage`.
fn build(env: &TestEnv, more: &[&str]) -> Outcome {
    let mut arguments: Vec<OsString> = bases::build_context("gcc:12", Base::Compiler).into();
    arguments.extend(more.iter().map(OsString::from));
    arguments.push(repository("testdata/apps/multistage").into());
    env.build(arguments)
}

fn output(folder: &Path) -> String {
    format!("type=oci,dest={},tar=false", folder.display())
}

#[test]
fn the_image_holds_the_tested_program_and_nothing_else() {
    require_capability!(Root, Overlay, Base(Compiler));
    let env = TestEnv::new();
    let folder = env.path("image");
    let outcome = build(&env, &["-o", &output(&folder)]).succeeded();
    let image = layout::read(&folder);
    assert_eq!(Rootfs::of(&image).paths(), ["greet"]);
    assert_eq!(
        image.config["config"]["Entrypoint"],
        serde_json::json!(["/greet"])
    );

    let progress = Progress::read(&outcome.stderr);
    let test = progress.step("test.sh /out/greet");
    assert_eq!(test.output, ["greet: 2 tests passed"]);
    let unneeded = progress
        .steps()
        .any(|step| step.name.contains("nobody needs"));
    assert!(!unneeded, "{progress:#?}");
}

#[test]
fn docker_runs_the_program_with_the_build_argument_in_it() {
    require_capability!(Root, Overlay, Program("dockerd"), Base(Compiler));
    let env = TestEnv::new();
    let archive = env.path("greet.tar");
    let output = format!("type=docker,dest={}", archive.display());
    let greeting = "GREETING=Good morning";
    build(
        &env,
        &["-t", "greet", "--build-arg", greeting, "-o", &output],
    )
    .succeeded();
    let docker = Docker::start();
    docker.load(&archive);
    let greeted = docker.run_to_end("greet", &["docker"]).succeeded();
    assert_eq!(greeted.line(), "Good morning, docker!");
}

#[test]
fn a_target_is_built_with_what_it_needs() {
    require_capability!(Root, Overlay, Base(Compiler));
    let env = TestEnv::new();
    let folder = env.path("image");
    let arguments = ["--target", "compile", "-o", &output(&folder)];
    let outcome = build(&env, &arguments).succeeded();
    let paths = layout::read(&folder);
    let rootfs = Rootfs::of(&paths);
    assert!(rootfs.paths().contains(&"out/greet"));
    assert!(!rootfs.paths().contains(&"src/test.sh"));
    assert_eq!(Progress::read(&outcome.stderr).steps().count(), 3);
}

#[test]
fn a_target_that_fails_says_how() {
    require_capability!(Root, Overlay, Base(Compiler));
    let env = TestEnv::new();
    let outcome = build(&env, &["--target", "unneeded"]).exited(1);
    let progress = Progress::read(&outcome.stderr);
    let step = progress.step("nobody needs");
    assert_eq!(step.end, Some(End::Failed));
    assert_eq!(step.output, ["the stage nobody needs has run"]);
    assert!(
        outcome.stderr.contains("exit code: 1"),
        "{}",
        outcome.stderr
    );
}
