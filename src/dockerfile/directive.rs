//! The comments at the very start of a file that direct its parsing: `# syntax=`, `# escape=`, `# check=`.
//!
//! Read by hand, line by line, because the escape character must be known before the grammar can be applied.

use std::ops::Range;

use crate::source::{Diagnostic, SourceFile, Span, Spanned, boolean};

/// The directives of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend the author asks for and its arguments.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`
    pub escape: Option<Spanned<char>>,
    /// `# check=`
    pub check: Option<Spanned<CheckOptions>>,
}

/// What `# check=` asks for; the same grammar is used in comments above instructions and in a build argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Rules not to apply.
    pub skip: RuleSelection,
    /// Rules to apply although they are experimental.
    pub experimental: RuleSelection,
    /// Whether a violation fails the build.
    pub error: bool,
}

/// Some rules, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSelection {
    /// `all`
    All,
    /// By name, as written.
    Named(Vec<String>),
}

impl Default for RuleSelection {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl RuleSelection {
    fn parse(text: &str) -> Self {
        if text == "all" {
            return Self::All;
        }
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        Self::Named(names.map(str::to_owned).collect())
    }

    /// Whether a rule is among them.
    #[must_use]
    pub fn contains(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == rule),
        }
    }
}

/// Check options that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse check options: invalid check option {option:?}")]
pub struct CheckOptionsError {
    /// The option that is wrong.
    pub option: String,
}

impl CheckOptions {
    /// Reads `skip=A,B;error=true;experimental=C`.
    ///
    /// # Errors
    /// An option that does not exist or has no such value.
    pub fn parse(text: &str) -> Result<Self, CheckOptionsError> {
        let mut options = Self::default();
        for part in text.split(';').map(str::trim) {
            let invalid = || CheckOptionsError {
                option: part.to_owned(),
            };
            let (key, value) = part.split_once('=').ok_or_else(invalid)?;
            let value = value.trim();
            match key.trim() {
                "skip" => options.skip = RuleSelection::parse(value),
                "experimental" => options.experimental = RuleSelection::parse(value),
                "error" => options.error = boolean(value).ok_or_else(invalid)?,
                unknown => {
                    return Err(CheckOptionsError {
                        option: unknown.to_owned(),
                    });
                }
            }
        }
        Ok(options)
    }
}

/// The directives of a file and where the rest of it begins.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) directives: Directives,
    pub(super) end: usize,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Reads the directives from `start` on. The first line that is none ends them for good.
pub(super) fn scan(file: &SourceFile, start: usize) -> Scan {
    let mut scan = Scan {
        directives: Directives::default(),
        end: start,
        diagnostics: Vec::new(),
    };
    for line in file.text()[start..].split_inclusive('\n') {
        let Some((key, value)) = split_directive(line) else {
            break;
        };
        let span = file.span(scan.end + value.start..scan.end + value.end);
        let value = &line[value];
        let known = match key.to_ascii_lowercase().as_str() {
            "syntax" => set(
                &mut scan.directives.syntax,
                "syntax",
                span,
                Ok(value.to_owned()),
            ),
            "escape" => set(&mut scan.directives.escape, "escape", span, escape(value)),
            "check" => {
                let options = CheckOptions::parse(value).map_err(|error| error.to_string());
                set(&mut scan.directives.check, "check", span, options)
            }
            _ => break,
        };
        scan.diagnostics.extend(known.err());
        scan.end += line.len();
    }
    scan
}

fn set<T>(
    place: &mut Option<Spanned<T>>,
    key: &str,
    span: Span,
    value: Result<T, String>,
) -> Result<(), Diagnostic> {
    if let Some(first) = place {
        let message = format!("only one {key} parser directive can be used");
        return Err(Diagnostic::error("duplicate-directive", message)
            .at(span, "given again here")
            .at(first.span, "first given here"));
    }
    let value =
        value.map_err(|message| Diagnostic::error("invalid-directive", message).at(span, ""))?;
    *place = Some(Spanned::new(value, span));
    Ok(())
}

fn escape(value: &str) -> Result<char, String> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(format!(
            "invalid escape token '{other}' does not match ` or \\"
        )),
    }
}

/// Key of a line `# key = value`, and where in the line its value is.
fn split_directive(line: &str) -> Option<(&str, Range<usize>)> {
    let content = line.trim_start().strip_prefix('#')?.trim_start();
    let (key, value) = content.split_once('=')?;
    let (key, value) = (key.trim_end(), value.trim());
    let is_key = key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_key || value.is_empty() {
        return None;
    }
    let start = line.trim_end().len() - value.len();
    Some((key, start..start + value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{FileId, Severity};

    fn scan_text(text: &str) -> (Scan, SourceFile) {
        let file = SourceFile::new(FileId(0), "Dockerfile", text).unwrap();
        (scan(&file, 0), file)
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        let cases = [
            (
                "# escape=`\n# syntax = docker/dockerfile:1 \nFROM x\n",
                43,
                true,
                true,
            ),
            (" #  EsCaPe  =  ` \r\nFROM x", 19, true, false),
            ("\n# escape=`\n", 0, false, false),
            ("# comment\n# escape=`\n", 0, false, false),
            ("# unknown=x\n# escape=`\n", 0, false, false),
            ("# escape=`", 10, true, false),
            ("# escape=\n", 0, false, false),
            ("# es cape=`\n", 0, false, false),
        ];
        for (text, end, escape, syntax) in cases {
            let (scan, file) = scan_text(text);
            assert_eq!(scan.end, end, "of {text:?}");
            assert_eq!(
                scan.directives.escape.map(|escape| file.slice(escape.span)),
                escape.then_some("`"),
                "of {text:?}"
            );
            assert_eq!(scan.directives.syntax.is_some(), syntax, "of {text:?}");
            assert!(scan.diagnostics.is_empty());
        }
    }

    #[test]
    fn mistakes_are_told() {
        let cases = [
            (
                "# escape=`\n# escape=\\\n",
                "only one escape parser directive can be used",
            ),
            (
                "# escape=x\n",
                "invalid escape token 'x' does not match ` or \\",
            ),
            (
                "# check=foo=1\n",
                "failed to parse check options: invalid check option \"foo\"",
            ),
            (
                "# check=error=perhaps\n",
                "failed to parse check options: invalid check option \"error=perhaps\"",
            ),
        ];
        for (text, message) in cases {
            let (scan, _) = scan_text(text);
            let found: Vec<_> = scan
                .diagnostics
                .iter()
                .map(|found| (found.severity, found.message.as_str()))
                .collect();
            assert_eq!(found, [(Severity::Error, message)], "of {text:?}");
        }
    }

    #[test]
    fn check_options() {
        let options = CheckOptions::parse("skip=A, B;error=true;experimental=all").unwrap();
        assert!(options.error);
        assert!(options.skip.contains("B") && !options.skip.contains("C"));
        assert_eq!(options.experimental, RuleSelection::All);
    }
}
