//! Text put together from pieces of a source file that remembers where each piece came from.
//!
//! A continued line, or the value of a flag without its quotes, is text that stands nowhere in the file in one piece;
//! diagnostics about it must still point at the file.

use std::ops::Range;

use super::ast::Word;
use crate::source::{FileId, Span};

/// Text and its origin.
#[derive(Clone, Debug, Default)]
pub(super) struct GluedText {
    file: FileId,
    text: String,
    /// Where pieces begin: offset in `text`, offset in the file. In ascending order of both.
    pieces: Vec<(usize, usize)>,
}

impl GluedText {
    /// No text, to be filled from a file.
    pub(super) fn new(file: FileId) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// No text, to be filled from the same file.
    pub(super) fn nothing(&self) -> Self {
        Self::new(self.file)
    }

    /// Appends a piece that stands at an offset of the file.
    pub(super) fn push(&mut self, piece: &str, offset: usize) {
        if piece.is_empty() {
            return;
        }
        let adjoins = (self.pieces.last())
            .is_some_and(|&(at, origin)| origin + (self.text.len() - at) == offset);
        if !adjoins {
            self.pieces.push((self.text.len(), offset));
        }
        self.text.push_str(piece);
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where a range of the text stands in the file: from the origin of its first byte to the origin of its last.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let start = self.origin(range.start);
        let end = match range.end.checked_sub(1) {
            Some(last) if last >= range.start => self.origin(last) + 1,
            _ => start,
        };
        Span::new(self.file, start..end)
    }

    /// Where all of the text stands in the file.
    pub(super) fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }

    /// A part of the text with its origin.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let mut part = Self::new(self.file);
        part.append(self, range.clone());
        if part.pieces.is_empty() {
            // Even nothing is somewhere.
            part.pieces.push((0, self.origin(range.start)));
        }
        part
    }

    /// The part as a word of an instruction.
    pub(super) fn word(&self, range: Range<usize>) -> Word {
        Word {
            text: self.text[range.clone()].to_owned(),
            span: self.span(range),
        }
    }

    /// All of it as a word of an instruction.
    pub(super) fn into_word(self) -> Word {
        Word {
            span: self.whole(),
            text: self.text,
        }
    }

    /// Appends a part of another text, which must come from the same file.
    pub(super) fn append(&mut self, other: &Self, range: Range<usize>) {
        let mut index = other.piece_of(range.start);
        let mut at = range.start;
        while at < range.end {
            let next = other
                .pieces
                .get(index + 1)
                .map_or(other.text.len(), |piece| piece.0);
            let end = next.min(range.end);
            self.push(&other.text[at..end], other.origin(at));
            at = end;
            index += 1;
        }
    }

    /// The text without white space around it.
    pub(super) fn trimmed(mut self) -> Self {
        let end = self.text.trim_end().len();
        let start = end - self.text[..end].trim_start().len();
        if start > 0 || end == 0 {
            return self.part(start..end);
        }
        self.text.truncate(end);
        let beyond = self.pieces.partition_point(|piece| piece.0 < end);
        self.pieces.truncate(beyond);
        self
    }

    /// The index of the piece that an offset of the text is in.
    fn piece_of(&self, offset: usize) -> usize {
        self.pieces
            .partition_point(|piece| piece.0 <= offset)
            .saturating_sub(1)
    }

    /// Where a byte of the text stands in the file.
    fn origin(&self, offset: usize) -> usize {
        match self.pieces.get(self.piece_of(offset)) {
            Some(&(at, origin)) => origin + (offset - at.min(offset)),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glued() -> GluedText {
        let mut text = GluedText::new(FileId(1));
        text.push("RUN a", 10);
        text.push("b", 15);
        text.push("c d", 30);
        text
    }

    #[test]
    fn ranges_point_at_their_origin() {
        let text = glued();
        assert_eq!(text.text(), "RUN abc d");
        let range = |range| text.span(range).range();
        assert_eq!(range(0..3), 10..13);
        assert_eq!(range(4..6), 14..16, "adjoining pieces are one");
        assert_eq!(range(4..7), 14..31, "across a continuation");
        assert_eq!(range(8..9), 32..33);
        assert_eq!(range(9..9), 33..33);
        assert_eq!(range(6..6), 30..30);
    }

    #[test]
    fn parts_keep_their_origin() {
        let part = glued().part(3..9).trimmed();
        assert_eq!(part.text(), "abc d");
        assert_eq!(part.whole().range(), 14..33);
        let nothing = glued().part(7..7);
        assert_eq!((nothing.text(), nothing.whole().range()), ("", 31..31));
    }
}
