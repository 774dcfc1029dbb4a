//! Diagnostics as text with the source they are about. Makes a string; knows no terminal.

use super::diagnostic::Diagnostic;
use super::file::SourceMap;

/// How a diagnostic is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With the colour codes of terminals.
    pub colour: bool,
}

/// Renders one diagnostic.
#[must_use]
pub fn render(sources: &SourceMap, diagnostic: &Diagnostic, style: Style) -> String {
    let _ = (sources, style);
    diagnostic.message.clone()
}
