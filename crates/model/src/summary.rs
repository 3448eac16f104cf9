//! What is inside a model, for people: read from headers and configurations, nothing decoded.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::limit::TOKENIZER_BYTES;
use crate::pool::Pooling;
use crate::{LoadError, TensorInfo, file};

/// The tokenizer of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenizerSummary {
    /// `WordPiece`, `BPE`, `Unigram`, `WordLevel`; of a GGUF file what it calls it.
    pub kind: String,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
}

/// What `inspect` prints of a model directory or GGUF file. Unknown figures are `None`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// `BertModel`, `llama`, …; `unknown` when nothing says it.
    pub architecture: String,
    /// Weights, not counting indices.
    pub parameters: u64,
    /// Layers of the network.
    pub layers: Option<usize>,
    /// Width of the network.
    pub hidden: Option<usize>,
    /// Attention heads.
    pub heads: Option<usize>,
    /// Tokens the model takes at most.
    pub max_tokens: Option<usize>,
    /// `mean`, `cls`, `max`, `mean, normalized` …; `None` where no `modules.json` says it.
    pub pooling: Option<String>,
    /// The tokenizer, if the model brings one.
    pub tokenizer: Option<TokenizerSummary>,
    /// The scheme of the coded weights, `None` at full precision.
    pub quantization: Option<String>,
    /// Bytes of all tensors.
    pub size_bytes: u64,
    /// Bits per parameter, scales included, over the tensors that hold parameters.
    pub bits_per_weight: f64,
    /// Every tensor.
    pub tensors: Vec<TensorInfo>,
}

impl Summary {
    /// Reads the headers and configurations of the model at `path`.
    ///
    /// # Errors
    /// [`LoadError`] as [`Checkpoint::open`], and for configurations that do not parse. A model
    /// of an architecture that Kvant does not run is summarised all the same.
    pub fn of(path: &Path) -> Result<Self, LoadError> {
        let checkpoint = Checkpoint::open(path)?;
        let tensors = checkpoint.tensors().to_vec();
        let held = tensors.iter().filter(|tensor| holds_parameters(tensor));
        let (parameters, bytes) = held.fold((0u64, 0u64), |(count, bytes), tensor| {
            (count + tensor.elements(), bytes + tensor.size_bytes)
        });
        let mut summary = Self {
            architecture: "unknown".into(),
            parameters,
            layers: None,
            hidden: None,
            heads: None,
            max_tokens: None,
            pooling: None,
            tokenizer: None,
            quantization: quantization(&checkpoint),
            size_bytes: tensors.iter().map(|tensor| tensor.size_bytes).sum(),
            bits_per_weight: bytes as f64 * 8.0 / (parameters.max(1)) as f64,
            tensors,
        };
        if checkpoint.gguf().is_some() {
            summary.describe_gguf(&checkpoint);
        } else if path.is_dir() {
            summary.describe_directory(path, &checkpoint)?;
        }
        Ok(summary)
    }

    fn describe_gguf(&mut self, checkpoint: &Checkpoint) {
        let Some(header) = checkpoint.gguf() else { return };
        let Some(name) = header.text("general.architecture") else { return };
        let size = |key: &str| header.size(&format!("{name}.{key}"));
        self.layers = size("block_count");
        self.hidden = size("embedding_length");
        self.heads = size("attention.head_count");
        self.max_tokens = size("context_length");
        name.clone_into(&mut self.architecture);
        if let Some(kind) = header.text("tokenizer.ggml.model") {
            let vocabulary = header.array("tokenizer.ggml.tokens");
            let vocabulary = vocabulary.and_then(crate::checkpoint::gguf::Array::len).unwrap_or(0);
            self.tokenizer = Some(TokenizerSummary { kind: kind.to_owned(), vocabulary });
        }
    }

    fn describe_directory(&mut self, path: &Path, model: &Checkpoint) -> Result<(), LoadError> {
        if let Some(config) = model.config() {
            let size = |key: &str| config.get(key).and_then(Value::as_u64).map(|n| n as usize);
            let named = config.get("architectures").and_then(|list| list.get(0));
            let named = named.or_else(|| config.get("model_type")).and_then(Value::as_str);
            named.unwrap_or("unknown").clone_into(&mut self.architecture);
            self.layers = size("num_hidden_layers");
            self.hidden = size("hidden_size");
            self.heads = size("num_attention_heads");
            self.max_tokens = size("max_position_embeddings");
        }
        if let Some(config) = file::json_if_there(&path.join("sentence_bert_config.json"))? {
            let length = config.get("max_seq_length").and_then(Value::as_u64);
            self.max_tokens = length.map(|n| n as usize).or(self.max_tokens);
        }
        if path.join("modules.json").exists() {
            self.pooling = Some(Pooling::read(path)?.to_string());
        }
        let tokenizer = path.join("tokenizer.json");
        if tokenizer.exists() {
            self.tokenizer = summarise_tokenizer(&file::json(&tokenizer, TOKENIZER_BYTES)?);
        }
        Ok(())
    }
}

/// Weights are floating point or codes; indices such as `position_ids` are not counted.
pub(crate) fn holds_parameters(tensor: &TensorInfo) -> bool {
    !matches!(tensor.format.as_str(), "I64" | "I32" | "I16" | "U64" | "U32" | "U16" | "BOOL")
}

/// The formats of coded tensors, most frequent first by weights.
fn quantization(checkpoint: &Checkpoint) -> Option<String> {
    let method = checkpoint.config().and_then(|config| config.get("quantization_config"));
    let method = method.and_then(|config| config.get("quant_method")).and_then(Value::as_str);
    let plain = ["F64", "F32", "F16", "BF16"];
    let mut formats: Vec<(String, u64)> = Vec::new();
    for tensor in checkpoint.tensors().iter().filter(|tensor| holds_parameters(tensor)) {
        if plain.contains(&tensor.format.as_str()) {
            continue;
        }
        match formats.iter_mut().find(|(name, _)| *name == tensor.format) {
            Some((_, count)) => *count += tensor.elements(),
            None => formats.push((tensor.format.clone(), tensor.elements())),
        }
    }
    formats.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let names: Vec<String> = formats.into_iter().map(|(name, _)| name).collect();
    match (names.is_empty(), method) {
        (true, None) => None,
        (true, Some(method)) => Some(method.to_owned()),
        (false, None | Some("kvant" | "compressed-tensors")) => Some(names.join(", ")),
        (false, Some(method)) => Some(format!("{method}: {}", names.join(", "))),
    }
}

fn summarise_tokenizer(tokenizer: &Value) -> Option<TokenizerSummary> {
    let model = tokenizer.get("model")?;
    let kind = model.get("type").and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let vocabulary = match model.get("vocab")? {
        Value::Object(entries) => entries.len(),
        Value::Array(entries) => entries.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    Some(TokenizerSummary { kind, vocabulary })
}
