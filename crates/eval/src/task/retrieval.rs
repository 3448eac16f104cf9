//! Documents, and queries that are to find some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};
use serde::Deserialize;

use super::text::{Form, Key, Source};
use super::{CUT, DataError, Outcome, TaskError, Vectors, spaced};
use crate::limits;
use crate::metric::{MetricError, mean, ndcg, recall, reciprocal_rank};
use crate::report::Score;

/// Queries scored in one matrix product.
const BLOCK: usize = 64;
/// Documents scored in one matrix product.
const PANEL: usize = 4096;

/// Documents and queries with the documents that answer them.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    ids: Vec<String>,
    documents: Vec<String>,
    /// Class of each document, where relevance is that of classes.
    classes: Vec<u32>,
    queries: Vec<Query>,
    /// Texts of the queries that are no documents.
    questions: Vec<String>,
}

#[derive(Clone, Debug)]
struct Query {
    text: Place,
    relevant: Relevant,
}

/// Where the text of a query is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// It is this document, which is no answer to itself.
    Document(u32),
    Question(u32),
}

#[derive(Clone, Debug)]
enum Relevant {
    Listed(BTreeSet<u32>),
    /// All documents of the class, this many without the query itself.
    Class(u32, usize),
}

/// A document found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Its row.
    pub row: u32,
    /// Its dot product with the query, higher is closer.
    pub score: f32,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected {\"id\", \"text\"} or {\"query\", \"relevant\": [ids]}")]
enum Line {
    Query { query: String, relevant: Vec<Key> },
    Document { id: Key, text: String },
}

impl Corpus {
    /// Reads a `.jsonl` file, or one or two `.csv` files.
    ///
    /// # Errors
    /// [`DataError`], naming file and line.
    pub fn read(path: &Path, test: Option<&Path>) -> Result<Self, DataError> {
        let source = Source::open(path)?;
        match (source.form(), test) {
            (Some(Form::Jsonl), None) => Self::listed(&source),
            (Some(Form::Jsonl), Some(_)) => Err(DataError::Second { kind: "retrieval (.jsonl)" }),
            (Some(Form::Csv), _) => Self::classed(&source, test),
            (Some(Form::Tsv) | None, _) => Err(source.extension("retrieval", ".jsonl or .csv")),
        }
    }

    fn listed(source: &Source<'_>) -> Result<Self, DataError> {
        let mut corpus = Self::default();
        let mut rows = BTreeMap::new();
        let mut asked = Vec::new();
        for value in source.values::<Line>() {
            match value? {
                (number, Line::Document { id, text }) => {
                    let id = source.text(number, &id.into_string())?;
                    let row = corpus.documents.len() as u32;
                    if rows.insert(id.clone(), row).is_some() {
                        let shown: String = id.chars().take(40).collect();
                        return Err(source.line(number, format!("id '{shown}' is there twice")));
                    }
                    corpus.documents.push(source.text(number, &text)?);
                    corpus.ids.push(id);
                }
                (number, Line::Query { query, relevant }) => {
                    if relevant.is_empty() || relevant.len() > limits::RELEVANT {
                        let most = limits::RELEVANT;
                        let what =
                            format!("1..={most} relevant ids wanted, got {}", relevant.len());
                        return Err(source.line(number, what));
                    }
                    corpus.questions.push(source.text(number, &query)?);
                    asked.push((number, relevant));
                }
            }
            source.count(corpus.documents.len() + corpus.questions.len())?;
        }
        for (question, (number, relevant)) in asked.into_iter().enumerate() {
            let mut known = BTreeSet::new();
            for id in relevant {
                let id = id.into_string();
                let Some(&row) = rows.get(&id) else {
                    let shown: String = id.chars().take(40).collect();
                    let what = format!("relevant id '{shown}' is no document of this file");
                    return Err(source.line(number, what));
                };
                known.insert(row);
            }
            let text = Place::Question(question as u32);
            corpus.queries.push(Query { text, relevant: Relevant::Listed(known) });
        }
        corpus.checked(source)
    }

