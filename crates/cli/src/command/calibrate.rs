//! `kvant calibrate MODEL --text FILE… -o OUT`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use kvant_compress::{CalibrateOptions, Calibration};
use kvant_model::Checkpoint;
use serde::Serialize;

use crate::args::Calibrate;
use crate::progress::{Audience, Progress, Unit};
use crate::{print, pull};

/// Bytes of all texts together.
const TEXT_BYTES_MAX: u64 = 1 << 30;
/// Bytes from which a paragraph is cut at the ends of its sentences.
const PARAGRAPH: usize = 800;

/// What `--json` prints.
#[derive(Serialize)]
struct Calibrated<'a> {
    /// The new file.
    out: &'a Path,
    /// Inputs of linear layers seen.
    inputs: usize,
    /// Tokens seen.
    tokens: u64,
    /// Time of everything.
    seconds: f64,
}

pub(super) fn run(args: &Calibrate) -> anyhow::Result<()> {
    let began = Instant::now();
    for out in [Some(&args.out), args.imatrix.as_ref()].into_iter().flatten() {
        refuse(out)?;
    }
    let audience = Audience::of(args.json);
    let model = pull::model(&args.model, audience)?;
    let mut texts = Vec::new();
    for file in &args.texts {
        texts.extend(read(file)?);
    }
    let options = CalibrateOptions {
        threads: args.threads.get(),
        tokens: args.tokens.unwrap_or(CalibrateOptions::default().tokens),
        ..CalibrateOptions::default()
    };
    let calibration = collect(&model, &texts, &options, audience)?;
    calibration.save(&args.out)?;
    if let Some(path) = &args.imatrix {
        calibration.write_imatrix(path, &Checkpoint::open(&model)?)?;
    }
    let tokens = calibration.inputs.first().map_or(0, |input| input.count);
    let (inputs, seconds) = (calibration.inputs.len(), began.elapsed().as_secs_f64());
    if args.json {
        return print::json(&Calibrated { out: &args.out, inputs, tokens, seconds });
    }
    let out = args.out.display();
    print::line(&format!("{out}: {inputs} inputs over {tokens} tokens, {seconds:.1} s"))
}

/// Refuses an output that would overwrite a file or could not be written, before any work.
fn refuse(out: &Path) -> anyhow::Result<()> {
    let shown = out.display();
    ensure!(
        out.symlink_metadata().is_err(),
        "{shown} exists already: remove it or choose another name"
    );
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let there = parent.is_none_or(Path::is_dir);
    ensure!(there, "{shown}: there is no such directory: make it first");
    Ok(())
}

/// What the layers of `model` get to see of `texts`, with a bar for a person.
pub(super) fn collect(
    model: &Path,
    texts: &[String],
    options: &CalibrateOptions<'_>,
    audience: Audience,
) -> anyhow::Result<Calibration> {
    let bar = Progress::new("calibrating", Some(0), Unit::Items, audience);
    let before = std::sync::atomic::AtomicU64::new(0);
    let told = |done: usize, total: usize| {
        bar.total(total as u64);
        let before = before.swap(done as u64, std::sync::atomic::Ordering::Relaxed);
        bar.advance((done as u64).saturating_sub(before));
    };
    let told = CalibrateOptions { progress: Some(&told), ..*options };
    let calibration = Calibration::collect(model, texts, &told)?;
    drop(bar);
    let tokens = calibration.inputs.first().map_or(0, |input| input.count);
    let widest = calibration.inputs.iter().map(|input| input.dim as u64).max().unwrap_or(0);
    if tokens < widest.max(options.tokens as u64 / 2) {
        eprintln!(
            "warning: {tokens} tokens are few; give about {} for sure results",
            options.tokens
        );
    }
    Ok(calibration)
}

/// The paragraphs of a text file, or its lines where no line is empty; long ones in parts that
/// end with a sentence.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let name = || path.display().to_string();
    let size = path.metadata().with_context(name)?.len();
    ensure!(size <= TEXT_BYTES_MAX, "{}: more than 1 GiB of text", path.display());
    let bytes = std::fs::read(path).with_context(name)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{}: not UTF-8", name()))?;
    let texts = paragraphs(&text.replace("\r\n", "\n"));
    ensure!(!texts.is_empty(), "{}: no text", path.display());
    Ok(texts)
}

fn paragraphs(text: &str) -> Vec<String> {
    let separator = if text.trim().contains("\n\n") { "\n\n" } else { "\n" };
    let mut texts = Vec::new();
    for paragraph in text.split(separator) {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut part = String::new();
        for sentence in paragraph.split_inclusive(". ") {
            if !part.is_empty() && part.len() + sentence.len() > PARAGRAPH {
                texts.push(std::mem::take(&mut part));
            }
            part.push_str(sentence);
        }
        texts.push(part);
    }
    texts.retain(|text| !text.trim().is_empty());
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_paragraphs_or_lines() {
        assert_eq!(paragraphs("a\nb\n"), ["a", "b"]);
        assert_eq!(paragraphs("a\nb\n\nc\n\n\n\n"), ["a b", "c"]);
        assert!(paragraphs(" \n\n ").is_empty());
        let long = "One two three. ".repeat(100);
        let parts = paragraphs(&long);
        assert!(parts.len() == 2 && parts.iter().all(|part| part.len() <= PARAGRAPH));
        assert_eq!(parts.concat(), long.trim());
    }
}
