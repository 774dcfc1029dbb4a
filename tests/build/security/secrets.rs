//! Secrets: looked for wherever a build writes, and in what other processes can see of it while it runs.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sandbox::ending::{eventually, processes_with};
use crate::support::bases::{self, Base};
use crate::support::{TestEnv, layout, require_capability};

const FILE: &str = "file-swordfish-4711";
const VARIABLE: &str = "variable-swordfish-4712";

fn is_in(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains(FILE) || text.contains(VARIABLE)
}

/// The files of a tree that hold a secret, or have one for a name.
fn holders(folder: &Path) -> String {
    let folder = folder.display();
    let look = format!(
        "grep -rlF -e {FILE} -e {VARIABLE} {folder}; find {folder} | grep -F -e {FILE} -e {VARIABLE}; true"
    );
    let output = Command::new("sh").args(["-c", &look]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

const RUN: &str = "RUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=TOKEN --mount=type=cache,target=/c";

/// A build with two secrets: its output folder is `out`.
fn command(env: &TestEnv, words: &str, arguments: &[&str]) -> Command {
    env.write("outside/file", FILE);
    env.write("context/Dockerfile", format!("FROM base\n{RUN} {words}\n"));
    let mut command = env.command("build", arguments);
    command
        .args([
            "--secret",
            "id=file,src=outside/file",
            "--secret",
            "id=variable,env=TOKEN",
        ])
        .args(["-o", "type=oci,dest=out,tar=false"])
        .args(bases::build_context("base", Base::Busybox))
        .arg("context")
        .env("TOKEN", VARIABLE);
    command
}

#[test]
fn secrets_are_nowhere_after_a_build() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let words = "test $(cat /run/secrets/file) = file-swordfish-$((4700+11)) && test $TOKEN = variable-swordfish-$((4700+12)) && echo used >/made";
    for progress in ["plain", "rawjson"] {
        // A layout takes further images, and the second one may be of another second.
        if env.path("out").exists() {
            fs::remove_dir_all(env.path("out")).unwrap();
        }
        let output = command(&env, words, &["--no-cache", "--progress", progress])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!is_in(&output.stdout) && !is_in(&output.stderr));
    }
    let image = layout::read(&env.path("out"));
    for layer in &image.layers {
        let mut bytes = Vec::new();
        layer.open().read_to_end(&mut bytes).unwrap();
        assert!(!is_in(&bytes));
    }
    // That it would be found.
    assert_ne!(holders(&env.path("outside")), "");
    for folder in [env.root(), env.path("out")] {
        assert_eq!(holders(&folder), "");
    }
    let plan = command(&env, words, &["--print", "plan"]).output().unwrap();
    assert!(!is_in(&plan.stdout) && !is_in(&plan.stderr));
}

#[test]
fn a_failing_or_crashing_step_does_not_tell() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    for words in [
        "sh -c 'ulimit -c unlimited; kill -SEGV $$'",
        "/no/such/$TOKEN",
        "exit 9",
    ] {
        let output = command(&env, words, &["--progress", "plain"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        // What the command prints is the command's own affair.
        let said = text.lines().filter(|line| !line.contains("not found"));
        assert!(
            !said.into_iter().any(|line| is_in(line.as_bytes())),
            "{text}"
        );
    }
    assert_eq!(holders(&env.root()), "");
}

#[test]
fn nobody_sees_a_secret_in_the_builders_processes() {
    require_capability!(Root, Overlay, Base(Busybox));
    const MARK: &str = "97571";
    // Its own: other tests have the others in their environment at the same time.
    const OWN: &str = "own-swordfish-4713";
    let env = TestEnv::new();
    let mut build = command(&env, &format!("unset TOKEN; exec sleep {MARK}"), &[]);
    env.write("outside/file", OWN);
    let mut builder = build
        .env("TOKEN", OWN)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the step runs", || processes_with(MARK) == 1);
    let mut told = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let folder = entry.unwrap().path();
        for name in ["cmdline", "environ"] {
            // The user put one into the environment of this one.
            let is_users = folder.ends_with(builder.id().to_string()) && name == "environ";
            let text = fs::read(folder.join(name)).unwrap_or_default();
            if !is_users && String::from_utf8_lossy(&text).contains(OWN) {
                told.push(folder.join(name));
            }
        }
    }
    builder.kill().unwrap();
    builder.wait().unwrap();
    assert_eq!(told, [""; 0].map(std::path::PathBuf::from));
}
