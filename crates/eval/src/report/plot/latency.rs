//! Latency: the share of calls done within a time.

use super::{Markup, Scale, WIDTH, axis_x, close, colour, escape, line, open, put, text};
use crate::report::figure::milliseconds;
use crate::report::markup::shorten;
use crate::report::{Latency, Report};

const HEIGHT: f64 = 320.0;
/// Height of one line of the legend.
const LEGEND: f64 = 19.0;
/// Corners of a curve at most; beyond, every so manieth sample is drawn.
const CORNERS: usize = 200;

/// A curve per model that was timed; nothing where none was.
pub(in crate::report) fn latencies(report: &Report) -> String {
    let timed: Vec<(usize, &str, &Latency)> = report
        .models
        .iter()
        .enumerate()
        .filter_map(|(i, entry)| Some((i, entry.label.as_str(), entry.latency.as_ref()?)))
        .filter(|(_, _, latency)| !latency.samples_ms.is_empty())
        .collect();
    let most = timed.iter().map(|(_, _, latency)| latency.p99_ms).fold(0.0, f64::max);
    if most <= 0.0 || !most.is_finite() {
        return String::new();
    }
    let x = Scale { low: 0.0, high: most * 1.12, from: 50.0, to: WIDTH - 14.0 };
    let above = LEGEND * timed.len() as f64;
    let height = HEIGHT + above;
    let y = Scale { low: 0.0, high: 100.0, from: height - 46.0, to: 34.0 + above };
    let mut out = Markup::default();
    open(&mut out, height, "Share of single-text calls done within a time");
    for share in [0.0, 25.0, 50.0, 75.0, 99.0] {
        let class = if share == 50.0 || share == 99.0 { "level" } else { "grid" };
        line(&mut out, class, (x.from, y.at(share)), (x.to, y.at(share)));
        text(&mut out, "tick end", (x.from - 8.0, y.at(share) + 4.0), &format!("{share:.0}"));
    }
    text(&mut out, "name", (4.0, y.to - 12.0), "% of calls done");
    axis_x(&mut out, &x, &y, "time of one text, ms (further left is faster)");
    for (model, label, latency) in &timed {
        curve(&mut out, (&x, &y), *model, latency);
        for (share, at) in [(50.0, latency.p50_ms), (99.0, latency.p99_ms)] {
            let (series, label) = (colour(*model), escape(label));
            let (px, py, at) = (x.at(at), y.at(share), milliseconds(at));
            put!(
                out,
                "<circle class=\"dot f{series}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"5\">\
                 <title>{label}: p{share:.0} {at}</title></circle>"
            );
        }
    }
    legend(&mut out, &timed);
    close(&mut out);
    out.into_string()
}

fn curve(out: &mut Markup, (x, y): (&Scale, &Scale), model: usize, latency: &Latency) {
    let n = latency.samples_ms.len();
    put!(out, "<polyline class=\"curve l{}\" points=\"", colour(model));
    let every = n.div_ceil(CORNERS);
    let within = |i: &usize| latency.samples_ms[*i] <= x.high;
    for i in (0..n).filter(|i| i.is_multiple_of(every) || i + 1 == n).filter(within) {
        let (px, below) = (x.at(latency.samples_ms[i]), i as f64 / n as f64 * 100.0);
        let above = (i + 1) as f64 / n as f64 * 100.0;
        put!(out, "{px:.1},{:.1} {px:.1},{:.1} ", y.at(below), y.at(above));
    }
    put!(out, "\"/>\n");
}

/// Names and percentiles, above the plot.
fn legend(out: &mut Markup, timed: &[(usize, &str, &Latency)]) {
    for (row, (model, label, latency)) in timed.iter().enumerate() {
        let (p50, p99) = (milliseconds(latency.p50_ms), milliseconds(latency.p99_ms));
        let series = colour(*model);
        let label = escape(&shorten(label, 24));
        put!(
            out,
            "<text class=\"label\" x=\"4\" y=\"{:.1}\"><tspan class=\"t{series}\">●</tspan> \
             {label} <tspan class=\"note\">p50 {p50}, p99 {p99}</tspan></text>\n",
            14.0 + LEGEND * row as f64
        );
    }
}
