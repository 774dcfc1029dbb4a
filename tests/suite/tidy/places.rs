//! What is allowed in one place only.

use super::rust_file::RustFile;
use super::rust_text::{names, path_heads};

/// Things that have one place each, found elsewhere.
pub(super) fn check_places(files: &[RustFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let in_source = file.is_in(&["src/"]);
        for (name, after) in names(&file.code) {
            if name == "unsafe" && !file.is_in(&["src/sys/"]) {
                complaints.push(file.complain("`unsafe` belongs in src/sys/"));
            }
            let is_grammar = file.is_in(&[
                "src/dockerfile/grammar",
                "src/dockerfile/lower",
                "src/dockerfile/word",
            ]);
            let is_path = after.starts_with("::") || after.starts_with(';');
            if matches!(name, "pest" | "pest_derive") && is_path && !is_grammar {
                complaints
                    .push(file.complain("`pest` belongs in src/dockerfile/{grammar,lower,word}"));
            }
        }
        if !in_source {
            continue;
        }
        for (name, after) in names(&file.product) {
            let prints = match name {
                "print" | "println" | "eprint" | "eprintln" | "dbg" => after.starts_with('!'),
                "io" => path_heads(after)
                    .iter()
                    .any(|head| matches!(*head, "stdout" | "stderr")),
                _ => false,
            };
            if prints && !file.is_in(&["src/ui/"]) {
                complaints.push(file.complain("standard output and error belong to src/ui/"));
            }
        }
        complaints.extend(environment(file));
    }
    complaints
}

/// The process environment is read in one file; `main.rs` may look at the name it was started by.
fn environment(file: &RustFile) -> Option<String> {
    let allowed = |after: &str| {
        let heads = path_heads(after);
        let harmless = |head: &&str| match *head {
            "consts" => true,
            "args_os" => file.path == "src/main.rs",
            _ => false,
        };
        !heads.is_empty() && heads.iter().all(harmless)
    };
    let reads = names(&file.product).any(|(name, after)| match name {
        "std" => {
            // `std::env::…`, and `env` in the group of `use std::{…}`, whatever comes of it later.
            let Some(path) = after.strip_prefix("::") else {
                return false;
            };
            let direct = path
                .strip_prefix("env")
                .filter(|after| !is_inside_name(after));
            match direct {
                Some(after) => !allowed(after),
                None => path_heads(after).contains(&"env"),
            }
        }
        _ => false,
    });
    (reads && file.path != "src/cli/settings.rs")
        .then(|| file.complain("`std::env` belongs in src/cli/settings.rs"))
}

fn is_inside_name(after: &str) -> bool {
    after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut complaints = check_places(&RustFile::all([(path.to_owned(), text.to_owned())]));
    complaints.dedup();
    complaints
}

#[test]
fn a_thing_out_of_its_place_is_found() {
    let unsafe_place = "`unsafe` belongs in src/sys/";
    let pest_place = "`pest` belongs in src/dockerfile/{grammar,lower,word}";
    let print_place = "standard output and error belong to src/ui/";
    let env_place = "`std::env` belongs in src/cli/settings.rs";
    let cases = [
        ("src/store/mod.rs", "unsafe { f() }", unsafe_place),
        (
            "tests/suite/x.rs",
            "unsafe impl Send for X {}",
            unsafe_place,
        ),
        ("src/system.rs", "unsafe fn f();", unsafe_place),
        ("src/plan/mod.rs", "use pest::Span;", pest_place),
        (
            "src/dockerfile/ast.rs",
            "fn f(x: pest::Span<'_>);",
            pest_place,
        ),
        ("src/plan/mod.rs", "use pest_derive::Parser;", pest_place),
        ("src/build/mod.rs", "println!(\"x\");", print_place),
        ("src/build/mod.rs", "eprint!(\"x\");", print_place),
        ("src/cli/mod.rs", "std::io::stdout().flush();", print_place),
        (
            "src/cli/mod.rs",
            "use std::io::{self, stderr};",
            print_place,
        ),
        ("src/cli/mod.rs", "std::env::var(x)", env_place),
        ("src/cli/mod.rs", "use std::env;", env_place),
        ("src/cli/mod.rs", "use std::{env::var, fs};", env_place),
        ("src/cli/mod.rs", "use std::env::{consts, vars};", env_place),
        ("src/cli/mod.rs", "std::env::args_os()", env_place),
        ("src/main.rs", "std::env::var(x)", env_place),
    ];
    for (path, text, complaint) in cases {
        assert_eq!(
            complaints(path, text),
            [format!("{path}: {complaint}")],
            "{text}"
        );
    }
}

#[test]
fn a_thing_in_its_place_is_fine() {
    let cases = [
        ("src/sys/fork.rs", "unsafe { f() }"),
        ("src/lib.rs", "#![deny(unsafe_code)] // unsafe"),
        ("src/dockerfile/grammar.rs", "use pest_derive::Parser;"),
        ("src/dockerfile/lower.rs", "use pest::iterators::Pair;"),
        ("src/dockerfile/word/expand.rs", "use pest::Parser as _;"),
        ("src/plan/mod.rs", "let pest = 1;"),
        ("src/ui/console.rs", "println!(); io::stderr();"),
        (
            "src/build/mod.rs",
            "#[cfg(test)]\nmod tests { fn f() { println!(); } }",
        ),
        (
            "src/build/mod.rs",
            "command.stdout(x); writeln!(y); io::Error",
        ),
        ("tests/build/main.rs", "eprintln!(); std::env::var_os(x);"),
        ("src/cli/settings.rs", "use std::env;"),
        ("src/oci/platform.rs", "std::env::consts::ARCH"),
        ("src/oci/platform.rs", "std::environment::x()"),
        ("src/main.rs", "std::env::args_os()"),
        ("src/cli/mod.rs", "env!(\"CARGO_PKG_VERSION\")"),
    ];
    for (path, text) in cases {
        assert_eq!(complaints(path, text), [""; 0], "{path}: {text}");
    }
}
