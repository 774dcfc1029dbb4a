//! The graph for programs.

use serde_json::{Value, json};

use super::{Graph, Kind, contexts};
use crate::build::Foresight;
use crate::plan::StepId;
use crate::solve::Fate;

pub(super) fn json(foresight: &Foresight, graph: &Graph) -> String {
    let of_kind = |wanted: fn(Kind) -> bool| {
        let nodes = graph.nodes.iter().enumerate();
        nodes.filter(move |(_, node)| wanted(node.kind))
    };
    let bases: Vec<Value> = foresight
        .bases
        .iter()
        .enumerate()
        .map(|(index, base)| {
            json!({"id": format!("base{index}"), "name": base.name, "digest": base.digest})
        })
        .collect();
    let is_step = |kind| matches!(kind, Kind::Cached | Kind::Runs | Kind::MayRun);
    let steps: Vec<Value> = of_kind(is_step)
        .enumerate()
        .map(|(index, (position, _))| step(foresight, graph, StepId(index), position))
        .collect();
    let images: Vec<Value> = of_kind(|kind| kind == Kind::Image)
        .map(|(position, node)| {
            json!({"platform": node.text, "inputs": inputs(graph, position, false)})
        })
        .collect();
    let unneeded = foresight.unneeded.iter();
    let unneeded: Vec<Value> = unneeded
        .map(|(name, instructions)| json!({"stage": name, "instructions": instructions}))
        .collect();
    let (cached, runs, may_run) = foresight.forecast.counts();
    let value = json!({
        "bases": bases,
        "steps": steps,
        "images": images,
        "not_needed": unneeded,
        "counts": {"cached": cached, "runs": runs, "may_run": may_run},
    });
    format!("{value:#}\n")
}

fn step(foresight: &Foresight, graph: &Graph, id: StepId, position: usize) -> Value {
    let (step, node) = (foresight.plan.step(id), &graph.nodes[position]);
    let mut value = json!({
        "id": node.id,
        "label": step.label,
        "stage": step.stage_name(),
        "platform": step.platform.to_string(),
        "instruction": step.text(),
        "on": inputs(graph, position, false).into_iter().next(),
        "files_from": inputs(graph, position, true),
        "contexts": contexts(foresight, id),
        "fate": node.kind.class(),
    });
    match foresight.forecast.fate(id) {
        Fate::Cached { took, imported } => {
            value["millis"] = json!(super::units::millis(*took));
            value["imported"] = json!(imported);
        }
        Fate::Runs { reason } => {
            value["why"] = json!(node.note);
            value["reason"] = json!(reason);
        }
        Fate::MayRun { after } => {
            let after = after.iter().map(|id| format!("step{}", id.0));
            value["after"] = after.collect::<Vec<_>>().into();
        }
    }
    value
}

/// What a node stands on, or takes files from.
fn inputs(graph: &Graph, of: usize, files: bool) -> Vec<&str> {
    let edges = graph.edges.iter();
    edges
        .filter(|edge| edge.to == of && edge.files == files)
        .map(|edge| graph.nodes[edge.from].id.as_str())
        .collect()
}
