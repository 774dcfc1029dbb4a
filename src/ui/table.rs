//! Columns of text under headings, for lists such as that of the images.

use super::text;

/// To which side the cells of a column keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers and sizes.
    Right,
}

/// Rows of cells; as wide as its longest cells.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(Align, usize)>,
    /// The first one is the headings.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Spaces between two columns.
    const GAP: usize = 3;

    /// A table without rows.
    #[must_use]
    pub fn new(headings: &[(&str, Align)]) -> Self {
        let mut table = Self {
            columns: headings.iter().map(|(_, align)| (*align, 0)).collect(),
            rows: Vec::new(),
        };
        table.row(headings.iter().map(|(heading, _)| *heading));
        table
    }

    /// Adds a row. Cells beyond the headings are left out, missing ones stay empty.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let mut cells = cells.into_iter();
        let row = self
            .columns
            .iter_mut()
            .map(|(_, width)| {
                let cell = cells.next();
                let cell = text::one_line(cell.as_ref().map_or("", AsRef::as_ref));
                *width = (*width).max(text::columns(&cell));
                cell
            })
            .collect();
        self.rows.push(row);
    }

    /// The headings and the rows, each on a line without spaces at its end.
    #[must_use]
    pub fn render(&self) -> String {
        let mut rendered = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (index, (cell, (align, width))) in row.iter().zip(&self.columns).enumerate() {
                if index > 0 {
                    line.push_str(&" ".repeat(Self::GAP));
                }
                let room = " ".repeat(width.saturating_sub(text::columns(cell)));
                match align {
                    Align::Left => line.extend([cell, room.as_str()]),
                    Align::Right => line.extend([room.as_str(), cell]),
                }
            }
            rendered.push_str(line.trim_end());
            rendered.push('\n');
        }
        rendered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(&[
            ("REPOSITORY", Align::Left),
            ("SIZE", Align::Right),
            ("CREATED", Align::Left),
        ]);
        table.row(["busybox", "4.26MB", "2 days ago"]);
        table.row(["docker.example/team/app", "1.2GB", ""]);
        table.row(["日本", "1B"]);
        let expected = "\
REPOSITORY                  SIZE   CREATED
busybox                   4.26MB   2 days ago
docker.example/team/app    1.2GB
日本                          1B
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn a_cell_cannot_break_its_line_or_send_control_sequences() {
        let mut table = Table::new(&[("NAME", Align::Left)]);
        table.row(["a\nb\x1b[2J"]);
        assert_eq!(table.render(), "NAME\na b\n");
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(Table::new(&[("NAME", Align::Left)]).render(), "NAME\n");
    }
}
