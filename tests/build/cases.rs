//! Builds every folder of `testdata/build` and compares the image with what is expected of it.
//!
//! A case is `Dockerfile`, `context/` where one is needed, `arguments` (further flags, one word a line) where there are
//! any, and `expect.txt`: the config, the history and what the root file system has beyond its base.
//! `UPDATE_EXPECT=1` writes `expect.txt` anew.
//!
//! Each case is built twice: the second build may run nothing and has to give the same image.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use builder::fsio;

use crate::support::bases::{self, Base};
use crate::support::env::repository;
use crate::support::layout::{self, Image};
use crate::support::process;
use crate::support::progress::Progress;
use crate::support::rootfs::Rootfs;
use crate::support::{TestEnv, require_capability};

#[test]
fn every_case_builds_what_is_expected() {
    require_capability!(Root, Overlay, Base(Busybox));
    let base = layout::read(&bases::layout(Base::Busybox));
    let cases = repository("testdata/build");
    let names = fsio::read_dir_sorted(&cases).expect("the folder of cases");
    assert!(!names.is_empty(), "no cases in {}", cases.display());
    let mut failed = Vec::new();
    for name in names {
        let case = cases.join(&name);
        let check = || check(&case, &base);
        if catch_unwind(AssertUnwindSafe(check)).is_err() {
            failed.push(name);
        }
    }
    assert!(
        failed.is_empty(),
        "cases that failed (see above): {failed:?}"
    );
}

fn check(case: &Path, base: &Image) {
    let env = TestEnv::new();
    env.copy_tree(case, "case");
    if !env.path("case/context").exists() {
        fsio::create_dir(env.path("case/context")).expect("an empty context");
    }
    let first = build(&env, case, "first");
    let second = build(&env, case, "second");
    assert_eq!(second.1.ran(), [""; 0], "the second build ran something");
    assert_eq!(
        first.0.digest, second.0.digest,
        "of the first and the second build"
    );

    let found = describe(&first.0, base);
    let file = case.join("expect.txt");
    if process::host_variable("UPDATE_EXPECT").is_some() {
        fsio::write_atomic(&file, found.as_bytes(), fsio::Durability::Cached).expect("expect.txt");
        fsio::set_mode(&file, 0o644).expect("its mode");
        return;
    }
    let expected = fsio::read_if_there(&file).expect("expect.txt");
    let expected = String::from_utf8(expected.unwrap_or_default()).expect("UTF-8");
    assert!(
        found == expected,
        "{}: UPDATE_EXPECT=1 accepts this\n--- expected\n{expected}\n--- found\n{found}",
        file.display()
    );
}

fn build(env: &TestEnv, case: &Path, name: &str) -> (Image, Progress) {
    let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    let more = fsio::read_if_there(case.join("arguments")).expect("arguments");
    let more = String::from_utf8(more.unwrap_or_default()).expect("UTF-8");
    arguments.extend(more.lines().map(OsString::from));
    let folder = env.path(name);
    let output = format!("type=oci,dest={},tar=false", folder.display());
    arguments.extend(["-o", &output, "-f", "case/Dockerfile", "case/context"].map(OsString::from));
    let mut command = env.command("build", ["--progress", "plain"]);
    command
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", "1700000000");
    let outcome = process::run(&mut command).succeeded();
    (layout::read(&folder), Progress::read(&outcome.stderr))
}

/// The image as text: everything that does not depend on when it was built, and nothing of the base's own.
fn describe(image: &Image, base: &Image) -> String {
    let on_base = image.layers.first().map(|layer| &layer.diff_id) == Some(&base.layers[0].diff_id);
    let mut text = String::from("config\n");
    if let Some(author) = image.config.get("author") {
        let _infallible = writeln!(text, "  author {author}");
    }
    let empty = serde_json::Map::new();
    for (key, value) in image.config["config"].as_object().unwrap_or(&empty) {
        let _infallible = writeln!(text, "  {key} {value}");
    }
    text.push_str("history\n");
    let history = |image: &Image| {
        image.config["history"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let inherited = if on_base { history(base).len() } else { 0 };
    for entry in history(image).iter().skip(inherited) {
        let empty = entry["empty_layer"] == true;
        let words = entry["created_by"].as_str().unwrap_or_default();
        let sign = if empty { ' ' } else { '*' };
        let _infallible = writeln!(text, "{sign} {}", words.escape_debug());
    }
    let lower = if on_base {
        Rootfs::of(base)
    } else {
        Rootfs::default()
    };
    let _infallible = write!(text, "files\n{}", Rootfs::of(image).beyond(&lower));
    text
}
