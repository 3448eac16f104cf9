//! `kvant generate`, `kvant chat` and `kvant bench generate` on made-up language models.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::house::{House, said};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

/// A house with the model `one`, which knows no chat and ends no text.
fn house() -> House {
    let house = House::new();
    kvant_testkit::llama(&house.path("one"), 1).expect("written");
    house
}

/// A house whose model knows how to chat and may end a text by a zero byte.
fn talker() -> House {
    let house = house();
    house.write("one/chat_template.jinja", TEMPLATE);
    let end = json!({ "eos_token_id": 188 });
    house.write("one/generation_config.json", end.to_string());
    house
}

/// Runs `kvant chat` with `input`.
fn chat(house: &House, input: &str) -> String {
    let args = ["chat", "one", "--max-tokens", "5", "--system", "be brief"];
    let mut command = house.command(&args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("ends");
    let (out, err) = said(&output);
    assert!(output.status.success() && err.is_empty(), "{out}\n{err}");
    out
}

#[test]
fn a_text_is_continued_the_same_way_by_any_number_of_threads() {
    let house = house();
    let args = ["generate", "one", "It was the", "--max-tokens", "20"];
    let text = house.succeed(&args);
    assert!(text.ends_with('\n') && text.len() > 1, "{text:?}");
    for threads in ["1", "3", "10000"] {
        let more = [&args[..], &["--threads", threads, "--raw"]].concat();
        assert_eq!(house.succeed(&more), text);
    }
    let heated = |seed| {
        let more = ["--temperature", "1.5", "--top-p", "0.95", "--seed", seed];
        house.succeed(&[&args[..], &more].concat())
    };
    assert_eq!(heated("1"), heated("1"));
    assert_ne!(heated("1"), heated("2"));
    for cache in ["f32", "int8"] {
        assert!(!house.succeed(&[&args[..], &["--cache", cache]].concat()).is_empty());
    }
}

#[test]
fn json_tells_tokens_times_and_probabilities() {
    let house = house();
    let args = ["generate", "one", "It was", "--max-tokens", "12"];
    let found = house.json(&args);
    assert_eq!(format!("{}\n", found["text"].as_str().expect("a text")), house.succeed(&args));
    assert_eq!((&found["finish"], &found["prompt_tokens"]), (&"length".into(), &6.into()));
    assert_eq!((&found["new_tokens"], &found["logprobs"]), (&12.into(), &Value::Null));
    assert!(found["decode_tok_s"].as_f64() > Some(0.0), "{found}");
    let found = house.json(&[&args[..], &["--logprobs", "3"]].concat());
    let tokens = found["logprobs"].as_array().expect("a list");
    assert_eq!(tokens.len(), 12);
    for (token, number) in tokens.iter().zip(found["tokens"].as_array().expect("a list")) {
        assert_eq!((&token["token"], &token["top"][0]["token"]), (number, number));
        assert_eq!(token["top"].as_array().map(Vec::len), Some(3));
        assert!(token["logprob"].as_f64() <= Some(0.0), "{token}");
    }
}

#[test]
fn a_text_ends_where_it_is_told_to() {
    let house = house();
    let args = ["generate", "one", "It was", "--max-tokens", "30"];
    let whole = house.succeed(&args);
    assert!(whole.len() > 20, "{whole:?}");
    let sign = whole.chars().nth(2).expect("long enough").to_string();
    let short = house.json(&[&args[..], &["--stop", &sign]].concat());
    assert_eq!(short["finish"], "stop");
    assert!(whole.starts_with(short["text"].as_str().expect("a text")));
    assert!(!short["text"].as_str().expect("a text").contains(&sign));
    let full = house.json(&["generate", "one", "It was", "--context", "16"]);
    assert_eq!((&full["finish"], &full["new_tokens"]), (&"context".into(), &11.into()));
    let slid = ["generate", "one", "It was", "--context", "16", "--keep", "4"];
    let slid = house.json(&[&slid[..], &["--max-tokens", "40"]].concat());
    assert_eq!((&slid["finish"], &slid["new_tokens"]), (&"length".into(), &40.into()));
}

#[test]
fn answers_follow_a_schema() {
    let house = talker();
    let schema = json!({
        "type": "object", "required": ["n"], "additionalProperties": false,
        "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 9 } },
    });
    house.write("schema.json", schema.to_string());
    let args = ["generate", "one", "A number", "--json-schema", "schema.json"];
    let text = house.succeed(&args);
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert!(value["n"].as_u64() <= Some(9), "{text}");
    let told = house.fail(&["generate", "one", "A", "--json-schema", "absent.json"]);
    assert!(told.contains("absent.json"), "{told}");
    house.write("broken.json", "{");
    let told = house.fail(&["generate", "one", "A", "--json-schema", "broken.json"]);
    assert!(told.contains("broken.json: not valid JSON"), "{told}");
    house.write("odd.json", r#"{"type": 3}"#);
    let told = house.fail(&["generate", "one", "A", "--json-schema", "odd.json"]);
    assert!(told.contains("schema cannot be followed"), "{told}");
}

#[test]
fn a_conversation_remembers_until_it_is_reset() {
    let house = talker();
    let once = chat(&house, "hello\n");
    assert_eq!(once.lines().count(), once.matches('\n').count());
    let again = chat(&house, "hello\n\n/reset\nhello\n/exit\nnever\n");
    assert_eq!(again, format!("{once}{once}"));
    let longer = chat(&house, "hello\nhello");
    assert!(longer.starts_with(&once) && longer != again, "{longer:?}");
    // Thirty turns do not fit the context of 128 tokens; the oldest are forgotten.
    assert!(chat(&house, &"hello\n".repeat(30)).len() > 30);
    // The system's words and the mark of the user are part of the question.
    let asked = house.succeed(&[
        "generate",
        "one",
        "hello",
        "--chat",
        "--system",
        "be brief",
        "--max-tokens",
        "5",
    ]);
    assert_eq!(asked, once);
}

#[test]
fn what_cannot_be_written_is_said() {
    let house = house();
    let fail = |line: &str| house.fail(&line.split(' ').collect::<Vec<_>>());
    assert!(fail("generate one").contains("say what to continue"));
    let long = house.fail(&["generate", "one", &"x".repeat(128)]);
    assert!(long.contains("128 tokens") && long.contains("shorten"), "{long}");
    let empty = house.fail(&["generate", "one", ""]);
    assert!(empty.contains("no tokens"), "{empty}");
    assert!(fail("generate one A --top-p 0").contains("top-p is 0"));
    assert!(fail("generate one A --temperature NaN").contains("temperature is NaN"));
    assert!(fail("generate one A --logit-bias 256=1").contains("token 256"));
    assert!(fail("generate one A --context 10 --keep 6").contains("half the context"));
    assert!(fail("generate one A --chat").contains("no chat template"));
    assert!(fail("generate one A --format json").contains("no end token"));
    assert!(fail("chat one").contains("no chat template"));
    assert!(fail("generate absent A").contains("absent"));
    assert!(fail("bench generate one --prompt-tokens 100 --new-tokens 29").contains("129 tokens"));
    for line in ["generate one A --cache int4", "generate one A --threads 0", "bench"] {
        let args: Vec<&str> = line.split(' ').collect();
        let output = house.command(&args).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
}

#[test]
fn the_speed_of_a_model_is_measured() {
    let house = house();
    let args = ["bench", "generate", "one", "--prompt-tokens", "40", "--new-tokens", "8"];
    let found = house.json(&[&args[..], &["--threads", "2", "--parallel", "3"]].concat());
    for rate in ["prefill_tok_s", "decode_tok_s", "first_token_ms", "cache_bytes"] {
        assert!(found[rate].as_f64() > Some(0.0), "{rate}: {found}");
    }
    assert_eq!((&found["threads"], &found["parallel"]), (&2.into(), &3.into()));
    let ceiling = &found["ceiling"];
    for (share, of, limit) in [
        ("decode_share", "decode_gb_s", "read_gb_s"),
        ("prefill_share", "prefill_gop_s", "probe_gop_s"),
    ] {
        let [share, of, limit] = [share, of, limit].map(|key| ceiling[key].as_f64().unwrap());
        assert!(of > 0.0 && limit > 0.0 && (share - of / limit).abs() < 1e-9, "{found}");
    }
    let text = house.succeed(&args);
    assert!(text.contains("writing") && text.contains("1 x 40 tokens read"), "{text}");
    assert!(text.contains("% of the fastest read") && text.contains("% of the best"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn threads_are_bound_to_the_cores_asked_for() {
    let house = house();
    let plain = house.succeed(&["generate", "one", "AB", "--max-tokens", "5"]);
    let bound = |line: &str| house.fail(&line.split(' ').collect::<Vec<_>>());
    // The first core of this process, which need not be 0.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let core = cores.trim().split([',', '-']).next().unwrap();
    let args = ["generate", "one", "AB", "--max-tokens", "5", "--pin", core];
    assert_eq!(house.succeed(&args), plain);
    let args = ["bench", "generate", "one", "--prompt-tokens", "40", "--new-tokens", "8"];
    let found = house.json(&[&args[..], &["--pin", core]].concat());
    assert_eq!(found["threads"], 1);
    assert!(bound("generate one A --pin 1023").contains("no core 1023"));
    assert!(bound("generate one A --pin 0,1 --threads 3").contains("2 cores for 3 threads"));
    for pin in ["0,0", "zero", "0-1024", ""] {
        let output = house.command(&["generate", "one", "A", "--pin", pin]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{pin}");
    }
    let many = ["generate", "one", "AB", "--max-tokens", "5", "--threads", "10000"];
    assert_eq!(house.succeed(&many), plain);
}
