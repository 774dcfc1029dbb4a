//! `.dockerignore`: reading it, and which of its lines decides about a path.
//!
//! How patterns match is in `pattern`, how they combine in `pattern_list`; nothing here walks a tree.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::lexical;
use super::pattern::PatternError;
use super::pattern_list::{PatternList, trim};
use crate::fsio;

/// The rules of one ignore file; none at all where there is no file.
#[derive(Clone, Debug, Default)]
pub struct IgnoreFile {
    name: PathBuf,
    patterns: PatternList,
    /// For each pattern its line, from 1.
    lines: Vec<usize>,
}

/// An ignore file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] fsio::Error),
    /// A line is no pattern.
    #[error("failed parsing {}: line {line}: {source}", name.display())]
    Parse {
        /// The ignore file.
        name: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: PatternError,
    },
}

/// The line that decided about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// Name of the ignore file, without its folder.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The pattern on it; begins with `!` where it takes back in.
    pub pattern: String,
}

impl RuleMatch {
    /// Where it stands: `.dockerignore:3`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

impl fmt::Display for RuleMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (`{}` line {})", self.pattern, self.file, self.line)
    }
}

impl IgnoreFile {
    /// No rules: everything is in.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the ignore file of a context: `<dockerfile>.dockerignore` beside the Dockerfile if there is one, else
    /// `.dockerignore` in the context root. They are never merged. `dockerfile` is a path on disk, or `None` where
    /// the Dockerfile comes from elsewhere or the context is not the main one.
    ///
    /// # Errors
    /// A file that is there but cannot be read, or has a malformed line.
    pub fn read(context_root: &Path, dockerfile: Option<&Path>) -> Result<Self, IgnoreError> {
        let beside = dockerfile.map(|path| {
            let mut name = OsString::from(path);
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        for path in beside
            .into_iter()
            .chain([context_root.join(".dockerignore")])
        {
            if let Some(content) = fsio::read_if_there(&path)? {
                return Self::parse(&path, &content);
            }
        }
        Ok(Self::none())
    }

    /// Parses the content of an ignore file; `name` is for messages.
    ///
    /// # Errors
    /// The first malformed line.
    pub fn parse(name: &Path, content: &[u8]) -> Result<Self, IgnoreError> {
        let mut file = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
        for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
            // Only a `#` in the first column makes a comment; ` #a` is a pattern.
            if line.first() == Some(&b'#') {
                continue;
            }
            let number = index + 1;
            let parse = |source| IgnoreError::Parse {
                name: file.name.clone(),
                line: number,
                source,
            };
            if file.patterns.push(&normalise(line)).map_err(parse)? {
                file.lines.push(number);
            }
        }
        Ok(file)
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Where the rules were read from; `None` where there is no file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        (!self.name.as_os_str().is_empty()).then_some(self.name.as_path())
    }

    /// The rules as patterns.
    #[must_use]
    pub fn patterns(&self) -> &PatternList {
        &self.patterns
    }

    /// Whether a path relative to the context root is excluded.
    #[must_use]
    pub fn excludes(&self, path: &Path) -> bool {
        self.patterns.judge(path).excluded
    }

    /// The line that decided about a path, be it out or back in; `None` where no line matches.
    #[must_use]
    pub fn which_rule(&self, path: &Path) -> Option<(usize, &str)> {
        let position = self.patterns.judge(path).rule?;
        Some((*self.lines.get(position)?, self.patterns.pattern(position)?))
    }

    /// The rule at a position of [`Self::patterns`], with its line.
    #[must_use]
    pub fn rule(&self, position: usize) -> Option<RuleMatch> {
        Some(RuleMatch {
            file: self
                .name
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            line: *self.lines.get(position)?,
            pattern: self.patterns.pattern(position)?.to_owned(),
        })
    }
}

/// A line as a pattern relative to the root: trimmed, cleaned, without a leading slash, its `!` kept in front.
fn normalise(line: &[u8]) -> Vec<u8> {
    let line = trim(line);
    let (exclamation, pattern) = match line.strip_prefix(b"!") {
        Some(rest) => (&b"!"[..], trim(rest)),
        None => (&b""[..], line),
    };
    if pattern.is_empty() {
        return exclamation.to_vec();
    }
    let cleaned = lexical::clean(pattern);
    let relative = match cleaned.strip_prefix(b"/") {
        Some(b"") | None => &cleaned[..],
        Some(rest) => rest,
    };
    [exclamation, relative].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &[u8]) -> IgnoreFile {
        IgnoreFile::parse(Path::new("dir/.dockerignore"), content).unwrap()
    }

