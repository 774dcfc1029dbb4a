//! Where the boxes of a picture are: a column for each chain of steps, a row for each depth, so that every edge goes
//! down and no two boxes meet.

use super::{Graph, Kind};

/// A box's place in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) column: usize,
    pub(super) row: usize,
}

/// The cells of a graph's nodes, and of what nothing needs.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) nodes: Vec<Cell>,
    pub(super) unneeded: Vec<Cell>,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// At least so many columns are used for what nothing needs.
const LEAST_COLUMNS: usize = 3;

pub(super) fn layout(graph: &Graph) -> Layout {
    // The node that a node stands on, and all that it takes something from.
    let mut on: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    let mut inputs: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for edge in &graph.edges {
        inputs[edge.to].push(edge.from);
        if !edge.files {
            on[edge.to] = Some(edge.from);
        }
    }
    let mut nodes: Vec<Cell> = Vec::with_capacity(graph.nodes.len());
    // The lowest box of each column.
    let mut ends: Vec<usize> = Vec::new();
    let is_base = |node: usize| graph.nodes[node].kind == Kind::Base;
    // Bases get their column from the first that stands on them, or at the end.
    let mut waiting: Vec<usize> = Vec::new();
    for node in 0..graph.nodes.len() {
        let below = inputs[node].iter().map(|input| nodes[*input].row + 1);
        let row = below.max().unwrap_or_else(|| usize::from(!is_base(node)));
        let column = match on[node] {
            _ if is_base(node) => {
                waiting.push(node);
                usize::MAX
            }
            Some(parent) if nodes[parent].column == usize::MAX => {
                waiting.retain(|base| *base != parent);
                ends.push(node);
                nodes[parent].column = ends.len() - 1;
                ends.len() - 1
            }
            Some(parent) if ends[nodes[parent].column] == parent => {
                let column = nodes[parent].column;
                ends[column] = node;
                column
            }
            _ => {
                ends.push(node);
                ends.len() - 1
            }
        };
        nodes.push(Cell { column, row });
    }
    for base in waiting {
        nodes[base].column = ends.len();
        ends.push(base);
    }
    let columns = ends.len().max(1);
    let last = nodes.iter().map(|cell| cell.row + 1).max();
    let first = last.unwrap_or_default();
    let across = columns.max(LEAST_COLUMNS);
    let unneeded = (0..graph.unneeded.len()).map(|index| Cell {
        column: index % across,
        row: first + index / across,
    });
    let unneeded: Vec<Cell> = unneeded.collect();
    let all = || nodes.iter().chain(&unneeded);
    Layout {
        columns: all().map(|cell| cell.column + 1).max().unwrap_or(1),
        rows: all().map(|cell| cell.row + 1).max().unwrap_or_default(),
        nodes,
        unneeded,
    }
}
