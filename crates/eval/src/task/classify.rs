//! Texts with classes: how well a linear probe on the vectors tells them apart.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::text::{Form, Key, Source};
use super::{DataError, FitOptions, Outcome, Probe, TaskError, Vectors, sampled_neighbours};
use crate::limits;
use crate::metric::accuracy;
use crate::report::Score;

/// Texts whose neighbours are compared between models.
const SAMPLE: usize = 500;
/// Without a test file, one of this many texts of each class is for the test.
const HELD_OUT: usize = 5;

/// Texts with classes, the training ones first.
#[derive(Clone, Debug, Default)]
pub struct Labelled {
    texts: Vec<String>,
    classes: Vec<u32>,
    names: Vec<String>,
    training: usize,
}

#[derive(Deserialize)]
struct Line {
    text: String,
    #[serde(alias = "category")]
    label: Key,
}

/// Numbers for the names of classes, in the order they are first met.
#[derive(Default)]
struct Naming {
    numbers: BTreeMap<String, u32>,
    names: Vec<String>,
}

impl Labelled {
    /// Reads `path` as training and `test` as test; without `test`, every fifth text of each
    /// class in file order is for the test.
    ///
    /// # Errors
    /// [`DataError`], naming file and line.
    pub fn read(path: &Path, test: Option<&Path>) -> Result<Self, DataError> {
        let source = Source::open(path)?;
        let mut naming = Naming::default();
        let (mut training, mut held) = (Vec::new(), Vec::new());
        let mut seen = Vec::new();
        for (_, text, label) in rows(&source)? {
            let class = naming.number(&source, label)?;
            seen.resize(naming.names.len(), 0);
            seen[class as usize] += 1;
            let kept = test.is_some() || seen[class as usize] % HELD_OUT != 0;
            if kept { training.push((text, class)) } else { held.push((text, class)) }
        }
        if let Some(path) = test {
            let source = Source::open(path)?;
            for (line, text, label) in rows(&source)? {
                let Some(&class) = naming.numbers.get(&label) else {
                    return Err(source.line(line, "a category that the data file does not have"));
                };
                held.push((text, class));
            }
        }
        if naming.names.len() < 2 {
            return Err(source.empty("fewer than two classes"));
        }
        if held.is_empty() {
            let what = "no texts for the test: a class needs five texts, or pass a test file";
            return Err(source.empty(what));
        }
        let count = training.len();
        let (texts, classes) = training.into_iter().chain(held).unzip();
        Ok(Self { texts, classes, names: naming.names, training: count })
    }

    /// Number of test texts.
    pub fn tests(&self) -> usize {
        self.texts.len() - self.training
    }

    /// Number of training texts, which come first.
    pub fn training(&self) -> usize {
        self.training
    }

    /// Names of the classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All texts, the training ones first.
    pub fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    /// Accuracy on the test texts of a [`Probe`] fitted to the training texts.
    pub(super) fn score(&self, vectors: Vectors<'_>) -> Result<Outcome, TaskError> {
        let undefined = |cause| TaskError::Metric { metric: "accuracy", cause };
        let train = vectors.slice(0..self.training);
        let test = vectors.slice(self.training..vectors.len());
        let (known, truths) = self.classes.split_at(self.training);
        let probe = Probe::fit(train, known, self.names.len(), &FitOptions::default());
        let guesses = probe.predict(test);
        let fitted = accuracy(&probe.predict(train), known).map_err(undefined)?;
        let right = guesses.iter().zip(truths).map(|(a, b)| f64::from(u8::from(a == b)));
        Ok(Outcome {
            score: accuracy(&guesses, truths).map_err(undefined)?,
            scores: vec![Score { name: "accuracy in training".into(), value: fitted }],
            units: right.collect(),
            neighbours: sampled_neighbours(vectors, SAMPLE),
        })
    }
}

impl Naming {
    fn number(&mut self, source: &Source<'_>, name: String) -> Result<u32, DataError> {
        if let Some(&number) = self.numbers.get(&name) {
            return Ok(number);
        }
        if self.names.len() == limits::CLASSES {
            return Err(source.limit(limits::CLASSES, "classes"));
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        Ok(number)
    }
}

/// Numbered `(text, label)` rows of a `.csv` or `.jsonl` file.
fn rows(source: &Source<'_>) -> Result<Vec<(u64, String, String)>, DataError> {
    match source.form() {
        Some(Form::Csv) => source.rows(),
        Some(Form::Jsonl) => {
            let mut rows = Vec::new();
            for value in source.values::<Line>() {
                let (number, line) = value?;
                let text = source.text(number, &line.text)?;
                rows.push((number, text, source.text(number, &line.label.into_string())?));
                source.count(rows.len())?;
            }
            Ok(rows)
        }
        Some(Form::Tsv) | None => Err(source.extension("classify", ".csv or .jsonl")),
    }
}
