//! Who uses whom.

use std::collections::{BTreeMap, BTreeSet};

use super::rust_file::RustFile;
use super::rust_text::{names, path_heads};

/// Uses of modules that the table does not allow.
pub(super) fn check_edges(files: &[RustFile], may_use: &[(&str, &[&str])]) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = may_use.iter().copied().collect();
    let mut complaints = Vec::new();
    for file in files {
        let Some(module) = file.module() else {
            continue;
        };
        let Some(allowed) = table.get(module) else {
            complaints.push(file.complain(&format!("`{module}` is not in the table of modules")));
            continue;
        };
        let used = used_modules(file);
        let known = used.iter().filter(|used| table.contains_key(**used));
        for used in known.filter(|used| **used != module && !allowed.contains(used)) {
            complaints.push(file.complain(&format!("`{module}` may not use `{used}`")));
        }
    }
    complaints
}

/// The names that the code takes from the crate's root.
fn used_modules(file: &RustFile) -> BTreeSet<&str> {
    // The binary sees the library as a crate of its own name.
    let root = if file.path == "src/main.rs" {
        "builder"
    } else {
        "crate"
    };
    let mut used = BTreeSet::new();
    let mut climbed = 0;
    let mut climbs_on = false;
    for (name, after) in names(&file.product) {
        climbed = match name {
            "super" if climbs_on => climbed + 1,
            "super" => 1,
            _ => 0,
        };
        climbs_on = name == "super" && after.starts_with("::");
        if name == root || climbed == file.depth() && climbed > 0 {
            used.extend(path_heads(after));
        }
    }
    used
}

/// A table with a cycle, a module that is not declared or a folder that nobody declared.
pub(super) fn check_table(may_use: &[(&str, &[&str])], modules: &BTreeSet<String>) -> Vec<String> {
    let mut above = BTreeSet::new();
    let mut complaints = Vec::new();
    for (module, uses) in may_use {
        for used in uses.iter().filter(|used| !above.contains(**used)) {
            complaints.push(format!("`{module}` uses `{used}`, which is not above it"));
        }
        above.insert(*module);
        if !modules.contains(*module) {
            complaints.push(format!("`{module}` is in the table but not in src/"));
        }
    }
    complaints
}

/// The complaints about one file under a small table.
#[cfg(test)]
fn edges(path: &str, text: &str) -> Vec<String> {
    let table: &[(&str, &[&str])] = &[
        ("oci", &[]),
        ("fsio", &[]),
        ("store", &["fsio"]),
        ("main", &[]),
    ];
    check_edges(&RustFile::all([(path.to_owned(), text.to_owned())]), table)
}

#[test]
fn an_edge_outside_the_table_is_found() {
    let bad = [
        "use crate::oci::Digest;",
        "use crate::{fsio, oci::{self, Digest}};",
        "use crate::{\n    fsio,\n    oci,\n};",
        "fn f() -> crate::oci::Digest {}",
        "pub use super::super::oci;",
        "macro_rules! m { () => { $crate::oci::x() } }",
    ];
    for text in bad {
        assert_eq!(
            edges("src/store/blob.rs", text),
            ["src/store/blob.rs: `store` may not use `oci`"],
            "{text}"
        );
    }
    let expected = ["src/store/mod.rs: `store` may not use `oci`"];
    assert_eq!(edges("src/store/mod.rs", "use super::oci;"), expected);
    let expected = ["src/main.rs: `main` may not use `oci`"];
    assert_eq!(edges("src/main.rs", "use builder::oci;"), expected);
    let expected = ["src/extra/mod.rs: `extra` is not in the table of modules"];
    assert_eq!(edges("src/extra/mod.rs", ""), expected);
}

#[test]
fn an_edge_of_the_table_is_fine() {
    let good = [
        "use crate::fsio::{self, oci};",
        "use crate::store::oci;",
        "use super::oci;",
        "use oci_spec::image; fn f(oci: u8) {}",
        "// use crate::oci;\nconst X: &str = \"crate::oci\";",
        "#[cfg(test)]\nmod tests {\n    use crate::oci::Digest;\n}",
        "use builder::oci;",
    ];
    for text in good {
        assert_eq!(edges("src/store/blob.rs", text), [""; 0], "{text}");
    }
    assert_eq!(edges("src/lib.rs", "use crate::oci;"), [""; 0]);
}

#[test]
fn a_cycle_and_a_module_of_one_side_are_found() {
    let modules = ["a", "b"].map(str::to_owned).into();
    assert_eq!(check_table(&[("a", &[]), ("b", &["a"])], &modules), [""; 0]);
    assert_eq!(
        check_table(&[("a", &["b"]), ("b", &["a"])], &modules),
        ["`a` uses `b`, which is not above it"]
    );
    assert_eq!(
        check_table(&[("a", &[]), ("c", &[])], &modules),
        ["`c` is in the table but not in src/"]
    );
}
