//! A valid input for every target, made here so that no binary file is kept.

use kvant_index::{AnyShape, BuildOptions, FloatRows, Index, Metric, Spec};
use kvant_storage::Bytes;
use kvant_storage::frame::{self, Frame, Kind, Section};

/// Magic of the frames of this fuzzer.
pub const MAGIC: [u8; 8] = *b"KVFUZZ\0\0";
/// Rows of the index that is fuzzed.
pub const ROWS: usize = 120;
/// Their dimension.
pub const DIM: usize = 4;
/// A configuration of the smallest BERT.
pub const CONFIG: &[u8] = br#"{"architectures":["BertModel"],"model_type":"bert","hidden_size":4,
"num_attention_heads":2,"num_hidden_layers":1,"intermediate_size":8,"vocab_size":5,
"max_position_embeddings":8,"type_vocab_size":2,"layer_norm_eps":1e-12,"hidden_act":"gelu"}"#;

/// The rows under [`shape`].
pub fn rows() -> Vec<f32> {
    (0..ROWS * DIM).map(|at| ((at * 37 % 101) as f32).sin()).collect()
}

pub(crate) fn frame() -> Vec<u8> {
    let kind = Kind { magic: MAGIC, version: 1, features: 0 };
    let sections = [
        Section { name: "first", data: b"some bytes" },
        Section { name: "second", data: &[7; 100] },
    ];
    frame::to_bytes(&kind, 0, &sections)
}

pub(crate) fn shape() -> Vec<u8> {
    of_shape("hnsw4")
}

pub(crate) fn forest() -> Vec<u8> {
    of_shape("forest2")
}

pub(crate) fn qg() -> Vec<u8> {
    of_shape("qg")
}

pub(crate) fn lsh() -> Vec<u8> {
    of_shape("lshcp2x4")
}

fn of_shape(name: &str) -> Vec<u8> {
    let data = rows();
    let rows = FloatRows::new(&data, DIM, Metric::Euclid);
    let spec: Spec = name.parse().expect("the name of a shape");
    AnyShape::build(&spec, &rows, &BuildOptions::default()).to_bytes()
}

/// The head, the shape and the codes of an index, the lengths of the former in front.
pub(crate) fn index() -> Vec<u8> {
    index_of("hnsw4,int8,rerank32")
}

/// The same of lists over signs in blocks, of codes in planes, and of codes along learnt axes.
pub fn others() -> Vec<Vec<u8>> {
    ["ivf4,rq1,rerank32", "flat,rq3", "hnsw4,rq7", "ivf4,opq2"].map(index_of).to_vec()
}

fn index_of(spec: &str) -> Vec<u8> {
    let data = rows();
    let rows = FloatRows::new(&data, DIM, Metric::Euclid);
    let spec = spec.parse().expect("the name of an index");
    let index = Index::build(&spec, rows, &BuildOptions::default()).expect("finite rows");
    let kind = Kind { magic: *b"KVANTIDX", version: 2, features: 0 };
    let frame = Frame::open(Bytes::from(index.to_bytes()), "seed".as_ref(), &kind);
    let frame = frame.expect("a file of its own");
    let part = |name| frame.section(name).expect("an index has it").to_vec();
    let (head, shape) = (part("head"), part("shape"));
    let mut input = [head.len() as u16, shape.len() as u16].map(u16::to_le_bytes).concat();
    input.extend([head, shape, part("code")].concat());
    input
}

/// A linear4 matrix of 2 × 8: codes, then minimums, then steps.
pub(crate) fn code() -> Vec<u8> {
    let mut data = vec![2, 2, 8];
    data.extend([0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE]);
    for number in [-1.0f32, -0.5, 0.125, 0.25] {
        data.extend(number.to_le_bytes());
    }
    data
}

