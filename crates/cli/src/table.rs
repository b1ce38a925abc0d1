//! Text in columns.

use std::io::{self, Write};

/// Which side of its column a cell is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Writes rows in columns that are as wide as their widest cell, with two spaces in between and none at the end of a line. A
/// column without a side is on the left.
pub(crate) fn write(out: &mut dyn Write, sides: &[Side], rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            match sides.get(column) {
                Some(Side::Right) => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A number with the unit that fits it: 1.5 M.
pub(crate) fn short(number: u64) -> String {
    let mut value = number as f64;
    let mut units = ["", " k", " M", " G", " T"].into_iter();
    let mut unit = units.next().unwrap_or("");
    // What would be rounded to 1000 gets the next unit.
    while value >= 999.95
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = next;
    }
    if unit.is_empty() { number.to_string() } else { format!("{value:.1}{unit}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut out = Vec::new();
        let rows = [row(&["a", "12", "x"]), row(&["Öl", "7", ""]), row(&["c"])];
        write(&mut out, &[Side::Left, Side::Right], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a   12  x\nÖl   7\nc\n");
    }

    #[test]
    fn numbers_have_units() {
        let texts = [0, 999, 1_000, 61_706, 999_949, 15_470_000_000].map(short);
        assert_eq!(texts, ["0", "999", "1.0 k", "61.7 k", "999.9 k", "15.5 G"]);
        assert_eq!(short(999_999), "1.0 M");
    }
}
