//! Texts to vectors.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kvant_kernels::{Kernels, kernels};

use crate::arch::bert::Bert;
use crate::checkpoint::gguf::Header;
use crate::checkpoint::printable;
use crate::config::Config;
use crate::layer::{Batch, Scratch};
use crate::pool::Pooling;
use crate::tokenizer::Tokenizer;
use crate::worker::{self, lock};
use crate::{Checkpoint, EmbedError, LoadError, Tap};

/// Texts whose tokens are held at a time.
const WINDOW: usize = 16_384;
/// Texts a thread tokenizes at a time.
const CHUNK: usize = 64;

/// How [`Encoder::embed`] runs. The vectors do not depend on any of it.
#[derive(Clone, Copy)]
pub struct EmbedOptions<'a> {
    /// Threads, at least 1.
    pub threads: usize,
    /// Tokens that go through the network together, at least one text; costs about 16 kB each.
    pub batch_tokens: usize,
    /// Called from any thread with the number of texts finished since the last call.
    pub progress: Option<&'a (dyn Fn(usize) + Sync)>,
}

impl Default for EmbedOptions<'_> {
    fn default() -> Self {
        Self { threads: 1, batch_tokens: 512, progress: None }
    }
}

impl fmt::Debug for EmbedOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedOptions")
            .field("threads", &self.threads)
            .field("batch_tokens", &self.batch_tokens)
            .finish_non_exhaustive()
    }
}

/// A BERT-like sentence encoder ready to run.
pub struct Encoder {
    path: PathBuf,
    tokenizer: Tokenizer,
    network: Bert,
    pooling: Pooling,
    kernels: &'static Kernels,
    /// Memory of finished calls, taken up by the next ones.
    spare: Mutex<Vec<Work>>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("dim", &self.dim())
            .field("max_tokens", &self.max_tokens())
            .field("pooling", &self.pooling)
            .finish_non_exhaustive()
    }
}

/// What one thread needs to run batches.
#[derive(Default)]
struct Work {
    batch: Batch,
    scratch: Scratch,
}

