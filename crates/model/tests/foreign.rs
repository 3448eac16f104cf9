//! Directories written by other quantizers read as those quantizers read them.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::fs;
use std::path::{Path, PathBuf};

use kvant_model::{Checkpoint, Weight};
use kvant_testkit::Random;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/foreign")
}

/// Every tensor of `folder` as this program decodes it, in the type the other package decodes
/// to, and as that package does.
fn check(folder: &str, tensors: &[(&str, &str)], tolerance: f32) {
    let model = Checkpoint::open(&golden().join(folder)).unwrap();
    let expected = Checkpoint::open(&golden().join(folder).join("expected.safetensors")).unwrap();
    let listed: Vec<_> =
        model.tensors().iter().map(|tensor| (&*tensor.name, &*tensor.format)).collect();
    assert_eq!(listed, tensors, "{folder}");
    for info in model.tensors() {
        let name = &info.name;
        let (ours, theirs) = (model.dense(name).unwrap(), expected.dense(name).unwrap());
        assert_eq!(ours.shape(), theirs.shape(), "{folder} {name}");
        assert_eq!(info.shape, theirs.shape(), "{folder} {name}");
        let round = |value: f32| match &*expected.tensor(name).unwrap().format {
            "BF16" => half::bf16::from_f32(value).to_f32(),
            "F16" => half::f16::from_f32(value).to_f32(),
            _ => value,
        };
        for (at, (ours, theirs)) in ours.values().iter().zip(theirs.values()).enumerate() {
            let near = (round(*ours) - theirs).abs() <= tolerance * theirs.abs();
            assert!(near, "{folder} {name} {at}: {ours} and {theirs}");
        }
        if let Weight::Coded(coded) = model.weight(name).unwrap() {
            assert_eq!(coded.format(), info.format, "{folder} {name}");
            assert_eq!([coded.rows(), coded.cols()], info.shape[..]);
        }
    }
}

#[test]
fn compressed_tensors_are_read_to_the_last_bit() {
    let tensors = [
        ("affine4.weight", "affine4:g64"),
        ("affine5.weight", "affine5:channel"),
        ("bytes.weight", "int8"),
        ("bytesgroup.weight", "sym8"),
        ("byteszero.weight", "affine8:channel"),
        ("sym2tensor.weight", "sym2:tensor"),
        ("sym3.weight", "sym3:channel"),
        ("sym4.weight", "sym4"),
        ("sym4half.weight", "sym4"),
        ("sym8.weight", "sym8:g48"),
    ];
    check("compressed-tensors", &tensors, 0.0);
}

#[test]
fn gptq_of_both_versions_is_read_to_the_last_bit() {
    for (folder, format) in [
        ("gptq-sym4", "sym4"),
        ("gptq-affine4", "affine4"),
        ("gptq-affine8-v2", "affine8:g96"),
        ("gptq-affine3-v2", "affine3:g48"),
        ("gptq-affine2", "affine2"),
        ("gptq-ordered", "affine4 (act-order)"),
    ] {
        check(folder, &[("a.bias", "F16"), ("a.weight", format)], 0.0);
    }
}

#[test]
fn awq_is_read_to_the_last_bit() {
    check("awq", &[("a.weight", "affine4")], 0.0);
}

#[test]
fn bitsandbytes_is_read_to_the_last_bit() {
    let tensors = [
        ("fp4.weight", "fp4"),
        ("fp4double.weight", "fp4dq:g128"),
        ("nf4.weight", "nf4"),
        ("nf4double.weight", "nf4dq"),
    ];
    check("bitsandbytes", &tensors, 0.0);
    // Two roundings of f32 in another order.
    check("bitsandbytes8", &[("a.weight", "int8")], 3e-7);
}

/// Reads everything there is in a model.
fn read_all(place: &Path) -> usize {
    let Ok(model) = Checkpoint::open(place) else { return 0 };
    model.tensors().iter().filter(|tensor| model.weight(&tensor.name).is_ok()).count()
}

#[test]
fn damaged_parts_are_errors_or_weights_but_never_panics() {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::new(11);
    let (mut whole, mut refused) = (0, 0);
    for folder in fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.is_dir() {
            continue;
        }
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap()).collect();
        for file in &files {
            fs::copy(file.path(), place.path().join(file.file_name())).unwrap();
        }
        let tensors = read_all(place.path());
        assert!(tensors > 0, "{}", folder.display());
        for file in ["config.json", "model.safetensors", "quantize_config.json"] {
            let Ok(good) = fs::read(folder.join(file)) else { continue };
            let end = good.len().min(4000) as u64;
            for _ in 0..30 {
                let mut bad = good.clone();
                for _ in 0..=random.bits() % 2 {
                    let at = (random.bits() % end) as usize;
                    // A digit for a digit changes shapes and settings; other bytes the syntax.
                    bad[at] = match bad[at] {
                        b'0'..=b'9' => b'0' + (random.bits() % 10) as u8,
                        _ if random.bits().is_multiple_of(3) => random.bits() as u8,
                        same => same,
                    };
                }
                fs::write(place.path().join(file), &bad).unwrap();
                match read_all(place.path()) {
                    all if all == tensors => whole += 1,
                    _ => refused += 1,
                }
            }
            fs::write(place.path().join(file), &good).unwrap();
        }
        for file in &files {
            fs::remove_file(place.path().join(file.file_name())).unwrap();
        }
    }
    assert!(whole > 50 && refused > 50, "{whole} whole, {refused} refused");
}

#[test]
fn what_is_not_read_is_said() {
    let place = tempfile::tempdir().unwrap();
    let with = |folder: &str, from: &str, to: &str| {
        for file in ["config.json", "model.safetensors"] {
            fs::copy(golden().join(folder).join(file), place.path().join(file)).unwrap();
        }
        let config = fs::read_to_string(place.path().join("config.json")).unwrap();
        assert!(config.contains(from), "{config}");
        fs::write(place.path().join("config.json"), config.replace(from, to)).unwrap();
        Checkpoint::open(place.path()).unwrap_err().to_string()
    };
    for (folder, from, to, words) in [
        ("gptq-sym4", "\"gptq\"\n", "\"marlin\"\n", "marlin"),
        ("awq", "\"gemm\"", "\"gemv\"", "gemv"),
        ("awq", "\"bits\": 4", "\"bits\": 3", "3 bits"),
        ("compressed-tensors", "\"num_bits\": 4", "\"num_bits\": 6", "config_groups"),
        ("compressed-tensors", "\"group_size\": 64", "\"group_size\": 16", "config_groups"),
    ] {
        let error = with(folder, from, to);
        assert!(error.contains(words), "{to}: {error}");
    }
}
