//! `kvant convert`, and `kvant compress` of bare weight files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::house::{BERT, House, safetensors, text};

/// Weights that torch.save wrote: a convolution, matrices, vectors, indices.
fn pickled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/weights/zip.pth")
}

fn tensor<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let tensors = summary["tensors"].as_array().expect("tensors");
    tensors.iter().find(|tensor| tensor["name"] == name).expect(name)
}

/// A field of an ONNX message: its number and its bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut out = vec![number << 3 | 2];
    while length > 127 {
        out.push(length as u8 & 127 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// A graph with one initialiser: a convolution `w` of shape [8, 4, 3, 3].
fn onnx() -> Vec<u8> {
    let values = kvant_testkit::Random::new(3).normals(8 * 4 * 9);
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let head = [8, 8, 8, 4, 8, 3, 8, 3, 16, 1];
    let tensor = [&head[..], &field(8, b"w"), &field(9, &raw)].concat();
    field(7, &field(5, &tensor))
}

#[test]
fn bare_weights_are_compressed_and_converted_back() {
    let house = House::new();
    let source = pickled();
    let source = text(&source);
    let report = house.json(&["compress", source, "--scheme", "int8", "-o", "small"]);
    let line = tensor(&report, "last.weight");
    assert_eq!((&line["format"], &line["axis"]), (&json!("int8"), &json!(0)));
    assert_eq!(line["shape"], json!([2, 3, 4, 5]));
    let summary = house.json(&["inspect", "small"]);
    assert_eq!(tensor(&summary, "last.weight")["shape"], json!([2, 3, 4, 5]));
    assert!(house.run("inspect small").contains("[2] × 3 × 4 × 5"));
    let done = house.json(&["convert", "small", "-o", "copy"]);
    assert_eq!((&done["left_out"], &done["out"]), (&json!(0), &json!("copy")));
    assert_eq!(house.json(&["inspect", "copy"])["tensors"], summary["tensors"]);
    // The recipe of a transposed convolution, and the same from a graph of ONNX.
    house.write("graph.onnx", onnx());
    house.write("turned.toml", "[[pass]]\naxis = 1\nscheme = \"linear4:channel\"\n");
    let report = house.json(&["compress", "graph.onnx", "--recipe", "turned.toml", "-o", "onnx"]);
    assert_eq!(tensor(&report, "w")["axis"], 1);
    assert!(house.run("inspect onnx").contains("8 × [4] × 3 × 3"));
    house.json(&["convert", "onnx", "--dtype", "f32", "-o", "back"]);
    let back = house.json(&["inspect", "back"]);
    let plain = tensor(&back, "w");
    assert_eq!((&plain["shape"], &plain["format"]), (&json!([8, 4, 3, 3]), &json!("F32")));
}

#[test]
fn weights_that_cannot_be_compressed() {
    let house = House::new();
    house.write("broken.pth", &fs::read(pickled()).expect("there")[..900]);
    let compress = |model: &str, rest: &[&str]| {
        house.fail(&[&["compress", model, "-o", "out"], rest].concat())
    };
    let line = compress("broken.pth", &["--scheme", "int8"]);
    assert!(line.contains("broken.pth"), "{line}");
    house.write("graph.onnx", onnx());
    let line = compress("graph.onnx", &["--scheme", "sym4:g4", "--as", "gptq"]);
    assert!(line.contains("'w'") && line.contains("gptq") && line.contains("recipe"), "{line}");
    house.write("axis.toml", "[[pass]]\naxis = 4\nscheme = \"int8\"\n");
    let line = compress("graph.onnx", &["--recipe", "axis.toml"]);
    assert!(line.contains("'w' has no axis 4"), "{line}");
    house.write("w.safetensors", safetensors(64, 64));
    let line = compress("w.safetensors", &["--scheme", "int8"]);
    assert!(line.contains("w.safetensors is a file") && line.contains(".pth"), "{line}");
}

#[test]
fn convert_in_both_formats_and_out_of_what_it_cannot() {
    let house = House::new();
    house.write("model/config.json", BERT);
    house.write("model/model.safetensors", safetensors(64, 64));
    house.write("model/tokenizer.json", "{}");
    let done = house.json(&["convert", "model", "--dtype", "f16", "-o", "half"]);
    assert_eq!((&done["tensors"], &done["left_out"]), (&json!(1), &json!(0)));
    assert_eq!((&done["size_bytes_before"], &done["size_bytes"]), (&json!(16384), &json!(8192)));
    assert!(house.path("half/tokenizer.json").is_file());
    assert_eq!(tensor(&house.json(&["inspect", "half"]), "w")["format"], "F16");
    let line = house.fail(&["convert", "model", "-o", "half"]);
    assert!(line.contains("half exists already"), "{line}");
    let line = house.fail(&["convert", "model", "-o", "model.gguf"]);
    assert!(line.contains("'w'"), "{line}");
    let line = house.fail(&["convert", "absent", "-o", "out"]);
    assert!(line.contains("absent: no such model"), "{line}");
}

#[test]
fn weights_alone_are_found_in_a_folder() {
    let house = House::new();
    house.write("pack/a/list-of-folders.pth", "import os\n");
    house.write("pack/a/b/net.pth", fs::read(pickled()).expect("there"));
    assert!(house.run("inspect pack --brief").contains("parameters"));
    let line = house.fail(&["inspect", "pack/a/list-of-folders.pth"]);
    assert!(line.contains("list-of-folders.pth"), "{line}");
}
