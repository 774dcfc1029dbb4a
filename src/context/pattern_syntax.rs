//! The text of a path pattern: wildcards, classes and escapes as in Go's `filepath.Match`, and `**`.
//!
//! A malformed pattern is refused here; what tokens match is in `pattern`.

use super::lexical;
use super::pattern::{Class, Dialect, PatternError, Token, next_unit};

/// The tokens of a pattern; `None` where it is malformed.
pub(super) fn tokens(pattern: &[u8], dialect: Dialect) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    if dialect == Dialect::Deep
        && let Some(literal) = bare_suffix(pattern)
    {
        tokens.push(Token::Rest);
        rest = literal;
    }
    while let Some((unit, after)) = next_unit(rest) {
        rest = after;
        match char::from_u32(unit) {
            Some('*') if dialect == Dialect::Deep && rest.first() == Some(&b'*') => {
                rest = rest.get(1..)?;
                rest = rest.strip_prefix(b"/").unwrap_or(rest);
                if rest.is_empty() {
                    tokens.push(Token::Rest);
                } else {
                    tokens.extend([Token::MaybeDirectories, Token::Directories]);
                }
            }
            Some('*') => tokens.push(Token::Star),
            Some('?') => tokens.push(Token::Any),
            Some('[') => {
                let (class, after) = class(rest)?;
                tokens.push(Token::Class(class));
                rest = after;
            }
            Some('\\') => {
                let (unit, after) = next_unit(rest)?;
                tokens.push(Token::Unit(unit));
                rest = after;
            }
            _ => tokens.push(Token::Unit(unit)),
        }
    }
    Some(tokens)
}

/// `**literal`, without a slash after the stars and without wildcards, is any path that ends so; the stars of
/// `**lit*` on the other hand stand for whole directories. That is how the reference implementation has it.
fn bare_suffix(pattern: &[u8]) -> Option<&[u8]> {
    let rest = pattern.strip_prefix(b"**")?;
    let plain = !rest
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\'));
    (plain && !rest.is_empty() && rest.first() != Some(&b'/')).then_some(rest)
}

/// The class after a `[`, and what follows it.
fn class(pattern: &[u8]) -> Option<(Class, &[u8])> {
    let negated = pattern.first() == Some(&b'^');
    let mut rest = pattern.get(usize::from(negated)..)?;
    let mut ranges = Vec::new();
    loop {
        if let (false, Some(after)) = (ranges.is_empty(), rest.strip_prefix(b"]")) {
            return Some((Class { negated, ranges }, after));
        }
        let (low, after) = class_unit(rest)?;
        rest = after;
        let mut high = low;
        if let Some(after) = rest.strip_prefix(b"-") {
            (high, rest) = class_unit(after)?;
        }
        ranges.push((low, high));
    }
}

/// A character of a class; `-` and `]` need a backslash.
fn class_unit(pattern: &[u8]) -> Option<(u32, &[u8])> {
    match pattern.first()? {
        b'-' | b']' => None,
        b'\\' => next_unit(pattern.get(1..)?),
        _ => next_unit(pattern),
    }
}

/// Splits off a leading `!`, after cleaning, and refuses a lone one.
pub(super) fn split_exclamation(pattern: &[u8]) -> Result<(bool, Vec<u8>), PatternError> {
    let cleaned = lexical::clean(pattern);
    match cleaned.strip_prefix(b"!") {
        Some(b"") => Err(PatternError::LoneExclamation),
        Some(rest) => Ok((true, rest.to_vec())),
        None => Ok((false, cleaned)),
    }
}
