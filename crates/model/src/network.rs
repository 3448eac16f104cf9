//! Either kind of network, where only its weights and what they read are of interest.

use std::fmt;
use std::path::Path;

use crate::checkpoint::printable;
use crate::{
    Cancel, Checkpoint, Decoder, EmbedError, EmbedOptions, Encoder, ForwardError, ForwardOptions,
    LoadError, Tap,
};

/// A network of a family that Kvant runs.
#[derive(Debug)]
pub enum Network {
    /// Texts to vectors.
    Encoder(Box<Encoder>),
    /// Tokens to logits.
    Decoder(Box<Decoder>),
}

/// How [`Network::observe`] runs.
#[derive(Clone, Copy)]
pub struct ObserveOptions<'a> {
    /// Threads, at least 1. What is observed does not depend on it.
    pub threads: usize,
    /// Tokens of a sequence of a language model; no more than its context are taken.
    pub window: usize,
    /// Called with the number of parts done (texts of an encoder, sequences of a language
    /// model) and of all.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    /// Ends the call early.
    pub cancel: Option<&'a Cancel>,
}

impl Default for ObserveOptions<'_> {
    fn default() -> Self {
        Self { threads: 1, window: 512, progress: None, cancel: None }
    }
}

impl fmt::Debug for ObserveOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveOptions")
            .field("threads", &self.threads)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Texts that could not be run through a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// By an encoder.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// By a language model.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl Network {
    /// Loads the model directory or GGUF file at `path` as what it says it is.
    ///
    /// # Errors
    /// [`LoadError`] naming the file at fault; [`LoadError::Unsupported`] for other families.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::open(&Checkpoint::open(path)?)
    }

    /// Loads the network in `checkpoint`, with what was replaced there and in the precision
    /// chosen there.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let kind = match (checkpoint.gguf(), checkpoint.config()) {
            (Some(header), _) => header.text("general.architecture"),
            (None, Some(config)) => config.get("model_type").and_then(serde_json::Value::as_str),
            (None, None) => None,
        };
        match kind {
            Some("llama" | "mistral" | "qwen2") => {
                Decoder::open(checkpoint).map(|decoder| Self::Decoder(Box::new(decoder)))
            }
            // A directory without a type is an encoder of the older kind, or is told what it lacks.
            Some("bert") | None => {
                Encoder::open(checkpoint).map(|encoder| Self::Encoder(Box::new(encoder)))
            }
            Some(other) => Err(LoadError::Unsupported {
                path: checkpoint.path().to_path_buf(),
                what: format!("architecture '{}'", printable(other)),
                supported: "encoders of type bert, decoders of type llama, mistral and qwen2",
            }),
        }
    }

    /// Runs `texts` for what `tap` sees: every distinct input of the linear layers, in an order
    /// that depends on the texts and the options but not on the threads.
    ///
    /// An encoder takes each text for itself. For a language model the texts are joined by line
    /// breaks and cut into sequences of [`ObserveOptions::window`] tokens.
    ///
    /// # Errors
    /// [`ObserveError`] if the tokenizer refuses a text, the weights are broken, or it is
    /// cancelled.
    pub fn observe<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &ObserveOptions<'_>,
        tap: &mut dyn Tap,
    ) -> Result<(), ObserveError> {
        match self {
            Self::Encoder(encoder) => observe_encoder(encoder, texts, options, tap),
            Self::Decoder(decoder) => observe_decoder(decoder, texts, options, tap),
        }
    }
}

fn observe_encoder<S: AsRef<str> + Sync>(
    encoder: &Encoder,
    texts: &[S],
    options: &ObserveOptions<'_>,
    tap: &mut dyn Tap,
) -> Result<(), ObserveError> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let progress = |count: usize| {
        let done = done.fetch_add(count, std::sync::atomic::Ordering::Relaxed) + count;
        if let Some(progress) = options.progress {
            progress(done, texts.len());
        }
    };
    let embed = EmbedOptions {
        threads: options.threads,
        progress: Some(&progress),
        cancel: options.cancel,
        ..EmbedOptions::default()
    };
    Ok(encoder.observe(texts, &embed, tap)?)
}

fn observe_decoder<S: AsRef<str>>(
    decoder: &Decoder,
    texts: &[S],
    options: &ObserveOptions<'_>,
    tap: &mut dyn Tap,
) -> Result<(), ObserveError> {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    let window = options.window.min(decoder.context());
    let windows = decoder.windows(&texts.join("\n"), window)?;
    for (index, tokens) in windows.iter().enumerate() {
        let ObserveOptions { threads, cancel, .. } = *options;
        let tap: Option<&mut dyn Tap> = Some(&mut *tap);
        decoder.observe(tokens, ForwardOptions { threads, tap, cancel, ..Default::default() })?;
        if let Some(progress) = options.progress {
            progress(index + 1, windows.len());
        }
    }
    Ok(())
}
