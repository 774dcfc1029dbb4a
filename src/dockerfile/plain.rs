//! The pieces of texts of the usual shapes, found without applying the grammar: that costs a microsecond or two, and a
//! file may have a million statements.
//!
//! Each function gives nothing where a text is of another shape, and else exactly what `lower` finds in it.

use std::ops::Range;

use super::glued::GluedText;
use super::pieces::{HeredocMarker, LineParts, Lines, Placed, Statement};
use crate::source::SourceFile;

/// How a line ends.
enum LineEnd<'t> {
    /// With the instruction; this is on the line.
    Final(&'t str),
    /// With the escape character; this is before it.
    Continued(&'t str),
}

/// The statement at an offset of a file, unless there are blanks behind the escape character of a line.
pub(super) fn statement(file: &SourceFile, at: usize, escape: char) -> Option<Placed<'_>> {
    let text = file.text();
    let line = line_at(text, at);
    let content = line.trim_start();
    let next = at + line.len();
    if content.is_empty() {
        return Some((Statement::Blank, next));
    }
    if let Some(comment) = content.strip_prefix('#') {
        let start = next - comment.trim_start().len();
        let comment = start..start + comment.trim().len();
        return Some((Statement::Comment(comment), next));
    }
    let mut glued = GluedText::new(file.id());
    let mut empty_line = None;
    let (mut line, mut next) = (content, next);
    while let LineEnd::Continued(before) = line_end(line, escape)? {
        glued.push(before, next - line.len());
        let between;
        (between, next) = skip_between(text, next);
        empty_line = empty_line.or(between);
        line = line_at(text, next);
        next += line.len();
    }
    if let LineEnd::Final(last) = line_end(line, escape)? {
        glued.push(last, next - line.len());
    }
    let lines = Lines {
        logical: glued.trimmed(),
        empty_line: empty_line.map(|range| file.span(range)),
    };
    Some((Statement::Instruction(lines), next))
}

/// The line at an offset, with its line feed.
fn line_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    rest.find('\n').map_or(rest, |end| &rest[..=end])
}

fn line_end(line: &str, escape: char) -> Option<LineEnd<'_>> {
    let content = line.trim_end_matches('\n').trim_end_matches('\r');
    let last = content.trim_end_matches([' ', '\t']);
    match last.strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => {
            (last.len() == content.len()).then_some(LineEnd::Continued(before))
        }
        _ => Some(LineEnd::Final(content)),
    }
}

/// The first empty line among the comments and empty lines at an offset, and where they end.
fn skip_between(text: &str, mut at: usize) -> (Option<Range<usize>>, usize) {
    let mut empty_line = None;
    loop {
        let line = line_at(text, at);
        let content = line.trim_start();
        let end = at + line.len();
        if line.is_empty() || !(content.is_empty() || content.starts_with('#')) {
            return (empty_line, at);
        }
        if content.is_empty() && empty_line.is_none() {
            empty_line = Some(at..end);
        }
        at = end;
    }
}

/// The parts of a logical line, unless there are quotes or escape characters in its flags.
pub(super) fn line_parts<'f>(line: &GluedText<'f>, escape: char) -> Option<LineParts<'f>> {
    let text = line.text();
    let after_blanks = |at: usize| text.len() - text[at..].trim_start().len();
    let keyword = text.find(is_blank).unwrap_or(text.len());
    let mut flags = Vec::new();
    let mut at = after_blanks(keyword);
    while text[at..].starts_with("--") {
        let rest = &text[at..];
        let flag = at + rest.find(char::is_whitespace).unwrap_or(rest.len());
        if text[at..flag].contains(['"', '\'', escape]) {
            return None;
        }
        let place = at..flag;
        at = after_blanks(flag);
        if place.len() == "--".len() {
            break;
        }
        flags.push(line.part(place));
    }
    Some(LineParts {
        keyword: line.part(0..keyword),
        flags,
        arguments: line.part(at..text.len()).trimmed(),
    })
}

/// The words of a text without regard to quotes.
pub(super) fn words(text: &str) -> Vec<Range<usize>> {
    split(text, is_blank).collect()
}

/// The words of a text without escape characters; quotes stay in them.
pub(super) fn quoted_words(text: &str, escape: char) -> Option<Vec<Range<usize>>> {
    if text.contains(escape) {
        return None;
    }
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    for (at, character) in text.char_indices() {
        if quote.is_none() && character.is_whitespace() {
            words.extend(start.take().map(|start| start..at));
            continue;
        }
        start = start.or(Some(at));
        if quote == Some(character) {
            quote = None;
        } else if quote.is_none() && matches!(character, '"' | '\'') {
            quote = Some(character);
        }
    }
    words.extend(start.map(|start| start..text.len()));
    Some(words)
}

/// The heredocs of a text in which no word begins with `<<` but ones like `3<<-EOF` and `<<"EOF"`, and in which there is
/// nothing else then that a shell might understand.
pub(super) fn heredoc_markers(text: &str) -> Option<Vec<HeredocMarker>> {
    if !text.contains("<<") {
        return Some(Vec::new());
    }
    let announcements = split(text, char::is_whitespace).filter(|range| {
        let word = &text[range.clone()];
        word.trim_start_matches(|digit: char| digit.is_ascii_digit())
            .starts_with("<<")
    });
    let markers: Vec<_> = announcements
        .map(|range| marker(text, range))
        .collect::<Option<_>>()?;
    let mut at = 0;
    let mut others = markers.iter().map(|marker| {
        let before = &text[at..marker.range.start];
        at = marker.range.end;
        before
    });
    let plain = |text: &str| !text.contains(['"', '\'', '\\', '$']);
    let all_plain = others.all(plain) && plain(&text[at..]);
    (all_plain || markers.is_empty()).then_some(markers)
}

