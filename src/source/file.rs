//! One source text with its name and an index of its lines, and the collection of all texts of a build.

use std::ops::Range;
use std::sync::Arc;

use super::span::{FileId, Span};

/// A source text: the content of a file, or a text that came from elsewhere, such as a trigger of a base image.
/// Cloning is cheap.
#[derive(Clone, Debug)]
pub struct SourceFile {
    id: FileId,
    name: Arc<str>,
    text: Arc<str>,
    /// Offset of the first byte of each line.
    line_starts: Arc<[u32]>,
}

/// Line and column as people count them, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Bytes that are no source text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Some byte is not part of a UTF-8 character.
    #[error(
        "`{name}` is not valid UTF-8 at line {}, column {}: byte 0x{byte:02x}{}",
        at.line, at.column, if *.utf16 { " (it looks like UTF-16; save it as UTF-8)" } else { "" }
    )]
    Encoding {
        /// Name of the text.
        name: String,
        /// Where the first bad byte is.
        at: LineColumn,
        /// The bad byte.
        byte: u8,
        /// True if the text begins with a byte order mark of UTF-16.
        utf16: bool,
    },
    /// The text is 4 GiB or more.
    #[error("`{name}` is too large: {size} bytes")]
    Size {
        /// Name of the text.
        name: String,
        /// Its size in bytes.
        size: usize,
    },
}

impl SourceFile {
    /// Indexes a text. `name` is shown to people, usually a path as the user wrote it.
    ///
    /// # Errors
    /// The text is not UTF-8 or is 4 GiB or more.
    pub fn from_bytes(
        id: FileId,
        name: impl Into<String>,
        bytes: Vec<u8>,
    ) -> Result<Self, SourceError> {
        let name = name.into();
        match String::from_utf8(bytes) {
            Ok(text) => Self::new(id, name, text),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let bytes = error.as_bytes();
                let before = String::from_utf8_lossy(&bytes[..good]);
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                Err(SourceError::Encoding {
                    at: LineColumn {
                        line: before.matches('\n').count() + 1,
                        column: before[line_start..].chars().count() + 1,
                    },
                    byte: bytes.get(good).copied().unwrap_or_default(),
                    utf16: bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]),
                    name,
                })
            }
        }
    }

    /// Indexes a text that is known to be UTF-8.
    ///
    /// # Errors
    /// The text is 4 GiB or more.
    pub fn new(
        id: FileId,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Result<Self, SourceError> {
        let (name, text) = (name.into(), text.into());
        if u32::try_from(text.len()).is_err() {
            let size = text.len();
            return Err(SourceError::Size { name, size });
        }
        let after_newlines = text
            .bytes()
            .zip(1_u32..)
            .filter_map(|(byte, next)| (byte == b'\n').then_some(next));
        let line_starts: Vec<u32> = std::iter::once(0).chain(after_newlines).collect();
        Ok(Self {
            id,
            name: name.into(),
            text: text.into(),
            line_starts: line_starts.into(),
        })
    }

    /// Which text this is.
    #[must_use]
    pub const fn id(&self) -> FileId {
        self.id
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The span of a byte range of this text.
    #[must_use]
    pub fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.id, range)
    }

    /// The text of a span; empty if the span is not of this text.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        if span.file == self.id {
            self.text.get(span.range()).unwrap_or_default()
        } else {
            ""
        }
    }

    /// The line a byte is on, from 1.
    #[must_use]
    pub fn line(&self, offset: u32) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// Line and column of a byte.
    #[must_use]
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let line = self.line(offset);
        let start = self.line_starts[line - 1] as usize;
        let before = self.text.get(start..offset as usize).unwrap_or_default();
        LineColumn {
            line,
            column: before.chars().count() + 1,
        }
    }

    /// First and last line of a span, from 1. A line end belongs to the line that it ends.
    #[must_use]
    pub fn lines(&self, span: Span) -> (usize, usize) {
        let last = span.end.saturating_sub(1).max(span.start);
        (self.line(span.start), self.line(last))
    }

    /// Byte range of a line, counted from 1, without its line end; empty past the end.
    #[must_use]
    pub fn line_range(&self, line: usize) -> Range<usize> {
        let range = self.physical_line(line);
        range.start..range.start + self.text[range].trim_end_matches('\r').len()
    }

    /// As [`SourceFile::line_range`], but a carriage return before the line feed is part of the line.
    #[must_use]
    pub fn physical_line(&self, line: usize) -> Range<usize> {
        let start_of = |line: usize| self.line_starts.get(line).map(|&start| start as usize);
        let Some(start) = line.checked_sub(1).and_then(start_of) else {
            return self.text.len()..self.text.len();
        };
        let end = start_of(line).unwrap_or(self.text.len());
        start..start + self.text[start..end].trim_end_matches('\n').len()
    }

    /// How many lines there are; a line end at the very end does not begin another line.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.line_starts.len() - usize::from(self.text.is_empty() || self.text.ends_with('\n'))
    }
}

