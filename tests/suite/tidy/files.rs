//! What files need beside them or at their head.

use std::collections::BTreeSet;

use super::rust_file::RustFile;
use super::rust_text::without_literals;

/// Lines of the longest source file.
const LONGEST_FILE: usize = 600;

/// Files that do not say what they are, and source files that got too long.
pub(super) fn check_form(files: &[RustFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        if !file.text.starts_with("//! ") {
            complaints.push(file.complain("begins without a `//!` that says what it is"));
        }
        let lines = file.text.lines().count();
        if file.is_in(&["src/"]) && lines > LONGEST_FILE {
            complaints.push(file.complain(&format!("{lines} lines, more than {LONGEST_FILE}")));
        }
    }
    complaints
}

/// Test files that their binary does not declare, which would never run.
pub(super) fn check_declared(binary: &str, main: &str, entries: &[String]) -> Vec<String> {
    let code = without_literals(main);
    let words: Vec<&str> = code.split_whitespace().collect();
    entries
        .iter()
        .map(|entry| entry.trim_end_matches(".rs"))
        .filter(|name| *name != "main")
        .filter(|name| {
            !words
                .windows(2)
                .any(|pair| pair == ["mod", &format!("{name};")])
        })
        .map(|name| format!("tests/{binary}/main.rs does not declare `mod {name};`"))
        .collect()
}

/// Dependencies without the reason why they are there.
pub(super) fn check_dependencies(manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end().trim_end_matches(']');
            in_dependencies = section.ends_with("dependencies");
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| in_dependencies) else {
            continue;
        };
        let mut in_string = false;
        let comment = value.find(|c: char| {
            in_string ^= c == '"';
            c == '#' && !in_string
        });
        let reason = comment.map(|start| value[start + 1..].trim());
        if !name.starts_with('#') && reason.is_none_or(str::is_empty) {
            complaints.push(format!(
                "Cargo.toml: `{}` has no reason beside it",
                name.trim()
            ));
        }
    }
    complaints
}

/// Lint rules without a page that explains them, and pages of no rule.
pub(super) fn check_rule_pages(rules: &[String], pages: &[String]) -> Vec<String> {
    let named = |names: &[String], ending: &str, others: &[&str]| -> BTreeSet<String> {
        let names = names.iter().filter_map(|name| name.strip_suffix(ending));
        names
            .filter(|name| !others.contains(name))
            .map(|name| name.replace('_', "-"))
            .collect()
    };
    let rules = named(rules, ".rs", &["mod", "tests"]);
    let pages = named(pages, ".md", &["README"]);
    let without_page = rules
        .difference(&pages)
        .map(|rule| format!("the lint rule `{rule}` has no page in docs/rules/"));
    let without_rule = pages
        .difference(&rules)
        .map(|page| format!("docs/rules/{page}.md is about no lint rule"));
    without_page.chain(without_rule).collect()
}

#[cfg(test)]
fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_nameless_or_long_file_is_found() {
    let check = |path: &str, text: String| check_form(&RustFile::all([(path.to_owned(), text)]));
    let long = |lines: usize| format!("//! Long.\n{}", "x();\n".repeat(lines - 1));
    assert_eq!(check("src/a.rs", long(600)), [""; 0]);
    assert_eq!(check("tests/suite/a.rs", long(601)), [""; 0]);
    assert_eq!(
        check("src/a.rs", long(601)),
        ["src/a.rs: 601 lines, more than 600"]
    );
    for text in [
        "",
        "use x;",
        "// What\n",
        "/// What\n",
        "//!\n",
        "//!What\n",
    ] {
        assert_eq!(
            check("tests/build/a.rs", text.to_owned()),
            ["tests/build/a.rs: begins without a `//!` that says what it is"],
            "{text:?}"
        );
    }
}

#[test]
fn an_undeclared_test_file_is_found() {
    let files = owned(&["a.rs", "b", "main.rs"]);
    let check = |main: &str| check_declared("suite", main, &files);
    assert_eq!(check("mod a;\npub mod b;\n"), [""; 0]);
    assert_eq!(
        check("mod a;\n// mod b;\n"),
        ["tests/suite/main.rs does not declare `mod b;`"]
    );
    assert_eq!(check("mod ab;").len(), 2);
}

#[test]
fn a_dependency_without_reason_is_found() {
    let bad = [
        "[dependencies]\nx = \"1\"",
        "[dependencies]\nx = \"1\" #",
        "[dependencies]\nx = { git = \"https://example/#x\" }",
        "[dependencies]\n# a reason above\nx = \"1\"",
        "[dev-dependencies]\nx = \"1\"",
        "[target.'cfg(unix)'.dependencies]\nx = \"1\"",
    ];
    for manifest in bad {
        assert_eq!(
            check_dependencies(manifest),
            ["Cargo.toml: `x` has no reason beside it"],
            "{manifest}"
        );
    }
    let good = [
        "[package]\nx = \"1\"",
        "[dependencies]\nx = \"1\" # it is needed",
        "[dependencies]\nx = { version = \"1\", features = [\"y\"] } # it is needed",
        "[dependencies]\nx = \"1\" # \"did you mean\"",
        "[dependencies]\n# y = 1\n\n[lints.rust]\nx = \"warn\"",
    ];
    for manifest in good {
        assert_eq!(check_dependencies(manifest), [""; 0], "{manifest}");
    }
}

#[test]
fn a_rule_without_page_is_found() {
    let rules = owned(&["mod.rs", "stage_name_casing.rs", "from_as_casing.rs"]);
    let pages = owned(&["stage-name-casing.md", "from-as-casing.md", "README.md"]);
    assert_eq!(check_rule_pages(&rules, &pages), [""; 0]);
    assert_eq!(
        check_rule_pages(&rules, &pages[..1]),
        ["the lint rule `from-as-casing` has no page in docs/rules/"]
    );
    assert_eq!(
        check_rule_pages(&rules[..2], &pages),
        ["docs/rules/from-as-casing.md is about no lint rule"]
    );
}
