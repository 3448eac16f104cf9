//! Weights that are no matrices: convolutions, recurrent layers, other output axes.

#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::fs;
use std::path::PathBuf;

use kvant_compress::{
    AssignError, CompressError, Fallback, PassError, Plan, Recipe, Requantize, compress,
};
use kvant_kernels::Matrix;
use kvant_model::{Checkpoint, Container, ConvertOptions, FloatFormat, SaveError, Weight, convert};
use kvant_quant::{Scheme, measure};
use kvant_testkit::Random;
use tempfile::TempDir;

/// Formats that hold rows of any length, one of every kind.
const SCHEMES: [&str; 7] =
    ["int8", "linear4", "linear3:channel", "sym4:tensor", "affine5:g16", "kmeans4", "nf4"];

/// A model directory of f32 tensors.
fn model(tensors: &[(&str, &[usize], Vec<f32>)]) -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model");
    fs::create_dir(&path).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let offsets = [start, data.len()];
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let size = (header.len() as u64).to_le_bytes();
    fs::write(path.join("model.safetensors"), [&size[..], &header, &data].concat()).unwrap();
    fs::write(path.join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
    (place, path)
}

/// One of every kind: name, shape, output axis and, of what stays, why.
const LAYERS: [(&str, &[usize], usize, Option<&str>); 12] = [
    ("conv.weight", &[32, 3, 3, 3], 0, None),
    ("depthwise.weight", &[40, 1, 3, 3], 0, None),
    ("pointwise.weight", &[16, 32, 1, 1], 0, None),
    ("conv1d.weight", &[8, 4, 5], 0, None),
    ("lstm.weight_ih_l0", &[128, 33], 0, None),
    ("up.deconv.weight", &[24, 32, 2, 2], 1, None),
    ("up.last.weight", &[40, 3, 33], 2, None),
    ("conv.bias", &[32], 0, Some("is no matrix")),
    ("count", &[], 0, Some("is no matrix")),
    ("empty.weight", &[0, 3, 3], 0, Some("one output")),
    ("scale", &[64, 1, 1], 0, Some("one weight for each")),
    ("tiny.weight", &[3, 1, 3, 3], 0, Some("fewer than 32")),
];

fn layers() -> (TempDir, PathBuf) {
    let mut random = Random::new(5);
    let made = LAYERS.map(|(name, shape, ..)| {
        let values = random.normals(shape.iter().product());
        (name, shape, values)
    });
    model(&made)
}

/// `scheme` for all layers, those of another output axis by that.
fn recipe(scheme: &str) -> Recipe {
    let pass = |name: &str, axis| {
        format!("[[pass]]\ntargets = [\"{name}\"]\naxis = {axis}\nscheme = \"{scheme}@rtn\"\n")
    };
    let all = format!("[[pass]]\nscheme = \"{scheme}@rtn\"\n");
    (pass("up.deconv.weight", 1) + &pass("up.last.weight", 2) + &all).parse().unwrap()
}

/// Where an element lies in the matrix by `axis`, by the definition.
fn place(shape: &[usize], axis: usize, element: usize) -> (usize, usize) {
    let (mut rest, mut row, mut col, mut step) = (element, 0, 0, 1);
    for (at, &n) in shape.iter().enumerate().rev() {
        if at == axis {
            row = rest % n;
        } else {
            col += rest % n * step;
            step *= n;
        }
        rest /= n;
    }
    (row, col)
}

/// `values` as the codes of the matrix flattened by hand restore them.
fn by_hand(values: &[f32], shape: &[usize], axis: usize, scheme: Scheme) -> Vec<f32> {
    let (rows, cols) = (shape[axis], values.len() / shape[axis]);
    let at = |element| {
        let (row, col) = place(shape, axis, element);
        row * cols + col
    };
    let mut matrix = vec![0.0; values.len()];
    values.iter().enumerate().for_each(|(element, &value)| matrix[at(element)] = value);
    let restored = scheme.encode(Matrix::new(&matrix, rows, cols)).unwrap().decode();
    (0..values.len()).map(|element| restored[at(element)]).collect()
}

/// Equality of every bit.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn every_layer_is_coded_as_the_matrix_flattened_by_hand_and_comes_back_in_its_shape() {
    let (folder, source) = layers();
    let before = Checkpoint::open(&source).unwrap();
    for name in SCHEMES {
        let scheme: Scheme = name.parse().unwrap();
        let out = folder.path().join(name.replace(':', "-"));
        let report = compress(&source, &out, &Plan::new(recipe(name)), &|_| {}).unwrap();
        let after = Checkpoint::open(&out).unwrap();
        for (layer, shape, axis, kept) in LAYERS {
            let line = report.tensors.iter().find(|line| line.name == layer).unwrap();
            let info = after.tensor(layer).unwrap();
            let (was, is) = (before.dense(layer).unwrap(), after.dense(layer).unwrap());
            assert_eq!((&info.shape[..], is.shape()), (shape, shape), "{name} {layer}");
            assert_eq!(line.shape, shape, "{name} {layer}");
            if let Some(why) = kept {
                let said = line.kept.as_deref().unwrap_or_default();
                assert!(said.contains(why), "{layer}: {said}");
                assert!(same(was.values(), is.values()) && info.axis.is_none(), "{layer}");
                continue;
            }
            let restored = by_hand(was.values(), shape, axis, scheme);
            assert!(same(is.values(), &restored), "{name} {layer}");
            let error = measure(was.values(), &restored);
            assert!((line.relative - error.relative).abs() < 1e-12, "{name} {layer}");
            assert!((line.max_abs - error.max_abs).abs() < 1e-12, "{name} {layer}");
            let axis = (shape.len() > 2).then_some(axis);
            assert_eq!((info.axis, line.axis), (axis, axis), "{name} {layer}");
        }
    }
}

