//! Colours: the few that the interface uses, by meaning.

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Something went wrong.
    Error,
    /// Something to look at.
    Warning,
    /// Something to try.
    Hint,
    /// Work that is over.
    Done,
    /// What is there for those who look for it.
    Faint,
}

/// Ends every style.
pub(super) const RESET: &str = "\u{1b}[0m";

/// `text` in its style, or as it is where colours are not wanted.
pub(super) fn paint(colours: bool, style: Style, text: &str) -> String {
    if !colours || text.is_empty() {
        return text.to_owned();
    }
    let start = match style {
        Style::Error => "\u{1b}[1;31m",
        Style::Warning => "\u{1b}[1;33m",
        Style::Hint => "\u{1b}[1;36m",
        Style::Done => "\u{1b}[36m",
        Style::Faint => "\u{1b}[2m",
    };
    format!("{start}{text}{RESET}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_painted_only_where_colours_are_wanted() {
        assert_eq!(paint(false, Style::Error, "error"), "error");
        assert_eq!(
            paint(true, Style::Error, "error"),
            "\u{1b}[1;31merror\u{1b}[0m"
        );
        assert_eq!(paint(true, Style::Error, ""), "");
    }
}
