//! What stays as it is for an ordinary user although the builder is root of a namespace, and what is left where there is none.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use builder::fsio;

use crate::support::lodger::Lodger;
use crate::support::rung_cases::RUNG_CASES;
use crate::support::{Outcome, process, require_capability};

/// Runs the user's command where no user namespace can be made: in a changed root that looks as the real one.
fn run_without_namespaces(lodger: &Lodger, command: &Command) -> Outcome {
    let root = lodger.path("root");
    fsio::create_dir_all(&root).unwrap();
    let script = "root=$1 && shift && mount --rbind / \"$root\" && exec chroot \"$root\" \"$@\"";
    let mut around = Command::new("unshare");
    around
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(root)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            around.env(name, value);
        }
    }
    process::run(&mut around)
}

#[test]
fn without_namespaces_all_but_run_is_built_and_the_remedy_is_told() {
    require_capability!(
        Root,
        Overlay,
        UserNamespaces,
        Program("newuidmap"),
        Base(Busybox)
    );
    let lodger = Lodger::with_ids();
    let case = RUNG_CASES[0];
    case.copy_to(&lodger.path("case"));
    let output = lodger.path("home/image");
    let context = lodger.path("home/context");
    fsio::create_dir(&context).unwrap();
    let plain = "FROM busybox\nCOPY --chown=33:44 Dockerfile /d\nENV A=b\n";
    std::fs::write(context.join("Dockerfile"), plain).unwrap();
    lodger.give(&context);

    let base = format!(
        "busybox=oci-layout://{}/base",
        lodger.path("case").display()
    );
    let to = format!("type=oci,tar=false,dest={}", output.display());
    let context = context.display().to_string();
    let arguments = ["--build-context", &base, "-o", &to, &context];
    run_without_namespaces(&lodger, &lodger.command("build", arguments)).succeeded();

    let with_run = || lodger.command("build", case.arguments(&lodger.path("case"), &output));
    let refused = run_without_namespaces(&lodger, &with_run()).exited(3);
    let expected = "a RUN needs root or user namespaces, which something forbids here";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("hint: run the builder as root; inside a container")
    );

    let told = run_without_namespaces(&lodger, &lodger.command("doctor", [""; 0])).exited(3);
    assert!(told.stdout.contains("missing  steps"), "{}", told.stdout);
    assert!(
        told.stderr.contains("hint: run the builder as root"),
        "{}",
        told.stderr
    );

    // What is in the cache takes nobody to run.
    process::run(&mut with_run()).succeeded();
    run_without_namespaces(&lodger, &with_run()).succeeded();
}

#[test]
fn programs_of_the_machine_are_started_as_the_user() {
    require_capability!(Root, UserNamespaces, Program("newuidmap"), Program("git"));
    let lodger = Lodger::with_ids();
    let home = lodger.path("home");
    let (script, seen) = (home.join("ssh"), home.join("seen"));
    let text = format!(
        "#!/bin/sh\n{{ id -u; id -g; }} > {}\nexit 1\n",
        seen.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let context = home.join("context");
    fsio::create_dir(&context).unwrap();
    let dockerfile = "FROM scratch\nADD git@localhost:some/where.git /\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    lodger.give(&home);

    let mut command = lodger.command("build", [&context]);
    process::run(command.env("GIT_SSH", &script)).exited(3);
    let user = fsio::metadata(&home).unwrap();
    let expected = format!("{}\n{}\n", user.uid(), user.gid());
    assert_eq!(fsio::read_to_string(&seen).unwrap(), expected);
}

#[test]
fn the_doctor_tells_the_rung_and_how_to_get_higher() {
    require_capability!(Root, UserNamespaces, Program("newuidmap"));
    let told = |lodger: &Lodger| {
        let outcome = lodger.builder("doctor", ["--json"]).succeeded();
        serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap()
    };
    let many = told(&Lodger::with_ids());
    assert_eq!(many["rung"], "subordinate-ids");
    assert_eq!(many["findings"][0]["state"], "good");
    let one = told(&Lodger::without_ids());
    assert_eq!(one["rung"], "one-id");
    let ids = &one["findings"][1];
    assert_eq!(ids["name"], "ids");
    assert_eq!(
        ids["meaning"],
        "this user has no subordinate ids in `/etc/subuid`"
    );
    let remedy = ids["remedy"].as_str().unwrap();
    assert!(remedy.contains("usermod --add-subuids"), "{remedy}");
}