impl Encoder {
    /// Loads the sentence-transformers directory `dir`: `config.json`, `tokenizer.json`,
    /// `model.safetensors`, and if there `modules.json`, `1_Pooling/config.json` and
    /// `sentence_bert_config.json`. Without `modules.json`: mean pooling, not normalised.
    /// Or a GGUF file of the architecture `bert`, whose vectors are normalised unless it says no.
    ///
    /// # Errors
    /// [`LoadError`] naming the file at fault and the remedy.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        Self::open(&Checkpoint::open(dir)?)
    }

    /// Loads the encoder in `checkpoint`, with what was replaced there and in the precision
    /// chosen there.
    ///
    /// # Errors
    /// As [`Encoder::load`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let dir = checkpoint.path();
        let (config, tokenizer, pooling) = match (checkpoint.gguf(), checkpoint.config()) {
            (Some(header), _) => gguf(checkpoint, header)?,
            (None, Some(config)) => {
                let config = Config::parse(&dir.join("config.json"), config)?;
                let tokenizer = Tokenizer::read(dir, config.positions)?;
                (config, tokenizer, Pooling::read(dir)?)
            }
            (None, None) => {
                let (what, remedy) = ("config.json", "copy it from the model's source");
                return Err(LoadError::Missing { path: dir.to_path_buf(), what, remedy });
            }
        };
        let network = Bert::load(checkpoint, config)?;
        let (path, spare) = (dir.to_path_buf(), Mutex::default());
        Ok(Self { path, tokenizer, network, pooling, kernels: kernels(), spare })
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.network.hidden()
    }

    /// Tokens of the longest text, special ones included; longer texts are cut.
    pub fn max_tokens(&self) -> usize {
        self.tokenizer.max_tokens()
    }

    /// Multiply-adds of a forward pass over one text of `tokens` tokens.
    pub fn macs(&self, tokens: usize) -> u64 {
        self.network.macs(tokens)
    }

    /// Bytes of the weights as held for running (mapped tables included).
    pub fn weight_bytes(&self) -> usize {
        self.network.size_bytes()
    }

    /// The tokens of `text` as the network gets them: with special tokens, cut to
    /// [`Encoder::max_tokens`]. Of a text only the first MiB is read.
    ///
    /// # Errors
    /// [`EmbedError`] with index 0 if the tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        self.tokens(0, text)
    }

    /// The vectors of `texts`, `texts.len() × dim`, row-major, in the order of the texts.
    ///
    /// A vector depends on its text only, bit for bit: not on the other texts, the batches or
    /// the number of threads. Texts are sorted by length inside, so mixed lengths cost nothing.
    ///
    /// # Errors
    /// [`EmbedError`] naming the first text at fault.
    pub fn embed<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EmbedOptions<'_>,
    ) -> Result<Vec<f32>, EmbedError> {
        let dim = self.dim();
        let mut out = vec![0.0; texts.len() * dim];
        let windows = texts.chunks(WINDOW).zip(out.chunks_mut(WINDOW * dim));
        for (index, (texts, out)) in windows.enumerate() {
            let tokens = self.tokenize_all(index * WINDOW, texts, options.threads)?;
            self.run(&tokens, out, options);
            if let Some(at) = out.iter().position(|value| !value.is_finite()) {
                let index = index * WINDOW + at / dim;
                return Err(EmbedError::NotFinite { path: self.path.clone(), index });
            }
        }
        Ok(out)
    }

    /// Runs `texts` for what `tap` sees of it: the inputs of all linear layers, batch after
    /// batch, the same for any number of threads (they only tokenize). Tables are not tapped.
    ///
    /// # Errors
    /// [`EmbedError`] naming the first text at fault, or one in a batch that gave NaN.
    pub fn observe<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EmbedOptions<'_>,
        tap: &mut dyn Tap,
    ) -> Result<(), EmbedError> {
        let mut work = Lent::new(self);
        for (index, texts) in texts.chunks(WINDOW).enumerate() {
            let tokens = self.tokenize_all(index * WINDOW, texts, options.threads)?;
            let order = longest_first(&tokens);
            for range in batches(&tokens, &order, options.batch_tokens, 1) {
                let members = &order[range];
                self.forward(&tokens, members, &mut work.inner, Some(tap));
                let states = members.iter().map(|&member| tokens[member].len()).sum::<usize>();
                let states = &work.inner.scratch.hidden[..states * self.dim()];
                if !states.iter().all(|value| value.is_finite()) {
                    let index = index * WINDOW + members[0];
                    return Err(EmbedError::NotFinite { path: self.path.clone(), index });
                }
                if let Some(progress) = options.progress {
                    progress(members.len());
                }
            }
        }
        Ok(())
    }

    fn tokens(&self, index: usize, text: &str) -> Result<Vec<u32>, EmbedError> {
        let tokens = self.tokenizer.encode(text);
        let tokens = tokens.map_err(|why| EmbedError::Tokenize { index, why })?;
        let vocabulary = self.network.vocabulary();
        match tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(&token) => Err(EmbedError::Vocabulary { index, token, vocabulary }),
            None => Ok(tokens),
        }
    }

    fn tokenize_all<S: AsRef<str> + Sync>(
        &self,
        from: usize,
        texts: &[S],
        threads: usize,
    ) -> Result<Vec<Vec<u32>>, EmbedError> {
        let mut tokens = vec![Vec::new(); texts.len()];
        let chunks: Vec<_> = texts.chunks(CHUNK).zip(tokens.chunks_mut(CHUNK)).collect();
        let chunks: Vec<_> = chunks.into_iter().map(Mutex::new).collect();
        worker::run(
            threads,
            chunks.len(),
            || (),
            |(), index| {
                let (texts, tokens) = &mut *lock(&chunks[index]);
                for (at, (text, tokens)) in texts.iter().zip(tokens.iter_mut()).enumerate() {
                    *tokens = self.tokens(from + index * CHUNK + at, text.as_ref())?;
                }
                Ok(())
            },
        )?;
        drop(chunks);
        Ok(tokens)
    }

    /// Runs all token sequences in batches of like lengths.
    fn run(&self, tokens: &[Vec<u32>], out: &mut [f32], options: &EmbedOptions<'_>) {
        let order = longest_first(tokens);
        let batches = batches(tokens, &order, options.batch_tokens, options.threads);
        let dim = self.dim();
        let rows: Vec<_> = out.chunks_exact_mut(dim).map(Mutex::new).collect();
        let job = |work: &mut Lent<'_>, index: usize| {
            let members = &order[batches[index].clone()];
            self.forward(tokens, members, &mut work.inner, None);
            let states = &work.inner.scratch.hidden;
            let mut start = 0;
            for &member in members {
                let end = start + tokens[member].len() * dim;
                self.pooling.forward(&states[start..end], &mut lock(&rows[member]));
                start = end;
            }
            if let Some(progress) = options.progress {
                progress(members.len());
            }
            Ok::<(), std::convert::Infallible>(())
        };
        let Ok(()) = worker::run(options.threads, batches.len(), || Lent::new(self), job);
    }

    fn forward(
        &self,
        tokens: &[Vec<u32>],
        members: &[usize],
        work: &mut Work,
        tap: Option<&mut dyn Tap>,
    ) {
        work.batch.tokens.clear();
        work.batch.lengths.clear();
        for &member in members {
            work.batch.tokens.extend_from_slice(&tokens[member]);
            work.batch.lengths.push(tokens[member].len());
        }
        self.network.forward(self.kernels, &work.batch, &mut work.scratch, tap);
    }
}

