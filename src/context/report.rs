//! What goes into a context and what stays out, by which rule, and what is largest: for people who wonder why their
//! context is big.
//!
//! Plain data; rendering it is for `ui`. Unlike a build this looks at excluded directories too, to say how much the
//! rules keep out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use walkdir::{DirEntry, WalkDir};

use super::pattern_list::{Trail, Verdict};
use super::walk::failure;
use super::{ContextError, LocalContext, RuleMatch};

/// What goes in and what stays out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextReport {
    /// Number of entries that are in and are no directories.
    pub files: u64,
    /// Number of directories that are in by themselves.
    pub directories: u64,
    /// Bytes of the files that are in.
    pub bytes: u64,
    /// The largest files that are in, largest first.
    pub largest: Vec<(PathBuf, u64)>,
    /// The first paths that stay out, sorted; of an excluded directory only the directory.
    pub excluded: Vec<Excluded>,
    /// How many such paths are not named in `excluded`.
    pub more_excluded: u64,
    /// What each rule keeps out, in the order of the ignore file; rules that keep nothing out are missing.
    pub rules: Vec<RuleTotal>,
    /// The rules that decide about no path at all, in the order of the ignore file.
    pub idle_rules: Vec<RuleMatch>,
    /// Every path, sorted by folder, if that was asked for.
    pub entries: Vec<Listed>,
}

/// A path and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The path, relative to the root.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes of a file.
    pub bytes: u64,
    /// Whether it stays out. What is below a directory may be in all the same.
    pub excluded: bool,
    /// The rule that decided; none where no rule matches.
    pub rule: Option<RuleMatch>,
}

/// A path that stays out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// The path, relative to the root.
    pub path: PathBuf,
    /// The rule that keeps it out.
    pub rule: RuleMatch,
    /// Number of files kept out with it: itself, or all below it that are not taken back in.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a rule keeps out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTotal {
    /// The rule.
    pub rule: RuleMatch,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A report in the making.
struct Survey<'a> {
    context: &'a LocalContext,
    limit: usize,
    list_all: bool,
    report: ContextReport,
    /// Files and bytes by position of the rule.
    totals: BTreeMap<usize, (u64, u64)>,
    /// Positions of rules that decided about something.
    decided: BTreeSet<usize>,
    levels: Vec<Level>,
}

struct Level {
    trail: Trail,
    /// The position in the report of the excluded directory that this is or is in.
    excluded_at: Option<usize>,
}

impl ContextReport {
    /// Walks the whole directory of a context; lists of paths have at most `limit` elements.
    ///
    /// # Errors
    /// A directory that cannot be read and is not excluded.
    pub fn of(context: &LocalContext, limit: usize) -> Result<Self, ContextError> {
        Self::survey(context, limit, false)
    }

    /// As [`ContextReport::of`] without a limit, and with every path.
    ///
    /// # Errors
    /// As [`ContextReport::of`].
    pub fn with_entries(context: &LocalContext) -> Result<Self, ContextError> {
        Self::survey(context, usize::MAX, true)
    }

    fn survey(context: &LocalContext, limit: usize, list_all: bool) -> Result<Self, ContextError> {
        let mut survey = Survey {
            context,
            limit,
            list_all,
            report: Self::default(),
            totals: BTreeMap::new(),
            decided: BTreeSet::new(),
            levels: vec![Level {
                trail: context.ignore().patterns().root(),
                excluded_at: None,
            }],
        };
        for found in WalkDir::new(context.root())
            .min_depth(1)
            .sort_by_file_name()
        {
            match found {
                Ok(found) => survey.take(&found),
                Err(error) => {
                    let path = error.path().unwrap_or(context.root());
                    let relative = path.strip_prefix(context.root()).unwrap_or(path);
                    if !context.ignore().excludes(relative) {
                        return Err(failure(&error, path).into());
                    }
                }
            }
        }
        Ok(survey.finish())
    }
}

