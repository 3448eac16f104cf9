//! Several requests at once: every step reads a few tokens of each.

use std::collections::VecDeque;
use std::sync::Arc;

use kvant_kernels::Pool;

use super::live::Live;
use super::{
    Event, Finish, Finished, GenerateError, Overflow, Request, RequestError, RequestId, Token,
};
use crate::{Cache, CacheFormat, Decoder, ForwardError, Step, Workspace};

/// How an [`Engine`] runs.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Threads, at least 1. Texts do not depend on it.
    pub threads: usize,
    /// How keys and values are stored.
    pub cache: CacheFormat,
    /// Requests that run at once; others wait in line. At least 1.
    pub parallel: usize,
    /// Tokens that a step reads at most, as long as every request gets one: how long a long prompt
    /// may hold up the others. Texts do not depend on it.
    pub batch_tokens: usize,
    /// Tokens a request may have, prompt included; no more than the model's context.
    pub context: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            cache: CacheFormat::default(),
            parallel: 8,
            batch_tokens: 256,
            context: usize::MAX,
        }
    }
}

/// Runs requests side by side over one model (continuous batching, Yu et al., 2022, §3.1).
///
/// Each [`Engine::step`] reads one token of every text that is being written, and of the prompts an
/// equal share of what [`EngineOptions::batch_tokens`] leaves, so the weights are read once for all
/// and no request waits for another's prompt. A request's text is a function of the model, the
/// format of the cache and the request alone. The caches of finished requests are kept, as many as
/// may run, and a prompt goes on from the one with which it has the longest beginning in common.
///
/// Owns no thread and no clock: who calls [`Engine::step`] does the work.
#[derive(Debug)]
pub struct Engine {
    decoder: Arc<Decoder>,
    options: EngineOptions,
    waiting: VecDeque<(RequestId, Request)>,
    live: Vec<Live>,
    /// Caches of finished requests, the oldest first.
    idle: VecDeque<Cache>,
    room: Workspace,
    pool: Pool,
    submitted: u64,
}

impl Engine {
    /// An engine without requests.
    pub fn new(decoder: Arc<Decoder>, options: EngineOptions) -> Self {
        let pool = Pool::new(options.threads);
        Self::with_pool(decoder, options, pool)
    }

    /// As [`Engine::new`], on threads that are there: [`EngineOptions::threads`] says nothing.
    pub fn with_pool(decoder: Arc<Decoder>, options: EngineOptions, pool: Pool) -> Self {
        let context = options.context.clamp(1, decoder.context());
        let options = EngineOptions { context, parallel: options.parallel.max(1), ..options };
        Self {
            decoder,
            options,
            waiting: VecDeque::new(),
            live: Vec::new(),
            idle: VecDeque::new(),
            room: Workspace::default(),
            pool,
            submitted: 0,
        }
    }

    /// The model it runs.
    pub fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// Tokens a request may have, prompt included.
    pub fn context(&self) -> usize {
        self.options.context
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.live.is_empty() && self.waiting.is_empty()
    }

    /// Bytes of all caches, those of finished requests included.
    pub fn cache_bytes(&self) -> usize {
        let live = self.live.iter().map(|live| &live.cache);
        live.chain(&self.idle).map(Cache::size_bytes).sum()
    }

