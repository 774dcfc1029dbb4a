//! Why a step ran, as a value: it is shown in a line while the build runs, and kept for `builder why`.
//!
//! What was here before is found in `past.rs`. What no ingredient says is in no reason: secrets cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cache_key::{FILES, INPUT, Ingredients};
use crate::context::Changes;
use crate::oci::Digest;
use crate::plan::{CopySource, Step, StepKind};

/// Differences that a line tells.
const TOLD: usize = 3;
/// Characters of a value in a line.
const SHOWN: usize = 60;
/// Bytes of a value that are kept.
const KEPT: usize = 4096;

/// Why the cache could not answer a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MissReason {
    /// This Dockerfile was never built.
    FirstBuild,
    /// It was, but without this instruction.
    NewInstruction,
    /// It was, but not for this platform.
    OtherPlatform {
        /// This platform.
        platform: String,
    },
    /// The user said so.
    NoCache,
    /// The very same step was built, and its result was removed to make room.
    Evicted {
        /// How long ago, in seconds.
        seconds: u64,
    },
    /// The very same step was built, but its result is gone or damaged.
    Lost,
    /// It was built from something else, and nobody remembers from what.
    Forgotten,
    /// These ingredients differ.
    Changed {
        /// `RUN`, `COPY src/`.
        instruction: String,
        /// What differs, except for the state below.
        changes: Vec<IngredientChange>,
        /// What happened below, if that differs too.
        below: Option<Below>,
    },
    /// The state below is another one, and nothing else.
    InputChanged {
        /// What happened there.
        below: Below,
    },
}

/// One ingredient that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngredientChange {
    /// Its name.
    pub name: String,
    /// Of a variable: whether it is an argument of the build, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<bool>,
    /// Its value then.
    pub old: Option<String>,
    /// Its value now.
    pub new: Option<String>,
    /// Which files, where the ingredient stands for files and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Changes>,
}

/// What became of the state below a step: the first difference from the bottom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Below {
    /// The base's name stands for another image now.
    BaseMoved {
        /// The name.
        name: String,
        /// Digest then.
        old: Digest,
        /// Digest now.
        new: Digest,
    },
    /// There is another base.
    OtherBase {
        /// Its name then.
        old: String,
        /// Its name now.
        new: String,
    },
    /// A step made something else.
    Step {
        /// Its label.
        label: String,
    },
    /// There is a step that was not there.
    NewStep {
        /// Its label.
        label: String,
    },
    /// A step is no longer there.
    NoStep {
        /// Its text.
        text: String,
    },
    /// It cannot be told.
    Unknown,
}

impl MissReason {
    /// The reason for a step whose ingredients were others before. `below` tells what happened to the state below.
    pub(super) fn between(
        old: &BTreeMap<String, String>,
        new: &Ingredients,
        step: &Step,
        below: impl FnOnce() -> Below,
    ) -> Self {
        let new = new.as_map();
        if old == new {
            return Self::Lost;
        }
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differs = |name: &&String| old.get(*name) != new.get(*name);
        let (input, others): (Vec<&String>, _) = names
            .into_iter()
            .filter(differs)
            .partition(|name| *name == INPUT);
        let changes: Vec<IngredientChange> = others
            .into_iter()
            .map(|name| IngredientChange {
                argument: is_argument(step, name),
                old: old.get(name).map(|value| kept(value)),
                new: new.get(name).map(|value| kept(value)),
                name: name.clone(),
                files: None,
            })
            .collect();
        let below = (!input.is_empty()).then(below);
        match below {
            Some(below) if changes.is_empty() => Self::InputChanged { below },
            below => Self::Changed {
                instruction: instruction(step),
                changes,
                below,
            },
        }
    }

    /// The changes of ingredients that stand for files, with the position of each among those.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = (usize, &mut IngredientChange)> {
        let changes = match self {
            Self::Changed { changes, .. } => changes.as_mut_slice(),
            _ => &mut [],
        };
        changes.iter_mut().filter_map(|change| {
            let position = change.name.strip_prefix(FILES)?.trim().parse().ok()?;
            Some((position, change))
        })
    }
}