impl Survey<'_> {
    fn take(&mut self, found: &DirEntry) {
        self.levels.truncate(found.depth());
        let Some(parent) = self.levels.last() else {
            return;
        };
        let patterns = self.context.ignore().patterns();
        let above = parent.excluded_at;
        if found.file_type().is_dir() {
            let trail = patterns.enter(&parent.trail, found.file_name());
            let verdict = trail.verdict();
            self.note(found, verdict, 0);
            let excluded_at = self.exclusion(found, verdict, above);
            if !verdict.excluded {
                self.report.directories += 1;
            }
            self.levels.push(Level { trail, excluded_at });
            return;
        }
        let verdict = patterns.judge_name(&parent.trail, found.file_name());
        let size = match found.metadata() {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        };
        self.note(found, verdict, size);
        if !verdict.excluded {
            self.include(found, size);
            return;
        }
        let excluded_at = self.exclusion(found, verdict, above);
        if let Some(excluded) = excluded_at.and_then(|at| self.report.excluded.get_mut(at)) {
            excluded.files += 1;
            excluded.bytes += size;
        }
        if let Some(rule) = verdict.rule {
            let (files, bytes) = self.totals.entry(rule).or_default();
            *files += 1;
            *bytes += size;
        }
    }

    fn note(&mut self, found: &DirEntry, verdict: Verdict, bytes: u64) {
        self.decided.extend(verdict.rule);
        if self.list_all {
            let rule = verdict.rule;
            self.report.entries.push(Listed {
                path: self.relative(found),
                directory: found.file_type().is_dir(),
                bytes,
                excluded: verdict.excluded,
                rule: rule.and_then(|position| self.context.ignore().rule(position)),
            });
        }
    }

    fn include(&mut self, found: &DirEntry, size: u64) {
        self.report.files += 1;
        self.report.bytes += size;
        let larger = |(_, other): &(PathBuf, u64)| *other >= size;
        let position = self.report.largest.partition_point(larger);
        if position < self.limit && size > 0 {
            let path = self.relative(found);
            self.report.largest.insert(position, (path, size));
            self.report.largest.truncate(self.limit);
        }
    }

    /// Where the report names the exclusion of a path: at the directory above it that is out, or newly here. `None`
    /// where the path is in or the report is full.
    fn exclusion(
        &mut self,
        found: &DirEntry,
        verdict: Verdict,
        above: Option<usize>,
    ) -> Option<usize> {
        if !verdict.excluded {
            return None;
        }
        let parent_is_out = self
            .levels
            .last()
            .is_some_and(|level| level.trail.verdict().excluded);
        if parent_is_out {
            return above;
        }
        let rule = self.context.ignore().rule(verdict.rule?)?;
        if self.report.excluded.len() >= self.limit {
            self.report.more_excluded += 1;
            return None;
        }
        self.report.excluded.push(Excluded {
            path: self.relative(found),
            rule,
            files: 0,
            bytes: 0,
        });
        Some(self.report.excluded.len() - 1)
    }

    fn relative(&self, found: &DirEntry) -> PathBuf {
        let root = self.context.root();
        found
            .path()
            .strip_prefix(root)
            .unwrap_or(found.path())
            .to_owned()
    }

    fn finish(mut self) -> ContextReport {
        let rule = |(position, (files, bytes))| {
            let rule = self.context.ignore().rule(position)?;
            Some(RuleTotal { rule, files, bytes })
        };
        self.report.rules = self.totals.into_iter().filter_map(rule).collect();
        let ignore = self.context.ignore();
        let all = (0..).map_while(|position| Some((position, ignore.rule(position)?)));
        let idle = all.filter(|(position, _)| !self.decided.contains(position));
        self.report.idle_rules = idle.map(|(_, rule)| rule).collect();
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, tree};
    use super::*;

    #[test]
    fn says_what_is_in_and_what_keeps_the_rest_out() {
        let dir = tree(&[
            (".git/a", "12345"),
            (".git/b/c", "1"),
            ("a.log", "123"),
            ("b.log", ""),
            ("big", "1234567890"),
            ("docs/x.md", "1234"),
            ("docs/keep.md", "12"),
            ("src/main", "1234567"),
        ]);
        let context = context(dir.path(), ".git\n# logs\n*.log\ndocs\n!docs/keep.md\nnone");
        let report = ContextReport::of(&context, 3).unwrap();
        assert_eq!((report.files, report.directories, report.bytes), (3, 1, 19));
        let largest: Vec<_> = report
            .largest
            .iter()
            .map(|(path, size)| (path.to_str().unwrap(), *size))
            .collect();
        assert_eq!(largest, [("big", 10), ("src/main", 7), ("docs/keep.md", 2)]);
        let excluded: Vec<_> = report
            .excluded
            .iter()
            .map(|out| {
                (
                    out.path.to_str().unwrap(),
                    out.rule.line,
                    out.files,
                    out.bytes,
                )
            })
            .collect();
        assert_eq!(
            excluded,
            [(".git", 1, 2, 6), ("a.log", 3, 1, 3), ("b.log", 3, 1, 0)]
        );
        assert_eq!(report.more_excluded, 1);
        let rules: Vec<_> = report
            .rules
            .iter()
            .map(|total| (&*total.rule.pattern, total.files, total.bytes))
            .collect();
        assert_eq!(rules, [(".git", 2, 6), ("*.log", 2, 3), ("docs", 1, 4)]);
        let idle: Vec<_> = (report.idle_rules.iter())
            .map(|rule| &*rule.pattern)
            .collect();
        assert_eq!(idle, ["none"]);
        assert!(report.entries.is_empty());
        let all = ContextReport::with_entries(&context).unwrap().entries;
        let shown: Vec<_> = (all.iter())
            .map(|entry| {
                let line = entry.rule.as_ref().map(|rule| rule.line);
                (entry.path.to_str().unwrap(), entry.excluded, line)
            })
            .collect();
        let expected = [
            (".git", true, Some(1)),
            (".git/a", true, Some(1)),
            (".git/b", true, Some(1)),
            (".git/b/c", true, Some(1)),
            ("a.log", true, Some(3)),
            ("b.log", true, Some(3)),
            ("big", false, None),
            ("docs", true, Some(4)),
            ("docs/keep.md", false, Some(5)),
            ("docs/x.md", true, Some(4)),
            ("src", false, None),
            ("src/main", false, None),
        ];
        assert_eq!(shown, expected);
    }
}
