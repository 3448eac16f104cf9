//! The report for a terminal.

use super::Report;
use super::figure::{Row, place, rows, summary};
use super::markup::{Markup, put, shorten};

/// The longest label of a model that is shown whole.
const LABEL: usize = 24;

/// Every figure as an aligned table of plain characters, without colours or control characters;
/// each line ends with a line feed. Widths are counted in characters.
pub fn table(report: &Report) -> String {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let mut out = Markup::default();
    put!(out, "{}\n{}\n", clean(&summary(report)), clean(&place(report)));
    let mut lines: Vec<Vec<String>> = Vec::new();
    let labels = report.models.iter().map(|entry| shorten(&clean(&entry.label), LABEL));
    lines.push([String::new(), String::new()].into_iter().chain(labels).collect());
    let rows = rows(report);
    let values = values(&rows, report.models.len());
    let mut last = "";
    let mut rules = vec![1];
    for row in &rows {
        let axis = if row.axis == last { "" } else { row.axis };
        if !axis.is_empty() && !last.is_empty() {
            rules.push(lines.len());
        }
        last = row.axis;
        let cells = row.cells.iter().zip(&values);
        let cells = cells.map(|(cell, width)| format!("{:>width$}  {}", cell.value, cell.note));
        lines.push([axis.to_owned(), clean(&row.name)].into_iter().chain(cells).collect());
    }
    let columns = report.models.len() + 2;
    let count = |text: &str| text.chars().count();
    let width = |c: usize| lines.iter().map(|line| count(&line[c])).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        if rules.contains(&number) {
            let dashes: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            put!(out, "{}\n", dashes.join("┼"));
        }
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!(" {cell}{} ", " ".repeat(width - count(cell))))
            .collect();
        put!(out, "{}\n", cells.join("│").trim_end());
    }
    out.into_string()
}

/// The widest value of each model, so that the comparisons beside them line up.
fn values(rows: &[Row], models: usize) -> Vec<usize> {
    let width = |row: &Row, model: usize| row.cells[model].value.chars().count();
    (0..models)
        .map(|model| rows.iter().map(|row| width(row, model)).max().unwrap_or_default())
        .collect()
}
