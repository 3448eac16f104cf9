//! `kvant perplexity MODEL --text FILE`.

use std::cell::Cell;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use kvant_db::source::{Format, npy};
use kvant_eval::perplexity::{Divergence, Estimate};
use kvant_eval::{PerplexityOptions, perplexity};
use kvant_model::{Compute, Decoder, ForwardOptions};

use crate::args::Perplexity;
use crate::place;
use crate::print;
use crate::progress::{Audience, Progress, Unit};
use crate::pull;

pub(super) fn run(args: &Perplexity) -> anyhow::Result<()> {
    args.threads.hold()?;
    let audience = Audience::of(args.json);
    if let Some(out) = &args.logits {
        ensure!(
            Format::of(out) == Some(Format::Npy),
            "{}: logits are written as .npy",
            out.display()
        );
        place::new_file(out)?;
    }
    let text = read(&args.text)?;
    let load = |model: &str, compute: Compute| {
        let checkpoint = pull::open(model, audience)?;
        Ok::<_, anyhow::Error>(Decoder::open(&checkpoint.with_compute(compute))?)
    };
    let model = load(&args.model, args.compute)?;
    let exact = |reference| load(reference, Compute::Float32);
    let reference = args.against.as_deref().map(exact).transpose()?;
    let (bar, before) = (Progress::new("scoring", None, Unit::Items, audience), Cell::new(0));
    let progress = |done: usize, all: usize| {
        bar.total(all as u64);
        bar.advance((done - before.replace(done)) as u64);
    };
    let options = PerplexityOptions {
        context: args.context,
        chunks: args.chunks,
        threads: args.threads.get(),
        progress: Some(&progress),
        ..PerplexityOptions::default()
    };
    let found = perplexity(&model, reference.as_ref(), &text, &options)?;
    drop(bar);
    if let Some(out) = &args.logits {
        let tokens = first_window(&model, &text, args.context)?;
        let options = ForwardOptions { threads: args.threads.get(), ..ForwardOptions::default() };
        let logits = model.logits(&tokens, options)?;
        kvant_storage::write_new_file(out, &npy::encode(&logits, model.vocabulary()))?;
    }
    if args.json {
        return print::json(&found);
    }
    let mut lines = String::new();
    let kvant_eval::Perplexity { scored, chunks, context, .. } = found;
    let figure = pair(found.perplexity, 4);
    writeln!(lines, "perplexity            {figure}")?;
    if let Some(against) = &found.against {
        lines.push_str(&compared(against)?);
    }
    writeln!(lines, "{scored} tokens scored in {chunks} windows of {context}")?;
    print::all(&lines)
}

/// The first `context` tokens of `text` as they are scored: those that begin every text in front.
fn first_window(model: &Decoder, text: &str, context: usize) -> anyhow::Result<Vec<u32>> {
    let mut tokens = model.tokenize(text)?;
    tokens.truncate(context);
    let prefix = model.prefix();
    let replaced = prefix.len().min(tokens.len());
    tokens[..replaced].copy_from_slice(&prefix[..replaced]);
    Ok(tokens)
}

fn compared(against: &Divergence) -> anyhow::Result<String> {
    let mut lines = String::new();
    writeln!(lines, "perplexity, reference {}", pair(against.reference, 4))?;
    writeln!(lines, "ratio                 {}", pair(against.ratio, 5))?;
    writeln!(lines, "KL divergence, mean   {}", pair(against.mean, 6))?;
    writeln!(lines, "               median {:.6}", against.median)?;
    writeln!(lines, "               99 %   {:.6}", against.p99)?;
    writeln!(lines, "               max    {:.6}", against.max)?;
    let percent = |share: f64| 100.0 * share;
    let Estimate { value, error } = against.same_top;
    let same = Estimate { value: percent(value), error: percent(error) };
    writeln!(lines, "same top token        {} %", pair(same, 3))?;
    Ok(lines)
}

fn pair(estimate: Estimate, digits: usize) -> String {
    format!("{:.digits$} ± {:.digits$}", estimate.value, estimate.error)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = kvant_storage::read_file(path)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.with_context(|| format!("{}: not UTF-8 text", path.display()))?;
    Ok(text.to_owned())
}
