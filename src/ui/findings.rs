//! Findings about a Dockerfile as text: the result of a check, and the list that a build ends with.
//!
//! Both have the form that the reference client gives them, so that people and scripts need not learn another one.

use std::fmt::Write as _;

use super::style::{Style, paint};
use super::text;
use crate::lint;
use crate::source::{Diagnostic, SourceFile, SourceMap};

const RULE: &str = "--------------------";

/// The result of a check: how many findings there are, then each with its source. `error` says that more is to come.
#[must_use]
pub fn check_text(sources: &SourceMap, warnings: &[Diagnostic], error: bool) -> String {
    let mut out = match warnings.len() {
        0 if error => String::new(),
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in warnings {
        _ = write!(out, "\nWARNING: {}", warning.code);
        let rule = lint::rule(warning.code);
        if let Some(url) = rule.and_then(|rule| rule.url) {
            _ = write!(out, " - {url}");
        }
        _ = writeln!(out, "\n{}", text::one_line(&warning.message));
        out.push_str(&excerpt(sources, warning));
        // The reference's form has a link for the rules that it knows.
        if rule.is_some_and(|rule| rule.ours) {
            for hint in &warning.hints {
                _ = writeln!(out, "hint: {}", text::one_line(hint));
            }
        }
    }
    out
}

/// The list of findings that a build ends with, or nothing if there are none. `details` adds to each what its rule is about
/// and its source.
#[must_use]
pub fn summary(
    sources: &SourceMap,
    warnings: &[Diagnostic],
    details: bool,
    colours: bool,
) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let s = if warnings.len() == 1 { "" } else { "s" };
    let more = if details {
        ""
    } else {
        " (use --debug to expand)"
    };
    let head = format!("{} warning{s} found{more}:", warnings.len());
    let mut out = format!("\n {}\n", paint(colours, Style::Warning, &head));
    for warning in warnings {
        _ = writeln!(out, " - {}", short(sources, warning));
        if !details {
            continue;
        }
        if let Some(rule) = lint::rule(warning.code) {
            _ = writeln!(out, "{}", rule.description);
            if let Some(url) = rule.url {
                _ = writeln!(out, "More info: {url}");
            }
        }
        for hint in &warning.hints {
            let label = paint(colours, Style::Hint, "hint:");
            _ = writeln!(out, "{label} {}", text::one_line(hint));
        }
        _ = writeln!(out, "{}", excerpt(sources, warning));
    }
    out
}

/// `RuleName: message (line N)`
#[must_use]
pub fn short(sources: &SourceMap, warning: &Diagnostic) -> String {
    let message = text::one_line(&warning.message);
    match place(sources, warning) {
        Some((_, (line, _))) => format!("{}: {message} (line {line})", warning.code),
        None => format!("{}: {message}", warning.code),
    }
}

/// The file that a finding is about, and the first and last line of its place.
fn place<'s>(
    sources: &'s SourceMap,
    warning: &Diagnostic,
) -> Option<(&'s SourceFile, (usize, usize))> {
    let span = warning.span()?;
    let file = sources.get(span.file)?;
    Some((file, file.lines(span)))
}

/// The marked lines of a place between a few others.
fn excerpt(sources: &SourceMap, warning: &Diagnostic) -> String {
    let Some((file, (first, last))) = place(sources, warning) else {
        return String::new();
    };
    let (from, to) = surroundings(first, last, file.line_count());
    let mut out = format!("{}:{first}\n{RULE}\n", text::one_line(file.name()));
    for line in from..=to {
        let marked = (first..=last).contains(&line);
        let mark = if marked { ">>>" } else { "   " };
        let content = text::neutralise(
            file.slice(file.span(file.line_range(line))).as_bytes(),
            false,
        );
        _ = writeln!(
            out,
            "{}",
            format!(" {line:>3} | {mark} {content}").trim_end()
        );
    }
    _ = writeln!(out, "{RULE}");
    out
}

/// A place with the lines around it, as far as there are any: two on each side of a single line, one of several.
fn surroundings(first: usize, last: usize, count: usize) -> (usize, usize) {
    let around = if first == last { 2 } else { 1 };
    let from = first.saturating_sub(around).max(1);
    (from, (last + around).min(count).max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> (SourceMap, SourceFile) {
        let mut sources = SourceMap::new();
        let file = sources.add("Dockerfile", text.into()).unwrap();
        (sources, file)
    }

    #[test]
    fn a_place_is_shown_between_its_neighbours() {
        let cases = [
            ((1, 1, 1), (1, 1)),
            ((1, 1, 9), (1, 3)),
            ((5, 5, 9), (3, 7)),
            ((9, 9, 9), (7, 9)),
            ((3, 5, 9), (2, 6)),
            ((1, 9, 9), (1, 9)),
            ((1, 1, 0), (1, 1)),
        ];
        for ((first, last, count), expected) in cases {
            let found = surroundings(first, last, count);
            assert_eq!(found, expected, "of {first}-{last} in {count}");
        }
    }

    #[test]
    fn a_finding_without_place_or_rule_is_still_said() {
        let (sources, _) = sources("FROM a\n");
        let warning = Diagnostic::warning("Unheard", "odd\u{1b}[2J");
        let text = check_text(&sources, std::slice::from_ref(&warning), false);
        assert_eq!(
            text,
            "Check complete, 1 warning has been found!\n\nWARNING: Unheard\nodd\n"
        );
        assert_eq!(short(&sources, &warning), "Unheard: odd");
    }

    #[test]
    fn a_build_ends_with_a_list() {
        let (sources, file) = sources("FROM a\nRUN x \\\n\n y\n");
        let warning = Diagnostic::warning("NoEmptyContinuation", "Empty continuation line")
            .at(file.span(15..16), "")
            .hint("remove it");
        let warnings = [warning];
        assert_eq!(
            summary(&sources, &warnings, false, false),
            "\n 1 warning found (use --debug to expand):\n - NoEmptyContinuation: Empty continuation line (line 3)\n"
        );
        let expected = "
 1 warning found:
 - NoEmptyContinuation: Empty continuation line (line 3)
Empty continuation lines will become errors in a future release
More info: https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/
hint: remove it
Dockerfile:3
--------------------
   1 |     FROM a
   2 |     RUN x \\
   3 | >>>
   4 |      y
--------------------

";
        assert_eq!(summary(&sources, &warnings, true, false), expected);
        assert_eq!(summary(&sources, &[], true, false), "");
    }
}
