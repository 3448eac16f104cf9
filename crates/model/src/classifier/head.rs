//! What `config.json` says of a head: its labels, and what becomes of its logits.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use crate::checkpoint::printable;
use crate::limit::LABELS;
use crate::{Checkpoint, LoadError, file};

/// The architecture that has a head of the kind Kvant runs.
const ARCHITECTURE: &str = "BertForSequenceClassification";
const SUPPORTED: &str = "BertForSequenceClassification (cross-encoders and classifiers)";

/// What turns logits into scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// They stay: a regression, or a model that says so.
    Identity,
    /// `1 / (1 + exp(−x))` for each label: one label, or several that do not exclude each other.
    Sigmoid,
    /// `exp(x) / Σ exp(x)`: labels that exclude each other.
    Softmax,
}

impl Squash {
    /// Makes scores of the logits of one item, in place.
    pub fn apply(self, logits: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Sigmoid => {
                for x in logits {
                    *x = 1.0 / (1.0 + (-*x).exp());
                }
            }
            Self::Softmax => {
                let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for x in &mut *logits {
                    *x = (*x - max).exp();
                    sum += *x;
                }
                for x in logits {
                    *x /= sum;
                }
            }
        }
    }

    /// What `config` asks for by sentence-transformers' name of a function, else what
    /// transformers does for its `problem_type` or its number of labels.
    pub(super) fn read(path: &Path, config: &Value, labels: usize) -> Result<Self, LoadError> {
        let named = config.get("sentence_transformers").and_then(|own| own.get("activation_fn"));
        let named = named.or_else(|| config.get("sbert_ce_default_activation_function"));
        if let Some(name) = named.and_then(Value::as_str) {
            return match name.rsplit('.').next().unwrap_or_default() {
                "Identity" => Ok(Self::Identity),
                "Sigmoid" => Ok(Self::Sigmoid),
                "Softmax" => Ok(Self::Softmax),
                other => Err(LoadError::Unsupported {
                    path: path.to_path_buf(),
                    what: format!("the activation function '{}'", printable(other)),
                    supported: "Identity, Sigmoid and Softmax",
                }),
            };
        }
        Ok(match config.get("problem_type").and_then(Value::as_str) {
            Some("regression") => Self::Identity,
            Some("multi_label_classification") => Self::Sigmoid,
            Some(_) | None if labels == 1 => Self::Sigmoid,
            Some(_) | None => Self::Softmax,
        })
    }
}

impl fmt::Display for Squash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Identity => "identity",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
        })
    }
}

/// A model without a head.
pub(super) fn missing(path: &Path) -> LoadError {
    LoadError::Missing {
        path: path.to_path_buf(),
        what: "the head of a classifier or cross-encoder",
        remedy: "take a model of the architecture BertForSequenceClassification; a sentence \
                 encoder makes vectors (kvant embed, search), it does not score",
    }
}

/// Refuses models whose head is of another kind or not there. Where the architecture promises one
/// its tensors are looked for later, and named.
pub(super) fn required(checkpoint: &Checkpoint, config: &Value) -> Result<(), LoadError> {
    let named = config.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let held = checkpoint.tensor("classifier.weight").is_some();
    match named {
        Some(ARCHITECTURE) => Ok(()),
        None if held => Ok(()),
        Some(other) if held => Err(LoadError::Unsupported {
            path: checkpoint.path().join("config.json"),
            what: format!("the head of a '{}'", printable(other)),
            supported: SUPPORTED,
        }),
        Some(_) | None => Err(missing(checkpoint.path())),
    }
}

/// The names of the labels; `rows` is how many outputs the head has, which decides where the
/// configuration says nothing.
pub(super) fn labels(
    path: &Path,
    config: &Value,
    rows: Option<usize>,
) -> Result<Vec<String>, LoadError> {
    let fail = |why: String| LoadError::Config { path: path.to_path_buf(), why };
    let object = |key: &str| config.get(key).and_then(Value::as_object);
    let named = match (object("id2label"), object("label2id")) {
        (Some(names), _) => Some(by_number(names).ok_or_else(|| {
            fail(format!("id2label must name every label from 0, at most {LABELS}"))
        })?),
        (None, Some(numbers)) => Some(by_name(numbers).ok_or_else(|| {
            fail(format!("label2id must number the labels from 0, at most {LABELS}"))
        })?),
        (None, None) => None,
    };
    let stated = config.get("num_labels").filter(|stated| !stated.is_null());
    let stated = stated.map(|stated| {
        let count = stated.as_u64().filter(|count| (1..=LABELS as u64).contains(count));
        let count = count.map(|count| count as usize);
        count.ok_or_else(|| fail(format!("num_labels must be a number from 1 to {LABELS}")))
    });
    match (named, stated.transpose()?) {
        (Some(named), Some(stated)) if named.len() != stated => {
            let count = named.len();
            Err(fail(format!(
                "num_labels is {stated}, but id2label or label2id has {count} labels"
            )))
        }
        (Some(named), _) => Ok(named),
        (None, stated) => {
            let count = stated.or(rows.filter(|rows| (1..=LABELS).contains(rows)));
            Ok((0..count.unwrap_or(2)).map(|at| format!("LABEL_{at}")).collect())
        }
    }
}

/// Labels by their numbers, `{"0": "no", "1": "yes"}`.
fn by_number(names: &Map<String, Value>) -> Option<Vec<String>> {
    if names.is_empty() || names.len() > LABELS {
        return None;
    }
    (0..names.len()).map(|at| Some(names.get(&at.to_string())?.as_str()?.to_owned())).collect()
}

/// Labels with their numbers, `{"no": 0, "yes": 1}`.
fn by_name(numbers: &Map<String, Value>) -> Option<Vec<String>> {
    if numbers.is_empty() || numbers.len() > LABELS {
        return None;
    }
    let mut labels = vec![None; numbers.len()];
    for (name, number) in numbers {
        let place = labels.get_mut(usize::try_from(number.as_u64()?).ok()?)?;
        *place = Some(name.clone());
    }
    labels.into_iter().collect()
}

/// `model_max_length` of `tokenizer_config.json`: what transformers cuts to. Without a limit the
/// file says a huge number.
pub(super) fn max_tokens(dir: &Path) -> Result<Option<usize>, LoadError> {
    let config = file::json_if_there(&dir.join("tokenizer_config.json"))?;
    let length = config.as_ref().and_then(|config| config.get("model_max_length")?.as_f64());
    Ok(length.map(|length| length as usize))
}
