//! `kvant import COLLECTION --from FILE`.

mod settings;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use kvant_db::source::{Fields, Record, Source};
use kvant_db::{Collection, OpenError, Point, PointId, Settings};
use kvant_model::{EmbedOptions, Encoder};
use serde::Serialize;
use serde_json::{Map, Value};

use super::encoder;
use crate::args::Import;
use crate::progress::{Audience, Progress, Unit};
use crate::{place, print, pull};

/// What `--json` prints.
#[derive(Serialize)]
struct Imported<'a> {
    /// The collection's directory.
    collection: &'a Path,
    /// Records of the file.
    records: usize,
    /// Points written, new or changed.
    written: usize,
    /// Records that were there already.
    skipped: usize,
    /// Points in the collection now.
    points: usize,
    /// Time of it all, model loading included.
    seconds: f64,
}

pub(super) fn run(args: &Import) -> anyhow::Result<()> {
    let began = Instant::now();
    let audience = Audience::of(args.json);
    let collection = if args.collection.join("manifest").is_dir() {
        match Collection::open(&args.collection) {
            // Killed before its first manifest: there is nothing in it yet.
            Err(OpenError::Missing { .. }) => None,
            other => Some(other?),
        }
    } else {
        None
    };
    let stored = collection.as_ref().map(Collection::settings);
    if let Some(stored) = stored {
        settings::agree(args, stored)?;
    }
    let fields = settings::fields(args, stored);
    let source = Source::open(&args.from, &fields)?;
    let model = match stored {
        Some(stored) => stored.model.clone(),
        None => args.model.as_deref().map(settings::model_name).transpose()?,
    };
    let bar =
        Progress::new("importing", source.len_hint().map(|n| n as u64), Unit::Items, audience);
    let mut job = Job {
        args,
        collection,
        model,
        encoder: None,
        audience,
        bar,
        named: None,
        rows: 0,
        written: 0,
        skipped: 0,
    };
    job.all(source).map_err(|error| job.resumable(error))?;
    let Job { collection, bar, rows, written, skipped, .. } = job;
    let Some(mut collection) = collection else {
        bail!("{}: no records in it", args.from.display());
    };
    if written > 0 {
        bar.say("indexing");
        collection.flush()?;
    }
    drop(bar);
    let points = collection.len();
    let seconds = began.elapsed().as_secs_f64();
    let shown = &args.collection;
    if args.json {
        let records = rows;
        let collection = shown;
        return print::json(&Imported { collection, records, written, skipped, points, seconds });
    }
    print::line(&format!(
        "{}: {written} written, {skipped} there already, {points} points, {seconds:.1} s",
        shown.display()
    ))
}

/// One import on its way.
struct Job<'a> {
    args: &'a Import,
    /// Made with the first batch, so that a broken file leaves nothing.
    collection: Option<Collection>,
    model: Option<String>,
    /// Loaded when the first text needs it.
    encoder: Option<Encoder>,
    audience: Audience,
    bar: Progress,
    /// Whether the records bring identifiers, once the first was read.
    named: Option<bool>,
    /// Records read.
    rows: usize,
    written: usize,
    skipped: usize,
}

/// A record that must be written.
struct Fresh {
    id: PointId,
    text: Option<String>,
    vector: Option<Vec<f32>>,
    payload: Map<String, Value>,
}

