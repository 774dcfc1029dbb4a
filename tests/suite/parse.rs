//! The corpora of the front end: Dockerfiles beside what they must become.
//!
//! `testdata/parse/ok/*.dockerfile` beside `.ast`, the tree and any warnings; `testdata/parse/err/*.dockerfile` beside
//! `.diag`, the rendered diagnostics. `UPDATE_EXPECT=1` writes the expectations; a missing one is a failure.
//! `fuzz/corpus/*` is what fuzzing starts from: here it is only replayed.

#![expect(
    clippy::disallowed_methods,
    reason = "files of a test need no atomic writes"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use builder::dockerfile::{Parsed, dump, parse};
use builder::source::{Diagnostic, SourceFile, SourceMap, Style, render};
use proptest::prelude::*;

use crate::support::expected;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library for the fuzz targets")]
mod fuzz;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The files of a folder with an ending, sorted; at least `least` of them.
fn files(name: &str, ending: &str, least: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    assert!(
        files.len() >= least,
        "{name} has only {} files",
        files.len()
    );
    files
}

/// Reads a case; errors of reading are rendered as they would be shown.
fn read(input: &Path) -> (SourceMap, Result<SourceFile, String>) {
    let mut sources = SourceMap::new();
    let file = sources.add("Dockerfile", fs::read(input).unwrap());
    (sources, file.map_err(|error| format!("error: {error}\n")))
}

fn render_all(sources: &SourceMap, diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        writeln!(text, "{}", render(sources, diagnostic, Style::default())).unwrap();
    }
    text
}

#[test]
fn accepted_files_become_their_trees() {
    let mut failures = Vec::new();
    for input in files("testdata/parse/ok", ".dockerfile", 40) {
        let (sources, file) = read(&input);
        let file = file.unwrap();
        let Parsed {
            dockerfile,
            diagnostics,
        } = parse(&file);
        let warnings = render_all(&sources, &diagnostics);
        let Some(dockerfile) = dockerfile else {
            failures.push(format!("{}: refused\n{warnings}", input.display()));
            continue;
        };
        let actual = format!("{}{warnings}", dump(&dockerfile, &file));
        failures.extend(expected::compare(&input.with_extension("ast"), &actual).err());
    }
    expected::report(&failures);
}

#[test]
fn refused_files_say_why() {
    let mut failures = Vec::new();
    for input in files("testdata/parse/err", ".dockerfile", 40) {
        let (sources, file) = read(&input);
        let actual = match file {
            Err(error) => error,
            Ok(file) => {
                let parsed = parse(&file);
                if parsed.dockerfile.is_some() {
                    failures.push(format!("{}: accepted", input.display()));
                    continue;
                }
                render_all(&sources, &parsed.diagnostics)
            }
        };
        failures.extend(expected::compare(&input.with_extension("diag"), &actual).err());
    }
    expected::report(&failures);
}

#[test]
fn what_fuzzing_found_stays_found() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 7] = [
        ("chmod", fuzz::chmod),
        ("ignore", fuzz::ignore),
        ("mount", fuzz::mount),
        ("parse", fuzz::parse),
        ("plan", fuzz::plan),
        ("reference", fuzz::reference),
        ("word", fuzz::word),
    ];
    for (name, target) in targets {
        for input in files(&format!("fuzz/corpus/{name}"), "", 5) {
            target(&fs::read(input).unwrap());
        }
    }
}