/// Whether a variable is an argument of the build or of the image.
fn is_argument(step: &Step, ingredient: &str) -> Option<bool> {
    let name = ingredient.strip_prefix("env ")?;
    let StepKind::Run(run) = &step.kind else {
        return None;
    };
    let is_there = run.env.iter().any(|(known, _)| known == name);
    is_there.then(|| run.arguments.iter().any(|known| known == name))
}

/// The instruction by its word, and what it copies.
fn instruction(step: &Step) -> String {
    match &step.kind {
        StepKind::Run(_) => "RUN".to_owned(),
        StepKind::Workdir(_) => "WORKDIR".to_owned(),
        StepKind::Copy(copy) => {
            let word = if copy.add { "ADD" } else { "COPY" };
            let names = copy.sources.iter().filter_map(|source| match source {
                CopySource::Path(path) => Some(path.as_str()),
                CopySource::Remote { file, .. } => file.as_deref(),
                CopySource::Inline { name, .. } => Some(name.as_str()),
            });
            let names: Vec<&str> = names.collect();
            match names.as_slice() {
                [] => word.to_owned(),
                [only] => format!("{word} {}", shown(only)),
                [first, ..] => format!("{word} {} ...", shown(first)),
            }
        }
    }
}

/// A value as it is kept.
fn kept(value: &str) -> String {
    match value.char_indices().find(|(at, _)| *at >= KEPT) {
        None => value.to_owned(),
        Some((at, _)) => format!("{}...", &value[..at]),
    }
}

/// A value as it is shown in a line.
fn shown(value: &str) -> String {
    let line = value.replace(['\n', '\r'], " ");
    match line.chars().count() > SHOWN {
        true => line.chars().take(SHOWN - 3).chain("...".chars()).collect(),
        false => line,
    }
}

fn or_none(value: Option<&str>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => shown(text),
    }
}

