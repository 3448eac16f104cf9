//! `kvant embed --model MODEL [TEXT…]`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use kvant_db::source::{Format, Record, npy};
use kvant_model::EmbedOptions;
use serde::Serialize;

use super::encoder;
use super::text::Origin;
use crate::args::Embed;
use crate::progress::{Audience, Progress, Unit};
use crate::{place, print, pull};

/// Texts embedded, and printed, at a time.
const CHUNK: usize = 4096;

/// What `--json` prints about `--out`.
#[derive(Serialize)]
struct Embedded<'a> {
    /// The new file.
    out: &'a Path,
    /// Vectors in it.
    texts: usize,
    /// Components of each.
    dim: usize,
    /// Time of everything, model loading included.
    seconds: f64,
    /// Speed of embedding alone: tokenization to vector, without loading and writing.
    texts_per_s: f64,
}

/// Where the vectors go.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// One array a line.
    Arrays,
    /// One object a line, as `import` reads it.
    Objects,
    /// One array of all.
    Npy,
}

pub(super) fn run(args: &Embed) -> anyhow::Result<()> {
    args.threads.hold()?;
    let began = Instant::now();
    let audience = Audience::of(args.json);
    let form = form(args)?;
    let (file, field) = (args.from.as_deref(), args.text_field.as_str());
    let origin = Origin { texts: &args.texts, file, flag: "--from", field };
    let mut records = origin.records()?;
    let total = records.total.map(|total| total as u64);
    let checkpoint = pull::open(&args.model, audience)?;
    let encoder = encoder::open(&checkpoint.with_compute(args.compute))?;
    let bar = Progress::new("embedding", total, Unit::Items, audience);
    let told = |count: usize| bar.advance(count as u64);
    let options = EmbedOptions {
        threads: args.threads.get(),
        batch_tokens: args.batch_tokens.unwrap_or(EmbedOptions::default().batch_tokens),
        progress: Some(&told),
        ..EmbedOptions::default()
    };
    let mut output =
        Output { form, out: args.out.as_deref(), numbers: Vec::new(), lines: String::new() };
    let mut count = 0;
    let mut embedding = Duration::ZERO;
    loop {
        let chunk: Vec<Record> = records.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
        if chunk.is_empty() {
            break;
        }
        let texts = chunk.iter().map(|record| record.text.as_deref().unwrap_or_default());
        let texts: Vec<&str> = texts.collect();
        let start = Instant::now();
        let vectors = encoder.embed(&texts, &options)?;
        embedding += start.elapsed();
        count += chunk.len();
        output.take(chunk, vectors, encoder.dim())?;
    }
    drop(bar);
    ensure!(count > 0, origin.nothing());
    let Some(out) = &args.out else { return Ok(()) };
    output.write(out, encoder.dim())?;
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        let texts_per_s = count as f64 / embedding.as_secs_f64().max(1e-9);
        let dim = encoder.dim();
        return print::json(&Embedded { out, texts: count, dim, seconds, texts_per_s });
    }
    let dim = encoder.dim();
    print::line(&format!("{}: {count} vectors of {dim}, {seconds:.1} s", out.display()))
}

fn form(args: &Embed) -> anyhow::Result<Form> {
    let Some(out) = &args.out else {
        return Ok(if args.json { Form::Objects } else { Form::Arrays });
    };
    place::new_file(out)?;
    match Format::of(out) {
        Some(Format::Npy) => Ok(Form::Npy),
        Some(Format::Jsonl) => Ok(Form::Objects),
        Some(_) | None => bail!("{}: vectors are written as .npy or .jsonl", out.display()),
    }
}

/// Vectors on their way out.
struct Output<'a> {
    form: Form,
    out: Option<&'a Path>,
    numbers: Vec<f32>,
    lines: String,
}

impl Output<'_> {
    fn take(&mut self, records: Vec<Record>, vectors: Vec<f32>, dim: usize) -> anyhow::Result<()> {
        match self.form {
            Form::Npy if self.numbers.is_empty() => self.numbers = vectors,
            Form::Npy => self.numbers.extend(vectors),
            Form::Arrays | Form::Objects => {
                for (record, vector) in records.into_iter().zip(vectors.chunks_exact(dim)) {
                    self.lines += &line(self.form, record, vector)?;
                    self.lines.push('\n');
                }
            }
        }
        if self.out.is_none() {
            print::all(&std::mem::take(&mut self.lines))?;
        }
        Ok(())
    }

    fn write(self, out: &Path, dim: usize) -> anyhow::Result<()> {
        let bytes = match self.form {
            Form::Npy => npy::encode(&self.numbers, dim),
            Form::Arrays | Form::Objects => self.lines.into_bytes(),
        };
        Ok(kvant_storage::write_new_file(out, &bytes)?)
    }
}

fn line(form: Form, record: Record, vector: &[f32]) -> anyhow::Result<String> {
    if form == Form::Arrays {
        return Ok(serde_json::to_string(vector)?);
    }
    let mut object = record.payload;
    if let Some(id) = record.id {
        object.insert("id".into(), serde_json::to_value(id)?);
    }
    let mut text = serde_json::to_string(&object)?;
    // Appended as text: a number goes out as the shortest f32, not as a double.
    text.truncate(text.len() - 1);
    Ok(format!("{text},\"vector\":{}}}", serde_json::to_string(vector)?))
}
