//! A conversation: what was said before is in the cache and is not read again.
//!
//! Run it with `cargo run -p kvant-examples --example chat -- MODEL.gguf`; without a model it talks
//! with a tiny made-up one, which babbles.

use std::sync::Arc;

use kvant_model::{Answer, Decoder, Engine, EngineOptions, Message, Request, Template};

/// How the made-up model, which brings no template, is talked to.
const PLAIN: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = std::env::args().nth(1).map_or(folder.path().to_path_buf(), Into::into);
    if path == folder.path() {
        kvant_testkit::llama(&path, 1)?;
    }
    let decoder = Arc::new(Decoder::load(&path)?);
    let template = decoder.template().cloned().unwrap_or(Template::new(PLAIN, "", ""));
    let mut engine = Engine::new(Arc::clone(&decoder), EngineOptions::default());
    let mut talk = Vec::new();
    for question in ["Who are you?", "Why?"] {
        talk.push(Message::new("user", question));
        let prompt = decoder.tokenize_bare(&template.render(&talk, Answer::Open)?)?;
        let mut answer = String::new();
        let end = engine.run(Request::new(prompt, 24), |token| answer.push_str(&token.text))?;
        answer.push_str(&end.text);
        println!("{question} {answer}");
        println!("  {} of {} prompt tokens reused", end.reused_tokens, end.prompt_tokens);
        talk.push(Message::new("assistant", answer));
    }
    Ok(())
}
