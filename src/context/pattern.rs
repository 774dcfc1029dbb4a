//! One path pattern, compiled to a small automaton over the characters of a path.
//!
//! The automaton is run as a set of states, so a match takes time linear in the path, whatever the pattern. It is fed
//! a path name by name: the states after `dir/` are kept for everything in `dir`, and an empty set says at once that
//! nothing below can match. The text of a pattern is read in `pattern_syntax`; which
//! of several patterns wins is decided in `pattern_list`.

use super::pattern_syntax::tokens;

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
pub(super) enum Token {
    /// This character.
    Unit(u32),
    /// Any character but `/`.
    Any,
    /// One of, or none of, some characters. `/` is one too: that is how Go has it, and the reference implementation.
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

/// A `[...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) negated: bool,
    /// First and last character of each range.
    pub(super) ranges: Vec<(u32, u32)>,
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
            Some(Token::Class(class)) if class.has(unit) => {
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
pub(super) fn next_unit(bytes: &[u8]) -> Option<(u32, &[u8])> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, dialect: Dialect, path: &[u8]) -> bool {
        let pattern = Pattern::compile(pattern.as_bytes(), dialect).unwrap();
        let states = pattern.advance(&pattern.start(), path);
        pattern.accepts(&states)
    }

    fn check(dialect: Dialect, cases: &[(&str, &[&str], &[&str])]) {
        for (pattern, yes, no) in cases {
            for path in *yes {
                assert!(
                    matches(pattern, dialect, path.as_bytes()),
                    "`{pattern}` should match `{path}`"
                );
            }
            for path in *no {
                assert!(
                    !matches(pattern, dialect, path.as_bytes()),
                    "`{pattern}` should not match `{path}`"
                );
            }
        }
    }

    #[test]
    fn wildcards_stay_within_a_name() {
        for dialect in [Dialect::Deep, Dialect::Shallow] {
            check(
                dialect,
                &[
                    ("a", &["a"], &["", "b", "aa", "a/b", "b/a"]),
                    ("*", &["a", ".a", "aé"], &["a/b"]),
                    ("*.go", &["a.go", ".go"], &["a.gox", "a/b.go", "ago"]),
                    (
                        "a*b*c",
                        &["abc", "axbxc", "abbcc"],
                        &["ab", "ac", "abcd", "ab/c"],
                    ),
                    ("?", &["a", "é"], &["", "ab", "/"]),
                    ("a?c", &["abc", "aéc"], &["ac", "a/c"]),
                    ("[a-c]x", &["ax", "cx"], &["dx", "x", "bbx"]),
                    ("[^a-c]x", &["dx", "éx", "/x"], &["ax", "x"]),
                    ("a[+-9]b", &["a+b", "a/b", "a7b"], &["ab", "a*b", "a//b"]),
                    ("[[]", &["["], &["a"]),
                    (r"[\]\-]", &["]", "-"], &["\\"]),
                    ("[a-ce-g]", &["b", "f"], &["d", "-"]),
                    (r"\*\[", &["*["], &["a["]),
                    ("a]", &["a]"], &["a"]),
                    ("a.b", &["a.b"], &["axb"]),
                    ("(a|b)+$^{1}", &["(a|b)+$^{1}"], &["a"]),
                    ("*/x", &["a/x"], &["x", "a/b/x"]),
                ],
            );
        }
    }

