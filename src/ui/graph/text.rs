//! The graph as lines: steps in their order, each with its fate.

use std::fmt::Write as _;

use super::{Graph, Kind};

pub(super) fn text(graph: &Graph) -> String {
    let mut out = String::new();
    for node in &graph.nodes {
        let (place, text, note) = (&node.place, &node.text, &node.note);
        _ = match node.kind {
            Kind::Base => writeln!(out, "base {text} {note}"),
            Kind::Image => writeln!(out, "image for {text}"),
            Kind::Cached => writeln!(out, "{place} {text}: cached, {note}"),
            Kind::Runs => writeln!(out, "{place} {text}: runs\n    why: {note}"),
            Kind::MayRun | Kind::Unneeded => writeln!(out, "{place} {text}: may run\n    {note}"),
        };
    }
    for stage in &graph.unneeded {
        _ = writeln!(out, "stage {}: not needed, {}", stage.text, stage.note);
    }
    _ = writeln!(out, "{}", graph.sum);
    out
}
