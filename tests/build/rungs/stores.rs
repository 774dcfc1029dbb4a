//! The store of an ordinary user: looked after by that user, and not mixed up with those of others.

use builder::fsio;

use crate::support::lodger::Lodger;
use crate::support::rung_cases::RUNG_CASES;
use crate::support::{TestEnv, require_capability};

#[test]
fn a_user_looks_after_the_own_store() {
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
    let arguments = || case.arguments(&lodger.path("case"), &output);
    lodger
        .build(
            ["-t", "owners"]
                .map(Into::into)
                .into_iter()
                .chain(arguments()),
        )
        .succeeded();
    let again = lodger.build(arguments()).succeeded();
    assert!(
        !again.stderr.contains("steps run"),
        "nothing ran: {}",
        again.stderr
    );

    let listed = lodger.builder("images", [""; 0]).succeeded();
    assert!(listed.stdout.contains("owners"), "{}", listed.stdout);
    lodger.builder("du", [""; 0]).succeeded();
    let checked = lodger.builder("fsck", [""; 0]).succeeded();
    assert!(
        checked.stdout.contains("nothing is wrong"),
        "{}",
        checked.stdout
    );
    let archive = lodger.path("home/image.tar");
    lodger
        .builder(
            "save",
            [
                "owners",
                "-o",
                &format!("type=oci,dest={}", archive.display()),
            ],
        )
        .succeeded();
    let saved = fsio::metadata(&archive).unwrap();
    let home = fsio::metadata(lodger.path("home")).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((saved.uid(), saved.gid()), (home.uid(), home.gid()));

    lodger.builder("rmi", ["owners"]).succeeded();
    lodger.builder("prune", ["--all"]).succeeded();
    let layers = lodger.path("home/root/v1/layers");
    assert_eq!(fsio::read_dir_sorted(layers).unwrap(), [""; 0]);
}

#[test]
fn a_store_is_refused_to_who_would_mix_up_owners() {
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
    let arguments = || case.arguments(&lodger.path("case"), &lodger.path("home/image"));
    lodger.build(arguments()).succeeded();

    // Root could read and write all of it.
    let env = TestEnv::new();
    let mut command = env.tool(env!("CARGO_BIN_EXE_builder"));
    let root = lodger.path("home/root");
    command
        .args(["build", "--root"])
        .arg(root)
        .args(arguments());
    let refused = crate::support::process::run(&mut command).exited(3);
    assert!(
        refused
            .stderr
            .contains("was made by a user with subordinate ids"),
        "{}",
        refused.stderr
    );
    assert!(
        refused
            .stderr
            .contains("hint: choose another folder with `--root DIR`")
    );
}
