//! The tokenizer of a model directory as GGUF metadata, as llama.cpp reads it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Metadata;
use crate::checkpoint::printable;
use crate::limit::TOKENIZER_BYTES;
use crate::name::Family;
use crate::tokenizer::{BEGIN, WORDS};
use crate::{LoadError, file};

/// What llama.cpp calls the kinds of tokens.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Special tokens: the key of `tokenizer_config.json`, what stands in for it, the key of GGUF.
/// `seperator` is how the format spells it.
pub(crate) const SPECIAL: [(&str, &str, &str); 7] = [
    ("bos", "cls", "bos_token_id"),
    ("eos", "sep", "eos_token_id"),
    ("unk", "unk", "unknown_token_id"),
    ("sep", "sep", "seperator_token_id"),
    ("pad", "pad", "padding_token_id"),
    ("cls", "cls", "cls_token_id"),
    ("mask", "mask", "mask_token_id"),
];

/// Adds the entries `tokenizer.*` for the tokenizer in `dir`, whose words are the `size` rows of
/// the word table.
pub(super) fn describe(
    metadata: &mut Metadata,
    dir: &Path,
    family: Family,
    size: usize,
) -> Result<(), LoadError> {
    let path = dir.join("tokenizer.json");
    if !path.exists() {
        let (what, remedy) = ("tokenizer.json", "copy it from the model's source");
        return Err(LoadError::Missing { path: dir.to_path_buf(), what, remedy });
    }
    let tokenizer = file::json(&path, TOKENIZER_BYTES)?;
    let settings = file::json_if_there(&dir.join("tokenizer_config.json"))?.unwrap_or_default();
    let source = Source { path, tokenizer, settings };
    let (tokens, kinds) = source.tokens(size)?;
    let model = source.model()?;
    match (family, model) {
        (Family::Bert, "WordPiece") => source.word_pieces(metadata, &tokens),
        (Family::Llama | Family::Qwen2, "BPE") => source.byte_pairs(metadata, &tokens, &kinds)?,
        (_, other) => {
            let what = format!("tokenizer {} of a {} model", printable(other), family.name());
            return Err(source.unsupported(what, "WordPiece for bert; BPE for llama and qwen2"));
        }
    }
    metadata.i32s("tokenizer.ggml.token_type", &kinds);
    source.special(metadata, dir, &tokens)?;
    source.template(metadata, dir)
}

/// The files of a tokenizer.
struct Source {
    path: PathBuf,
    tokenizer: Value,
    settings: Value,
}

impl Source {
    fn fail(&self, why: &str) -> LoadError {
        LoadError::Config { path: self.path.clone(), why: why.to_owned() }
    }

    fn unsupported(&self, what: String, supported: &'static str) -> LoadError {
        LoadError::Unsupported { path: self.path.clone(), what, supported }
    }

    fn model(&self) -> Result<&str, LoadError> {
        let model = self.tokenizer.get("model").ok_or_else(|| self.fail("has no model"))?;
        // Files of the first years do not name it; only BPE has merges.
        let unnamed = if model.get("merges").is_some() { "BPE" } else { "WordPiece" };
        Ok(model.get("type").and_then(Value::as_str).unwrap_or(unnamed))
    }

    fn field(&self, key: &str) -> Option<&Value> {
        self.tokenizer.get("model")?.get(key)
    }

