//! What is written for other programs reads back, here and there.
//!
//! With `KVANT_FOREIGN_OUT` set to a folder the directories are left in there, with what they
//! should decode to and embed as, for `testdata/golden/foreign/check.py`.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::fs;
use std::path::{Path, PathBuf};

use kvant_model::{
    Activations, Checkpoint, Container, Dense, EmbedOptions, Encoder, SaveOptions, SavedTensor,
    Weight, save,
};
use kvant_quant::Scheme;
use kvant_testkit::Random;
use serde_json::{Value, json};

const LAYERS: [(&str, usize, usize); 3] =
    [("layers.0.query", 64, 128), ("layers.0.key", 32, 64), ("layers.1.query", 64, 128)];
const TEXTS: [&str; 4] = [
    "Call me Ishmael.",
    "The scale of a group is rounded up.",
    "a whale",
    "Nothing is lost that was not spent, and what was spent is written down here.",
];

/// The folder to write to, and what removes it if nobody asked for it.
fn place() -> (PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let asked = std::env::var_os("KVANT_FOREIGN_OUT").map(PathBuf::from);
    (asked.unwrap_or_else(|| folder.path().to_path_buf()), folder)
}

/// A model directory of a few layers, a table and a bias.
fn toy(folder: &Path) -> PathBuf {
    let source = folder.join("source");
    fs::create_dir_all(&source).unwrap();
    let mut random = Random::new(5);
    let shapes = LAYERS.iter().map(|(name, rows, cols)| (format!("{name}.weight"), [*rows, *cols]));
    let more = [("embeddings.words.weight".to_owned(), [16, 64]), ("norm.bias".into(), [1, 64])];
    let (mut header, mut body) = (serde_json::Map::new(), Vec::new());
    for (name, [rows, cols]) in shapes.chain(more) {
        let start = body.len();
        random.normals(rows * cols).iter().for_each(|value| body.extend(value.to_le_bytes()));
        let entry = json!({ "dtype": "F32", "shape": [rows, cols],
            "data_offsets": [start, body.len()] });
        header.insert(name, entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(body);
    fs::write(source.join("model.safetensors"), file).unwrap();
    fs::write(source.join("config.json"), r#"{"architectures":["Toy"]}"#).unwrap();
    source
}

/// The layers in these schemes, in turns.
fn encode(source: &Path, schemes: &[&str]) -> Vec<(String, SavedTensor)> {
    let model = Checkpoint::open(source).unwrap();
    let mut next = schemes.iter().cycle();
    let tensors = model.tensors().iter().map(|tensor| {
        if !LAYERS.iter().any(|(name, ..)| tensor.name == format!("{name}.weight")) {
            return (tensor.name.clone(), SavedTensor::Kept);
        }
        let scheme: Scheme = next.next().unwrap().parse().unwrap();
        let dense = model.dense(&tensor.name).unwrap();
        (tensor.name.clone(), SavedTensor::Coded(scheme.encode(dense.matrix()).unwrap()))
    });
    tensors.collect()
}

/// What `tensors` decode to.
fn decoded(tensors: &[(String, SavedTensor)]) -> Vec<(String, SavedTensor)> {
    let plain = tensors.iter().map(|(name, tensor)| match tensor {
        SavedTensor::Coded(coded) | SavedTensor::Viewed(coded, _) => {
            let dense = Dense::owned(vec![coded.rows(), coded.cols()], coded.decode());
            (name.clone(), SavedTensor::Dense(dense))
        }
        SavedTensor::Kept | SavedTensor::Dense(_) | SavedTensor::Float(_) => {
            (name.clone(), tensor.clone())
        }
    });
    plain.collect()
}

fn options(container: Container) -> SaveOptions {
    SaveOptions { container, ..SaveOptions::default() }
}

const CASES: [(Container, &[&str]); 14] = [
    (Container::CompressedTensors, &["int8"]),
    (Container::CompressedTensors, &["affine8:channel"]),
    (Container::CompressedTensors, &["sym4"]),
    (Container::CompressedTensors, &["affine4:g64", "sym3:channel", "int8"]),
    (Container::CompressedTensors, &["affine5", "sym2:tensor", "q8_0"]),
    (Container::CompressedTensors, &["q4_0", "q5_0", "affine7:channel"]),
    (Container::Gptq, &["sym4"]),
    (Container::Gptq, &["affine4:g64"]),
    (Container::Gptq, &["affine3", "sym8", "affine2:g64"]),
    (Container::Gptq, &["q4_0", "q8_0"]),
    (Container::Awq, &["affine4"]),
    (Container::Awq, &["sym4:g64"]),
    (Container::BitsAndBytes, &["nf4", "nf4dq"]),
    (Container::BitsAndBytes, &["fp4", "fp4dq:g128"]),
];

#[test]
fn every_container_decodes_to_what_was_put_in() {
    let (place, _guard) = place();
    fs::create_dir_all(&place).unwrap();
    let source = toy(&place);
    for (container, schemes) in CASES {
        let tensors = encode(&source, schemes);
        let name = format!("{container}-{}", schemes.join("-").replace(':', ""));
        let out = place.join(&name);
        save(&out, &source, &tensors, &options(container)).unwrap();
        let plain = decoded(&tensors);
        save(&place.join(format!("{name}.plain")), &source, &plain, &options(Container::Kvant))
            .unwrap();
        let model = Checkpoint::open(&out).unwrap();
        assert_eq!(model.tensors().len(), tensors.len(), "{name}");
        for (tensor, saved) in &plain {
            let SavedTensor::Dense(dense) = saved else { continue };
            let loaded = model.dense(tensor).unwrap();
            assert_eq!(loaded.shape(), dense.shape(), "{name} {tensor}");
            assert_eq!(loaded.values(), dense.values(), "{name} {tensor}");
            assert!(matches!(model.weight(tensor).unwrap(), Weight::Coded(_)), "{name} {tensor}");
        }
        let kept = model.tensors().iter().map(|info| (info.name.clone(), SavedTensor::Kept));
        let again = place.join(format!("{name}.again"));
        save(&again, &out, &kept.collect::<Vec<_>>(), &options(container)).unwrap();
        for file in ["model.safetensors", "config.json"] {
            let (one, two) =
                (fs::read(out.join(file)).unwrap(), fs::read(again.join(file)).unwrap());
            assert_eq!(one, two, "{name} {file}");
        }
        fs::remove_dir_all(again).unwrap();
    }
}

#[test]
fn what_a_container_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = toy(folder.path());
    let out = folder.path().join("out");
    let refusal = |container, tensors: &[(String, SavedTensor)]| {
        let error = save(&out, &source, tensors, &options(container)).unwrap_err().to_string();
        assert!(!out.exists(), "{error}");
        error
    };
    for (container, scheme, words) in [
        (Container::CompressedTensors, "linear4", "layers.0.key.weight' is linear4"),
        (Container::CompressedTensors, "q4_1", "affine2 to affine8"),
        (Container::CompressedTensors, "sym4:g48", "whole groups"),
        (Container::Gptq, "sym5", "2, 3, 4 and 8 bits"),
        (Container::Gptq, "int8", "in groups"),
        (Container::Gptq, "sym4:g48", "multiples"),
        (Container::Awq, "affine3", "sym4 and affine4"),
        (Container::BitsAndBytes, "int8", "nf4"),
        (Container::BitsAndBytes, "nf4:g32", "blocks of 64"),
    ] {
        let error = refusal(container, &encode(&source, &[scheme]));
        assert!(error.contains(words), "{container} {scheme}: {error}");
    }
    let error = refusal(Container::Awq, &encode(&source, &["sym4", "sym4:g64"]));
    assert!(error.contains("another length"), "{error}");
    let mut tensors = encode(&source, &["sym4"]);
    let table = tensors.iter_mut().find(|(name, _)| name == "embeddings.words.weight").unwrap();
    let dense = Checkpoint::open(&source).unwrap().dense(&table.0).unwrap();
    let coded = "sym4".parse::<Scheme>().unwrap().encode(dense.matrix()).unwrap();
    table.1 = SavedTensor::Coded(coded);
    let error = refusal(Container::Gptq, &tensors);
    assert!(error.contains("'embeddings.words.weight'") && error.contains("table"), "{error}");
    let out = folder.path().join("table");
    save(&out, &source, &tensors, &options(Container::CompressedTensors)).unwrap();
}

#[test]
fn containers_say_what_they_hold() {
    for container in Container::ALL {
        assert_eq!(container.to_string().parse(), Ok(container));
    }
    assert!("ct".parse::<Container>().unwrap_err().to_string().contains("bnb"));
    let held = |container: Container| Scheme::ALL.iter().filter(|s| container.holds(s)).count();
    assert_eq!(held(Container::Kvant), Scheme::ALL.len());
    for (container, some) in [
        (Container::CompressedTensors, "sym3 affine8:channel int8 q4_0 q8_0 sym2:tensor"),
        (Container::Gptq, "sym4 affine3:g128 q4_0"),
        (Container::Awq, "sym4 affine4:g128 q4_0"),
        (Container::BitsAndBytes, "nf4 fp4dq nf4:g128"),
    ] {
        assert!(some.split(' ').all(|name| container.holds(&name.parse().unwrap())), "{container}");
        let other = "linear4 q4_1 iq4_nl q4_k";
        assert!(!other.split(' ').any(|name| container.holds(&name.parse().unwrap())));
    }
    assert!(Container::gguf_holds(&"q4_k".parse().unwrap()));
    assert!(!Container::gguf_holds(&"sym4".parse().unwrap()));
}

#[test]
fn activations_are_recorded_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    let source = toy(folder.path());
    for (container, scheme) in [
        (Container::Kvant, "linear4"),
        (Container::CompressedTensors, "sym4"),
        (Container::Gptq, "sym4"),
        (Container::BitsAndBytes, "nf4"),
    ] {
        for activations in [None, Some(Activations::Token), Some(Activations::Block)] {
            let named = activations.map_or("none".into(), |activations| activations.to_string());
            let out = folder.path().join(format!("{container}-{}", named.replace(':', "")));
            let options = SaveOptions { activations, ..options(container) };
            save(&out, &source, &encode(&source, &[scheme]), &options).unwrap();
            let model = Checkpoint::open(&out).unwrap();
            assert_eq!(model.activations(), activations, "{container}");
        }
    }
}

/// The real model in the formats other programs can hold, and what it embeds texts as.
#[test]
fn the_real_model_runs_from_every_container() {
    let Some(source) = kvant_testkit::minilm() else {
        kvant_testkit::skip("all-MiniLM-L6-v2 is not here");
        return;
    };
    let (place, _guard) = place();
    let checkpoint = Checkpoint::open(&source).unwrap();
    let embed = |place: &Path| -> Vec<f32> {
        let encoder = Encoder::load(place).unwrap();
        encoder.embed(&TEXTS, &EmbedOptions::default()).unwrap()
    };
    let plain = embed(&source);
    for (container, scheme, least) in [
        (Container::CompressedTensors, "int8", 0.999),
        (Container::CompressedTensors, "sym4:g32", 0.9),
        (Container::Gptq, "sym4:g128", 0.9),
        (Container::Awq, "affine4:g64", 0.9),
        (Container::BitsAndBytes, "nf4dq", 0.9),
    ] {
        let scheme: Scheme = scheme.parse().unwrap();
        let tensors = checkpoint.tensors().iter().map(|tensor| {
            let layer = tensor.shape.len() == 2 && !tensor.name.contains("embed");
            let saved = if layer {
                let dense = checkpoint.dense(&tensor.name).unwrap();
                SavedTensor::Coded(scheme.encode(dense.matrix()).unwrap())
            } else {
                SavedTensor::Kept
            };
            (tensor.name.clone(), saved)
        });
        let out = place.join(format!("minilm-{container}-{}", scheme.to_string().replace(':', "")));
        save(&out, &source, &tensors.collect::<Vec<_>>(), &options(container)).unwrap();
        let vectors = embed(&out);
        let dim = vectors.len() / TEXTS.len();
        for (a, b) in vectors.chunks(dim).zip(plain.chunks(dim)) {
            let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!(cosine > least, "{container} {scheme}: {cosine}");
        }
        let expected = json!({ "texts": TEXTS, "vectors": vectors });
        fs::write(out.join("expected.vectors"), expected.to_string()).unwrap();
    }
}
