//! `kvant chat MODEL`.

use std::io::{BufRead, IsTerminal, Read, Write};

use anyhow::Context;
use kvant_model::Message;

use super::writer::{Writer, opening};
use crate::args::Chat;
use crate::print;
use crate::progress::Audience;

/// Bytes of a line.
const LINE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn run(args: &Chat) -> anyhow::Result<()> {
    let mut writer = Writer::load(&args.model, &args.making, Audience::of(false))?;
    // Before the first question, not after it.
    writer.conversation(&[Message::new("user", "hello")])?;
    let mut messages = opening(args.system.as_deref());
    let (mut input, told) = (std::io::stdin().lock(), messages.len());
    let watched = input.is_terminal();
    loop {
        if watched {
            ask()?;
        }
        let mut line = String::new();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
        if read.context("standard input")? == 0 {
            return Ok(());
        }
        match line.trim() {
            "" => {}
            "/exit" => return Ok(()),
            "/reset" => messages.truncate(told),
            question => {
                messages.push(Message::new("user", question));
                answer(&mut writer, &mut messages, told)?;
            }
        }
    }
}

/// Prints the model's answer as it comes, and adds it to the conversation, of which the first
/// `told` messages stay. What was said before is in the engine's cache and is not read again.
fn answer(writer: &mut Writer<'_>, messages: &mut Vec<Message>, told: usize) -> anyhow::Result<()> {
    let prompt = prompt(writer, messages, told)?;
    let request = writer.request(prompt, None);
    let (cancel, mut closed, mut text) = (request.cancel.clone(), Ok(()), String::new());
    let finished = writer.engine.run(request, |token| {
        text.push_str(&token.text);
        if let Err(error) = print::all(&token.text) {
            cancel.cancel();
            closed = Err(error);
        }
    })?;
    closed?;
    print::line(&finished.text)?;
    text.push_str(&finished.text);
    messages.push(Message::new("assistant", text));
    Ok(())
}

/// The tokens of the conversation, without its oldest questions and answers where they would leave
/// less than a quarter of the context for the answer.
fn prompt(
    writer: &Writer<'_>,
    messages: &mut Vec<Message>,
    told: usize,
) -> anyhow::Result<Vec<u32>> {
    loop {
        let prompt = writer.conversation(messages)?;
        let fits = prompt.len() <= writer.engine.context() / 4 * 3;
        if fits || messages.len() < told + 3 {
            return Ok(prompt);
        }
        messages.drain(told..told + 2);
    }
}

/// Shows that a question is awaited.
fn ask() -> anyhow::Result<()> {
    let mut out = std::io::stderr().lock();
    write!(out, "> ")?;
    Ok(out.flush()?)
}
