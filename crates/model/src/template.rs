//! Conversations as text, the way a model was trained to read them.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use crate::checkpoint::gguf::Header;
use crate::decoder::end::word;
use crate::limit::{TEMPLATE_BYTES, TEMPLATE_FUEL, TEMPLATE_STACK_BYTES};
use crate::tokenizer::one_line;
use crate::{Checkpoint, LoadError, file};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the model's template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What `role` says.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// Why a conversation does not become a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The model has no template.
    #[error(
        "the model brings no chat template; give it plain text, or put its chat_template.jinja \
         into the model directory"
    )]
    Missing,
    /// The template is too large, or not valid.
    #[error("the model's chat template is broken: {why}")]
    Broken {
        /// What the template engine says.
        why: String,
    },
    /// The template refuses the conversation.
    #[error("the model's chat template refuses the conversation: {why}")]
    Refused {
        /// The template's words.
        why: String,
    },
    /// The template ran for too long.
    #[error("the model's chat template does not come to an end")]
    Endless,
}

/// The chat template of a model: a Jinja program in its file, run with a limit on its steps and
/// without any access but to the conversation.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    begin: String,
    end: String,
}

impl Template {
    /// A template in the Jinja dialect of transformers, `begin` and `end` being the texts of the
    /// tokens `bos` and `eos`.
    pub fn new(source: &str, begin: &str, end: &str) -> Self {
        Self { source: source.to_owned(), begin: begin.to_owned(), end: end.to_owned() }
    }

    /// The template that the files of `checkpoint` bring, if any: `tokenizer.chat_template` of
    /// GGUF; `chat_template.jinja`, else `chat_template` of `tokenizer_config.json` (the one
    /// called `default` of several).
    pub(crate) fn of(
        checkpoint: &Checkpoint,
        spell: impl Fn(usize) -> Option<String>,
    ) -> Result<Option<Self>, LoadError> {
        match checkpoint.gguf() {
            Some(header) => Ok(Self::gguf(header, spell)),
            None => Self::directory(checkpoint),
        }
    }

    fn gguf(header: &Header, spell: impl Fn(usize) -> Option<String>) -> Option<Self> {
        let source = header.text("tokenizer.chat_template")?;
        let token = |name: &str| {
            let token = header.size(&format!("tokenizer.ggml.{name}_token_id"));
            token.and_then(&spell).unwrap_or_default()
        };
        Some(Self::new(source, &token("bos"), &token("eos")))
    }

    fn directory(checkpoint: &Checkpoint) -> Result<Option<Self>, LoadError> {
        let dir = checkpoint.path();
        let settings = file::json_if_there(&dir.join("tokenizer_config.json"))?;
        let settings = settings.unwrap_or_default();
        let own = dir.join("chat_template.jinja");
        let source = if own.is_file() {
            let bytes = file::read_bounded(&own, TEMPLATE_BYTES)?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        } else {
            match settings.get("chat_template") {
                Some(serde_json::Value::Array(named)) => {
                    let named = named.iter().find(|entry| entry["name"] == "default");
                    named.and_then(|entry| entry["template"].as_str()).map(str::to_owned)
                }
                other => other.and_then(serde_json::Value::as_str).map(str::to_owned),
            }
        };
        let token = |key: &str| word(&settings, key).unwrap_or_default();
        Ok(source.map(|source| Self::new(&source, token("bos_token"), token("eos_token"))))
    }

    /// The text of `messages`; `answer` leaves it open for the model's answer. Takes a thread for a
    /// moment, whose stack is as deep as any template of the allowed size can make use of.
    ///
    /// # Errors
    /// [`TemplateError`] if the template is broken, refuses the messages, or runs for more than a
    /// million steps.
    pub fn render(&self, messages: &[Message], answer: Answer) -> Result<String, TemplateError> {
        if self.source.len() > TEMPLATE_BYTES {
            let why = format!("{} bytes, the limit is {TEMPLATE_BYTES}", self.source.len());
            return Err(TemplateError::Broken { why });
        }
        // Its parser follows chains of operators by recursion, as deep as the template is long.
        let thread = std::thread::Builder::new().stack_size(TEMPLATE_STACK_BYTES);
        let broken = |why: &str| TemplateError::Broken { why: why.to_owned() };
        std::thread::scope(|scope| {
            let running = thread.spawn_scoped(scope, || self.run(messages, answer));
            let running = running.map_err(|error| broken(&error.to_string()))?;
            running.join().map_err(|_| broken("its engine gave up"))?
        })
    }

    fn run(&self, messages: &[Message], answer: Answer) -> Result<String, TemplateError> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(syntax.build().map_err(|error| told(&error))?);
        environment.set_fuel(Some(TEMPLATE_FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> Result<Value, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{why}")))
        });
        let template = environment.template_from_str(&self.source).map_err(|error| told(&error))?;
        let messages = messages.iter().map(|Message { role, content }| {
            context! { role => role.as_str(), content => content.as_str() }
        });
        let text = template.render(context! {
            messages => messages.collect::<Vec<Value>>(),
            add_generation_prompt => answer == Answer::Open,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
        });
        text.map_err(|error| told(&error))
    }
}

/// How the text of a conversation ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// With the mark after which the model speaks.
    #[default]
    Open,
    /// After the last message.
    None,
}

/// What stands before the words of a template that refuses.
const RAISED: &str = "raised: ";

fn told(error: &minijinja::Error) -> TemplateError {
    let detail = error.detail().unwrap_or_default();
    if let Some(why) = detail.strip_prefix(RAISED) {
        return TemplateError::Refused { why: one_line(why) };
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError::Endless;
    }
    TemplateError::Broken { why: one_line(&error.to_string()) }
}