    fn classed(source: &Source<'_>, test: Option<&Path>) -> Result<Self, DataError> {
        let mut corpus = Self::default();
        let mut numbers = BTreeMap::new();
        let mut sizes = Vec::new();
        for (line, text, class) in source.rows()? {
            let next = numbers.len() as u32;
            let number = *numbers.entry(class).or_insert(next);
            if number == next {
                sizes.push(0);
            }
            sizes[number as usize] += 1;
            corpus.ids.push(line.to_string());
            corpus.documents.push(text);
            corpus.classes.push(number);
        }
        match test {
            None => {
                for row in spaced(corpus.documents.len(), limits::QUERIES) {
                    let class = corpus.classes[row];
                    // A text alone in its class has nothing to find.
                    let others = sizes[class as usize] - 1;
                    if others > 0 {
                        let relevant = Relevant::Class(class, others);
                        corpus.queries.push(Query { text: Place::Document(row as u32), relevant });
                    }
                }
            }
            Some(path) => {
                let source = Source::open(path)?;
                if source.form() != Some(Form::Csv) {
                    return Err(source.extension("retrieval", ".csv"));
                }
                let rows = source.rows()?;
                for index in spaced(rows.len(), limits::QUERIES) {
                    let (line, text, class) = &rows[index];
                    let Some(&class) = numbers.get(class) else {
                        let what = "a category that the data file does not have";
                        return Err(source.line(*line, what));
                    };
                    let relevant = Relevant::Class(class, sizes[class as usize]);
                    let place = Place::Question(corpus.questions.len() as u32);
                    corpus.questions.push(text.clone());
                    corpus.queries.push(Query { text: place, relevant });
                }
            }
        }
        corpus.checked(source)
    }

