//! The report as one self-contained page: no script, no network, light or dark as the reader's.

use super::figure::{self, Words, bytes, percent, rate, rows, times};
use super::markup::{Markup, escape, put};
use super::plot::{self, Bar, bars, colour};
use super::{Answers, Entry, Example, Report};

const STYLE: &str = include_str!("style.css");

/// The page. All text of the report is escaped; plots of what was not measured are left out.
pub fn html(report: &Report) -> String {
    let mut out = Markup::default();
    let title = escape(&format!("What compression cost: {}", figure::summary(report)));
    put!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(&mut out, report);
    cards(&mut out, report);
    plots(&mut out, report);
    figures(&mut out, report);
    examples(&mut out, report);
    notes(&mut out, report);
    put!(out, "</main>\n</body>\n</html>\n");
    out.into_string()
}

fn head(out: &mut Markup, report: &Report) {
    put!(out, "<header>\n<h1>What compression cost</h1>\n");
    put!(out, "<p class=\"lead\">{}</p>\n", escape(&figure::summary(report)));
    let date = report.date.replace('T', " ").replace('Z', " UTC");
    put!(
        out,
        "<p class=\"fine\">{} · {}</p>\n</header>\n",
        escape(&figure::place(report)),
        escape(&date)
    );
}

/// One card per candidate: the four axes in a glance.
fn cards(out: &mut Markup, report: &Report) {
    let Some((base, candidates)) = report.models.split_first() else { return };
    if candidates.is_empty() {
        return;
    }
    put!(out, "<section class=\"cards\">\n");
    for (i, entry) in candidates.iter().enumerate() {
        let series = colour(i + 1);
        put!(
            out,
            "<article class=\"card c{series}\">\n<h2>{} <small>against {}</small></h2>\n<dl>\n",
            escape(&entry.label),
            escape(&base.label)
        );
        let ratio = entry.ratio.unwrap_or_default();
        let facts = [
            ("quality kept", entry.quality.kept.map(percent)),
            ("on disk", ratio.weights.map(|ratio| times(ratio, Words::Size))),
            ("one text", ratio.latency_p50.map(|ratio| times(ratio, Words::Time))),
            ("in batches", ratio.throughput.map(|ratio| times(ratio, Words::Rate))),
            ("peak memory", ratio.peak_memory.map(|ratio| times(ratio, Words::Amount))),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                let value = escape(&value);
                put!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>\n");
            }
        }
        put!(out, "</dl>\n</article>\n");
    }
    put!(out, "</section>\n");
}

/// The figure of one entry that a bar shows, its text, its ratio and single runs.
type Length<'a> = &'a dyn Fn(&Entry) -> Option<(f64, String, String, Vec<f64>)>;

fn plots(out: &mut Markup, report: &Report) {
    let chart = |title: &str, read: Length<'_>| {
        let bar = |(model, entry): (usize, &Entry)| {
            let (value, shown, note, runs) = read(entry)?;
            Some(Bar { model, label: entry.label.clone(), value, shown, note, runs })
        };
        bars(title, &report.models.iter().enumerate().filter_map(bar).collect::<Vec<_>>())
    };
    let note = |ratio: Option<f64>, words| ratio.map_or_else(String::new, |r| times(r, words));
    let disk = chart("Weights on disk", &|entry| {
        let size = entry.size.weights_bytes?;
        let note = note(entry.ratio.and_then(|ratio| ratio.weights), Words::Size);
        Some((size as f64, bytes(size), note, Vec::new()))
    });
    let memory = chart("Peak memory of a process", &|entry| {
        let peak = entry.memory?.peak_bytes;
        let note = note(entry.ratio.and_then(|ratio| ratio.peak_memory), Words::Amount);
        Some((peak as f64, bytes(peak), note, Vec::new()))
    });
    let throughput = chart("Texts per second in batches", &|entry| {
        let measured = entry.throughput.as_ref()?;
        let note = note(entry.ratio.and_then(|ratio| ratio.throughput), Words::Rate);
        let shown = rate(measured.texts_per_s);
        Some((measured.texts_per_s, shown, note, measured.runs.clone()))
    });
    put!(out, "<section class=\"plots\">\n");
    let metric = &report.task.metric;
    let quality = format!(
        "Points high and left are good. Whiskers: 95 % of the difference to the baseline; \
         the {metric} axis does not begin at 0."
    );
    panel(out, "Quality against size", &quality, &plot::scatter(report));
    let times = "Each curve is every call: steep is steady, further left is faster.";
    panel(out, "Time of one text", times, &plot::latencies(report));
    put!(out, "<div class=\"stack\">\n");
    panel(out, "Weights on disk", "Shorter is better.", &disk);
    panel(out, "Peak memory of a process", "Loading and embedding; shorter is better.", &memory);
    let batches = "Longer is better; dots are single runs.";
    panel(out, "Texts per second in batches", batches, &throughput);
    put!(out, "</div>\n");
    let errors = "Error of the weights before anything is computed with them; names on hover.";
    // As high as the bars beside it: a bar is 42 high, what surrounds a panel about 95.
    let beside = [&disk, &memory, &throughput].iter().filter(|bars| !bars.is_empty()).count();
    let height = beside as f64 * (95.0 + 42.0 * report.models.len() as f64) - 160.0;
    panel(out, "Error of each tensor", errors, &plot::tensors(report, height));
    put!(out, "</section>\n");
}