/// A text of the pieces that Dockerfiles are made of, in any order.
fn dockerfile_like() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "FROM",
        "RUN",
        "COPY",
        "ADD",
        "ENV",
        "LABEL",
        "ARG",
        "ONBUILD",
        "HEALTHCHECK",
        "SHELL",
        "EXPOSE",
        "VOLUME",
        "from",
        "As",
        "CMD",
        "NONE",
        " ",
        " ",
        "  ",
        "\t",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "\\\n",
        "\\ \n",
        "`\n",
        "\\",
        "`",
        "\\\\\n",
        "#",
        "# x\n",
        "# escape=`\n",
        "# syntax=x\n",
        "# check=skip=all\n",
        "--mount=",
        "--from=a",
        "--link",
        "--",
        "type=cache",
        ",",
        "target=/x",
        "=",
        "a",
        "b=c",
        "<<EOF",
        "<<-'E'",
        "EOF",
        "E",
        "<<",
        "[",
        "]",
        "\"",
        "'",
        "$",
        "${x:-",
        "}",
        "é",
        "\u{feff}",
        "\u{2028}",
        "\0",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::parse(&bytes);
    }

    #[test]
    fn any_pieces_are_parsed_or_refused(text in dockerfile_like()) {
        fuzz::parse(text.as_bytes());
        fuzz::word(text.as_bytes());
    }

    #[test]
    fn any_stage_is_planned_or_refused(text in dockerfile_like()) {
        fuzz::plan(format!("FROM a AS b\n{text}").as_bytes());
        fuzz::plan(format!("FROM scratch\nENV a=b\n{text}\nFROM scratch\nCOPY {text} /").as_bytes());
    }

    #[test]
    fn any_mount_is_read_or_refused(text in "(type=(bind|cache|tmpfs|secret|ssh)|[a-z]{2,4}|target|src|id|size|mode|uid|ro|=|,|\"|\\$x|/|[0-9.]{1,22}|k|\\\\|é){0,20}") {
        fuzz::mount(text.as_bytes());
    }

    #[test]
    fn any_ignore_file_is_read_or_refused(text in "(a|b|/|\\*|\\*\\*|\\?|!|#|\n|\r| |\\.|\\.\\.|\\[|\\]|\\^|-|\\\\|é){0,30}") {
        fuzz::ignore(text.as_bytes());
    }

    #[test]
    fn any_reference_is_read_or_refused(text in "([a-z0-9]{1,3}|[A-Z]|localhost|docker\\.io|library|[._:/@-]|sha256:[0-9a-f]{64}|linux|arm|v[0-9]|é){0,8}") {
        fuzz::reference(text.as_bytes());
    }

    #[test]
    fn any_mode_is_read_or_refused(text in "[0-9ugoarwxXst+,=-]{0,12}") {
        fuzz::chmod(text.as_bytes());
    }

    /// A line end at the end of a file makes no difference, but to a heredoc that is open and to what the last line continues.
    #[test]
    fn a_last_line_end_makes_no_difference(text in dockerfile_like()) {
        let text = format!("FROM scratch\n{text}");
        let text = text.trim_end_matches(['\\', '`', '\n', ' ', '\t', '\r']);
        let trees = |text: &str| parse(&SourceMap::new().add("Dockerfile", text.into()).unwrap()).dockerfile;
        prop_assert_eq!(trees(text), trees(&format!("{text}\n")));
    }

    #[test]
    fn any_stage_is_parsed_or_refused(text in dockerfile_like()) {
        fuzz::parse(format!("FROM scratch\n{text}").as_bytes());
        fuzz::parse(format!("FROM scratch\nRUN {text}").as_bytes());
    }

    /// One line is read in another way than one that goes on; a continuation with nothing behind it makes no difference.
    #[test]
    fn a_line_is_read_as_if_it_were_continued(line in "[A-Za-z<\\[\\]\"'$={}#,é\u{3000}\u{2028}/ \t\r\u{b}-]{0,40}", keyword in "|RUN |ENV a|COPY a |LABEL |ONBUILD |FROM |run\u{3000}") {
        let text = format!("FROM scratch\n{keyword}{line}");
        // A comment is not continued.
        prop_assume!(!keyword.is_empty() || !line.trim_start().starts_with('#'));
        let parsed = |text: String| {
            let file = SourceMap::new().add("Dockerfile", text.into_bytes()).unwrap();
            let parsed = parse(&file);
            (parsed.dockerfile, parsed.diagnostics)
        };
        prop_assert_eq!(parsed(text.clone()), parsed(format!("{text}\\\n")));
    }
}
