//! What `generate` and `chat` share: a model, its engine, and a request by the flags.

use std::sync::Arc;

use anyhow::Context;
use kvant_model::{Answer, Decoder, Engine, EngineOptions, Message, Overflow, Request, Sampling};

use crate::args::Making;
use crate::progress::Audience;
use crate::pull;

/// A loaded model and how it is to write.
pub(super) struct Writer<'a> {
    pub(super) engine: Engine,
    making: &'a Making,
}

impl<'a> Writer<'a> {
    /// Finds or fetches the model and loads it.
    pub(super) fn load(
        model: &str,
        making: &'a Making,
        audience: Audience,
    ) -> anyhow::Result<Self> {
        making.threads.hold()?;
        let checkpoint = pull::open(model, audience)?.with_compute(making.compute);
        let decoder = Arc::new(Decoder::open(&checkpoint)?);
        let options = EngineOptions {
            cache: making.cache,
            parallel: 1,
            context: making.context.unwrap_or(usize::MAX),
            ..EngineOptions::default()
        };
        let engine = Engine::with_pool(decoder, options, making.threads.pool()?);
        Ok(Self { engine, making })
    }

    pub(super) fn decoder(&self) -> &Decoder {
        self.engine.decoder()
    }

    /// The tokens of a conversation that waits for the model's answer.
    pub(super) fn conversation(&self, messages: &[Message]) -> anyhow::Result<Vec<u32>> {
        let decoder = self.decoder();
        let template = decoder.template().ok_or(kvant_model::TemplateError::Missing)?;
        let text = template.render(messages, Answer::Open)?;
        Ok(decoder.tokenize_bare(&text)?)
    }

    /// A request by the flags.
    pub(super) fn request(&self, prompt: Vec<u32>, log_probabilities: Option<usize>) -> Request {
        let Making { max_tokens, temperature, seed, top_k, top_p, min_p, .. } = *self.making;
        let sampling = Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            repeat_penalty: self.making.repeat_penalty,
            logit_bias: self.making.logit_bias.clone(),
            seed,
            log_probabilities,
            ..Sampling::default()
        };
        let overflow = match self.making.keep {
            Some(keep) => Overflow::Slide { keep },
            None => Overflow::Stop,
        };
        let stop = self.making.stop.clone();
        Request { sampling, overflow, stop, ..Request::new(prompt, max_tokens) }
    }
}

/// The messages that stand before the first question.
pub(super) fn opening(system: Option<&str>) -> Vec<Message> {
    system.map(|text| Message::new("system", text)).into_iter().collect()
}

/// Reads a JSON file.
pub(super) fn schema(path: &std::path::Path) -> anyhow::Result<serde_json::Value> {
    let bytes = kvant_storage::read_file(path)?;
    let name = || format!("{}: not valid JSON", path.display());
    serde_json::from_slice(&bytes).with_context(name)
}
