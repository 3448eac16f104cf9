//! Curves of recall and speed as one self-contained page.

use super::figure::grouped;
use super::markup::{Markup, escape, put};
use super::plot::{self, colour};
use crate::ann::{Calls, Curves, Engine, LEVELS, speed_at};

const STYLE: &str = include_str!("style.css");
const ABSENT: &str = "–";

/// The page. All text of the results is escaped.
pub fn curves(all: &Curves) -> String {
    let mut out = Markup::default();
    let (rows, dim) = all.shape;
    let what = format!(
        "{}: {} vectors of {dim}, {}, {} queries, recall@{}",
        all.data,
        grouped(rows as u64),
        all.metric,
        grouped(all.queries as u64),
        all.k
    );
    let title = escape(&what);
    put!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>Nearest neighbours: speed at each recall</h1>\n\
         <p class=\"lead\">{title}</p>\n"
    );
    let machine = &all.machine;
    let date = all.date.replace('T', " ").replace('Z', " UTC");
    let place = format!("{}, {} cores, {} · {date}", machine.cpu, machine.cores, machine.simd);
    put!(out, "<p class=\"fine\">{}</p>\n</header>\n", escape(&place));
    put!(out, "<section class=\"plots\">\n");
    let threads =
        if all.threads == 1 { "1 thread".into() } else { format!("{} threads", all.threads) };
    panel(&mut out, "One query a call, one thread", &plot::curves(all, Calls::One));
    let batch = format!("All queries in one call, {threads}");
    panel(&mut out, &batch, &plot::curves(all, Calls::Batch));
    put!(out, "</section>\n");
    levels(&mut out, all);
    costs(&mut out, all);
    settings(&mut out, all);
    notes(&mut out, all);
    put!(out, "</main>\n</body>\n</html>\n");
    out.into_string()
}

fn panel(out: &mut Markup, title: &str, plot: &str) {
    if !plot.is_empty() {
        put!(
            out,
            "<figure>\n<h2>{}</h2>\n<figcaption>Up and right is better; settings that another \
             beats in both are left out.</figcaption>\n{plot}</figure>\n",
            escape(title)
        );
    }
}

fn name(out: &mut Markup, number: usize, engine: &Engine) {
    let (series, name) = (colour(number + 1), escape(&engine.name));
    put!(out, "<tr><th><span class=\"t{series}\">●</span> {name}</th>");
}

/// Queries a second of every engine at each recall.
fn levels(out: &mut Markup, all: &Curves) {
    put!(
        out,
        "<section>\n<h2>Queries a second at a recall</h2>\n<div class=\"wide\"><table>\n<thead><tr>\
         <th></th>"
    );
    for (what, calls) in [("one", Calls::One), ("batch", Calls::Batch)] {
        for level in LEVELS.iter().filter(|_| any(all, calls)) {
            put!(out, "<th>{level} <small>{what}</small></th>");
        }
    }
    put!(out, "</tr></thead>\n<tbody>\n");
    for (number, engine) in all.engines.iter().enumerate() {
        name(out, number, engine);
        for calls in [Calls::One, Calls::Batch].into_iter().filter(|&calls| any(all, calls)) {
            for level in LEVELS {
                let speed = speed_at(engine, calls, level);
                let speed = speed.map_or_else(|| ABSENT.to_owned(), |qps| grouped(qps as u64));
                put!(out, "<td>{speed}</td>");
            }
        }
        put!(out, "</tr>\n");
    }
    put!(out, "</tbody></table></div>\n</section>\n");
}

/// What the index of every engine costs, as far as it says so.
fn costs(out: &mut Markup, all: &Curves) {
    put!(
        out,
        "<section>\n<h2>What the index costs</h2>\n<div class=\"wide\"><table>\n<thead><tr>\
         <th></th><th>build, s</th><th>bytes a vector, on disk</th><th>searched</th></tr></thead>\n\
         <tbody>\n"
    );
    let shown = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| ABSENT.to_owned(), |value| format!("{value:.digits$}"))
    };
    for (number, engine) in all.engines.iter().enumerate() {
        name(out, number, engine);
        let (disk, hot) = (engine.bytes_per_vector, engine.bytes_per_vector_hot);
        let (build, disk, hot) = (shown(engine.build_s, 1), shown(disk, 1), shown(hot, 1));
        put!(out, "<td>{build}</td><td>{disk}</td><td>{hot}</td></tr>\n");
    }
    put!(out, "</tbody></table></div>\n</section>\n");
}

/// Whether anything was measured so.
fn any(all: &Curves, calls: Calls) -> bool {
    let mut points = all.engines.iter().flat_map(|engine| &engine.points);
    points.any(|point| calls.of(point).is_some())
}

/// Every setting that was measured.
fn settings(out: &mut Markup, all: &Curves) {
    put!(
        out,
        "<section>\n<h2>All settings</h2>\n<div class=\"wide\"><table>\n<thead><tr><th></th>\
         <th>setting</th><th>recall</th><th>one query a call, /s</th><th>one call, /s</th></tr>\
         </thead>\n<tbody>\n"
    );
    let speed = |qps: Option<f64>| qps.map_or_else(|| ABSENT.to_owned(), |q| grouped(q as u64));
    for (number, engine) in all.engines.iter().enumerate() {
        for point in &engine.points {
            name(out, number, engine);
            let (one, batch) = (speed(point.qps_one), speed(point.qps_batch));
            let param = escape(&point.param);
            let recall = point.recall;
            put!(out, "<td>{param}</td><td>{recall:.4}</td><td>{one}</td><td>{batch}</td></tr>\n");
        }
    }
    put!(out, "</tbody></table></div>\n</section>\n");
}

fn notes(out: &mut Markup, all: &Curves) {
    put!(
        out,
        "<footer>\n<h2>How this was measured</h2>\n<ul>\n<li>Recall is the mean share of the true \
         nearest neighbours among the {} returned. Medians of repeated runs in one process; \
         engines from other files ran apart, and only runs side by side on one machine \
         compare.</li>\n<li>Speeds at a recall lie on a straight line, in the logarithm, between \
         the two settings around it.</li>\n",
        all.k
    );
    if let Some(allowed) = all.allowed {
        let (count, rows) = (grouped(allowed as u64), grouped(all.shape.0 as u64));
        put!(out, "<li>Filtered: {count} of {rows} vectors may be found.</li>\n");
    }
    put!(out, "</ul>\n</footer>\n");
}
