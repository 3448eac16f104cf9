//! What goes to standard output: JSON, tables, sizes.

use std::io::{self, Write};

use serde::Serialize;

/// Writes `value` as indented JSON and a line end.
///
/// # Errors
/// If standard output is closed or full.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    all(&text)
}

/// Writes `text` and a line end.
///
/// # Errors
/// If standard output is closed or full.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    all(&format!("{text}\n"))
}

/// Writes `text` as it is.
///
/// # Errors
/// If standard output is closed or full.
pub(crate) fn all(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Which way a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lean {
    Left,
    Right,
}

/// Columns of text, as wide as their longest cell; the last left-leaning one is not padded.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<(String, Lean)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[(&str, Lean)]) -> Self {
        let head = head.iter().map(|(name, lean)| ((*name).to_owned(), *lean)).collect();
        Self { head, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "a table is rectangular");
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.head.iter().map(|(name, _)| name.clone()).collect();
        let lines = || std::iter::once(&names).chain(&self.rows);
        let widths: Vec<usize> = (0..names.len())
            .map(|column| lines().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for row in lines() {
            use std::fmt::Write;
            let mut line = String::new();
            for ((cell, width), (_, lean)) in row.iter().zip(&widths).zip(&self.head) {
                match lean {
                    Lean::Left => write!(line, "{cell:<width$}  ")?,
                    Lean::Right => write!(line, "{cell:>width$}  ")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Bytes with a decimal unit: `987 B`, `22.7 MB`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes, ["B", "kB", "MB", "GB", "TB"])
}

/// A count with a decimal unit: `987`, `22.7 M`.
pub(crate) fn count(count: u64) -> String {
    scaled(count, ["", "k", "M", "G", "T"]).trim_end().to_owned()
}

fn scaled(value: u64, units: [&str; 5]) -> String {
    let mut scaled = value as f64;
    let mut unit = units[0];
    for larger in &units[1..] {
        // 999.95 would print as 1000.0.
        if scaled < 999.95 {
            break;
        }
        scaled /= 1000.0;
        unit = larger;
    }
    if unit == units[0] { format!("{value} {unit}") } else { format!("{scaled:.1} {unit}") }
}

/// The beginning of `text` on one line, at most `width` characters.
pub(crate) fn snippet(text: &str, width: usize) -> String {
    let mut words = text.split_whitespace();
    let mut line = words.next().unwrap_or_default().to_owned();
    for word in words {
        if line.chars().count() > width {
            break;
        }
        line = format!("{line} {word}");
    }
    if line.chars().count() <= width {
        return line;
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_digits_or_so() {
        let shown = [0, 999, 1000, 999_949, 999_951, 22_700_000, u64::MAX].map(size);
        let expected = ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "22.7 MB", "18446744.1 TB"];
        assert_eq!(shown, expected);
        assert_eq!(count(7), "7");
        assert_eq!(count(22_713_216), "22.7 M");
    }

    #[test]
    fn tables_lean_and_do_not_trail_spaces() {
        let mut table = Table::new(&[("name", Lean::Left), ("n", Lean::Right)]);
        table.row(vec!["é".into(), "10".into()]);
        table.row(vec!["longer".into(), "7".into()]);
        assert_eq!(table.to_string(), "name     n\né       10\nlonger   7\n");
    }

    #[test]
    fn snippets_are_one_line() {
        assert_eq!(snippet("a\n\tdog", 10), "a dog");
        assert_eq!(snippet("a long dog", 6), "a lon…");
        assert_eq!(snippet("", 6), "");
    }
}
