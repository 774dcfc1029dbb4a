//! Wildcards over a stack, as `COPY` understands them: Go's `filepath.Match`, one component at a time.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::entry::join;
use super::stack::{ResolveError, Stack};

/// A pattern that cannot be matched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// An open bracket or a backslash at the end.
    #[error("syntax error in the pattern `{}`", .0.display())]
    Pattern(PathBuf),
    /// The way to the first wildcard leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

/// The syntax is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BadPattern;

/// Whether a pattern has wildcards in it, so that it is not just a path.
#[must_use]
pub fn has_wildcards(pattern: impl AsRef<Path>) -> bool {
    let mut bytes = pattern.as_ref().as_os_str().as_bytes().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

impl Stack {
    /// The paths that a pattern matches, in order; none is fine. Links are followed in the components before the first
    /// with a wildcard, and nowhere else. The paths begin as the pattern does: links in them are still to be resolved.
    ///
    /// # Errors
    /// A malformed pattern, and links before the first wildcard that lead nowhere.
    pub fn glob(&self, pattern: impl AsRef<Path>) -> Result<Vec<PathBuf>, GlobError> {
        let pattern = pattern.as_ref();
        let bad = |_| GlobError::Pattern(pattern.to_owned());
        let parts: Vec<&[u8]> = pattern
            .as_os_str()
            .as_bytes()
            .split(|byte| *byte == b'/')
            .filter(|part| !matches!(*part, b"" | b"."))
            .collect();
        for part in &parts {
            match_component(part, b"").map_err(bad)?;
        }
        let is_wild = |part: &&[u8]| has_wildcards(OsStr::from_bytes(part));
        let literal = parts.iter().position(is_wild).unwrap_or(parts.len());
        let (before, wild) = parts.split_at(literal);
        let mut prefix = PathBuf::new();
        for part in before {
            prefix.push(unescape(part));
        }
        let start = self.resolve(&prefix, !wild.is_empty())?;
        if start.found.is_none() {
            return Ok(Vec::new());
        }
        // Pairs of the real path and the one that is reported.
        let mut matched = vec![(start.path, prefix)];
        for part in wild {
            let mut next = Vec::new();
            for (real, shown) in &matched {
                for found in self.read_dir(real) {
                    let name = found.entry.name();
                    if match_component(part, name.as_bytes()).map_err(bad)? {
                        next.push((join(real, name), join(shown, name)));
                    }
                }
            }
            matched = next;
        }
        Ok(matched.into_iter().map(|(_, shown)| shown).collect())
    }
}

/// Takes the backslashes away.
fn unescape(part: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        };
        plain.extend(byte);
    }
    OsString::from_vec(plain)
}

/// Whether a name, all of it, matches a component of a pattern. The syntax is checked to the end in any case.
fn match_component(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    check_syntax(pattern)?;
    // Where to go on if what follows the last star does not match: the star takes one character more.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let (mut pattern, mut name) = (pattern, name);
    loop {
        if let Some(rest) = pattern.strip_prefix(b"*") {
            retry = Some((rest, name));
            pattern = rest;
            continue;
        }
        if pattern.is_empty() && name.is_empty() {
            return Ok(true);
        }
        if let Some((rest_of_pattern, rest_of_name)) = match_one(pattern, name)? {
            (pattern, name) = (rest_of_pattern, rest_of_name);
            continue;
        }
        let Some((after_star, from)) = retry.filter(|(_, from)| !from.is_empty()) else {
            return Ok(false);
        };
        let (_, from) = split_char(from);
        retry = Some((after_star, from));
        (pattern, name) = (after_star, from);
    }
}

/// Goes through a pattern without a name.
fn check_syntax(mut pattern: &[u8]) -> Result<(), BadPattern> {
    while let Some(first) = pattern.first() {
        pattern = match first {
            b'[' => match_class(pattern, '\0')?.1,
            b'\\' => pattern.get(2..).ok_or(BadPattern)?,
            _ => pattern.get(1..).unwrap_or_default(),
        };
    }
    Ok(())
}

/// What is left of a pattern and of a name.
type Rest<'a> = (&'a [u8], &'a [u8]);

