//! The tokenizer inside a GGUF file, put into the form of `tokenizer.json`.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::LoadError;
use crate::checkpoint::gguf::{Array, Header};
use crate::checkpoint::printable;
use crate::limit::VOCABULARY;
use crate::tokenizer::merge::Pairs;
use crate::tokenizer::one_line;

/// Token types of GGUF.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER: i64 = 4;
const UNUSED: i64 = 5;

/// The mark of a word's beginning.
pub(crate) const BEGIN: char = '\u{2581}';

/// How words are found in tokenizers of the byte-level kind: contractions, letters, digits,
/// other signs, white space; `{digits}` says how many digits may stay together.
pub(crate) const WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{digits}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Builds the tokenizer described by the metadata of the GGUF file at `path`: byte-level BPE
/// (`gpt2` with the splitters `gpt-2`, `smollm`, `llama-bpe`, `qwen2`), `SentencePiece` BPE
/// (`llama`) and `WordPiece` (`bert`). Special tokens and the marks before and after a text are
/// set; the chat template stays in the metadata. Linear in the vocabulary.
///
/// # Errors
/// [`LoadError`] for other kinds, and for tables that contradict each other.
pub(crate) fn from_gguf(path: &Path, header: &Header) -> Result<tokenizers::Tokenizer, LoadError> {
    let fail = |why: String| {
        let why = format!("not a tokenizer: {why}");
        LoadError::Config { path: path.to_path_buf(), why }
    };
    let mut table = Table::read(path, header)?;
    let (rest, model) = table.parts()?;
    match model {
        Model::Pairs(pairs) => pairs.tokenizer(rest).map_err(fail),
        Model::Words(_) => serde_json::from_value(whole(rest, &model))
            .map_err(|error| fail(one_line(&error.to_string()))),
    }
}

/// The `tokenizer.json` of the tokenizer that [`from_gguf`] builds.
///
/// # Errors
/// As [`from_gguf`].
pub(crate) fn describe(path: &Path, header: &Header) -> Result<Value, LoadError> {
    let mut table = Table::read(path, header)?;
    let (rest, model) = table.parts()?;
    Ok(whole(rest, &model))
}

/// The model of a tokenizer put to the rest of it.
fn whole(mut rest: Map<String, Value>, model: &Model<'_>) -> Value {
    let model = match model {
        Model::Pairs(pairs) => pairs.describe(),
        Model::Words(described) => described.clone(),
    };
    rest.insert("model".into(), model);
    Value::Object(rest)
}

/// How words become tokens.
enum Model<'a> {
    Pairs(Pairs<'a>),
    /// As JSON.
    Words(Value),
}

/// A `tokenizer.json` without its model, and that.
type Parts<'a> = (Map<String, Value>, Model<'a>);

/// A word of a `bert` vocabulary as `vocab.txt` spells it: GGUF marks where words begin, the
/// original where they go on.
pub(crate) fn word_piece(token: &str) -> String {
    match token.strip_prefix(BEGIN) {
        Some(word) => word.to_owned(),
        None if token.starts_with('[') && token.ends_with(']') => token.to_owned(),
        None => format!("##{token}"),
    }
}

/// The tables of a tokenizer.
struct Table<'a> {
    path: &'a Path,
    header: &'a Header,
    tokens: Vec<String>,
    /// Type of each token; empty where the file gives none.
    kinds: Vec<i64>,
}

impl<'a> Table<'a> {
    fn read(path: &'a Path, header: &'a Header) -> Result<Self, LoadError> {
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
        Ok(Self { path, header, tokens, kinds })
    }

