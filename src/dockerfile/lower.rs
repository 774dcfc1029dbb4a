//! From the tokens of the grammar to plain pieces of text: statements, flags, words, announcements of heredocs.
//!
//! This is the last place that knows the grammar's rules. It reports nothing; what the pieces mean, and what is wrong with
//! them, is for `instruction/`.

use std::ops::Range;

use pest::iterators::Pair;

use super::glued::GluedText;
use super::grammar::{LineRule as Rule, parse_line};
use crate::source::{SourceFile, Span};

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
    /// What is on them.
    pub(super) parts: LineParts<'f>,
    /// The first empty line between them.
    pub(super) empty_line: Option<Span>,
}

/// A statement and the offset of the next one.
pub(super) type Placed<'f> = (Statement<'f>, usize);

/// So much text is looked through for statements of one line at a time.
const MOST_AT_ONCE: usize = 16 * 1024;

/// Reads some statements from an offset of a file on, at least one. Nothing if the stack is used up.
pub(super) fn statements(file: &SourceFile, at: usize, escape: char) -> Option<Vec<Placed<'_>>> {
    let rule = choose(escape, Rule::statements, Rule::statements_backtick);
    let text = file.text();
    let mut end = end_of_some(text, at);
    loop {
        let mut pairs = parse_line(rule, &text[at..end])?;
        let unfinished = |pair: &Pair<'_, Rule>| {
            // Its last line may be continued behind what was looked at.
            pair.as_rule() == Rule::instruction && at + pair.as_span().end() == end
        };
        if end < text.len() && pairs.peek().is_some_and(|pair| unfinished(&pair)) {
            end = text.len();
            continue;
        }
        let statements = pairs.by_ref().map(|pair| statement(file, pair, at, escape));
        return Some(statements.collect()).filter(|statements: &Vec<_>| !statements.is_empty());
    }
}

/// The end of a line that is some way behind an offset.
fn end_of_some(text: &str, at: usize) -> usize {
    let from = (at + MOST_AT_ONCE).min(text.len());
    let line_end = text.as_bytes()[from..]
        .iter()
        .position(|&byte| byte == b'\n');
    line_end.map_or(text.len(), |length| from + length + 1)
}

fn statement<'f>(
    file: &'f SourceFile,
    pair: Pair<'f, Rule>,
    at: usize,
    escape: char,
) -> Placed<'f> {
    let next = at + pair.as_span().end();
    let statement = match pair.as_rule() {
        Rule::comment_line => {
            let text = pair
                .into_inner()
                .next()
                .map_or(at..at, |text| range(&text, at));
            Statement::Comment(trimmed(file.text(), text))
        }
        Rule::line => Statement::Instruction(line(file, pair, at)),
        Rule::instruction => Statement::Instruction(lines(file, pair, at, escape)),
        _ => Statement::Blank,
    };
    (statement, next.max(at + 1).min(file.text().len()))
}

/// An instruction that the grammar has taken apart.
fn line<'f>(file: &'f SourceFile, pair: Pair<'f, Rule>, at: usize) -> Lines<'f> {
    let logical = piece(file, range(&pair, at)).trimmed();
    let mut parts = LineParts::of_nothing(&logical);
    let end = logical.whole().range().end;
    for token in pair.into_inner() {
        let place = range(&token, at);
        match token.as_rule() {
            // White space that is part of a keyword is not, where the line ends after it.
            Rule::line_keyword => parts.keyword = piece(file, place.start..place.end.min(end)),
            _ => parts.arguments = piece(file, place).trimmed(),
        }
    }
    Lines {
        logical,
        parts,
        empty_line: None,
    }
}

fn lines<'f>(file: &'f SourceFile, pair: Pair<'f, Rule>, at: usize, escape: char) -> Lines<'f> {
    let mut glued = GluedText::new(file.id());
    let mut empty_line = None;
    for token in pair.into_inner() {
        let place = range(&token, at);
        if token.as_rule() == Rule::fragment {
            glued.push(&file.text()[place.clone()], place.start);
        } else if empty_line.is_none() {
            empty_line = first_empty_line(file, place);
        }
    }
    let logical = glued.trimmed();
    Lines {
        parts: line_parts(&logical, escape),
        logical,
        empty_line,
    }
}

