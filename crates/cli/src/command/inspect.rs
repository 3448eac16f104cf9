//! `kvant inspect MODEL`.

use std::fmt::Write;

use kvant_model::Summary;

use crate::args::Inspect;
use crate::print::{self, Lean, Table};
use crate::progress::Audience;
use crate::pull;

pub(super) fn run(args: &Inspect) -> anyhow::Result<()> {
    let path = pull::model(&args.model, Audience::of(args.json))?;
    let summary = Summary::of(&path)?;
    if args.json {
        return print::json(&summary);
    }
    let mut text = head(&summary)?;
    if !args.brief {
        write!(text, "\n{}", tensors(&summary))?;
    }
    print::all(&text)
}

/// One figure a line, those that are not known left out.
fn head(summary: &Summary) -> anyhow::Result<String> {
    let tokenizer = summary.tokenizer.as_ref();
    let figures = [
        ("architecture", Some(summary.architecture.clone())),
        ("parameters", Some(print::count(summary.parameters))),
        ("layers", summary.layers.map(|n| n.to_string())),
        ("hidden", summary.hidden.map(|n| n.to_string())),
        ("heads", summary.heads.map(|n| n.to_string())),
        ("max tokens", summary.max_tokens.map(|n| n.to_string())),
        ("pooling", summary.pooling.clone()),
        ("tokenizer", tokenizer.map(|t| format!("{}, {} entries", t.kind, t.vocabulary))),
        ("quantization", summary.quantization.clone()),
        ("size", Some(print::size(summary.size_bytes))),
        ("bits per weight", Some(format!("{:.2}", summary.bits_per_weight))),
        ("tensors", Some(summary.tensors.len().to_string())),
    ];
    let mut text = String::new();
    for (name, value) in figures {
        if let Some(value) = value {
            writeln!(text, "{name:<16} {value}")?;
        }
    }
    Ok(text)
}

fn tensors(summary: &Summary) -> Table {
    let mut table = Table::new(&[
        ("tensor", Lean::Left),
        ("shape", Lean::Right),
        ("format", Lean::Left),
        ("bits", Lean::Right),
        ("size", Lean::Right),
    ]);
    for tensor in &summary.tensors {
        let size = |(at, n): (usize, &usize)| match tensor.axis {
            // The output axis.
            Some(axis) if axis == at => format!("[{n}]"),
            Some(_) | None => n.to_string(),
        };
        let shape: Vec<String> = tensor.shape.iter().enumerate().map(size).collect();
        table.row(vec![
            tensor.name.clone(),
            shape.join(" × "),
            tensor.format.clone(),
            format!("{:.2}", tensor.bits_per_weight),
            print::size(tensor.size_bytes),
        ]);
    }
    table
}
