//! Looking COPY sources up in a context: paths with links confined to the root, and wildcards.
//!
//! Links are followed here, one at a time, so that an ignored link or target is noticed; the kernel is only ever asked
//! about paths without links, beneath the root.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat, readlinkat};

use super::glob::Glob;
use super::pattern_list::{PatternList, Trail};
use super::{ContextError, Entry, EntryKind, LocalContext, LookupError, lexical};
use crate::fsio::Context as _;

/// Links that a lookup follows before it gives up; the kernel's own limit.
const MOST_LINKS: usize = 40;

/// A path that a wildcard matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// As the pattern names it, relative to the root; a copied file takes its name from here.
    pub name: PathBuf,
    /// What is there, links followed.
    pub entry: Entry,
}

impl LocalContext {
    /// Looks a COPY source up. Links are followed, the last component's too, but never out of the root: an absolute
    /// link starts at the root, and `..` stays in it.
    ///
    /// # Errors
    /// A path that is not there or is ignored, by itself or where links lead.
    pub fn lookup(&self, path: &Path) -> Result<Entry, LookupError> {
        let asked = lexical::clean_source(path);
        let mut steps: Vec<Step> = steps(&asked).collect();
        let mut at = PathBuf::new();
        let mut trails = vec![self.ignore().patterns().root()];
        let mut links = 0;
        while let Some(step) = steps.pop() {
            let Step::Down(name) = step else {
                if step == Step::Top {
                    at.clear();
                    trails.truncate(1);
                } else if at.pop() {
                    trails.pop();
                }
                continue;
            };
            let parent = trails.last().ok_or_else(|| not_found(&asked, &at))?;
            let trail = self.ignore().patterns().enter(parent, &name);
            let next = at.join(&name);
            let (stat, link) = self.look(&next, &asked)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                at = next;
                trails.push(trail);
                continue;
            }
            // A link that is ignored is not in the context, so it leads nowhere.
            self.refuse_ignored(&trail, &asked, &next)?;
            links += 1;
            if links > MOST_LINKS {
                return Err(LookupError::TooManyLinks { path: asked });
            }
            let target = readlinkat(&link, "", Vec::new())
                .context("read the link", &self.root().join(&next))?;
            let target = Path::new(OsStr::from_bytes(target.as_bytes()));
            steps.extend(self::steps(target));
        }
        let entry = self.entry_without_links(&at, &asked)?;
        let trail = trails.last().ok_or_else(|| not_found(&asked, &at))?;
        if !(entry.is_directory() && self.shows_something_below(&entry, trail)) {
            self.refuse_ignored(trail, &asked, &at)?;
        }
        Ok(entry)
    }

    /// All that a pattern matches, sorted by name; what is ignored does not match. Links are followed in the leading
    /// components without wildcards and where a match itself is a link. A directory that matches is not searched
    /// for more.
    ///
    /// # Errors
    /// A matching link that leads nowhere, or a directory that cannot be read.
    pub fn glob(&self, glob: &Glob) -> Result<Vec<Match>, ContextError> {
        let base = match self.lookup(glob.prefix()) {
            Ok(base) if base.is_directory() => base,
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.is_absent() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut matches = Vec::new();
        let mut levels = vec![glob.start()];
        let no_exclude = PatternList::default();
        let mut walk = self.walk(&base, &no_exclude);
        while let Some(entry) = walk.next() {
            let entry = entry?;
            let below = entry.path_below(&base.path);
            levels.truncate(below.components().count());
            let (Some(name), Some(states)) = (below.file_name(), levels.last()) else {
                continue;
            };
            let matched = glob.matches_name(states, name);
            if entry.is_directory() {
                let states = glob.enter(states, name);
                if matched || states.is_empty() {
                    walk.skip_below(&entry.path);
                }
                levels.push(states);
            }
            if matched {
                matches.push(Match {
                    name: glob.prefix().join(below),
                    entry: self.follow(entry)?,
                });
            }
        }
        Ok(matches)
    }

    /// Follows a link to its end; anything else is its own end.
    fn follow(&self, entry: Entry) -> Result<Entry, LookupError> {
        if matches!(entry.kind, EntryKind::Symlink { .. }) {
            self.lookup(&entry.path)
        } else {
            Ok(entry)
        }
    }

    /// What a path without links on the way is, and a descriptor of it.
    fn look(&self, path: &Path, asked: &Path) -> Result<(Stat, OwnedFd), LookupError> {
        let full = self.root().join(path);
        let found = self
            .open_beneath(path, OFlags::PATH)
            .context("look at", &full)
            .map_err(|error| match error.is_not_found() {
                true => not_found(asked, path),
                false => error.into(),
            })?;
        let stat = rustix::fs::fstat(&found).context("look at", &full)?;
        Ok((stat, found))
    }

    fn entry_without_links(&self, path: &Path, asked: &Path) -> Result<Entry, LookupError> {
        let (stat, _) = self.look(path, asked)?;
        Entry::new(path.to_owned(), &stat, || Ok(PathBuf::new()))
    }

    /// Whether a directory is in the context: it is not ignored, or something below it is not.
    fn shows_something_below(&self, directory: &Entry, trail: &Trail) -> bool {
        if !trail.verdict().excluded {
            return true;
        }
        let no_exclude = PatternList::default();
        self.ignore().patterns().may_reinclude_below(trail)
            && self.walk(directory, &no_exclude).any(|entry| entry.is_ok())
    }

    fn refuse_ignored(&self, trail: &Trail, asked: &Path, end: &Path) -> Result<(), LookupError> {
        let verdict = trail.verdict();
        match verdict.rule.and_then(|rule| self.ignore().rule(rule)) {
            Some(rule) if verdict.excluded => Err(LookupError::Ignored {
                path: asked.to_owned(),
                ignored: end.to_owned(),
                rule,
            }),
            _ => Ok(()),
        }
    }
}

