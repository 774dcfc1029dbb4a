//! Wildcards in COPY sources.
//!
//! Without `--parents` a pattern is Go's `filepath.Match` on the whole relative path; with it, `**` stands for any
//! number of directories. This file only compiles and matches; `LocalContext::glob` does the looking.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::lexical::{self, clean_source};
use super::pattern::{Dialect, Pattern, PatternError, States};

/// A compiled source pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    /// The leading components without wildcards: links in them are followed.
    prefix: PathBuf,
    pattern: Pattern,
}

/// Whether a source has an unescaped `*`, `?` or `[`, so that it is a pattern and not a path.
#[must_use]
pub fn has_wildcard(source: &Path) -> bool {
    let mut bytes = source.as_os_str().as_bytes().iter();
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

impl Glob {
    /// Compiles the pattern of an ordinary COPY or ADD.
    ///
    /// # Errors
    /// A malformed pattern.
    pub fn new(pattern: &Path) -> Result<Self, PatternError> {
        Self::compile(pattern, Dialect::Shallow)
    }

    /// Compiles the pattern of a `COPY --parents`, where `**` crosses directories.
    ///
    /// # Errors
    /// A malformed pattern.
    pub fn with_double_star(pattern: &Path) -> Result<Self, PatternError> {
        Self::compile(pattern, Dialect::Deep)
    }

    fn compile(pattern: &Path, dialect: Dialect) -> Result<Self, PatternError> {
        let relative = clean_source(pattern);
        let special = |name: &&OsStr| {
            let bytes = name.as_bytes().iter();
            !bytes
                .into_iter()
                .any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'))
        };
        let mut prefix: PathBuf = lexical::names(&relative).take_while(special).collect();
        if prefix == relative {
            // Nothing but plain names: the last one is the pattern.
            prefix.pop();
        }
        Ok(Self {
            prefix,
            pattern: Pattern::compile(relative.as_os_str().as_bytes(), dialect)?,
        })
    }

    /// Whether a path relative to the root, as it is named by the pattern, matches.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        let states = self
            .pattern
            .advance(&self.pattern.start(), path.as_os_str().as_bytes());
        self.pattern.accepts(&states)
    }

    /// The leading components without wildcards.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Where the automaton stands in the directory `prefix`.
    pub(super) fn start(&self) -> States {
        let start = self.pattern.start();
        if self.prefix.as_os_str().is_empty() {
            return start;
        }
        self.enter(&start, self.prefix.as_os_str())
    }

    pub(super) fn matches_name(&self, states: &States, name: &OsStr) -> bool {
        self.pattern.matches(states, name.as_bytes())
    }

    pub(super) fn enter(&self, states: &States, name: &OsStr) -> States {
        let named = self.pattern.advance(states, name.as_bytes());
        self.pattern.advance(&named, b"/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_paths_from_the_root() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("*.txt", &["a.txt"], &["d/a.txt", "a.txt/b"]),
            ("/*.txt", &["a.txt"], &[]),
            ("../d/*", &["d/a"], &["d", "d/a/b", "a"]),
            ("d/./?", &["d/a"], &["d/ab"]),
            ("[[]a].txt", &["[a].txt"], &["a.txt"]),
            ("d/[^a]*", &["d/b", "d/bc"], &["d/a", "d/ab"]),
            ("**", &["a"], &["a/b"]),
        ];
        for (pattern, yes, no) in cases {
            let glob = Glob::new(Path::new(pattern)).unwrap();
            for path in *yes {
                assert!(
                    glob.matches(Path::new(path)),
                    "`{pattern}` should match `{path}`"
                );
            }
            for path in *no {
                assert!(
                    !glob.matches(Path::new(path)),
                    "`{pattern}` should not match `{path}`"
                );
            }
        }
        let deep = Glob::with_double_star(Path::new("src/**/*.go")).unwrap();
        assert!(deep.matches(Path::new("src/a.go")) && deep.matches(Path::new("src/a/b/c.go")));
        assert!(!deep.matches(Path::new("a.go")));
    }

    #[test]
    fn the_prefix_ends_at_the_first_wildcard() {
        for (pattern, prefix) in [
            ("*", ""),
            ("a/b/*.c", "a/b"),
            ("a/b*/c", "a"),
            ("a/b", "a"),
            (r"a/\*/b?", "a"),
            ("/a/../b/[c]", "b"),
        ] {
            let glob = Glob::new(Path::new(pattern)).unwrap();
            assert_eq!(glob.prefix(), Path::new(prefix), "{pattern}");
        }
    }

    #[test]
    fn a_wildcard_is_not_escaped() {
        for (source, wild) in [
            ("a", false),
            ("a*", true),
            ("a?", true),
            ("[a]", true),
            (r"a\*", false),
            (r"a\\*", true),
            ("a]", false),
        ] {
            assert_eq!(has_wildcard(Path::new(source)), wild, "{source}");
        }
        assert!(Glob::new(Path::new("a[")).is_err());
    }
}
