//! `RecursiveOwnershipChange`: owner and mode are given when files are copied, not afterwards, which copies them again.

use std::path::Path;

use crate::context::{Entry, Glob, LocalContext, PatternList, has_wildcard};
use crate::lint::quantity;
use crate::lint::rule::{Found, Rule};
use crate::lint::runs::{Run, runs};
use crate::lint::shell::SimpleCommand;
use crate::lint::subject::Subject;
use crate::plan::{CopySource, CopyStep, Plan, Step, StepKind, TreeSource};

pub(super) const RULE: Rule = Rule {
    name: "RecursiveOwnershipChange",
    description: "Owner and mode of files should be given when they are copied: changing them afterwards stores the files twice",
    url: None,
    experimental: false,
    ours: true,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    let Some(plan) = subject.plan else {
        return;
    };
    for run in runs(subject) {
        for change in changes(&run) {
            let copies = copies_before(plan, &run, &change);
            let [(first, _), ..] = copies.as_slice() else {
                continue;
            };
            let keyword = if is_add(first) { "ADD" } else { "COPY" };
            let mut message = format!(
                "`{} {}` over files of an earlier {keyword} stores them twice",
                change.program, change.option
            );
            if let Some(size) = total_size(subject, &copies) {
                message.push_str(&format!(" ({})", quantity::bytes(size)));
            }
            let flag = match change.program {
                "chown" => format!("--chown={}", change.value),
                _ => format!("--chmod={}", change.value),
            };
            let place = run.place_of(subject, &change.command);
            let finding = found.warning(message).at(place, "");
            let finding = finding.at(first.span, "the files come from here");
            found.add(finding.hint(format!("write `{keyword} {flag}` instead")));
        }
    }
}

/// A recursive `chown` or `chmod`.
struct Change {
    program: &'static str,
    /// The option that makes it recursive, as written.
    option: String,
    /// The owner or mode.
    value: String,
    /// Absolute paths.
    paths: Vec<String>,
    command: SimpleCommand,
}

/// The recursive changes of a `RUN` whose paths can be told from its text.
fn changes(run: &Run<'_>) -> Vec<Change> {
    let mut folder = Some(run.run.cwd.clone());
    let mut changes = Vec::new();
    for command in run.commands() {
        let program = match command.program() {
            "chown" => "chown",
            "chmod" => "chmod",
            "cd" => {
                folder = match (command.arguments(), folder) {
                    ([path], Some(folder)) => {
                        expanded(run, path).map(|path| absolute(&folder, &path))
                    }
                    _ => None,
                };
                continue;
            }
            _ => continue,
        };
        changes.extend(change(run, program, folder.as_deref(), command));
    }
    changes
}

fn change(
    run: &Run<'_>,
    program: &'static str,
    folder: Option<&str>,
    command: SimpleCommand,
) -> Option<Change> {
    // A mode may begin with `-`, like an option: `chmod -R -x`.
    let is_option = |word: &&String| {
        word.starts_with("--")
            || word.starts_with('-')
                && word[1..].chars().all(|c| "RHLPchfv".contains(c))
                && word.len() > 1
    };
    let arguments = command.arguments();
    let is_recursive = |word: &&String| {
        word.as_str() == "--recursive"
            || is_option(word) && !word.starts_with("--") && word.contains('R')
    };
    let option = arguments.iter().find(is_recursive)?.clone();
    // The value is that of another file.
    if arguments.iter().any(|word| word.starts_with("--reference")) {
        return None;
    }
    let mut operands = arguments.iter().filter(|word| !is_option(word));
    let value = operands.next()?.clone();
    let paths: Vec<String> = operands
        .filter_map(|path| expanded(run, path))
        .filter_map(|path| {
            (path.starts_with('/') || folder.is_some())
                .then(|| absolute(folder.unwrap_or("/"), &path))
        })
        .collect();
    Some(Change {
        program,
        option,
        value,
        paths,
        command,
    })
}

