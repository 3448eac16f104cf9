//! Texts of many requests, embedded a bounded step at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::tokenizer::Sequence;
use crate::{Cancel, EmbedError, EmbedOptions, Encoder, Texts};

/// How a [`Schedule`] runs. Vectors do not depend on any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// Threads, at least 1.
    pub threads: usize,
    /// Tokens of a step, at least one text: how long a text that comes during a step waits for it.
    pub step_tokens: usize,
    /// How many times longer than alone a request may take before it goes ahead of shorter ones
    /// that came later. 0: in the order of arrival.
    pub patience: usize,
    /// Tokens that may wait.
    pub queue_tokens: usize,
    /// Texts of one request.
    pub request_texts: usize,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            step_tokens: 128,
            patience: 4,
            queue_tokens: 1 << 18,
            request_texts: 1024,
        }
    }
}

/// The name of a request, unique in its schedule; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmbedId(u64);

/// A request that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Whose.
    pub id: EmbedId,
    /// The vectors of its texts, row-major, in their order; or which text is at fault, or
    /// [`EmbedError::Cancelled`].
    pub vectors: Result<Vec<f32>, EmbedError>,
}

/// A request that was not taken in. Nothing of it waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// A text cannot be embedded.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// Too much waits already.
    #[error(
        "{tokens} tokens do not fit a queue of {limit} in which {waiting} wait; try again later, \
         or send fewer texts"
    )]
    Full {
        /// Tokens of the request.
        tokens: usize,
        /// Tokens that wait.
        waiting: usize,
        /// Tokens that may.
        limit: usize,
    },
    /// More texts than a request may have.
    #[error("{texts} texts; a request takes {limit}: send several")]
    Texts {
        /// Texts of the request.
        texts: usize,
        /// The most.
        limit: usize,
    },
    /// Tokens that are no sequence of the network: none, or too many.
    #[error("text {index}: {tokens} tokens; the network takes 1 to {limit}")]
    Length {
        /// Place of the text in the request, from 0.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// The most.
        limit: usize,
    },
}

/// Embeds the texts of requests that come at any time, so that a short text never waits for more
/// than the step that runs, whatever else is asked for.
///
/// A text is due `patience` times as many tokens after its request came as its request has up to
/// its end; a step runs the texts that are due first, of any requests, until its tokens are used
/// up (earliest deadline first; Liu and Layland, 1973, with deadlines as in fair queueing, Demers
/// et al., 1989). So a short request goes ahead of a long one that came shortly before, a request
/// of many texts gives way to others between them, and none starves: what comes later than a text
/// is due does not overtake it. A text of `n` tokens that ends the first `m` of its request waits
/// for at most `patience · m / step_tokens + 2 · queue_tokens / step_tokens + 2` steps: until it is
/// due, and then for what was in the queue, of which two steps run more than `step_tokens`.
///
/// A vector is what [`Encoder::embed`] gives, bit for bit. Owns no thread and no clock: who calls
/// [`Schedule::step`] does the work.
#[derive(Debug)]
pub struct Schedule {
    encoder: Arc<Encoder>,
    options: ScheduleOptions,
    /// Texts that wait, by when they are due and then by when they came.
    queue: BTreeMap<(u64, u64), Waiting>,
    requests: BTreeMap<EmbedId, Live>,
    waiting_tokens: usize,
    /// Tokens that steps had room for up to now.
    now: u64,
    requests_seen: u64,
    texts_seen: u64,
}

/// A text in the queue.
#[derive(Debug)]
struct Waiting {
    request: EmbedId,
    index: usize,
    sequence: Sequence,
}

/// A request of which not all texts are done.
#[derive(Debug)]
struct Live {
    vectors: Vec<f32>,
    left: usize,
    cancel: Cancel,
    failed: Option<EmbedError>,
}

impl Schedule {
    /// A schedule without requests.
    pub fn new(encoder: Arc<Encoder>, options: ScheduleOptions) -> Self {
        let step_tokens = options.step_tokens.max(1);
        Self {
            encoder,
            options: ScheduleOptions { step_tokens, ..options },
            queue: BTreeMap::new(),
            requests: BTreeMap::new(),
            waiting_tokens: 0,
            now: 0,
            requests_seen: 0,
            texts_seen: 0,
        }
    }