/// All but the network of a GGUF file.
fn gguf(
    checkpoint: &Checkpoint,
    header: &Header,
) -> Result<(Config, Tokenizer, Pooling), LoadError> {
    let path = checkpoint.path();
    let architecture = header.text("general.architecture").unwrap_or("none");
    if architecture != "bert" {
        let what = format!("architecture '{}'", printable(architecture));
        let supported = "sentence encoders of the architecture bert";
        return Err(LoadError::Unsupported { path: path.to_path_buf(), what, supported });
    }
    let config = Config::gguf(checkpoint, header)?;
    let tokenizer = Tokenizer::gguf(path, header, config.positions)?;
    Ok((config, tokenizer, Pooling::gguf(path, header)?))
}

fn longest_first(tokens: &[Vec<u32>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(tokens[index].len()));
    order
}

/// Cuts `order` into runs of about `batch_tokens`, fewer where threads would stay idle.
fn batches(
    tokens: &[Vec<u32>],
    order: &[usize],
    batch_tokens: usize,
    threads: usize,
) -> Vec<Range<usize>> {
    let total: usize = tokens.iter().map(Vec::len).sum();
    let limit = batch_tokens.min(total.div_ceil(threads.max(1)));
    let mut batches = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (at, &index) in order.iter().enumerate() {
        let more = tokens[index].len();
        if at > start && held + more > limit {
            batches.push(start..at);
            (start, held) = (at, 0);
        }
        held += more;
    }
    if start < order.len() {
        batches.push(start..order.len());
    }
    batches
}

/// Work memory taken from the encoder, given back at the end.
struct Lent<'a> {
    inner: Work,
    spare: &'a Mutex<Vec<Work>>,
}

impl<'a> Lent<'a> {
    fn new(encoder: &'a Encoder) -> Self {
        let inner = lock(&encoder.spare).pop().unwrap_or_default();
        Self { inner, spare: &encoder.spare }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        lock(self.spare).push(std::mem::take(&mut self.inner));
    }
}
