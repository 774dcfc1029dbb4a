//! Text put together from pieces of a source file that remembers where each piece came from.
//!
//! A continued line, or the value of a flag without its quotes, is text that stands nowhere in the file in one piece;
//! diagnostics about it must still point at the file. Most texts do stand in one piece, and most are parts of another
//! one: neither is copied.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use super::ast::Word;
use crate::source::{FileId, Span};

/// Text and its origin. Cloning and taking parts is cheap.
#[derive(Clone, Debug)]
pub(super) struct GluedText<'f> {
    file: FileId,
    content: Content<'f>,
}

#[derive(Clone, Debug)]
enum Content<'f> {
    /// What stands at an offset of the file.
    Piece(&'f str, usize),
    /// A part of what was put together.
    Glued(Rc<Pieces>, Range<usize>),
}

/// What was put together.
#[derive(Debug, Default)]
struct Pieces {
    text: String,
    /// Where pieces begin: offset in `text`, offset in the file. In ascending order of both.
    starts: Vec<(usize, usize)>,
    /// The index of the piece that was looked for last: the next one is mostly near.
    last: Cell<usize>,
}

impl Pieces {
    /// Appends a piece that stands at an offset of the file.
    fn push(&mut self, piece: &str, offset: usize) {
        let adjoins = (self.starts.last())
            .is_some_and(|&(at, origin)| origin + (self.text.len() - at) == offset);
        if !adjoins {
            self.starts.push((self.text.len(), offset));
        }
        self.text.push_str(piece);
    }

    /// The index of the piece that an offset of the text is in.
    fn piece_of(&self, offset: usize) -> usize {
        let start = |index: usize| self.starts.get(index).map_or(usize::MAX, |piece| piece.0);
        let last = self.last.get();
        let near = [last, last + 1];
        let found = near
            .into_iter()
            .find(|&index| start(index) <= offset && offset < start(index + 1));
        let index = found.unwrap_or_else(|| {
            self.starts
                .partition_point(|piece| piece.0 <= offset)
                .saturating_sub(1)
        });
        self.last.set(index);
        index
    }

    /// Where a byte of the text stands in the file.
    fn origin(&self, offset: usize) -> usize {
        match self.starts.get(self.piece_of(offset)) {
            Some(&(at, origin)) => origin + (offset - at.min(offset)),
            None => 0,
        }
    }
}

impl<'f> GluedText<'f> {
    /// The text that stands at an offset of a file.
    pub(super) fn piece(file: FileId, text: &'f str, offset: usize) -> Self {
        Self {
            file,
            content: Content::Piece(text, offset),
        }
    }

    /// No text, to be filled from a file.
    pub(super) fn new(file: FileId) -> Self {
        Self::piece(file, "", 0)
    }

    /// No text, to be filled from the same file.
    pub(super) fn nothing(&self) -> Self {
        Self::new(self.file)
    }

    /// Appends a piece that stands at an offset of the file.
    pub(super) fn push(&mut self, piece: &'f str, offset: usize) {
        if piece.is_empty() {
            return;
        }
        if self.text().is_empty() {
            self.content = Content::Piece(piece, offset);
        } else {
            self.extend(|pieces| pieces.push(piece, offset));
        }
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        match &self.content {
            Content::Piece(text, _) => text,
            Content::Glued(pieces, range) => &pieces.text[range.clone()],
        }
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
        self.span(0..self.text().len())
    }

    /// A part of the text with its origin. Even nothing is somewhere.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let content = match &self.content {
            Content::Piece(text, offset) => {
                Content::Piece(&text[range.clone()], offset + range.start)
            }
            Content::Glued(_, _) if range.is_empty() => {
                Content::Piece("", self.origin(range.start))
            }
            Content::Glued(pieces, own) => Content::Glued(
                Rc::clone(pieces),
                own.start + range.start..own.start + range.end,
            ),
        };
        Self {
            file: self.file,
            content,
        }
    }

    /// The part as a word of an instruction.
    pub(super) fn word(&self, range: Range<usize>) -> Word {
        Word {
            text: self.text()[range.clone()].to_owned(),
            span: self.span(range),
        }
    }

    /// All of it as a word of an instruction.
    pub(super) fn into_word(self) -> Word {
        self.word(0..self.text().len())
    }

    /// Appends a part of another text, which must come from the same file.
    pub(super) fn append(&mut self, other: &Self, range: Range<usize>) {
        let part = other.part(range);
        if part.text().is_empty() {
            return;
        }
        if self.text().is_empty() {
            *self = part;
        } else {
            self.extend(|pieces| part.push_onto(pieces));
        }
    }

    /// The text without white space around it.
    pub(super) fn trimmed(self) -> Self {
        let text = self.text();
        let end = text.trim_end().len();
        let start = end - text[..end].trim_start().len();
        if start == 0 && end == text.len() {
            return self;
        }
        self.part(start..end)
    }

    /// Appends something to pieces that belong to nobody else.
    fn extend(&mut self, add: impl FnOnce(&mut Pieces)) {
        if let Content::Glued(pieces, range) = &mut self.content
            && *range == (0..pieces.text.len())
            && let Some(pieces) = Rc::get_mut(pieces)
        {
            add(pieces);
            *range = 0..pieces.text.len();
            return;
        }
        let mut pieces = Pieces::default();
        self.push_onto(&mut pieces);
        add(&mut pieces);
        let range = 0..pieces.text.len();
        self.content = Content::Glued(Rc::new(pieces), range);
    }

    fn push_onto(&self, onto: &mut Pieces) {
        let (pieces, range) = match &self.content {
            Content::Piece(text, offset) => return onto.push(text, *offset),
            Content::Glued(pieces, range) => (pieces, range),
        };
        let mut index = pieces.piece_of(range.start);
        let mut at = range.start;
        while at < range.end {
            let next = pieces.starts.get(index + 1);
            let end = next.map_or(range.end, |piece| piece.0.min(range.end));
            onto.push(&pieces.text[at..end], pieces.origin(at));
            at = end;
            index += 1;
        }
    }

    /// Where a byte of the text stands in the file.
    fn origin(&self, offset: usize) -> usize {
        match &self.content {
            Content::Piece(_, origin) => origin + offset,
            Content::Glued(pieces, range) => pieces.origin(range.start + offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glued() -> GluedText<'static> {
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
    fn what_is_shared_is_not_changed() {
        let whole = glued();
        let mut part = whole.part(4..7);
        part.push("!", 50);
        part.append(&whole, 0..1);
        assert_eq!((whole.text(), part.text()), ("RUN abc d", "abc!R"));
        let origins = [0..1, 1..2, 2..3, 3..4, 4..5].map(|range| part.span(range).range().start);
        assert_eq!(origins, [14, 15, 30, 50, 10]);
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
