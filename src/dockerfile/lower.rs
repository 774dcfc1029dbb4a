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
pub(super) enum Statement {
    /// A line with nothing on it.
    Blank,
    /// A line of comment: its text without `#` and white space around it.
    Comment(Range<usize>),
    /// The lines of an instruction.
    Instruction(Lines),
}

/// The lines of an instruction.
#[derive(Debug)]
pub(super) struct Lines {
    /// The lines glued together, without white space around.
    pub(super) logical: GluedText,
    /// Empty lines inside it.
    pub(super) empty_lines: Vec<Span>,
}

/// Reads the statement at an offset of a file; gives it and the offset of the next one. Nothing if the stack is used up.
pub(super) fn statement(file: &SourceFile, at: usize, escape: char) -> Option<(Statement, usize)> {
    let rest = &file.text()[at..];
    let rule = choose(escape, Rule::statement, Rule::statement_backtick);
    let pair = parse_line(rule, rest)?.next()?;
    let next = at + pair.as_span().end();
    let statement = match pair.as_rule() {
        Rule::comment_line => {
            let text = pair
                .into_inner()
                .next()
                .map_or(at..at, |text| range(&text, at));
            Statement::Comment(trimmed(file.text(), text))
        }
        Rule::instruction => Statement::Instruction(lines(file, pair, at)),
        _ => Statement::Blank,
    };
    Some((statement, next.max(at + 1).min(file.text().len())))
}

fn lines(file: &SourceFile, pair: Pair<'_, Rule>, at: usize) -> Lines {
    let mut glued = GluedText::new(file.id());
    let mut empty_lines = Vec::new();
    for token in pair.into_inner() {
        let place = range(&token, at);
        match token.as_rule() {
            Rule::fragment => glued.push(token.as_str(), place.start),
            Rule::empty_line => empty_lines.push(file.span(place)),
            _ => {}
        }
    }
    Lines {
        logical: glued.trimmed(),
        empty_lines,
    }
}

/// A logical line in its three parts.
#[derive(Debug)]
pub(super) struct LineParts {
    /// The first word.
    pub(super) keyword: GluedText,
    /// The words after it that begin with `--`, without quotes and escape characters.
    pub(super) flags: Vec<GluedText>,
    /// The rest without white space around.
    pub(super) arguments: GluedText,
}

/// Splits a logical line.
pub(super) fn line_parts(line: &GluedText, escape: char) -> LineParts {
    let mut parts = LineParts {
        keyword: line.nothing(),
        flags: Vec::new(),
        arguments: line.nothing(),
    };
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
