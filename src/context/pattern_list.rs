//! An ordered list of patterns of which the last that matches decides: `.dockerignore` rules and `COPY --exclude`.
//!
//! A path is judged from the root down, because what a pattern matched, it matches with everything below. A [`Trail`]
//! is what was learned on the way to a directory; a walk keeps one a level, so each name is judged once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::lexical;
use super::pattern::{Dialect, Pattern, PatternError, States, split_exclamation};

/// Compiled patterns in order. `!pattern` takes back what earlier ones excluded.
#[derive(Clone, Debug, Default)]
pub struct PatternList {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    text: String,
    reincludes: bool,
    pattern: Pattern,
}

/// What a list says about a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the path is excluded.
    pub excluded: bool,
    /// Position in the list of the last pattern that matched, if one did.
    pub rule: Option<usize>,
}

/// What a list says about a directory, and what it takes to judge the names in it.
#[derive(Clone, Debug)]
pub struct Trail {
    verdict: Verdict,
    /// Which patterns matched the directory or one above it.
    matched: Vec<bool>,
    /// Where each of the other patterns stands after the directory and its slash.
    below: Vec<States>,
}

impl PatternList {
    /// Compiles patterns. Each is trimmed and cleaned; empty ones are skipped. Paths to judge never begin with a
    /// slash, so a pattern that does matches nothing.
    ///
    /// # Errors
    /// The first pattern that is malformed.
    pub fn new<P: AsRef<[u8]>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, PatternError> {
        let mut list = Self::default();
        for pattern in patterns {
            list.push(pattern.as_ref())?;
        }
        Ok(list)
    }

    /// Adds a pattern; says whether it was not empty.
    pub(super) fn push(&mut self, pattern: &[u8]) -> Result<bool, PatternError> {
        let trimmed = trim(pattern);
        if trimmed.is_empty() {
            return Ok(false);
        }
        let (reincludes, cleaned) = split_exclamation(trimmed)?;
        self.rules.push(Rule {
            text: String::from_utf8_lossy(trimmed).into_owned(),
            reincludes,
            pattern: Pattern::compile(&cleaned, Dialect::Deep)?,
        });
        Ok(true)
    }

    /// Whether there is no pattern, so that nothing is excluded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The text of the pattern at a position, as it was given.
    #[must_use]
    pub fn pattern(&self, position: usize) -> Option<&str> {
        self.rules.get(position).map(|rule| rule.text.as_str())
    }

    /// Judges a path relative to the root of the tree.
    #[must_use]
    pub fn judge(&self, path: &Path) -> Verdict {
        if self.is_empty() {
            return Verdict::default();
        }
        let mut trail = self.root();
        let mut names = lexical::names(path).peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return self.judge_name(&trail, name);
            }
            trail = self.enter(&trail, name);
        }
        Verdict::default()
    }

    /// The trail of the root of the tree, which is never excluded itself.
    #[must_use]
    pub fn root(&self) -> Trail {
        Trail {
            verdict: Verdict::default(),
            matched: vec![false; self.rules.len()],
            below: self.rules.iter().map(|rule| rule.pattern.start()).collect(),
        }
    }

    /// The trail of a directory below the root.
    #[must_use]
    pub fn follow(&self, path: &Path) -> Trail {
        lexical::names(path).fold(self.root(), |trail, name| self.enter(&trail, name))
    }

    /// Judges a name in the directory that `parent` belongs to.
    #[must_use]
    pub fn judge_name(&self, parent: &Trail, name: &OsStr) -> Verdict {
        self.evaluate(parent, name.as_bytes(), |_, _| {})
    }

    /// Judges a directory in the directory that `parent` belongs to, and prepares for the names in it.
    #[must_use]
    pub fn enter(&self, parent: &Trail, name: &OsStr) -> Trail {
        let name = name.as_bytes();
        let mut matched = vec![false; self.rules.len()];
        let verdict = self.evaluate(parent, name, |position, matches| {
            if let Some(slot) = matched.get_mut(position) {
                *slot = matches;
            }
        });
        let below = self
            .rules
            .iter()
            .zip(&parent.below)
            .zip(&matched)
            .map(|((rule, states), &matched)| {
                if matched || states.is_empty() {
                    return States::default();
                }
                let pattern = &rule.pattern;
                pattern.advance(&pattern.advance(states, name), b"/")
            })
            .collect();
        Trail {
            verdict,
            matched,
            below,
        }
    }

    /// Whether something below an excluded directory may be taken back in, so that it has to be walked.
    #[must_use]
    pub fn may_reinclude_below(&self, directory: &Trail) -> bool {
        // Whatever matched the directory matches below it too, so only later patterns can make a difference.
        let later = directory.verdict.rule.map_or(0, |position| position + 1);
        self.rules
            .iter()
            .zip(&directory.below)
            .skip(later)
            .any(|(rule, states)| rule.reincludes && !states.is_empty())
    }

    /// Judges one name; `note` learns for each pattern whether it matched the name or a directory above it.
    ///
    /// A pattern that could not change the verdict at its turn (a `!` one where nothing is excluded yet, another
    /// where all is already) is not tried and counts as not matching. So with `*/x` before `!dir`, `dir/x` stays
    /// excluded: `!dir` had nothing to take back at `dir`. This follows the reference implementation.
    fn evaluate(&self, parent: &Trail, name: &[u8], mut note: impl FnMut(usize, bool)) -> Verdict {
        let mut verdict = Verdict::default();
        let known = parent.matched.iter().zip(&parent.below);
        for (position, (rule, (&above, states))) in self.rules.iter().zip(known).enumerate() {
            let matches = above
                || (rule.reincludes == verdict.excluded && rule.pattern.matches(states, name));
            if matches {
                verdict = Verdict {
                    excluded: !rule.reincludes,
                    rule: Some(position),
                };
            }
            note(position, matches);
        }
        verdict
    }
}

impl Trail {
    /// What the list says about the directory.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// Without white space at both ends, be it Unicode's where the text is UTF-8.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    std::str::from_utf8(text).map_or_else(|_| text.trim_ascii(), |text| text.trim().as_bytes())
}
