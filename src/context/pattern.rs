//! One path pattern, compiled to a small automaton over the characters of a path.
//!
//! The automaton is run as a set of states, so a match takes time linear in the path, whatever the pattern. It is fed
//! a path name by name: the states after `dir/` are kept for everything in `dir`, and an empty set says at once that
//! nothing below can match. Which of several patterns wins is decided in `pattern_list`.

use super::lexical;

/// A pattern that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An unclosed or empty class, or a backslash at the end.
    #[error("syntax error in pattern `{pattern}`")]
    Syntax {
        /// As it was written, cleaned.
        pattern: String,
    },
    /// A `!` without a pattern.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneExclamation,
}

/// Whether `**` means any number of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `**/` is any number of directories, `**` at the end is everything.
    Deep,
    /// `**` is `*` twice.
    Shallow,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
    tail: Tail,
}

/// What one state of the automaton waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This character.
    Unit(u32),
    /// Any character but `/`.
    Any,
    /// One of, or none of, some characters, never `/`.
    Class(Class),
    /// Any number of characters but `/`.
    Star,
    /// `**/`: skips itself and [`Token::Directories`], or enters it.
    MaybeDirectories,
    /// Anything that ends in `/`.
    Directories,
    /// Anything.
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    negated: bool,
    ranges: Vec<(u32, u32)>,
}

/// The end of every name that can match: rules out most names before the automaton runs.
#[derive(Clone, Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    whole_name: bool,
}

/// A set of automaton states, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct States(Vec<u64>);

impl States {
    fn with_room_for(count: usize) -> Self {
        Self(vec![0; count / 64 + 1])
    }

    fn add(&mut self, state: usize) {
        if let Some(word) = self.0.get_mut(state / 64) {
            *word |= 1 << (state % 64);
        }
    }

    fn has(&self, state: usize) -> bool {
        self.0
            .get(state / 64)
            .is_some_and(|word| word >> (state % 64) & 1 == 1)
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Whether nothing can match any more.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                (left != 0).then(|| {
                    left &= left - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

impl Pattern {
    /// Compiles a cleaned pattern.
    pub(super) fn compile(pattern: &[u8], dialect: Dialect) -> Result<Self, PatternError> {
        let tokens = tokens(pattern, dialect).ok_or_else(|| PatternError::Syntax {
            pattern: String::from_utf8_lossy(pattern).into_owned(),
        })?;
        let tail = Tail::of(&tokens);
        Ok(Self { tokens, tail })
    }

    /// The states before anything was read.
    pub(super) fn start(&self) -> States {
        let mut states = States::with_room_for(self.tokens.len());
        self.add_with_skips(&mut states, 0);
        states
    }

    /// Whether a name, in a directory after which the automaton is in `states`, matches to its end.
    pub(super) fn matches(&self, states: &States, name: &[u8]) -> bool {
        self.tail.allows(name)
            && !states.is_empty()
            && self.advance(states, name).has(self.tokens.len())
    }

    /// Whether the automaton has matched what it read so far.
    pub(super) fn accepts(&self, states: &States) -> bool {
        states.has(self.tokens.len())
    }

    /// The states after reading `bytes`.
    pub(super) fn advance(&self, states: &States, bytes: &[u8]) -> States {
        let mut now = states.clone();
        let mut next = States::with_room_for(self.tokens.len());
        let mut rest = bytes;
        while let Some((unit, after)) = next_unit(rest) {
            if now.is_empty() {
                break;
            }
            next.clear();
            for state in now.iter() {
                self.step(state, unit, &mut next);
            }
            std::mem::swap(&mut now, &mut next);
            rest = after;
        }
        now
    }

    fn step(&self, state: usize, unit: u32, next: &mut States) {
        let slash = unit == SLASH;
        match self.tokens.get(state) {
            Some(Token::Unit(wanted)) if *wanted == unit => self.add_with_skips(next, state + 1),
            Some(Token::Any) if !slash => self.add_with_skips(next, state + 1),
            Some(Token::Class(class)) if !slash && class.has(unit) => {
                self.add_with_skips(next, state + 1);
            }
            Some(Token::Star) if !slash => self.add_with_skips(next, state),
            Some(Token::Rest) => self.add_with_skips(next, state),
            Some(Token::Directories) => {
                next.add(state);
                if slash {
                    self.add_with_skips(next, state + 1);
                }
            }
            // Also the accepting state, which has no token: more input than pattern.
            _ => {}
        }
    }

    /// Adds a state and those that are reached from it without reading anything.
    fn add_with_skips(&self, states: &mut States, first: usize) {
        let mut state = first;
        loop {
            states.add(state);
            match self.tokens.get(state) {
                Some(Token::Star | Token::Rest) => state += 1,
                Some(Token::MaybeDirectories) => {
                    states.add(state + 1);
                    state += 2;
                }
                _ => break,
            }
        }
    }
}

impl Class {
    fn has(&self, unit: u32) -> bool {
        let listed = self
            .ranges
            .iter()
            .any(|&(low, high)| (low..=high).contains(&unit));
        listed != self.negated
    }
}

impl Tail {
    fn of(tokens: &[Token]) -> Self {
        let mut units = Vec::new();
        let mut whole_name = true;
        for token in tokens.iter().rev() {
            match token {
                Token::Unit(SLASH) | Token::Directories => break,
                Token::Unit(unit) => units.push(*unit),
                _ => {
                    whole_name = false;
                    break;
                }
            }
        }
        let mut bytes = Vec::new();
        for unit in units.into_iter().rev() {
            push_unit(&mut bytes, unit);
        }
        Self { bytes, whole_name }
    }

    fn allows(&self, name: &[u8]) -> bool {
        if self.whole_name {
            name == self.bytes
        } else {
            name.ends_with(&self.bytes)
        }
    }
}

const SLASH: u32 = b'/' as u32;

/// Bytes that are not UTF-8 are units of their own, above all characters.
const FIRST_RAW: u32 = 0x11_0000;

/// The first character, or the first byte where that is not UTF-8, and what follows.
fn next_unit(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let length = match first {
        0..0x80 => return Some((u32::from(first), rest)),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let character = bytes
        .split_at_checked(length)
        .and_then(|(head, after)| Some((std::str::from_utf8(head).ok()?.chars().next()?, after)));
    match character {
        Some((character, after)) => Some((u32::from(character), after)),
        None => Some((FIRST_RAW + u32::from(first), rest)),
    }
}

fn push_unit(bytes: &mut Vec<u8>, unit: u32) {
    match char::from_u32(unit) {
        Some(character) => {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        None => bytes.extend(u8::try_from(unit.saturating_sub(FIRST_RAW))),
    }
}

/// The tokens of a pattern; `None` where it is malformed.
fn tokens(pattern: &[u8], dialect: Dialect) -> Option<Vec<Token>> {
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
