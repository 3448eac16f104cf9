//! The texts that a command works on: from the command line, a file or standard input.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use kvant_db::source::{Fields, Format, Record, Source};
use serde_json::{Map, Value};

/// Bytes of standard input.
const STDIN_BYTES_MAX: u64 = 4 << 30;

/// Where texts come from.
pub(super) struct Origin<'a> {
    /// Those of the command line; if there are any, nothing else is read.
    pub(super) texts: &'a [String],
    /// A file; without one, lines of standard input.
    pub(super) file: Option<&'a Path>,
    /// The flag that names the file, for messages.
    pub(super) flag: &'static str,
    /// The field of the file that holds the text.
    pub(super) field: &'a str,
}

/// Records that have a text.
pub(super) struct Records {
    inner: Box<dyn Iterator<Item = anyhow::Result<Record>>>,
    /// How many there are at most, where that is known.
    pub(super) total: Option<usize>,
}

impl Iterator for Records {
    type Item = anyhow::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next()
    }
}

impl Origin<'_> {
    /// Opens it.
    ///
    /// # Errors
    /// If a text of the command line is empty, the file cannot be read, or there is nothing.
    pub(super) fn records(&self) -> anyhow::Result<Records> {
        if !self.texts.is_empty() {
            ensure!(self.texts.iter().all(|text| !text.trim().is_empty()), "a text is empty");
            let texts = self.texts.to_vec();
            let total = Some(texts.len());
            return Ok(Records {
                inner: Box::new(texts.into_iter().map(|t| Ok(record(t)))),
                total,
            });
        }
        let fields = Fields { text: self.field.to_owned(), ..Fields::default() };
        let mut source = match self.file {
            Some(path) => Source::open(path, &fields)?,
            None => self.stdin(&fields)?,
        };
        let (total, field) = (source.len_hint(), self.field.to_owned());
        let inner = std::iter::from_fn(move || {
            let record = source.next()?;
            let named = |record: Record| {
                let shown = || {
                    let (path, place) = (source.path().display(), source.place());
                    format!("{path}: {place}: no text in field {field:?}")
                };
                ensure!(record.text.is_some(), "{}; name the field with --text-field", shown());
                Ok(record)
            };
            Some(record.map_err(Into::into).and_then(named))
        });
        Ok(Records { inner: Box::new(inner), total })
    }

    /// What to say where there is no text at all.
    pub(super) fn nothing(&self) -> anyhow::Error {
        let flag = self.flag;
        anyhow::anyhow!("no texts; give them as arguments, with {flag} or on standard input")
    }

    /// Lines of standard input, unless somebody sits there and types.
    fn stdin(&self, fields: &Fields) -> anyhow::Result<Source> {
        if std::io::stdin().is_terminal() {
            return Err(self.nothing());
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(STDIN_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.context("standard input: cannot read")?;
        if bytes.len() as u64 > STDIN_BYTES_MAX {
            bail!("standard input: more than 4 GiB; use {}", self.flag);
        }
        Ok(Source::from_bytes(Path::new("standard input"), Format::Text, bytes.into(), fields)?)
    }
}

fn record(text: String) -> Record {
    let mut payload = Map::new();
    payload.insert("text".into(), Value::String(text.clone()));
    Record { text: Some(text), payload, ..Record::default() }
}
