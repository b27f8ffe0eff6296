//! What people read: aligned columns, sizes and times in words.

use tombolo_protocol::schema::{Kind, TimeUnit};
use tombolo_protocol::value::Value;

/// Characters of a cell; the rest is cut off where people read it.
const CELL_CHARS_MAX: usize = 40;

/// Lines with aligned columns; the last column is not padded.
pub(super) fn columns(header: &[String], rows: &[Vec<String>]) -> String {
    let cut: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| cell_of(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = cut.iter().filter_map(|row| row.get(column)).chain(header.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    std::iter::once(line(header)).chain(cut.iter().map(|row| line(row))).collect()
}

/// Lines of "name  value".
pub(super) fn pairs(pairs: &[(String, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:width$}  {value}").trim_end().to_owned() + "\n").collect()
}

/// A cell in one line.
fn cell_of(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match one_line.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &one_line[..end]),
        None => one_line,
    }
}

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{}.{} kB", count / 1_000, count % 1_000 / 100),
        _ => format!("{}.{} MB", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// A count with its noun: "1 row", "2 rows".
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A moment as ISO text in UTC.
pub(super) fn moment(ms: i64) -> String {
    Kind::Timestamp { unit: TimeUnit::Milliseconds }.show(&Value::Timestamp(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["1".into(), "R\u{f6}sli\nB".into()], vec!["22".into(), String::new()]];
        assert_eq!(columns(&["Id".into(), "Name".into()], &rows), "Id  Name\n1   R\u{f6}sli B\n22\n");
        let long = columns(&["Notes".into()], &[vec!["x".repeat(60)]]);
        assert_eq!(long, format!("Notes\n{}...\n", "x".repeat(40)));
    }

    #[test]
    fn sizes_and_moments_are_for_people() {
        assert_eq!([bytes(999), bytes(1_250), bytes(5_040_000)], ["999 B", "1.2 kB", "5.0 MB"]);
        assert_eq!(moment(1_717_165_800_250), "2024-05-31T14:30:00.250Z");
        assert_eq!(counted(1, "row", "rows") + ", " + &counted(0, "row", "rows"), "1 row, 0 rows");
    }
}
