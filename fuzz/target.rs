//! The targets by name.

use std::path::Path;

use kvant_db::source::npy::Whole;
use kvant_db::source::{Fields, Format, Source};
use kvant_eval::task::{Corpus, Labelled, Pairs};
use kvant_index::{AnyShape, Check, Effort, FloatRows, Metric, SearchError, SearchOptions, Stored};
use kvant_model::{Checkpoint, Decoder, PackedStore, Summary};
use kvant_quant::{
    Absmax, BlockFormat, BlockMatrix, Books, CodeShape, CodebookMatrix, CodebookShape, Coded,
    Filling, Float4, Float4Matrix, Float4Shape, LinearMatrix, NESTED_BLOCK, ScaledMatrix, Span,
    dynamic_map,
};
use kvant_storage::Bytes;
use kvant_storage::frame::{self, Frame, Kind, Section};

use crate::place::{with_file, with_folder};
use crate::{seed, store};

/// One parser of foreign bytes.
pub type Target = fn(&[u8]);

/// Every target: its name, the function, a valid input to start from.
pub const TARGETS: [(&str, Target, fn() -> Vec<u8>); 32] = [
    ("frame", frame, seed::frame),
    ("shape", shape, seed::shape),
    ("forest", shape, seed::forest),
    ("lsh", shape, seed::lsh),
    ("qg", shape, seed::qg),
    ("index", index, seed::index),
    ("code", code, seed::code),
    ("safetensors", safetensors, seed::safetensors),
    ("gguf", gguf, seed::gguf),
    ("vocabulary", vocabulary, seed::vocabulary),
    ("torch", torch, seed::torch),
    ("legacy", torch, seed::legacy),
    ("onnx", onnx, seed::onnx),
    ("packed", packed, seed::packed),
    ("jsonl", jsonl, seed::jsonl),
    ("npy", npy, seed::npy),
    ("fvecs", fvecs, seed::fvecs),
    ("parquet", parquet, seed::parquet),
    ("hdf5", hdf5, seed::hdf5),
    ("sts", sts, seed::sts),
    ("retrieval", retrieval, seed::retrieval),
    ("classify", classify, seed::classify),
    ("database", store::database, store::database_seed),
    ("catalog", store::catalog, store::catalog_seed),
    ("head", store::head, store::head_seed),
    ("log", store::log, store::log_seed),
    ("manifest", store::manifest, store::manifest_seed),
    ("change", store::change, store::change_seed),
    ("table", store::table, store::table_seed),
    ("inverted", store::inverted, store::inverted_seed),
    ("several", store::several, store::several_seed),
    ("slot", store::slot, store::slot_seed),
];

/// The target called `name`.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _, _)| *known == name).map(|(_, run, _)| *run)
}

fn frame(data: &[u8]) {
    let kind = Kind { magic: seed::MAGIC, version: 1, features: 0 };
    let bytes = Bytes::copy_of(data);
    if let Ok(frame) = Frame::open(bytes, Path::new("fuzz"), &kind) {
        for name in ["first", "second", "absent"] {
            let _ = frame.section(name);
        }
    }
}

fn shape(data: &[u8]) {
    let rows_data = seed::rows();
    let rows = FloatRows::new(&rows_data, seed::DIM, Metric::Euclid);
    if let Ok(shape) = AnyShape::from_bytes(data, seed::ROWS) {
        if !shape.serves(seed::DIM, Metric::Euclid) {
            return;
        }
        let query = [0.5; seed::DIM];
        for effort in [Effort::Default, Effort::Probes(1), Effort::Ef(1)] {
            let options = SearchOptions { k: 5, effort, ..Default::default() };
            let hits = shape.search(&rows, &query, &options);
            assert_eq!(hits.len(), 5, "a readable index answers");
        }
    }
}

/// The first four bytes say how long head and shape are, the rest are codes; as they are, and as a
/// file whose checksums are right.
fn index(data: &[u8]) {
    stored(data);
    let Some((&[a, b, c, d], rest)) = data.split_first_chunk() else { return };
    let cut = |rest: &'_ [u8], len: [u8; 2]| rest.len().min(usize::from(u16::from_le_bytes(len)));
    let (head, rest) = rest.split_at(cut(rest, [a, b]));
    let (shape, codes) = rest.split_at(cut(rest, [c, d]));
    let rows: Vec<u8> = seed::rows().iter().flat_map(|value| value.to_le_bytes()).collect();
    let section = |name, data| Section { name, data };
    let own = [section("head", head), section("shape", shape)];
    let others = [section("code", codes), section("rerank", codes), section("rows", &rows)];
    let kind = Kind { magic: *b"KVANTIDX", version: 1, features: 0 };
    stored(&frame::to_bytes(&kind, 0, &[&own[..], &others[..]].concat()));
}

