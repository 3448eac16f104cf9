//! Hostile and damaged weight files: every one is an error that names itself, none panics.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::Summary;

/// A safetensors file with the given header text and `body` bytes of data.
fn container(header: &str, body: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..body).map(|i| i as u8));
    file
}

fn small_safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},
        "a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},
        "c.weight":{"dtype":"I8","shape":[2,4],"data_offsets":[32,40]},
        "c.weight_scale":{"dtype":"F16","shape":[2,1],"data_offsets":[40,44]},
        "d":{"dtype":"I64","shape":[1,1],"data_offsets":[44,52]},
        "empty":{"dtype":"F32","shape":[0,7],"data_offsets":[52,52]}}"#;
    container(header, 52)
}

#[derive(Default)]
struct Gguf(Vec<u8>);

impl Gguf {
    fn new(version: u32, tensors: u64, entries: u64) -> Self {
        let mut file = Self(b"GGUF".to_vec());
        file.u32(version).u64(tensors).u64(entries);
        file
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.u64(text.len() as u64).0.extend(text.as_bytes());
        self
    }

    fn info(&mut self, name: &str, shape: &[u64], id: u32, offset: u64) -> &mut Self {
        self.text(name).u32(shape.len() as u32);
        for &n in shape {
            self.u64(n);
        }
        self.u32(id).u64(offset)
    }

    /// Pads to `alignment` and appends `count` bytes.
    fn data(&mut self, alignment: usize, count: usize) -> Vec<u8> {
        let start = self.0.len().next_multiple_of(alignment);
        self.0.resize(start + count, 0);
        self.0.clone()
    }
}

fn small_gguf(version: u32) -> Vec<u8> {
    let mut file = Gguf::new(version, 2, 5);
    file.text("general.architecture").u32(8).text("toy");
    file.text("general.alignment").u32(4).u32(64);
    file.text("toy.block_count").u32(10).u64(3);
    file.text("tokenizer.ggml.model").u32(8).text("gpt2");
    file.text("tokenizer.ggml.tokens").u32(9).u32(8).u64(2).text("a").text("b");
    file.info("t.weight", &[32, 2], 8, 0).info("n", &[5], 0, 128);
    file.data(64, 148)
}

fn parse(data: &[u8]) -> Result<gguf::Header, HeaderError> {
    gguf::parse(&Bytes::copy_of(data))
}

fn refuses(data: &[u8], words: &str) {
    let error = safetensors::parse(data).unwrap_err().to_string();
    assert!(error.contains(words), "'{error}' does not say '{words}'");
    assert!(!error.contains('\n'), "{error}");
}

fn gguf_refuses(data: &[u8], words: &str) {
    let error = parse(data).unwrap_err().to_string();
    assert!(error.contains(words), "'{error}' does not say '{words}'");
}

fn place(folder: &Path, name: &str, data: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, data).unwrap();
    path
}