    /// Takes in a request; it runs in the steps that follow.
    ///
    /// # Errors
    /// [`RequestError`] if the prompt is empty, as long as the context or longer, or has tokens
    /// outside the vocabulary; if settings are out of range.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, RequestError> {
        let (tokens, context) = (request.prompt.len(), self.options.context);
        let vocabulary = self.decoder.vocabulary();
        if tokens == 0 {
            return Err(RequestError::Empty);
        }
        if tokens >= context {
            return Err(RequestError::Long { tokens, context });
        }
        if let Some(&token) = request.prompt.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(RequestError::Vocabulary { token, vocabulary });
        }
        if let Overflow::Slide { keep } = request.overflow
            && keep > context / 2
        {
            return Err(RequestError::Keep { keep, limit: context / 2 });
        }
        request.sampling.check(vocabulary)?;
        let id = RequestId(self.submitted);
        self.submitted += 1;
        self.waiting.push_back((id, request));
        Ok(id)
    }

    /// Does a part of the work of every request that runs, and tells what came of it: at most one
    /// token of each, and the ends. A request whose flag is set ends without a further token, also
    /// while its prompt is read: it is left out from the next layer of the model on.
    ///
    /// Costs one pass of the model over at most [`EngineOptions::batch_tokens`] tokens.
    ///
    /// # Errors
    /// [`ForwardError`] if the weights are broken; the requests that ran are given up.
    pub fn step(&mut self) -> Result<Vec<Event>, ForwardError> {
        let mut events = Vec::new();
        self.drop_cancelled(&mut events);
        self.admit(&mut events);
        if self.live.is_empty() {
            return Ok(events);
        }
        let shares = self.shares();
        let mut steps = Vec::with_capacity(shares.len());
        for (live, &share) in self.live.iter_mut().zip(&shares) {
            let held = live.cache.len();
            let last = held + share == live.tokens.len();
            let (tokens, from) = (&live.tokens[held..held + share], share - usize::from(last));
            let cancel = Some(&live.request.cancel);
            steps.push(Step { cache: &mut live.cache, tokens, from, cancel });
        }
        let advanced = self.decoder.advance(&mut steps, &mut self.room, &self.pool);
        drop(steps);
        let logits = match advanced {
            Ok(logits) => logits,
            Err(error) => {
                self.live.clear();
                return Err(error);
            }
        };
        let mut rows = logits.chunks_exact(self.decoder.vocabulary());
        let mut ends = Vec::new();
        for (index, live) in self.live.iter_mut().enumerate() {
            let row = if live.unread() == 0 { rows.next() } else { None };
            let finish = if live.request.cancel.is_cancelled() {
                Some(Finish::Cancelled)
            } else {
                row.and_then(|row| live.choose(&self.decoder, row, &mut events))
            };
            ends.extend(finish.map(|finish| (index, finish)));
        }
        for (index, finish) in ends.into_iter().rev() {
            self.retire(index, finish, &mut events);
        }
        Ok(events)
    }

    /// Runs one request to its end, telling each token on the way; others that are in the engine
    /// go on meanwhile, and what is told about them is lost.
    ///
    /// # Errors
    /// [`GenerateError`] if the request makes no sense or the model cannot be run.
    pub fn run(
        &mut self,
        request: Request,
        mut tell: impl FnMut(&Token),
    ) -> Result<Finished, GenerateError> {
        let own = self.submit(request)?;
        loop {
            for event in self.step()? {
                match event {
                    Event::Token(token) if token.id == own => tell(&token),
                    Event::Finished(finished) if finished.id == own => return Ok(finished),
                    Event::Token(_) | Event::Finished(_) => {}
                }
            }
        }
    }

    fn drop_cancelled(&mut self, events: &mut Vec<Event>) {
        let cancelled = |live: &Live| live.request.cancel.is_cancelled();
        for index in (0..self.live.len()).rev() {
            if cancelled(&self.live[index]) {
                self.retire(index, Finish::Cancelled, events);
            }
        }
        self.waiting.retain(|(id, request)| {
            let cancelled = request.cancel.is_cancelled();
            if cancelled {
                events.push(never_begun(*id, request, Finish::Cancelled));
            }
            !cancelled
        });
    }

    fn admit(&mut self, events: &mut Vec<Event>) {
        while self.live.len() < self.options.parallel {
            let Some((id, request)) = self.waiting.pop_front() else { return };
            if request.max_tokens == 0 {
                events.push(never_begun(id, &request, Finish::Length));
                continue;
            }
            let cache = self.cache(&request.prompt);
            self.live.push(Live::new(id, request, cache));
        }
    }

    /// The idle cache with the longest beginning of `prompt`, cut back to it; else the oldest of
    /// those nobody else needs, or a fresh one. At least one token stays to be read, for its
    /// logits.
    fn cache(&mut self, prompt: &[u32]) -> Cache {
        let common = |cache: &Cache| cache.common_prefix(&prompt[..prompt.len() - 1]);
        let best = self.idle.iter().enumerate().map(|(index, cache)| (common(cache), index)).max();
        let found = best.filter(|(common, _)| *common > 0);
        let taken = found.and_then(|(common, index)| Some((self.idle.remove(index)?, common)));
        match taken {
            Some((mut cache, common)) => {
                cache.truncate(common);
                cache
            }
            None => self.decoder.cache_of(self.options.cache, self.options.context),
        }
    }

    /// How many tokens each running request reads in this step, at least one.
    fn shares(&self) -> Vec<usize> {
        let prompts = self.live.iter().filter(|live| live.unread() > 1).count();
        let mut left = self.options.batch_tokens.saturating_sub(self.live.len() - prompts);
        let mut prompts = prompts;
        let share = |live: &Live| {
            let unread = live.unread();
            if unread == 1 {
                return 1;
            }
            let share = unread.min((left / prompts).max(1));
            left = left.saturating_sub(share);
            prompts -= 1;
            share
        };
        self.live.iter().map(share).collect()
    }

    fn retire(&mut self, index: usize, finish: Finish, events: &mut Vec<Event>) {
        let (event, cache) = self.live.remove(index).finish(finish);
        events.push(event);
        self.idle.push_back(cache);
        if self.idle.len() > self.options.parallel {
            self.idle.pop_front();
        }
    }
}

fn never_begun(id: RequestId, request: &Request, finish: Finish) -> Event {
    Event::Finished(Finished {
        id,
        finish,
        text: String::new(),
        prompt_tokens: request.prompt.len(),
        reused_tokens: 0,
        new_tokens: 0,
    })
}
