//! The pieces of a text as the grammar finds them, where there may be quotes.
//!
//! This is the last place that knows the grammar's rules. It finds pieces in every text, and no fault with any.

use std::ops::Range;

use pest::iterators::Pair;

use super::glued::GluedText;
use super::grammar::{LineRule as Rule, parse_line};
use super::pieces::{HeredocMarker, LineParts};

/// Splits a logical line.
pub(super) fn line_parts<'f>(line: &GluedText<'f>, escape: char) -> LineParts<'f> {
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

/// Finds the heredocs that the arguments of an instruction announce, in order.
pub(super) fn heredoc_markers(text: &str) -> Vec<HeredocMarker> {
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

fn choose(escape: char, backslash: Rule, backtick: Rule) -> Rule {
    if escape == '`' { backtick } else { backslash }
}

fn range(pair: &Pair<'_, Rule>, base: usize) -> Range<usize> {
    let span = pair.as_span();
    base + span.start()..base + span.end()
}

/// What the grammar says of texts that are all read by `plain`: tests hold that to this.
#[cfg(test)]
pub(super) mod grammar_alone {
    use super::*;
    use crate::dockerfile::pieces::{Lines, Placed, Statement};
    use crate::source::{SourceFile, Span};

    /// Reads the statement at an offset of a file.
    pub(in crate::dockerfile) fn statement(
        file: &SourceFile,
        at: usize,
        escape: char,
    ) -> Placed<'_> {
        let rule = choose(escape, Rule::statement, Rule::statement_backtick);
        let pair = parse_line(rule, &file.text()[at..])
            .unwrap()
            .next()
            .unwrap();
        let next = at + pair.as_span().end();
        let statement = match pair.as_rule() {
            Rule::comment_line => {
                let text = pair.into_inner().next();
                let place = text.map_or(at..at, |text| range(&text, at));
                Statement::Comment(trimmed(file.text(), place))
            }
            Rule::instruction => Statement::Instruction(lines(file, pair, at)),
            _ => Statement::Blank,
        };
        (statement, next.max(at + 1).min(file.text().len()))
    }

    fn lines<'f>(file: &'f SourceFile, pair: Pair<'f, Rule>, at: usize) -> Lines<'f> {
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
        Lines {
            logical: glued.trimmed(),
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

    /// Splits text into words at white space; quotes mean nothing.
    pub(in crate::dockerfile) fn words(text: &str) -> Vec<Range<usize>> {
        ranges(Rule::words, text)
    }

    /// Splits text into words at white space that is neither quoted nor escaped; quotes and escapes stay in them.
    pub(in crate::dockerfile) fn quoted_words(text: &str, escape: char) -> Vec<Range<usize>> {
        ranges(
            choose(escape, Rule::quoted_words, Rule::quoted_words_backtick),
            text,
        )
    }

    fn ranges(rule: Rule, text: &str) -> Vec<Range<usize>> {
        let pairs = parse_line(rule, text).into_iter().flatten();
        pairs.map(|token| range(&token, 0)).collect()
    }

    fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
        let part = &text[range.clone()];
        let start = range.start + (part.len() - part.trim_start().len());
        start..start + part.trim().len()
    }
}