    /// The model it runs.
    pub fn encoder(&self) -> &Arc<Encoder> {
        &self.encoder
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Tokens of the texts that wait.
    pub fn waiting_tokens(&self) -> usize {
        self.waiting_tokens
    }

    /// Takes in the texts of a request, which ends within a step once `cancel` is set. They are
    /// tokenized here, on this thread; who has others to do that calls
    /// [`Schedule::submit_tokens`].
    ///
    /// # Errors
    /// [`SubmitError`] if there is no room, or a text cannot be embedded.
    pub fn submit<S: AsRef<str>>(
        &mut self,
        texts: &[S],
        cancel: Cancel,
    ) -> Result<EmbedId, SubmitError> {
        self.few(texts.len())?;
        let trunk = self.encoder.trunk();
        let mut sequences = Vec::with_capacity(texts.len());
        let mut tokens = 0;
        for (index, text) in texts.iter().enumerate() {
            let sequence = trunk.sequence(index, Texts::One(text.as_ref()))?;
            tokens += sequence.tokens.len();
            self.room(tokens)?;
            sequences.push(sequence);
        }
        Ok(self.push(sequences, cancel))
    }

    /// [`Schedule::submit`] of texts that [`Encoder::tokenize`] was called on.
    ///
    /// # Errors
    /// [`SubmitError`] if there is no room, or a list of tokens is none of this model.
    pub fn submit_tokens(
        &mut self,
        texts: Vec<Vec<u32>>,
        cancel: Cancel,
    ) -> Result<EmbedId, SubmitError> {
        self.few(texts.len())?;
        self.room(texts.iter().map(Vec::len).sum())?;
        let (limit, vocabulary) =
            (self.encoder.max_tokens(), self.encoder.trunk().network.vocabulary());
        for (index, text) in texts.iter().enumerate() {
            if !(1..=limit).contains(&text.len()) {
                return Err(SubmitError::Length { index, tokens: text.len(), limit });
            }
            if let Some(&token) = text.iter().find(|&&token| token as usize >= vocabulary) {
                return Err(EmbedError::Vocabulary { index, token, vocabulary }.into());
            }
        }
        Ok(self.push(texts.into_iter().map(Sequence::of_one).collect(), cancel))
    }

    /// Runs the texts that are due first, and gives the requests that are done by that, those
    /// whose flag is set before all. Costs one pass of the network over at most
    /// [`ScheduleOptions::step_tokens`] tokens, or one text.
    pub fn step(&mut self) -> Vec<Embedded> {
        self.drop_cancelled();
        let (places, sequences) = self.pick();
        if !sequences.is_empty() {
            let dim = self.encoder.dim();
            let mut rows = vec![0.0; sequences.len() * dim];
            let ScheduleOptions { threads, step_tokens: batch_tokens, .. } = self.options;
            let options = EmbedOptions { threads, batch_tokens, ..EmbedOptions::default() };
            let run = self.encoder.rows(&sequences, &mut rows, &options);
            for ((request, index), row) in places.into_iter().zip(rows.chunks_exact(dim)) {
                let Some(live) = self.requests.get_mut(&request) else { continue };
                live.left -= 1;
                live.vectors[index * dim..][..dim].copy_from_slice(row);
                let finite = row.iter().all(|value| value.is_finite());
                let error = run.as_ref().err().cloned();
                let error =
                    error.or_else(|| (!finite).then(|| self.encoder.trunk().not_finite(index)));
                live.failed = live.failed.take().or(error);
            }
            self.now += self.options.step_tokens as u64;
        }
        self.take_done()
    }

    fn few(&self, texts: usize) -> Result<(), SubmitError> {
        let limit = self.options.request_texts;
        if texts <= limit { Ok(()) } else { Err(SubmitError::Texts { texts, limit }) }
    }

    fn room(&self, tokens: usize) -> Result<(), SubmitError> {
        let (waiting, limit) = (self.waiting_tokens, self.options.queue_tokens);
        let fits = waiting.checked_add(tokens).is_some_and(|all| all <= limit);
        if fits { Ok(()) } else { Err(SubmitError::Full { tokens, waiting, limit }) }
    }

    fn push(&mut self, sequences: Vec<Sequence>, cancel: Cancel) -> EmbedId {
        let request = EmbedId(self.requests_seen);
        self.requests_seen += 1;
        let left = sequences.len();
        let vectors = vec![0.0; left * self.encoder.dim()];
        self.requests.insert(request, Live { vectors, left, cancel, failed: None });
        let patience = self.options.patience as u64;
        let mut tokens = 0u64;
        for (index, sequence) in sequences.into_iter().enumerate() {
            tokens += sequence.tokens.len() as u64;
            self.waiting_tokens += sequence.tokens.len();
            let due = self.now.saturating_add(tokens.saturating_mul(patience));
            let waiting = Waiting { request, index, sequence };
            self.queue.insert((due, self.texts_seen), waiting);
            self.texts_seen += 1;
        }
        request
    }

    fn drop_cancelled(&mut self) {
        let mut any = false;
        for live in self.requests.values_mut() {
            if live.cancel.is_cancelled() {
                any = true;
                (live.left, live.failed) = (0, Some(EmbedError::Cancelled));
            }
        }
        if any {
            let requests = &self.requests;
            self.queue.retain(|_, waiting| {
                let stays = requests.get(&waiting.request).is_some_and(|live| live.left > 0);
                if !stays {
                    self.waiting_tokens -= waiting.sequence.tokens.len();
                }
                stays
            });
        }
    }

    /// Takes the texts of a step out of the queue: whose they are, and their tokens.
    fn pick(&mut self) -> (Vec<(EmbedId, usize)>, Vec<Sequence>) {
        let (mut places, mut sequences) = (Vec::new(), Vec::new());
        let mut room = self.options.step_tokens;
        while let Some(first) = self.queue.first_entry() {
            let more = first.get().sequence.tokens.len();
            if !sequences.is_empty() && more > room {
                break;
            }
            room = room.saturating_sub(more);
            self.waiting_tokens -= more;
            let Waiting { request, index, sequence } = first.remove();
            places.push((request, index));
            sequences.push(sequence);
        }
        (places, sequences)
    }

    /// The requests without a text to run, cancelled ones first, else as they came.
    fn take_done(&mut self) -> Vec<Embedded> {
        let done = self.requests.extract_if(.., |_, live| live.left == 0);
        let done = done.map(|(id, live)| {
            let vectors = live.failed.map_or(Ok(live.vectors), Err);
            Embedded { id, vectors }
        });
        let mut done: Vec<Embedded> = done.collect();
        done.sort_by_key(|done| done.vectors != Err(EmbedError::Cancelled));
        done
    }
}
