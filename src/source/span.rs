//! Places in source texts: owned, `Copy`, without lifetimes, so that trees that carry them cross threads.

use std::ops::Range;

/// Names one source text of a build; given out by [`SourceMap::add`](super::SourceMap::add).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A range of bytes in one source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Which text.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// Byte after the last one; never less than `start`.
    pub end: u32,
}

impl Span {
    /// Makes a span of byte offsets. Texts are shorter than 4 GiB ([`SourceFile`](super::SourceFile) sees to it);
    /// larger offsets are clamped.
    #[must_use]
    pub fn new(file: FileId, range: Range<usize>) -> Self {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        let start = clamp(range.start);
        Self {
            file,
            start,
            end: clamp(range.end).max(start),
        }
    }

    /// The byte range, for slicing.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The smallest span that covers both; both must be of one file.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        debug_assert_eq!(
            self.file, other.file,
            "spans of two files have no common cover"
        );
        Self {
            file: self.file,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// True if there is nothing in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A value and the place it was written at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Puts the two together.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_ranges() {
        let span = |start, end| Span::new(FileId(1), start..end);
        assert_eq!(span(3, 5).range(), 3..5);
        assert_eq!(span(5, 3).range(), 5..5, "never backwards");
        assert_eq!(span(usize::MAX, usize::MAX).start, u32::MAX);
        assert_eq!(span(3, 5).to(span(1, 2)), span(1, 5));
        assert!(span(2, 2).is_empty() && !span(2, 3).is_empty());
    }
}
