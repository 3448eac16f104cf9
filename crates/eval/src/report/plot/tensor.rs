//! The relative error of each compressed tensor, on a logarithmic axis.

use std::collections::BTreeMap;

use super::{Markup, Scale, WIDTH, close, colour, escape, line, open, put, text};
use crate::metric::median;
use crate::report::markup::shorten;
use crate::report::{Report, TensorError};

const HEIGHT: f64 = 320.0;

/// A dot per tensor and model; nothing where no model states errors.
pub(in crate::report) fn tensors(report: &Report) -> String {
    let stated: Vec<(usize, &str, Vec<&TensorError>)> = report
        .models
        .iter()
        .enumerate()
        .map(|(i, entry)| (i, entry.label.as_str(), above_zero(&entry.tensors)))
        .filter(|(_, _, tensors)| !tensors.is_empty())
        .collect();
    // One place per name, in the order of the first file that has it.
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut least, mut most) = (f64::INFINITY, 0.0f64);
    for tensor in stated.iter().flat_map(|(_, _, tensors)| tensors) {
        let next = places.len();
        places.entry(&tensor.name).or_insert(next);
        (least, most) = (least.min(tensor.relative), most.max(tensor.relative));
    }
    if places.is_empty() {
        return String::new();
    }
    let (low, high) = (least.log10().floor(), most.log10().ceil());
    let high = if high > low { high } else { low + 1.0 };
    let legend = 19.0 * stated.len() as f64;
    let height = HEIGHT + legend;
    let y = Scale { low, high, from: height - 30.0, to: 34.0 + legend };
    let end = places.len().saturating_sub(1).max(1) as f64;
    let x = Scale { low: 0.0, high: end, from: 66.0, to: WIDTH - 20.0 };
    let mut out = Markup::default();
    open(&mut out, height, "Relative error of each compressed tensor");
    decades(&mut out, &x, &y);
    text(&mut out, "name", (4.0, y.to - 12.0), "relative error, logarithmic (lower is better)");
    text(&mut out, "name end", (x.to, y.from + 20.0), "tensors in file order →");
    for (row, (model, label, tensors)) in stated.iter().enumerate() {
        for tensor in tensors {
            let px = x.at(places.get(tensor.name.as_str()).copied().unwrap_or(0) as f64);
            put!(
                out,
                "<circle class=\"tensor f{}\" cx=\"{px:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {} \
                 ({}), relative error {:.5}</title></circle>",
                colour(*model),
                y.at(tensor.relative.log10()),
                escape(label),
                escape(&tensor.name),
                escape(&tensor.format),
                tensor.relative
            );
        }
        let errors: Vec<f64> = tensors.iter().map(|tensor| tensor.relative).collect();
        let middle = median(&errors).unwrap_or_default();
        put!(
            out,
            "<text class=\"label\" x=\"4\" y=\"{:.1}\"><tspan class=\"t{}\">●</tspan> {} \
             <tspan class=\"note\">{} tensors, median {middle:.4}</tspan></text>\n",
            14.0 + 19.0 * row as f64,
            colour(*model),
            escape(&shorten(label, 24)),
            tensors.len()
        );
    }
    close(&mut out);
    out.into_string()
}

fn above_zero(tensors: &[TensorError]) -> Vec<&TensorError> {
    tensors.iter().filter(|t| t.relative > 0.0 && t.relative.is_finite()).collect()
}

/// Grid lines at 1, 2 and 5 times each power of ten, labelled.
fn decades(out: &mut Markup, x: &Scale, y: &Scale) {
    let powers = (y.high - y.low).clamp(1.0, 20.0) as usize;
    let factors: &[f64] = if powers > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    for power in 0..=powers {
        for factor in factors {
            let at = y.low + power as f64 + factor.log10();
            if at > y.high + 1e-9 {
                continue;
            }
            line(out, "grid", (x.from, y.at(at)), (x.to, y.at(at)));
            let decimals = (-(y.low + power as f64)).clamp(0.0, 12.0) as usize;
            let shown = format!("{:.decimals$}", 10f64.powf(at));
            text(out, "tick end", (x.from - 8.0, y.at(at) + 4.0), &shown);
        }
    }
    line(out, "axis", (x.from, y.from), (x.to, y.from));
}