#[test]
fn copies_keep_codes_and_decoded_ones_keep_shapes() {
    let (folder, source) = layers();
    let path = |name: &str| folder.path().join(name);
    compress(&source, &path("out"), &Plan::new(recipe("linear4")), &|_| {}).unwrap();
    convert(&path("out"), &path("copy"), &ConvertOptions::default()).unwrap();
    let float = ConvertOptions { float: Some(FloatFormat::F32), ..ConvertOptions::default() };
    convert(&path("copy"), &path("float"), &float).unwrap();
    // Coded again they keep the axes they had.
    let again = Plan {
        requantize: Requantize::Allow,
        ..Plan::new("[[pass]]\nscheme = \"linear4@rtn\"".parse().unwrap())
    };
    compress(&path("out"), &path("again"), &again, &|_| {}).unwrap();
    let [out, copy, float, again] =
        ["out", "copy", "float", "again"].map(|name| Checkpoint::open(&path(name)).unwrap());
    assert_eq!(out.tensors(), copy.tensors());
    assert_eq!(out.tensors(), again.tensors());
    for (name, shape, ..) in LAYERS {
        let expected = out.dense(name).unwrap();
        assert!(same(expected.values(), copy.dense(name).unwrap().values()), "{name}");
        let plain = float.tensor(name).unwrap();
        assert_eq!((&plain.shape[..], &*plain.format), (shape, "F32"), "{name}");
        assert!(same(expected.values(), float.dense(name).unwrap().values()), "{name}");
    }
    // Of another axis only the decoded form is in the order a network reads.
    assert!(matches!(out.weight("up.deconv.weight").unwrap(), Weight::Dense(_)));
    assert!(matches!(out.weight("conv.weight").unwrap(), Weight::Coded(_)));
}

#[test]
fn matrices_alone_are_described_as_before() {
    let values = Random::new(1).normals(64 * 64);
    let (folder, source) = model(&[("a.weight", &[64, 64], values)]);
    let described = |name: &str, recipe: &str| {
        let out = folder.path().join(name);
        compress(&source, &out, &Plan::new(recipe.parse().unwrap()), &|_| {}).unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
        config["quantization_config"].clone()
    };
    let plain = described("plain", "[[pass]]\nscheme = \"linear4\"");
    let entry = serde_json::json!({ "scheme": "linear4", "shape": [64, 64] });
    assert_eq!((&plain["version"], &plain["tensors"]["a.weight"]), (&2.into(), &entry));
    let turned = described("turned", "[[pass]]\naxis = 1\nscheme = \"int8\"");
    let entry = serde_json::json!({ "scheme": "int8", "shape": [64, 64], "axis": 1 });
    assert_eq!((&turned["version"], &turned["tensors"]["a.weight"]), (&3.into(), &entry));
}

#[test]
fn a_damaged_table_is_refused() {
    let (folder, source) = layers();
    let out = folder.path().join("out");
    compress(&source, &out, &Plan::new(recipe("int8")), &|_| {}).unwrap();
    let config = fs::read_to_string(out.join("config.json")).unwrap();
    for (from, to) in [
        ("\"axis\": 2", "\"axis\": 3"),
        ("\"axis\": 2", "\"axis\": -1"),
        ("\"version\": 3", "\"version\": 2"),
        ("\"version\": 3", "\"version\": 4"),
    ] {
        assert!(config.contains(from), "{from} in {config}");
        fs::write(out.join("config.json"), config.replace(from, to)).unwrap();
        let error = Checkpoint::open(&out).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{to}: {error}");
    }
    // Sizes that do not go with the codes are noticed when the tensor is read.
    let wrong = config.replace("\"axis\": 2", "\"axis\": 1");
    fs::write(out.join("config.json"), wrong).unwrap();
    let error = Checkpoint::open(&out).unwrap().dense("up.last.weight").unwrap_err().to_string();
    assert!(error.contains("up.last.weight"), "{error}");
}

