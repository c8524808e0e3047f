//! Aligned columns, for `list`, `explain`, `plan` and `doctor`.

use super::text::{columns, safe, wrap};

/// Two columns of space between the cells.
const GAP: usize = 2;

/// The narrowest last column worth having beside the others.
const NARROWEST: usize = 16;

/// Rows as aligned columns, each line ended by a newline. Every column but the
/// last is as wide as its widest cell; the last wraps at `width` and hangs.
/// Rows may differ in their number of cells. Cells are made safe for a terminal.
pub fn table(rows: &[Vec<String>], width: usize) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| safe(cell, usize::MAX)).collect())
        .collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count.saturating_sub(1))
        .map(|i| {
            rows.iter()
                .filter_map(|row| row.get(i))
                .map(|c| columns(c))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let indent: usize = widths.iter().map(|w| w + GAP).sum();
    let room = width.saturating_sub(indent).max(NARROWEST);

    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width + GAP - columns(cell)));
        }
        let last = wrap(row.get(widths.len()).map_or("", String::as_str), room);
        for (i, text) in last.iter().enumerate() {
            if i > 0 {
                line = " ".repeat(indent);
            }
            line.push_str(text);
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out
}
