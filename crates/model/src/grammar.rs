//! Texts that must be of a form: JSON, or JSON that fits a schema.

use std::fmt;
use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{self, SimpleVob, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use crate::Decoder;
use crate::tokenizer::one_line;

/// A grammar that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// The schema is not one, or uses what is not supported.
    #[error("the JSON schema cannot be followed: {why}")]
    Schema {
        /// What is wrong with it.
        why: String,
    },
    /// The vocabulary of the model cannot spell text.
    #[error("the model's vocabulary cannot be constrained: {why}")]
    Vocabulary {
        /// Why.
        why: String,
    },
}

/// Makes grammars for one model.
///
/// Preparing the vocabulary takes tens of milliseconds, a grammar after that a few.
pub struct Grammars {
    factory: ParserFactory,
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

/// What one text must follow, and how far it has come.
pub struct Grammar {
    matcher: Matcher,
    allowed: SimpleVob,
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

/// A vocabulary as the parser wants it.
struct Words(TokTrie);

impl toktrie::TokenizerEnv for Words {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<u32> {
        self.0.greedy_tokenize(text)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

impl Grammars {
    /// Prepares the vocabulary of `decoder`.
    ///
    /// # Errors
    /// [`GrammarError::Vocabulary`] if the model has no end token or its tokens spell nothing.
    pub fn new(decoder: &Decoder) -> Result<Self, GrammarError> {
        let fail = |why: &str| GrammarError::Vocabulary { why: one_line(why) };
        let ends = decoder.end_tokens();
        let &end = ends.first().ok_or_else(|| fail("it has no end token"))?;
        let pieces = decoder.pieces();
        let words = (0..decoder.vocabulary() as u32).map(|token| {
            let bytes = pieces.bytes(token);
            if pieces.is_special(token) {
                // Out of the way of text.
                return [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat();
            }
            bytes.to_vec()
        });
        let words: Vec<Vec<u8>> = words.collect();
        let info = TokRxInfo::new(decoder.vocabulary() as u32, end);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(ends);
        let words: toktrie::TokEnv = Arc::new(Words(trie));
        let mut factory =
            ParserFactory::new_simple(&words).map_err(|error| fail(&error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits::default();
        Ok(Self { factory })
    }

    /// Any JSON object.
    ///
    /// # Errors
    /// [`GrammarError`] as [`Grammars::schema`].
    pub fn json(&self) -> Result<Grammar, GrammarError> {
        self.schema(json!({ "type": "object" }))
    }

    /// JSON that fits `schema` (JSON Schema, the parts that llguidance follows), on one line, with
    /// a space after each comma and colon: where white space is free, small models write nothing
    /// else. A schema's own `x-guidance` says otherwise.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] naming what cannot be followed.
    pub fn schema(&self, mut schema: Value) -> Result<Grammar, GrammarError> {
        if let Some(schema) = schema.as_object_mut() {
            schema.entry("x-guidance").or_insert_with(|| {
                json!({
                    "whitespace_flexible": false,
                    "item_separator": ", ",
                    "key_separator": ": ",
                })
            });
        }
        let fail = |why: &str| GrammarError::Schema { why: one_line(why) };
        let grammar = TopLevelGrammar::from_json_schema(schema);
        let parser = self.factory.create_parser(grammar);
        let parser = parser.map_err(|error| fail(&error.to_string()))?;
        let mut matcher = Matcher::new(Ok(parser));
        if let Some(why) = matcher.get_error() {
            return Err(fail(&why));
        }
        let allowed = matcher.compute_mask().map_err(|error| fail(&error.to_string()))?;
        Ok(Grammar { matcher, allowed })
    }
}

impl Grammar {
    /// A bit for each token that may come next, 32 a word; `None` if none may.
    pub(crate) fn allowed(&mut self) -> Option<&[u32]> {
        self.allowed = self.matcher.compute_mask_or_eos().ok()?;
        (!self.allowed.is_zero()).then(|| self.allowed.as_slice())
    }

    /// Goes on by `token`; says whether the text is complete and cannot go on, `None` if the
    /// grammar cannot follow.
    pub(crate) fn accept(&mut self, token: u32) -> Option<bool> {
        self.matcher.consume_token(token).ok()?;
        Some(self.matcher.is_stopped())
    }
}