    #[test]
    fn double_stars_cross_directories() {
        check(
            Dialect::Deep,
            &[
                ("**", &["a", "a/b", "a/b/c"], &[]),
                ("**/x", &["x", "a/x", "a/b/x"], &["ax", "a/bx", "x/a"]),
                ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
                (
                    "a/**/b",
                    &["a/b", "a/x/b", "a/x/y/b"],
                    &["ab", "a/xb", "a/b/c"],
                ),
                (
                    "**/*.go",
                    &["a.go", "x/a.go", "x/y/.go"],
                    &["a.gox", "a.go/x"],
                ),
                ("**/a/**/b", &["a/b", "x/a/y/b"], &["a", "b", "xa/b"]),
                ("a**", &["a", "ab", "ab/c"], &["ba"]),
                ("**a", &["a", "ba", "x/ba"], &["ab"]),
                ("**a*", &["a", "ab", "x/ab"], &["xab"]),
                ("a**b", &["ab", "ax/b", "a/b"], &["axb"]),
                ("***", &["a", "a/b"], &[]),
                ("*/**", &["a/b", "a/b/c"], &["a"]),
                ("**/.git", &[".git", "a/.git"], &["a.git"]),
            ],
        );
        check(
            Dialect::Shallow,
            &[
                ("**/x", &["a/x"], &["x", "a/b/x"]),
                ("a/**", &["a/b"], &["a/b/c"]),
            ],
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_characters_of_their_own() {
        assert!(matches("a?b", Dialect::Deep, b"a\xFFb"));
        assert!(matches("*", Dialect::Deep, b"\xC3\n\xFE"));
        assert!(!matches("?", Dialect::Deep, b"\xC3\x28"));
        let raw = Pattern::compile(b"\xFF*", Dialect::Deep).unwrap();
        assert!(raw.matches(&raw.start(), b"\xFFx"));
        assert!(!raw.matches(&raw.start(), b"\xFEx"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for bad in [
            "[", "[]", "[^]", "[a", "[a-]", "[-a]", "[a-b", r"\", r"a\", r"[\", "[]a]", "x/[a",
        ] {
            let error = Pattern::compile(bad.as_bytes(), Dialect::Deep).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("syntax error in pattern `{bad}`")
            );
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let stars = "a*".repeat(60);
        let name = "a".repeat(4000);
        assert!(!matches(
            &format!("{stars}b"),
            Dialect::Deep,
            name.as_bytes()
        ));
        assert!(matches(&stars, Dialect::Deep, name.as_bytes()));
        let deep = "**/a/".repeat(60);
        let path = "a/".repeat(2000);
        assert!(!matches(
            &format!("{deep}b"),
            Dialect::Deep,
            path.as_bytes()
        ));
    }

    /// The meaning of a pattern by trying everything; no classes and escapes.
    fn naive(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'*', b'*', rest @ ..] => {
                let rest = rest.strip_prefix(b"/").unwrap_or(rest);
                let mut ends = (0..path.len()).filter(|&at| path[at] == b'/');
                rest.is_empty() || naive(rest, path) || ends.any(|at| naive(rest, &path[at + 1..]))
            }
            [b'*', rest @ ..] => {
                let within = path.first().is_some_and(|&byte| byte != b'/');
                naive(rest, path) || (within && naive(pattern, &path[1..]))
            }
            [b'?', rest @ ..] => {
                path.first().is_some_and(|&b| b != b'/') && naive(rest, &path[1..])
            }
            [byte, rest @ ..] => path.first() == Some(byte) && naive(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_trying_everything(pattern in "[ab/*?]{0,8}", path in "[ab/]{0,8}") {
            // `**` and plain text has a meaning of its own: see `bare_suffix`.
            let literal = pattern.strip_prefix("**").filter(|rest| !rest.contains(['*', '?']));
            let expected = match literal {
                Some(rest) if !rest.is_empty() && !rest.starts_with('/') => path.ends_with(rest),
                _ => naive(pattern.as_bytes(), path.as_bytes()),
            };
            prop_assert_eq!(matches(&pattern, Dialect::Deep, path.as_bytes()), expected);
        }

        #[test]
        fn name_by_name_is_the_same_as_at_once(pattern in "[ab/*?]{0,8}", path in "[ab]{1,3}(/[ab]{1,3}){0,3}") {
            let compiled = Pattern::compile(pattern.as_bytes(), Dialect::Deep).unwrap();
            let (directory, name) = path.rsplit_once('/').map_or((None, &path[..]), |(d, n)| (Some(d), n));
            let mut states = compiled.start();
            for part in directory.into_iter().flat_map(|directory| directory.split('/')) {
                states = compiled.advance(&compiled.advance(&states, part.as_bytes()), b"/");
            }
            let at_once = matches(&pattern, Dialect::Deep, path.as_bytes());
            prop_assert_eq!(compiled.matches(&states, name.as_bytes()), at_once);
        }

        #[test]
        fn any_bytes_are_fine(pattern in prop::collection::vec(any::<u8>(), 0..20), path in prop::collection::vec(any::<u8>(), 0..40)) {
            for dialect in [Dialect::Deep, Dialect::Shallow] {
                if let Ok(pattern) = Pattern::compile(&pattern, dialect) {
                    let states = pattern.advance(&pattern.start(), &path);
                    prop_assert!(!(pattern.accepts(&states) && states.is_empty()));
                }
            }
        }
    }
}