fn marker(text: &str, range: Range<usize>) -> Option<HeredocMarker> {
    let (digits, delimiter) = text[range.clone()].split_once("<<")?;
    let stripped = delimiter.strip_prefix('-');
    let delimiter = stripped.unwrap_or(delimiter);
    let within = |quote: char| delimiter.strip_prefix(quote)?.strip_suffix(quote);
    let quoted = within('\'').or_else(|| within('"'));
    let name = quoted.unwrap_or(delimiter);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then(|| HeredocMarker {
        range,
        file_descriptor: (!digits.is_empty()).then(|| digits.to_owned()),
        strip_tabs: stripped.is_some(),
        name: name.to_owned(),
        quoted: quoted.is_some(),
    })
}

/// Whether a character ends a keyword and separates words; other white space does not.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{0b}' | '\u{0c}' | '\r')
}

fn split(text: &str, separates: fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    let pieces = text.split_inclusive(separates).map(move |piece| {
        let start = at;
        at += piece.len();
        start..start + piece.trim_end_matches(separates).len()
    });
    pieces.filter(|range| !range.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lower;
    use super::*;
    use crate::source::FileId;

    fn file(text: &str) -> SourceFile {
        SourceFile::new(FileId(0), "Dockerfile", text).unwrap()
    }

    /// Text and, for each character, where it stands.
    fn seen(text: &GluedText<'_>) -> (String, Vec<Range<usize>>) {
        let characters = text.text().char_indices();
        let places =
            characters.map(|(at, character)| text.span(at..at + character.len_utf8()).range());
        (text.text().to_owned(), places.collect())
    }

    fn seen_parts(parts: LineParts<'_>) -> Vec<(String, Vec<Range<usize>>)> {
        let all = [parts.keyword]
            .into_iter()
            .chain(parts.flags)
            .chain([parts.arguments]);
        all.map(|part| seen(&part)).collect()
    }

    /// How much of what there is to compare was compared.
    fn check_statements(text: &str, escape: char) -> usize {
        let file = file(text);
        let (mut at, mut compared) = (0, 0);
        while at < text.len() {
            let (expected, next) = lower::statement(&file, at, escape).unwrap();
            if let Some((found, found_next)) = statement(&file, at, escape) {
                assert_eq!(found_next, next, "after {at} of {text:?}");
                match (found, expected) {
                    (Statement::Blank, Statement::Blank) => {}
                    (Statement::Comment(found), Statement::Comment(expected)) => {
                        assert_eq!(text[found.clone()], text[expected.clone()]);
                        assert!(found == expected || found.is_empty(), "{text:?}");
                    }
                    (Statement::Instruction(found), Statement::Instruction(expected)) => {
                        assert_eq!(seen(&found.logical), seen(&expected.logical), "of {text:?}");
                        assert_eq!(found.empty_line, expected.empty_line, "of {text:?}");
                        compared += check_parts(&found.logical, escape);
                    }
                    (found, expected) => panic!("{found:?} for {expected:?} at {at} of {text:?}"),
                }
                compared += 1;
            }
            at = next;
        }
        compared
    }

    fn check_parts(line: &GluedText<'_>, escape: char) -> usize {
        let found = (!line.text().is_empty())
            .then(|| line_parts(line, escape))
            .flatten();
        let Some(found) = found else {
            return 0;
        };
        assert_eq!(
            seen_parts(found),
            seen_parts(lower::line_parts(line, escape)),
            "of {line:?}"
        );
        1
    }

    #[test]
    fn usual_shapes_are_read_here() {
        let text = "# a\n\nRUN a \\\n # b\n\n b\r\nCOPY --from=a --chown=b é /\nRUN <<A\nRUN c\\d\\\\\nCMD";
        assert_eq!(check_statements(text, '\\'), 2 + 2 * 5);
        assert_eq!(words("a \"b"), [0..1, 2..4]);
        assert_eq!(quoted_words("a='b c' d", '\\').unwrap(), [0..7, 8..9]);
        for (text, count) in [
            ("a <<A 3<<-B_1 c", 2),
            ("<<'A' <<-\"B\"", 2),
            ("'a' $b<<C", 0),
        ] {
            let markers = heredoc_markers(text).unwrap();
            assert_eq!(markers, lower::heredoc_markers(text));
            assert_eq!(markers.len(), count, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn statements_are_those_of_the_grammar(
            text in "([-a=\"'`\\\\# \t\r\u{0b}\u{85}\u{3000}é]|--|\\\\\n|\\\\\r\n|\n){0,24}",
            backtick in any::<bool>(),
        ) {
            check_statements(&text, if backtick { '`' } else { '\\' });
        }

        #[test]
        fn words_are_those_of_the_grammar(text in "[ab=\"'`\\\\ \t\r\u{0b}\u{0c}\u{85}\u{3000}é]{0,16}", backtick in any::<bool>()) {
            let escape = if backtick { '`' } else { '\\' };
            prop_assert_eq!(words(&text), lower::words(&text));
            if let Some(found) = quoted_words(&text, escape) {
                prop_assert_eq!(found, lower::quoted_words(&text, escape));
            }
        }

        #[test]
        fn heredocs_are_those_of_the_grammar(text in "(<<-?|<|[-a1_$(\"'\\\\ \tés;|]|<<[A-C]| ){0,12}") {
            if let Some(found) = heredoc_markers(&text) {
                prop_assert_eq!(found, lower::heredoc_markers(&text));
            }
        }
    }
}
