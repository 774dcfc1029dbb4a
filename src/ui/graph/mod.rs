//! The graph of a build before it runs, as text, for programs, for drawing tools, and drawn.
//!
//! All forms show the same nodes and edges, which are put together here.

mod dot;
mod json;
mod layout;
mod mermaid;
mod svg;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use super::units;
use crate::build::Foresight;
use crate::plan::{StateRef, StepId, StepKind, TreeSource};
use crate::solve::Fate;

/// A form of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFormat {
    /// For people at a terminal.
    Text,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
    /// For pages that draw Mermaid.
    Mermaid,
    /// A picture.
    Svg,
}

impl FromStr for GraphFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "text" => Self::Text,
            "json" => Self::Json,
            "dot" => Self::Dot,
            "mermaid" => Self::Mermaid,
            "svg" => Self::Svg,
            other => {
                return Err(format!(
                    "unknown format `{other}`, expected `text`, `json`, `dot`, `mermaid` or `svg`"
                ));
            }
        })
    }
}

/// Shows a graph.
#[must_use]
pub fn graph(foresight: &Foresight, format: GraphFormat) -> String {
    let graph = Graph::new(foresight);
    match format {
        GraphFormat::Text => text::text(&graph),
        GraphFormat::Json => json::json(foresight, &graph),
        GraphFormat::Dot => dot::dot(&graph),
        GraphFormat::Mermaid => mermaid::mermaid(&graph),
        GraphFormat::Svg => svg::svg(&graph),
    }
}

/// What is shown.
#[derive(Debug)]
struct Graph {
    /// Bases, steps and images, in this order; what a node stands on comes before it.
    nodes: Vec<Node>,
    /// Stages that nothing needs.
    unneeded: Vec<Node>,
    edges: Vec<Edge>,
    /// `5 steps: 2 cached, 1 runs, 2 may run`
    sum: String,
}

#[derive(Debug)]
struct Node {
    /// Unique: `base0`, `step3`.
    id: String,
    kind: Kind,
    /// Where it is: `[build 2/4]`, `base`.
    place: String,
    /// What it is: `RUN make`.
    text: String,
    /// What is to be said of it: why it runs.
    note: String,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Base,
    Cached,
    Runs,
    MayRun,
    Image,
    Unneeded,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Cached,
        Self::Runs,
        Self::MayRun,
        Self::Base,
        Self::Image,
        Self::Unneeded,
    ];

    /// The word for people and programs.
    fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Cached => "cached",
            Self::Runs => "runs",
            Self::MayRun => "may run",
            Self::Image => "image",
            Self::Unneeded => "not needed",
        }
    }

    /// The word as a name in drawing languages.
    fn class(self) -> &'static str {
        match self {
            Self::MayRun => "may_run",
            Self::Unneeded => "not_needed",
            other => other.word(),
        }
    }

    /// Colours of the box and of its edge.
    fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Base => ("#e3eefb", "#4a7ebb"),
            Self::Cached => ("#e2f3e4", "#4d9a57"),
            Self::Runs => ("#fde3cf", "#d9772b"),
            Self::MayRun => ("#fdf5cc", "#b59a1e"),
            Self::Image => ("#ece4f7", "#7a5cb0"),
            Self::Unneeded => ("#f0f0f0", "#a0a0a0"),
        }
    }
}

/// What a node takes from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    from: usize,
    to: usize,
    /// Files only; otherwise it stands on it.
    files: bool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Graph {
    fn new(foresight: &Foresight) -> Self {
        let plan = &foresight.plan;
        let bases = foresight.bases.iter().enumerate();
        let bases = bases.map(|(index, base)| Node {
            id: format!("base{index}"),
            kind: Kind::Base,
            place: "base".to_owned(),
            text: super::text::one_line(&base.name),
            note: format!("sha256:{}…", base.digest.short()),
        });
        let steps = (0..plan.steps.len()).map(|index| step(foresight, StepId(index)));
        let images = plan.images.iter().enumerate().map(|(index, image)| Node {
            id: format!("image{index}"),
            kind: Kind::Image,
            place: "image".to_owned(),
            text: image.platform.to_string(),
            note: String::new(),
        });
        let unneeded = foresight.unneeded.iter().enumerate();
        Self {
            nodes: bases.chain(steps).chain(images).collect(),
            unneeded: unneeded
                .map(|(index, (name, instructions))| Node {
                    id: format!("unneeded{index}"),
                    kind: Kind::Unneeded,
                    place: "stage".to_owned(),
                    text: name.clone(),
                    note: match instructions {
                        1 => "1 instruction".to_owned(),
                        count => format!("{count} instructions"),
                    },
                })
                .collect(),
            edges: edges(foresight),
            sum: sum(foresight),
        }
    }
}