/// A path with the variables that the `RUN` has; nothing if it depends on more.
fn expanded(run: &Run<'_>, path: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = path;
    while let Some(dollar) = rest.find('$') {
        text.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let (name, end) = match after.strip_prefix('{') {
            Some(inside) => {
                let close = inside.find('}')?;
                (&inside[..close], close + 2)
            }
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let end = end.unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        let value = run.run.env.iter().find(|(known, _)| known == name)?;
        text.push_str(&value.1);
        rest = &after[end..];
    }
    text.push_str(rest);
    (!text.contains('`') && !text.starts_with('~')).then_some(text)
}

/// An absolute clean path, cut off before its first wildcard.
fn absolute(folder: &str, path: &str) -> String {
    let joined = format!("{folder}/{path}");
    let joined = if path.starts_with('/') { path } else { &joined };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part if part.contains(['*', '?', '[']) => break,
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The copies of the same stage that put files where the change goes, and whether it goes over all of them.
fn copies_before<'a>(plan: &'a Plan, run: &Run<'_>, change: &Change) -> Vec<(&'a Step, bool)> {
    let is_below = |path: &str, folder: &str| {
        folder == "/"
            || path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let before = plan.steps[..run.id.0].iter();
    let mut copies = Vec::new();
    for step in before.filter(|step| step.stage == run.step.stage) {
        let StepKind::Copy(copy) = &step.kind else {
            continue;
        };
        let destination = match copy.destination.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let covered = change.paths.iter().any(|path| is_below(destination, path));
        if covered
            || change
                .paths
                .iter()
                .any(|path| destination != "/" && is_below(path, destination))
        {
            copies.push((step, covered));
        }
    }
    copies
}

fn is_add(step: &Step) -> bool {
    matches!(&step.kind, StepKind::Copy(copy) if copy.add)
}

/// The bytes that are stored twice, if all of them come from the context.
fn total_size(subject: &Subject<'_>, copies: &[(&Step, bool)]) -> Option<u64> {
    let mut total = 0;
    for (step, covered) in copies {
        let StepKind::Copy(copy) = &step.kind else {
            return None;
        };
        if !covered || copy.add {
            return None;
        }
        // Heredocs need no context.
        let context = subject.context.filter(|_| copy.from == TreeSource::Context);
        total = copy_size(context, copy)?.saturating_add(total);
    }
    Some(total)
}

fn copy_size(context: Option<&LocalContext>, copy: &CopyStep) -> Option<u64> {
    let exclude = PatternList::new(&copy.exclude).ok()?;
    let mut size = 0;
    for source in &copy.sources {
        let one = match source {
            CopySource::Remote { .. } => return None,
            CopySource::Inline { content, .. } => u64::try_from(content.len()).ok()?,
            CopySource::Path(path) => path_size(context?, Path::new(path), &exclude)?,
        };
        size = one.saturating_add(size);
    }
    Some(size)
}

fn path_size(context: &LocalContext, path: &Path, exclude: &PatternList) -> Option<u64> {
    if !has_wildcard(path) {
        let entry = context.lookup(path).ok()?;
        return entry_size(context, &entry, exclude);
    }
    let matches = context.glob(&Glob::new(path).ok()?).ok()?;
    matches.iter().try_fold(0_u64, |size, found| {
        Some(entry_size(context, &found.entry, exclude)?.saturating_add(size))
    })
}

/// Counting stops here: a number is not worth more time.
const MOST_FILES: usize = 20_000;

fn entry_size(context: &LocalContext, entry: &Entry, exclude: &PatternList) -> Option<u64> {
    let mut size = entry.size();
    for (count, below) in context.walk(entry, exclude).enumerate() {
        if count >= MOST_FILES {
            return None;
        }
        size = below.ok()?.size().saturating_add(size);
    }
    Some(size)
}
