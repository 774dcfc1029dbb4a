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
            let copies = copies_before(subject, plan, &run, &change);
            let Some(Copied { step: first, .. }) = copies.first() else {
                continue;
            };
            let keyword = if is_add(first) { "ADD" } else { "COPY" };
            let mut message = format!(
                "`{} {}` over files of an earlier {keyword} stores them twice",
                change.program, change.option
            );
            let size = copies.iter().try_fold(0_u64, |total, copied| {
                Some(copied.size?.saturating_add(total))
            });
            if let Some(size) = size {
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

/// A copy that put files where a change goes.
struct Copied<'a> {
    step: &'a Step,
    /// The bytes that are stored twice, where they are known.
    size: Option<u64>,
}

/// The copies of the same stage before a change.
fn copies_before<'a>(
    subject: &Subject<'_>,
    plan: &'a Plan,
    run: &Run<'_>,
    change: &Change,
) -> Vec<Copied<'a>> {
    let (_, below) = plan.chain(run.step.input);
    let before = below.into_iter().map(|id| plan.step(id));
    let mut copies = Vec::new();
    for step in before.filter(|step| step.stage == run.step.stage) {
        let StepKind::Copy(copy) = &step.kind else {
            continue;
        };
        // Heredocs need no context.
        let context = subject.context.filter(|_| copy.from == TreeSource::Context);
        let destination = Path::new(&copy.destination);
        let mut paths = change.paths.iter().map(Path::new);
        if paths.clone().any(|path| destination.starts_with(path)) {
            let size = copy_size(context, copy);
            copies.push(Copied { step, size });
            continue;
        }
        // Below the destination may be what was copied, or what a command made there.
        let part = paths.find_map(|path| {
            let below = path.strip_prefix(destination).ok()?;
            copied_part(context?, copy, below)
        });
        if let Some(entry) = part {
            let size = context.and_then(|context| part_size(context, copy, &entry));
            copies.push(Copied { step, size });
        }
    }
    copies
}

/// What a copy put at a path below its destination: a file of that name, or what is there in a folder.
fn copied_part(context: &LocalContext, copy: &CopyStep, below: &Path) -> Option<Entry> {
    copy.sources.iter().find_map(|source| match source {
        CopySource::Path(path) => {
            let source = context.lookup(Path::new(path)).ok()?;
            if source.is_directory() {
                return context.lookup(&source.path.join(below)).ok();
            }
            let name = Path::new(path).file_name();
            (name == Some(below.as_os_str())).then_some(source)
        }
        _ => None,
    })
}

fn is_add(step: &Step) -> bool {
    matches!(&step.kind, StepKind::Copy(copy) if copy.add)
}

fn part_size(context: &LocalContext, copy: &CopyStep, part: &Entry) -> Option<u64> {
    // What is left out is told from the source on.
    let whole = !copy.add && copy.exclude.is_empty();
    let all = PatternList::default();
    whole.then(|| entry_size(context, part, &all)).flatten()
}

/// The bytes of a copy, if it is known what they are: not for archives that are unpacked.
fn copy_size(context: Option<&LocalContext>, copy: &CopyStep) -> Option<u64> {
    if copy.add {
        return None;
    }
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
