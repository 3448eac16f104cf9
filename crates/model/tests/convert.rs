//! Models that go from one container to the other and come back.

use kvant_model::{Checkpoint, ConvertOptions, FloatFormat, LoadError, Weight, convert};

/// Whether the tensor is the same in both, bit for bit.
fn same(a: &Checkpoint, b: &Checkpoint, name: &str) -> Result<bool, LoadError> {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let equal = match (a.weight(name)?, b.weight(name)?) {
        (Weight::Dense(a), Weight::Dense(b)) => bits(a.values()) == bits(b.values()),
        (Weight::Coded(a), Weight::Coded(b)) => a == b,
        (Weight::Dense(_), Weight::Coded(_)) | (Weight::Coded(_), Weight::Dense(_)) => false,
    };
    Ok(equal && a.tensor(name) == b.tensor(name))
}

const KEEP: ConvertOptions<'static> = ConvertOptions { float: None, progress: None };

#[test]
fn smollm2_comes_back_bit_for_bit() {
    let Some(gguf) = kvant_testkit::smollm2() else {
        return kvant_testkit::skip("SmolLM2-135M-Instruct is not there");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (dir, back) = (folder.path().join("hugging"), folder.path().join("back.gguf"));
    convert(&gguf, &dir, &KEEP).expect("converts");
    convert(&dir, &back, &KEEP).expect("converts");
    let (a, b) = (Checkpoint::open(&gguf).expect("opens"), Checkpoint::open(&back).expect("opens"));
    assert_eq!(a.tensors(), b.tensors());
    for tensor in a.tensors() {
        assert!(same(&a, &b, &tensor.name).expect("reads"), "{}", tensor.name);
    }
}

#[test]
fn minilm_comes_back_bit_for_bit() {
    let Some(source) = kvant_testkit::minilm() else {
        return kvant_testkit::skip("all-MiniLM-L6-v2 is not there");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (gguf, back) = (folder.path().join("minilm.gguf"), folder.path().join("back"));
    convert(&source, &gguf, &KEEP).expect("converts");
    convert(&gguf, &back, &KEEP).expect("converts");
    let (a, b) =
        (Checkpoint::open(&source).expect("opens"), Checkpoint::open(&back).expect("opens"));
    let gone = |name: &str| name.starts_with("pooler.") || name == "embeddings.position_ids";
    for tensor in a.tensors().iter().filter(|tensor| !gone(&tensor.name)) {
        assert!(same(&a, &b, &tensor.name).expect("reads"), "{}", tensor.name);
    }
    assert_eq!(b.tensors().len() + 3, a.tensors().len());
    let before = kvant_model::Encoder::load(&source).expect("loads");
    let after = kvant_model::Encoder::load(&back).expect("loads");
    let texts = ["A man is playing a large flute.", "Ünïcode, 中文 and [MASK] tokens!", ""];
    for text in texts {
        assert_eq!(before.tokenize(text).expect("tokens"), after.tokenize(text).expect("tokens"));
    }
    let options = kvant_model::EmbedOptions::default();
    let (x, y) = (before.embed(&texts, &options), after.embed(&texts, &options));
    assert_eq!(x.expect("vectors"), y.expect("vectors"));
    let half = folder.path().join("half.gguf");
    let options = ConvertOptions { float: Some(FloatFormat::F16), ..Default::default() };
    convert(&source, &half, &options).expect("converts");
    let half = Checkpoint::open(&half).expect("opens");
    let format = |name: &str| half.tensor(name).expect(name).format.clone();
    assert_eq!(format("blk.0.ffn_up.weight"), "F16");
    assert_eq!(format("blk.0.ffn_up.bias"), "F32");
    assert_eq!(format("token_types.weight"), "F32");
}
