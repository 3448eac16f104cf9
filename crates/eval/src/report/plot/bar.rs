//! Horizontal bars from zero, one per model.

use super::{Markup, WIDTH, close, colour, escape, open, put, text};
use crate::report::markup::shorten;

/// One bar.
pub(in crate::report) struct Bar {
    /// Number of the model.
    pub(in crate::report) model: usize,
    /// Its label.
    pub(in crate::report) label: String,
    /// Its length.
    pub(in crate::report) value: f64,
    /// The value with its unit.
    pub(in crate::report) shown: String,
    /// Against the baseline.
    pub(in crate::report) note: String,
    /// Single measurements behind the value, shown as dots.
    pub(in crate::report) runs: Vec<f64>,
}

const HEIGHT: f64 = 26.0;
const PITCH: f64 = 42.0;
const LEFT: f64 = 96.0;
/// Room at the right for the longest value and note.
const RIGHT: f64 = 168.0;

/// Bars of one figure, called `title` for those who cannot see it; nothing for no bars.
pub(in crate::report) fn bars(title: &str, bars: &[Bar]) -> String {
    let mut out = Markup::default();
    let every = bars.iter().flat_map(|bar| bar.runs.iter().copied().chain([bar.value]));
    let most = every.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if bars.is_empty() || most <= 0.0 {
        return String::new();
    }
    let reach = WIDTH - LEFT - RIGHT;
    open(&mut out, PITCH * bars.len() as f64 + 6.0, title);
    for (i, bar) in bars.iter().enumerate() {
        let y = 6.0 + PITCH * i as f64;
        let width = (bar.value / most * reach).max(1.5);
        let (series, label) = (colour(bar.model), escape(&bar.label));
        text(&mut out, "label end", (LEFT - 10.0, y + 17.5), &shorten(&bar.label, 13));
        put!(
            out,
            "<rect class=\"f{series}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{HEIGHT}\" rx=\"3\"><title>{label}: {} {}</title></rect>",
            escape(&bar.shown),
            escape(&bar.note)
        );
        for run in bar.runs.iter().filter(|run| run.is_finite()) {
            let x = LEFT + run / most * reach;
            let y = y + HEIGHT / 2.0;
            put!(out, "<circle class=\"run\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        }
        let furthest = bar.runs.iter().copied().fold(bar.value, f64::max) / most * reach;
        let x = LEFT + furthest.max(width) + 10.0;
        put!(
            out,
            "<text class=\"value\" x=\"{x:.1}\" y=\"{:.1}\">{}<tspan class=\"note\" dx=\"8\">{}\
             </tspan></text>\n",
            y + 17.5,
            escape(&bar.shown),
            escape(&bar.note)
        );
    }
    close(&mut out);
    out.into_string()
}
