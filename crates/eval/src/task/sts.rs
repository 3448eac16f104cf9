//! Pairs of sentences with human scores of similarity (Agirre et al., SemEval-2017 task 1).

use std::path::Path;

use serde::Deserialize;

use super::text::{Form, Source};
use super::{DataError, Outcome, TaskError, Vectors, sampled_neighbours};
use crate::metric::{cosine, pearson, spearman};
use crate::report::Score;

/// Texts whose neighbours are compared between models.
const SAMPLE: usize = 500;
/// Where score and sentences stand in a line of STS-B, and the fewest columns it has.
const STSB: (usize, usize, usize, usize) = (4, 5, 6, 7);
/// The same for the short form.
const SHORT: (usize, usize, usize, usize) = (0, 1, 2, 3);

/// Sentence pairs and how similar people found them, on any scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    scores: Vec<f64>,
    left: Vec<String>,
    right: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    score: f64,
    sentence1: String,
    sentence2: String,
}

impl Pairs {
    /// Reads a `.tsv` or `.jsonl` file.
    ///
    /// # Errors
    /// [`DataError`], naming file and line.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let source = Source::open(path)?;
        let mut pairs = Self::default();
        match source.form() {
            Some(Form::Tsv) => {
                for line in source.lines() {
                    let (number, line) = line?;
                    if let Some(parsed) = parse(&source, number, line)? {
                        pairs.push(&source, number, &parsed)?;
                    }
                }
            }
            Some(Form::Jsonl) => {
                for value in source.values::<Line>() {
                    let (number, line) = value?;
                    pairs.push(&source, number, &line)?;
                }
            }
            Some(Form::Csv) | None => return Err(source.extension("sts", ".tsv or .jsonl")),
        }
        if pairs.len() < 2 { Err(source.empty("fewer than two pairs")) } else { Ok(pairs) }
    }

    fn push(&mut self, source: &Source<'_>, number: u64, line: &Line) -> Result<(), DataError> {
        if !line.score.is_finite() {
            return Err(source.line(number, "the score is not a finite number"));
        }
        self.left.push(source.text(number, &line.sentence1)?);
        self.right.push(source.text(number, &line.sentence2)?);
        self.scores.push(line.score);
        source.count(2 * self.scores.len())
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// The human scores.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// All first sentences, then all second ones.
    pub fn texts(&self) -> Vec<&str> {
        self.left.iter().chain(&self.right).map(String::as_str).collect()
    }

    /// Spearman's and Pearson's correlation of the cosines with the human scores.
    pub(super) fn score(&self, vectors: Vectors<'_>) -> Result<Outcome, TaskError> {
        let undefined = |metric| move |cause| TaskError::Metric { metric, cause };
        let n = self.len();
        let cosines = (0..n)
            .map(|i| cosine(vectors.row(i), vectors.row(n + i)))
            .collect::<Result<Vec<f64>, _>>()
            .map_err(undefined("cosine"))?;
        let linear = pearson(&self.scores, &cosines).map_err(undefined("Pearson"))?;
        Ok(Outcome {
            score: spearman(&self.scores, &cosines).map_err(undefined("Spearman"))?,
            scores: vec![Score { name: "Pearson".into(), value: linear }],
            units: cosines,
            neighbours: sampled_neighbours(vectors, SAMPLE),
        })
    }
}

/// One line of a tab-separated file; `None` for a header.
fn parse(source: &Source<'_>, number: u64, line: &str) -> Result<Option<Line>, DataError> {
    let fields: Vec<&str> = line.split('\t').collect();
    let (score, first, second, _) = match fields.len() {
        count if count == SHORT.3 => SHORT,
        count if count >= STSB.3 => STSB,
        count => {
            let what = format!("expected 3 columns or those of STS-B (7 or more), got {count}");
            return Err(source.line(number, what));
        }
    };
    let word = fields[score].trim();
    if number == 1 && word.eq_ignore_ascii_case("score") {
        return Ok(None);
    }
    let Ok(value) = word.parse::<f64>() else {
        let shown: String = word.chars().take(40).collect();
        return Err(source.line(number, format!("expected a score, got '{shown}'")));
    };
    let (sentence1, sentence2) = (fields[first].to_owned(), fields[second].to_owned());
    Ok(Some(Line { score: value, sentence1, sentence2 }))
}
