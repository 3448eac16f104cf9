//! Plots as inline SVG: sized by their view box, coloured by the classes of the page's style.

mod bar;
mod curve;
mod latency;
mod scatter;
mod tensor;

pub(super) use bar::{Bar, bars};
pub(super) use curve::curves;
pub(super) use latency::latencies;
pub(super) use scatter::scatter;
pub(super) use tensor::tensors;

use super::markup::{Markup, escape, put};

/// Width of every plot in its own units, which are about pixels.
const WIDTH: f64 = 520.0;
/// Colours there are; the model of number `n` has colour `n`, the baseline 0.
pub(super) const COLOURS: usize = 7;

/// The class that colours the model of this number; candidates go round, the baseline is alone.
pub(super) fn colour(model: usize) -> usize {
    if model == 0 { 0 } else { 1 + (model - 1) % (COLOURS - 1) }
}

/// A value range drawn onto a range of the plot.
#[derive(Clone, Copy, Debug)]
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Round values within the range, about `count` of them, and how many decimals they need.
    fn ticks(&self, count: usize) -> (Vec<f64>, usize) {
        let step = nice((self.high - self.low) / count.max(1) as f64);
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        // 2.5 needs one more digit than its power of ten says.
        let scaled = step * 10f64.powi(decimals as i32);
        let decimals = decimals + usize::from((scaled - scaled.round()).abs() > 1e-6);
        let first = (self.low / step - 1e-9).ceil();
        let last = (self.high / step + 1e-9).floor();
        let count = (last - first).clamp(0.0, 50.0) as usize;
        ((0..=count).map(|i| (first + i as f64) * step).collect(), decimals)
    }
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `step`.
fn nice(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * power >= step * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// Opens a plot of `height`, described for those who cannot see it.
fn open(out: &mut Markup, height: f64, label: &str) {
    let label = escape(label);
    put!(out, "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n");
}

fn close(out: &mut Markup) {
    put!(out, "</svg>\n");
}

/// A line of the grid or an axis, from one point to another.
fn line(out: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    put!(
        out,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

/// Text at a point; `class` says how it is anchored.
fn text(out: &mut Markup, class: &str, at: (f64, f64), content: &str) {
    let content = escape(content);
    put!(out, "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{content}</text>\n", at.0, at.1);
}

/// The ticks and grid lines of a horizontal axis at the bottom, and its name.
fn axis_x(out: &mut Markup, x: &Scale, y: &Scale, name: &str) {
    let (ticks, decimals) = x.ticks(6);
    for tick in ticks {
        let at = x.at(tick);
        line(out, "grid", (at, y.from), (at, y.to));
        text(out, "tick mid", (at, y.from + 16.0), &format!("{tick:.decimals$}"));
    }
    line(out, "axis", (x.from, y.from), (x.to, y.from));
    text(out, "name end", (x.to, y.from + 34.0), name);
}

/// A grid line across at this height, its value at the left.
fn axis_y_at(out: &mut Markup, x: &Scale, (at, name): (f64, &str)) {
    line(out, "grid", (x.from, at), (x.to, at));
    text(out, "tick end", (x.from - 8.0, at + 4.0), name);
}

/// The ticks and grid lines of a vertical axis at the left, and its name above.
fn axis_y(out: &mut Markup, x: &Scale, y: &Scale, name: &str) {
    let (ticks, decimals) = y.ticks(5);
    for tick in ticks {
        axis_y_at(out, x, (y.at(tick), &format!("{tick:.decimals$}")));
    }
    text(out, "name", (4.0, y.to - 14.0), name);
}
