//! Weights of `PyTorch` and ONNX, as their own programs read them.

use std::path::{Path, PathBuf};

use kvant_model::{Checkpoint, ConvertOptions, convert};
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/weights").join(name)
}

fn expected(kind: &str) -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(golden("expected.json")).unwrap_or_default();
    let all: Value = serde_json::from_str(&text).unwrap_or_default();
    all.get(kind).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Compares every listed tensor; the names that differ.
fn differing(model: &Checkpoint, expected: &serde_json::Map<String, Value>) -> Vec<String> {
    let numbers = |value: &Value| -> Vec<f32> {
        let numbers = value.as_array().into_iter().flatten().filter_map(Value::as_f64);
        numbers.map(|number| number as f32).collect()
    };
    let same = |name: &str, value: &Value| {
        let Ok(dense) = model.dense(name) else { return false };
        let shape: Vec<f32> = dense.shape().iter().map(|&n| n as f32).collect();
        shape == numbers(&value[0]) && dense.values() == numbers(&value[1])
    };
    let wrong = expected.iter().filter(|(name, value)| !same(name, value));
    wrong.map(|(name, _)| name.clone()).collect()
}

#[test]
fn both_layouts_of_pytorch_hold_what_torch_put_in() {
    let expected = expected("torch");
    assert_eq!(expected.len(), 12);
    for name in ["zip.pth", "legacy.pth"] {
        let model = Checkpoint::open(&golden(name)).expect(name);
        assert_eq!(differing(&model, &expected), [""; 0], "{name}");
        assert_eq!(model.tensor("count").map(|t| t.format.as_str()), Some("I64"));
        assert_eq!(model.tensors().len(), expected.len() + 2);
    }
}

#[test]
fn a_class_that_is_no_tensor_is_named_and_not_called() {
    let error = Checkpoint::open(&golden("evil.pth")).expect_err("refused").to_string();
    assert!(error.contains("posix.system") && error.contains("state_dict()"), "{error}");
}

#[test]
fn both_kinds_of_onnx_hold_what_onnx_put_in() {
    let expected = expected("onnx");
    assert_eq!(expected.len(), 5);
    for name in ["inside.onnx", "outside.onnx"] {
        let model = Checkpoint::open(&golden(name)).expect(name);
        assert_eq!(differing(&model, &expected), [""; 0], "{name}");
        assert_eq!(model.tensors().len(), expected.len() + 2);
    }
}

#[test]
fn external_values_stay_in_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let graph = std::fs::read(golden("outside.onnx")).expect("reads");
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("made");
    let data = std::fs::read(golden("outside.data")).expect("reads");
    std::fs::write(folder.path().join("side.data"), &data).expect("written");
    let path = inner.join("m.onnx");
    let name = b"outside.data";
    for other in [b"../side.data", b"/etc//passwd", b"./../../abcd", b"..\\side.data"] {
        let mut bytes = graph.clone();
        for at in 0..bytes.len().saturating_sub(name.len()) {
            if bytes[at..].starts_with(name) {
                bytes[at..at + name.len()].copy_from_slice(other);
            }
        }
        std::fs::write(&path, bytes).expect("written");
        let error = Checkpoint::open(&path).expect_err("refused").to_string();
        assert!(error.contains("leaves the folder"), "{error}");
    }
    std::fs::write(&path, &graph).expect("written");
    let error = Checkpoint::open(&path).expect_err("absent").to_string();
    assert!(error.contains("outside.data"), "{error}");
    std::fs::write(inner.join("outside.data"), &data[..10]).expect("written");
    let error = Checkpoint::open(&path).expect_err("short").to_string();
    assert!(error.contains("leave 'outside.data'"), "{error}");
}

#[test]
fn cut_files_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["zip.pth", "legacy.pth", "inside.onnx"] {
        let whole = std::fs::read(golden(name)).expect("reads");
        let path = folder.path().join(name);
        for end in (0..whole.len()).step_by(97) {
            std::fs::write(&path, &whole[..end]).expect("written");
            // A graph may end between two fields; what is left is then a smaller graph.
            if let Ok(model) = Checkpoint::open(&path) {
                assert!(name == "inside.onnx" && model.tensors().len() <= 7, "{name} at {end}");
            }
        }
    }
}

#[test]
fn a_file_of_pytorch_converts_to_a_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    convert(&golden("zip.pth"), &out, &ConvertOptions::default()).expect("converts");
    let model = Checkpoint::open(&out).expect("opens");
    assert_eq!(differing(&model, &expected("torch")), [""; 0]);
}

/// One to three edits with numbers that parsers dislike.
fn mutate(data: &mut Vec<u8>, random: &mut kvant_testkit::Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(data.len());
        match random.below(5) {
            _ if data.is_empty() => return,
            0 => data[at] ^= 1 << random.below(8),
            1 => data[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5)],
            2 => {
                let word = [0u32, 1, u32::MAX, 1 << 31, 1 << 20][random.below(5)];
                for (byte, value) in data[at..].iter_mut().zip(word.to_le_bytes()) {
                    *byte = value;
                }
            }
            3 => data.truncate(at),
            _ => {
                let piece = data[at..data.len().min(at + 16)].to_vec();
                data.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn mutated_files_never_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = kvant_testkit::Random::new(5);
    for name in ["zip.pth", "legacy.pth", "inside.onnx"] {
        let whole = std::fs::read(golden(name)).expect("reads");
        let path = folder.path().join(name);
        for _ in 0..600 {
            let mut data = whole.clone();
            mutate(&mut data, &mut random);
            std::fs::write(&path, &data).expect("written");
            let Ok(model) = Checkpoint::open(&path) else { continue };
            for tensor in model.tensors() {
                // Damaged values are values; only the sizes must hold.
                if let Ok(dense) = model.dense(&tensor.name) {
                    assert_eq!(dense.values().len() as u64, tensor.elements());
                }
            }
        }
    }
}
