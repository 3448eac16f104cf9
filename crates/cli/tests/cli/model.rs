//! The whole path with the real MiniLM, where this machine has it.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::house::{House, said, text};

const BOOKS: [(&str, &str, &str); 4] = [
    ("whale", "en", "A captain hunts a white whale across the sea."),
    ("island", "en", "A sailor alone on an island builds a house."),
    ("jardin", "fr", "Un chien dort dans le jardin."),
    ("proof", "en", "A theorem about prime numbers and its proof."),
];

/// A house and the model; `None` where there is no model.
fn with_model() -> Option<(House, PathBuf)> {
    let Some(model) = kvant_testkit::minilm() else {
        kvant_testkit::skip("all-MiniLM-L6-v2 is not there");
        return None;
    };
    let house = House::new();
    let line = |(id, lang, text): &(&str, &str, &str)| {
        json!({"key": id, "summary": text, "lang": lang}).to_string()
    };
    house.write("books.jsonl", BOOKS.iter().map(line).collect::<Vec<_>>().join("\n"));
    Some((house, model.canonicalize().expect("there")))
}

fn ids(found: &Value) -> Vec<&str> {
    let results = found["results"].as_array().expect("results");
    results.iter().filter_map(|result| result["id"].as_str()).collect()
}

#[test]
fn compress_import_search() {
    let Some((house, model)) = with_model() else { return };
    let model = text(&model);
    let summary = house.json(&["inspect", model]);
    assert_eq!((&summary["architecture"], &summary["layers"]), (&json!("BertModel"), &json!(6)));
    let report = house.json(&["compress", model, "--scheme", "int8", "-o", "small"]);
    assert!(report["bits_per_weight"].as_f64() < Some(8.3), "{}", report["bits_per_weight"]);
    let again = house.fail(&["compress", model, "--scheme", "int8", "-o", "small"]);
    assert!(again.contains("small"), "{again}");
    assert!(house.run("inspect small --brief").contains("int8"));

    let import = [
        "import",
        "shop",
        "--collection",
        "books",
        "--from",
        "books.jsonl",
        "--model",
        "small",
        "--id-field",
        "key",
        "--text-field",
        "summary",
    ];
    assert_eq!(house.json(&import)["written"], 4);
    let again = ["import", "shop", "--collection", "books", "--from", "books.jsonl"];
    assert_eq!(house.json(&again)["skipped"], 4);
    let info = &house.json(&["info", "shop"])["collections"][0];
    let notes = &info["notes"]["kvant"];
    assert_eq!(
        (&info["vectors"][0]["dim"], &notes["text_field"]),
        (&json!(384), &json!("summary"))
    );
    let stored = notes["model"].as_str().expect("remembered");
    assert_eq!(stored, text(&house.path("small").canonicalize().expect("there")));

    let found = house.json(&["search", "shop", "hunting at sea", "-k", "2"]);
    assert_eq!(ids(&found), ["whale", "island"]);
    assert_eq!(found["results"][0]["payload"]["summary"], BOOKS[0].2);
    let filter = ["search", "shop", "hunting at sea", "--filter", "lang=fr"];
    assert_eq!(ids(&house.json(&filter)), ["jardin"]);
    let like = house.json(&["search", "shop", "--like", "whale", "-k", "1"]);
    assert_eq!(ids(&like), ["island"]);
    let table = house.succeed(&["search", "shop", "mathematics", "-k", "1"]);
    assert!(table.contains("proof") && table.contains("prime numbers"), "{table}");

    // An edited text is embedded anew.
    let edited = json!({"key": "proof", "summary": "A recipe for onion soup.", "lang": "en"});
    house.write("edit.jsonl", edited.to_string());
    let edit = ["import", "shop", "--collection", "books", "--from", "edit.jsonl"];
    assert_eq!(house.json(&edit)["written"], 1);
    let found = house.json(&["search", "shop", "cooking", "-k", "1"]);
    assert_eq!(found["results"][0]["payload"]["summary"], "A recipe for onion soup.");
}

