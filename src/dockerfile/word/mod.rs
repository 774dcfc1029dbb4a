//! Expansion of words: quotes, escapes, variables and the operators in `${...}`.
//!
//! Splitting an instruction into words is not done here, with one exception: the expansion of one word may make several
//! ([`expand_words`]).

mod evaluate;
mod pattern;

use self::evaluate::Evaluation;
use super::ast::Word;
use crate::source::Span;

/// How quotes and escapes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The argument of an instruction: quotes quote and are removed.
    Argument,
    /// The content of a heredoc: quotes are characters like any other; the escape character is always a backslash.
    Heredoc,
}

/// The result of an expansion to one word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The text.
    pub value: String,
    /// Names that were used without a fallback and are not set, in order of first use, each once.
    pub unset: Vec<String>,
}

/// The result of an expansion to any number of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordsExpansion {
    /// The words: the expanded text split at white space that is not quoted. None of them is empty.
    pub values: Vec<String>,
    /// As in [`Expansion`].
    pub unset: Vec<String>,
}

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {:?}: {reason}", shortened(.word))]
pub struct ExpandError {
    /// The word as written.
    pub word: String,
    /// Where it was written.
    pub span: Span,
    /// What is wrong with it.
    pub reason: String,
}

/// Expands a word to one text. `env` gives the value of a variable, `None` if it is not set.
///
/// # Errors
/// Bad syntax, an operator that does not exist, or a variable that `${name:?}` demands.
pub fn expand(
    word: &Word,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
    mode: Mode,
) -> Result<Expansion, ExpandError> {
    if !word.text.contains(is_special) {
        return Ok(Expansion {
            value: word.text.clone(),
            unset: Vec::new(),
        });
    }
    let mut evaluation = Evaluation::new(env);
    match evaluation.text(&word.text, escape, mode) {
        Ok(value) => Ok(Expansion {
            value,
            unset: evaluation.into_unset(),
        }),
        Err(reason) => Err(error(word, reason)),
    }
}

/// Expands a word to any number of words, as `EXPOSE` does.
///
/// # Errors
/// As [`expand`].
pub fn expand_words(
    word: &Word,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<WordsExpansion, ExpandError> {
    let mut evaluation = Evaluation::new(env);
    match evaluation.words(&word.text, escape) {
        Ok(values) => Ok(WordsExpansion {
            values,
            unset: evaluation.into_unset(),
        }),
        Err(reason) => Err(error(word, reason)),
    }
}

/// Whether expansion may do anything with the character.
pub(super) fn is_special(character: char) -> bool {
    matches!(character, '$' | '\'' | '"' | '\\' | '`')
}

fn error(word: &Word, reason: String) -> ExpandError {
    ExpandError {
        word: word.text.clone(),
        span: word.span,
        reason,
    }
}

/// A word as far as it is useful in a message: the content of a heredoc can be long.
fn shortened(word: &str) -> String {
    const LONGEST: usize = 200;
    match word.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &word[..end]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests;
