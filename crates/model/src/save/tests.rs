//! A saved model opens again and holds what was put in.

use std::fs;
use std::path::Path;

use kvant_kernels::Matrix;
use kvant_quant::Scheme;
use kvant_testkit::Random;

use super::*;
use crate::Summary;

/// A toy model directory: two matrices, a vector, indices, and companions.
fn toy(folder: &Path) -> PathBuf {
    let source = folder.join("source");
    fs::create_dir_all(source.join("1_Pooling")).unwrap();
    let mut random = Random::new(7);
    let mut body = Vec::new();
    for value in random.normals(8 * 64 + 16 * 64 + 64) {
        body.extend(value.to_le_bytes());
    }
    body.extend(5u64.to_le_bytes());
    let header = r#"{"layer.weight":{"dtype":"F32","shape":[8,64],"data_offsets":[0,2048]},
        "embeddings.weight":{"dtype":"F32","shape":[16,64],"data_offsets":[2048,6144]},
        "norm.weight":{"dtype":"F32","shape":[64],"data_offsets":[6144,6400]},
        "ids":{"dtype":"I64","shape":[1],"data_offsets":[6400,6408]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(body);
    fs::write(source.join("model.safetensors"), file).unwrap();
    fs::write(source.join("config.json"), r#"{"architectures":["Toy"],"hidden_size":64}"#).unwrap();
    fs::write(source.join("tokenizer.json"), "{}").unwrap();
    fs::write(source.join("vocab.txt"), "a\nb\n").unwrap();
    fs::write(source.join("1_Pooling/config.json"), "{}").unwrap();
    fs::write(source.join("pytorch_model.bin"), "weights").unwrap();
    fs::write(source.join(".hidden.json"), "{}").unwrap();
    source
}

fn encode(source: &Path, scheme: Scheme) -> Vec<(String, SavedTensor)> {
    let model = Checkpoint::open(source).unwrap();
    let saved = |name: &str| {
        if !["layer.weight", "embeddings.weight"].contains(&name) {
            return SavedTensor::Kept;
        }
        SavedTensor::Coded(scheme.encode(model.dense(name).unwrap().matrix()).unwrap())
    };
    model.tensors().iter().map(|tensor| (tensor.name.clone(), saved(&tensor.name))).collect()
}

#[test]
fn every_scheme_opens_again_with_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let source = toy(folder.path());
    let original = Checkpoint::open(&source).unwrap();
    for scheme in Scheme::ALL.into_iter().filter(|scheme| 64 % scheme.whole_cols() == 0) {
        let out = folder.path().join(scheme.to_string());
        let tensors = encode(&source, scheme);
        save(&out, &source, &tensors, &SaveOptions::default()).unwrap();
        let model = Checkpoint::open(&out).unwrap();
        let names = |model: &Checkpoint| {
            model.tensors().iter().map(|tensor| tensor.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&model), names(&original), "{scheme}");
        for (name, tensor) in &tensors {
            let SavedTensor::Coded(coded) = tensor else { continue };
            let Weight::Coded(loaded) = model.weight(name).unwrap() else { panic!("not coded") };
            assert_eq!(&loaded, coded, "{scheme}");
            let info = model.tensor(name).unwrap();
            assert_eq!(info.format, scheme.to_string());
            assert_eq!(info.size_bytes, coded.size_bytes() as u64);
            assert!((info.bits_per_weight - coded.bits_per_weight()).abs() < 1e-12);
        }
        let norm = |model: &Checkpoint| model.dense("norm.weight").unwrap().values().to_vec();
        assert_eq!(norm(&model), norm(&original));
        assert_eq!(Summary::of(&out).unwrap().quantization, Some(scheme.to_string()));
        for kept in ["tokenizer.json", "vocab.txt", "1_Pooling/config.json"] {
            assert!(out.join(kept).is_file(), "{kept}");
        }
        for left in ["pytorch_model.bin", ".hidden.json"] {
            assert!(!out.join(left).exists(), "{left}");
        }
    }
}

#[test]
fn a_saved_model_saves_again_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let source = toy(folder.path());
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    save(&one, &source, &encode(&source, "linear3".parse().unwrap()), &SaveOptions::default())
        .unwrap();
    let model = Checkpoint::open(&one).unwrap();
    let kept: Vec<_> =
        model.tensors().iter().map(|tensor| (tensor.name.clone(), SavedTensor::Kept)).collect();
    save(&two, &one, &kept, &SaveOptions::default()).unwrap();
    for name in ["model.safetensors", "config.json"] {
        assert_eq!(fs::read(one.join(name)).unwrap(), fs::read(two.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn an_existing_output_and_a_wrong_tensor_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = toy(folder.path());
    let tensors = encode(&source, Scheme::Int8);
    let error = save(&source, &source, &tensors, &SaveOptions::default()).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    let out = folder.path().join("out");
    let other = Scheme::Int8.encode(Matrix::new(&[1.0; 6], 2, 3)).unwrap();
    let wrong = [("layer.weight".to_owned(), SavedTensor::Coded(other))];
    let error = save(&out, &source, &wrong, &SaveOptions::default()).unwrap_err().to_string();
    assert!(error.contains("layer.weight") && error.contains("[2, 3]"), "{error}");
    let missing = [("none".to_owned(), SavedTensor::Kept)];
    let error = save(&out, &source, &missing, &SaveOptions::default()).unwrap_err().to_string();
    assert!(error.contains("'none'") && error.contains("missing"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something stayed behind");
}

#[cfg(unix)]
#[test]
fn links_are_followed_only_inside_the_model_or_its_cache() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let source = toy(folder.path());
    let tensors = encode(&source, Scheme::Int8);
    let secret = folder.path().join("secret.json");
    fs::write(&secret, "{}").unwrap();
    symlink(&secret, source.join("extra.json")).unwrap();
    let out = folder.path().join("out");
    let error = save(&out, &source, &tensors, &SaveOptions::default()).unwrap_err().to_string();
    assert!(error.contains("extra.json links outside"), "{error}");
    assert!(!out.exists());
    fs::remove_file(source.join("extra.json")).unwrap();
    let (blobs, snapshot) =
        (folder.path().join("cache/blobs"), folder.path().join("cache/snapshots/abc"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
    fs::rename(&source, &snapshot).unwrap();
    fs::rename(snapshot.join("vocab.txt"), blobs.join("0123")).unwrap();
    symlink("../../blobs/0123", snapshot.join("vocab.txt")).unwrap();
    save(&out, &snapshot, &tensors, &SaveOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(out.join("vocab.txt")).unwrap(), "a\nb\n");
    assert!(!out.join("vocab.txt").is_symlink());
}

#[test]
fn damaged_codes_and_tables_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = toy(folder.path());
    let out = folder.path().join("out");
    save(&out, &source, &encode(&source, "linear4:g64".parse().unwrap()), &SaveOptions::default())
        .unwrap();
    let good = fs::read_to_string(out.join("config.json")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        fs::write(out.join("config.json"), good.replace(from, to)).unwrap();
        let opened = Checkpoint::open(&out);
        opened.and_then(|model| model.weight("layer.weight")).unwrap_err().to_string()
    };
    for (from, to, words) in [
        ("\"version\": 2", "\"version\": 1", "version 1"),
        ("\"linear4:g64\"", "\"linear9\"", "no known scheme"),
        ("\"linear4:g64\"", "\"linear5:g64\"", "layer.weight"),
        ("\"linear4:g64\"", "\"int8\"", "type U8"),
        (":g64\"", ":g32\"", "layer.weight"),
        (":g64\"", ":g0\"", "no known scheme"),
        ("        8,", "        9,", "layer.weight"),
        ("        8,", "        18446744073709551615,", "no known scheme"),
    ] {
        let error = with(from, to);
        assert!(error.contains(words), "{to}: {error}");
    }
}
