//! Recall against queries a second: the further up and right, the better.

use super::{Markup, Scale, WIDTH, axis_y_at, close, colour, escape, line, open, put, text};
use crate::ann::{Calls, Curves, Engine, frontier};
use crate::report::figure::grouped;

const HEIGHT: f64 = 380.0;
/// What recalls are drawn at, with their names.
const RECALLS: [(f64, &str); 8] = [
    (0.5, "0.5"),
    (0.8, "0.8"),
    (0.9, "0.9"),
    (0.95, "0.95"),
    (0.99, "0.99"),
    (0.999, "0.999"),
    (0.9999, "0.9999"),
    (1.0, "1"),
];
/// A recall of 1 is drawn as if so much were missing.
const LEAST_MISSED: f64 = 3e-5;

/// Where a recall is drawn: every step halves what is missed.
fn place(recall: f64) -> f64 {
    -(1.0 - recall).max(LEAST_MISSED).log10()
}

/// The plot; nothing where no engine has such a speed.
pub(in crate::report) fn curves(all: &Curves, calls: Calls) -> String {
    let lines: Vec<Vec<(f64, f64)>> =
        all.engines.iter().map(|engine| frontier(engine, calls)).collect();
    let points = || lines.iter().flatten();
    if points().next().is_none() {
        return String::new();
    }
    let fold = |start: f64, pick: fn(f64, f64) -> f64, of: fn(&(f64, f64)) -> f64| {
        points().map(of).fold(start, pick)
    };
    let least = fold(1.0, f64::min, |point| point.0).clamp(0.0, 0.95);
    let first = RECALLS.iter().rev().find(|(recall, _)| *recall <= least);
    let low = place(first.map_or(0.0, |(recall, _)| *recall));
    let (slow, fast) = (
        fold(f64::INFINITY, f64::min, |point| point.1.log10()),
        fold(f64::NEG_INFINITY, f64::max, |point| point.1.log10()),
    );
    let x = Scale { low, high: place(1.0), from: 66.0, to: WIDTH - 14.0 };
    let (floor, top) = ((slow - 0.05).floor(), (fast + 0.05).ceil());
    let y = Scale { low: floor, high: top.max(floor + 1.0), from: HEIGHT - 46.0, to: 34.0 };
    let mut out = Markup::default();
    open(&mut out, HEIGHT, &format!("queries a second against recall@{}", all.k));
    axes(&mut out, &x, &y, all.k);
    for (number, (engine, points)) in all.engines.iter().zip(&lines).enumerate() {
        draw(&mut out, (&x, &y), number, (engine, points));
    }
    close(&mut out);
    out.into_string()
}

fn axes(out: &mut Markup, x: &Scale, y: &Scale, k: usize) {
    for power in y.low as i32..=y.high as i32 {
        let ticks = [(1.0, true), (2.0, false), (5.0, false)];
        for (factor, named) in ticks {
            let at = f64::from(power) + f64::log10(factor);
            if at <= y.high {
                let value = 10f64.powi(power) * factor;
                let name = match value {
                    _ if !named => String::new(),
                    large if large >= 1.0 => grouped(large as u64),
                    small => format!("{small}"),
                };
                axis_y_at(out, x, (y.at(at), &name));
            }
        }
    }
    text(out, "name", (4.0, y.to - 14.0), "queries a second");
    for (recall, name) in RECALLS.iter().filter(|(recall, _)| place(*recall) >= x.low) {
        let at = x.at(place(*recall));
        line(out, "grid", (at, y.from), (at, y.to));
        text(out, "tick mid", (at, y.from + 16.0), name);
    }
    line(out, "axis", (x.from, y.from), (x.to, y.from));
    text(out, "name end", (x.to, y.from + 34.0), &format!("recall@{k}"));
}

fn draw(
    out: &mut Markup,
    (x, y): (&Scale, &Scale),
    number: usize,
    (engine, points): (&Engine, &[(f64, f64)]),
) {
    let series = colour(number + 1);
    let at = |&(recall, qps): &(f64, f64)| (x.at(place(recall).max(x.low)), y.at(qps.log10()));
    let path: Vec<String> = points
        .iter()
        .map(|point| {
            let (px, py) = at(point);
            format!("{px:.1},{py:.1}")
        })
        .collect();
    put!(out, "<polyline class=\"curve l{series}\" points=\"{}\"/>\n", path.join(" "));
    let name = escape(&engine.name);
    for point in points {
        let ((px, py), (recall, qps)) = (at(point), *point);
        put!(
            out,
            "<circle class=\"dot f{series}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4.5\">\
             <title>{name}: {qps:.0} /s at {recall:.4}</title></circle>\n"
        );
    }
}
