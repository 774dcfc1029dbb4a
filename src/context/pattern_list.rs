//! An ordered list of patterns of which the last that matches decides: `.dockerignore` rules and `COPY --exclude`.
//!
//! A path is judged from the root down, because what a pattern matched, it matches with everything below. A [`Trail`]
//! is what was learned on the way to a directory; a walk keeps one a level, so each name is judged once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::lexical;
use super::pattern::{Dialect, Pattern, PatternError, States};
use super::pattern_syntax::split_exclamation;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(patterns: &[&str]) -> PatternList {
        PatternList::new(patterns).unwrap()
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            // patterns, paths that are in, paths that are out
            (&[], &["a", "a/b"], &[]),
            (&["a"], &["b", "b/a"], &["a", "a/b", "a/b/c"]),
            (&["*"], &[], &["a", "a/b/c"]),
            (
                &["*", "!src"],
                &["src", "src/a", "src/a/b"],
                &["a", "b/src", "srcs"],
            ),
            (&["!src", "*"], &[], &["src", "src/a"]),
            (
                &["dir", "!dir/keep"],
                &["dir/keep", "dir/keep/x"],
                &["dir", "dir/x"],
            ),
            (
                &["*.md", "!README*.md", "README-secret.md"],
                &["README.md", "README-1.md", "a/b.md"],
                &["a.md", "README-secret.md"],
            ),
            (&["a/**", "!a/b"], &["a", "a/b", "a/b/c"], &["a/c"]),
            (&["**/x", "!a/x"], &["a/x", "a/x/y"], &["x", "b/x", "b/x/y"]),
            (&["a", "!a", "a/b"], &["a", "a/c"], &["a/b", "a/b/c"]),
            (
                &["a/*/c", "!a/b/c/d"],
                &["a", "a/b", "a/b/c/d"],
                &["a/b/c", "a/b/c/e"],
            ),
            // Nothing is excluded yet when `!d` has its turn at `d`, so it takes nothing back below.
            (&["*/x", "!d"], &["d", "d/y", "x"], &["d/x"]),
            // All is excluded already when the second `d` has its turn.
            (&["d", "!d/f", "d"], &["d/f"], &["d", "d/g"]),
            // A directory's own separator, not just a prefix of a name.
            (&["ab"], &["abc", "a/ab"], &["ab/c"]),
            (&[" a ", "", "./b/", "c//d"], &["c"], &["a", "b/x", "c/d"]),
            (&["/a"], &["a"], &[]),
            (&["."], &["a", ".a"], &[]),
            // Negations in the order of the lines, below folders that are out.
            (
                &["a", "!a/b", "a/b/c", "!a/b/c/d"],
                &["a/b", "a/b/x", "a/b/c/d", "a/b/c/d/e"],
                &["a", "a/x", "a/b/c", "a/b/c/x"],
            ),
            (&["!a", "a"], &[], &["a", "a/b"]),
            (&["**", "!**/*.go"], &["x.go", "a/b/x.go"], &["x", "a/b/x"]),
            (
                &["**/a/**", "!**/a/*/b"],
                &["a", "x/a", "a/x/b"],
                &["a/b", "x/a/y", "a/x/y/b"],
            ),
            (
                &["*/*", "!*/keep"],
                &["a", "a/keep", "a/keep/x"],
                &["a/b", "a/b/keep"],
            ),
            // A class may be the slash.
            (&["a[^b]c"], &["abc", "ac", "a/b"], &["axc", "a/c", "a/c/d"]),
            (
                &[r"\!a", r"\*", r"\[x]"],
                &["a", "x", "*a"],
                &["!a", "*", "[x]", "[x]/y"],
            ),
            (
                &["a/../b/", "c/.", "../d"],
                &["a", "d"],
                &["b", "b/x", "c/y"],
            ),
        ];
        for (patterns, included, excluded) in cases {
            let list = list(patterns);
            for path in *included {
                assert!(
                    !list.judge(Path::new(path)).excluded,
                    "{patterns:?}: {path} is in"
                );
            }
            for path in *excluded {
                assert!(
                    list.judge(Path::new(path)).excluded,
                    "{patterns:?}: {path} is out"
                );
            }
        }
    }

    #[test]
    fn an_excluded_directory_is_entered_only_for_a_reason() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&["dir"], "dir", false),
            (&["dir", "!dir/keep"], "dir", true),
            (&["dir", "!other/keep"], "dir", false),
            (&["!dir/keep", "dir"], "dir", false),
            (&["*", "!**/*.go"], "dir/sub", true),
            (&["*", "!src/*.go"], "src", true),
            (&["*", "!src/*.go"], "src/sub", false),
            (&["*", "!src/**"], "src", true),
            (&["dir", "!dir/*/keep"], "dir/a", true),
            (&["dir", "!dir/*/keep"], "dir/a/b", false),
        ];
        for (patterns, directory, enter) in cases {
            let list = list(patterns);
            let trail = list.follow(Path::new(directory));
            assert!(trail.verdict().excluded, "{patterns:?} {directory}");
            assert_eq!(
                list.may_reinclude_below(&trail),
                *enter,
                "{patterns:?} {directory}"
            );
        }
    }

    #[test]
    fn a_lone_exclamation_mark_is_refused() {
        for bad in ["!", " ! "] {
            let error = PatternList::new([bad]).unwrap_err();
            assert_eq!(error.to_string(), "illegal exclusion pattern: \"!\"");
        }
        assert!(PatternList::new(["a", "["]).is_err());
    }

    /// The meaning of a list, path by path and with each pattern run over the whole path.
    fn naive(patterns: &[String], path: &str) -> bool {
        let whole = |pattern: &str, path: &str| {
            let pattern = Pattern::compile(pattern.as_bytes(), Dialect::Deep).unwrap();
            pattern.accepts(&pattern.advance(&pattern.start(), path.as_bytes()))
        };
        let mut above = vec![false; patterns.len()];
        let mut excluded = false;
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends {
            excluded = false;
            for (pattern, above) in patterns.iter().zip(&mut above) {
                let (back, text) = pattern
                    .strip_prefix('!')
                    .map_or((false, &pattern[..]), |t| (true, t));
                *above |= back == excluded && whole(text, &path[..end]);
                if *above {
                    excluded = !back;
                }
            }
        }
        excluded
    }

    fn patterns() -> impl Strategy<Value = Vec<String>> {
        let pattern = "!?(\\*\\*/)?[ab*?]{1,2}(/[ab*?]{1,2}){0,2}";
        prop::collection::vec(pattern, 0..5)
    }

    fn path() -> impl Strategy<Value = String> {
        "[ab]{1,2}(/[ab]{1,2}){0,3}"
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_meaning(patterns in patterns(), path in path()) {
            let list = PatternList::new(&patterns).unwrap();
            prop_assert_eq!(list.judge(Path::new(&path)).excluded, naive(&patterns, &path));
        }

        #[test]
        fn what_is_not_entered_holds_nothing(patterns in patterns(), directory in path(), below in path()) {
            let list = PatternList::new(&patterns).unwrap();
            let trail = list.follow(Path::new(&directory));
            if trail.verdict().excluded && !list.may_reinclude_below(&trail) {
                prop_assert!(list.judge(&Path::new(&directory).join(below)).excluded);
            }
        }

        #[test]
        fn any_text_is_fine(patterns in prop::collection::vec("\\PC{0,12}", 0..4), path in "\\PC{0,20}") {
            if let Ok(list) = PatternList::new(&patterns) {
                let verdict = list.judge(Path::new(&path));
                prop_assert!(!verdict.excluded || verdict.rule.is_some());
            }
        }
    }
}
