//! From the tokens of `grammar/word.pest` to the expanded text.

use pest::iterators::Pair;

use super::Mode;
use super::pattern::{Extent, Pattern};
use crate::dockerfile::grammar::{WordRule as Rule, parse_word};

/// Substitutions inside substitutions are followed this far; nobody writes more, and the stack is finite.
const DEEPEST: usize = 100;

/// Why a text cannot be expanded.
struct Failure {
    reason: String,
    /// True if something was still open at the end of the text: whatever is around it is open as well, and says so.
    at_end: bool,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            at_end: false,
        }
    }

    fn at_end(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            at_end: true,
        }
    }
}

/// One expansion: the variables that it sees, and those that it missed.
pub(super) struct Evaluation<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    unset: Vec<String>,
    depth: usize,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            env,
            unset: Vec::new(),
            depth: 0,
        }
    }

    pub(super) fn into_unset(self) -> Vec<String> {
        self.unset
    }

    /// Expands to one text, or says why not.
    pub(super) fn text(&mut self, text: &str, escape: char, mode: Mode) -> Result<String, String> {
        let mut value = String::with_capacity(text.len());
        for part in tokens(text, escape, mode)? {
            value.push_str(&self.part(part).map_err(|failure| failure.reason)?);
        }
        Ok(value)
    }

    /// Expands to words, split at white space that stands outside of quotes or comes from a variable outside of quotes.
    pub(super) fn words(&mut self, text: &str, escape: char) -> Result<Vec<String>, String> {
        let mut words = vec![String::new()];
        for part in tokens(text, escape, Mode::Argument)? {
            let whole = matches!(
                part.as_rule(),
                Rule::single_quoted | Rule::double_quoted | Rule::escaped_char
            );
            let value = self.part(part).map_err(|failure| failure.reason)?;
            let mut pieces = if whole {
                vec![value.as_str()]
            } else {
                value.split(char::is_whitespace).collect()
            };
            let first = pieces.remove(0);
            if let Some(word) = words.last_mut() {
                word.push_str(first);
            }
            words.extend(pieces.into_iter().map(str::to_owned));
        }
        words.retain(|word| !word.is_empty());
        Ok(words)
    }

    fn part(&mut self, part: Pair<'_, Rule>) -> Result<String, Failure> {
        match part.as_rule() {
            Rule::single_quoted => {
                closed(part, "single-quote", |text| Ok(text.as_str().to_owned()))
            }
            Rule::double_quoted => closed(part, "double-quote", |inner| self.part(inner)),
            Rule::simple => Ok(self.plain(&inner_text(part, Rule::name))),
            Rule::braced => self.nested(|evaluation| evaluation.braced(part)),
            _ => Ok(part.as_str().to_owned()),
        }
    }

    fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.depth == DEEPEST {
            return Err(Failure::new(too_deep()));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// `${...}`
    fn braced(&mut self, pair: Pair<'_, Rule>) -> Result<String, Failure> {
        let mut name = String::new();
        for token in pair.into_inner() {
            match token.as_rule() {
                Rule::name => token.as_str().clone_into(&mut name),
                Rule::bad_substitution => {
                    return Err(Failure::new("syntax error: bad substitution"));
                }
                Rule::bad_operator => {
                    let operator = token.as_str();
                    return Err(Failure::new(format!(
                        "unsupported modifier ({operator}) in substitution"
                    )));
                }
                Rule::fallback => return self.fallback(&name, token),
                Rule::affix => return self.affix(&name, token),
                Rule::replace => return self.replace(&name, token),
                _ => return Err(missing_brace()),
            }
        }
        Ok(self.plain(&name))
    }

    /// `${name-word}`, `${name+word}`, `${name?word}`, with or without the colon that takes empty for unset.
    fn fallback(&mut self, name: &str, pair: Pair<'_, Rule>) -> Result<String, Failure> {
        let (operator, word) = self.operands(pair, missing_brace)?;
        let word = word.into_iter().next().unwrap_or_default();
        let value = (self.env)(name);
        let usable = match &value {
            Some(value) => !(operator.starts_with(':') && value.is_empty()),
            None => false,
        };
        let demand = |default: &str| {
            if word.is_empty() {
                default.to_owned()
            } else {
                word.clone()
            }
        };
        match (operator.trim_start_matches(':'), usable) {
            ("-", false) | ("+", true) => Ok(word),
            ("+", false) => Ok(String::new()),
            ("?", false) if value.is_none() => Err(Failure::new(format!(
                "{name}: {}",
                demand("is not allowed to be unset")
            ))),
            ("?", false) => Err(Failure::new(format!(
                "{name}: {}",
                demand("is not allowed to be empty")
            ))),
            _ => Ok(value.unwrap_or_default()),
        }
    }

    /// `${name#pattern}`, `${name##pattern}`, `${name%pattern}`, `${name%%pattern}`
    fn affix(&mut self, name: &str, pair: Pair<'_, Rule>) -> Result<String, Failure> {
        let (operator, pattern) = self.operands(pair, missing_brace)?;
        let pattern =
            Pattern::new(pattern.first().map_or("", String::as_str)).map_err(Failure::new)?;
        let value = self.plain(name);
        let extent = if operator.len() == 2 {
            Extent::Longest
        } else {
            Extent::Shortest
        };
        Ok(if operator.starts_with('#') {
            pattern.strip_prefix(&value, extent)
        } else {
            pattern.strip_suffix(&value, extent)
        })
    }

    /// `${name/pattern/text}`, `${name//pattern/text}`
    fn replace(&mut self, name: &str, pair: Pair<'_, Rule>) -> Result<String, Failure> {
        let has_text = pair
            .clone()
            .into_inner()
            .any(|token| token.as_rule() == Rule::ending);
        let missing = if has_text {
            missing_brace
        } else {
            missing_slash
        };
        let (operator, operands) = self.operands(pair, missing)?;
        let operand = |index: usize| operands.get(index).map_or("", String::as_str);
        let pattern = Pattern::new(operand(0)).map_err(Failure::new)?;
        let value = self.plain(name);
        Ok(pattern.replace(&value, &unescaped(operand(1)), operator == "//"))
    }

    /// The operator of a substitution and its expanded operands. `missing` is what to say if the substitution is open at
    /// the end of the text.
    fn operands(
        &mut self,
        pair: Pair<'_, Rule>,
        missing: fn() -> Failure,
    ) -> Result<(String, Vec<String>), Failure> {
        let (mut operator, mut operands) = (String::new(), Vec::new());
        for token in pair.into_inner() {
            match token.as_rule() {
                Rule::fallback_kind | Rule::affix_kind | Rule::replace_kind => {
                    token.as_str().clone_into(&mut operator);
                }
                Rule::unclosed => return Err(missing()),
                _ => {
                    let mut operand = String::new();
                    for part in token.into_inner() {
                        let part = self.part(part);
                        let part = part
                            .map_err(|failure| if failure.at_end { missing() } else { failure })?;
                        operand.push_str(&part);
                    }
                    operands.push(operand);
                }
            }
        }
        Ok((operator, operands))
    }

    /// The value of a variable; empty, and noted, if it is not set.
    fn plain(&mut self, name: &str) -> String {
        (self.env)(name).unwrap_or_else(|| {
            if !self.unset.iter().any(|known| known == name) {
                self.unset.push(name.to_owned());
            }
            String::new()
        })
    }
}

