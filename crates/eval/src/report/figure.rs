//! Figures as people read them: the rows that table and page have in common.

use super::{Entry, Report};

/// One figure of every model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The axis it belongs to.
    pub(super) axis: &'static str,
    /// What it is.
    pub(super) name: String,
    /// Per model.
    pub(super) cells: Vec<Cell>,
}

/// One figure of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    /// With its unit; `–` where it was not measured.
    pub(super) value: String,
    /// Against the baseline; empty for it.
    pub(super) note: String,
}

/// Which words compare two figures.
#[derive(Clone, Copy)]
pub(super) enum Words {
    /// A larger ratio is slower.
    Time,
    /// A larger ratio is faster.
    Rate,
    /// A larger ratio is larger.
    Size,
    /// A larger ratio is more.
    Amount,
}

const ABSENT: &str = "–";

/// Every figure measured of at least one model, in the order of the axes.
pub(super) fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    quality(report, &mut rows);
    speed(report, &mut rows);
    size(report, &mut rows);
    memory(report, &mut rows);
    rows.retain(|row| row.cells.iter().any(|cell| cell.value != ABSENT));
    rows
}

fn quality(report: &Report, rows: &mut Vec<Row>) {
    let mut add = row_adder("quality", report, rows);
    add(&report.task.metric, &|entry| {
        let kept =
            entry.quality.kept.map_or_else(String::new, |kept| format!("{} kept", percent(kept)));
        Some((format!("{:.4}", entry.quality.score), kept))
    });
    add("difference", &|entry| Some((signed(entry.quality.difference?.value), String::new())));
    add("95 % interval", &|entry| {
        let difference = entry.quality.difference?;
        let (low, high) = (signed(difference.low), signed(difference.high));
        Some((low, format!("to {high}")))
    });
    let names = report.models.first().map(|entry| &entry.quality.scores[..]).unwrap_or_default();
    for score in names {
        add(&score.name, &|entry| {
            let same = entry.quality.scores.iter().find(|other| other.name == score.name)?;
            Some((format!("{:.4}", same.value), String::new()))
        });
    }
    let plain = |value: f64| Some((format!("{value:.4}"), String::new()));
    add("cosine to baseline", &|entry| plain(entry.quality.agreement?.mean));
    add("cosine, 1st percentile", &|entry| plain(entry.quality.agreement?.p1));
    add("cosine, least", &|entry| plain(entry.quality.agreement?.min));
    add("neighbours kept", &|entry| Some((percent(entry.quality.overlap?), String::new())));
}

fn speed(report: &Report, rows: &mut Vec<Row>) {
    let mut add = row_adder("speed", report, rows);
    let note = |ratio: Option<f64>, words| ratio.map_or_else(String::new, |r| times(r, words));
    add("one text, p50", &|entry| {
        let ratio = entry.ratio.and_then(|ratio| ratio.latency_p50);
        Some((milliseconds(entry.latency.as_ref()?.p50_ms), note(ratio, Words::Time)))
    });
    add("one text, p99", &|entry| {
        let ratio = entry.ratio.and_then(|ratio| ratio.latency_p99);
        Some((milliseconds(entry.latency.as_ref()?.p99_ms), note(ratio, Words::Time)))
    });
    add("in batches", &|entry| {
        let ratio = entry.ratio.and_then(|ratio| ratio.throughput);
        Some((rate(entry.throughput.as_ref()?.texts_per_s), note(ratio, Words::Rate)))
    });
    add("tokens per text", &|entry| {
        Some((format!("{:.1}", entry.compute?.tokens_per_text), String::new()))
    });
    add("MACs per text", &|entry| {
        let ratio = entry.ratio.and_then(|ratio| ratio.macs);
        Some((scaled(entry.compute?.macs_per_text), note(ratio, Words::Amount)))
    });
}

fn size(report: &Report, rows: &mut Vec<Row>) {
    let mut add = row_adder("size", report, rows);
    let note = |ratio: Option<f64>, words| ratio.map_or_else(String::new, |r| times(r, words));
    add("weights on disk", &|entry| {
        let ratio = entry.ratio.and_then(|ratio| ratio.weights);
        Some((bytes(entry.size.weights_bytes?), note(ratio, Words::Size)))
    });
    add("whole directory", &|entry| {
        let ratio = entry.ratio.and_then(|ratio| ratio.directory);
        Some((bytes(entry.size.directory_bytes?), note(ratio, Words::Size)))
    });
    add("weights", &|entry| Some((scaled(entry.size.parameters? as f64), String::new())));
    add("bits per weight", &|entry| {
        Some((format!("{:.2}", entry.size.bits_per_weight?), String::new()))
    });
}

