//! Diagnostics as text with the source they are about. Makes a string; knows no terminal.
//!
//! What an author wrote is not trusted to be short or printable: long lines and long places are cut, control characters
//! are shown and not sent.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Label, Severity};
use super::file::{SourceFile, SourceMap};

/// How a diagnostic is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With the colour codes of terminals.
    pub colour: bool,
}

/// Lines of source that one place shows at most.
const MOST_LINES: usize = 8;
/// Columns that a line of output has at most; longer lines of source are cut around the place in them.
const WIDEST_LINE: usize = 140;
/// Bytes of a place on one line that are looked at.
const LONGEST_PLACE: usize = 1000;
/// Characters behind the last place in a line that are looked at.
const LONGEST_TAIL: usize = 100;
/// Characters of a message that are shown at most.
const LONGEST_MESSAGE: usize = 400;
/// Places that are further apart than this get excerpts of their own.
const MOST_LINES_BETWEEN: usize = 6;

/// Renders one diagnostic: what is wrong, the source with the place marked, and what to do. Ends with a line feed.
#[must_use]
pub fn render(sources: &SourceMap, diagnostic: &Diagnostic, style: Style) -> String {
    let regions = regions(sources, &diagnostic.labels);
    let excerpts: Vec<Excerpt<'_>> = regions.into_iter().map(Excerpt::new).collect();
    let level = match diagnostic.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let mut title = level.primary_title(printable(&diagnostic.message));
    if diagnostic.severity == Severity::Warning {
        title = title.id(diagnostic.code);
    }
    let mut group = Group::with_title(title);
    for excerpt in &excerpts {
        group = group.element(excerpt.snippet());
    }
    for hint in &diagnostic.hints {
        group = group.element(Level::HELP.message(printable(hint)));
    }
    let renderer = if style.colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = renderer.term_width(WIDEST_LINE).render(&[group]);
    text.push('\n');
    text
}

/// Lines of a file that are shown together, and the labels in them with their index.
struct Region<'a> {
    file: &'a SourceFile,
    first: usize,
    last: usize,
    labels: Vec<(usize, &'a Label)>,
}

/// The regions that show all labels; those near each other share one.
fn regions<'a>(sources: &'a SourceMap, labels: &'a [Label]) -> Vec<Region<'a>> {
    let mut regions: Vec<Region<'a>> = Vec::new();
    for (index, label) in labels.iter().enumerate() {
        let Some(file) = sources.get(label.span.file) else {
            continue;
        };
        let (first, last) = file.lines(label.span);
        let last = last.min(first + MOST_LINES - 1);
        let near = regions.iter_mut().find(|region| {
            region.file.id() == file.id()
                && first <= region.last + MOST_LINES_BETWEEN
                && region.first <= last + MOST_LINES_BETWEEN
        });
        if let Some(region) = near {
            region.first = region.first.min(first);
            region.last = region.last.max(last);
            region.labels.push((index, label));
        } else {
            regions.push(Region {
                file,
                first,
                last,
                labels: vec![(index, label)],
            });
        }
    }
    regions
}

/// The text of a region, very long lines cut, and the places in it.
struct Excerpt<'a> {
    region: Region<'a>,
    text: String,
    /// What of the file is in `text`: range in the file, start in `text`; in ascending order.
    pieces: Vec<(Range<usize>, usize)>,
}

impl<'a> Excerpt<'a> {
    fn new(region: Region<'a>) -> Self {
        let mut excerpt = Self {
            region,
            text: String::new(),
            pieces: Vec::new(),
        };
        for line in excerpt.region.first..=excerpt.region.last {
            if line > excerpt.region.first {
                excerpt.text.push('\n');
            }
            excerpt.push_line(line);
        }
        excerpt
    }

    /// Appends a line up to some way behind the last place that begins in it: the rest would not be shown anyway.
    fn push_line(&mut self, line: usize) {
        let file = self.region.file;
        let range = file.line_range(line);
        let text = file.slice(file.span(range.clone()));
        let places = self
            .region
            .labels
            .iter()
            .map(|(_, label)| label.span.range());
        let last = places
            .filter(|place| range.contains(&place.start))
            .map(|place| place.end.min(range.end).min(place.start + LONGEST_PLACE))
            .max()
            .map_or(0, |last| character_start(text, last - range.start));
        let tail = text[last..].char_indices().nth(LONGEST_TAIL);
        let end = tail.map_or(text.len(), |(offset, _)| last + offset);
        self.pieces
            .push((range.start..range.start + end, self.text.len()));
        self.text.push_str(&text[..end]);
    }