fn tokens(
    text: &str,
    escape: char,
    mode: Mode,
) -> Result<pest::iterators::Pairs<'_, Rule>, String> {
    let rule = match mode {
        Mode::Heredoc => Rule::heredoc,
        Mode::Argument if escape == '`' => Rule::argument_backtick,
        Mode::Argument => Rule::argument,
    };
    parse_word(rule, text).ok_or_else(too_deep)
}

/// Joins what `each` makes of the tokens in a quoted part, which must have its closing quote.
fn closed<'t>(
    pair: Pair<'t, Rule>,
    quote: &str,
    mut each: impl FnMut(Pair<'t, Rule>) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let mut value = String::new();
    for token in pair.into_inner() {
        if token.as_rule() == Rule::unclosed {
            return Err(Failure::at_end(format!(
                "unexpected end of statement while looking for matching {quote}"
            )));
        }
        value.push_str(&each(token)?);
    }
    Ok(value)
}

fn inner_text(pair: Pair<'_, Rule>, rule: Rule) -> String {
    let mut inner = pair.into_inner();
    let token = inner.find(|token| token.as_rule() == rule);
    token.map_or_else(String::new, |token| token.as_str().to_owned())
}

/// The text that replaces a match: `\}`, `\/` and `\\` lose their backslash, everything else is as it is.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped =
            characters.next_if(|&next| character == '\\' && matches!(next, '}' | '/' | '\\'));
        plain.push(escaped.unwrap_or(character));
    }
    plain
}

fn missing_brace() -> Failure {
    Failure::at_end("syntax error: missing '}'")
}

fn missing_slash() -> Failure {
    Failure::at_end("syntax error: missing '/' in ${}")
}

fn too_deep() -> String {
    "syntax error: substitutions are nested too deeply".to_owned()
}