#[test]
fn embed_in_every_form() {
    let Some((house, model)) = with_model() else { return };
    let model = text(&model);
    let texts = BOOKS.map(|(_, _, text)| text);
    let args = [&["embed", "--model", model][..], &texts].concat();
    let lines = house.succeed(&args);
    let vectors: Vec<Vec<f32>> =
        lines.lines().map(|line| serde_json::from_str(line).expect("an array")).collect();
    assert_eq!(vectors.len(), 4);
    for vector in &vectors {
        let norm: f32 = vector.iter().map(|v| v * v).sum();
        assert!(vector.len() == 384 && (norm - 1.0).abs() < 1e-5, "{norm}");
    }

    // The same bits through a file, standard input, and both outputs.
    let from = ["embed", "--model", model, "--from", "books.jsonl", "--text-field", "summary"];
    let out = house.json(&[&from[..], &["-o", "v.npy", "--threads", "1"]].concat());
    assert_eq!((&out["texts"], &out["dim"]), (&json!(4), &json!(384)));
    let file = std::fs::read(house.path("v.npy")).expect("written");
    let numbers: Vec<u8> = vectors.concat().iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(file.ends_with(&numbers));
    house.succeed(&[&from[..], &["-o", "v.jsonl", "--batch-tokens", "1"]].concat());
    let lines = std::fs::read_to_string(house.path("v.jsonl")).expect("written");
    let line: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    let first: Vec<f32> = serde_json::from_value(line["vector"].clone()).expect("numbers");
    assert!(first == vectors[0]);
    assert_eq!((&line["key"], &line["lang"]), (&json!("whale"), &json!("en")));

    let mut command = house.command(&["embed", "--model", model]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let lines = texts.join("\n");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("read");
    let (out, err) = said(&child.wait_with_output().expect("ends"));
    assert_eq!(err, "");
    let piped: Vec<Vec<f32>> =
        out.lines().map(|line| serde_json::from_str(line).expect("an array")).collect();
    assert!(piped == vectors);

    // What embed writes, import reads.
    house.run("import shop/plain --from v.jsonl --id-field key --text-field summary");
    let info = &house.json(&["info", "shop/plain"])["collections"][0];
    assert_eq!((&info["points"], &info["notes"]["kvant"]["model"]), (&json!(4), &Value::Null));
}

#[test]
fn long_and_empty_texts() {
    let Some((house, model)) = with_model() else { return };
    let model = text(&model);
    house.write("long.txt", "word ".repeat(200_000));
    let line = house.succeed(&["embed", "--model", model, "--from", "long.txt"]);
    assert_eq!(serde_json::from_str::<Vec<f32>>(&line).expect("an array").len(), 384);
    house.run(&format!("import shop/long --from long.txt --model {model}"));
    assert!(house.fail(&["embed", "--model", model, ""]).contains("a text is empty"));
    let none = house.fail(&["embed", "--model", model]);
    assert!(none.contains("no texts"), "{none}");
    let field = house.fail(&["embed", "--model", model, "--from", "books.jsonl"]);
    assert!(field.contains("books.jsonl: line 1") && field.contains("--text-field"), "{field}");
    assert!(house.fail(&["search", "shop/long", " "]).contains("the query is empty"));
}

#[test]
fn evaluate_against_the_baseline() {
    let Some((house, model)) = with_model() else { return };
    let model = text(&model);
    house.run(&format!("compress {model} --scheme q4_0 -o small"));
    let pairs = [
        (5.0, "A dog runs.", "A dog is running."),
        (3.0, "A man plays a guitar.", "A man plays music."),
        (2.0, "A cat sleeps on the sofa.", "An animal is at home."),
        (0.0, "The stock market fell.", "A child eats an apple."),
        (1.0, "It rains in the city.", "The street is dry."),
        (4.0, "Two people cook dinner.", "Two persons prepare a meal."),
    ];
    let line = |(score, a, b): &(f64, &str, &str)| {
        json!({"score": score, "sentence1": a, "sentence2": b}).to_string()
    };
    house.write("sts.jsonl", pairs.iter().map(line).collect::<Vec<_>>().join("\n"));
    let args = [
        "eval",
        "q4=small",
        "--against",
        model,
        "--task",
        "sts",
        "--data",
        "sts.jsonl",
        "--html",
        "report.html",
    ];
    let report = house.json(&args);
    assert_eq!((&report["schema"], &report["task"]["kind"]), (&json!(1), &json!("sts")));
    let models = report["models"].as_array().expect("models");
    assert_eq!((models.len(), &models[1]["label"]), (2, &json!("q4")));
    assert!(models[1]["ratio"].is_object() && models[0]["quality"]["score"].as_f64() > Some(0.5));
    assert!(
        models[1]["size"]["weights_bytes"].as_u64() < models[0]["size"]["weights_bytes"].as_u64()
    );
    if cfg!(target_os = "linux") {
        assert!(models[0]["memory"]["peak_bytes"].as_u64() > Some(50_000_000));
    }
    let page = std::fs::read_to_string(house.path("report.html")).expect("written");
    assert!(page.contains("q4") && page.trim_start().to_lowercase().starts_with("<!doctype html"));
    let line =
        house.fail(&["eval", model, "--against", model, "--task", "sts", "--data", "absent.tsv"]);
    assert!(line.contains("absent.tsv"), "{line}");
    house.write("bad.tsv", "no\tscores\n");
    let line =
        house.fail(&["eval", model, "--against", model, "--task", "sts", "--data", "bad.tsv"]);
    assert!(line.contains("bad.tsv"), "{line}");
}

#[test]
fn the_speed_of_an_encoder_is_measured() {
    let Some((house, model)) = with_model() else { return };
    let texts = BOOKS.map(|(_, _, text)| text).join("\n");
    house.write("texts.txt", texts);
    let args = ["bench", "embed", text(&model), "--texts", "texts.txt", "--threads", "2"];
    let found = house.json(&[&args[..], &["--batch", "3", "--rounds", "2"]].concat());
    for figure in ["texts_per_s", "p50_ms", "p99_ms", "tokens_per_text", "weight_bytes"] {
        assert!(found[figure].as_f64() > Some(0.0), "{figure}: {found}");
    }
    assert!(found["p99_ms"].as_f64() >= found["p50_ms"].as_f64(), "{found}");
    assert_eq!(
        (&found["texts"], &found["batch"], &found["compute"]),
        (&4.into(), &3.into(), &"f32".into())
    );
    let ceiling = &found["ceiling"];
    let figure = |name: &str| ceiling[name].as_f64().expect("a number");
    assert!(figure("probe_gop_s") > 0.0 && figure("gop_s") > 0.0, "{found}");
    assert!((figure("share") - figure("gop_s") / figure("probe_gop_s")).abs() < 1e-6, "{found}");
    let told = house.succeed(&[&args[..], &["--rounds", "1", "--compute", "f32"]].concat());
    assert!(told.contains("texts/s") && told.contains("f32 product"), "{told}");
    house.write("none.txt", "");
    let none = house.fail(&["bench", "embed", text(&model), "--texts", "none.txt"]);
    assert!(none.contains("none.txt"), "{none}");
}
