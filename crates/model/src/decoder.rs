//! Language models: text to tokens, tokens to logits.

pub(crate) mod end;
pub(crate) mod piece;
pub(crate) mod stream;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kvant_kernels::{Kernels, Pool, kernels};

use crate::arch::llama::{Flags, Llama, Pass, Shape, Step, Workspace};
use crate::{Cache, CacheFormat, Cancel, Checkpoint, ForwardError, LoadError, Tap, Template};
use piece::Pieces;
use text::Text;

/// How [`Decoder::logits`] runs.
pub struct ForwardOptions<'a> {
    /// Threads, at least 1. The logits do not depend on it.
    pub threads: usize,
    /// The first position whose logits are wanted; the head, a large part of the work in small
    /// models, does nothing for those before it.
    pub from: usize,
    /// Sees the inputs of the linear layers: all positions of those in the layers, of the head
    /// those from `from` on.
    pub tap: Option<&'a mut dyn Tap>,
    /// Ends the call early; what the tap saw of the layer where that happens is of no worth.
    pub cancel: Option<&'a Cancel>,
}

impl Default for ForwardOptions<'_> {
    fn default() -> Self {
        Self { threads: 1, from: 0, tap: None, cancel: None }
    }
}

impl fmt::Debug for ForwardOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardOptions")
            .field("threads", &self.threads)
            .field("from", &self.from)
            .field("tap", &self.tap.is_some())
            .field("cancel", &self.cancel)
            .finish()
    }
}

