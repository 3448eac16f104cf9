//! The relative error of each compressed tensor, on a logarithmic axis.

use std::collections::BTreeMap;

use super::{Markup, Scale, WIDTH, close, colour, escape, line, open, put, text};
use crate::metric::median;
use crate::report::markup::shorten;
use crate::report::{Report, TensorError};

/// The least and most height of the plot without its legend.
const HEIGHT: (f64, f64) = (300.0, 500.0);

/// A dot per tensor and model, about `height` high; nothing where no model states errors.
pub(in crate::report) fn tensors(report: &Report, height: f64) -> String {
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
    let (low, high) = (below(least), above(most));
    let legend = 19.0 * stated.len() as f64;
    let height = height.clamp(HEIGHT.0, HEIGHT.1) + legend;
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

/// Factors of a power of ten that have a grid line.
const FACTORS: [f64; 3] = [1.0, 2.0, 5.0];

/// The logarithm of the last grid line below `value`.
fn below(value: f64) -> f64 {
    let power = value.log10().floor();
    let fits = |factor: &f64| power + factor.log10() < value.log10();
    FACTORS.into_iter().rev().find(fits).map_or(power - 1.0, |factor| power + factor.log10())
}

/// The logarithm of the first grid line above `value`.
fn above(value: f64) -> f64 {
    let power = value.log10().floor();
    let fits = |factor: &f64| power + factor.log10() > value.log10();
    FACTORS.into_iter().find(fits).map_or(power + 1.0, |factor| power + factor.log10())
}

/// Grid lines at 1, 2 and 5 times each power of ten, or at the powers alone where they are many.
fn decades(out: &mut Markup, x: &Scale, y: &Scale) {
    let first = y.low.floor();
    let powers = (y.high - first).ceil().clamp(1.0, 700.0) as usize;
    let every = powers.div_ceil(12);
    let factors = if powers > 3 { &FACTORS[..1] } else { &FACTORS[..] };
    for power in (0..=powers).step_by(every) {
        let power = first + power as f64;
        for factor in factors {
            let at = power + factor.log10();
            if at < y.low - 1e-9 || at > y.high + 1e-9 {
                continue;
            }
            line(out, "grid", (x.from, y.at(at)), (x.to, y.at(at)));
            let value = 10f64.powf(at);
            let plain = (-6.0..6.0).contains(&power);
            let decimals = (-power).clamp(0.0, 12.0) as usize;
            let shown = if plain { format!("{value:.decimals$}") } else { format!("{value:.0e}") };
            text(out, "tick end", (x.from - 8.0, y.at(at) + 4.0), &shown);
        }
    }
    line(out, "axis", (x.from, y.from), (x.to, y.from));
}
