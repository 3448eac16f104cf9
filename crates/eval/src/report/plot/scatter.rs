//! Quality against size: what is kept for how many bytes.

use super::{Markup, Scale, WIDTH, axis_x, axis_y, close, colour, escape, line, nice, open, put};
use crate::report::Report;
use crate::report::figure::bytes;
use crate::report::markup::shorten;

const HEIGHT: f64 = 350.0;
const MEGABYTE: f64 = 1e6;

struct Point {
    model: usize,
    label: String,
    size: f64,
    score: f64,
    /// Where the score lies with 95 % confidence, the baseline's taken as it is.
    reach: Option<(f64, f64)>,
    hover: String,
}

/// The plot; nothing where fewer than two models have a size.
pub(in crate::report) fn scatter(report: &Report) -> String {
    let points = points(report);
    let Some(first) = points.first() else { return String::new() };
    if points.len() < 2 {
        return String::new();
    }
    let most = points.iter().map(|point| point.size).fold(0.0, f64::max);
    let x = Scale { low: 0.0, high: (most * 1.08).max(1e-3), from: 66.0, to: WIDTH - 14.0 };
    let y = range(&points);
    let mut out = Markup::default();
    open(&mut out, HEIGHT, &format!("{} against size on disk", report.task.metric));
    axis_y(&mut out, &x, &y, &format!("{} (higher is better)", report.task.metric));
    axis_x(&mut out, &x, &y, "weights on disk, MB (further left is smaller)");
    if first.model == 0 {
        line(&mut out, "level", (x.from, y.at(first.score)), (x.to, y.at(first.score)));
    }
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for point in &points {
        let (series, px, py) = (colour(point.model), x.at(point.size), y.at(point.score));
        if let Some((low, high)) = point.reach {
            let class = format!("whisker l{series}");
            line(&mut out, &class, (px, y.at(low)), (px, y.at(high)));
            for end in [low, high] {
                line(&mut out, &class, (px - 5.0, y.at(end)), (px + 5.0, y.at(end)));
            }
        }
        let hover = escape(&point.hover);
        put!(
            out,
            "<circle class=\"dot f{series}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"7\">\
             <title>{hover}</title></circle>"
        );
        let label = shorten(&point.label, 18);
        let wide = 8.0 * label.chars().count() as f64;
        let left = px + 12.0 + wide > x.to;
        let start = if left { px - 12.0 - wide } else { px + 12.0 };
        // A label moves down until it meets no other.
        let mut ty = py - 8.0;
        while taken.iter().any(|&(s, e, v)| start < e && start + wide > s && (ty - v).abs() < 15.0)
        {
            ty += 16.0;
        }
        taken.push((start, start + wide, ty));
        let (class, tx) = if left { ("label end", px - 12.0) } else { ("label", px + 12.0) };
        super::text(&mut out, class, (tx, ty), &label);
    }
    close(&mut out);
    out.into_string()
}

fn points(report: &Report) -> Vec<Point> {
    let base = report.models.first().map_or(0.0, |entry| entry.quality.score);
    let point = |(model, entry): (usize, &crate::report::Entry)| {
        let size = entry.size.weights_bytes?;
        let reach = entry.quality.difference.map(|at| (base + at.low, base + at.high));
        let score = entry.quality.score;
        let hover = format!("{}: {score:.4} at {}", entry.label, bytes(size));
        let label = entry.label.clone();
        Some(Point { model, label, size: size as f64 / MEGABYTE, score, reach, hover })
    };
    report.models.iter().enumerate().filter_map(point).collect()
}

/// A range of scores that holds all points and their whiskers with some air.
fn range(points: &[Point]) -> Scale {
    let ends = points.iter().flat_map(|point| {
        let (low, high) = point.reach.unwrap_or((point.score, point.score));
        [low, high, point.score]
    });
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for end in ends.filter(|end| end.is_finite()) {
        (low, high) = (low.min(end), high.max(end));
    }
    let air = ((high - low) * 0.25).max(high.abs() * 0.004).max(1e-6);
    let step = nice((high - low + 2.0 * air) / 10.0);
    Scale {
        low: ((low - air) / step).floor() * step,
        high: ((high + air) / step).ceil() * step,
        from: HEIGHT - 46.0,
        to: 34.0,
    }
}