impl Job<'_> {
    fn all(&mut self, mut source: Source) -> anyhow::Result<()> {
        loop {
            let mut batch = Vec::with_capacity(self.args.batch);
            let mut ended = false;
            while batch.len() < self.args.batch {
                let Some(record) = source.next() else {
                    ended = true;
                    break;
                };
                let place = || format!("{}: {}", source.path().display(), source.place());
                if let Some(fresh) = self.judge(record?).with_context(place)? {
                    batch.push(fresh);
                } else {
                    self.skipped += 1;
                    self.bar.advance(1);
                }
            }
            self.write(batch)?;
            if ended {
                return Ok(());
            }
        }
    }

    /// What to do with a record; `None` if it is there, just like this.
    fn judge(&mut self, record: Record) -> anyhow::Result<Option<Fresh>> {
        let row = self.rows;
        self.rows += 1;
        // A row number could be the identifier of another record.
        ensure!(
            *self.named.get_or_insert(record.id.is_some()) == record.id.is_some(),
            "some records have an identifier and some have none; give one to all or to none"
        );
        let id = record.id.unwrap_or(PointId::Number(row as u64));
        if record.vector.is_none() {
            ensure!(
                record.text.is_some(),
                "neither text nor vector; name their fields with \
                --text-field and --vector-field"
            );
            ensure!(self.model.is_some(), "a text without a vector; name an encoder with --model");
        }
        let text = if record.vector.is_some() { None } else { record.text };
        let fresh = Fresh { id, text, vector: record.vector, payload: record.payload };
        let Some(collection) = &self.collection else { return Ok(Some(fresh)) };
        let dim = collection.settings().dim;
        if let Some(got) = fresh.vector.as_ref().map(Vec::len).filter(|&got| got != dim) {
            bail!("a vector of dimension {got}, the collection has {dim}");
        }
        Ok(if is_there(collection, &fresh)? { None } else { Some(fresh) })
    }

    /// Embeds what has no vector and writes all of it durably.
    fn write(&mut self, batch: Vec<Fresh>) -> anyhow::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let count = batch.len();
        let points = self.embed(batch)?;
        let shown = || self.args.from.display().to_string();
        if self.collection.is_none() {
            let dim = points.first().map_or(0, |point| point.vector.len());
            if let Some(odd) = points.iter().find(|point| point.vector.len() != dim) {
                let got = odd.vector.len();
                bail!("{}: point {} has {got} components, the first has {dim}", shown(), odd.id);
            }
            self.create(dim)?;
        }
        let Some(collection) = &mut self.collection else { return Ok(()) };
        collection.upsert(points).with_context(shown)?;
        self.written += count;
        Ok(())
    }

    fn embed(&mut self, batch: Vec<Fresh>) -> anyhow::Result<Vec<Point>> {
        let texts: Vec<&str> = batch.iter().filter_map(|fresh| fresh.text.as_deref()).collect();
        let mut vectors = Vec::new();
        let mut dim = 1;
        if !texts.is_empty() {
            let encoder = self.encoder.take();
            let encoder = encoder.map_or_else(|| self.load(), Ok)?;
            let told = |count: usize| self.bar.advance(count as u64);
            let threads = self.args.threads.get();
            let options = EmbedOptions { threads, progress: Some(&told), ..Default::default() };
            vectors = encoder.embed(&texts, &options)?;
            dim = encoder.dim();
            self.encoder = Some(encoder);
        }
        self.bar.advance((batch.len() - texts.len()) as u64);
        let mut embedded = vectors.chunks_exact(dim);
        let point = |fresh: Fresh| Point {
            id: fresh.id,
            vector: fresh
                .vector
                .unwrap_or_else(|| embedded.next().map(<[f32]>::to_vec).unwrap_or_default()),
            payload: fresh.payload,
        };
        Ok(batch.into_iter().map(point).collect())
    }

    fn load(&self) -> anyhow::Result<Encoder> {
        let model = self.model.as_deref().context("no model")?;
        let encoder = encoder::open(&pull::open(model, self.audience)?)?;
        if let Some(collection) = &self.collection {
            let (dim, got) = (collection.settings().dim, encoder.dim());
            ensure!(dim == got, "{model}: gives {got} components, the collection has {dim}");
        }
        Ok(encoder)
    }

    fn create(&mut self, dim: usize) -> anyhow::Result<()> {
        let args = self.args;
        let parent = args.collection.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("{}: cannot create", parent.display()))?;
        }
        place::writable_folder(&args.collection)?;
        let settings = Settings {
            model: self.model.clone(),
            id_field: args.id_field.clone(),
            text_field: args
                .text_field
                .clone()
                .or_else(|| self.model.is_some().then(|| Fields::default().text)),
            vector_field: args.vector_field.clone(),
            ..Settings::new(
                args.metric.unwrap_or(settings::METRIC),
                dim,
                args.index.unwrap_or_default(),
            )
        };
        self.collection = Some(Collection::create(&args.collection, settings)?);
        Ok(())
    }

    /// Adds what is safe already.
    fn resumable(&self, error: anyhow::Error) -> anyhow::Error {
        let safe = self.written + self.skipped;
        if self.written == 0 {
            return error;
        }
        let line = crate::failure::line(&error);
        anyhow::anyhow!("{line}; {safe} records are stored, repeat the import to go on")
    }
}

/// Whether the collection holds the very same record. The text is part of the payload, so an
/// equal payload means an equal text and it need not be embedded again.
fn is_there(collection: &Collection, fresh: &Fresh) -> anyhow::Result<bool> {
    if !collection.contains(&fresh.id) {
        return Ok(false);
    }
    let Some(point) = collection.get(&fresh.id)? else { return Ok(false) };
    let same_vector = fresh.vector.as_ref().is_none_or(|vector| {
        let mut vector = vector.clone();
        collection.settings().metric.prepare(&mut vector);
        vector == point.vector
    });
    Ok(same_vector && point.payload == fresh.payload)
}
