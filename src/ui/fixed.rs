//! What the edits of a check did to a Dockerfile: as a list, and as a diff.

use std::fmt::Write as _;

use similar::TextDiff;

use super::text;
use crate::build::Fixed;

/// The findings that are gone, one a line, or nothing if there are none.
#[must_use]
pub fn fixed(fixed: &Fixed) -> String {
    let count = fixed.done.len();
    if count == 0 {
        return String::new();
    }
    let s = if count == 1 { "" } else { "s" };
    let mut out = format!("Mended {count} warning{s} in {}:\n", path(fixed));
    for finding in &fixed.done {
        let message = text::one_line(&finding.message);
        _ = writeln!(
            out,
            " - {}: {message} (line {})",
            finding.rule, finding.line
        );
    }
    out.push('\n');
    out
}

/// The edits as a unified diff that `patch` takes.
#[must_use]
pub fn diff(fixed: &Fixed) -> String {
    let path = path(fixed);
    TextDiff::from_lines(&fixed.before, &fixed.after)
        .unified_diff()
        .header(&path, &path)
        .to_string()
}

fn path(fixed: &Fixed) -> String {
    let path = &fixed.dockerfile;
    // The context is usually the working directory.
    let path = path.strip_prefix(".").unwrap_or(path);
    text::one_line(&path.display().to_string())
}