    /// Every token by number, and its kind; rows of the table without a word are `[PADn]`.
    fn tokens(&self, size: usize) -> Result<(Vec<String>, Vec<i32>), LoadError> {
        let vocabulary = self.field("vocab").and_then(Value::as_object);
        let vocabulary = vocabulary.ok_or_else(|| self.fail("its vocab is no object"))?;
        let byte = self.field("byte_fallback") == Some(&Value::Bool(true));
        let mut tokens: Vec<String> = (0..size).map(|at| format!("[PAD{at}]")).collect();
        let mut kinds = vec![UNUSED; size];
        let mut put = |id: Option<u64>, word: &str, kind: i32| {
            let id = id.and_then(|id| usize::try_from(id).ok()).filter(|&id| id < size);
            let Some(id) = id else {
                let word = printable(word);
                let why = format!("token '{word}' is outside the {size} rows of the word table");
                return Err(self.fail(&why));
            };
            word.clone_into(&mut tokens[id]);
            kinds[id] = kind;
            Ok(())
        };
        for (word, id) in vocabulary {
            let is_byte = byte && word.len() == 6 && word.starts_with("<0x") && word.ends_with('>');
            put(id.as_u64(), word, if is_byte { BYTE } else { NORMAL })?;
        }
        let unknown = self.field("unk_token").and_then(Value::as_str);
        for added in self.added() {
            let word = added.get("content").and_then(Value::as_str);
            let word = word.ok_or_else(|| self.fail("an added token has no content"))?;
            let special = added.get("special") == Some(&Value::Bool(true));
            let kind = if special && byte && unknown == Some(word) {
                UNKNOWN
            } else if special {
                CONTROL
            } else {
                USER_DEFINED
            };
            put(added.get("id").and_then(Value::as_u64), word, kind)?;
        }
        Ok((tokens, kinds))
    }

    fn added(&self) -> impl Iterator<Item = &Value> {
        self.tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten()
    }

    /// Words begin with a mark and their continuations with nothing, the other way round than in
    /// `##` of `vocab.txt`.
    fn word_pieces(&self, metadata: &mut Metadata, tokens: &[String]) {
        let prefix = self.field("continuing_subword_prefix").and_then(Value::as_str);
        let prefix = prefix.unwrap_or("##");
        let turned = tokens.iter().map(|token| match token.strip_prefix(prefix) {
            _ if token.starts_with('[') && token.ends_with(']') => token.clone(),
            Some(rest) => rest.to_owned(),
            None => format!("{BEGIN}{token}"),
        });
        metadata.text("tokenizer.ggml.model", "bert");
        metadata.texts("tokenizer.ggml.tokens", &turned.collect::<Vec<_>>());
    }

    fn byte_pairs(
        &self,
        metadata: &mut Metadata,
        tokens: &[String],
        kinds: &[i32],
    ) -> Result<(), LoadError> {
        if self.field("byte_fallback") == Some(&Value::Bool(true)) {
            // A sentencepiece vocabulary: words are joined by their score, which falls with
            // their number.
            let first = kinds.iter().position(|&kind| kind == NORMAL).unwrap_or(0);
            let score = |(at, &kind): (usize, &i32)| {
                if kind == NORMAL { -(at.saturating_sub(first) as f32) } else { 0.0 }
            };
            let scores: Vec<f32> = kinds.iter().enumerate().map(score).collect();
            metadata.text("tokenizer.ggml.model", "llama");
            metadata.text("tokenizer.ggml.pre", "default");
            metadata.texts("tokenizer.ggml.tokens", tokens);
            metadata.f32s("tokenizer.ggml.scores", &scores);
            return Ok(());
        }
        let Some(pre) = self.tokenizer.get("pre_tokenizer").and_then(pre) else {
            let what = "this way of splitting text (pre_tokenizer) in GGUF".into();
            return Err(self.unsupported(what, "those of GPT-2, SmolLM, Llama 3 and Qwen2"));
        };
        let merges = self.field("merges").and_then(Value::as_array);
        let merges = merges.ok_or_else(|| self.fail("its BPE has no merges"))?;
        let merges: Option<Vec<String>> = merges.iter().map(merge).collect();
        let merges = merges.ok_or_else(|| self.fail("a merge is no pair of words"))?;
        metadata.text("tokenizer.ggml.model", "gpt2");
        metadata.text("tokenizer.ggml.pre", pre);
        metadata.texts("tokenizer.ggml.tokens", tokens);
        metadata.texts("tokenizer.ggml.merges", &merges);
        Ok(())
    }

