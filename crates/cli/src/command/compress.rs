//! `kvant compress MODEL --scheme S -o OUT`.

mod help;
mod plan;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use kvant_compress::{Report, Step, report_of};

use crate::args::{Compress, Schemes};
use crate::print::{self, Lean, Table};
use crate::progress::{Audience, Progress, Unit};
use crate::pull;

/// Tensors shown on the terminal.
const SHOWN: usize = 5;

pub(super) fn run(args: &Compress) -> anyhow::Result<()> {
    if let Some(Schemes::Help) = args.scheme {
        return print::all(&help::text());
    }
    let audience = Audience::of(args.json);
    let (model, out) = args.places()?;
    let model = pull::model(model, audience)?;
    let plan = plan::plan(args, &model, audience)?;
    // The total is known only once the model is open.
    let bar = Progress::new("encoding", Some(0), Unit::Items, audience);
    let before = Cell::new(0);
    let told = |step| match step {
        Step::Encoded { done, total, .. } => {
            bar.total(total);
            bar.advance(done - before.replace(done));
        }
        Step::Calibrating => bar.say("calibrating"),
        Step::Measured { done, total } => bar.say(&format!("measuring {done} of {total}")),
        Step::Saving => bar.say("saving"),
    };
    let report = kvant_compress::compress(&model, out, &plan, &told)?;
    drop(bar);
    if args.json {
        return print::json(&report);
    }
    print::all(&text(&report, out))
}

/// How many tensors each format got.
fn formats(report: &Report) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in report.tensors.iter().filter(|tensor| tensor.relative > 0.0) {
        *counts.entry(&tensor.format).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(format, count)| format!("{count} in {format}")).collect();
    counts.join(", ")
}

/// What became of the model, and the tensors that suffered most.
fn text(report: &Report, out: &Path) -> String {
    let mut coded: Vec<_> = report.tensors.iter().filter(|t| t.relative > 0.0).collect();
    coded.sort_by(|a, b| b.relative.total_cmp(&a.relative).then_with(|| a.name.cmp(&b.name)));
    let mut table = Table::new(&[
        ("largest errors", Lean::Left),
        ("format", Lean::Left),
        ("bits", Lean::Right),
        ("relative", Lean::Right),
        ("mean", Lean::Right),
        ("max", Lean::Right),
    ]);
    for tensor in coded.iter().take(SHOWN) {
        table.row(vec![
            tensor.name.clone(),
            tensor.format.clone(),
            format!("{:.2}", tensor.bits_per_weight),
            format!("{:.5}", tensor.relative),
            format!("{:.2e}", tensor.mean_abs),
            format!("{:.2e}", tensor.max_abs),
        ]);
    }
    let mut chosen = String::new();
    for settled in &report.settled {
        let measured = settled
            .measured
            .map_or("not measured: no text".to_owned(), |lost| format!("measured {lost:.5}"));
        let _ = writeln!(
            chosen,
            "{}: predicted {} {:.5}, {measured}; {}",
            settled.budget,
            settled.measure,
            settled.predicted,
            formats(report)
        );
    }
    format!(
        "{}: {} → {}, {:.2} times smaller, {:.2} bits per weight (was {:.2}), {:.1} s\n\n\
         {chosen}{table}\nAll {} tensors: {}\n",
        out.display(),
        print::size(report.size_bytes_before),
        print::size(report.size_bytes),
        report.ratio,
        report.bits_per_weight,
        report.bits_per_weight_before,
        report.seconds,
        report.tensors.len(),
        report_of(out).display(),
    )
}
