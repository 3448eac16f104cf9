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
fn the_logits_of_the_first_window_are_those_that_are_scored() {
    let house = house();
    let line = "perplexity one --text text.txt --context 16 --chunks 1";
    let once = [line, "--logits first.npy"].join(" ");
    let found = house.json(&once.split(' ').collect::<Vec<_>>());
    let bytes = std::fs::read(house.path("first.npy")).expect("written");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..start]);
    let numbers = bytes[start..].chunks_exact(4);
    let logits: Vec<f64> =
        numbers.map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect();
    let vocabulary = logits.len() / 16;
    assert!(header.contains(&format!("(16, {vocabulary})")), "{header}");

    let model = kvant_model::Decoder::load(&house.path("one")).expect("a model");
    assert_eq!(vocabulary, model.vocabulary());
    let tokens = model.tokenize(TEXT).expect("tokens");
    // The protocol: the second half of the window is scored, its last token predicts nothing.
    let losses = (8..15).map(|position| {
        let row = &logits[position * vocabulary..][..vocabulary];
        let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
        sum.ln() - row[tokens[position + 1] as usize]
    });
    let expected = (losses.sum::<f64>() / 7.0).exp();
    let value = found["perplexity"]["value"].as_f64().expect("a number");
    assert!((value / expected - 1.0).abs() < 1e-5, "{value} {expected}");

    let words = |line: &str| house.fail(&line.split(' ').collect::<Vec<_>>());
    let again = words(&once);
    assert!(again.contains("first.npy"), "{again}");
    let other = words(&format!("{line} --logits first.bin"));
    assert!(other.contains("first.bin: logits are written as .npy"), "{other}");
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
