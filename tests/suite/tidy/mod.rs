//! The structure of the project, held by a test: which module may use which, and where the exceptions live.
//!
//! Each check is a function over texts that answers with complaints, and has tests beside it that show it fail. A new
//! edge between modules is a one-line change to [`MAY_USE`], which a reviewer sees.

mod documents;
mod edges;
mod files;
mod places;
mod rust_file;
mod rust_text;

use std::path::Path;

use builder::fsio;

use documents::{check_edge_table, check_module_table, check_store_folders};
use edges::{check_edges, check_table};
use files::{check_declared, check_dependencies, check_form, check_rule_pages};
use places::check_places;
use rust_file::RustFile;

/// Who may use whom. A module uses only modules above it, so there is no cycle.
const MAY_USE: &[(&str, &[&str])] = &[
    ("source", &[]),
    ("oci", &[]),
    ("sys", &[]),
    ("fsio", &["sys"]),
    ("agent", &["fsio"]),
    ("cdi", &["fsio"]),
    ("dockerfile", &["source"]),
    ("context", &["oci", "sys", "fsio"]),
    ("plan", &["source", "oci", "dockerfile"]),
    ("lint", &["source", "oci", "dockerfile", "context", "plan"]),
    ("layer", &["oci", "fsio"]),
    ("store", &["oci", "sys", "fsio", "layer"]),
    ("snapshot", &["oci", "sys", "fsio", "layer"]),
    ("sandbox", &["sys", "fsio"]),
    ("registry", &["oci", "sys", "fsio"]),
    (
        "fetch",
        &[
            "oci", "sys", "fsio", "agent", "plan", "layer", "store", "registry",
        ],
    ),
    ("image", &["oci", "fsio", "layer"]),
    (
        "solve",
        &[
            "source", "oci", "sys", "fsio", "agent", "cdi", "context", "plan", "layer", "store",
            "snapshot", "sandbox", "image",
        ],
    ),
    (
        "export",
        &["oci", "fsio", "layer", "store", "registry", "image"],
    ),
    (
        "cache",
        &[
            "source", "oci", "fsio", "layer", "store", "registry", "image", "solve", "export",
        ],
    ),
    (
        "build",
        &[
            "source",
            "oci",
            "sys",
            "fsio",
            "agent",
            "cdi",
            "dockerfile",
            "context",
            "plan",
            "lint",
            "layer",
            "store",
            "snapshot",
            "sandbox",
            "registry",
            "fetch",
            "image",
            "solve",
            "export",
            "cache",
        ],
    ),
    (
        "ui",
        &["source", "oci", "context", "plan", "lint", "solve", "build"],
    ),
    (
        "cli",
        &[
            "source", "oci", "fsio", "agent", "cdi", "context", "plan", "lint", "store", "sandbox",
            "registry", "fetch", "solve", "export", "cache", "build", "ui",
        ],
    ),
    ("main", &["sandbox", "cli"]),
];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn entries(folder: &str) -> Vec<String> {
    let names = fsio::read_dir_sorted(package().join(folder)).expect("a folder of the package");
    names
        .into_iter()
        .map(|name| name.into_string().expect("a name in UTF-8"))
        .collect()
}

/// The paths and texts of the Rust files in a folder.
fn rust_texts(folder: &str, texts: &mut Vec<(String, String)>) {
    for name in entries(folder) {
        let path = format!("{folder}/{name}");
        if package().join(&path).is_dir() {
            rust_texts(&path, texts);
        } else if path.ends_with(".rs") {
            let text = fsio::read_to_string(package().join(&path)).expect("a source file");
            texts.push((path, text));
        }
    }
}

fn project() -> Vec<RustFile> {
    let mut texts = Vec::new();
    for folder in ["src", "tests"] {
        rust_texts(folder, &mut texts);
    }
    RustFile::all(texts)
}

#[track_caller]
fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn modules_use_only_what_the_table_allows() {
    assert_tidy(&check_edges(&project(), MAY_USE));
}

#[test]
fn the_table_has_every_module_and_no_cycle() {
    let modules = entries("src")
        .into_iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    assert_tidy(&check_table(MAY_USE, &modules));
}

#[test]
fn the_map_is_that_of_the_code() {
    let text = |path: &str| fsio::read_to_string(package().join(path)).unwrap();
    let page = text("docs/architecture.md");
    assert_tidy(&check_edge_table(&page, MAY_USE));
    let is_there = |path: &str| !path.is_empty() && package().join(path).exists();
    assert_tidy(&check_module_table(&page, MAY_USE, is_there));
    for path in ["docs/architecture.md", "docs/store-layout.md", "src/lib.rs"] {
        let paths = text("src/store/paths.rs");
        assert_tidy(&check_store_folders(path, &text(path), &paths));
    }
}

#[test]
fn exceptions_are_in_their_places() {
    assert_tidy(&check_places(&project()));
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    assert_tidy(&check_form(&project()));
}

#[test]
fn every_test_file_is_declared() {
    for binary in ["suite", "build"] {
        let folder = format!("tests/{binary}");
        let main = fsio::read_to_string(package().join(&folder).join("main.rs")).unwrap();
        assert_tidy(&check_declared(binary, &main, &entries(&folder)));
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = fsio::read_to_string(package().join("Cargo.toml")).unwrap();
    assert_tidy(&check_dependencies(&manifest));
}

#[test]
fn every_lint_rule_has_its_page() {
    let rules = entries("src/lint/rules");
    assert_tidy(&check_rule_pages(&rules, &entries("docs/rules")));
}