    fn checked(self, source: &Source<'_>) -> Result<Self, DataError> {
        if self.documents.is_empty() {
            return Err(source.empty("no documents"));
        }
        if self.queries.is_empty() {
            return Err(source.empty("no queries with something to find"));
        }
        Ok(self)
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// The documents, in the order of their rows.
    pub fn documents(&self) -> &[String] {
        &self.documents
    }

    /// The id of the document of `row`: its own, or its line in a CSV file.
    pub fn id(&self, row: u32) -> &str {
        &self.ids[row as usize]
    }

    /// All documents, then the queries that are none.
    pub fn texts(&self) -> Vec<&str> {
        self.documents.iter().chain(&self.questions).map(String::as_str).collect()
    }

    /// nDCG, recall and MRR of the [`CUT`] nearest documents, each a mean over queries.
    pub(super) fn score(&self, vectors: Vectors<'_>) -> Result<Outcome, TaskError> {
        let documents = self.documents.len();
        let mut queries = Vec::with_capacity(self.queries.len() * vectors.dim());
        let mut itself = Vec::with_capacity(self.queries.len());
        for query in &self.queries {
            let (row, own) = match query.text {
                Place::Document(row) => (row as usize, Some(row)),
                Place::Question(index) => (documents + index as usize, None),
            };
            queries.extend_from_slice(vectors.row(row));
            itself.push(own);
        }
        let queries = Vectors::new(&queries, vectors.dim(), vectors.threads());
        let lists = nearest(queries, vectors.slice(0..documents), &itself, CUT);
        let mut figures = [const { Vec::new() }; 4];
        for (query, list) in self.queries.iter().zip(&lists) {
            let values = self.judge(query, list);
            let values = values.map_err(|cause| TaskError::Metric { metric: "nDCG@10", cause })?;
            figures.iter_mut().zip(values).for_each(|(figure, value)| figure.push(value));
        }
        let mean = |values: &[f64]| {
            mean(values).map_err(|cause| TaskError::Metric { metric: "nDCG@10", cause })
        };
        let [gain, all, reciprocal, first] = &figures;
        let score = |name: &str, value| Score { name: name.into(), value };
        Ok(Outcome {
            score: mean(gain)?,
            scores: vec![
                score("recall@10", mean(all)?),
                score("MRR@10", mean(reciprocal)?),
                score("first is right", mean(first)?),
            ],
            units: figures[0].clone(),
            neighbours: lists.iter().map(|list| list.iter().map(|hit| hit.row).collect()).collect(),
        })
    }

    /// nDCG, recall, reciprocal rank, and whether the first answer is right.
    fn judge(&self, query: &Query, list: &[Found]) -> Result<[f64; 4], MetricError> {
        let (hits, relevant): (Vec<bool>, usize) = match &query.relevant {
            Relevant::Listed(rows) => {
                (list.iter().map(|hit| rows.contains(&hit.row)).collect(), rows.len())
            }
            Relevant::Class(class, others) => {
                let same = |hit: &Found| self.classes[hit.row as usize] == *class;
                (list.iter().map(same).collect(), *others)
            }
        };
        let gains: Vec<f64> = hits.iter().map(|&hit| f64::from(u8::from(hit))).collect();
        Ok([
            ndcg(&gains, &vec![1.0; relevant.min(CUT)], CUT)?,
            recall(&hits, relevant, CUT)?,
            reciprocal_rank(&hits),
            gains.first().copied().unwrap_or(0.0),
        ])
    }
}

/// The `k` documents with the largest dot product with each query, best first, exactly.
///
/// Equal scores go by rising row. `itself[q]` is a document that is no answer to query `q`.
/// Rows of both must have one dimension. Cost `O(queries · documents · dim)`.
///
/// # Panics
/// If the dimensions differ or `itself` is not as long as `queries`.
pub fn nearest(
    queries: Vectors<'_>,
    documents: Vectors<'_>,
    itself: &[Option<u32>],
    k: usize,
) -> Vec<Vec<Found>> {
    assert_eq!(queries.dim(), documents.dim(), "dimensions of queries and documents");
    assert_eq!(queries.len(), itself.len(), "one exception per query");
    let share = queries.len().div_ceil(queries.threads()).max(1);
    let mut lists = vec![Vec::new(); queries.len()];
    std::thread::scope(|scope| {
        for (part, lists) in lists.chunks_mut(share).enumerate() {
            let start = part * share;
            let queries = queries.slice(start..start + lists.len());
            let itself = &itself[start..start + lists.len()];
            scope.spawn(move || search(queries, documents, itself, &mut Lists { lists, k }));
        }
    });
    lists
}

/// Where answers go, and how many.
struct Lists<'a> {
    lists: &'a mut [Vec<Found>],
    k: usize,
}

fn search(
    queries: Vectors<'_>,
    documents: Vectors<'_>,
    itself: &[Option<u32>],
    into: &mut Lists<'_>,
) {
    let mut packed = PackedF32::default();
    let mut scores = Vec::new();
    for first in (0..documents.len()).step_by(PANEL) {
        let panel = documents.slice(first..(first + PANEL).min(documents.len()));
        packed.pack(Matrix::new(panel.data(), panel.len(), panel.dim()));
        for start in (0..queries.len()).step_by(BLOCK) {
            let range: Range<usize> = start..(start + BLOCK).min(queries.len());
            let block = queries.slice(range.clone());
            scores.clear();
            scores.resize(block.len() * panel.len(), 0.0f32);
            let x = Matrix::new(block.data(), block.len(), block.dim());
            kernels().gemm_f32(
                x,
                &packed,
                None,
                MatrixMut::new(&mut scores, block.len(), panel.len()),
            );
            for (query, scores) in range.zip(scores.chunks_exact(panel.len())) {
                let list = &mut into.lists[query];
                for (row, &score) in (first as u32..).zip(scores) {
                    if itself[query] != Some(row) {
                        offer(list, Found { row, score }, into.k);
                    }
                }
            }
        }
    }
}

/// Puts `found` into `list` of at most `k`, best first; rows come in rising order, so an equal
/// score goes behind.
fn offer(list: &mut Vec<Found>, found: Found, k: usize) {
    if list.len() == k && list.last().is_none_or(|last| last.score >= found.score) {
        return;
    }
    let place = list.partition_point(|other| other.score >= found.score);
    list.insert(place, found);
    list.truncate(k);
}
