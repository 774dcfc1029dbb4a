//! A store with little room: a small disk that fills up, and a ceiling.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::fsio;
use builder::fsio::DiskUsage;

use crate::support::bases::{self, Base};
use crate::support::process::{self, Outcome};
use crate::support::{TestEnv, require_capability};

/// A file system of its own at the place of the store, gone with the guard.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(env: &TestEnv, megabytes: u64) -> Self {
        let image = env.path("disk.img");
        let file = fsio::create(&image).expect("a disk image");
        file.set_len(megabytes << 20).expect("its size");
        let path = env.root();
        fsio::create_dir(&path).expect("a mount point");
        process::run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image)).succeeded();
        let mut mount = Command::new("mount");
        process::run(mount.args(["-o", "loop"]).arg(&image).arg(&path)).succeeded();
        Self(path)
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let path = self.0.join("filler");
        let mut file = fsio::create(&path).expect("a file on the disk");
        let mut size = 1 << 20;
        while size > 0 {
            let written = std::io::Write::write(&mut file, &vec![1; size]).unwrap_or(0);
            if written < size {
                size /= 2;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

fn build(env: &TestEnv, dockerfile: &str, more: &[&str]) -> Outcome {
    env.write("context/Dockerfile", dockerfile);
    let base = bases::build_context("base", Base::Busybox).into_iter();
    let more = more.iter().map(OsString::from);
    env.build(base.chain(more).chain([env.path("context").into()]))
}

/// Bytes that do not compress to nothing.
fn noise(env: &TestEnv, name: &str, megabytes: usize) {
    let mut state = 1_u64 + name.len() as u64 + name.bytes().map(u64::from).sum::<u64>();
    let mut bytes = Vec::with_capacity(megabytes << 20);
    while bytes.len() < megabytes << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    env.write(&format!("context/{name}"), bytes);
}

#[test]
fn a_disk_of_200_megabytes_fills_up_and_serves_again_after_prune() {
    require_capability!(Root, Overlay, Base(Busybox), Program("mkfs.ext4"));
    let env = TestEnv::new();
    let disk = SmallDisk::mount(&env, 200);
    for (name, megabytes) in [("one", 60), ("two", 60), ("three", 70)] {
        noise(&env, name, megabytes);
    }
    build(
        &env,
        "FROM base\nCOPY one /\nCOPY two /\n",
        &["-t", "kept:1"],
    )
    .succeeded();
    // What has a size is refused before it is written, with what it takes.
    let outcome = build(&env, "FROM base\nCOPY three /\n", &[]).exited(3);
    for words in [
        "74 MB are needed",
        "are free",
        "builder prune",
        "Dockerfile:2",
    ] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    // A command that fills the disk says so itself, and the builder says where it stands.
    let fills = "FROM base\nRUN head -c 150000000 /dev/zero >/zeros\n";
    let outcome = build(&env, fills, &[]).exited(1);
    assert!(
        outcome.stderr.contains("the disk of the store has"),
        "{}",
        outcome.stderr
    );
    // The image is whole and nothing but cache goes.
    env.builder("prune", [""; 0]).succeeded();
    let archive = format!("type=oci,dest={}", env.path("kept.tar").display());
    env.builder("save", ["kept:1", "-o", &archive]).exited(3);
    env.builder("rmi", ["kept:1"]).succeeded();
    disk.fill();
    assert_eq!(statvfs_free(&disk.0), 0);
    let pruned = env.builder("prune", [""; 0]).succeeded();
    assert!(pruned.stdout.starts_with("removed "), "{}", pruned.stdout);
    assert!(statvfs_free(&disk.0) > 100 << 20, "{}", pruned.stdout);
    build(
        &env,
        "FROM base\nCOPY three /\nRUN cat /three >/dev/null\n",
        &[],
    )
    .succeeded();
    let found = env.builder("fsck", [""; 0]).succeeded().stdout;
    assert!(found.contains("nothing is wrong"), "{found}");
}

fn statvfs_free(path: &Path) -> u64 {
    let disk = rustix::fs::statvfs(path).expect("the disk");
    disk.f_bavail * disk.f_frsize
}

#[test]
fn a_ceiling_holds_while_builds_come_and_go() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let ceiling = ["--cache-max", "64M"];
    let taken = || DiskUsage::default().of(env.root());
    for number in 0..8 {
        let name = format!("file{number}");
        noise(&env, &name, 12);
        let dockerfile = format!("FROM base\nCOPY {name} /\nRUN head -c 3000000 /{name} >/part\n");
        build(&env, &dockerfile, &ceiling).succeeded();
        assert!(taken() <= 64 << 20, "{} after {number}", taken());
    }
    // What one build needs at once is more than there may be.
    let outcome = build(
        &env,
        "FROM base\nRUN head -c 300000000 /dev/zero >/zeros\n",
        &ceiling,
    );
    let outcome = outcome.exited(3);
    for words in [
        "the store may take 68 MB in all",
        "--cache-max",
        "Dockerfile:2",
    ] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    assert!(taken() <= 64 << 20, "{} after too much", taken());
    // The last good one is still there, or is made again.
    build(
        &env,
        "FROM base\nCOPY file7 /\nRUN head -c 3000000 /file7 >/part\n",
        &ceiling,
    )
    .succeeded();
}

#[test]
fn du_says_what_du_says() {
    require_capability!(Root, Overlay, Base(Busybox), Program("du"));
    let env = TestEnv::new();
    noise(&env, "file", 3);
    let dockerfile = "FROM base\nRUN --mount=type=cache,target=/c head -c 999999 /dev/zero >/c/z\nCOPY file /\n\
                      RUN ln /file /name && touch /a /b\n";
    let output = format!("type=oci,dest={}", env.path("out.tar").display());
    build(&env, dockerfile, &["-t", "app", "-o", &output]).succeeded();
    let mut du = env.tool("du");
    du.args(["-s", "--block-size=1"]).arg(env.root());
    let expected = process::run(&mut du).succeeded().stdout;
    let expected: u64 = expected
        .split('\t')
        .next()
        .expect("a number")
        .parse()
        .expect("a number");
    let json = env
        .builder("du", ["--json", "--verbose"])
        .succeeded()
        .stdout;
    let found: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(found["bytes"], expected);
    let kinds = found["kinds"].as_array().expect("kinds");
    let sum: u64 = kinds.iter().filter_map(|kind| kind["bytes"].as_u64()).sum();
    assert_eq!(sum, expected);
    let objects = found["objects"].as_array().expect("objects");
    let of = |words: &str| {
        objects
            .iter()
            .filter(|object| object["kind"] == "layer")
            .find(|object| {
                object["description"]
                    .as_str()
                    .is_some_and(|d| d.contains(words))
            })
            .unwrap_or_else(|| panic!("{words}: {json}"))
    };
    assert_eq!(of("COPY file /")["image"], true);
    assert_eq!(of("COPY file /")["reclaimable"], false);
    let text = env.builder("du", [""; 0]).succeeded().stdout;
    assert!(
        text.contains("RECLAIMABLE") && text.contains("cache mounts"),
        "{text}"
    );
    // The image stays; its name gone, everything may go.
    let first = env.builder("prune", ["--verbose"]).succeeded().stdout;
    assert!(
        first.contains("cache-mount") && !first.contains("COPY file"),
        "{first}"
    );
    env.builder("rmi", ["app"]).succeeded();
    let dry = env
        .builder("prune", ["--dry-run", "--filter", "description=COPY file"])
        .succeeded()
        .stdout;
    assert!(dry.contains("would remove 1 objects"), "{dry}");
    let kept = env
        .builder("prune", ["--filter", "until=24h"])
        .succeeded()
        .stdout;
    assert!(kept.starts_with("removed 0 objects"), "{kept}");
    env.builder("prune", [""; 0]).succeeded();
    let json = env.builder("du", ["--json"]).succeeded().stdout;
    let found: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    for kind in found["kinds"].as_array().expect("kinds") {
        let word = kind["kind"].as_str().expect("a kind");
        if matches!(word, "layer" | "blob" | "cache-mount") {
            assert_eq!(kind["count"], 0, "{json}");
        }
    }
    let again = build(&env, dockerfile, &[]).succeeded();
    assert!(again.stderr.contains("why: evicted"), "{}", again.stderr);
    // Wrong words are told what there is.
    for filter in ["size=1", "type=thing", "until=soon", "nothing"] {
        let outcome = env.builder("prune", ["--filter", filter]).exited(2);
        assert!(outcome.stderr.contains("--filter"), "{}", outcome.stderr);
    }
}
