//! A network with its tokenizer, run over many sequences in batches of like lengths.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kvant_kernels::{Kernels, kernels};

use crate::arch::bert::Bert;
use crate::layer::{Batch, Scratch};
use crate::tokenizer::{Sequence, Tokenizer};
use crate::worker::{self, lock};
use crate::{Cancel, EmbedError, EmbedOptions, Tap, Texts};

/// Texts a thread tokenizes at a time.
const CHUNK: usize = 64;

/// What encoders and classifiers share.
pub(crate) struct Trunk {
    path: PathBuf,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) network: Bert,
    kernels: &'static Kernels,
    /// Memory of finished calls, taken up by the next ones.
    spare: Mutex<Vec<Work>>,
}

/// What one thread needs to run batches.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) batch: Batch,
    pub(crate) scratch: Scratch,
    /// What became of the sequences, a row each.
    pub(crate) rows: Vec<f32>,
}

/// Makes `rows` of a [`Work`] out of the states of its batch.
pub(crate) type Finish<'a> = &'a (dyn Fn(&Kernels, &mut Work) + Sync);

impl Trunk {
    pub(crate) fn new(path: &Path, tokenizer: Tokenizer, network: Bert) -> Self {
        let (path, spare) = (path.to_path_buf(), Mutex::default());
        Self { path, tokenizer, network, kernels: kernels(), spare }
    }