fn stored(data: &[u8]) {
    for check in [Check::Opened, Check::Everything] {
        let opened = Stored::open(Bytes::copy_of(data), Path::new("fuzz"), check);
        let Ok(mut stored) = opened else { return };
        if check == Check::Everything && stored.load().is_err() {
            return;
        }
        if let Ok(index) = stored.index() {
            let query = vec![0.5; index.dim()];
            let options = SearchOptions { k: 5, ..Default::default() };
            match index.search(&query, &options) {
                Ok(found) => {
                    let (hits, most) = (found.hits, index.len().min(5));
                    assert!(hits.iter().all(|hit| hit.row.position() < index.len()));
                    // Lists may leave rows out where nobody looked.
                    assert!(hits.len() == most || check == Check::Opened && hits.len() < most);
                }
                Err(error) => {
                    assert!(matches!(error, SearchError::Damaged { .. }), "{error}");
                    assert!(check == Check::Opened, "all of it was verified");
                }
            }
        }
    }
}

/// The first bytes choose a code and its shape, the rest are its parts.
fn code(data: &[u8]) {
    let [kind, rows, cols, rest @ ..] = data else { return };
    let (rows, cols) = (usize::from(*rows), usize::from(*cols));
    let restored = match kind % 8 {
        bits @ 0..=6 if kind / 32 % 2 == 1 => {
            let books = [Books::Tensor, Books::Row, Books::Group(5), Books::Scaled(5)];
            let books = books[rest.len() % books.len()];
            let filling = Filling::Quantile;
            let shape = CodebookShape { rows, cols, bits: bits + 2, filling, books };
            let bytes = rows * shape.codes().row_bytes();
            let levels = shape.book_count() * shape.levels_per_book();
            if rest.len() < bytes + 2 * (levels + shape.scale_count()) {
                return;
            }
            let (codes, rest) = rest.split_at(bytes);
            let number = |bytes: &[u8; 2]| f32::from(i16::from_le_bytes(*bytes)) / 16.0;
            let mut numbers = rest.as_chunks().0.iter().map(number);
            let levels = numbers.by_ref().take(levels).collect();
            let scales = numbers.take(shape.scale_count()).collect();
            let matrix = CodebookMatrix::from_parts(shape, codes.to_vec(), levels, scales);
            matrix.ok().map(kvant_quant::Coded::Codebook)
        }
        bits @ 0..=6 => {
            let spans = [Span::Group(64), Span::Channel, Span::Tensor];
            let span = spans[rest.len() % spans.len()];
            let shape = CodeShape { rows, cols, bits: bits + 2, span };
            let (groups, bytes) = (shape.numbers(), rows * shape.row_bytes());
            if rest.len() < bytes + groups * 8 {
                return;
            }
            let number = |at: usize| {
                let at = bytes + at * 4;
                f32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]])
            };
            let mins = (0..groups).map(number).collect();
            let steps = (groups..2 * groups).map(number).collect();
            let codes = rest[..bytes].to_vec();
            if kind / 8 % 2 == 1 {
                let zeros =
                    (kind / 16 % 2 == 1).then(|| rest[bytes + groups * 4..][..groups].to_vec());
                let matrix = ScaledMatrix::from_parts(shape, codes, mins, zeros);
                matrix.ok().map(kvant_quant::Coded::Scaled)
            } else {
                let matrix = LinearMatrix::from_parts(shape, codes, mins, steps);
                matrix.ok().map(kvant_quant::Coded::Linear)
            }
        }
        _ if kind / 8 % 2 == 1 => four_bits(usize::from(kind / 16), rows, cols, rest),
        _ => blocks(usize::from(kind / 16), rows % 8, cols % 8, rest),
    };
    if let Some(coded) = restored {
        assert!(
            coded.decode().iter().all(|value| !value.is_nan()),
            "checked parts decode to numbers"
        );
    }
}

/// Four-bit tables of bitsandbytes over flattened blocks.
fn four_bits(kind: usize, rows: usize, cols: usize, rest: &[u8]) -> Option<Coded> {
    let format = [Float4::Nf4, Float4::Fp4][kind % 2];
    let shape = Float4Shape { rows, cols, format, block: 1 + kind / 2 * 3 };
    let (bytes, blocks) = (shape.code_bytes(), shape.blocks());
    if rest.len() < bytes + blocks * 4 {
        return None;
    }
    let (codes, rest) = rest.split_at(bytes);
    let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let numbers = rest.as_chunks().0.iter().map(number);
    let absmax = if codes.first().is_some_and(|code| code % 2 == 1) {
        Absmax::Double {
            codes: rest[..blocks].to_vec(),
            scales: numbers.take(blocks.div_ceil(NESTED_BLOCK)).collect(),
            offset: 0.5,
            map: Box::new(dynamic_map()),
        }
    } else {
        Absmax::Plain(numbers.take(blocks).collect())
    };
    let matrix = Float4Matrix::from_parts(shape, codes.to_vec(), absmax);
    matrix.ok().map(Coded::Float4)
}