#[test]
fn a_small_safetensors_file_opens_and_decodes() {
    let folder = tempfile::tempdir().unwrap();
    let path = place(folder.path(), "m.safetensors", &small_safetensors());
    let model = Checkpoint::open(&path).unwrap();
    let names: Vec<&str> = model.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a.weight", "b", "c.weight", "d", "empty"]);
    let coded = model.tensor("c.weight").unwrap();
    assert_eq!((coded.format.as_str(), coded.size_bytes), ("int8", 12));
    assert_eq!(coded.bits_per_weight, 12.0);
    let bytes: Vec<u8> = (0..24).collect();
    assert_eq!(model.dense("a.weight").unwrap().values(), decode(Content::Float32, &bytes));
    assert_eq!(model.dense("b").unwrap().shape(), [4]);
    let scales = decode(Content::Half, &[40, 41, 42, 43]);
    let Weight::Coded(coded) = model.weight("c.weight").unwrap() else { panic!("not coded") };
    let mut row = [0.0; 4];
    coded.decode_row(1, &mut row);
    assert_eq!(row, [36.0, 37.0, 38.0, 39.0].map(|code| code * scales[1]));
    assert!(model.dense("d").unwrap_err().to_string().contains("I64"));
    assert!(model.dense("x").unwrap_err().to_string().contains("is missing"));
    let summary = Summary::of(&path).unwrap();
    assert_eq!((summary.parameters, summary.size_bytes), (6 + 4 + 8, 52));
    assert_eq!(summary.quantization.as_deref(), Some("int8"));
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let entry = |fields: &str| container(&format!(r#"{{"a":{{{fields}}}}}"#), 8);
    refuses(&[1, 2, 3], "ends inside the length");
    refuses(&(1u64 << 63).to_le_bytes(), "the limit is 10485760");
    refuses(&(10u64 << 20).to_le_bytes(), "ends inside the header");
    refuses(&((10u64 << 20) + 1).to_le_bytes(), "the limit is");
    refuses(&container("[]", 0), "does not parse");
    refuses(&container("{}", 1), "1 bytes after the last tensor");
    refuses(&container(r#"{"a":"b"}"#, 0), "does not parse");
    refuses(&container("{\"\u{1}\":{}}", 0), "does not parse");
    refuses(&entry(r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#), "needs 8 bytes");
    refuses(&entry(r#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#), "outside");
    refuses(&entry(r#""dtype":"F32","shape":[3],"data_offsets":[0,12]"#), "outside");
    refuses(&entry(r#""dtype":"F32","shape":[-1],"data_offsets":[0,8]"#), "does not parse");
    refuses(&entry(r#""dtype":"Q4_0","shape":[32],"data_offsets":[0,8]"#), "unknown dtype");
    let huge = r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]"#;
    refuses(&entry(huge), "overflows");
    let zero = r#""dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]"#;
    refuses(&entry(zero), "overflows");
    let deep = r#""dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8]"#;
    refuses(&entry(deep), "more than 8 dimensions");
    refuses(&entry(r#""dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]"#), "duplicate");
    let mut broken = container(r#"{"a":{}}"#, 0);
    broken[10] = 0xFF;
    refuses(&broken, "does not parse");
    let nested = format!("{{\"a\":{}", "[".repeat(10_000));
    refuses(&container(&nested, 0), "does not parse");
    let unknown = format!("{{\"a\":{{\"x\":{}", "[".repeat(10_000));
    refuses(&container(&unknown, 0), "does not parse");
}

#[test]
fn tensors_tile_the_data() {
    let pair = |a: &str, b: &str, body: usize| {
        let part = |name: &str, offsets: &str| {
            format!(r#""{name}":{{"dtype":"U8","shape":[4],"data_offsets":[{offsets}]}}"#)
        };
        container(&format!("{{{},{}}}", part("a", a), part("b", b)), body)
    };
    assert_eq!(safetensors::parse(&pair("4,8", "0,4", 8)).unwrap().len(), 2);
    refuses(&pair("0,4", "2,6", 6), "'b': overlaps another");
    refuses(&pair("0,4", "5,9", 9), "'b': follows a gap");
    refuses(&pair("1,5", "5,9", 9), "'a': follows a gap");
    refuses(&pair("0,4", "4,8", 9), "1 bytes after the last tensor");
    let twice = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
                    "a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#;
    refuses(&container(twice, 8), "described twice");
}

#[test]
fn a_small_gguf_file_opens_in_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    for version in [2, 3] {
        let path = place(folder.path(), "m.gguf", &small_gguf(version));
        let summary = Summary::of(&path).unwrap();
        assert_eq!((summary.architecture.as_str(), summary.layers), ("toy", Some(3)));
        assert_eq!(summary.tokenizer.unwrap().vocabulary, 2);
        assert_eq!((summary.parameters, summary.size_bytes), (69, 88));
        let model = Checkpoint::open(&path).unwrap();
        assert_eq!(model.tensor("t.weight").unwrap().shape, [2, 32]);
        assert_eq!(model.dense("t.weight").unwrap().values(), [0.0; 64]);
    }
}

#[test]
fn gguf_headers_that_lie_are_refused() {
    let none = |version| Gguf::new(version, 0, 0).0;
    assert!(parse(&none(3)).unwrap().entries.is_empty());
    gguf_refuses(&none(1), "the version is 1");
    gguf_refuses(&none(4), "the version is 4");
    gguf_refuses(&none(3 << 24), "big endian");
    gguf_refuses(&Gguf::new(3, u64::MAX, 0).0, "number of tensors");
    gguf_refuses(&Gguf::new(3, 0, u64::MAX).0, "number of metadata entries");
    gguf_refuses(&Gguf::new(3, (1 << 16) + 1, 0).0, "the limit is 65536");
    gguf_refuses(&Gguf::new(3, 1 << 16, 0).0, "ends inside");
    let entry = || Gguf::new(3, 0, 1);
    gguf_refuses(&entry().u64(u64::MAX).0, "ends inside");
    gguf_refuses(&entry().text(&"k".repeat(1025)).0, "the limit is 1024");
    gguf_refuses(&entry().text("k").u32(8).u64(u64::MAX).0, "ends inside");
    gguf_refuses(&entry().text("k").u32(13).0, "a metadata type is 13");
    gguf_refuses(&entry().text("k").u32(u32::MAX).0, "a metadata type is");
    gguf_refuses(&entry().text("k").u32(9).u32(9).u64(1).0, "a metadata type is 9");
    gguf_refuses(&entry().text("k").u32(9).u32(12).u64(u64::MAX).0, "ends inside");
    gguf_refuses(&entry().text("k").u32(9).u32(8).u64(u64::MAX).0, "ends inside");
    for alignment in [0, 3, 48, 1 << 21] {
        let mut file = entry();
        file.text("general.alignment").u32(4).u32(alignment);
        gguf_refuses(&file.0, "expected a power of two");
    }
    let mut twice = Gguf::new(3, 0, 2);
    twice.text("k").u32(7).0.push(1);
    twice.text("k").u32(7).0.push(1);
    gguf_refuses(&twice.0, "twice");
}

#[test]
fn gguf_tensors_stay_inside_the_file() {
    let one = |shape: &[u64], id: u32, offset: u64| {
        Gguf::new(3, 1, 0).info("t", shape, id, offset).data(32, 64)
    };
    assert_eq!(parse(&one(&[16], 0, 0)).unwrap().entries.len(), 1);
    gguf_refuses(&one(&[17], 0, 0), "leave the file");
    gguf_refuses(&one(&[16], 0, 32), "leave the file");
    gguf_refuses(&one(&[8], 0, 16), "not aligned");
    gguf_refuses(&one(&[1], 0, u64::MAX - 31), "leave the file");
    gguf_refuses(&one(&[u64::MAX], 0, 0), "does not fit");
    gguf_refuses(&one(&[1 << 32, 1 << 32], 0, 0), "does not fit");
    gguf_refuses(&one(&[33], 2, 0), "does not fit Q4_0");
    gguf_refuses(&one(&[16], 4, 0), "unknown type number 4");
    gguf_refuses(&one(&[16], u32::MAX, 0), "unknown type number");
    gguf_refuses(&one(&[1; 5], 0, 0), "number of dimensions is 5");
    let pair = |second: u64| {
        let mut file = Gguf::new(3, 2, 0);
        file.info("a", &[16], 0, 0).info("b", &[8], 0, second).data(32, 96)
    };
    assert_eq!(parse(&pair(64)).unwrap().entries.len(), 2);
    gguf_refuses(&pair(32), "overlaps another");
}

/// Every block format under its number in GGUF files: read as stored, whole rows only.
#[test]
fn blocks_of_every_format_load_as_stored() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = [2, 3, 6, 7, 8, 20, 10, 11, 12, 13, 14, 23, 39];
    for (format, id) in kvant_quant::BlockFormat::ALL.into_iter().zip(numbers) {
        let (cols, bytes) = (format.weights_per_block(), 3 * format.block_bytes());
        let file = |cols: usize| {
            let shape = [cols as u64, 3];
            Gguf::new(3, 1, 0).info("t.weight", &shape, id, 0).data(32, bytes)
        };
        let mut data = file(cols);
        let start = data.len() - bytes;
        for (index, byte) in data[start..].iter_mut().enumerate() {
            *byte = (index * 7 % 60) as u8; // No scale is infinite.
        }
        let path = place(folder.path(), &format.to_string(), &data);
        let model = Checkpoint::open(&path).unwrap();
        let info = model.tensor("t.weight").unwrap();
        assert_eq!(info.format, format.to_string().to_uppercase());
        assert_eq!((&info.shape[..], info.size_bytes), (&[3, cols][..], bytes as u64));
        let Weight::Coded(Coded::Block(matrix)) = model.weight("t.weight").unwrap() else {
            panic!("{format} is not in blocks");
        };
        assert_eq!((matrix.format(), matrix.data()), (format, &data[start..]));
        let dense = model.dense("t.weight").unwrap();
        assert_eq!(dense.values(), Coded::Block(matrix).decode());
        gguf_refuses(&file(cols / 2), &format!("whole blocks of {cols}"));
    }
}

#[test]
fn content_is_recognised_whatever_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[u8], &str); 7] = [
        (b"PK\x03\x04archive/data.pkl.......", "zip archive"),
        (b"\x80\x02}q\x00(X\x05\x00\x00\x00model", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "download the model again"),
        (b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00", "ends inside"),
        (b"", "empty file"),
        (b"\x89HDF\r\n\x1a\n\x00\x00", "HDF5"),
    ];
    for (content, words) in cases {
        let path = place(folder.path(), "model.safetensors", content);
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("model.safetensors"), "{error}");
    }
}

#[test]
fn directories_say_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let say = || Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(say().contains("model.safetensors is missing"), "{}", say());
    place(folder.path(), "pytorch_model.bin", b"PK");
    assert!(say().contains("pytorch_model.bin is no file of PyTorch"), "{}", say());
    let gone = Checkpoint::open(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(gone.contains("nowhere") && gone.contains("is missing"), "{gone}");
}

#[test]
fn shards_are_read_and_confined() {
    let folder = tempfile::tempdir().unwrap();
    let shard = |name: &str| {
        let text = format!(r#"{{"{name}":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}}}"#);
        container(&text, 4)
    };
    place(folder.path(), "model-1.safetensors", &shard("a"));
    place(folder.path(), "model-2.safetensors", &shard("b"));
    let index = |a: &str, b: &str| {
        let text = format!(r#"{{"weight_map":{{"a":"{a}","b":"{b}"}}}}"#);
        place(folder.path(), "model.safetensors.index.json", text.as_bytes());
        Checkpoint::open(folder.path())
    };
    assert_eq!(index("model-1.safetensors", "model-2.safetensors").unwrap().tensors().len(), 2);
    for bad in ["../model-2.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin", ".safetensors"]
    {
        let error = index("model-1.safetensors", bad).unwrap_err().to_string();
        assert!(error.contains("not a plain"), "{error}");
    }
    let error = index("model-1.safetensors", "model-3.safetensors").unwrap_err().to_string();
    assert!(error.contains("model-3.safetensors"), "{error}");
    place(folder.path(), "model-2.safetensors", &shard("a"));
    let error = index("model-1.safetensors", "model-2.safetensors").unwrap_err().to_string();
    assert!(error.contains("in two shards"), "{error}");
}

#[test]
fn truncated_files_are_refused() {
    let (a, b) = (small_safetensors(), small_gguf(3));
    for end in (0..a.len()).step_by(3) {
        assert!(safetensors::parse(&a[..end]).is_err(), "{end} of {} bytes", a.len());
    }
    for end in (0..b.len()).step_by(3) {
        assert!(parse(&b[..end]).is_err(), "{end} of {} bytes", b.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_safetensors_never_panic(at in 0usize..700, with: u8, flip: u8) {
        let mut data = small_safetensors();
        let length = data.len();
        data[at % length] = with;
        data[usize::from(flip) % length] ^= 1 << (flip % 8);
        if let Ok(entries) = safetensors::parse(&data) {
            prop_assert!(entries.iter().all(|entry| entry.range.end <= length));
        }
    }

    #[test]
    fn mutated_gguf_never_panics(at in 0usize..600, with: u8, flip: u8) {
        let mut data = small_gguf(3);
        let length = data.len();
        data[at % length] = with;
        data[usize::from(flip) % length] ^= 1 << (flip % 8);
        if let Ok(header) = parse(&data) {
            prop_assert!(header.entries.iter().all(|entry| entry.range.end <= length));
        }
    }
}

#[test]
fn the_real_model_is_summarised() {
    let Some(path) = kvant_testkit::minilm() else { return kvant_testkit::skip("no MiniLM") };
    let summary = Summary::of(&path).unwrap();
    assert_eq!((summary.architecture.as_str(), summary.layers), ("BertModel", Some(6)));
    assert_eq!(summary.parameters, 22_713_216);
    assert_eq!((summary.bits_per_weight, summary.quantization), (32.0, None));
    assert_eq!((summary.max_tokens, summary.tensors.len()), (Some(256), 104));
    let tokenizer = summary.tokenizer.unwrap();
    assert_eq!((tokenizer.kind.as_str(), tokenizer.vocabulary), ("WordPiece", 30_522));
}

#[test]
fn gguf_metadata_keep_their_arrays_and_their_bytes() {
    let mut file = Gguf::new(3, 0, 4);
    file.text("words").u32(9).u32(8).u64(2).text("one").0.extend(2u64.to_le_bytes());
    file.0.extend([0xFF, b'x']);
    file.text("kinds").u32(9).u32(5).u64(2).u32(3).u32(u32::MAX);
    file.text("eps").u32(6).0.extend(0.5f32.to_le_bytes());
    file.text("flag").u32(7).0.push(1);
    let header = parse(&file.0).unwrap();
    assert_eq!(header.array("words").unwrap().texts().unwrap(), ["one", "\u{FFFD}x"]);
    assert_eq!(header.array("words").unwrap().integers(), None);
    assert_eq!(header.array("kinds").unwrap().integers().unwrap(), [3, -1]);
    assert_eq!(header.array("kinds").unwrap().texts(), None);
    assert_eq!((header.number("eps"), header.flag("flag")), (Some(0.5), Some(true)));
    let mut again = Gguf::new(3, 0, 4).0;
    for (key, value) in &header.stored {
        again.extend((key.len() as u64).to_le_bytes());
        again.extend(key.as_bytes());
        again.extend_from_slice(value);
    }
    assert_eq!(again, file.0);
}
