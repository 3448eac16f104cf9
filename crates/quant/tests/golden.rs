//! Blocks byte for byte as ggml's own package writes and reads them.

use std::collections::HashMap;

use kvant_kernels::Matrix;
use kvant_quant::{BLOCK, BlockFormat, BlockMatrix, Coded, Scheme};

/// Written by `testdata/golden/quant/blocks.py`.
const GOLDEN: &str = include_str!("../../../testdata/golden/quant/blocks.txt");

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect()
}

fn floats(hex: &str) -> Option<Vec<f32>> {
    Some(bytes(hex)?.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn blocks_are_those_of_ggml() {
    let mut blocks = HashMap::new();
    let (mut encoded, mut decoded) = (0, 0);
    for line in GOLDEN.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (kind, name) = (fields[0], fields[1]);
        if kind == "block" {
            blocks.insert(name, floats(fields[2]).unwrap());
            continue;
        }
        let format: BlockFormat = kind.parse().unwrap();
        let (data, values) = (bytes(fields[2]).unwrap(), floats(fields[3]).unwrap());
        assert_eq!(data.len(), format.block_bytes(), "{line}");
        let cols = format.weights_per_block();
        let stored = BlockMatrix::from_parts(format, 1, cols, data.clone()).unwrap();
        let stored_again = Coded::Block(stored.clone());
        for restored in [stored_again.decode(), stored_again.grid().restore(&stored_again.codes())]
        {
            assert_eq!(bits(&restored), bits(&values), "{kind} {name} decoded");
        }
        decoded += 1;
        if name != "bytes" {
            let coded = Scheme::Block(format).encode(Matrix::new(&blocks[name], 1, BLOCK)).unwrap();
            assert_eq!(coded, Coded::Block(stored), "{kind} {name} encoded");
            encoded += 1;
        }
    }
    assert_eq!((encoded, decoded), (70, 94));
}

/// Worked out on paper from the layout, so that the golden file is not the only witness.
#[test]
fn a_block_of_each_kind_by_hand() {
    let mut weights = [0.0f32; BLOCK];
    (weights[0], weights[1], weights[16], weights[31]) = (-8.0, 3.0, 7.0, -1.4);
    let coded = Scheme::Block(BlockFormat::Q4_0).encode(Matrix::new(&weights, 1, BLOCK)).unwrap();
    let Coded::Block(block) = coded else { unreachable!("q4_0 is a block format") };
    let mut expected = [0x88u8; 18];
    (expected[0], expected[1]) = (0x00, 0x3C); // d = −8 / −8 = 1 in f16
    expected[2] = 0xF0; // weight 0: −8 + 8 = 0; weight 16: 7 + 8 = 15
    expected[3] = 0x8B; // weight 1: 3 + 8 = 11
    expected[17] = 0x78; // weight 31: round(−1.4) + 8 = 7
    assert_eq!(block.data(), expected);

    (weights[0], weights[1], weights[16], weights[31]) = (-127.0, 2.5, -2.5, 0.4);
    let coded = Scheme::Block(BlockFormat::Q8_0).encode(Matrix::new(&weights, 1, BLOCK)).unwrap();
    let Coded::Block(block) = coded else { unreachable!("q8_0 is a block format") };
    let mut expected = [0u8; 34];
    (expected[0], expected[1]) = (0x00, 0x3C); // d = 1
    (expected[2], expected[3], expected[18]) = (0x81, 3, 0xFD); // −127, halves away from zero
    assert_eq!(block.data(), expected);

    // q4_1: d = 0.5, m = −1; q5: the fifth bits of weights 1 and 31.
    let mut q4_1 = vec![0x00, 0x38, 0x00, 0xBC];
    q4_1.extend([0x21; 16]);
    let q4_1 = BlockMatrix::from_parts(BlockFormat::Q4_1, 1, BLOCK, q4_1).unwrap();
    let values = Coded::Block(q4_1).decode();
    assert!(values[..16].iter().all(|v| *v == -0.5) && values[16..].iter().all(|v| *v == 0.0));
    let mut q5_0 = vec![0x00, 0x3C, 0x02, 0x00, 0x00, 0x80];
    q5_0.extend([0x00; 16]);
    let q5_0 = BlockMatrix::from_parts(BlockFormat::Q5_0, 1, BLOCK, q5_0).unwrap();
    let values = Coded::Block(q5_0).decode();
    for (i, value) in values.iter().enumerate() {
        assert_eq!(*value, if i == 1 || i == 31 { 0.0 } else { -16.0 }, "{i}");
    }
    let mut q5_1 = vec![0x00, 0x3C, 0x00, 0x40, 0x02, 0x00, 0x00, 0x80];
    q5_1.extend([0x30; 16]);
    let q5_1 = BlockMatrix::from_parts(BlockFormat::Q5_1, 1, BLOCK, q5_1).unwrap();
    let values = Coded::Block(q5_1).decode();
    for (i, value) in values.iter().enumerate() {
        let code = if i < 16 { 0.0 } else { 3.0 } + if i == 1 || i == 31 { 16.0 } else { 0.0 };
        assert_eq!(*value, code + 2.0, "{i}");
    }
}
