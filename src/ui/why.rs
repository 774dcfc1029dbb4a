//! The last build, told afterwards: which steps ran and why, in lines or in full.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{text, units};
use crate::context::{Change, Changes};
use crate::solve::{
    BuildRecord, BuiltStep, IngredientChange, MissReason, StepOutcome, StepResources,
};

/// A step to tell of.
#[derive(Clone, Copy, Debug)]
pub struct ToldStep<'a> {
    /// The step.
    pub step: &'a BuiltStep,
    /// Everything that its key is made of, if that was asked for and is known.
    pub ingredients: Option<&'a BTreeMap<String, String>>,
    /// What its command used when it ran, if that is known.
    pub resources: Option<StepResources>,
}

/// A build in a few lines: each of `steps` with its reason, and the sum.
#[must_use]
pub fn why_list(build: &BuildRecord, steps: &[ToldStep<'_>], age: &str) -> String {
    let mut out = headline(build, age);
    for told in steps {
        _ = writeln!(out, "{}", step_line(told.step));
        if let Some(line) = why_line(told.step) {
            _ = writeln!(out, "    why: {line}");
        }
    }
    _ = writeln!(out, "{}", sum(build));
    out
}

/// All that is known of a step.
#[must_use]
pub fn why_step(build: &BuildRecord, told: &ToldStep<'_>, age: &str) -> String {
    let step = told.step;
    let mut out = headline(build, age);
    _ = writeln!(out, "{}", step_line(step));
    if let Some(line) = why_line(step) {
        _ = writeln!(out, "    why: {line}");
    }
    if let Some(resources) = &told.resources {
        _ = writeln!(out, "    used: {}", used(resources));
    }
    if let Some(message) = &step.message {
        _ = writeln!(out, "    error: {}", text::one_line(message));
    }
    if let Some(MissReason::Changed { changes, below, .. }) = &step.reason {
        changes
            .iter()
            .for_each(|change| difference(&mut out, change));
        if let Some(below) = below {
            _ = writeln!(
                out,
                "\nbelow it\n    {}",
                text::one_line(&below.to_string())
            );
        }
    }
    if let Some(ingredients) = told.ingredients {
        _ = writeln!(out, "\nits key is made of");
        let width = ingredients
            .keys()
            .map(String::len)
            .max()
            .unwrap_or_default();
        for (name, value) in ingredients {
            let name = text::one_line(name);
            _ = writeln!(out, "    {name:<width$}  {}", text::one_line(value));
        }
    }
    if let Some(key) = step.key {
        _ = writeln!(out, "\nkey {key}");
    }
    out
}

/// A build for programs: what is kept of it, with the line of each reason and, where told, the ingredients.
#[must_use]
pub fn why_json(build: &BuildRecord, steps: &[ToldStep<'_>]) -> String {
    let told = |told: &ToldStep<'_>| {
        let mut value = serde_json::to_value(told.step).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.remove("ingredients");
            if let Some(resources) = told.resources {
                object.insert("resources".to_owned(), serde_json::json!(resources));
            }
            if let Some(line) = why_line(told.step) {
                object.insert("why".to_owned(), line.into());
            }
            if let Some(ingredients) = told.ingredients {
                object.insert("ingredients".to_owned(), serde_json::json!(ingredients));
            }
        }
        value
    };
    let value = serde_json::json!({
        "dockerfile": build.subject.dockerfile,
        "target": build.subject.target,
        "folder": build.subject.folder,
        "ended": build.ended,
        "complete": build.complete,
        "steps": steps.iter().map(told).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn headline(build: &BuildRecord, age: &str) -> String {
    let target = match build.subject.target.as_str() {
        "" => String::new(),
        target => format!(", target {target}"),
    };
    let failed = if build.complete {
        ""
    } else {
        ", not completed"
    };
    let line = format!("{}{target}, built {age}{failed}", build.subject.dockerfile);
    format!("{}\n\n", text::one_line(&line))
}

/// `#7 [2/4] RUN make: ran 1.2s`
fn step_line(step: &BuiltStep) -> String {
    let number = step.number.map(|number| format!("#{number} "));
    let label = text::one_line(&step.label);
    let time = match step.outcome {
        StepOutcome::NotReached => String::new(),
        StepOutcome::Cached | StepOutcome::Imported => {
            format!(", took {} when it ran", units::seconds(step.millis))
        }
        _ => format!(" {}", units::seconds(step.millis)),
    };
    let number = number.unwrap_or_default();
    format!("{number}{label}: {}{time}", step.outcome.word())
}

/// What a step used, all of it.
fn used(resources: &StepResources) -> String {
    let seconds = |micros: u64| units::seconds(micros / 1000);
    let size = units::size;
    format!(
        "{} (programs {}, kernel {}), read {}, wrote {}",
        units::used(resources),
        seconds(resources.user_micros),
        seconds(resources.system_micros),
        size(resources.read_bytes),
        size(resources.written_bytes)
    )
}

fn why_line(step: &BuiltStep) -> Option<String> {
    step.reason
        .as_ref()
        .map(|reason| text::one_line(&reason.to_string()))
}

/// An ingredient that differs, with both values or all files.
fn difference(out: &mut String, change: &IngredientChange) {
    let kind = match change.argument {
        Some(true) => " (ARG)",
        Some(false) => " (ENV)",
        None => "",
    };
    _ = writeln!(out, "\n{}{kind}", text::one_line(&change.name));
    if let Some(files) = &change.files {
        return all_files(out, files);
    }
    for (mark, value) in [('-', &change.old), ('+', &change.new)] {
        match value {
            None => _ = writeln!(out, "    {mark} (none)"),
            Some(value) => {
                for line in value.split('\n') {
                    _ = writeln!(out, "    {mark} {}", text::one_line(line));
                }
            }
        }
    }
}

fn all_files(out: &mut String, files: &Changes) {
    for (change, path) in &files.first {
        let word = match change {
            Change::Changed => "changed",
            Change::Added => "added",
            Change::Removed => "removed",
        };
        _ = writeln!(out, "    {word:<7}  {}", text::one_line(path));
    }
    let count = files.files() + files.directories;
    let named = files.first.len() as u64;
    if count > named {
        _ = writeln!(out, "    and {} more", count - named);
    }
}

/// `5 steps: 2 ran in 3.2s, 3 cached, which took 12.0s when they ran`
fn sum(build: &BuildRecord) -> String {
    let of = |outcomes: &[StepOutcome]| {
        let steps = build
            .steps
            .iter()
            .filter(|step| outcomes.contains(&step.outcome));
        let millis = steps.clone().map(|step| step.millis).sum::<u64>();
        (steps.count(), units::seconds(millis))
    };
    let mut parts = Vec::new();
    for (outcomes, word) in [
        (&[StepOutcome::Ran][..], "ran in"),
        (&[StepOutcome::Failed, StepOutcome::Stopped], "failed after"),
        (
            &[StepOutcome::Cached, StepOutcome::Imported],
            "cached, which took",
        ),
    ] {
        let (count, time) = of(outcomes);
        if count > 0 {
            let when = if word.starts_with("cached") {
                " when they ran"
            } else {
                ""
            };
            parts.push(format!("{count} {word} {time}{when}"));
        }
    }
    let (count, _) = of(&[StepOutcome::NotReached]);
    if count > 0 {
        parts.push(format!("{count} not reached"));
    }
    let count = build.steps.len();
    let s = if count == 1 { "" } else { "s" };
    match parts.is_empty() {
        true => format!("{count} step{s}"),
        false => format!("{count} step{s}: {}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::solve::{Below, Subject};

    fn step(number: u32, label: &str, outcome: StepOutcome) -> BuiltStep {
        BuiltStep {
            number: Some(number),
            label: label.into(),
            stage: String::new(),
            outcome,
            key: Some(Digest::from_bytes([0; 32])),
            millis: 1200,
            reason: None,
            message: None,
            ingredients: None,
        }
    }

    fn build() -> BuildRecord {
        let mut copied = step(4, "[2/3] COPY src/ /", StepOutcome::Ran);
        copied.reason = Some(MissReason::Changed {
            instruction: "COPY src/".into(),
            changes: vec![
                IngredientChange {
                    name: "files 0".into(),
                    argument: None,
                    old: Some("a".into()),
                    new: Some("b".into()),
                    files: Some(Changes {
                        total: 9,
                        changed: 3,
                        added: 1,
                        first: vec![
                            (Change::Changed, "src/a\n".into()),
                            (Change::Added, "src/b".into()),
                        ],
                        ..Changes::default()
                    }),
                },
                IngredientChange {
                    name: "env V".into(),
                    argument: Some(true),
                    old: None,
                    new: Some("1\n2".into()),
                    files: None,
                },
            ],
            below: Some(Below::Step {
                label: "[1/3] X".into(),
            }),
        });
        BuildRecord {
            subject: Subject {
                dockerfile: "/x/Dockerfile".into(),
                target: "app".into(),
                folder: Some("/x".into()),
            },
            ended: "2024-01-01T00:00:00Z".into(),
            complete: true,
            steps: vec![step(3, "[1/3] RUN a", StepOutcome::Cached), copied],
        }
    }

    fn told<'a>(build: &'a BuildRecord, at: usize) -> ToldStep<'a> {
        ToldStep {
            step: &build.steps[at],
            ingredients: None,
            resources: None,
        }
    }

    #[test]
    fn a_build_in_lines() {
        let build = build();
        let expected = "\
/x/Dockerfile, target app, built 1 minute ago

#4 [2/3] COPY src/ /: ran 1.2s
    why: COPY src/: 3 of 9 files changed: src/a , ...; 1 added: src/b; ARG V (none) → 1 2; [1/3] X made something else
2 steps: 1 ran in 1.2s, 1 cached, which took 1.2s when they ran
";
        let list = why_list(&build, &[told(&build, 1)], "1 minute ago");
        assert_eq!(list, expected);
    }

    #[test]
    fn a_step_in_full() {
        let build = build();
        let ingredients = BTreeMap::from([
            ("cwd".to_owned(), "/".to_owned()),
            ("env V".to_owned(), "1\n2".to_owned()),
        ]);
        let told = ToldStep {
            ingredients: Some(&ingredients),
            resources: Some(StepResources {
                user_micros: 1_200_000,
                system_micros: 300_000,
                peak_memory: 64_000_000,
                whole_step: true,
                read_bytes: 10,
                written_bytes: 2000,
            }),
            ..told(&build, 1)
        };
        let text = why_step(&build, &told, "now");
        let (_, details) = text.split_once("something else\n").unwrap();
        let expected = "    \
used: processor 1.5s, memory 64MB (programs 1.2s, kernel 0.3s), read 10B, wrote 2kB

files 0
    changed  src/a
    added    src/b
    and 2 more

env V (ARG)
    - (none)
    + 1
    + 2

below it
    [1/3] X made something else

its key is made of
    cwd    /
    env V  1 2

key sha256:0000000000000000000000000000000000000000000000000000000000000000
";
        assert_eq!(details, expected);
    }

    #[test]
    fn a_build_for_programs() {
        let build = build();
        let json = why_json(&build, &[told(&build, 0), told(&build, 1)]);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["steps"][0]["outcome"], "cached");
        assert_eq!(value["steps"][1]["reason"]["changes"][1]["new"], "1\n2");
        let line = value["steps"][1]["why"].as_str().unwrap();
        assert!(line.starts_with("COPY src/: 3 of 9"), "{line}");
    }
}
