//! The tokenizer inside a GGUF file, put into the form of `tokenizer.json`.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::LoadError;
use crate::checkpoint::gguf::{Array, Header};
use crate::checkpoint::printable;
use crate::limit::VOCABULARY;
use crate::tokenizer::one_line;

/// Token types of GGUF.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER: i64 = 4;

/// How words are found in tokenizers of the byte-level kind: contractions, letters, digits,
/// other signs, white space; `{digits}` says how many digits may stay together.
const WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{digits}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Builds the tokenizer described by the metadata of the GGUF file at `path`: byte-level BPE
/// (`gpt2` with the splitters `gpt-2`, `smollm`, `llama-bpe`, `qwen2`) and `SentencePiece` BPE
/// (`llama`). Special tokens and the marks before and after a text are set; the chat template
/// stays in the metadata. What it saves is a `tokenizer.json`. Linear in the vocabulary.
///
/// # Errors
/// [`LoadError`] for other kinds, and for tables that contradict each other.
pub(crate) fn from_gguf(path: &Path, header: &Header) -> Result<tokenizers::Tokenizer, LoadError> {
    let fail = |why: String| LoadError::Config { path: path.to_path_buf(), why };
    let tokens = header.array("tokenizer.ggml.tokens").and_then(Array::texts);
    let tokens = tokens.filter(|tokens| (1..=VOCABULARY).contains(&tokens.len()));
    let tokens = tokens.ok_or_else(|| {
        fail(format!("tokenizer.ggml.tokens must be a list of 1 to {VOCABULARY} texts"))
    })?;
    let kinds = header.array("tokenizer.ggml.token_type").and_then(Array::integers);
    let kinds = kinds.unwrap_or_default();
    if !kinds.is_empty() && kinds.len() != tokens.len() {
        let (kinds, tokens) = (kinds.len(), tokens.len());
        return Err(fail(format!("{kinds} entries of token_type for {tokens} tokens")));
    }
    let table = Table { path, header, tokens, kinds };
    let described = match header.text("tokenizer.ggml.model") {
        Some("gpt2") => table.bytes()?,
        Some("llama") => table.pieces()?,
        other => {
            let what = format!("the tokenizer '{}'", printable(other.unwrap_or("none")));
            let supported = "gpt2 (byte-level BPE) and llama (SentencePiece BPE)";
            return Err(LoadError::Unsupported { path: path.to_path_buf(), what, supported });
        }
    };
    serde_json::from_value(described)
        .map_err(|error| fail(format!("not a tokenizer: {}", one_line(&error.to_string()))))
}

/// The tables of a tokenizer.
struct Table<'a> {
    path: &'a Path,
    header: &'a Header,
    tokens: Vec<String>,
    /// Type of each token; empty where the file gives none.
    kinds: Vec<i64>,
}

