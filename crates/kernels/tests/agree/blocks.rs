//! Products over weights in blocks, and the codes of their activations.

use kvant_kernels::{
    BlockRow, BlockShape, BlocksI8, CodeLevels, Kernels, Matrix, MatrixMut, Minima, Outputs,
    PackedBlocks, PackedF32, Scaling,
};
use kvant_testkit::Random;

use crate::{U, tables};

/// Around panels, tile heights and blocks.
const ROWS: [usize; 8] = [0, 1, 2, 3, 5, 6, 7, 13];
const OUTPUTS: [usize; 7] = [1, 15, 16, 17, 33, 65, 100];
const INPUTS: [usize; 8] = [1, 15, 16, 17, 32, 33, 96, 131];
/// The table of NF4's kind: no whole numbers.
const CURVE: [f32; 16] = [
    -1.0, -0.7, -0.53, -0.39, -0.28, -0.18, -0.09, 0.0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72,
    1.0,
];
/// Whole numbers, as those of `iq4_nl`.
const WHOLE: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// The largest scale drawn.
const SCALE_MOST: f32 = 0.04;
/// The largest product of a scale and a byte (255 above its level), with a minimum.
const TERM_MOST: f64 = 0.04 * 255.0 + 0.4;

fn formats() -> Vec<(CodeLevels, Minima)> {
    vec![
        (CodeLevels::Four(8), Minima::None),
        (CodeLevels::Four(0), Minima::Some),
        (CodeLevels::Eight(128), Minima::None),
        (CodeLevels::Eight(0), Minima::Some),
        (CodeLevels::Table(CURVE), Minima::None),
        (CodeLevels::Table(WHOLE), Minima::None),
    ]
}

fn weight(shape: BlockShape, format: (CodeLevels, Minima), random: &mut Random) -> PackedBlocks {
    let top = if matches!(format.0, CodeLevels::Eight(_)) { 256 } else { 16 };
    PackedBlocks::new(shape, format.0, format.1, |row, BlockRow { codes, scales, minima }| {
        codes.fill_with(|| random.below(top) as u8);
        scales.fill_with(|| (0.01 * random.normal()).clamp(-SCALE_MOST, SCALE_MOST));
        if row % 7 == 3 {
            scales.fill(0.02);
        }
        if format.1 == Minima::Some {
            minima.fill_with(|| (0.1 * random.normal()).clamp(-0.4, 0.4));
        }
    })
}

/// All shapes for one of the formats, some for the others.
fn cases() -> impl Iterator<Item = (usize, BlockShape, (CodeLevels, Minima))> {
    let shapes = OUTPUTS.into_iter().flat_map(|n| {
        INPUTS.into_iter().flat_map(move |k| [16, 32].map(|block| BlockShape { n, k, block }))
    });
    let cases = shapes.flat_map(|shape| ROWS.map(|m| (m, shape)));
    let cases = cases.flat_map(|(m, shape)| formats().into_iter().map(move |f| (m, shape, f)));
    cases.enumerate().filter(|(at, _)| at % 3 == 0).map(|(_, case)| case)
}

fn product(table: &Kernels, x: &BlocksI8, w: &PackedBlocks, bias: Option<&[f32]>) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.rows() * w.n()];
    table.gemm_blocks(x, w, bias, MatrixMut::new(&mut out, x.rows(), w.n()));
    out
}

#[test]
fn every_level_gives_the_same_bits_and_rows_do_not_see_one_another() {
    let mut random = Random::new(31);
    for (m, shape, format) in cases() {
        let w = weight(shape, format, &mut random);
        let x = random.normals(m * shape.k);
        let bias = random.normals(shape.n);
        let bias = (m % 2 == 0).then_some(bias.as_slice());
        let scaling = [Scaling::Block, Scaling::Row, Scaling::Fixed(0.01)][m % 3];
        let mut expected: Option<(Vec<f32>, Vec<f32>)> = None;
        for table in tables() {
            let mut codes = BlocksI8::default();
            table.quantize_blocks(Matrix::new(&x, m, shape.k), scaling, shape.block, &mut codes);
            let values: Vec<f32> = (0..m).flat_map(|i| codes.values(i)).collect();
            let got = product(table, &codes, &w, bias);
            let (first_values, first) = expected.get_or_insert((values.clone(), got.clone()));
            assert_eq!(first_values, &values, "codes at {} of {m} {shape:?}", table.level());
            assert_eq!(first, &got, "{} of {m} x {shape:?} {format:?}", table.level());
            if shape.n > Outputs::<PackedBlocks>::STEP {
                let mut cut = vec![f32::NAN; m * shape.n];
                let (left, right) = MatrixMut::new(&mut cut, m, shape.n).split_columns(16);
                table.gemm_blocks(&codes, Outputs::new(&w, 0..16), bias, left);
                table.gemm_blocks(&codes, Outputs::new(&w, 16..shape.n), bias, right);
                assert_eq!(cut, got, "parts of {m} x {shape:?}");
            }
            for i in 0..m {
                let row = Matrix::new(&x[i * shape.k..][..shape.k], 1, shape.k);
                table.quantize_blocks(row, scaling, shape.block, &mut codes);
                let alone = product(table, &codes, &w, bias);
                assert_eq!(alone, got[i * shape.n..][..shape.n], "row {i} of {m}");
            }
        }
    }
}