#[test]
fn what_cannot_be_is_an_error_that_names_the_tensor() {
    let (folder, source) = layers();
    let out = folder.path().join("out");
    let run = |plan: &Plan| compress(&source, &out, plan, &|_| {});
    let plan = |text: &str| Plan::new(text.parse().unwrap());
    let error = run(&plan("[[pass]]\naxis = 4\ntargets = [\"conv*\"]\nscheme = \"int8\""));
    assert!(matches!(
        error.unwrap_err(),
        CompressError::Assign(AssignError::Axis { tensor, axis: 4, rank: 4 | 3 })
            if tensor.starts_with("conv")
    ));
    let coarse = plan("[[pass]]\nscheme = \"q4_k\"");
    let error = run(&coarse).unwrap_err().to_string();
    assert!(error.contains("conv.weight") && error.contains("--fallback"), "{error}");
    for container in Container::ALL.into_iter().filter(|other| *other != Container::Kvant) {
        let scheme = if container == Container::BitsAndBytes { "nf4" } else { "sym4:g8" };
        let error = run(&Plan { container, ..Plan::new(recipe(scheme)) }).unwrap_err();
        let CompressError::Save(SaveError::Unfit { name, why }) = error else { panic!("{error}") };
        assert!(name == "conv.weight" && why.contains(&container.to_string()), "{name} {why}");
    }
    let gguf = folder.path().join("out.gguf");
    let only = plan("[[pass]]\ntargets = [\"pointwise*\"]\nscheme = \"q8_0\"");
    let error = compress(&source, &gguf, &only, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("pointwise.weight") && error.contains("GGUF"), "{error}");
    assert!(!out.exists() && !gguf.exists());
    // What blocks of 32 cannot hold stays, as with matrices.
    let report = run(&Plan { fallback: Fallback::Allow, ..coarse }).unwrap();
    let of = |name: &str| report.tensors.iter().find(|line| line.name == name).unwrap();
    assert_eq!(of("pointwise.weight").format, "iq4_nl");
    assert!(of("depthwise.weight").kept.as_ref().is_some_and(|why| why.contains("9 columns")));
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = vec![0.5; 8 * 4 * 9];
        values[100] = bad;
        let (folder, source) = model(&[("conv.weight", &[8, 4, 3, 3], values)]);
        let out = folder.path().join("out");
        let error = compress(&source, &out, &Plan::new(recipe_of("int8")), &|_| {}).unwrap_err();
        let CompressError::Pass(PassError::Encode { tensor, .. }) = error else {
            panic!("{error}")
        };
        assert!(tensor == "conv.weight" && !out.exists());
    }
}

fn recipe_of(scheme: &str) -> Recipe {
    Recipe::uniform(scheme.parse::<Scheme>().unwrap())
}

#[test]
fn efficientnet_is_compressed_from_its_file_and_comes_back() {
    let Some(source) = kvant_testkit::efficientnet() else {
        return kvant_testkit::skip("EfficientNet-Lite0 is not there");
    };
    let folder = tempfile::tempdir().unwrap();
    let before = Checkpoint::open(&source).unwrap();
    // By hand: 4,694,024 weights, of which 85,032 in vectors stay in f32; 22,008 rows have one or
    // two f32 numbers each.
    for (name, bits) in [("int8", 8.584_791), ("linear4:channel", 4.814_946)] {
        let scheme: Scheme = name.parse().unwrap();
        let out = folder.path().join(&name[..4]);
        let recipe = format!("[[pass]]\nscheme = \"{name}@rtn\"").parse().unwrap();
        let report = compress(&source, &out, &Plan::new(recipe), &|_| {}).unwrap();
        let off = (report.bits_per_weight - bits).abs();
        assert!(off < 1e-6, "{name}: {}", report.bits_per_weight);
        let after = Checkpoint::open(&out).unwrap();
        check(&before, &after, scheme);
        let back = folder.path().join(format!("{}-back", &name[..4]));
        let float = ConvertOptions { float: Some(FloatFormat::F32), ..ConvertOptions::default() };
        convert(&out, &back, &float).unwrap();
        let back = Checkpoint::open(&back).unwrap();
        for tensor in before.tensors().iter().filter(|tensor| tensor.format == "F32") {
            assert_eq!(back.tensor(&tensor.name).unwrap().shape, tensor.shape);
            let (a, b) = (after.dense(&tensor.name).unwrap(), back.dense(&tensor.name).unwrap());
            assert!(same(a.values(), b.values()), "{}", tensor.name);
        }
    }
}

/// Convolutions and the classifier are coded as matrices flattened by hand, all else stays.
fn check(before: &Checkpoint, after: &Checkpoint, scheme: Scheme) {
    let mut depthwise = 0;
    for tensor in before.tensors() {
        let (name, shape) = (&tensor.name, &tensor.shape);
        let info = after.tensor(name).unwrap();
        assert_eq!(&info.shape, shape, "{name}");
        if shape.len() < 2 {
            assert_eq!(info.format, tensor.format, "{name}");
            continue;
        }
        assert_eq!(info.format, scheme.to_string(), "{name}");
        let (was, is) = (before.dense(name).unwrap(), after.dense(name).unwrap());
        assert_eq!(is.shape(), shape, "{name}");
        assert!(same(is.values(), &by_hand(was.values(), shape, 0, scheme)), "{name}");
        depthwise += usize::from(matches!(shape[..], [_, 1, 3 | 5, _]));
    }
    assert_eq!(depthwise, 16, "blocks of EfficientNet-Lite0");
}