/// Blocks of ggml, `across` of them in every row.
fn blocks(kind: usize, rows: usize, across: usize, data: &[u8]) -> Option<kvant_quant::Coded> {
    let format = BlockFormat::ALL[kind % BlockFormat::ALL.len()];
    let bytes = data.get(..rows * across * format.block_bytes())?.to_vec();
    let cols = across * format.weights_per_block();
    assert!(BlockMatrix::from_parts(format, rows, cols + 1, bytes.clone()).is_err());
    let matrix = BlockMatrix::from_parts(format, rows, cols, bytes).ok()?;
    let coded = kvant_quant::Coded::Block(matrix);
    let mut again = coded.clone();
    again.set_codes(&coded.codes());
    assert!(again == coded, "codes go back where they came from");
    Some(coded)
}

fn safetensors(data: &[u8]) {
    let files: [(&str, &[u8]); 2] = [("model.safetensors", data), ("config.json", seed::CONFIG)];
    with_folder(&files, read_all);
    // As the parts of other quantizers, where their names are in it.
    for (part, config) in seed::FOREIGN {
        if data.windows(part.len()).any(|window| window == part) {
            with_folder(&[("model.safetensors", data), ("config.json", config)], read_all);
        }
    }
}

fn gguf(data: &[u8]) {
    with_file("model.gguf", data, read_all);
}

/// The metadata of a GGUF file as a decoder needs them: sizes, words, merges, special tokens.
fn vocabulary(data: &[u8]) {
    with_file("words.gguf", data, |path| drop(Decoder::load(path)));
}

fn torch(data: &[u8]) {
    with_file("model.pth", data, read_all);
}

fn onnx(data: &[u8]) {
    with_file("model.onnx", data, read_all);
}

/// The first two bytes say how long the table is, the data follow; as they are, and as a file whose
/// checksums are right.
fn packed(data: &[u8]) {
    let _ = PackedStore::check(&Bytes::copy_of(data));
    let Some((len, rest)) = data.split_first_chunk() else { return };
    let (table, data) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    let section = |name, data| Section { name, data };
    let sections = [section("key", b"key"), section("table", table), section("data", data)];
    let kind = Kind { magic: *b"KVPACKED", version: 1, features: 0 };
    let file = frame::to_bytes(&kind, 0, &sections);
    let _ = PackedStore::check(&file.into());
}

fn read_all(path: &Path) {
    if let Ok(checkpoint) = Checkpoint::open(path) {
        for tensor in checkpoint.tensors().iter().take(16) {
            let _ = checkpoint.dense(&tensor.name);
            let _ = checkpoint.weight(&tensor.name);
        }
    }
    let _ = Summary::of(path);
}

fn records(format: Format, data: &[u8]) {
    let bytes = Bytes::copy_of(data);
    if let Ok(source) = Source::from_bytes(Path::new("fuzz"), format, bytes, &Fields::default()) {
        for record in source {
            let Ok(record) = record else { return };
            let finite = |vector: Vec<f32>| vector.iter().all(|value| value.is_finite());
            assert!(record.vector.is_none_or(finite), "a vector that was read is finite");
        }
    }
}

fn jsonl(data: &[u8]) {
    records(Format::Jsonl, data);
    records(Format::Text, data);
}

fn npy(data: &[u8]) {
    let _ = Whole::from_bytes(data);
    records(Format::Npy, data);
}

fn fvecs(data: &[u8]) {
    records(Format::Fvecs, data);
}

/// The libraries behind parquet and HDF5 panic on some bytes; the reader catches that and makes it
/// an error. The engine's own hook would end the process before it can; a panic that is not caught
/// still ends it.
fn let_panics_be_caught() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

fn parquet(data: &[u8]) {
    let_panics_be_caught();
    records(Format::Parquet, data);
}

fn hdf5(data: &[u8]) {
    let_panics_be_caught();
    records(Format::Hdf5, data);
}

fn sts(data: &[u8]) {
    with_file("pairs.tsv", data, |path| drop(Pairs::read(path)));
    with_file("pairs.jsonl", data, |path| drop(Pairs::read(path)));
}

fn retrieval(data: &[u8]) {
    with_file("corpus.jsonl", data, |path| drop(Corpus::read(path, None)));
    with_file("corpus.csv", data, |path| drop(Corpus::read(path, None)));
}

fn classify(data: &[u8]) {
    with_file("labels.csv", data, |path| drop(Labelled::read(path, None)));
    with_file("labels.jsonl", data, |path| drop(Labelled::read(path, None)));
}
