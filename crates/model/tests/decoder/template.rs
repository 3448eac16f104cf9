//! Conversations against transformers (`testdata/golden/template/make.py`), and templates that are
//! not what they should be.

use std::fs;
use std::path::Path;

use kvant_model::{Answer, Decoder, Message, Template, TemplateError};
use serde_json::{Value, json};

use crate::toy::{LLAMA, Toy};

fn expected() -> Vec<Value> {
    let path = "../../testdata/golden/template/expected.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn hello() -> Vec<Message> {
    vec![Message::new("user", "Hello!")]
}

#[test]
fn conversations_are_those_of_transformers() {
    let cases = expected();
    for case in &cases {
        let template = Template::new(case["template"].as_str().unwrap(), "<s>", "</s>");
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let answer = if case["answer"] == true { Answer::Open } else { Answer::None };
        let found = template.render(&messages, answer);
        match case["refused"].as_str() {
            Some(why) => assert_eq!(found, Err(TemplateError::Refused { why: why.into() })),
            None => assert_eq!(found.unwrap(), case["text"].as_str().unwrap(), "{case}"),
        }
    }
    assert!(cases.iter().any(|case| case["refused"].is_string()));
}

#[test]
fn the_template_of_a_real_model_is_found() {
    let Some(path) = kvant_testkit::smollm2() else {
        kvant_testkit::skip("SmolLM2-135M-Instruct.Q4_1.gguf is not here (KVANT_TEST_SMOLLM2)");
        return;
    };
    let decoder = Decoder::load(&path).unwrap();
    let text = decoder.template().unwrap().render(&hello(), Answer::Open).unwrap();
    assert_eq!(text, expected()[0]["text"].as_str().unwrap());
    let tokens = decoder.tokenize_bare(&text).unwrap();
    assert_eq!((tokens[0], decoder.end_tokens()), (1, [0, 2].as_slice()));
    assert_eq!(decoder.token_bytes(1), b"<|im_start|>");
}

#[test]
fn a_template_is_found_wherever_models_keep_it() {
    let toy = Toy::new(LLAMA);
    let path = toy.directory();
    let said = |path: &Path| {
        let decoder = Decoder::load(path).unwrap();
        decoder.template().map(|template| template.render(&hello(), Answer::None).unwrap())
    };
    assert_eq!(said(&path), None);
    let source = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}";
    let mut settings = json!({ "bos_token": "<b>", "eos_token": { "content": "<e>" } });
    let write = |settings: &Value| {
        fs::write(path.join("tokenizer_config.json"), settings.to_string()).unwrap();
    };
    settings["chat_template"] = json!(source);
    write(&settings);
    assert_eq!(said(&path).as_deref(), Some("<b>Hello!<e>"));
    let tool = json!({ "name": "tool_use", "template": "no" });
    settings["chat_template"] = json!([tool, { "name": "default", "template": source }]);
    write(&settings);
    assert_eq!(said(&path).as_deref(), Some("<b>Hello!<e>"));
    fs::write(path.join("chat_template.jinja"), "own {{ messages | length }}\n").unwrap();
    assert_eq!(said(&path).as_deref(), Some("own 1"));
    let mut metadata = toy.metadata();
    metadata.text("tokenizer.chat_template", source);
    metadata.size("tokenizer.ggml.bos_token_id", 65);
    assert_eq!(said(&toy.gguf(metadata)).as_deref(), Some("bHello!"));
}

#[test]
fn templates_that_are_broken_say_so() {
    let render = |source: &str| Template::new(source, "", "").render(&hello(), Answer::Open);
    for source in ["{% for %}", "{{ nothing() }}", "{{ messages[0].content.fly() }}", "{{ 1 / 0 }}"]
    {
        let error = render(source).unwrap_err();
        assert!(matches!(error, TemplateError::Broken { .. }), "{source}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    assert_eq!(render(endless), Err(TemplateError::Endless));
    let deep = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    assert!(render(deep).is_err());
    let large = "x".repeat((1 << 16) + 1);
    assert!(render(&large).unwrap_err().to_string().contains("limit"));
    assert!(render(&large[1..]).is_ok());
    let refused = render("{{ raise_exception('no\nroles') }}");
    assert_eq!(refused, Err(TemplateError::Refused { why: "no".into() }));
}

/// Chains of operators as long as a template may be: parser, compiler and destructors walk them by
/// recursion, which once overflowed the stack.
#[test]
fn templates_cannot_exhaust_the_stack() {
    let long = |part: &str| part.repeat(((1 << 16) - 100) / part.len());
    let render = |source: &str| Template::new(source, "", "").render(&hello(), Answer::Open);
    for open in ["(", "[", "not ", "-", "{%if a%}", "{{"] {
        assert!(render(&format!("{{{{ {}", long(open))).is_err(), "{open}");
    }
    for (part, end) in [("not ", "a"), ("-", "1"), ("1+", "1"), ("a.", "b"), ("a or ", "b")] {
        // Whether it is valid or too much, it comes back.
        drop(render(&format!("{{{{ {}{end} }}}}", long(part))));
    }
    for part in ["|upper", "[0]", "()", " if a else b", " and a"] {
        drop(render(&format!("{{{{ a{} }}}}", long(part))));
    }
    drop(render(&format!("{{% if a %}}{}{{% endif %}}", long("{%elif a%}"))));
}
