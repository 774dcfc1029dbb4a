//! Diagnostics as text with the source they are about. Makes a string; knows no terminal.
//!
//! What an author wrote is not trusted to be short or printable: long lines and long places are cut, control characters
//! are shown and not sent.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

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
/// Characters of a line that are shown at most.
const WIDEST_LINE: usize = 120;
/// Characters of a cut line that are shown before the place itself.
const LEAD: usize = 40;
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
        // Not left to the snippet, which would count columns in the lines as they were cut.
        group = group.element(excerpt.origin()).element(excerpt.snippet());
    }
    for hint in &diagnostic.hints {
        group = group.element(Level::HELP.message(printable(hint)));
    }
    let renderer = if style.colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    // The excerpts have been cut to size already.
    let mut text = renderer.term_width(10 * WIDEST_LINE).render(&[group]);
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

/// The text of a region, long lines cut, and the places in it.
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

    /// Appends a line, or the part of it around the first place that begins in it.
    fn push_line(&mut self, line: usize) {
        let file = self.region.file;
        let range = file.line_range(line);
        let line = file.slice(file.span(range.clone()));
        let mut start = 0;
        if line.char_indices().nth(WIDEST_LINE).is_some() {
            let starts = self
                .region
                .labels
                .iter()
                .map(|(_, label)| label.span.range().start);
            let mark = starts
                .filter(|start| range.contains(start))
                .min()
                .unwrap_or(range.start);
            let before = line.get(..mark - range.start).unwrap_or_default();
            start = before
                .char_indices()
                .rev()
                .nth(LEAD - 1)
                .map_or(0, |(offset, _)| offset);
        }
        let rest = line.get(start..).unwrap_or_default();
        let length = rest
            .char_indices()
            .nth(WIDEST_LINE)
            .map_or(rest.len(), |(offset, _)| offset);
        if start > 0 {
            self.text.push_str("... ");
        }
        let start = range.start + start;
        self.pieces.push((start..start + length, self.text.len()));
        self.text.push_str(rest.get(..length).unwrap_or_default());
        if length < rest.len() {
            self.text.push_str(" ...");
        }
    }

    /// Where a byte of the file is in the excerpt; what was cut is at the nearest place that was not.
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
            .line_start(self.region.first)
            .annotations(annotations)
    }

    /// `--> file:line:column` above the excerpt: where the first of its labels begins.
    fn origin(&self) -> Origin<'_> {
        let file = self.region.file;
        let label = self.region.labels.iter().min_by_key(|(index, _)| index);
        let start = label.map_or(0, |(_, label)| label.span.start);
        let at = file.line_column(start);
        Origin::path(file.name())
            .line(at.line)
            .char_column(at.column)
    }
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
