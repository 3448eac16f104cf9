//! The tokens after which a model has said all.

use std::collections::BTreeSet;

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::{Checkpoint, LoadError, file};

/// What models of several families call the end of a turn or a text.
const NAMES: [&str; 6] =
    ["<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "</s>"];

/// All end tokens that the files of `checkpoint` name: `eos`, `eot` and `eom` of GGUF;
/// `eos_token_id` of `generation_config.json` and `config.json`, `eos_token` of
/// `tokenizer_config.json`; and special tokens that are called so. Ascending.
///
/// # Errors
/// [`LoadError`] if one of the files is no JSON.
pub(crate) fn tokens(
    checkpoint: &Checkpoint,
    tokenizer: &Tokenizer,
    vocabulary: usize,
) -> Result<Vec<u32>, LoadError> {
    let mut found = BTreeSet::new();
    let added = tokenizer.get_added_tokens_decoder();
    found.extend(
        added
            .iter()
            .filter(|(_, word)| word.special && NAMES.contains(&word.content.as_str()))
            .map(|(token, _)| u64::from(*token)),
    );
    if let Some(header) = checkpoint.gguf() {
        for name in ["eos", "eot", "eom"] {
            found.extend(header.size(&format!("tokenizer.ggml.{name}_token_id")).map(|n| n as u64));
        }
    } else {
        let dir = checkpoint.path();
        let generation = file::json_if_there(&dir.join("generation_config.json"))?;
        for config in [generation.as_ref(), checkpoint.config()].into_iter().flatten() {
            match config.get("eos_token_id") {
                Some(Value::Array(all)) => found.extend(all.iter().filter_map(Value::as_u64)),
                Some(one) => found.extend(one.as_u64()),
                None => {}
            }
        }
        let settings = file::json_if_there(&dir.join("tokenizer_config.json"))?;
        let word = settings.as_ref().and_then(|settings| word(settings, "eos_token"));
        found.extend(word.and_then(|word| tokenizer.token_to_id(word)).map(u64::from));
    }
    Ok(found.into_iter().filter(|&token| token < vocabulary as u64).map(|t| t as u32).collect())
}

/// A token of `tokenizer_config.json`, written as a text or as an object with `content`.
pub(crate) fn word<'a>(settings: &'a Value, key: &str) -> Option<&'a str> {
    let value = settings.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str())
}