impl Table<'_> {
    fn kind(&self, token: usize) -> i64 {
        self.kinds.get(token).copied().unwrap_or(NORMAL)
    }

    fn vocabulary(&self) -> Map<String, Value> {
        let tokens = self.tokens.iter().enumerate();
        tokens.map(|(id, token)| (token.clone(), Value::from(id))).collect()
    }

    /// Tokens that are found in a text before it is split into words.
    fn added(&self) -> Vec<Value> {
        let tokens = self.tokens.iter().enumerate();
        let tokens = tokens.filter(|(id, token)| {
            [UNKNOWN, CONTROL, USER].contains(&self.kind(*id)) && !token.is_empty()
        });
        let entry = |(id, token): (usize, &String)| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": self.kind(id) != USER,
            })
        };
        tokens.map(entry).collect()
    }

    /// Whether the file wants `which` (`bos`, `eos`) put to every text, and the token.
    fn mark(&self, which: &str, default: bool) -> Result<Option<usize>, LoadError> {
        let wanted = self.header.flag(&format!("tokenizer.ggml.add_{which}_token"));
        if !wanted.unwrap_or(default) {
            return Ok(None);
        }
        let key = format!("tokenizer.ggml.{which}_token_id");
        let token = self.header.size(&key).filter(|&token| token < self.tokens.len());
        let fail = || self.fail(format!("{key} names no token, and is to be added to texts"));
        token.map(Some).ok_or_else(fail)
    }

    /// The post-processor that puts the marks before and after a text.
    fn template(&self, bos: bool) -> Result<Option<Value>, LoadError> {
        let (before, after) = (self.mark("bos", bos)?, self.mark("eos", false)?);
        if before.or(after).is_none() {
            return Ok(None);
        }
        let special = |id: usize, kind: u32| {
            let token = &self.tokens[id];
            json!({ "SpecialToken": { "id": token, "type_id": kind } })
        };
        let around = |name: &str, kind: u32| {
            let before = before.map(|id| special(id, kind));
            let text = json!({ "Sequence": { "id": name, "type_id": kind } });
            let after = after.map(|id| special(id, kind));
            before.into_iter().chain([text]).chain(after).collect::<Vec<_>>()
        };
        let marks = before.into_iter().chain(after).map(|id| {
            let token = &self.tokens[id];
            (token.clone(), json!({ "id": token, "ids": [id], "tokens": [token] }))
        });
        let pair = [around("A", 0), around("B", 1)].concat();
        Ok(Some(json!({
            "type": "TemplateProcessing",
            "single": around("A", 0),
            "pair": pair,
            "special_tokens": marks.collect::<Map<_, _>>(),
        })))
    }

    /// Byte-level BPE, as GPT-2 introduced it (Radford et al., 2019).
    fn bytes(&self) -> Result<Value, LoadError> {
        let splitter = self.header.text("tokenizer.ggml.pre").unwrap_or("gpt-2");
        let level = |regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": regex,
            })
        };
        let split = |digits: &str| {
            let regex = WORDS.replace("{digits}", digits);
            let first = json!({
                "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated",
                "invert": false,
            });
            json!({ "type": "Sequence", "pretokenizers": [first, level(false)] })
        };
        let (pre, normalizer, whole) = match splitter {
            "gpt-2" | "default" => (level(true), Value::Null, false),
            "smollm" => {
                let digits = json!({ "type": "Digits", "individual_digits": true });
                let pre = json!({ "type": "Sequence", "pretokenizers": [digits, level(true)] });
                (pre, Value::Null, false)
            }
            "llama-bpe" | "llama3" | "llama-v3" => (split("{1,3}"), Value::Null, true),
            "qwen2" => (split(""), json!({ "type": "NFC" }), false),
            other => {
                let what = format!("the splitter '{}' of its tokenizer", printable(other));
                let supported = "gpt-2, smollm, llama-bpe, qwen2";
                let path = self.path.to_path_buf();
                return Err(LoadError::Unsupported { path, what, supported });
            }
        };
        let template = self.template(whole)?;
        let post = match template {
            Some(template) => {
                json!({ "type": "Sequence", "processors": [level(true), template] })
            }
            None => level(true),
        };
        let model = self.model(&self.merges()?, None, whole);
        Ok(self.described(&normalizer, &pre, &post, &level(true), &model))
    }

    /// BPE as `SentencePiece` does it (Kudo and Richardson, 2018): white space is a sign like any
    /// other, pairs join in the order of the scores, unknown signs become bytes.
    fn pieces(&self) -> Result<Value, LoadError> {
        let scores =
            self.header.array("tokenizer.ggml.scores").and_then(Array::floats).unwrap_or_default();
        if scores.len() != self.tokens.len() {
            let (scores, tokens) = (scores.len(), self.tokens.len());
            return Err(self.fail(format!("{scores} scores for {tokens} tokens")));
        }
        let prefix = self.header.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
        let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
        let prepend = prefix.then(|| json!({ "type": "Prepend", "prepend": "▁" }));
        let normalizers: Vec<_> = prepend.into_iter().chain([replace]).collect();
        let normalizer = json!({ "type": "Sequence", "normalizers": normalizers });
        let back = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
        let fallback = json!({ "type": "ByteFallback" });
        let strip = json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 });
        let strip = prefix.then_some(strip);
        let decoders = [back, fallback, json!({ "type": "Fuse" })].into_iter().chain(strip);
        let decoder = json!({ "type": "Sequence", "decoders": decoders.collect::<Vec<_>>() });
        let post = self.template(true)?.unwrap_or(Value::Null);
        let unknown = (0..self.tokens.len()).find(|&id| self.kind(id) == UNKNOWN);
        let unknown = unknown.map(|id| self.tokens[id].as_str());
        let model = self.model(&joins(self, &scores), unknown, false);
        Ok(self.described(&normalizer, &Value::Null, &post, &decoder, &model))
    }

    /// The pairs of `tokenizer.ggml.merges`, first ones first.
    fn merges(&self) -> Result<Vec<Value>, LoadError> {
        let merges = self.header.array("tokenizer.ggml.merges").and_then(Array::texts);
        let merges = merges.ok_or_else(|| self.fail("tokenizer.ggml.merges is missing".into()))?;
        let pair = |merge: &String| {
            // The first sign may itself be a space in old files.
            let first = merge.chars().next().map_or(0, char::len_utf8);
            let at = first + merge.get(first..)?.find(' ')?;
            Some(json!([merge[..at], merge[at + 1..]]))
        };
        let split = |merge: &String| {
            pair(merge).ok_or_else(|| {
                self.fail(format!("the merge '{}' is no pair of tokens", printable(merge)))
            })
        };
        merges.iter().map(split).collect()
    }

    fn model(&self, merges: &[Value], unknown: Option<&str>, whole: bool) -> Value {
        json!({
            "type": "BPE", "dropout": null, "unk_token": unknown,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": unknown.is_some(), "byte_fallback": unknown.is_some(),
            "ignore_merges": whole, "vocab": self.vocabulary(), "merges": merges,
        })
    }

    fn described(
        &self,
        normalizer: &Value,
        pre: &Value,
        post: &Value,
        decoder: &Value,
        model: &Value,
    ) -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.added(), "normalizer": normalizer, "pre_tokenizer": pre,
            "post_processor": post, "decoder": decoder, "model": model,
        })
    }

    fn fail(&self, why: String) -> LoadError {
        LoadError::Config { path: self.path.to_path_buf(), why }
    }
}

/// Every way to make a token of two others, tokens of high score first.
fn joins(table: &Table<'_>, scores: &[f64]) -> Vec<Value> {
    let normal = (0..table.tokens.len()).filter(|&id| table.kind(id) == NORMAL);
    let ids: HashMap<&str, usize> = normal.map(|id| (table.tokens[id].as_str(), id)).collect();
    let mut joins = Vec::new();
    for (token, &id) in &ids {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if ids.contains_key(left) && ids.contains_key(right) {
                joins.push((id, left, right));
            }
        }
    }
    // Of equal scores the one with the longer left part, as converters of such models do.
    joins.sort_by(|a, b| {
        let score = scores[b.0].total_cmp(&scores[a.0]);
        score.then(b.1.len().cmp(&a.1.len())).then(a.0.cmp(&b.0))
    });
    joins.into_iter().map(|(_, left, right)| json!([left, right])).collect()
}