    /// The numbers of the special tokens and whether they are put around every text.
    fn special(
        &self,
        metadata: &mut Metadata,
        dir: &Path,
        tokens: &[String],
    ) -> Result<(), LoadError> {
        let config = file::json_if_there(&dir.join("config.json"))?.unwrap_or_default();
        let word = |name: &str| {
            let entry = self.settings.get(format!("{name}_token"))?;
            entry.as_str().or(entry.get("content").and_then(Value::as_str))
        };
        let number = |name: &str| {
            let found = word(name).and_then(|word| tokens.iter().position(|token| token == word));
            let stated = config.get(format!("{name}_token_id")).and_then(Value::as_u64);
            let id = found.map(|id| id as u64).or(stated).filter(|&id| id < tokens.len() as u64)?;
            u32::try_from(id).ok()
        };
        for (name, instead, key) in SPECIAL {
            if let Some(id) = number(name).or_else(|| number(instead)) {
                metadata.u32(&format!("tokenizer.ggml.{key}"), id);
            }
        }
        let (first, last) = self.around();
        let is = |word_put: Option<&str>, names: [&str; 2]| {
            word_put.is_some_and(|put| names.into_iter().any(|name| word(name) == Some(put)))
        };
        for (name, put) in [("bos", is(first, ["bos", "cls"])), ("eos", is(last, ["eos", "sep"]))] {
            let stated = self.settings.get(format!("add_{name}_token")).and_then(Value::as_bool);
            metadata.flag(&format!("tokenizer.ggml.add_{name}_token"), stated.unwrap_or(put));
        }
        if let Some(space) = self.settings.get("add_prefix_space").and_then(Value::as_bool) {
            metadata.flag("tokenizer.ggml.add_space_prefix", space);
        }
        Ok(())
    }

    /// The special tokens that the post-processor puts before and after a single text.
    fn around(&self) -> (Option<&str>, Option<&str>) {
        let Some(post) = self.tokenizer.get("post_processor") else { return (None, None) };
        let several = post.get("processors").and_then(Value::as_array);
        let all = several.map_or(std::slice::from_ref(post), Vec::as_slice);
        let template = all.iter().find_map(|one| one.get("single").and_then(Value::as_array));
        let template = template.map(Vec::as_slice).unwrap_or_default();
        (special(template.first()), special(template.last()))
    }

    fn template(&self, metadata: &mut Metadata, dir: &Path) -> Result<(), LoadError> {
        let path = dir.join("chat_template.jinja");
        if let Some(text) = self.settings.get("chat_template").and_then(Value::as_str) {
            metadata.text("tokenizer.chat_template", text);
        } else if path.exists() {
            let bytes = file::read_bounded(&path, crate::limit::CONFIG_BYTES)?;
            metadata.text("tokenizer.chat_template", &String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }
}

/// The special token of a piece of a template.
fn special(piece: Option<&Value>) -> Option<&str> {
    piece?.get("SpecialToken")?.get("id")?.as_str()
}

/// A merge as "left right"; spaces inside the words become the letter that stands for them.
fn merge(merge: &Value) -> Option<String> {
    if let Some(text) = merge.as_str() {
        return Some(text.to_owned());
    }
    let [left, right] = merge.as_array()?.as_slice() else { return None };
    let part = |part: &Value| Some(part.as_str()?.replace(' ', "\u{120}"));
    Some(format!("{} {}", part(left)?, part(right)?))
}

/// What llama.cpp calls a way of splitting text, if it is one of those known here.
fn pre(splitter: &Value) -> Option<&'static str> {
    let several = splitter.get("pretokenizers").and_then(Value::as_array);
    let all = several.map_or(std::slice::from_ref(splitter), Vec::as_slice);
    let kind = |one: &Value| one.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let kinds: Vec<String> = all.iter().map(kind).collect();
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let first = all.first()?;
    match kinds[..] {
        ["ByteLevel"] => Some("gpt-2"),
        ["Digits", "ByteLevel"] if first.get("individual_digits") == Some(&Value::Bool(true)) => {
            Some("smollm")
        }
        ["Split", "ByteLevel"] => {
            let regex = first.get("pattern")?.get("Regex")?.as_str()?;
            let known = [("{1,3}", "llama-bpe"), ("", "qwen2")].into_iter();
            let mut known = known.map(|(digits, name)| (WORDS.replace("{digits}", digits), name));
            known.find(|(words, _)| words == regex).map(|(_, name)| name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_are_pairs_in_both_spellings() {
        assert_eq!(merge(&json!("a b")).as_deref(), Some("a b"));
        assert_eq!(merge(&json!(["a ", "b"])).as_deref(), Some("a\u{120} b"));
        assert_eq!((merge(&json!(["a"])), merge(&json!(1))), (None, None));
    }
}