    /// Where a byte of the file is in the excerpt; what is not in it is where its line or its last line ends.
    fn shown(&self, offset: usize) -> usize {
        let after = self
            .pieces
            .partition_point(|(range, _)| range.start <= offset);
        match after
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index))
        {
            Some((range, at)) => at + (offset.min(range.end) - range.start),
            None => self.pieces.first().map_or(0, |(_, at)| *at),
        }
    }

    fn snippet(&self) -> Snippet<'_, Annotation<'_>> {
        let annotations = self.region.labels.iter().map(|&(index, label)| {
            let kind = if index == 0 {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let place = label.span.range();
            let start = self.shown(place.start);
            let annotation = kind.span(start..self.shown(place.end).max(start));
            if label.text.is_empty() {
                annotation
            } else {
                annotation.label(printable(&label.text))
            }
        });
        Snippet::source(self.text.as_str())
            .path(self.region.file.name())
            .line_start(self.region.first)
            .annotations(annotations)
    }
}

/// The start of the character that a byte is in.
fn character_start(text: &str, offset: usize) -> usize {
    let mut starts = (0..=offset.min(text.len())).rev();
    starts
        .find(|&start| text.is_char_boundary(start))
        .unwrap_or(0)
}

/// Text that is safe to show: on one line, not endless, without control characters.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len().min(LONGEST_MESSAGE));
    for (index, character) in text.chars().enumerate() {
        if index == LONGEST_MESSAGE {
            printable.push_str("...");
            break;
        }
        if character.is_control() {
            write!(printable, "{}", character.escape_default()).unwrap_or_default();
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn sources(text: &str) -> (SourceMap, SourceFile) {
        let mut sources = SourceMap::new();
        let file = sources.add("dir/Dockerfile", text.into()).unwrap();
        (sources, file)
    }

    #[test]
    fn shows_places_hints_and_line_numbers() {
        let (sources, file) = sources("FROM a\nRUN é x\r\nCOPY b\n");
        let diagnostic = Diagnostic::error("code", "bad")
            .at(file.span(14..15), "here")
            .at(file.span(17..23), "and there")
            .hint("do this");
        let expected = "\
error: bad
 --> dir/Dockerfile:2:7
  |
2 | RUN é x
  |       ^ here
3 | COPY b
  | ------ and there
  |
  = help: do this
";
        assert_eq!(render(&sources, &diagnostic, Style::default()), expected);
    }

    #[test]
    fn places_that_are_far_apart_have_their_own_excerpts() {
        let (sources, file) = sources(&"x\n".repeat(100));
        let diagnostic = Diagnostic::warning("Rule", "twice")
            .at(file.span(198..199), "again")
            .at(file.span(0..1), "first");
        let text = render(&sources, &diagnostic, Style::default());
        assert!(text.starts_with("warning[Rule]: twice\n"), "{text}");
        assert!(text.contains("100 | x\n    | ^ again"), "{text}");
        assert!(text.contains("  1 | x\n    | - first"), "{text}");
        assert!(text.lines().count() < 12, "{text}");
    }

    #[test]
    fn colour_is_only_sent_if_wanted() {
        let (sources, file) = sources("\u{1b}[31mred\u{7}\n");
        let diagnostic = Diagnostic::error("code", "\u{1b}[2J\nx").at(file.span(0..1), "\u{1b}");
        let plain = render(&sources, &diagnostic, Style::default());
        assert!(!plain.contains(['\u{1b}', '\u{7}']), "{plain:?}");
        assert!(plain.starts_with("error: \\u{1b}[2J\\nx\n"), "{plain:?}");
        let coloured = render(&sources, &diagnostic, Style { colour: true });
        assert!(coloured.contains('\u{1b}'), "{coloured:?}");
    }

    #[test]
    fn huge_texts_do_not_flood_the_terminal() {
        let line = "é".repeat(2_000_000);
        let (sources, file) = sources(&format!("{line}\n{line}\n{}", "x\n".repeat(1000)));
        for range in [
            0..4_000_000,
            0..8_000_000,
            3_999_998..4_000_000,
            0..file.text().len(),
            10..10,
        ] {
            let diagnostic =
                Diagnostic::error("code", "x".repeat(100_000)).at(file.span(range.clone()), "");
            let text = render(&sources, &diagnostic, Style::default());
            assert!(text.len() < 4000, "{} bytes for {range:?}", text.len());
            assert!(text.contains("--> dir/Dockerfile:1:"), "{text}");
        }
    }

    #[test]
    fn places_of_unknown_files_are_left_out() {
        let (sources, _) = sources("a");
        let unknown = crate::source::Span::new(FileId(7), 0..1);
        let text = render(
            &sources,
            &Diagnostic::error("code", "bad").at(unknown, "x"),
            Style::default(),
        );
        assert_eq!(text, "error: bad\n");
    }
}