fn memory(report: &Report, rows: &mut Vec<Row>) {
    let mut add = row_adder("memory", report, rows);
    let note = |ratio: Option<f64>, words| ratio.map_or_else(String::new, |r| times(r, words));
    add("weights loaded", &|entry| Some((bytes(entry.size.loaded_bytes?), String::new())));
    add("process, loaded", &|entry| Some((bytes(entry.memory?.loaded_bytes), String::new())));
    add("process, peak", &|entry| {
        let ratio = entry.ratio.and_then(|ratio| ratio.peak_memory);
        Some((bytes(entry.memory?.peak_bytes), note(ratio, Words::Amount)))
    });
}

type Reader<'a> = &'a dyn Fn(&Entry) -> Option<(String, String)>;

fn row_adder<'a>(
    axis: &'static str,
    report: &'a Report,
    rows: &'a mut Vec<Row>,
) -> impl FnMut(&str, Reader<'_>) + 'a {
    move |name, read| {
        let cell = |entry| {
            let read = read(entry).map(|(value, note)| Cell { value, note });
            read.unwrap_or_else(|| Cell { value: ABSENT.into(), note: String::new() })
        };
        rows.push(Row { axis, name: name.into(), cells: report.models.iter().map(cell).collect() });
    }
}

/// A ratio to the baseline in words, such as `3.9× smaller`.
pub(super) fn times(ratio: f64, words: Words) -> String {
    let (more, less) = match words {
        Words::Time => ("slower", "faster"),
        Words::Rate => ("faster", "slower"),
        Words::Size => ("larger", "smaller"),
        Words::Amount => ("more", "less"),
    };
    if !(ratio.is_finite() && ratio > 0.0) {
        return ABSENT.into();
    }
    if (ratio - 1.0).abs() < 0.005 {
        return "the same".into();
    }
    let (factor, word) = if ratio > 1.0 { (ratio, more) } else { (1.0 / ratio, less) };
    let factor = if factor < 10.0 { format!("{factor:.2}") } else { format!("{factor:.0}") };
    format!("{factor}× {word}")
}

/// A share in percent, finer where it is near the whole.
pub(super) fn percent(share: f64) -> String {
    if share >= 0.99 {
        format!("{:.2} %", share * 100.0)
    } else {
        format!("{:.1} %", share * 100.0)
    }
}

/// Bytes in decimal units.
pub(super) fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        c if c >= 1e9 => format!("{:.2} GB", c / 1e9),
        c if c >= 1e6 => format!("{:.1} MB", c / 1e6),
        c if c >= 1e3 => format!("{:.1} kB", c / 1e3),
        c => format!("{c:.0} B"),
    }
}

pub(super) fn milliseconds(ms: f64) -> String {
    if ms >= 100.0 { format!("{ms:.0} ms") } else { format!("{ms:.2} ms") }
}

pub(super) fn rate(per_s: f64) -> String {
    if per_s >= 100.0 { format!("{} /s", grouped(per_s as u64)) } else { format!("{per_s:.1} /s") }
}

/// A count with three digits and the letter of its thousands.
fn scaled(count: f64) -> String {
    match count {
        c if c >= 1e9 => format!("{:.2} G", c / 1e9),
        c if c >= 1e6 => format!("{:.1} M", c / 1e6),
        c if c >= 1e3 => format!("{:.1} k", c / 1e3),
        c => format!("{c:.0}"),
    }
}

/// A count with its thousands apart.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Four digits with a sign always there, a true minus among them.
fn signed(value: f64) -> String {
    let text = format!("{value:+.4}");
    if text == "-0.0000" { "+0.0000".into() } else { text.replace('-', "−") }
}

/// What was asked, in one line.
pub(super) fn summary(report: &Report) -> String {
    let units = match report.task.kind.as_str() {
        "sts" => "pairs",
        "retrieval" => "queries",
        _ => "test texts",
    };
    let file = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
    let mut data = file(&report.task.data);
    if let Some(test) = &report.task.test {
        data = format!("{data}, {}", file(test));
    }
    let (n, texts) = (grouped(report.task.n as u64), grouped(report.task.texts as u64));
    format!("{} on {data}: {n} {units}, {texts} texts", report.task.kind)
}

/// Where it was measured, in one line.
pub(super) fn place(report: &Report) -> String {
    let machine = &report.machine;
    let cores = machine.cores;
    let threads = report.timing.threads;
    format!(
        "{}, {cores} core{}, {}, {threads} thread{}",
        machine.cpu,
        if cores == 1 { "" } else { "s" },
        machine.simd,
        if threads == 1 { "" } else { "s" },
    )
}