fn panel(out: &mut Markup, title: &str, caption: &str, plot: &str) {
    if !plot.is_empty() {
        let caption = escape(caption);
        put!(
            out,
            "<figure>\n<h2>{title}</h2>\n<figcaption>{caption}</figcaption>\n{plot}</figure>\n"
        );
    }
}

fn figures(out: &mut Markup, report: &Report) {
    put!(out, "<section>\n<h2>All figures</h2>\n<div class=\"wide\"><table>\n<thead><tr><th></th>");
    for (i, entry) in report.models.iter().enumerate() {
        let role = if i == 0 { " <small>baseline</small>" } else { "" };
        let (series, label) = (colour(i), escape(&entry.label));
        put!(out, "<th><span class=\"t{series}\">●</span> {label}{role}</th>");
    }
    put!(out, "</tr></thead>\n");
    let mut last = "";
    for row in rows(report) {
        if row.axis != last {
            let span = report.models.len() + 1;
            put!(out, "<tbody><tr class=\"axis\"><th colspan=\"{span}\">{}</th></tr>\n", row.axis);
            last = row.axis;
        }
        put!(out, "<tr><th>{}</th>", escape(&row.name));
        for cell in &row.cells {
            put!(out, "<td>{}<small>{}</small></td>", escape(&cell.value), escape(&cell.note));
        }
        put!(out, "</tr>\n");
    }
    put!(out, "</table></div>\n</section>\n");
}

fn examples(out: &mut Markup, report: &Report) {
    if report.examples.is_empty() {
        return;
    }
    put!(out, "<section>\n<h2>What each model finds</h2>\n");
    put!(
        out,
        "<p class=\"fine\">Marked: answers the baseline does not give at this place. Arrows say \
         how far an answer moved; <b class=\"new\">new</b> is one it does not give at all.</p>\n"
    );
    for example in &report.examples {
        put!(
            out,
            "<article class=\"example\">\n<h3>{}</h3>\n<div class=\"answers\">\n",
            escape(&example.query)
        );
        for answers in &example.answers {
            let model = report.models.iter().position(|entry| entry.label == answers.label);
            answer_list(out, example, answers, model.unwrap_or(0));
        }
        put!(out, "</div>\n</article>\n");
    }
    put!(out, "</section>\n");
}

fn answer_list(out: &mut Markup, example: &Example, answers: &Answers, model: usize) {
    let baseline = example.answers.first().map(|first| &first.found[..]).unwrap_or_default();
    let place = |id: &str| baseline.iter().position(|answer| answer.id == id);
    let kept = answers.found.iter().filter(|answer| place(&answer.id).is_some()).count();
    let (series, label) = (colour(model), escape(&answers.label));
    put!(out, "<div><h4><span class=\"t{series}\">●</span> {label}");
    if model > 0 {
        put!(out, " <small>{kept} of {} as the baseline</small>", baseline.len());
    }
    put!(out, "</h4>\n<ol>\n");
    for (rank, answer) in answers.found.iter().enumerate() {
        let (class, mark) = match place(&answer.id) {
            None => (" class=\"moved\"", "<b class=\"new\">new</b> ".to_owned()),
            Some(was) if was > rank => (" class=\"moved\"", format!("<b>↑{}</b> ", was - rank)),
            Some(was) if was < rank => (" class=\"moved\"", format!("<b>↓{}</b> ", rank - was)),
            Some(_) => ("", String::new()),
        };
        let (id, text) = (escape(&answer.id), escape(&answer.text));
        put!(
            out,
            "<li{class} title=\"{id}\">{mark}{text} <small>{:.3}</small></li>\n",
            answer.score
        );
    }
    put!(out, "</ol></div>\n");
}

/// How the figures were taken, so that they can be judged.
fn notes(out: &mut Markup, report: &Report) {
    let timing = &report.timing;
    put!(out, "<footer>\n<h2>How this was measured</h2>\n<ul>\n");
    put!(
        out,
        "<li>All models ran in one process on the same texts, in turns of alternating order, so \
         that a machine growing slower does so for each alike: {} rounds, batches of {} texts, {} \
         thread(s). Calls at the start of a turn are not counted.</li>\n\
         <li>p50 and p99 are nearest-rank percentiles; throughput is the median of the rounds.\
         </li>\n<li>Memory is the resident set of a process of its own per model, which loads it \
         and embeds texts of the task.</li>\n\
         <li>Intervals are a paired bootstrap over the units of the task.</li>\n",
        timing.rounds,
        timing.batch_texts,
        timing.threads
    );
    for entry in &report.models {
        if let Some(path) = &entry.path {
            put!(out, "<li>{}: <code>{}</code></li>\n", escape(&entry.label), escape(path));
        }
    }
    put!(out, "<li>Data: <code>{}</code>", escape(&report.task.data));
    if let Some(test) = &report.task.test {
        put!(out, ", <code>{}</code>", escape(test));
    }
    put!(out, "</li>\n</ul>\n</footer>\n");
}
