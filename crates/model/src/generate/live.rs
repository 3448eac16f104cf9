//! A request on its way.

use super::stop::Stops;
use super::{Ending, Event, Finish, Finished, Overflow, Request, RequestId, Token};
use crate::decoder::stream::Stream;
use crate::sample::Sampler;
use crate::{Cache, Decoder};

/// A request that is being read or written.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: RequestId,
    pub(super) cache: Cache,
    pub(super) request: Request,
    /// Prompt and what was made of it; the cache holds a beginning of them.
    pub(super) tokens: Vec<u32>,
    sampler: Sampler,
    stream: Stream,
    stops: Stops,
    prompt: usize,
    reused: usize,
    made: usize,
}

impl Live {
    /// Begins `request` with a cache that holds a beginning of its prompt.
    pub(super) fn new(id: RequestId, mut request: Request, cache: Cache) -> Self {
        let tokens = std::mem::take(&mut request.prompt);
        let sampler = Sampler::new(request.sampling.clone());
        let (stream, stops) = (Stream::default(), Stops::new(&request.stop));
        let (prompt, reused) = (tokens.len(), cache.len());
        Self { id, cache, request, tokens, sampler, stream, stops, prompt, reused, made: 0 }
    }

    /// The tokens that are still to be read.
    pub(super) fn unread(&self) -> usize {
        self.tokens.len() - self.cache.len()
    }

    /// Chooses the next token by `logits`, tells it, and says whether the text ends with it.
    pub(super) fn choose(
        &mut self,
        decoder: &Decoder,
        logits: &[f32],
        events: &mut Vec<Event>,
    ) -> Option<Finish> {
        let allowed = match &mut self.request.grammar {
            None => None,
            Some(grammar) => match grammar.allowed() {
                Some(allowed) => Some(allowed),
                None => return Some(Finish::Grammar),
            },
        };
        let choice = self.sampler.choose(logits, &self.tokens, allowed);
        let token = choice.token;
        let ends = decoder.end_tokens().contains(&token);
        if ends && self.request.ending == Ending::Own {
            return Some(Finish::End);
        }
        let fulfilled = match &mut self.request.grammar {
            None => false,
            Some(grammar) => match grammar.accept(token) {
                Some(fulfilled) => fulfilled,
                None => return Some(Finish::Grammar),
            },
        };
        let mut text = String::new();
        self.stream.push(decoder.pieces(), token, &mut text);
        let (text, stopped) = self.stops.push(&text);
        self.tokens.push(token);
        self.made += 1;
        events.push(Event::Token(Token { id: self.id, choice, text }));
        if stopped {
            return Some(Finish::Stop);
        }
        if fulfilled {
            return Some(Finish::End);
        }
        if self.made >= self.request.max_tokens {
            return Some(Finish::Length);
        }
        self.make_room()
    }

    /// Makes room for the token chosen last.
    fn make_room(&mut self) -> Option<Finish> {
        if self.cache.room() > 0 {
            return None;
        }
        match self.request.overflow {
            Overflow::Stop => Some(Finish::Context),
            Overflow::Slide { keep } => {
                let rest = self.cache.slide(keep);
                let last = self.tokens.last().copied();
                self.tokens = [self.cache.tokens(), &rest].concat();
                self.tokens.extend(last);
                None
            }
        }
    }

    /// The end of the text, and the cache for who can use it.
    pub(super) fn finish(mut self, finish: Finish) -> (Event, Cache) {
        let mut rest = String::new();
        self.stream.finish(&mut rest);
        // What was held back is lost with the stop text it belongs to.
        let (mut text, mut finish) = (String::new(), finish);
        if finish != Finish::Stop {
            let (before, stopped) = self.stops.push(&rest);
            text = before;
            let stopped = stopped || {
                let (held, stopped) = self.stops.finish();
                text.push_str(&held);
                stopped
            };
            if stopped {
                finish = Finish::Stop;
            }
        }
        let finished = Finished {
            id: self.id,
            finish,
            text,
            prompt_tokens: self.prompt,
            reused_tokens: self.reused,
            new_tokens: self.made,
        };
        (Event::Finished(finished), self.cache)
    }
}
