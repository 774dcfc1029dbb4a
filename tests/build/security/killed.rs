//! `kill -9` of the builder in the middle of several steps: nothing of them is left, as seen from outside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use crate::sandbox::ending::{eventually, processes_with};
use crate::support::bases::{self, Base};
use crate::support::{TestEnv, require_capability};

const MARK: &str = "97561";

/// The numbers of a kind of namespace, of all processes or of those with a word among their arguments.
fn namespaces(kind: &str, word: Option<&str>) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let folder = entry.unwrap().path();
        let arguments = fs::read(folder.join("cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|&byte| byte == 0);
        if word.is_none_or(|word| arguments.any(|argument| argument == word.as_bytes())) {
            let namespace = fs::metadata(folder.join("ns").join(kind));
            found.extend(namespace.map(|namespace| namespace.ino()));
        }
    }
    found
}

#[test]
fn nothing_is_left_of_a_killed_build() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    env.write("token", "of the user");
    let stage = |name: &str| {
        format!(
            "FROM base AS {name}\nRUN --network=none --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --mount=type=secret,id=token \
            echo {name} >/c/{name}; (trap '' TERM; setsid sleep {MARK} &); sleep {MARK}\n"
        )
    };
    let stages: String = ["one", "two", "three"].map(stage).concat();
    let last =
        "FROM base\nCOPY --from=one /etc /1\nCOPY --from=two /etc /2\nCOPY --from=three /etc /3\n";
    env.write("context/Dockerfile", format!("{stages}{last}"));
    let mut command = env.command("build", ["--jobs", "3", "--secret", "id=token,src=token"]);
    command
        .args(bases::build_context("base", Base::Busybox))
        .arg("context");
    let mut builder = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("all steps run", || processes_with(MARK) == 6);
    let kinds = ["mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let theirs = kinds.map(|kind| namespaces(kind, Some(MARK)));
    assert!(
        theirs.iter().all(|of_kind| of_kind.len() == 3),
        "{theirs:?}"
    );
    builder.kill().unwrap();
    builder.wait().unwrap();
    for (kind, theirs) in kinds.iter().zip(&theirs) {
        eventually(kind, || namespaces(kind, None).is_disjoint(theirs));
    }
    assert_eq!(processes_with(MARK), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(env.root().to_str().unwrap()), "{mounts}");
}