    /// The sequence of `texts`, which is number `index` of its list.
    ///
    /// # Errors
    /// [`EmbedError`] if the tokenizer refuses it or belongs to another network.
    pub(crate) fn sequence(&self, index: usize, texts: Texts<'_>) -> Result<Sequence, EmbedError> {
        let sequence = match texts {
            Texts::One(text) => self.tokenizer.encode(text).map(Sequence::of_one),
            Texts::Pair(first, second) => self.tokenizer.encode_pair(first, second),
        };
        let sequence = sequence.map_err(|why| EmbedError::Tokenize { index, why })?;
        let vocabulary = self.network.vocabulary();
        match sequence.tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(&token) => Err(EmbedError::Vocabulary { index, token, vocabulary }),
            None => Ok(sequence),
        }
    }

    /// The sequences of `items`, the first of which is number `from` of its list; `read` says what
    /// is in an item.
    ///
    /// # Errors
    /// [`EmbedError`] of the first item at fault, or that the call was cancelled.
    pub(crate) fn sequences<T: Sync>(
        &self,
        (from, items): (usize, &[T]),
        read: impl Fn(&T) -> Texts<'_> + Sync,
        options: &EmbedOptions<'_>,
    ) -> Result<Vec<Sequence>, EmbedError> {
        let mut sequences = vec![Sequence::default(); items.len()];
        let chunks: Vec<_> = items.chunks(CHUNK).zip(sequences.chunks_mut(CHUNK)).collect();
        let chunks: Vec<_> = chunks.into_iter().map(Mutex::new).collect();
        let job = |(): &mut (), index: usize| {
            go_on(options.cancel)?;
            let (items, sequences) = &mut *lock(&chunks[index]);
            for (at, (item, sequence)) in items.iter().zip(sequences.iter_mut()).enumerate() {
                *sequence = self.sequence(from + index * CHUNK + at, read(item))?;
            }
            Ok(())
        };
        worker::run(options.threads, chunks.len(), || (), job)?;
        drop(chunks);
        Ok(sequences)
    }

    /// Runs `sequences`, the first of which is number `from` of its list, in batches of like
    /// lengths, and writes what `finish` makes of each to its row of `out`. A row depends on its
    /// sequence only, bit for bit.
    ///
    /// # Errors
    /// [`EmbedError`] if the network gives NaN or infinity, or that the call was cancelled.
    pub(crate) fn run(
        &self,
        (from, sequences): (usize, &[Sequence]),
        out: &mut [f32],
        options: &EmbedOptions<'_>,
        finish: Finish<'_>,
    ) -> Result<(), EmbedError> {
        self.rows(sequences, out, options, finish)?;
        match out.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.not_finite(from + at * sequences.len() / out.len())),
            None => Ok(()),
        }
    }

    /// [`Trunk::run`] without a look at what comes out.
    ///
    /// # Errors
    /// That the call was cancelled.
    pub(crate) fn rows(
        &self,
        sequences: &[Sequence],
        out: &mut [f32],
        options: &EmbedOptions<'_>,
        finish: Finish<'_>,
    ) -> Result<(), EmbedError> {
        let width = out.len().checked_div(sequences.len()).unwrap_or(0);
        let order = longest_first(sequences);
        let batches = batches(sequences, &order, options.batch_tokens, options.threads);
        let rows: Vec<_> = out.chunks_exact_mut(width.max(1)).map(Mutex::new).collect();
        let job = |work: &mut Lent<'_>, index: usize| {
            go_on(options.cancel)?;
            let members = &order[batches[index].clone()];
            self.forward(sequences, members, &mut work.inner, None);
            finish(self.kernels, &mut work.inner);
            for (&member, row) in members.iter().zip(work.inner.rows.chunks_exact(width)) {
                lock(&rows[member]).copy_from_slice(row);
            }
            if let Some(progress) = options.progress {
                progress(members.len());
            }
            Ok(())
        };
        worker::run(options.threads, batches.len(), || Lent::new(self), job)
    }

    /// Runs `sequences`, the first of which is number `from` of its list, for what `tap` sees.
    ///
    /// # Errors
    /// As [`Trunk::run`].
    pub(crate) fn observe(
        &self,
        (from, sequences): (usize, &[Sequence]),
        options: &EmbedOptions<'_>,
        tap: &mut dyn Tap,
    ) -> Result<(), EmbedError> {
        let mut work = Lent::new(self);
        let order = longest_first(sequences);
        for range in batches(sequences, &order, options.batch_tokens, 1) {
            go_on(options.cancel)?;
            let members = &order[range];
            self.forward(sequences, members, &mut work.inner, Some(tap));
            let states = work.inner.batch.tokens.len() * self.network.hidden();
            let states = &work.inner.scratch.hidden[..states];
            if !states.iter().all(|value| value.is_finite()) {
                return Err(self.not_finite(from + members[0]));
            }
            if let Some(progress) = options.progress {
                progress(members.len());
            }
        }
        Ok(())
    }

    /// That sequence `index` of a list gives NaN or infinity.
    pub(crate) fn not_finite(&self, index: usize) -> EmbedError {
        EmbedError::NotFinite { path: self.path.clone(), index }
    }

    fn forward(
        &self,
        sequences: &[Sequence],
        members: &[usize],
        work: &mut Work,
        tap: Option<&mut dyn Tap>,
    ) {
        work.batch.clear();
        for &member in members {
            let Sequence { tokens, types } = &sequences[member];
            work.batch.push(tokens, types);
        }
        self.network.forward(self.kernels, &work.batch, &mut work.scratch, tap);
    }
}

fn go_on(cancel: Option<&Cancel>) -> Result<(), EmbedError> {
    match cancel {
        Some(cancel) if cancel.is_cancelled() => Err(EmbedError::Cancelled),
        Some(_) | None => Ok(()),
    }
}

fn longest_first(sequences: &[Sequence]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sequences[index].tokens.len()));
    order
}

/// Cuts `order` into runs of about `batch_tokens`, fewer where threads would stay idle.
fn batches(
    sequences: &[Sequence],
    order: &[usize],
    batch_tokens: usize,
    threads: usize,
) -> Vec<Range<usize>> {
    let total: usize = sequences.iter().map(|sequence| sequence.tokens.len()).sum();
    let limit = batch_tokens.min(total.div_ceil(threads.max(1)));
    let mut batches = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (at, &index) in order.iter().enumerate() {
        let more = sequences[index].tokens.len();
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

/// Work memory taken from the trunk, given back at the end.
struct Lent<'a> {
    inner: Work,
    spare: &'a Mutex<Vec<Work>>,
}

impl<'a> Lent<'a> {
    fn new(trunk: &'a Trunk) -> Self {
        let inner = lock(&trunk.spare).pop().unwrap_or_default();
        Self { inner, spare: &trunk.spare }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        lock(self.spare).push(std::mem::take(&mut self.inner));
    }
}