/// The first of the lines in a range that has nothing on it.
fn first_empty_line(file: &SourceFile, between: Range<usize>) -> Option<Span> {
    let mut start = between.start;
    for line in file.text()[between].split_inclusive('\n') {
        let end = start + line.len();
        if line.trim().is_empty() {
            return Some(file.span(start..end));
        }
        start = end;
    }
    None
}

fn piece(file: &SourceFile, range: Range<usize>) -> GluedText<'_> {
    GluedText::piece(file.id(), &file.text()[range.clone()], range.start)
}

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

impl<'f> LineParts<'f> {
    fn of_nothing(line: &GluedText<'f>) -> Self {
        Self {
            keyword: line.nothing(),
            flags: Vec::new(),
            arguments: line.nothing(),
        }
    }
}

/// Splits a logical line.
pub(super) fn line_parts<'f>(line: &GluedText<'f>, escape: char) -> LineParts<'f> {
    let mut parts = LineParts::of_nothing(line);
    let rule = choose(escape, Rule::logical_line, Rule::logical_line_backtick);
    for token in parse_line(rule, line.text()).into_iter().flatten() {
        let place = range(&token, 0);
        match token.as_rule() {
            Rule::keyword => parts.keyword = line.part(place),
            Rule::flag => {
                let mut flag = line.nothing();
                for piece in token.into_inner() {
                    flag.append(line, range(&piece, 0));
                }
                parts.flags.push(flag);
            }
            Rule::arguments => {
                parts.arguments = line.part(place.start..line.text().len()).trimmed()
            }
            _ => {}
        }
    }
    parts
}

/// Splits text into words at white space; quotes mean nothing.
pub(super) fn words(text: &str) -> Vec<Range<usize>> {
    ranges(Rule::words, text)
}

/// Splits text into words at white space that is neither quoted nor escaped; quotes and escapes stay in them.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<Range<usize>> {
    ranges(
        choose(escape, Rule::quoted_words, Rule::quoted_words_backtick),
        text,
    )
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

/// Finds the heredocs that the arguments of an instruction announce, in order.
pub(super) fn heredoc_markers(text: &str) -> Vec<HeredocMarker> {
    if !text.contains("<<") {
        return Vec::new();
    }
    let pairs = parse_line(Rule::heredoc_line, text).into_iter().flatten();
    let markers = pairs
        .filter(|pair| pair.as_rule() == Rule::heredoc)
        .map(marker);
    markers.filter(|marker| !marker.name.is_empty()).collect()
}

fn marker(pair: Pair<'_, Rule>) -> HeredocMarker {
    let mut marker = HeredocMarker {
        range: range(&pair, 0),
        file_descriptor: None,
        strip_tabs: false,
        name: String::new(),
        quoted: false,
    };
    for token in pair.into_inner() {
        match token.as_rule() {
            Rule::file_descriptor if !token.as_str().is_empty() => {
                marker.file_descriptor = Some(token.as_str().to_owned());
            }
            Rule::strip_tabs => marker.strip_tabs = !token.as_str().is_empty(),
            Rule::delimiter => {
                for piece in token.into_inner() {
                    let quoted = matches!(
                        piece.as_rule(),
                        Rule::delimiter_single | Rule::delimiter_double
                    );
                    if quoted {
                        marker.quoted = true;
                        marker
                            .name
                            .extend(piece.into_inner().map(|inner| inner.as_str()));
                    } else {
                        marker.name.push_str(piece.as_str());
                    }
                }
            }
            _ => {}
        }
    }
    marker
}

fn ranges(rule: Rule, text: &str) -> Vec<Range<usize>> {
    let pairs = parse_line(rule, text).into_iter().flatten();
    pairs.map(|token| range(&token, 0)).collect()
}

fn choose(escape: char, backslash: Rule, backtick: Rule) -> Rule {
    if escape == '`' { backtick } else { backslash }
}

fn range(pair: &Pair<'_, Rule>, base: usize) -> Range<usize> {
    let span = pair.as_span();
    base + span.start()..base + span.end()
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}