/// Matches one character; what is left of both, or nothing.
fn match_one<'a>(pattern: &'a [u8], name: &'a [u8]) -> Result<Option<Rest<'a>>, BadPattern> {
    let (Some(first), false) = (pattern.first(), name.is_empty()) else {
        return Ok(None);
    };
    let (character, rest_of_name) = split_char(name);
    let after = |count: usize| pattern.get(count..).ok_or(BadPattern);
    Ok(match first {
        b'?' => Some((after(1)?, rest_of_name)),
        b'[' => {
            let (matched, rest) = match_class(pattern, character)?;
            matched.then_some((rest, rest_of_name))
        }
        b'\\' => {
            let escaped = pattern.get(1).ok_or(BadPattern)?;
            let rest_of_name = name.strip_prefix(&[*escaped]);
            rest_of_name.map(|rest| (after(2).unwrap_or_default(), rest))
        }
        literal => name
            .strip_prefix(&[*literal])
            .map(|rest| (after(1).unwrap_or_default(), rest)),
    })
}

/// Matches `[a-z]` or `[^a]`; whether it does, and what follows the bracket.
fn match_class(pattern: &[u8], character: char) -> Result<(bool, &[u8]), BadPattern> {
    let mut rest = pattern.get(1..).ok_or(BadPattern)?;
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = rest.get(1..).unwrap_or_default();
    }
    let mut matched = false;
    let mut any = false;
    loop {
        if any && let Some(after) = rest.strip_prefix(b"]") {
            return Ok((matched != negated, after));
        }
        let (low, after) = class_char(rest)?;
        let (high, after) = match after.strip_prefix(b"-") {
            Some(after) => class_char(after)?,
            None => (low, after),
        };
        matched |= (low..=high).contains(&character);
        any = true;
        rest = after;
    }
}

/// One character of a class, which is never the last thing of a pattern.
fn class_char(bytes: &[u8]) -> Result<(char, &[u8]), BadPattern> {
    let bytes = match bytes.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => bytes.get(1..).unwrap_or_default(),
        Some(_) => bytes,
    };
    if bytes.is_empty() {
        return Err(BadPattern);
    }
    let (character, rest) = split_char(bytes);
    match rest.is_empty() {
        true => Err(BadPattern),
        false => Ok((character, rest)),
    }
}

/// The first character and the rest; a byte that is no UTF-8 counts as one character.
fn split_char(bytes: &[u8]) -> (char, &[u8]) {
    for length in 1..=bytes.len().min(4) {
        if let Some((first, rest)) = bytes.split_at_checked(length)
            && let Ok(text) = std::str::from_utf8(first)
            && let Some(character) = text.chars().next()
        {
            return (character, rest);
        }
    }
    (
        char::REPLACEMENT_CHARACTER,
        bytes.get(1..).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{Entry, EntryKind, Toc};

    #[test]
    fn components_match_as_in_go() {
        let cases = [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*", "", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*b*c", "aXbYbZc", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^b-d]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("a[^a]b", "a☺b", Some(true)),
            ("a[^a][^a][^a]b", "a☺b", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-]", "-", Some(true)),
            ("[x\\-]", "x", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[-x]", "x", None),
            ("[a-b-c]", "a", None),
            ("\\", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "ab", None),
            ("[[]", "[", Some(true)),
            ("*x", "xxx", Some(true)),
        ];
        for (pattern, name, expected) in cases {
            let found = match_component(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found.ok(), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn only_components_before_the_first_wildcard_follow_links() {
        let link = |path: &str| {
            Entry::new(
                path,
                EntryKind::Symlink {
                    target: "real".into(),
                },
                0o777,
            )
        };
        let file = |path: &str| Entry::new(path, EntryKind::file(0), 0o644);
        let entries = vec![
            link("link"),
            Entry::implied_directory("real"),
            file("real/a.txt"),
            file("real/b.txt"),
            file("real/c"),
        ];
        let stack = Stack::new(vec![Arc::new(Toc::from_sorted(entries).unwrap())]);
        let glob = |pattern: &str| {
            let found = stack.glob(pattern).unwrap();
            found
                .iter()
                .map(|path| path.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(glob("/link/*.txt"), ["link/a.txt", "link/b.txt"]);
        assert_eq!(glob("l*/*.txt"), [""; 0]);
        assert_eq!(glob("*l/?"), ["real/c"]);
        assert_eq!(glob("*"), ["link", "real"]);
        assert_eq!(glob("link"), ["link"]);
        assert_eq!(glob("none*"), [""; 0]);
        assert!(matches!(
            stack.glob("a/[").unwrap_err(),
            GlobError::Pattern(_)
        ));
    }
}
