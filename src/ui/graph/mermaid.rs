//! The graph in the language of Mermaid, which code hosts draw in Markdown.

use std::fmt::Write as _;

use super::{Graph, Kind, cut};

/// Characters of a line.
const WIDTH: usize = 60;

pub(super) fn mermaid(graph: &Graph) -> String {
    let mut out = String::from("flowchart TD\n");
    for node in graph.nodes.iter().chain(&graph.unneeded) {
        let title = escaped(&cut(&format!("{} {}", node.place, node.text), WIDTH));
        let fate = match node.note.as_str() {
            "" => node.kind.to_string(),
            note => format!("{}: {note}", node.kind),
        };
        let fate = escaped(&cut(&fate, WIDTH));
        let (id, class) = (&node.id, node.kind.class());
        _ = writeln!(out, "  {id}[\"{title}<br/>{fate}\"]:::{class}");
    }
    for edge in &graph.edges {
        let arrow = if edge.files { "-.->" } else { "-->" };
        let (from, to) = (&graph.nodes[edge.from].id, &graph.nodes[edge.to].id);
        _ = writeln!(out, "  {from} {arrow} {to}");
    }
    for kind in Kind::ALL {
        let (fill, edge) = kind.colours();
        let class = kind.class();
        _ = writeln!(
            out,
            "  classDef {class} fill:{fill},stroke:{edge},color:#222"
        );
    }
    out
}

/// What means something to Mermaid or to HTML becomes a number.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '#' | '<' | '>' | '&' | '`' | ';' | '\\' | '[' | ']' | '{' | '}' => {
                _ = write!(escaped, "#{};", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