/// A time span in one unit: `14 h`.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstBuild => f.write_str("first build"),
            Self::NewInstruction => f.write_str("first build of this instruction"),
            Self::OtherPlatform { platform } => write!(f, "never built for {platform}"),
            Self::NoCache => f.write_str("--no-cache"),
            Self::Evicted { seconds } => write!(f, "evicted {} ago", span(*seconds)),
            Self::Lost => f.write_str("built before, but its result is no longer in the store"),
            Self::Forgotten => f.write_str("built before from something else"),
            Self::InputChanged { below } => below.fmt(f),
            Self::Changed {
                instruction,
                changes,
                below,
            } => {
                let below = below.as_ref().map(ToString::to_string);
                let texts = changes.iter().map(ToString::to_string).chain(below);
                let texts: Vec<String> = texts.collect();
                let told = &texts[..texts.len().min(TOLD)];
                write!(f, "{instruction}: {}", told.join("; "))?;
                match texts.len() - told.len() {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

impl fmt::Display for IngredientChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(files) = &self.files {
            return files.fmt(f);
        }
        if self.name.starts_with(FILES) {
            return f.write_str("files changed");
        }
        match self.name.as_str() {
            "command" => return f.write_str("the command changed"),
            "script" => return f.write_str("the script changed"),
            "sources" => return f.write_str("the list of sources changed"),
            _ => {}
        }
        let name = match (self.name.strip_prefix("env "), self.argument) {
            (Some(name), Some(true)) => format!("ARG {name}"),
            (Some(name), Some(false)) => format!("ENV {name}"),
            (Some(name), None) => format!("variable {name}"),
            (None, _) => self.name.clone(),
        };
        let (old, new) = (self.old.as_deref(), self.new.as_deref());
        write!(f, "{name} {} → {}", or_none(old), or_none(new))
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BaseMoved { name, old, new } => {
                let (old, new) = (old.short(), new.short());
                write!(f, "base {name} moved: sha256:{old}… → sha256:{new}…")
            }
            Self::OtherBase { old, new } => write!(f, "base {} → {}", shown(old), shown(new)),
            Self::Step { label } => write!(f, "{} made something else", shown(label)),
            Self::NewStep { label } => write!(f, "new below it: {}", shown(label)),
            Self::NoStep { text } => write!(f, "no longer below it: {}", shown(text)),
            Self::Unknown => f.write_str("what is below it changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, old: Option<&str>, new: Option<&str>) -> IngredientChange {
        IngredientChange {
            name: name.into(),
            argument: None,
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            files: None,
        }
    }

    fn changed(instruction: &str, changes: Vec<IngredientChange>) -> MissReason {
        MissReason::Changed {
            instruction: instruction.into(),
            changes,
            below: None,
        }
    }

    /// Shown as the line, and kept as it is.
    fn check(reason: &MissReason, line: &str) {
        assert_eq!(reason.to_string(), line);
        let json = serde_json::to_string(reason).unwrap();
        let read: MissReason = serde_json::from_str(&json).unwrap();
        assert_eq!(read, *reason, "{json}");
    }

    #[test]
    fn changes_in_words() {
        let argument = |argument, change| IngredientChange {
            argument: Some(argument),
            ..change
        };
        let version = argument(true, change("env VERSION", Some("1.2"), Some("1.3")));
        check(&changed("RUN", vec![version]), "RUN: ARG VERSION 1.2 → 1.3");
        let several = vec![
            argument(false, change("env NEW", None, Some("x"))),
            change("env OLD", Some(""), None),
            change("cwd", Some("/"), Some("/x")),
            change("command", Some("a"), Some("b")),
        ];
        check(
            &changed("RUN", several),
            "RUN: ENV NEW (none) → x; variable OLD (empty) → (none); cwd / → /x; and 1 more",
        );
        let files = || change("files 0", Some("a"), Some("b"));
        check(&changed("COPY a", vec![files()]), "COPY a: files changed");
        let path = |path: &str| (crate::context::Change::Changed, path.to_owned());
        let listed = IngredientChange {
            files: Some(Changes {
                total: 1204,
                changed: 2,
                first: vec![path("src/a.py"), path("src/b.py")],
                ..Changes::default()
            }),
            ..files()
        };
        let both = MissReason::Changed {
            instruction: "COPY src/".into(),
            changes: vec![listed],
            below: Some(Below::Step {
                label: "[2/4] RUN make".into(),
            }),
        };
        check(
            &both,
            "COPY src/: 2 of 1204 files changed: src/a.py, src/b.py; [2/4] RUN make made something else",
        );
    }

    #[test]
    fn other_reasons_in_words() {
        let below = |below| MissReason::InputChanged { below };
        let moved = Below::BaseMoved {
            name: "python:3.9-slim".into(),
            old: Digest::of("a"),
            new: Digest::of("b"),
        };
        check(
            &below(moved),
            "base python:3.9-slim moved: sha256:ca978112ca1b… → sha256:3e23e8160039…",
        );
        let label = "[2/4] RUN make".to_owned();
        check(
            &below(Below::NewStep { label }),
            "new below it: [2/4] RUN make",
        );
        check(&below(Below::Unknown), "what is below it changed");
        for (seconds, line) in [
            (59, "evicted 59 s ago"),
            (119, "evicted 1 min ago"),
            (50_400, "evicted 14 h ago"),
            (260_000, "evicted 3 days ago"),
        ] {
            check(&MissReason::Evicted { seconds }, line);
        }
        let platform = "linux/arm64".to_owned();
        check(
            &MissReason::OtherPlatform { platform },
            "never built for linux/arm64",
        );
    }

    #[test]
    fn what_is_kept_and_shown_is_bounded() {
        let long = "é".repeat(KEPT);
        assert!(kept(&long).len() <= KEPT + 4);
        assert_eq!(kept("short"), "short");
        assert_eq!(shown(&long).chars().count(), SHOWN);
        assert_eq!(shown("a\nb"), "a b");
    }
}
