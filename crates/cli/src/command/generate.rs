//! `kvant generate MODEL PROMPT`.

use std::io::Read;
use std::time::Instant;

use anyhow::{Context, ensure};
use kvant_model::{Finished, Grammars, Message, Token};
use serde::Serialize;

use super::writer::{Writer, opening, schema};
use crate::args::{Format, Generate};
use crate::print;
use crate::progress::Audience;

/// Bytes of a prompt on standard input.
const PROMPT_BYTES_MAX: u64 = 64 << 20;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Made {
    text: String,
    finish: &'static str,
    tokens: Vec<u32>,
    prompt_tokens: usize,
    new_tokens: usize,
    seconds_load: f64,
    seconds_prompt: f64,
    seconds_new: f64,
    prefill_tok_s: Option<f64>,
    decode_tok_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<Spoken>>,
}

/// A token and how likely the model thought it.
#[derive(Debug, Serialize)]
struct Spoken {
    token: u32,
    text: String,
    logprob: Option<f32>,
    top: Vec<Likely>,
}

/// One of the most likely tokens.
#[derive(Debug, Serialize)]
struct Likely {
    token: u32,
    text: String,
    logprob: f32,
}

/// The tokens as they come, and when.
struct Record {
    began: Instant,
    first: Option<Instant>,
    tokens: Vec<Token>,
}

pub(super) fn run(args: &Generate) -> anyhow::Result<()> {
    let began = Instant::now();
    let prompt = prompt(args)?;
    let schema = args.json_schema.as_deref().map(schema).transpose()?;
    let mut writer = Writer::load(&args.model, &args.making, Audience::of(args.json))?;
    let decoder = writer.decoder();
    let templated = args.chat || args.system.is_some() || decoder.template().is_some();
    let tokens = if templated && !args.raw {
        let mut messages = opening(args.system.as_deref());
        messages.push(Message::new("user", prompt));
        writer.conversation(&messages)?
    } else {
        decoder.tokenize(&prompt)?
    };
    let mut request = writer.request(tokens, args.logprobs);
    request.grammar = match (schema, args.format) {
        (Some(schema), _) => Some(Grammars::new(decoder)?.schema(schema)?),
        (None, Some(Format::Json)) => Some(Grammars::new(decoder)?.json()?),
        (None, Some(Format::Text) | None) => None,
    };
    let load = began.elapsed().as_secs_f64();
    let mut record = Record { began: Instant::now(), first: None, tokens: Vec::new() };
    let (cancel, mut closed) = (request.cancel.clone(), Ok(()));
    let finished = writer.engine.run(request, |token| {
        record.first.get_or_insert_with(Instant::now);
        if args.json {
            record.tokens.push(token.clone());
        } else if let Err(error) = print::all(&token.text) {
            cancel.cancel();
            closed = Err(error);
        }
    })?;
    closed?;
    if !args.json {
        return print::line(&finished.text);
    }
    print::json(&made(&writer, &finished, record, load))
}

fn prompt(args: &Generate) -> anyhow::Result<String> {
    if let Some(prompt) = &args.prompt {
        return Ok(prompt.clone());
    }
    let mut prompt = String::new();
    let read = std::io::stdin().lock().take(PROMPT_BYTES_MAX).read_to_string(&mut prompt);
    read.context("standard input")?;
    ensure!(!prompt.is_empty(), "say what to continue: kvant generate MODEL PROMPT");
    Ok(prompt)
}

fn made(writer: &Writer<'_>, finished: &Finished, record: Record, load: f64) -> Made {
    let Record { began, first, tokens } = record;
    let end = Instant::now();
    let first = first.unwrap_or(end);
    let (reading, writing) = (first - began, end - first);
    let rate =
        |count: usize, seconds: f64| (count > 0 && seconds > 0.0).then(|| count as f64 / seconds);
    let (prompt, new) = (finished.prompt_tokens, finished.new_tokens);
    let spell =
        |token: u32| String::from_utf8_lossy(writer.decoder().token_bytes(token)).into_owned();
    let spoken = |token: &Token| Spoken {
        token: token.choice.token,
        text: spell(token.choice.token),
        logprob: token.choice.log_probability,
        top: token
            .choice
            .top
            .iter()
            .map(|&(token, logprob)| Likely { token, text: spell(token), logprob })
            .collect(),
    };
    let asked = tokens.first().is_some_and(|token| token.choice.log_probability.is_some());
    Made {
        text: tokens.iter().map(|token| token.text.as_str()).collect::<String>() + &finished.text,
        finish: finished.finish.name(),
        tokens: tokens.iter().map(|token| token.choice.token).collect(),
        prompt_tokens: prompt,
        new_tokens: new,
        seconds_load: load,
        seconds_prompt: reading.as_secs_f64(),
        seconds_new: writing.as_secs_f64(),
        prefill_tok_s: rate(prompt, reading.as_secs_f64()),
        decode_tok_s: rate(new.saturating_sub(1), writing.as_secs_f64()),
        logprobs: asked.then(|| tokens.iter().map(spoken).collect()),
    }
}
