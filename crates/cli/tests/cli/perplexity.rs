//! `kvant perplexity` on made-up language models.

use serde_json::Value;

use crate::house::House;

const TEXT: &str = "It was the best of times, it was the worst of times, it was the age of wisdom.";

fn house() -> House {
    let house = House::new();
    for (name, seed) in [("one", 1), ("two", 2)] {
        kvant_testkit::llama(&house.path(name), seed).expect("written");
    }
    house.write("text.txt", TEXT);
    house
}

#[test]
fn a_language_model_is_scored_alone_and_against_another() {
    let house = house();
    let alone = ["perplexity", "one", "--text", "text.txt", "--context", "16"];
    let found = house.json(&alone);
    let value = found["perplexity"]["value"].as_f64().expect("a number");
    assert!(value > 1.0 && found["against"] == Value::Null, "{found}");
    assert_eq!((&found["chunks"], &found["scored"]), (&4.into(), &28.into()));
    let both = [&alone[..], &["--against", "two", "--chunks", "2", "--threads", "2"]].concat();
    let found = house.json(&both);
    assert_eq!(found["scored"], 14);
    assert!(found["against"]["mean"]["value"].as_f64() > Some(0.0), "{found}");
    let text = house.run(&both.join(" "));
    for word in ["perplexity", "ratio", "KL divergence, mean", "same top token", "2 windows of 16"]
    {
        assert!(text.contains(word), "'{word}' is not in\n{text}");
    }
}

#[test]
fn what_cannot_be_scored_is_said() {
    let house = house();
    let fail = |line: &str| house.fail(&line.split(' ').collect::<Vec<_>>());
    let short = fail("perplexity one --text text.txt --context 100");
    assert!(short.contains("78 tokens") && short.contains("longer text"), "{short}");
    let long = fail("perplexity one --text text.txt --context 1000");
    assert!(long.contains("4 to 128"), "{long}");
    let absent = fail("perplexity one --text absent.txt");
    assert!(absent.contains("absent.txt"), "{absent}");
    house.write("bytes.txt", [0xFF, 0xFE]);
    let bytes = fail("perplexity one --text bytes.txt");
    assert!(bytes.contains("bytes.txt: not UTF-8"), "{bytes}");
}
