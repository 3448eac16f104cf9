//! The tables of byte pair encoding (Sennrich et al., 2016), as JSON or ready to run.

use serde_json::{Map, Value, json};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, Tokenizer};

use crate::tokenizer::one_line;

/// Words and the pairs of them that are joined.
pub(super) struct Pairs<'a> {
    /// Words and their tokens; of equal words the last counts.
    pub(super) words: Vec<(&'a str, usize)>,
    /// Pairs, those that are joined first before others.
    pub(super) merges: Vec<(String, String)>,
    /// What stands for signs without a word; they become bytes first.
    pub(super) unknown: Option<&'a str>,
    /// Whether a word of the table is taken before pairs are looked at.
    pub(super) whole: bool,
}

impl Pairs<'_> {
    /// As `tokenizer.json` has it.
    pub(super) fn describe(&self) -> Value {
        let words = self.words.iter().map(|&(word, id)| (word.to_owned(), Value::from(id)));
        let merges = self.merges.iter().map(|(left, right)| json!([left, right]));
        json!({
            "type": "BPE", "dropout": null, "unk_token": self.unknown,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": self.unknown.is_some(), "byte_fallback": self.unknown.is_some(),
            "ignore_merges": self.whole, "vocab": words.collect::<Map<_, _>>(),
            "merges": merges.collect::<Vec<_>>(),
        })
    }

    /// The tokenizer that `described` is with these tables in the place of its model: the same as
    /// from the whole JSON, in a fifth of the time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn tokenizer(self, mut described: Map<String, Value>) -> Result<Tokenizer, String> {
        let refuse = |error: serde_json::Error| one_line(&error.to_string());
        let added = described.insert("added_tokens".into(), json!([])).unwrap_or(json!([]));
        let added: Vec<AddedToken> = serde_json::from_value(added).map_err(refuse)?;
        let none = Pairs { words: Vec::new(), merges: Vec::new(), ..self };
        described.insert("model".into(), none.describe());
        let mut tokenizer: Tokenizer =
            serde_json::from_value(Value::Object(described)).map_err(refuse)?;
        let words = self.words.into_iter().map(|(word, id)| (word.to_owned(), id as u32));
        let mut model = BPE::builder()
            .vocab_and_merges(words.collect::<Vocab>(), self.merges)
            .fuse_unk(self.unknown.is_some())
            .byte_fallback(self.unknown.is_some())
            .ignore_merges(self.whole);
        if let Some(unknown) = self.unknown {
            model = model.unk_token(unknown.to_owned());
        }
        tokenizer.with_model(model.build().map_err(|error| one_line(&error.to_string()))?);
        // Their numbers come from the words, as they do when JSON is read.
        tokenizer.add_tokens(&added);
        Ok(tokenizer)
    }
}