/// One step of a lookup.
#[derive(PartialEq, Eq)]
enum Step {
    /// Back to the root.
    Top,
    /// To the parent directory.
    Up,
    /// To a name.
    Down(OsString),
}

/// The steps of a path, the last one first, so that the next to take can be popped.
fn steps(path: &Path) -> impl Iterator<Item = Step> + '_ {
    path.components().rev().filter_map(|part| match part {
        Component::RootDir => Some(Step::Top),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    })
}

fn not_found(asked: &Path, missing: &Path) -> LookupError {
    LookupError::NotFound {
        path: asked.to_owned(),
        missing: missing.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, put, tree};
    use super::*;

    fn paths(matches: &[Match]) -> Vec<(&str, &str)> {
        matches
            .iter()
            .map(|found| {
                (
                    found.name.to_str().unwrap(),
                    found.entry.path.to_str().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let outside = tree(&[("secret", "s"), ("sub/secret", "s")]);
        let dir = tree(&[
            ("file", "f"),
            ("dir/inner", "i"),
            ("etc/passwd", "mine"),
            ("to-file", "->file"),
            ("to-dir", "->dir"),
            ("chain", "->to-dir/../to-file"),
            ("absolute", "->/dir/inner"),
            ("passwd", "->/etc/passwd"),
            ("up", "->../../../../../../../.."),
            ("dir/up-file", "->../../file"),
            ("loop", "->loop2"),
            ("loop2", "->loop"),
            ("dangling", "->none"),
            ("through", "->file/x"),
        ]);
        put(
            dir.path(),
            "out",
            &format!("->{}", outside.path().display()),
        );
        let context = context(dir.path(), "");
        for (asked, end) in [
            ("", ""),
            ("/", ""),
            ("file", "file"),
            ("/../../file", "file"),
            ("dir/../file/", "file"),
            ("to-file", "file"),
            ("to-dir/inner", "dir/inner"),
            ("to-dir/up-file", "file"),
            ("chain", "file"),
            ("absolute", "dir/inner"),
            ("passwd", "etc/passwd"),
            ("up", ""),
            ("up/file", "file"),
            ("up/etc/passwd", "etc/passwd"),
        ] {
            let entry = context.lookup(Path::new(asked)).unwrap();
            assert_eq!(entry.path, Path::new(end), "{asked}");
        }
        for missing in [
            "none",
            "dangling",
            "through",
            "file/x",
            "out",
            "out/secret",
            "to-dir/none",
        ] {
            let error = context.lookup(Path::new(missing)).unwrap_err();
            assert!(
                matches!(error, LookupError::NotFound { .. }),
                "{missing}: {error}"
            );
        }
        let error = context.lookup(Path::new("loop/x")).unwrap_err();
        assert!(matches!(error, LookupError::TooManyLinks { .. }), "{error}");
        let error = context.lookup(Path::new("dangling")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"/dangling\": not found (links lead to `none`)"
        );
        let error = context.lookup(Path::new("none/below")).unwrap_err();
        assert_eq!(error.to_string(), "\"/none/below\": not found");
    }

    #[test]
    fn ignored_is_not_the_same_as_absent() {
        let dir = tree(&[
            ("a.log", ""),
            ("to-log", "->a.log"),
            ("hidden-link", "->b"),
            ("b", ""),
            ("out/x", ""),
            ("part/keep", ""),
            ("part/drop", ""),
        ]);
        let context = context(
            dir.path(),
            "*.log\nhidden*\nout\n!out/none\npart\n!part/keep",
        );
        for (path, ignored, line) in [
            ("a.log", "a.log", 1),
            ("to-log", "a.log", 1),
            ("hidden-link", "hidden-link", 2),
            // May hold something that is taken back in, but does not.
            ("out", "out", 3),
            ("out/x", "out/x", 3),
            ("part/drop", "part/drop", 5),
        ] {
            match context.lookup(Path::new(path)).unwrap_err() {
                LookupError::Ignored {
                    ignored: end, rule, ..
                } => {
                    assert_eq!((end.to_str(), rule.line), (Some(ignored), line), "{path}");
                }
                error => panic!("{path}: {error}"),
            }
        }
        for path in ["b", "part", "part/keep"] {
            assert!(context.lookup(Path::new(path)).is_ok(), "{path}");
        }
        let error = context.lookup(Path::new("none.log")).unwrap_err();
        assert!(matches!(error, LookupError::NotFound { .. }));
        assert_eq!(
            context.lookup(Path::new("a.log")).unwrap_err().to_string(),
            "\"/a.log\": not found: `*.log` (`.dockerignore` line 1) keeps it out of the context"
        );
    }

    #[test]
    fn wildcards_find_what_is_in_the_context() {
        let dir = tree(&[
            ("a.txt", ""),
            ("b.txt", ""),
            ("ignored.txt", ""),
            ("c.md", ""),
            ("dir/d.txt", ""),
            ("dir/sub.txt/e.txt", ""),
            ("link", "->dir"),
            ("l.txt", "->dir/d.txt"),
            ("held/deep/keep.txt", ""),
            ("held/deep/drop.txt", ""),
        ]);
        let context = context(dir.path(), "ignored*\nheld\n!held/deep/keep.txt");
        let glob = |pattern: &str| {
            context
                .glob(&Glob::new(Path::new(pattern)).unwrap())
                .unwrap()
        };
        let cases: &[(&str, &[(&str, &str)])] = &[
            (
                "*.txt",
                &[
                    ("a.txt", "a.txt"),
                    ("b.txt", "b.txt"),
                    ("l.txt", "dir/d.txt"),
                ],
            ),
            (
                "dir/*.txt",
                &[("dir/d.txt", "dir/d.txt"), ("dir/sub.txt", "dir/sub.txt")],
            ),
            (
                "link/*.txt",
                &[("link/d.txt", "dir/d.txt"), ("link/sub.txt", "dir/sub.txt")],
            ),
            ("*/d.txt", &[("dir/d.txt", "dir/d.txt")]),
            ("li*", &[("link", "dir")]),
            ("hel*", &[("held", "held")]),
            ("held/*/*", &[("held/deep/keep.txt", "held/deep/keep.txt")]),
            ("ignored*", &[]),
            ("none/*", &[]),
            ("a.txt/*", &[]),
            ("a.tx?", &[("a.txt", "a.txt")]),
        ];
        for (pattern, expected) in cases {
            assert_eq!(paths(&glob(pattern)), *expected, "{pattern}");
        }
        let deep = Glob::with_double_star(Path::new("**/*.txt")).unwrap();
        let names: Vec<_> = context
            .glob(&deep)
            .unwrap()
            .into_iter()
            .map(|found| found.name)
            .collect();
        let expected = [
            "a.txt",
            "b.txt",
            "dir/d.txt",
            "dir/sub.txt",
            "held/deep/keep.txt",
            "l.txt",
        ];
        assert_eq!(names, expected.map(PathBuf::from));
    }

    #[test]
    fn a_match_that_leads_nowhere_is_an_error() {
        let dir = tree(&[("dangling", "->none")]);
        let glob = Glob::new(Path::new("dang*")).unwrap();
        let error = context(dir.path(), "").glob(&glob).unwrap_err();
        assert!(matches!(
            error,
            ContextError::Lookup(LookupError::NotFound { .. })
        ));
    }
}
