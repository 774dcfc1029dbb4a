//! The graph as a picture in one file, which needs nothing else: boxes in columns, edges from top to bottom, a legend.

use std::fmt::Write as _;

use super::layout::{Cell, layout};
use super::{Graph, Kind, Node, cut};

const BOX: (usize, usize) = (300, 66);
const GAP: (usize, usize) = (36, 44);
const MARGIN: usize = 36;
/// Room for the legend above the boxes.
const HEAD: usize = 88;
/// Characters that fit into a box.
const WIDTH: usize = 42;
/// How much an edge that carries only files keeps to the side.
const ASIDE: usize = 60;
/// Edges that can run beside each other in a gap.
const LANES: usize = 6;

pub(super) fn svg(graph: &Graph) -> String {
    let layout = layout(graph);
    let width = 2 * MARGIN + layout.columns * (BOX.0 + GAP.0) - GAP.0;
    let width = width.max(LEGEND_WIDTH);
    let height = HEAD + MARGIN + layout.rows * (BOX.1 + GAP.1);
    let mut out = String::new();
    _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">"#
    );
    out.push_str(STYLE);
    _ = writeln!(
        out,
        r##"<rect class="paper" width="{width}" height="{height}" fill="#ffffff"/>"##
    );
    legend(&mut out, graph);
    for (number, edge) in graph.edges.iter().enumerate() {
        let cells = (layout.nodes[edge.from], layout.nodes[edge.to]);
        draw_edge(&mut out, number, cells, edge.files);
    }
    let nodes = graph.nodes.iter().zip(&layout.nodes);
    for (node, cell) in nodes.chain(graph.unneeded.iter().zip(&layout.unneeded)) {
        draw_box(&mut out, node, *cell);
    }
    out.push_str("</svg>\n");
    out
}

const STYLE: &str = r##"<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>
"##;

/// Width of an entry of the legend, and of all of it.
const ENTRY: usize = 110;
const LEGEND_WIDTH: usize = 2 * MARGIN + ENTRY * (Kind::ALL.len() + 2);

fn legend(out: &mut String, graph: &Graph) {
    let sum = escaped(&graph.sum);
    _ = writeln!(
        out,
        r#"<text x="{MARGIN}" y="{}" font-size="14" font-weight="bold">{sum}</text>"#,
        MARGIN + 4
    );
    let y = MARGIN + 18;
    for (position, kind) in Kind::ALL.into_iter().enumerate() {
        let (fill, stroke) = kind.colours();
        let x = MARGIN + position * ENTRY;
        let dash = dashed(kind);
        _ = writeln!(
            out,
            r#"<rect class="key" x="{x}" y="{y}" width="14" height="14" rx="3" fill="{fill}" stroke="{stroke}"{dash}/><text x="{}" y="{}">{kind}</text>"#,
            x + 20,
            y + 11
        );
    }
    for (position, (word, dash)) in [("stands on", ""), ("takes files", DASHED)]
        .into_iter()
        .enumerate()
    {
        let x = MARGIN + (Kind::ALL.len() + position) * ENTRY;
        let middle = y + 7;
        _ = writeln!(
            out,
            r##"<line x1="{x}" y1="{middle}" x2="{}" y2="{middle}" stroke="#666"{dash} marker-end="url(#arrow)"/><text x="{}" y="{}">{word}</text>"##,
            x + 18,
            x + 24,
            y + 11
        );
    }
}

const DASHED: &str = r#" stroke-dasharray="5 3""#;

fn dashed(kind: Kind) -> &'static str {
    match kind {
        Kind::MayRun | Kind::Unneeded => DASHED,
        _ => "",
    }
}

/// The upper left corner of a cell's box.
fn corner(cell: Cell) -> (usize, usize) {
    (
        MARGIN + cell.column * (BOX.0 + GAP.0),
        HEAD + cell.row * (BOX.1 + GAP.1),
    )
}

/// An edge keeps to the gaps between rows and columns, so that it crosses no box. Edges that take the same way run beside
/// each other, up to a few.
fn draw_edge(out: &mut String, number: usize, (from, to): (Cell, Cell), files: bool) {
    let ((from_x, from_y), (to_x, to_y)) = (corner(from), corner(to));
    let (half, from_y) = (BOX.0 / 2, from_y + BOX.1);
    let lane = 4 * (number % LANES);
    // An edge comes in at the side that it comes from.
    let comes_from_left = from.column < to.column;
    let start = from_x + half;
    let end = match (files, comes_from_left) {
        (true, true) => to_x + half - ASIDE - lane,
        (true, false) => to_x + half + ASIDE + lane,
        (false, _) => to_x + half,
    };
    let gutter = match comes_from_left {
        true => to_x - GAP.0 + 6 + lane,
        false => to_x + BOX.0 + 6 + lane,
    };
    let (out_of, into) = (from_y + 8 + lane, to_y - 12 - lane);
    let last = to_y - 1;
    let is_straight = !files && from.column == to.column && from.row + 1 == to.row;
    let way = match is_straight {
        true => format!("M{start},{from_y} L{start},{last}"),
        false => format!(
            "M{start},{from_y} L{start},{out_of} L{gutter},{out_of} L{gutter},{into} L{end},{into} L{end},{last}"
        ),
    };
    let dash = if files { DASHED } else { "" };
    _ = writeln!(
        out,
        r##"<path class="edge" d="{way}" fill="none" stroke="#666" stroke-linejoin="round"{dash} marker-end="url(#arrow)"/>"##
    );
}

fn draw_box(out: &mut String, node: &Node, cell: Cell) {
    let (x, y) = corner(cell);
    let (fill, stroke) = node.kind.colours();
    let fate = match node.note.as_str() {
        "" => node.kind.to_string(),
        note => format!("{}: {note}", node.kind),
    };
    let whole = format!("{} {}\n{fate}", node.place, node.text);
    let dash = dashed(node.kind);
    _ = writeln!(
        out,
        r#"<g class="{}"><title>{}</title><rect class="node" x="{x}" y="{y}" width="{}" height="{}" rx="6" fill="{fill}" stroke="{stroke}" stroke-width="1.5"{dash}/>"#,
        node.kind.class(),
        escaped(&whole),
        BOX.0,
        BOX.1
    );
    let lines = [
        (node.place.as_str(), r##" fill="#666""##),
        (node.text.as_str(), r#" font-weight="bold""#),
        (fate.as_str(), ""),
    ];
    for (number, (line, style)) in lines.into_iter().enumerate() {
        let baseline = y + 19 + number * 18;
        let line = escaped(&cut(line, WIDTH));
        _ = writeln!(
            out,
            r#"<text x="{}" y="{baseline}"{style}>{line}</text>"#,
            x + 10
        );
    }
    out.push_str("</g>\n");
}

/// A text as XML has it, without characters that XML has not.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
