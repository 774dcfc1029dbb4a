//! The result of a check for programs: the reference client's JSON, and SARIF 2.1.0.

use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::build::{BuildError, Checked};
use crate::lint;
use crate::oci::base64;
use crate::source::{Diagnostic, LineColumn, SourceFile, SourceMap, Span};

/// The result of a check in the form of the reference client. Lines count from 1, characters from 0.
#[must_use]
pub fn check_json(sources: &SourceMap, checked: &Checked) -> String {
    let warning = |warning: &Diagnostic| {
        let rule = lint::rule(warning.code);
        let mut value = json!({ "ruleName": warning.code, "detail": warning.message });
        if let Some(rule) = rule {
            value["description"] = json!(rule.description);
        }
        if let Some(url) = rule.and_then(|rule| rule.url) {
            value["url"] = json!(url);
        }
        value["location"] = location(sources, warning.span());
        value
    };
    let mut result = json!({
        "warnings": checked.warnings.iter().map(warning).collect::<Vec<_>>(),
        "sources": named(sources, checked).map(source).collect::<Vec<_>>(),
    });
    if let Some(error) = &checked.error {
        result["buildError"] = json!({
            "message": error.to_string(),
            "location": location(sources, mistakes(error).first().and_then(Diagnostic::span)),
        });
    }
    pretty(&result)
}

/// The Dockerfile, and the texts of triggers as far as one of them is named.
fn named<'s>(
    sources: &'s SourceMap,
    checked: &Checked,
) -> impl Iterator<Item = &'s SourceFile> + use<'s> {
    let mistakes = checked.error.as_ref().map(mistakes).unwrap_or_default();
    let found = mistakes.iter().chain(&checked.warnings);
    let last = found.filter_map(|found| Some(found.span()?.file)).max();
    let last = last.unwrap_or_default();
    sources.iter().take_while(move |file| file.id() <= last)
}

/// The place of something as the reference client writes it; without ranges if it has none.
pub(super) fn location(sources: &SourceMap, span: Option<Span>) -> Value {
    let place = span.and_then(|span| Some((span, sources.get(span.file)?)));
    let ranges: Vec<Value> = place
        .map(|(span, file)| {
            let (start, end) = ends(file, span);
            let position = |at: LineColumn| json!({ "line": at.line, "character": at.column - 1 });
            json!({ "start": position(start), "end": position(end) })
        })
        .into_iter()
        .collect();
    json!({ "sourceIndex": span.map_or(0, |span| span.file.0), "ranges": ranges })
}

fn source(file: &SourceFile) -> Value {
    json!({
        "filename": file.name(),
        "data": base64::encode(file.text().as_bytes()),
        "language": "Dockerfile",
    })
}

/// The mistakes behind an error, with their places.
fn mistakes(error: &BuildError) -> Vec<Diagnostic> {
    match error {
        BuildError::Dockerfile(mistakes) => mistakes.clone(),
        // The findings themselves are the error.
        BuildError::Check(_) => Vec::new(),
        error => {
            let mistake = Diagnostic::error("build-error", error.to_string());
            vec![match error.span() {
                Some(span) => mistake.at(span, ""),
                None => mistake,
            }]
        }
    }
}

/// Where a place begins and ends; the end of its last line if it takes the line end with it.
fn ends(file: &SourceFile, span: Span) -> (LineColumn, LineColumn) {
    let (_, last) = file.lines(span);
    let line_end = u32::try_from(file.line_range(last).end).unwrap_or(u32::MAX);
    let end = span.end.min(line_end.max(span.start));
    (file.line_column(span.start), file.line_column(end))
}

/// The result of a check as a SARIF log.
#[must_use]
pub fn sarif(sources: &SourceMap, checked: &Checked) -> String {
    let uri = uri(&checked.dockerfile);
    let mistakes = checked.error.as_ref().map(mistakes).unwrap_or_default();
    let violated = match &checked.error {
        Some(BuildError::Check(rules)) => rules.as_slice(),
        _ => &[],
    };
    let results: Vec<Value> = mistakes
        .iter()
        .chain(&checked.warnings)
        .map(|finding| {
            let fails = finding.is_error() || violated.contains(&finding.code);
            result(sources, finding, fails, &uri)
        })
        .collect();
    let notes: Vec<Value> = checked
        .missing
        .iter()
        .map(|base| {
            let text = format!(
                "base image {} was not looked at: {}",
                base.name, base.reason
            );
            json!({ "level": "note", "message": { "text": text } })
        })
        .collect();
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "builder",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": lint::RULES.iter().map(rule).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": mistakes.is_empty(),
                "toolExecutionNotifications": notes,
            }],
            "artifacts": [{ "location": { "uri": uri }, "sourceLanguage": "dockerfile" }],
            "results": results,
        }],
    }))
}