    #[test]
    fn lines_become_patterns() {
        let cases: &[(&[u8], &[&str], &[&str])] = &[
            // content, paths that are out, paths that are in
            (b"", &[], &["a"]),
            (b"\xEF\xBB\xBFa\nb", &["a", "b"], &["c"]),
            (b"\xEF\xBB\xBF# a", &[], &["a"]),
            (b"# a\na # b\n", &["a # b"], &["a", "# a"]),
            (b" # a\n", &["# a"], &["a"]),
            (b"\n  a\t\r\n\r\n", &["a"], &[]),
            (b"/a\n//b/\n./c/../d\n", &["a", "b", "d"], &["c"]),
            (b"*\n! /a \n!b/", &["c"], &["a", "b", "a/x"]),
            (b".\n/\n..\n../a\n", &[], &["a", ".a"]),
            (b"*\n!.\n", &["a"], &[]),
            (b"!!a\n*\n!!a", &["a"], &["!a"]),
            (b"a\\ b\n", &["a b"], &["a"]),
            (b"a\\ b  \r\n\tc\x0b\n", &["a b", "c"], &["a"]),
            (b"\xEF\xBB\xBF!a\n*\n", &["a", "b"], &[]),
            (b"a\n\xEF\xBB\xBFb\n", &["a"], &["b"]),
            (
                b"*\r\n!/src/\r\n!./doc/../lib\r\n",
                &["a", "doc"],
                &["src/x", "lib/x/y"],
            ),
            (
                b"dir/\n!dir/keep/\n",
                &["dir", "dir/x"],
                &["dir/keep", "dir/keep/x"],
            ),
            (b"/../a\n", &["a"], &["b"]),
            (
                b"Dockerfile\n.dockerignore\n",
                &["Dockerfile", ".dockerignore"],
                &["a"],
            ),
            (b"a\nb", &["b"], &["c"]),
            (b"\\!a\n!\\#b\n", &["!a"], &["a", "#b"]),
            (b"\xFF*\n", &[], &["a"]),
            (b"#a\n\\#a\n", &["#a"], &[]),
            ("caf\u{e9}\u{a0}\n".as_bytes(), &["caf\u{e9}"], &["cafe"]),
        ];
        for (content, excluded, included) in cases {
            let file = parse(content);
            let text = String::from_utf8_lossy(content);
            for path in *excluded {
                assert!(file.excludes(Path::new(path)), "{text:?}: `{path}` is out");
            }
            for path in *included {
                assert!(!file.excludes(Path::new(path)), "{text:?}: `{path}` is in");
            }
        }
    }

    #[test]
    fn the_deciding_line_is_known() {
        let file = parse(b"# logs\n\n*.log\n!keep.log\nsrc/\n");
        let rule = |path| file.which_rule(Path::new(path));
        assert_eq!(rule("a.log"), Some((3, "*.log")));
        assert_eq!(rule("keep.log"), Some((4, "!keep.log")));
        assert_eq!(rule("src/a/b"), Some((5, "src")));
        assert_eq!(rule("a"), None);
        assert_eq!(
            file.rule(0).unwrap().to_string(),
            "`*.log` (`.dockerignore` line 3)"
        );
        assert_eq!(file.rule(3), None);
    }

    #[test]
    fn errors_name_the_line() {
        for (content, message) in [
            ("a\n!\n", "line 2: illegal exclusion pattern: \"!\""),
            ("a\n\n[b", "line 3: syntax error in pattern `[b`"),
            ("!\r\n", "line 1: illegal exclusion pattern: \"!\""),
            ("a\\ \n", "line 1: syntax error in pattern `a\\`"),
            ("!/\n", "line 1: illegal exclusion pattern: \"!\""),
            ("!x/[a", "line 1: syntax error in pattern `x/[a`"),
            ("[]\n", "line 1: syntax error in pattern `[]`"),
            ("! \t", "line 1: illegal exclusion pattern: \"!\""),
        ] {
            let error = IgnoreFile::parse(Path::new("d/x"), content.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("failed parsing d/x: {message}"));
        }
    }

    #[test]
    fn the_file_beside_the_dockerfile_wins() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            fsio::write_atomic(&dir.path().join(name), content, fsio::Durability::Cached).unwrap();
        };
        let read = |dockerfile: Option<&str>| {
            let dockerfile = dockerfile.map(|name| dir.path().join(name));
            IgnoreFile::read(dir.path(), dockerfile.as_deref()).unwrap()
        };
        assert!(read(Some("Dockerfile")).path().is_none());
        write(".dockerignore", b"a");
        write("x.Dockerfile.dockerignore", b"# nothing");
        assert!(read(None).excludes(Path::new("a")));
        assert!(read(Some("Dockerfile")).excludes(Path::new("a")));
        let own = read(Some("x.Dockerfile"));
        assert!(own.is_empty());
        assert_eq!(
            own.path(),
            Some(&*dir.path().join("x.Dockerfile.dockerignore"))
        );
    }
}
