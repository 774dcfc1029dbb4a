//! The pieces that a Dockerfile falls into: statements, the parts of a logical line, words, announcements of heredocs.
//!
//! `plain` finds them by hand; `lower` with the grammar, where quotes matter more than at the ends of words. What the pieces mean, and
//! what is wrong with them, is for `instruction/`.

use std::ops::Range;

use super::glued::GluedText;
pub(super) use super::plain::{quoted_words, statement, words};
use super::{lower, plain};
use crate::source::Span;

/// One statement of a file.
#[derive(Debug)]
pub(super) enum Statement<'f> {
    /// A line with nothing on it.
    Blank,
    /// A line of comment: its text without `#` and white space around it.
    Comment(Range<usize>),
    /// The lines of an instruction.
    Instruction(Lines<'f>),
}

/// The lines of an instruction.
#[derive(Debug)]
pub(super) struct Lines<'f> {
    /// The lines glued together, without white space around.
    pub(super) logical: GluedText<'f>,
    /// The first empty line between them.
    pub(super) empty_line: Option<Span>,
}

/// A statement and the offset of the next one.
pub(super) type Placed<'f> = (Statement<'f>, usize);

/// A logical line in its three parts.
#[derive(Debug)]
pub(super) struct LineParts<'f> {
    /// The first word.
    pub(super) keyword: GluedText<'f>,
    /// The words after it that begin with `--`, without quotes and escape characters.
    pub(super) flags: Vec<GluedText<'f>>,
    /// The rest without white space around.
    pub(super) arguments: GluedText<'f>,
}

/// The announcement of a heredoc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeredocMarker {
    /// All of it.
    pub(super) range: Range<usize>,
    /// The digits before `<<`.
    pub(super) file_descriptor: Option<String>,
    /// Whether it is `<<-`.
    pub(super) strip_tabs: bool,
    /// The delimiter without quotes and escapes.
    pub(super) name: String,
    /// Whether any part of the delimiter is quoted.
    pub(super) quoted: bool,
}

/// Splits a logical line.
pub(super) fn line_parts<'f>(line: &GluedText<'f>, escape: char) -> LineParts<'f> {
    plain::line_parts(line, escape).unwrap_or_else(|| lower::line_parts(line, escape))
}

/// Finds the heredocs that the arguments of an instruction announce, in order.
pub(super) fn heredoc_markers(text: &str) -> Vec<HeredocMarker> {
    plain::heredoc_markers(text).unwrap_or_else(|| lower::heredoc_markers(text))
}