fn rule(rule: &lint::Rule) -> Value {
    let mut value = json!({
        "id": rule.name,
        "shortDescription": { "text": rule.description },
        "defaultConfiguration": { "level": "warning", "enabled": !rule.experimental },
    });
    if let Some(url) = rule.url {
        value["helpUri"] = json!(url);
    }
    value
}

fn result(sources: &SourceMap, finding: &Diagnostic, fails: bool, uri: &str) -> Value {
    let level = if fails { "error" } else { "warning" };
    let mut value = json!({
        "ruleId": finding.code,
        "level": level,
        "message": { "text": finding.message },
    });
    if let Some(index) = lint::RULES
        .iter()
        .position(|rule| rule.name == finding.code)
    {
        value["ruleIndex"] = json!(index);
    }
    let mut physical = json!({ "artifactLocation": { "uri": uri, "index": 0 } });
    if let Some(region) = finding.span().and_then(|span| region(sources, span)) {
        physical["region"] = region;
    }
    value["locations"] = json!([{ "physicalLocation": physical }]);
    let replacements: Vec<Value> = finding
        .fix
        .iter()
        .filter_map(|edit| {
            Some(json!({
                "deletedRegion": exact_region(sources, edit.span)?,
                "insertedContent": { "text": edit.replacement },
            }))
        })
        .collect();
    if !replacements.is_empty() {
        let change = json!({ "artifactLocation": { "uri": uri }, "replacements": replacements });
        value["fixes"] = json!([{
            "description": { "text": format!("what `{}` asks for", finding.code) },
            "artifactChanges": [change],
        }]);
    }
    value
}

/// What is to be looked at: without a line end at its end.
fn region(sources: &SourceMap, span: Span) -> Option<Value> {
    let (start, end) = ends(sources.get(span.file)?, span);
    Some(region_of(start, end))
}

/// What is to be replaced: the very bytes.
fn exact_region(sources: &SourceMap, span: Span) -> Option<Value> {
    let file = sources.get(span.file)?;
    Some(region_of(
        file.line_column(span.start),
        file.line_column(span.end),
    ))
}

fn region_of(start: LineColumn, end: LineColumn) -> Value {
    json!({
        "startLine": start.line,
        "startColumn": start.column,
        "endLine": end.line,
        "endColumn": end.column,
    })
}

/// The reference of a path: relative to the working directory, unless the path is absolute.
fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::new();
    if path.is_absolute() {
        uri.push_str("file://");
    }
    for component in path.components() {
        match component {
            Component::CurDir | Component::RootDir | Component::Prefix(_) => continue,
            Component::ParentDir | Component::Normal(_) => {}
        }
        if path.is_absolute() || !uri.is_empty() {
            uri.push('/');
        }
        for &byte in component.as_os_str().as_bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    uri
}

/// A document for programs, with line breaks for people.
pub(super) fn pretty(value: &Value) -> String {
    // A tree of JSON has nothing that JSON cannot say.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_references() {
        let cases = [
            ("Dockerfile", "Dockerfile"),
            ("./a b/Dockerfile", "a%20b/Dockerfile"),
            ("../é", "../%C3%A9"),
            ("/x/y:z", "file:///x/y%3Az"),
        ];
        for (path, expected) in cases {
            assert_eq!(uri(Path::new(path)), expected, "of {path}");
        }
    }

    #[test]
    fn a_place_ends_before_its_line_end() {
        let mut sources = SourceMap::new();
        let file = sources.add("f", b"\xc3\xa9b\r\n\nc".to_vec()).unwrap();
        let at = |line, column| LineColumn { line, column };
        let cases = [
            (2..3, (at(1, 2), at(1, 3))),
            (0..5, (at(1, 1), at(1, 3))),
            (5..6, (at(2, 1), at(2, 1))),
            (2..7, (at(1, 2), at(3, 2))),
            (3..5, (at(1, 3), at(1, 3))),
        ];
        for (range, expected) in cases {
            let found = ends(&file, file.span(range.clone()));
            assert_eq!(found, expected, "of {range:?}");
        }
    }
}
