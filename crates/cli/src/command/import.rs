//! `kvant import DATA --from FILE`.

mod settings;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use kvant_db::source::{Record, Source};
use kvant_db::{
    CatalogError, Change, Collection, Database, OpenError, Point, PointId, Vector, Vectors,
};
use kvant_model::{EmbedOptions, Encoder};
use serde::Serialize;
use serde_json::{Map, Value};

use super::encoder;
use crate::args::Import;
use crate::progress::{Audience, Progress, Unit};
use crate::store::{self, Notes};
use crate::{place, print, pull};

/// Pieces of work in the background that an import waits for at most: each seals or merges.
const PIECES_MAX: usize = 1000;

/// What `--json` prints.
#[derive(Serialize)]
struct Imported<'a> {
    /// The data directory.
    data: &'a Path,
    /// The collection.
    collection: &'a str,
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
    let name = args.stored.collection.as_deref().unwrap_or(store::DEFAULT);
    let (database, collection) = there(&args.stored.data, name)?;
    let shown = store::shown(&args.stored.data, name);
    let mut notes = Notes::default();
    if let Some(collection) = &collection {
        let config = collection.config();
        settings::agree(args, &config).with_context(|| shown.clone())?;
        notes = Notes::of(&config);
    }
    let fields = settings::fields(args, &notes);
    let source = Source::open(&args.from, &fields)?;
    let model = match &collection {
        Some(_) => notes.model,
        None => args.model.as_deref().map(settings::model_name).transpose()?,
    };
    let bar =
        Progress::new("importing", source.len_hint().map(|n| n as u64), Unit::Items, audience);
    let mut job = Job {
        args,
        name,
        shown,
        database,
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
    let (Some(database), Some(collection)) = (&job.database, &job.collection) else {
        bail!("{}: no records in it", args.from.display());
    };
    if job.written > 0 {
        job.bar.say("indexing");
        settle(database, collection, &job.bar)?;
    }
    let points = collection.len();
    let Job { bar, rows: records, written, skipped, shown, .. } = job;
    drop(bar);
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        let (data, collection) = (&*args.stored.data, name);
        let done = Imported { data, collection, records, written, skipped, points, seconds };
        return print::json(&done);
    }
    print::line(&format!(
        "{shown}: {written} written, {skipped} there already, {points} points, {seconds:.1} s"
    ))
}

/// The data directory and the collection, where they are there already.
fn there(data: &Path, name: &str) -> anyhow::Result<(Option<Database>, Option<Arc<Collection>>)> {
    Database::check_name(name)?;
    let database = match Database::open_existing(data) {
        // Nothing, or an import that was killed before it made anything.
        Err(OpenError::Missing { .. }) => return Ok((None, None)),
        other => other?,
    };
    let collection = match database.collection(name) {
        Err(CatalogError::Unknown { .. }) => None,
        other => Some(other?),
    };
    Ok((Some(database), collection))
}

/// Seals what was written and does the work that follows from it.
fn settle(database: &Database, collection: &Collection, bar: &Progress) -> anyhow::Result<()> {
    collection.flush()?;
    for _ in 0..PIECES_MAX {
        bar.say("merging");
        if !collection.optimize()? {
            break;
        }
    }
    // Frees the log of what is sealed.
    Ok(database.flush()?)
}

/// One import on its way.
struct Job<'a> {
    args: &'a Import,
    /// The collection's name.
    name: &'a str,
    /// Where it is, for messages.
    shown: String,
    /// Both are made with the first batch, so that a broken file leaves nothing.
    database: Option<Database>,
    collection: Option<Arc<Collection>>,
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
        let dim = dim(collection)?;
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
        let rows = self.embed(batch)?;
        let from = || self.args.from.display().to_string();
        if self.collection.is_none() {
            let dim = rows.first().map_or(0, |(_, vector)| vector.len());
            if let Some((odd, vector)) = rows.iter().find(|(_, vector)| vector.len() != dim) {
                let got = vector.len();
                bail!("{}: point {} has {got} components, the first has {dim}", from(), odd.id);
            }
            self.create(dim)?;
        }
        let Some(collection) = &self.collection else { return Ok(()) };
        let config = collection.config();
        let (using, _) = store::vector(&config)?;
        let point = |(fresh, vector): (Fresh, Vec<f32>)| {
            let vectors = Vectors::from([(using.to_owned(), Vector::Dense(vector))]);
            Point { id: fresh.id, vectors, payload: fresh.payload, ttl: None }
        };
        let points = rows.into_iter().map(point).collect();
        collection.write(Change::upsert(points)).with_context(from)?;
        self.written += count;
        Ok(())
    }

    /// Each record and its vector.
    fn embed(&mut self, batch: Vec<Fresh>) -> anyhow::Result<Vec<(Fresh, Vec<f32>)>> {
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
        let row = |mut fresh: Fresh| {
            let vector = fresh.vector.take();
            let next = || embedded.next().map(<[f32]>::to_vec).unwrap_or_default();
            let vector = vector.unwrap_or_else(next);
            (fresh, vector)
        };
        Ok(batch.into_iter().map(row).collect())
    }

    fn load(&self) -> anyhow::Result<Encoder> {
        let model = self.model.as_deref().context("no model")?;
        let encoder = encoder::open(&pull::open(model, self.audience)?)?;
        if let Some(collection) = &self.collection {
            let (dim, got) = (dim(collection)?, encoder.dim());
            ensure!(dim == got, "{model}: gives {got} components, the collection has {dim}");
        }
        Ok(encoder)
    }

    fn create(&mut self, dim: usize) -> anyhow::Result<()> {
        let config = settings::config(self.args, self.model.as_ref(), dim)?;
        let data = &self.args.stored.data;
        let database = if let Some(database) = self.database.take() {
            database
        } else {
            let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
            if let Some(parent) = parent {
                std::fs::create_dir_all(parent)
                    .with_context(|| format!("{}: cannot create", parent.display()))?;
            }
            place::writable_folder(data)?;
            Database::open(data)?
        };
        self.collection = Some(database.create(self.name, &config)?);
        self.database = Some(database);
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

/// Components of a collection's vectors.
fn dim(collection: &Collection) -> anyhow::Result<usize> {
    Ok(store::vector(&collection.config())?.1.dim)
}

/// Whether the collection holds the very same record. The text is part of the payload, so an
/// equal payload means an equal text and it need not be embedded again.
fn is_there(collection: &Collection, fresh: &Fresh) -> anyhow::Result<bool> {
    let found = collection.get(std::slice::from_ref(&fresh.id))?;
    let Some(found) = found.first() else { return Ok(false) };
    let config = collection.config();
    let (using, _) = store::vector(&config)?;
    let same_vector = match &fresh.vector {
        None => found.vectors.contains_key(using),
        Some(vector) => {
            let mut vectors = Vectors::from([(using.to_owned(), Vector::Dense(vector.clone()))]);
            config.prepare(&mut vectors)?;
            vectors.get(using) == found.vectors.get(using)
        }
    };
    Ok(same_vector && *found.payload == fresh.payload)
}
