//! The parsers that `grammar/dockerfile.pest` and `grammar/word.pest` describe. Only their derivation is here; what their
//! rules mean is for `lower.rs` and `word/`.

use pest::Parser as _;
use pest::iterators::Pairs;

/// Statements and logical lines of a Dockerfile.
pub(super) mod dockerfile {
    /// Parser of `grammar/dockerfile.pest`.
    #[derive(Debug, pest_derive::Parser)]
    #[grammar = "grammar/dockerfile.pest"]
    pub(in crate::dockerfile) struct DockerfileParser;
}

/// Words and what is expanded in them.
pub(super) mod word {
    /// Parser of `grammar/word.pest`.
    #[derive(Debug, pest_derive::Parser)]
    #[grammar = "grammar/word.pest"]
    pub(in crate::dockerfile) struct WordParser;
}

pub(super) use dockerfile::Rule as LineRule;
pub(super) use word::Rule as WordRule;

/// Applies a rule of the Dockerfile grammar to the start of a text. The grammar accepts everything, so there is no error
/// but running out of stack; that gives no pairs.
pub(super) fn parse_line(rule: LineRule, text: &str) -> Option<Pairs<'_, LineRule>> {
    dockerfile::DockerfileParser::parse(rule, text).ok()
}

/// Applies a rule of the word grammar to a text. No pairs if substitutions are nested so deeply that the stack ends.
pub(super) fn parse_word(rule: WordRule, text: &str) -> Option<Pairs<'_, WordRule>> {
    word::WordParser::parse(rule, text).ok()
}
