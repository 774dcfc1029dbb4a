//! How a build went, kept for `builder why`: each step with its outcome and, where it ran, the reason in full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::miss::MissReason;
use crate::oci::Digest;

/// Bytes of a message that are kept.
const LONGEST_MESSAGE: usize = 2000;

/// How a build went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// What was built.
    #[serde(flatten)]
    pub subject: Subject,
    /// When it ended, RFC 3339.
    pub ended: String,
    /// Whether every step is done.
    pub complete: bool,
    /// The steps, in the order of the plan.
    pub steps: Vec<BuiltStep>,
}

/// Names what a build builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The Dockerfile: its real path if it is a file of this machine, else where it came from.
    pub dockerfile: String,
    /// The stage that was asked for; empty for the last one.
    pub target: String,
    /// The main context, if it is a folder.
    pub folder: Option<String>,
}

impl Subject {
    /// Names the Dockerfile in the store.
    #[must_use]
    pub fn of_dockerfile(&self) -> Digest {
        Digest::of(&self.dockerfile)
    }

    /// Names Dockerfile and target in the store.
    #[must_use]
    pub fn of_target(&self) -> Digest {
        Digest::of(format!("{}\n{}", self.dockerfile, self.target))
    }
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltStep {
    /// Its number as shown; none if it was not begun.
    pub number: Option<u32>,
    /// As shown: `[build 2/4] RUN make`.
    pub label: String,
    /// The name of its stage; empty for the only stage of a file.
    pub stage: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// Its key, where it is known.
    pub key: Option<Digest>,
    /// How long it took now; of a step that the cache had, how long it took when it ran.
    pub millis: u64,
    /// Why it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<MissReason>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What its key is made of, of a step that has no record of its own because it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingredients: Option<BTreeMap<String, String>>,
}

impl BuildRecord {
    /// The steps that a text means: by number (`7`, `#7`), by place (`2/4`), by stage, else by a part of the label.
    #[must_use]
    pub fn matching(&self, text: &str) -> Vec<&BuiltStep> {
        let steps = |is_meant: &dyn Fn(&BuiltStep) -> bool| -> Vec<&BuiltStep> {
            self.steps.iter().filter(|step| is_meant(step)).collect()
        };
        let number = text.strip_prefix('#').unwrap_or(text).parse::<u32>().ok();
        if number.is_some() {
            return steps(&|step| step.number == number);
        }
        let lower = text.to_lowercase();
        let by_place = steps(&|step| {
            let place = step.label.split_once(']').map_or("", |(place, _)| place);
            place.trim_start_matches('[').split_whitespace().next_back() == Some(text)
        });
        let by_stage = || steps(&|step| step.stage.to_lowercase() == lower);
        let by_part = || steps(&|step| step.label.to_lowercase().contains(&lower));
        match by_place {
            found if !found.is_empty() => found,
            _ => match by_stage() {
                found if !found.is_empty() => found,
                _ => by_part(),
            },
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// The store had the result.
    Cached,
    /// An imported cache had the result.
    Imported,
    /// It ran.
    Ran,
    /// It failed.
    Failed,
    /// It was stopped, because of a failure elsewhere or an interrupt.
    Stopped,
    /// The build did not come to it.
    NotReached,
}

impl StepOutcome {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Imported => "imported",
            Self::Ran => "ran",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::NotReached => "not reached",
        }
    }

    /// Whether the cache did not have it.
    #[must_use]
    pub fn is_miss(self) -> bool {
        matches!(self, Self::Ran | Self::Failed | Self::Stopped)
    }
}

/// A message as it is kept.
pub(super) fn kept_message(message: &str) -> String {
    let ends = message.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= LONGEST_MESSAGE).last();
    message[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_by_number_place_stage_and_text() {
        let step = |number, stage: &str, label: &str| BuiltStep {
            number: Some(number),
            label: label.to_owned(),
            stage: stage.to_owned(),
            outcome: StepOutcome::Ran,
            key: None,
            millis: 0,
            reason: None,
            message: None,
            ingredients: None,
        };
        let build = BuildRecord {
            subject: Subject::default(),
            ended: String::new(),
            complete: true,
            steps: vec![
                step(3, "build", "[build  2/12] RUN make [x 3/12]"),
                step(4, "build", "[build 12/12] RUN Make build 7"),
                step(
                    7,
                    "stage-1",
                    "[linux/amd64 stage-1 2/3] COPY --from=build / /",
                ),
            ],
        };
        for (text, expected) in [
            ("3", vec![3]),
            ("#7", vec![7]),
            ("5", vec![]),
            ("2/12", vec![3]),
            ("2/3", vec![7]),
            ("BUILD", vec![3, 4]),
            ("stage-1", vec![7]),
            ("make", vec![3, 4]),
            ("--from", vec![7]),
            ("nothing", vec![]),
        ] {
            let found = build.matching(text).into_iter();
            let numbers: Vec<u32> = found.filter_map(|step| step.number).collect();
            assert_eq!(numbers, expected, "{text}");
        }
    }

    #[test]
    fn messages_are_cut_between_characters() {
        assert_eq!(kept_message("short"), "short");
        let long = "é".repeat(LONGEST_MESSAGE);
        assert_eq!(kept_message(&long).len(), LONGEST_MESSAGE);
        assert_eq!(kept_message(&format!("x{long}")).len(), LONGEST_MESSAGE - 1);
    }
}