/// Settings of the quantizers whose parts a file may hold, and the part that tells.
pub const FOREIGN: [(&[u8], &[u8]); 4] = [
    (
        b"_packed",
        br#"{"quantization_config":{"quant_method":"compressed-tensors","config_groups":{
"a":{"weights":{"num_bits":4,"group_size":8}},"b":{"weights":{"num_bits":3}}}}}"#,
    ),
    (b"qweight", br#"{"quantization_config":{"quant_method":"gptq","bits":4,"group_size":8}}"#),
    (b"qzeros", br#"{"quantization_config":{"quant_method":"awq","bits":4,"group_size":8}}"#),
    (b"quant_state", br#"{"quantization_config":{"quant_method":"bitsandbytes"}}"#),
];

/// Plain tensors, and the parts of matrices that other quantizers stored.
pub(crate) fn safetensors() -> Vec<u8> {
    let state = br#"{"blocksize":64,"shape":[2,3],"quant_type":"nf4"}"#;
    let mut tensors = vec![
        ("a.weight", "F32", vec![2, 3], 24),
        ("b.bias", "F16", vec![4], 8),
        ("c", "I64", vec![1], 8),
        ("p.weight_packed", "I32", vec![2, 1], 8),
        ("p.weight_scale", "F32", vec![2, 1], 8),
        ("p.weight_shape", "I32", vec![2], 8),
        ("q.qweight", "I32", vec![1, 8], 32),
        ("q.qzeros", "I32", vec![1, 1], 4),
        ("q.scales", "F16", vec![1, 8], 16),
        ("q.g_idx", "I32", vec![8], 32),
        ("n.weight", "U8", vec![3, 1], 3),
        ("n.weight.absmax", "F32", vec![1], 4),
        ("n.weight.quant_map", "F32", vec![16], 64),
    ];
    tensors.push(("n.weight.quant_state.bitsandbytes__nf4", "U8", vec![state.len()], state.len()));
    let (mut header, mut body) = (String::from(r#"{"__metadata__":{"format":"pt"}"#), Vec::new());
    for (name, dtype, shape, size) in tensors {
        let start = body.len();
        match name {
            "p.weight_shape" => body.extend([2, 0, 0, 0, 8, 0, 0, 0]),
            "q.g_idx" => body.resize(start + size, 0),
            _ if size == state.len() => body.extend(state),
            _ => body.extend((0..size).map(|byte| (byte % 7) as u8)),
        }
        let (shape, end) = (format!("{shape:?}"), body.len());
        header += &format!(
            r#","{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#
        );
    }
    header.push('}');
    let mut data = (header.len() as u64).to_le_bytes().to_vec();
    data.extend(header.as_bytes());
    data.extend(body);
    data
}

/// A layer of three packed weights of 16 × 4: f32, int8, and a table of levels in blocks of 16.
pub(crate) fn packed() -> Vec<u8> {
    let sizes: [(u8, &[u64]); 3] = [(0, &[64 * 4]), (1, &[64, 64, 64]), (2, &[64 * 2, 32, 0, 64])];
    let (mut table, mut at) = (Vec::new(), 0u64);
    table.extend(1u32.to_le_bytes());
    table.extend(1u32.to_le_bytes());
    table.push(b'k');
    table.extend(3u32.to_le_bytes());
    for (form, sections) in sizes {
        table.push(form);
        table.extend([16u64, 4].map(u64::to_le_bytes).concat());
        if form == 2 {
            table.extend(16u64.to_le_bytes());
            table.push(2);
            table.extend((0..16).flat_map(|level| (level as f32 - 8.0).to_le_bytes()));
            table.push(0);
        }
        table.extend((sections.len() as u32).to_le_bytes());
        for size in sections {
            table.extend([at, at + size].map(u64::to_le_bytes).concat());
            at = (at + size).next_multiple_of(64);
        }
    }
    let mut input = (table.len() as u16).to_le_bytes().to_vec();
    input.extend(table);
    input.resize(input.len() + at as usize, 0);
    input
}

pub(crate) fn gguf() -> Vec<u8> {
    let mut data = b"GGUF".to_vec();
    data.extend(3u32.to_le_bytes());
    data.extend(2u64.to_le_bytes()); // tensors
    data.extend(3u64.to_le_bytes()); // metadata
    let string = |data: &mut Vec<u8>, text: &str| {
        data.extend((text.len() as u64).to_le_bytes());
        data.extend(text.as_bytes());
    };
    string(&mut data, "general.architecture");
    data.extend(8u32.to_le_bytes());
    string(&mut data, "llama");
    string(&mut data, "llama.block_count");
    data.extend(4u32.to_le_bytes());
    data.extend(1u32.to_le_bytes());
    string(&mut data, "tokenizer.ggml.tokens");
    data.extend(9u32.to_le_bytes());
    data.extend(8u32.to_le_bytes());
    data.extend(2u64.to_le_bytes());
    string(&mut data, "a");
    string(&mut data, "b");
    for (name, kind, offset) in [("token_embd.weight", 0u32, 0u64), ("blk.0.ffn_up.weight", 2, 128)]
    {
        string(&mut data, name);
        data.extend(2u32.to_le_bytes());
        data.extend(32u64.to_le_bytes());
        data.extend(1u64.to_le_bytes());
        data.extend(kind.to_le_bytes());
        data.extend(offset.to_le_bytes());
    }
    data.resize(data.len().next_multiple_of(32), 0);
    data.extend((0..146u32).map(|byte| (byte % 5) as u8));
    data
}

/// A GGUF file of a llama with nothing but its word table: sizes and a vocabulary of four words.
pub(crate) fn vocabulary() -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0u64;
    let string = |data: &mut Vec<u8>, text: &str| {
        data.extend((text.len() as u64).to_le_bytes());
        data.extend(text.as_bytes());
    };
    let mut put = |key: &str, kind: u32, value: Vec<u8>| {
        string(&mut entries, key);
        entries.extend(kind.to_le_bytes());
        entries.extend(value);
        count += 1;
    };
    let text = |text: &str| {
        let mut data = Vec::new();
        string(&mut data, text);
        data
    };
    let list = |kind: u32, items: &[Vec<u8>]| {
        let mut data = kind.to_le_bytes().to_vec();
        data.extend((items.len() as u64).to_le_bytes());
        data.extend(items.concat());
        data
    };
    put("general.architecture", 8, text("llama"));
    for (key, size) in [
        ("block_count", 1u32),
        ("context_length", 8),
        ("embedding_length", 8),
        ("feed_forward_length", 16),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("rope.dimension_count", 4),
    ] {
        put(&format!("llama.{key}"), 4, size.to_le_bytes().to_vec());
    }
    put("llama.attention.layer_norm_rms_epsilon", 6, 1e-5f32.to_le_bytes().to_vec());
    put("tokenizer.ggml.model", 8, text("gpt2"));
    put("tokenizer.ggml.pre", 8, text("smollm"));
    put("tokenizer.ggml.tokens", 9, list(8, &["<s>", "a", "b", "ab"].map(text)));
    put(
        "tokenizer.ggml.token_type",
        9,
        list(5, &[3i32, 1, 1, 1].map(|n| n.to_le_bytes().to_vec())),
    );
    put("tokenizer.ggml.merges", 9, list(8, &[text("a b")]));
    put("tokenizer.ggml.bos_token_id", 4, 0u32.to_le_bytes().to_vec());
    put("tokenizer.ggml.add_bos_token", 7, vec![1]);
    let mut data = b"GGUF".to_vec();
    data.extend(3u32.to_le_bytes());
    data.extend(1u64.to_le_bytes()); // tensors
    data.extend(count.to_le_bytes());
    data.extend(entries);
    string(&mut data, "token_embd.weight");
    data.extend(2u32.to_le_bytes());
    data.extend([8u64, 4].map(u64::to_le_bytes).concat());
    data.extend([0; 12]); // f32, at the beginning
    data.resize(data.len().next_multiple_of(32) + 128, 0);
    data
}

pub(crate) fn torch() -> Vec<u8> {
    include_bytes!("../testdata/golden/weights/zip.pth").to_vec()
}

pub(crate) fn legacy() -> Vec<u8> {
    include_bytes!("../testdata/golden/weights/legacy.pth").to_vec()
}

pub(crate) fn onnx() -> Vec<u8> {
    include_bytes!("../testdata/golden/weights/inside.onnx").to_vec()
}

pub(crate) fn jsonl() -> Vec<u8> {
    br#"{"id":7,"text":"a whale","vector":[0.5,-1e-3,2],"kind":"noun","tags":["x",null]}
{"id":"6a9f3c1e-0000-4000-8000-00000000000a","text":"\u00e9\ud83d\ude00","vector":[1,2,3]}
"#
    .to_vec()
}

pub(crate) fn npy() -> Vec<u8> {
    let mut header = String::from("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut data = b"\x93NUMPY\x01\x00".to_vec();
    data.extend((header.len() as u16).to_le_bytes());
    data.extend(header.as_bytes());
    for value in [0.5f32, -1.0, 2.0, 3.5, 4.0, -5.25] {
        data.extend(value.to_le_bytes());
    }
    data
}

pub(crate) fn fvecs() -> Vec<u8> {
    let mut data = Vec::new();
    for row in [[0.5f32, 1.0, -2.0], [3.0, 4.0, 5.0]] {
        data.extend(3i32.to_le_bytes());
        row.iter().for_each(|value| data.extend(value.to_le_bytes()));
    }
    data
}

pub(crate) fn parquet() -> Vec<u8> {
    include_bytes!("../testdata/golden/source/fixed.parquet").to_vec()
}

pub(crate) fn hdf5() -> Vec<u8> {
    include_bytes!("../testdata/golden/source/packed.hdf5").to_vec()
}

pub(crate) fn sts() -> Vec<u8> {
    b"g\tf\t2012\t1\t5.000\tA man sings.\tA man is singing.\ng\tf\t2012\t2\t0.5\tA cat.\tTwo.\n"
        .to_vec()
}

pub(crate) fn retrieval() -> Vec<u8> {
    br#"{"id":"a","text":"one"}
{"id":"b","text":"two"}
{"query":"first","relevant":["a"]}
"#
    .to_vec()
}

pub(crate) fn classify() -> Vec<u8> {
    b"text,category\nhello there,greet\n\"bye, now\",part\nhi,greet\nso long,part\n".to_vec()
}