/// Every sum of a block is exact, so with `b` blocks the error is that of `2·b + 4` roundings of
/// terms of level and minimum, and for levels that are no whole numbers that of the rounded table,
/// half of 1/127 of the largest level, 1, times the scale.
#[test]
fn the_integer_product_is_that_of_the_decoded_operands() {
    let mut random = Random::new(32);
    for (m, shape, format) in cases().step_by(7) {
        let w = weight(shape, format, &mut random);
        let x = random.normals(m * shape.k);
        let mut codes = BlocksI8::default();
        let table = kvant_kernels::kernels();
        table.quantize_blocks(Matrix::new(&x, m, shape.k), Scaling::Block, shape.block, &mut codes);
        let got = product(table, &codes, &w, None);
        let curve = format.0 == CodeLevels::Table(CURVE);
        let step = if curve { 0.5 / 127.0 * f64::from(SCALE_MOST) } else { 0.0 };
        let mut weights = vec![0.0; shape.k];
        for n in 0..shape.n {
            w.decode_row(n, &mut weights);
            for i in 0..m {
                let (mut exact, mut size) = (0.0, 0.0);
                for (x, &w) in codes.values(i).zip(&weights) {
                    exact += f64::from(x) * f64::from(w);
                    size += f64::from(x).abs();
                }
                let error = (f64::from(got[i * shape.n + n]) - exact).abs();
                let rounded = (2 * shape.blocks() + 4) as f64 * U * TERM_MOST;
                let bound = size * (rounded + step);
                assert!(
                    error <= bound,
                    "{error} > {bound} at {i}, {n} of {m} {shape:?} {format:?}"
                );
            }
        }
    }
}

#[test]
fn the_f32_product_is_that_of_the_decoded_rows() {
    let mut random = Random::new(33);
    for (m, shape, format) in cases().step_by(3) {
        let w = weight(shape, format, &mut random);
        let x = random.normals(m * shape.k);
        let mut rows = vec![0.0; shape.n * shape.k];
        for (row, out) in rows.chunks_mut(shape.k).enumerate() {
            w.decode_row(row, out);
        }
        let bias = random.normals(shape.n);
        for table in tables() {
            let (x, rows) = (Matrix::new(&x, m, shape.k), Matrix::new(&rows, shape.n, shape.k));
            let (mut dense, mut memory) = (PackedF32::default(), PackedF32::default());
            table.pack_f32(rows, &mut dense);
            let (mut expected, mut got) = (vec![0.0; m * shape.n], vec![0.0; m * shape.n]);
            let bias = Some(bias.as_slice());
            table.gemm_f32(x, &dense, bias, MatrixMut::new(&mut expected, m, shape.n));
            let out = MatrixMut::new(&mut got, m, shape.n);
            table.gemm_blocks_f32(x, &w, bias, &mut memory, out);
            assert_eq!(expected, got, "{} of {m} x {shape:?} {format:?}", table.level());
        }
    }
}

#[test]
fn rows_that_are_not_finite_show() {
    let shape = BlockShape { n: 3, k: 40, block: 32 };
    let mut random = Random::new(34);
    let w = weight(shape, (CodeLevels::Four(8), Minima::Some), &mut random);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for scaling in [Scaling::Block, Scaling::Row, Scaling::Fixed(0.1)] {
            let mut x = random.normals(2 * shape.k);
            x[shape.k + 39] = bad;
            for table in tables() {
                let mut codes = BlocksI8::default();
                table.quantize_blocks(Matrix::new(&x, 2, shape.k), scaling, 32, &mut codes);
                let out = product(table, &codes, &w, None);
                assert!(out[..3].iter().all(|value| value.is_finite()), "{scaling:?}");
                assert!(out[3..].iter().all(|value| !value.is_finite()), "{bad} {scaling:?}");
            }
        }
    }
}

#[test]
fn a_scale_of_a_whole_row_is_exact_and_others_are_kept_to_eleven_bits() {
    let shape = BlockShape { n: 20, k: 70, block: 32 };
    let scale = |row: usize, block: usize| {
        let tiny = 1e-20 * (1.0 + row as f32 * 0.123);
        if row.is_multiple_of(2) { tiny } else { tiny * (1.0 + block as f32 * 0.31) }
    };
    let fill = |row: usize, out: BlockRow<'_>| {
        out.codes.fill(9);
        (0..3).for_each(|block| out.scales[block] = scale(row, block));
    };
    let w = PackedBlocks::new(shape, CodeLevels::Eight(8), Minima::None, fill);
    let mut values = vec![0.0; 70];
    for row in 0..20 {
        w.decode_row(row, &mut values);
        for (column, value) in values.iter().enumerate() {
            let exact = scale(row, column / 32);
            let bound = if row % 2 == 0 { 0.0 } else { exact / 2048.0 };
            assert!((value - exact).abs() <= bound, "row {row}: {value} for {exact}");
        }
    }
}
