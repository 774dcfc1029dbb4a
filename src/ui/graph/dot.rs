//! The graph in the language of Graphviz: `builder plan --format dot | dot -Tpng`.

use std::fmt::Write as _;

use super::{Graph, Node, cut};

/// Characters of a line.
const WIDTH: usize = 60;

pub(super) fn dot(graph: &Graph) -> String {
    let mut out = String::from(
        "digraph plan {\n  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=11];\n",
    );
    _ = writeln!(out, "  label={};", quoted(&graph.sum));
    for node in graph.nodes.iter().chain(&graph.unneeded) {
        let (fill, edge) = node.kind.colours();
        let label = quoted(&label(node));
        let id = &node.id;
        _ = writeln!(
            out,
            "  {id} [label={label}, fillcolor=\"{fill}\", color=\"{edge}\"];"
        );
    }
    for edge in &graph.edges {
        let style = if edge.files { " [style=dashed]" } else { "" };
        let (from, to) = (&graph.nodes[edge.from].id, &graph.nodes[edge.to].id);
        _ = writeln!(out, "  {from} -> {to}{style};");
    }
    out.push_str("}\n");
    out
}

fn label(node: &Node) -> String {
    let fate = match node.note.as_str() {
        "" => node.kind.to_string(),
        note => format!("{}: {note}", node.kind),
    };
    let lines = [format!("{} {}", node.place, node.text), fate];
    lines.map(|line| cut(&line, WIDTH)).join("\n")
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}
