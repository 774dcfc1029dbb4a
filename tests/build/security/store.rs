//! The store from outside: set-user-id programs of an image lie in it, and are not for users of the machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::support::bases::{self, Base};
use crate::support::{TestEnv, require_capability};

/// Whether an ordinary user of the machine can look into a folder.
fn others_enter(folder: &std::path::Path) -> bool {
    let mut look = Command::new("ls");
    look.arg(folder).uid(65534).gid(65534);
    look.output().unwrap().status.success()
}

#[test]
fn set_user_id_programs_of_a_step_are_not_within_reach_of_users() {
    require_capability!(Root, Overlay, Base(Busybox));
    // Below a folder that everybody may enter.
    let open = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = open.path().join("root");
    let env = TestEnv::new();
    symlink(&root, env.root()).unwrap();
    fs::create_dir(&root).unwrap();
    env.write(
        "context/Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/c cp /bin/busybox /c/mine; chmod 4755 /c/mine; cp /bin/busybox /mine; chmod 4755 /mine\n",
    );
    let mut arguments = Vec::from(bases::build_context("base", Base::Busybox));
    arguments.push("context".into());
    env.build(&arguments).succeeded();
    assert!(others_enter(&root));
    let store = root.join("v1");
    assert!(!others_enter(&store));
    // One of before there was this.
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(others_enter(&store));
    env.build(&arguments).succeeded();
    assert!(!others_enter(&store));
}

#[test]
fn links_in_an_image_do_not_lead_a_copy_out_of_it() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let outside = env.write("outside/file", "swordfish\n");
    let folder = outside.parent().unwrap().display();
    env.write("context/new", "of the context\n");
    env.write(
        "context/Dockerfile",
        format!(
            "FROM base AS links\nRUN ln -s {folder} /absolute && ln -s ../../../../../../../../..{folder} /relative && ln -s {folder}/file /taken\n\
            COPY new /absolute/new\nCOPY new /relative/file\nRUN cat {folder}/new {folder}/file\n\
            WORKDIR /absolute/below\nRUN --mount=type=tmpfs,target=/relative/mounted true\n\
            FROM base\nCOPY --from=links /taken /it\nRUN cat /it\n"
        ),
    );
    let mut arguments = Vec::from(bases::build_context("base", Base::Busybox));
    arguments.push("context".into());
    let outcome = env.build(&arguments).succeeded();
    assert!(!outcome.stderr.contains("swordfish"), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "swordfish\n");
    let names: Vec<_> = fs::read_dir(outside.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1);
}