    fn parts(&mut self) -> Result<Parts<'_>, LoadError> {
        match self.header.text("tokenizer.ggml.model") {
            Some("gpt2") => self.bytes(),
            Some("llama") => self.pieces(),
            Some("bert") => self.words(),
            other => {
                let what = format!("the tokenizer '{}'", printable(other.unwrap_or("none")));
                let supported =
                    "gpt2 (byte-level BPE), llama (SentencePiece BPE), bert (WordPiece)";
                Err(LoadError::Unsupported { path: self.path.to_path_buf(), what, supported })
            }
        }
    }

    fn kind(&self, token: usize) -> i64 {
        self.kinds.get(token).copied().unwrap_or(NORMAL)
    }

    fn vocabulary(&self) -> Vec<(&str, usize)> {
        // Rows of the word table that no word has are filled up with these.
        let padding = |id: usize, token: &str| token == format!("[PAD{id}]");
        let tokens = self.tokens.iter().enumerate();
        let known = tokens.filter(|(id, token)| self.kind(*id) != UNUSED || !padding(*id, token));
        known.map(|(id, token)| (token.as_str(), id)).collect()
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
    fn bytes(&self) -> Result<Parts<'_>, LoadError> {
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
        let model = self.model(self.merges()?, None, whole);
        Ok((self.described(&normalizer, &pre, &post, &level(true)), model))
    }

    /// BPE as `SentencePiece` does it (Kudo and Richardson, 2018): white space is a sign like any
    /// other, pairs join in the order of the scores, unknown signs become bytes.
    fn pieces(&self) -> Result<Parts<'_>, LoadError> {
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
        let model = self.model(joins(self, &scores), unknown, false);
        Ok((self.described(&normalizer, &Value::Null, &post, &decoder), model))
    }

    /// `WordPiece` (Schuster and Nakajima, 2012) as BERT uses it; of cased vocabularies only
    /// those with capital letters are known as such.
    fn words(&mut self) -> Result<Parts<'_>, LoadError> {
        for token in &mut self.tokens {
            *token = word_piece(token);
        }
        // Files that do not number their special tokens have them under the names of BERT.
        let special = |keys: [&str; 2], name: &str| {
            let id = keys.iter().find_map(|key| {
                let id = self.header.size(&format!("tokenizer.ggml.{key}_token_id"))?;
                (id < self.tokens.len()).then_some(id)
            });
            id.or_else(|| self.tokens.iter().position(|token| token == name)).ok_or_else(|| {
                self.fail(format!("tokenizer.ggml.{}_token_id names no token", keys[0]))
            })
        };
        let (first, last) =
            (special(["cls", "bos"], "[CLS]")?, special(["seperator", "eos"], "[SEP]")?);
        let unknown = self.tokens[special(["unknown", "unknown"], "[UNK]")?].as_str();
        let words = self.tokens.iter().filter(|token| !token.starts_with('['));
        let cased = words.flat_map(|word| word.bytes()).any(|byte| byte.is_ascii_uppercase());
        let piece = |id: usize, kind: u32| {
            let token = &self.tokens[id];
            json!({ "SpecialToken": { "id": token, "type_id": kind } })
        };
        let text = |name: &str, kind: u32| json!({ "Sequence": { "id": name, "type_id": kind } });
        let single = [piece(first, 0), text("A", 0), piece(last, 0)];
        let second = [text("B", 1), piece(last, 1)];
        let marks = [first, last].into_iter().map(|id| {
            let token = &self.tokens[id];
            (token.clone(), json!({ "id": token, "ids": [id], "tokens": [token] }))
        });
        let post = json!({
            "type": "TemplateProcessing", "single": single,
            "pair": single.iter().chain(&second).collect::<Vec<_>>(),
            "special_tokens": marks.collect::<Map<_, _>>(),
        });
        let normalizer = json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": !cased,
        });
        let decoder = json!({ "type": "WordPiece", "prefix": "##", "cleanup": true });
        let words = self.vocabulary().into_iter();
        let words = words.map(|(word, id)| (word.to_owned(), Value::from(id)));
        let model = json!({
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": words.collect::<Map<_, _>>(),
        });
        let pre = json!({ "type": "BertPreTokenizer" });
        Ok((self.described(&normalizer, &pre, &post, &decoder), Model::Words(model)))
    }

    /// The pairs of `tokenizer.ggml.merges`, first ones first.
    fn merges(&self) -> Result<Vec<(String, String)>, LoadError> {
        let merges = self.header.array("tokenizer.ggml.merges").and_then(Array::texts);
        let merges = merges.ok_or_else(|| self.fail("tokenizer.ggml.merges is missing".into()))?;
        let pair = |merge: &String| {
            // The first sign may itself be a space in old files.
            let first = merge.chars().next().map_or(0, char::len_utf8);
            let at = first + merge.get(first..)?.find(' ')?;
            Some((merge[..at].to_owned(), merge[at + 1..].to_owned()))
        };
        let split = |merge: &String| {
            pair(merge).ok_or_else(|| {
                self.fail(format!("the merge '{}' is no pair of tokens", printable(merge)))
            })
        };
        merges.iter().map(split).collect()
    }

    fn model<'t>(
        &'t self,
        merges: Vec<(String, String)>,
        unknown: Option<&'t str>,
        whole: bool,
    ) -> Model<'t> {
        Model::Pairs(Pairs { words: self.vocabulary(), merges, unknown, whole })
    }

    fn described(
        &self,
        normalizer: &Value,
        pre: &Value,
        post: &Value,
        decoder: &Value,
    ) -> Map<String, Value> {
        let parts = [
            ("version", &json!("1.0")),
            ("truncation", &Value::Null),
            ("padding", &Value::Null),
            ("added_tokens", &self.added().into()),
            ("normalizer", normalizer),
            ("pre_tokenizer", pre),
            ("post_processor", post),
            ("decoder", decoder),
        ];
        parts.map(|(name, part)| (name.to_owned(), part.clone())).into_iter().collect()
    }

    fn fail(&self, why: String) -> LoadError {
        LoadError::Config { path: self.path.to_path_buf(), why }
    }
}

/// Every way to make a token of two others, tokens of high score first.
fn joins(table: &Table<'_>, scores: &[f64]) -> Vec<(String, String)> {
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
    joins.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect()
}