/// A Llama-like language model (Llama, SmolLM2, Mistral, Qwen2), ready to run.
///
/// Weights are held about as small as they are stored; what they multiply is in f32 or in int8, as
/// [`Checkpoint::with_compute`] and the model say.
pub struct Decoder {
    path: PathBuf,
    text: Text,
    pieces: OnceLock<Pieces>,
    ends: Vec<u32>,
    template: Option<Template>,
    network: Llama,
    kernels: &'static Kernels,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("path", &self.path)
            .field("vocabulary", &self.vocabulary())
            .field("context", &self.context())
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Loads a directory with `config.json`, `tokenizer.json` and safetensors, or a GGUF file,
    /// which brings its tokenizer along.
    ///
    /// # Errors
    /// [`LoadError`] naming the file at fault and the remedy.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::open(&Checkpoint::open(path)?)
    }

    /// Loads the model in `checkpoint`, with what was replaced there and in the precision chosen
    /// there.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let shape = Shape::of(checkpoint)?;
        let text = Text::of(checkpoint)?;
        let network = Llama::load(checkpoint, shape)?;
        let ends = end::tokens(checkpoint, text.tokenizer(), network.vocabulary())?;
        let spell = |token: usize| text.tokenizer().id_to_token(u32::try_from(token).ok()?);
        let template = Template::of(checkpoint, spell)?;
        let path = checkpoint.path().to_path_buf();
        let pieces = OnceLock::new();
        Ok(Self { path, text, pieces, ends, template, network, kernels: kernels() })
    }

    /// Entries of the vocabulary: logits of a position.
    pub fn vocabulary(&self) -> usize {
        self.network.vocabulary()
    }

    /// Tokens of the longest sequence: the context length the model was trained on.
    pub fn context(&self) -> usize {
        self.network.context()
    }

    /// Bytes of the weights as held for running (mapped tables included).
    pub fn weight_bytes(&self) -> usize {
        self.network.size_bytes()
    }

    /// Bytes of the weights that every call of [`Decoder::advance`] reads: all but the word table.
    pub fn read_bytes(&self) -> usize {
        self.network.read_bytes()
    }

    /// Multiply-adds of reading a prompt of `tokens` tokens at once, with the logits of its last.
    pub fn macs(&self, tokens: usize) -> u64 {
        self.network.macs(tokens)
    }

    /// The special tokens the tokenizer puts before every text (`<s>`); often none.
    pub fn prefix(&self) -> &[u32] {
        self.text.prefix()
    }

    /// The tokens after which the model has said all, ascending, as its files name them.
    pub fn end_tokens(&self) -> &[u32] {
        &self.ends
    }

    /// How the model wants conversations written, if its files say so.
    pub fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// The bytes that `token` adds to a text, which need not be whole characters; none if there is
    /// no such token. Special tokens spell their names.
    pub fn token_bytes(&self, token: u32) -> &[u8] {
        self.pieces().bytes(token)
    }

    /// The bytes of every token; found when first asked for.
    pub(crate) fn pieces(&self) -> &Pieces {
        self.pieces.get_or_init(|| Pieces::new(self.text.tokenizer(), self.vocabulary()))
    }

    /// The tokens of `text`, with the special tokens that the tokenizer adds by default and no
    /// others; special tokens written out in the text are recognised. Linear in the text.
    ///
    /// # Errors
    /// [`ForwardError::Tokenize`] if the tokenizer refuses it.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        self.text.tokens(text)
    }

    /// The tokens of `text` alone: nothing is put before or after it, special tokens written out in
    /// it are recognised. For texts of a [`Template`], which writes its own marks.
    ///
    /// # Errors
    /// As [`Decoder::tokenize`].
    pub fn tokenize_bare(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        self.text.bare(text)
    }

    /// The text of `tokens`, special ones left out.
    ///
    /// # Errors
    /// [`ForwardError::Tokenize`] if the tokenizer refuses them.
    pub fn detokenize(&self, tokens: &[u32]) -> Result<String, ForwardError> {
        self.text.text(tokens)
    }

    /// The tokens of `text`, which may be long, cut into sequences of `window` tokens, each with
    /// the [`Decoder::prefix`] in front; the last one is what is left.
    ///
    /// # Errors
    /// As [`Decoder::tokenize`]; [`ForwardError::Length`] if `window` holds the prefix only, or
    /// more than the context.
    pub fn windows(&self, text: &str, window: usize) -> Result<Vec<Vec<u32>>, ForwardError> {
        let (prefix, context) = (self.prefix(), self.context());
        if !(prefix.len() + 1..=context).contains(&window) {
            return Err(ForwardError::Length { tokens: window, from: prefix.len(), context });
        }
        let tokens = self.text.bare(text)?;
        let windows = tokens.chunks(window - prefix.len());
        Ok(windows.map(|tokens| [prefix, tokens].concat()).collect())
    }

    /// The logits of the positions from [`ForwardOptions::from`] on, `(n − from) × vocabulary`,
    /// row-major, of one sequence of `n` tokens. Row `i` says what follows token `from + i`.
    ///
    /// A row depends on the tokens up to its position, not on those after it nor on the number
    /// of threads, bit for bit. Costs two operations a weight and token and `O(n²)` for the
    /// attention.
    ///
    /// # Errors
    /// [`ForwardError`] if there are no tokens from `from` on, too many, some outside the
    /// vocabulary, if the call is cancelled, or if the weights are broken.
    pub fn logits(
        &self,
        tokens: &[u32],
        options: ForwardOptions<'_>,
    ) -> Result<Vec<f32>, ForwardError> {
        let pool = Pool::new(options.threads);
        let mut room = Workspace::default();
        self.read(tokens, options, &mut room, &pool)?;
        self.head(&mut room, &pool)?;
        Ok(room.logits)
    }

    /// Runs `tokens` for what [`ForwardOptions::tap`] sees of it; the head is tapped and not
    /// computed.
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    pub fn observe(&self, tokens: &[u32], options: ForwardOptions<'_>) -> Result<(), ForwardError> {
        let pool = Pool::new(options.threads);
        self.read(tokens, options, &mut Workspace::default(), &pool)
    }

    /// An empty cache for a sequence of at most [`Decoder::context`] tokens.
    pub fn cache(&self, format: CacheFormat) -> Cache {
        self.network.cache(format, self.context())
    }

    /// An empty cache for a sequence of at most `capacity` tokens, or of the context if that is
    /// less.
    pub fn cache_of(&self, format: CacheFormat, capacity: usize) -> Cache {
        self.network.cache(format, capacity.min(self.context()))
    }

    /// Reads the new tokens of several sequences at once; returns the logits that
    /// [`Step::from`] asks for, `wanted × vocabulary`, row-major, steps one behind the other.
    ///
    /// The weights are read once for all of them. A row depends on the tokens of its sequence up
    /// to it and on the format of its cache, not on the other steps, on the threads, or on how the
    /// sequence is divided over calls, bit for bit. With f32 caches the rows are those of
    /// [`Decoder::logits`]. After an error all caches are as they were.
    ///
    /// A step whose [`Step::cancel`] is set on the way is given up at the next layer: its cache
    /// stays as it was, by which it is known, and it has no logits. The others go on.
    ///
    /// # Errors
    /// [`ForwardError`] if a step has no tokens, more than fit its cache, or some outside the
    /// vocabulary; if a cache belongs to another model, or if the weights are broken.
    pub fn advance<'w>(
        &self,
        steps: &mut [Step<'_>],
        room: &'w mut Workspace,
        pool: &Pool,
    ) -> Result<&'w [f32], ForwardError> {
        let before = lengths(steps);
        let done = self.states(steps, room, (pool, None)).and_then(|()| self.head(room, pool));
        if let Err(error) = done {
            for (step, length) in steps.iter_mut().zip(before) {
                step.cache.truncate(length);
            }
            return Err(error);
        }
        Ok(&room.logits)
    }

    /// One sequence in a cache of its own.
    fn read(
        &self,
        tokens: &[u32],
        options: ForwardOptions<'_>,
        room: &mut Workspace,
        pool: &Pool,
    ) -> Result<(), ForwardError> {
        let ForwardOptions { from, tap, cancel, .. } = options;
        let context = self.context();
        if !(from + 1..=context).contains(&tokens.len()) {
            return Err(ForwardError::Length { tokens: tokens.len(), from, context });
        }
        let mut cache = self.cache(CacheFormat::F32);
        let step = Step { cache: &mut cache, tokens, from, cancel };
        self.states(&mut [step], room, (pool, tap))?;
        if cache.is_empty() { Err(ForwardError::Cancelled) } else { Ok(()) }
    }

    fn states(
        &self,
        steps: &mut [Step<'_>],
        room: &mut Workspace,
        (pool, tap): (&Pool, Option<&mut dyn Tap>),
    ) -> Result<(), ForwardError> {
        steps.iter().try_for_each(|step| self.check(step))?;
        let flags = Flags(steps.iter().map(|step| step.cancel).collect());
        self.network.states(steps, room, &mut Pass { kernels: self.kernels, pool, tap, flags });
        self.finite(&room.last)
    }

    fn check(&self, step: &Step<'_>) -> Result<(), ForwardError> {
        let (tokens, held) = (step.tokens.len(), step.cache.len());
        if !self.network.fits(step.cache) {
            return Err(ForwardError::Foreign { path: self.path.clone() });
        }
        if tokens == 0 || step.from > tokens {
            return Err(ForwardError::Length { tokens, from: step.from, context: self.context() });
        }
        if tokens > step.cache.room() {
            return Err(ForwardError::Full { held, tokens, context: step.cache.capacity() });
        }
        let vocabulary = self.vocabulary();
        match step.tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(&token) => Err(ForwardError::Vocabulary { token, vocabulary }),
            None => Ok(()),
        }
    }

    fn head(&self, room: &mut Workspace, pool: &Pool) -> Result<(), ForwardError> {
        self.network.head(room, (self.kernels, pool));
        self.finite(&room.logits)
    }

    fn finite(&self, values: &[f32]) -> Result<(), ForwardError> {
        if values.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(ForwardError::NotFinite { path: self.path.clone() })
    }
}

/// What the caches hold.
fn lengths(steps: &[Step<'_>]) -> Vec<usize> {
    steps.iter().map(|step| step.cache.len()).collect()
}
