//! The ceiling where it is hard to hold: many small files, a store that is above it already, no room for a base. What has a name stays whole.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use builder::fsio;
use builder::fsio::DiskUsage;

use crate::support::bases::{self, Base};
use crate::support::{Outcome, TestEnv, layout, require_capability};

const MEGABYTE: u64 = 1 << 20;

fn build(env: &TestEnv, dockerfile: &str, base: &Path, more: &[&str]) -> Outcome {
    env.write("context/Dockerfile", dockerfile);
    let base = format!("base=oci-layout://{}", base.display());
    let context = env.path("context").display().to_string();
    let words = ["--build-context", &base];
    env.build(words.iter().chain(more).chain([&context.as_str()]))
}

fn taken(env: &TestEnv) -> u64 {
    DiskUsage::default().of(env.root())
}

/// The most that the store took while something was done.
fn most_taken<T>(env: &TestEnv, work: impl FnOnce() -> T) -> (T, u64) {
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(taken(env), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    });
    (result, most.into_inner())
}

#[test]
fn small_files_count_as_what_they_take() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    for number in 0..4000 {
        env.write(&format!("context/many/{number}"), "x");
    }
    let base = bases::layout(Base::Busybox);
    let dockerfile = "FROM base\nCOPY many /many\nRUN ls /many | wc -l\n";
    // Twice in the store, as a directory with blocks of 4 kB, they are 16 MB; bytes of content are next to nothing.
    let refused = build(&env, dockerfile, &base, &["--cache-max", "12M"]).exited(3);
    assert!(
        refused.stderr.contains("the store may take 13 MB"),
        "{}",
        refused.stderr
    );
    assert!(taken(&env) <= 12 * MEGABYTE, "{}", taken(&env));
    build(&env, dockerfile, &base, &["--cache-max", "64M"]).succeeded();
    assert!(taken(&env) <= 64 * MEGABYTE, "{}", taken(&env));
}

#[test]
fn a_command_is_stopped_in_a_store_that_is_above_its_ceiling_already() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let base = bases::layout(Base::Busybox);
    let named = "FROM base\nRUN head -c 20000000 /dev/urandom >/noise\n";
    build(&env, named, &base, &["-t", "app"]).succeeded();
    let before = taken(&env);
    let fills = "FROM base\nRUN i=0; while [ $i -lt 40 ]; do head -c 10000000 /dev/zero >/zeros$i; sleep 0.05; i=$((i+1)); done\n";
    let (outcome, most) = most_taken(&env, || build(&env, fills, &base, &["--cache-max", "10M"]));
    let outcome = outcome.exited(3);
    assert!(outcome.stderr.contains("--cache-max"), "{}", outcome.stderr);
    // It was seen after a tenth of a second, not when it had written 400 MB.
    assert!(most < before + 150 * MEGABYTE, "{most}, {before} before");
    assert!(taken(&env) <= before + MEGABYTE, "{}", taken(&env));
}

#[test]
fn a_named_image_outlives_builds_that_find_no_room() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let base = env.copy_tree(&bases::layout(Base::Busybox), "base");
    build(&env, "FROM base\nENV A=b\n", &base, &["-t", "app"]).succeeded();
    let save = |name: &str| {
        let folder = env.path(name);
        let output = format!("type=oci,dest={},tar=false", folder.display());
        env.builder("save", ["app", "-o", &output]).succeeded();
        layout::read(&folder).digest
    };
    let expected = save("before");
    // Unpacking the base takes more than there may be: that is no damage of it.
    let outcome = build(&env, "FROM base\nRUN true\n", &base, &["--cache-max", "2M"]).exited(3);
    assert!(!outcome.stderr.contains("damaged"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--cache-max"), "{}", outcome.stderr);
    fsio::remove_tree(&base).expect("a base that goes");
    assert_eq!(save("after"), expected);
    let found = env.builder("fsck", [""; 0]).succeeded().stdout;
    assert!(found.contains("nothing is wrong"), "{found}");
}

#[test]
fn a_pruned_cache_mount_is_counted_anew() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let base = bases::layout(Base::Busybox);
    for round in 0..4 {
        let dockerfile = format!(
            "FROM base\nRUN --mount=type=cache,target=/c head -c 12000000 /dev/urandom >/c/noise{round}\n"
        );
        build(&env, &dockerfile, &base, &["--cache-max", "48M"]).succeeded();
        env.builder("prune", ["--filter", "type=cache-mount"])
            .succeeded();
        assert!(
            taken(&env) <= 48 * MEGABYTE,
            "{} after {round}",
            taken(&env)
        );
    }
    let dockerfile =
        "FROM base\nRUN --mount=type=cache,target=/c head -c 90000000 /dev/urandom >/c/noise\n";
    let outcome = build(&env, dockerfile, &base, &["--cache-max", "48M"]);
    outcome.exited(3);
}
