//! Running a model over text for what its layers see.

use std::fmt;
use std::path::Path;

use kvant_model::{Checkpoint, Compute, Network, ObserveOptions};

use super::gather::Gather;
use super::{CalibrateError, Calibration};

/// Fewest tokens that say anything.
pub const TOKENS_MIN: u64 = 1024;

/// How [`Calibration::collect`] runs.
#[derive(Clone, Copy)]
pub struct CalibrateOptions<'a> {
    /// Threads to work on, at least 1. The statistics do not depend on it.
    pub threads: usize,
    /// Tokens to look at; less text gives fewer.
    pub tokens: usize,
    /// Tokens of a sequence of a language model.
    pub window: usize,
    /// Called with the number of parts done and of all.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

impl Default for CalibrateOptions<'_> {
    fn default() -> Self {
        Self { threads: 1, tokens: 32_768, window: 512, progress: None }
    }
}

impl fmt::Debug for CalibrateOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalibrateOptions")
            .field("threads", &self.threads)
            .field("tokens", &self.tokens)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl Calibration {
    /// Runs the model at `source` over `texts` (sentences or paragraphs, taken evenly from all
    /// of them) until about [`CalibrateOptions::tokens`] tokens were seen.
    ///
    /// # Errors
    /// [`CalibrateError`] when the model does not load or run, or the text has fewer than
    /// [`TOKENS_MIN`] tokens.
    pub fn collect<S: AsRef<str> + Sync>(
        source: &Path,
        texts: &[S],
        options: &CalibrateOptions<'_>,
    ) -> Result<Self, CalibrateError> {
        Self::observe(Checkpoint::open(source)?, texts, options)
    }

    /// As [`Calibration::collect`], of a checkpoint that is open.
    ///
    /// # Errors
    /// As [`Calibration::collect`].
    pub fn observe<S: AsRef<str> + Sync>(
        source: Checkpoint,
        texts: &[S],
        options: &CalibrateOptions<'_>,
    ) -> Result<Self, CalibrateError> {
        // What the weights read without anything rounded.
        let network = Network::open(&source.with_compute(Compute::Float32))?;
        let texts = sample(&network, texts, options.tokens)?;
        let mut gather = Gather::new(options.threads);
        let observe = ObserveOptions {
            threads: options.threads,
            window: options.window,
            progress: options.progress,
            ..ObserveOptions::default()
        };
        network.observe(&texts, &observe, &mut gather)?;
        let got = gather.tokens();
        if got < TOKENS_MIN {
            let wished = options.tokens as u64;
            return Err(CalibrateError::Short { got, min: TOKENS_MIN, wished });
        }
        Ok(Self { inputs: gather.finish() })
    }
}

/// About `tokens` tokens of `texts`: every n-th of them, so that all parts of a book count.
fn sample<'a, S: AsRef<str>>(
    network: &Network,
    texts: &'a [S],
    tokens: usize,
) -> Result<Vec<&'a str>, CalibrateError> {
    let texts: Vec<&str> = texts.iter().map(|text| text.as_ref().trim()).collect();
    let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    // The tokens of some tell how many are needed; every text is tokenized again when it runs.
    let probe = texts.len().div_ceil(64).max(1);
    let (mut seen, mut probed) = (0usize, 0usize);
    for text in texts.iter().step_by(probe) {
        seen += count(network, text)?;
        probed += 1;
    }
    let total = seen as f64 / probed.max(1) as f64 * texts.len() as f64;
    let step = (total / tokens.max(1) as f64).max(1.0);
    let wanted = (texts.len() as f64 / step).ceil() as usize;
    let at = |index: usize| texts[((index as f64 * step) as usize).min(texts.len() - 1)];
    Ok((0..wanted.min(texts.len())).map(at).collect())
}

fn count(network: &Network, text: &str) -> Result<usize, CalibrateError> {
    let tokens = match network {
        Network::Encoder(encoder) => {
            encoder.tokenize(text).map_err(kvant_model::ObserveError::from)?.len()
        }
        Network::Decoder(decoder) => {
            decoder.tokenize(text).map_err(kvant_model::ObserveError::from)?.len()
        }
    };
    Ok(tokens)
}