/// All source texts of a build.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// An empty collection.
    #[must_use]
    pub const fn new() -> Self {
        Self { files: Vec::new() }
    }

    /// Takes a text in and gives it its id.
    ///
    /// # Errors
    /// The text is not UTF-8 or is 4 GiB or more.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        bytes: Vec<u8>,
    ) -> Result<SourceFile, SourceError> {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let file = SourceFile::from_bytes(id, name, bytes)?;
        self.files.push(file.clone());
        Ok(file)
    }

    /// The text with an id, if this collection gave it out.
    #[must_use]
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// The texts in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile::new(FileId(0), "f", text).unwrap()
    }

    #[test]
    fn lines_and_columns() {
        let file = file("ab\n\né\u{1f600}x\r\n");
        let cases = [
            (0, 1, 1),
            (2, 1, 3),
            (3, 2, 1),
            (4, 3, 1),
            (6, 3, 2),
            (10, 3, 3),
            (13, 4, 1),
            (99, 4, 1),
        ];
        for (offset, line, column) in cases {
            assert_eq!(
                file.line_column(offset),
                LineColumn { line, column },
                "of byte {offset}"
            );
        }
        assert_eq!(file.line_count(), 3);
        assert_eq!(file.line_range(3), 4..11);
        assert_eq!(file.physical_line(3), 4..12);
        assert_eq!(file.line_range(4), 13..13);
        assert_eq!(file.line_range(0), 13..13);
        assert_eq!(file.lines(file.span(0..3)), (1, 1));
        assert_eq!(file.lines(file.span(0..4)), (1, 2));
        assert_eq!(file.slice(file.span(4..6)), "é");
        assert_eq!(
            file.slice(file.span(4..5)),
            "",
            "not between the bytes of a character"
        );
        assert_eq!(file.slice(Span::new(FileId(9), 0..1)), "");
    }

    #[test]
    fn counts_of_lines() {
        for (text, count) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)] {
            assert_eq!(file(text).line_count(), count, "of {text:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        let error = |bytes: &[u8]| {
            SourceFile::from_bytes(FileId(0), "f", bytes.to_vec())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(b"a\nb\xc3\xa9\xff"),
            "`f` is not valid UTF-8 at line 2, column 3: byte 0xff"
        );
        assert!(error(b"\xff\xfea\0").contains("UTF-16"));
    }

    #[test]
    fn a_collection_gives_out_ids() {
        let mut sources = SourceMap::new();
        let first = sources.add("a", b"1".to_vec()).unwrap();
        let second = sources.add("b", b"2".to_vec()).unwrap();
        assert_ne!(first.id(), second.id());
        assert_eq!(sources.get(second.id()).map(SourceFile::name), Some("b"));
        assert_eq!(sources.iter().count(), 2);
        assert!(sources.get(FileId(2)).is_none());
    }
}
