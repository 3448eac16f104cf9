//! Text from a language model: requests, what comes of them, and the engine that runs them side by
//! side.

mod engine;
mod live;
mod stop;

use crate::grammar::GrammarError;
use crate::{Cancel, Choice, ForwardError, Grammar, Sampling, SamplingError};

pub use engine::{Engine, EngineOptions};

/// A text to be continued.
#[derive(Debug)]
pub struct Request {
    /// The tokens to continue, special ones included; at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to make.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the generation where they begin, however tokens cut them. Empty ones are of
    /// no effect.
    pub stop: Vec<String>,
    /// Whether the model may end the text itself.
    pub ending: Ending,
    /// What happens when the context is full.
    pub overflow: Overflow,
    /// What the text must follow.
    pub grammar: Option<Grammar>,
    /// Ends the request before its next token, and within the time of one.
    pub cancel: Cancel,
}

impl Request {
    /// A request of `prompt` for at most `max_tokens` tokens, greedy, until the model ends it.
    pub fn new(prompt: Vec<u32>, max_tokens: usize) -> Self {
        Self {
            prompt,
            max_tokens,
            sampling: Sampling::default(),
            stop: Vec::new(),
            ending: Ending::Own,
            overflow: Overflow::Stop,
            grammar: None,
            cancel: Cancel::new(),
        }
    }
}

/// Whether end tokens end a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// They do.
    #[default]
    Own,
    /// They are tokens as any other: for measurements.
    Ignored,
}

/// What happens when the context is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The text ends.
    #[default]
    Stop,
    /// The first `keep` tokens stay, of the others the older half is forgotten
    /// ([`Cache::slide`](crate::Cache::slide)).
    Slide {
        /// Tokens that stay, as a system prompt; at most half the context.
        keep: usize,
    },
}

/// The name of a request, unique in its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// What an engine tells about its requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A token was chosen.
    Token(Token),
    /// A request is done; nothing follows.
    Finished(Finished),
}

/// A token of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Whose.
    pub id: RequestId,
    /// The token and its log-probabilities.
    pub choice: Choice,
    /// What is now certain of the text, whole characters; may be empty, and may hold what earlier
    /// tokens began.
    pub text: String,
}

/// The end of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Whose.
    pub id: RequestId,
    /// Why.
    pub finish: Finish,
    /// What is left of the text.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, read by an earlier request with the same beginning.
    pub reused_tokens: usize,
    /// Tokens made, an end token not counted.
    pub new_tokens: usize,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or its grammar is fulfilled.
    End,
    /// One of [`Request::stop`] came.
    Stop,
    /// It has [`Request::max_tokens`].
    Length,
    /// The context is full.
    Context,
    /// [`Request::cancel`] was set.
    Cancelled,
    /// The grammar could not go on: no token fits it, or it grew beyond its limits.
    Grammar,
}

impl Finish {
    /// One word: `end`, `stop`, `length`, `context`, `cancelled`, `grammar`.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
            Self::Cancelled => "cancelled",
            Self::Grammar => "grammar",
        }
    }
}

/// A request that cannot be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// There is nothing to continue.
    #[error("the prompt has no tokens; give at least one character")]
    Empty,
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {tokens} tokens, the context holds {context}; shorten the prompt")]
    Long {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of the context.
        context: usize,
    },
    /// A token that is none.
    #[error("token {token} is outside the {vocabulary} words of the network")]
    Vocabulary {
        /// The token.
        token: u32,
        /// Entries of the word table.
        vocabulary: usize,
    },
    /// More is to stay than may.
    #[error("{keep} tokens to keep; expected at most {limit}, half the context")]
    Keep {
        /// Tokens to keep.
        keep: usize,
        /// The most.
        limit: usize,
    },
    /// Settings that make no sense.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
}

/// A text that could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenerateError {
    /// The request makes no sense.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The model cannot be run.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The grammar cannot be used.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
}