fn step(foresight: &Foresight, id: StepId) -> Node {
    let plan = &foresight.plan;
    let step = plan.step(id);
    let (kind, note) = match foresight.forecast.fate(id) {
        Fate::Cached { took, imported } => {
            let from = if *imported {
                "in an imported cache, "
            } else {
                ""
            };
            let took = units::seconds(units::millis(*took));
            (Kind::Cached, format!("{from}took {took} when it ran"))
        }
        Fate::Runs { reason } => (Kind::Runs, reason.to_string()),
        Fate::MayRun { after } if after.is_empty() => {
            let note = "takes files of an image that is not on this machine";
            (Kind::MayRun, note.to_owned())
        }
        Fate::MayRun { after } => {
            let places = after.iter().map(|id| plan.step(*id).shown_place());
            let places: Vec<&str> = places.collect();
            (
                Kind::MayRun,
                format!("depends on what {} makes", places.join(", ")),
            )
        }
    };
    Node {
        id: format!("step{}", id.0),
        kind,
        place: step.shown_place().to_owned(),
        text: super::text::one_line(step.text()),
        note: super::text::one_line(&note),
    }
}

fn edges(foresight: &Foresight) -> Vec<Edge> {
    let plan = &foresight.plan;
    let bases = foresight.bases.len();
    let node = |state: StateRef| match state {
        StateRef::Scratch => None,
        StateRef::Base(base) => Some(base.0),
        StateRef::Step(step) => Some(bases + step.0),
    };
    let mut edges: Vec<Edge> = Vec::new();
    let mut add = |from: Option<usize>, to, files| {
        let Some(from) = from else { return };
        let known = |edge: &Edge| edge.from == from && edge.to == to;
        if !edges
            .iter()
            .rev()
            .take_while(|edge| edge.to == to)
            .any(known)
        {
            edges.push(Edge { from, to, files });
        }
    };
    for (index, step) in plan.steps.iter().enumerate() {
        for (position, state) in step.inputs().into_iter().enumerate() {
            add(node(state), bases + index, position > 0);
        }
    }
    for (index, image) in plan.images.iter().enumerate() {
        add(node(image.state), bases + plan.steps.len() + index, false);
    }
    edges
}

/// The contexts that a step takes files from.
fn contexts(foresight: &Foresight, id: StepId) -> Vec<String> {
    let mut names = Vec::new();
    let mut see = |source: &TreeSource| match source {
        TreeSource::Context => names.push("context".to_owned()),
        TreeSource::NamedContext(name) => names.push(name.clone()),
        TreeSource::State(_) => {}
    };
    match &foresight.plan.step(id).kind {
        StepKind::Copy(copy) => see(&copy.from),
        StepKind::Run(run) => run.mounts.iter().filter_map(|m| m.tree()).for_each(see),
        StepKind::Workdir(_) => {}
    }
    names.dedup();
    names
}

fn sum(foresight: &Foresight) -> String {
    let (cached, runs, may_run) = foresight.forecast.counts();
    let count = foresight.plan.steps.len();
    let s = if count == 1 { "" } else { "s" };
    let run = if runs == 1 { "runs" } else { "run" };
    let parts = [(cached, "cached"), (runs, run), (may_run, "may run")];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match parts.is_empty() {
        true => format!("{count} step{s}"),
        false => format!("{count} step{s}: {}", parts.join(", ")),
    }
}

/// A text of at most so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => text.to_owned(),
    }
}
