//! Edits of a source text: applied all together or not at all.

use super::diagnostic::Edit;
use super::file::SourceFile;

/// The text with all edits made; `None` if two of them are about the same place, or one is of another text or within a
/// character.
#[must_use]
pub fn edited<'e>(file: &SourceFile, edits: impl IntoIterator<Item = &'e Edit>) -> Option<String> {
    let mut edits: Vec<&Edit> = edits.into_iter().collect();
    edits.sort_by_key(|edit| edit.span);
    if edits.windows(2).any(|pair| overlap(pair[0], pair[1])) {
        return None;
    }
    let mut text = String::with_capacity(file.text().len());
    let mut done = 0;
    for edit in edits {
        if edit.span.file != file.id() {
            return None;
        }
        let range = edit.span.range();
        text.push_str(file.text().get(done..range.start)?);
        file.text().get(range.clone())?;
        text.push_str(&edit.replacement);
        done = range.end;
    }
    text.push_str(file.text().get(done..)?);
    Some(text)
}

/// Whether two edits are about the same place. Two insertions at one place are: their order would be a matter of luck.
#[must_use]
pub fn overlap(a: &Edit, b: &Edit) -> bool {
    let (a, b) = (a.span, b.span);
    a.file == b.file && (a.start < b.end && b.start < a.end || a.start == b.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{FileId, Span};

    fn edit(range: std::ops::Range<usize>, replacement: &str) -> Edit {
        Edit {
            span: Span::new(FileId(0), range),
            replacement: replacement.to_owned(),
        }
    }

    #[test]
    fn edits_are_made_together_or_not_at_all() {
        let file = SourceFile::new(FileId(0), "f", "aébc\n").unwrap();
        let cases: &[(&[Edit], Option<&str>)] = &[
            (&[], Some("aébc\n")),
            (&[edit(3..4, "X"), edit(0..1, "")], Some("éXc\n")),
            (&[edit(0..1, "x"), edit(1..3, "y")], Some("xybc\n")),
            (&[edit(6..6, "end")], Some("aébc\nend")),
            (&[edit(0..3, "x"), edit(1..4, "y")], None),
            (&[edit(3..4, "x"), edit(3..3, "y")], None),
            (&[edit(3..3, "x"), edit(3..3, "y")], None),
            (&[edit(2..3, "x")], None),
            (&[edit(5..9, "x")], None),
        ];
        for (edits, expected) in cases {
            assert_eq!(edited(&file, *edits).as_deref(), *expected, "{edits:?}");
        }
        let elsewhere = Edit {
            span: Span::new(FileId(1), 0..1),
            replacement: String::new(),
        };
        assert_eq!(edited(&file, [&elsewhere]), None);
    }
}
