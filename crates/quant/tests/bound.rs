//! Encoding and decoding stays within the bound that each format writes down.

use kvant_kernels::Matrix;
use kvant_quant::affine::{Linear, Symmetric};
use kvant_quant::{
    Absmax, BLOCK, BlockFormat, Coded, EncodeError, Fit, Float4, NESTED_BLOCK, Observer, Scheme,
    Span, measure,
};
use kvant_testkit::Random;
use proptest::prelude::*;

/// Largest error that the documentation of the formats allows, per weight of a row.
fn bounds(coded: &Coded, row: usize, weights: &[f32]) -> Vec<f64> {
    match coded {
        Coded::Int8(m) => {
            let scale = f64::from(m.scales()[row]);
            vec![scale * (0.5 + 127.0 * 2f64.powi(-23)); weights.len()]
        }
        Coded::Linear(m) => {
            let first = if m.shape().span == Span::Tensor { 0 } else { row * m.shape().groups() };
            let groups =
                weights.chunks(m.shape().span.weights(weights.len())).zip(&m.steps()[first..]);
            groups
                .flat_map(|(group, &step)| {
                    let bound = f64::from(step) / 2.0 + 2f64.powi(-21) * max_abs(group);
                    vec![bound; group.len()]
                })
                .collect()
        }
        Coded::Scaled(m) => {
            let (shape, cols) = (m.shape(), weights.len());
            let first = if shape.span == Span::Tensor { 0 } else { row * shape.groups() };
            let slack = 0.5 + f64::from(1u32 << shape.bits) * 2f64.powi(-22);
            let scale = |col| m.scales()[first + col / shape.span.weights(cols)];
            (0..cols).map(|col| f64::from(scale(col)) * slack).collect()
        }
        Coded::Float4(m) => {
            let (shape, cols) = (m.shape(), weights.len());
            let half_gap = if shape.format == Float4::Nf4 { 0.152 } else { 1.0 / 6.0 };
            let bound = |index: usize| {
                let scale = f64::from(m.scales()[index / shape.block]);
                // The exact scale is the largest magnitude: what the stored one falls short of it.
                let off = match m.absmax() {
                    Absmax::Plain(_) => 0.0,
                    Absmax::Double { scales, .. } => {
                        let nested = f64::from(scales[index / shape.block / NESTED_BLOCK]);
                        0.00704 * nested + 2f64.powi(-22) * (nested + scale.abs())
                    }
                };
                scale.abs() * (half_gap + 2f64.powi(-22)) + off + f64::from(f32::from_bits(1))
            };
            (row * cols..(row + 1) * cols).map(bound).collect()
        }
        Coded::Codebook(_) => codebook_bounds(coded, row, weights),
        Coded::Block(m) => {
            let bounds = |block: &[f32]| block_bounds(m.format(), block);
            weights.chunks(m.format().weights_per_block()).flat_map(bounds).collect()
        }
    }
}

/// The distance to the nearest level, and never more than the weights that share a codebook are
/// from one another.
fn codebook_bounds(coded: &Coded, row: usize, weights: &[f32]) -> Vec<f64> {
    let grid = coded.grid();
    let mut bounds = Vec::new();
    for (cols, group) in grid.row(row) {
        for weight in &weights[cols] {
            let distance = |code| (f64::from(group.restore(code)) - f64::from(*weight)).abs();
            let least =
                (0..grid.count()).map(|code| distance(code as u8)).fold(f64::INFINITY, f64::min);
            bounds.push(least + 2f64.powi(-22) * f64::from(weight.abs()) + 1e-44);
        }
    }
    bounds
}

/// Codes follow from the f32 scale and minimum, which are then rounded to f16.
fn block_bounds(format: BlockFormat, block: &[f32]) -> Vec<f64> {
    let rounding = |x: f64| (2f64.powi(-11) * x.abs()).max(2f64.powi(-25));
    let largest = block.iter().fold(0.0f32, |m, v| if v.abs() > m.abs() { *v } else { m });
    let low = block.iter().copied().fold(f32::INFINITY, f32::min);
    let high = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (d, levels, least) = match format {
        BlockFormat::Q4_0 => (f64::from(largest).abs() / 8.0, 8.0, 0.0),
        BlockFormat::Q5_0 => (f64::from(largest).abs() / 16.0, 16.0, 0.0),
        BlockFormat::Q8_0 => (f64::from(largest).abs() / 127.0, 127.0, 0.0),
        BlockFormat::IQ4_NL => return table_bounds(largest, block),
        BlockFormat::Q2_K => return ranged_bounds((16, 3.0, 15.0), block),
        BlockFormat::Q4_K => return ranged_bounds((32, 15.0, 63.0), block),
        BlockFormat::Q5_K => return ranged_bounds((32, 31.0, 63.0), block),
        BlockFormat::Q3_K => return signed_bounds((16, 32.0), &whole(-4..=3), block),
        BlockFormat::Q6_K => return signed_bounds((16, 128.0), &whole(-32..=31), block),
        BlockFormat::IQ4_XS => return signed_bounds((32, 32.0), &NONLINEAR, block),
        BlockFormat::MXFP4 => unreachable!("not written"),
        BlockFormat::Q4_1 => (f64::from(high - low) / 15.0, 15.0, f64::from(low)),
        BlockFormat::Q5_1 => (f64::from(high - low) / 31.0, 31.0, f64::from(low)),
    };
    let signed = matches!(format, BlockFormat::Q4_0 | BlockFormat::Q5_0);
    let least = if least == 0.0 { 0.0 } else { rounding(least) + 2f64.powi(-22) * least.abs() };
    let within = |w: &f32| {
        let opposite = signed
            && w.is_sign_negative() != largest.is_sign_negative()
            && f64::from(w.abs()) > (levels - 0.501) * d;
        (if opposite { d } else { d / 2.0 }) * (1.0 + 2f64.powi(-14)) + levels * rounding(d) + least
    };
    block.iter().map(within).collect()
}

const NONLINEAR: [f64; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

fn whole(levels: std::ops::RangeInclusive<i32>) -> Vec<f64> {
    levels.map(f64::from).collect()
}

/// How far `w` is from the nearest of the levels times `scale`.
fn distance(w: f32, scale: f64, levels: &[f64]) -> f64 {
    let to = |level: &f64| (f64::from(w) - level * scale).abs();
    levels.iter().map(to).fold(f64::INFINITY, f64::min)
}

/// The nearest level at the exact scale; the lowest level times what f16 changes of that.
fn table_bounds(largest: f32, block: &[f32]) -> Vec<f64> {
    let d = f64::from(largest) / -127.0;
    let u = (2f64.powi(-11) * d.abs()).max(2f64.powi(-25));
    let within = |w: &f32| distance(*w, d, &NONLINEAR) * (1.0 + 2f64.powi(-14)) + 127.0 * u;
    block.iter().map(within).collect()
}

/// What rounding a number of a block to f16, away from zero among subnormal ones, changes.
fn rounding_up(x: f64) -> f64 {
    (2f64.powi(-11) * x.abs()).max(2f64.powi(-24))
}

/// Scales `s` of groups are whole multiples, up to `furthest`, of an f16: each is off by at most
/// `e`, a step of the factor and the rounding of the f16. So a weight is off by what it is off at
/// the exact scale, and `e` times the lowest level.
fn signed_bounds((group, furthest): (usize, f64), levels: &[f64], block: &[f32]) -> Vec<f64> {
    let scale = |group: &[f32]| {
        let largest = group.iter().fold(0.0f32, |m, v| if v.abs() > m.abs() { *v } else { m });
        f64::from(largest) / levels[0]
    };
    let scales: Vec<f64> = block.chunks(group).map(scale).collect();
    let d = scales.iter().fold(0.0f64, |m, s| m.max(s.abs())) / furthest;
    let e = d + (furthest + 1.0) * rounding_up(d);
    let bounds = |(index, w): (usize, &f32)| {
        let exact = distance(*w, scales[index / group], levels);
        exact * (1.0 + 2f64.powi(-14)) - levels[0] * e
    };
    block.iter().enumerate().map(bounds).collect()
}

/// As [`signed_bounds`], with offsets, which are multiples of a second f16.
fn ranged_bounds((group, top, furthest): (usize, f64, f64), block: &[f32]) -> Vec<f64> {
    let line = |group: &[f32]| {
        let low = group.iter().copied().fold(0.0, f32::min);
        let high = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        ((f64::from(high) - f64::from(low)) / top, f64::from(low))
    };
    let lines: Vec<(f64, f64)> = block.chunks(group).map(line).collect();
    let d = lines.iter().fold(0.0f64, |m, line| m.max(line.0)) / furthest;
    let m = lines.iter().fold(0.0f64, |m, line| m.max(-line.1)) / furthest;
    let off = |x: f64| if x == 0.0 { 0.0 } else { x / 2.0 + (furthest + 1.0) * rounding_up(x) };
    let bound = |(index, _): (usize, &f32)| {
        (lines[index / group].0 / 2.0) * (1.0 + 2f64.powi(-14))
            + (top * off(d) + off(m)) * (1.0 + 2f64.powi(-14))
    };
    block.iter().enumerate().map(bound).collect()
}

fn max_abs(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |max, v| f64::from(v.abs()).max(max))
}

fn check(scheme: Scheme, weights: &[f32], rows: usize, cols: usize) -> Result<Coded, EncodeError> {
    let coded = scheme.encode(Matrix::new(weights, rows, cols))?;
    assert_eq!((coded.rows(), coded.cols(), coded.scheme()), (rows, cols, scheme));
    let restored = coded.decode();
    for row in 0..rows {
        let weights = &weights[row * cols..(row + 1) * cols];
        let bounds = bounds(&coded, row, weights);
        assert_eq!(bounds.len(), cols);
        for (col, (w, bound)) in weights.iter().zip(bounds).enumerate() {
            let back = restored[row * cols + col];
            let error = (f64::from(*w) - f64::from(back)).abs();
            assert!(error <= bound, "{scheme} [{row}, {col}]: {w} came back {back}, {bound}");
        }
    }
    assert_eq!(coded, scheme.encode(Matrix::new(weights, rows, cols))?, "deterministic");
    Ok(coded)
}

/// Rows of very different sizes, with zeros, constants and offsets among them.
fn matrix(seed: u64, rows: usize, cols: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut out = Vec::with_capacity(rows * cols);
    for _ in 0..rows {
        let size = 10f32.powi(random.below(12) as i32 - 8);
        let offset = if random.below(3) == 0 { random.normal() * size } else { 0.0 };
        let constant = random.below(8) == 0;
        let fixed = random.normal() * size;
        for _ in 0..cols {
            let zero = random.below(10) == 0;
            let value = if constant { fixed } else { random.normal() * size + offset };
            out.push(if zero && !constant { 0.0 } else { value });
        }
    }
    out
}

/// Every scheme, and every span of those that have several.
fn schemes() -> Vec<Scheme> {
    let names = "sym5:tensor sym4:channel sym8:g48 sym2:tensor affine6:tensor affine4:channel \
                 affine3:g5 \
                 affine8:channel nf4:g48 nf4dq:g5 kmeans3:tensor kmeans2:channel quantile4:book7 \
                 kmeans4:g9";
    let scheme = |name: &str| match name.parse() {
        Ok(scheme) => scheme,
        Err(error) => unreachable!("{error}"),
    };
    Scheme::ALL.into_iter().chain(names.split_whitespace().map(scheme)).collect()
}

/// `linearN` per row at 8 bits, else in groups of 64.
fn linear(bits: u8) -> Scheme {
    let span = if bits == 8 { Span::Channel } else { Span::Group(64) };
    Scheme::Linear { bits, span }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_scheme_keeps_its_bound(seed: u64, rows in 1usize..5, blocks in 1usize..6) {
        let weights = matrix(seed, rows, blocks * 256);
        for scheme in schemes() {
            let cols = blocks * scheme.whole_cols().max(BLOCK);
            check(scheme, &weights[..rows * cols], rows, cols).unwrap();
        }
    }

    #[test]
    fn rows_of_any_length_keep_it_too(seed: u64, rows in 0usize..4, cols in 0usize..150) {
        let weights = matrix(seed, rows, cols);
        for scheme in schemes() {
            if !matches!(scheme, Scheme::Block(_)) {
                check(scheme, &weights, rows, cols).unwrap();
            }
        }
    }

    #[test]
    fn any_number_of_f32_keeps_it_or_is_refused(
        weights in prop::collection::vec(
            prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 256)
    ) {
        for scheme in schemes() {
            let cols = scheme.whole_cols().max(BLOCK);
            match scheme.encode(Matrix::new(&weights[..cols], 1, cols)) {
                Ok(_) => { check(scheme, &weights[..cols], 1, cols).unwrap(); }
                Err(EncodeError::Range { magnitude, limit, .. }) => prop_assert!(magnitude > limit),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn the_smallest_numbers_keep_it(bits in prop::collection::vec(0u32..600, 256)) {
        let weights: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).collect();
        for scheme in schemes() {
            let cols = scheme.whole_cols().max(BLOCK);
            check(scheme, &weights[..cols], 1, cols).unwrap();
        }
    }

    #[test]
    fn steps_are_no_wider_than_they_must_be(seed: u64, cols in 1usize..150) {
        let weights = matrix(seed, 1, cols);
        for bits in 2..=8u8 {
            let coded = check(linear(bits), &weights, 1, cols).unwrap();
            let Coded::Linear(matrix) = coded else { unreachable!("linear") };
            let groups = weights.chunks(matrix.shape().span.weights(cols));
            for (group, step) in groups.zip(matrix.steps()) {
                let low = group.iter().copied().fold(f32::INFINITY, f32::min);
                let high = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exact = f64::from(Linear { min: low, max: high, bits }.step());
                let levels = f64::from((1u32 << bits) - 1);
                let (ulp, tiny) = (2f64.powi(-10), 2f64.powi(-24));
                let room = (ulp * f64::from(low.abs())).max(tiny) / levels;
                let most = if bits == 8 { exact } else { (exact + room) * (1.0 + ulp) + tiny };
                prop_assert!(f64::from(*step) <= most * (1.0 + 1e-6), "{step} {most}");
            }
        }
    }

    /// The matrices apply the formulas of `affine`, up to the rounding of their stored numbers.
    #[test]
    fn codes_are_those_of_the_formulas(seed: u64, cols in 2usize..300) {
        let mut random = Random::new(seed);
        let weights = random.normals(cols);
        let int8 = check(Scheme::Int8, &weights, 1, cols).unwrap();
        let Coded::Int8(int8) = int8 else { unreachable!() };
        let formula = Symmetric { max_abs: max_abs(&weights) as f32, bits: 8 };
        for (w, code) in weights.iter().zip(int8.codes()) {
            let place = formula.alpha() * f64::from(*w);
            prop_assert!((place - f64::from(*code)).abs() <= 0.5 + 1e-4);
            prop_assert!((formula.code(*w) - i32::from(*code)).abs() <= 1);
        }
        let coded = check(linear(8), &weights, 1, cols).unwrap();
        let Coded::Linear(linear) = coded else { unreachable!() };
        let min = linear.mins()[0];
        let max = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let formula = Linear { min, max, bits: 8 };
        for (w, code) in weights.iter().zip(linear.codes()) {
            let place = (f64::from(*w) - f64::from(min)) / f64::from(formula.step());
            prop_assert!((place - f64::from(*code)).abs() <= 0.5 + 1e-4);
            prop_assert!(formula.code(*w).abs_diff(u32::from(*code)) <= 1);
        }
    }
}

#[test]
fn constants_and_zeros_come_back_exactly() {
    for scheme in Scheme::ALL {
        for value in [0.0f32, 1.0, -0.5, 0.375] {
            let weights = vec![value; 3 * 256];
            let coded = check(scheme, &weights, 3, 256).unwrap();
            let back = coded.decode();
            let ranged = [BlockFormat::Q4_1, BlockFormat::Q5_1].map(Scheme::Block);
            let ranged = ranged.contains(&scheme) || matches!(scheme, Scheme::Linear { .. });
            if ranged || value == 0.0 {
                assert_eq!(back, weights, "{scheme} {value}");
            } else {
                assert!(measure(&weights, &back).relative < 2e-3, "{scheme} {value}");
            }
        }
    }
    // A constant that f16 does not hold is exact in linear8, and within one f16 ulp below.
    let weights = [0.1f32; 65];
    assert_eq!(check(linear(8), &weights, 1, 65).unwrap().decode(), weights);
    let back = check(linear(2), &weights, 1, 65).unwrap().decode();
    assert!(measure(&weights, &back).max_abs < 0.1 * 2f64.powi(-10));
}

#[test]
fn single_columns_and_empty_matrices() {
    let others = [
        "nf4",
        "fp4dq",
        "linear4:tensor",
        "sym4:channel",
        "sym8:tensor",
        "affine3",
        "affine4:tensor",
    ];
    for scheme in others {
        let scheme: Scheme = scheme.parse().unwrap();
        check(scheme, &[], 0, 7).unwrap();
        assert_eq!(check(scheme, &[], 7, 0).unwrap().bits_per_weight(), 0.0);
        check(scheme, &[0.25, -3.0, 0.0, 1e-20, 2048.0], 5, 1).unwrap();
        check(scheme, &[0.25, -3.0, 0.0, 1e-20, 2048.0], 1, 5).unwrap();
    }
    for scheme in [Scheme::Int8, linear(3), linear(8)] {
        let weights = [0.25f32, -3.0, 0.0, 1e-20, 2048.0];
        let back = check(scheme, &weights, 5, 1).unwrap().decode();
        assert!(measure(&weights, &back).relative < 1e-6, "{scheme} {back:?}");
        check(scheme, &[], 0, 7).unwrap();
        assert_eq!(check(scheme, &[], 7, 0).unwrap().bits_per_weight(), 0.0);
    }
}

#[test]
fn sizes_are_what_the_formats_say() {
    let weights = Random::new(1).normals(2 * 256);
    let linear = [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let sym = linear.map(|bits| bits - 0.5);
    let affine = [2.5625, 3.625, 4.625, 5.6875, 6.6875, 7.75, 8.75]; // whole bytes of zero points
    let blocks = [4.5, 5.0, 5.5, 6.0, 8.5, 4.5, 2.625, 3.4375, 4.5, 5.5, 6.5625, 4.25];
    let dq = 4.0 + (8.0 + 4.0 + 4.0) * 8.0 / 512.0;
    let tables = [4.5, dq, 4.5, dq];
    let book = |bits: u8| f64::from(bits) + 0.5 + 16.0 * f64::from(1u32 << bits) / 512.0;
    let books = [2, 3, 4, 5, 6, 7, 8].map(book);
    let integers = [8.25].into_iter().chain(linear).chain(sym).chain(affine);
    let expected: Vec<f64> =
        integers.chain(tables).chain(books).chain(books).chain(blocks).collect();
    assert_eq!(expected.len(), Scheme::ALL.len());
    for (scheme, bits) in Scheme::ALL.into_iter().zip(expected) {
        let cols = scheme.whole_cols().max(128);
        let coded = check(scheme, &weights, 512 / cols, cols).unwrap();
        assert_eq!(coded.bits_per_weight(), bits, "{scheme}");
        assert_eq!(coded.size_bytes() as f64, bits * 512.0 / 8.0);
    }
}

#[test]
fn more_bits_lose_less() {
    let weights = Random::new(3).normals(16 * 256);
    let mut last = f64::INFINITY;
    for bits in 2..=8 {
        let coded = check(linear(bits), &weights, 16, 256).unwrap();
        let now = measure(&weights, &coded.decode()).relative;
        assert!(now < last * 0.75, "{bits} bits: {now} after {last}");
        last = now;
    }
}

#[test]
fn a_strided_view_encodes_as_its_dense_copy() {
    let wide = Random::new(5).normals(4 * 300);
    let dense: Vec<f32> = wide.chunks(300).flat_map(|row| row[..256].to_vec()).collect();
    for scheme in schemes() {
        let coded = scheme.encode(Matrix::strided(&wide, 4, 256, 300)).unwrap();
        assert_eq!(coded, check(scheme, &dense, 4, 256).unwrap(), "{scheme}");
    }
}

#[test]
fn rows_that_are_no_whole_blocks_name_the_remedy() {
    for scheme in [Scheme::Block(BlockFormat::Q4_0), Scheme::Block(BlockFormat::Q8_0)] {
        for cols in [1, 31, 33] {
            let error = scheme.encode(Matrix::new(&vec![1.0; cols], 1, cols)).unwrap_err();
            assert_eq!(error, EncodeError::BlockCols { scheme, block: 32, cols });
            let text = error.to_string();
            assert!(text.contains(&scheme.to_string()) && text.contains("int8"), "{text}");
        }
    }
    let scheme = Scheme::Block(BlockFormat::Q4_K);
    let error = scheme.encode(Matrix::new(&[1.0; 384], 1, 384)).unwrap_err();
    assert_eq!(error, EncodeError::BlockCols { scheme, block: 256, cols: 384 });
    assert!(error.to_string().contains("--fallback"), "{error}");
}

#[test]
fn formats_that_are_only_read_say_so() {
    let scheme: Scheme = "mxfp4".parse().unwrap();
    for fit in [Observer::MinMax, Observer::Mse] {
        let fit = Fit { observer: fit, importance: None };
        let error = scheme.fit(Matrix::new(&[1.0; 32], 1, 32), &fit).unwrap_err();
        assert_eq!(error, EncodeError::ReadOnly { scheme });
        assert!(error.to_string().contains("only read"), "{error}");
    }
}

#[test]
fn magnitudes_past_the_scale_are_refused() {
    let limits = [
        (Scheme::Int8, f32::MAX / 2.0),
        (linear(7), 65504.0),
        (linear(8), f32::MAX / 2.0),
        ("sym4".parse().unwrap(), 65504.0 * 7.0),
        ("affine4".parse().unwrap(), 65504.0 * 15.0),
        ("sym2:tensor".parse().unwrap(), f32::MAX / 2.0),
        ("nf4".parse().unwrap(), f32::MAX / 2.0),
        ("fp4dq".parse().unwrap(), f32::MAX / 2.0),
        ("kmeans4".parse().unwrap(), 65504.0),
        ("quantile3:tensor".parse().unwrap(), 65504.0),
        ("affine8:channel".parse().unwrap(), f32::MAX / 2.0),
        (Scheme::Block(BlockFormat::Q4_0), 65504.0 * 8.0),
        (Scheme::Block(BlockFormat::Q8_0), 65504.0 * 127.0),
        (Scheme::Block(BlockFormat::Q2_K), 65504.0 * 15.0),
        (Scheme::Block(BlockFormat::Q4_K), 65504.0 * 63.0),
        (Scheme::Block(BlockFormat::Q6_K), 65504.0 * 4096.0),
        (Scheme::Block(BlockFormat::IQ4_XS), 65504.0 * 4064.0),
    ];
    for (scheme, limit) in limits {
        let mut weights = vec![0.0f32; 256];
        weights[3] = limit;
        check(scheme, &weights, 1, 256).unwrap();
        weights[3] = limit.next_up();
        let error = scheme.encode(Matrix::new(&weights, 1, 256)).unwrap_err();
        assert!(matches!(error, EncodeError::Range { row: 0, .. }), "{error}");
        assert!(error.to_string().contains("int8 reaches furthest"), "{error}");
    }
}

/// Double quantization of the scales costs 0.127 bits per weight instead of 0.5.
#[test]
fn doubly_quantized_scales_take_an_eighth_of_a_bit() {
    let weights = Random::new(8).normals(256 * 256);
    let coded = check("nf4dq".parse().unwrap(), &weights, 256, 256).unwrap();
    assert!((coded.bits_per_weight() - 4.127).abs() < 0.0006, "{}", coded.bits_per_weight());
    let (double, plain) = (coded.decode(), "nf4".parse::<Scheme>().unwrap());
    let plain = check(plain, &weights, 256, 256).unwrap().decode();
    let [double, plain] = [double, plain].map(|back| measure(&weights, &back).relative);
    assert!(double < plain * 1.01, "{double} {plain}");
}

/// No restored weight lies outside the weights that its codebook was fitted to.
#[test]
fn levels_lie_among_the_weights() {
    let weights = matrix(4, 6, 96);
    for name in ["kmeans4:tensor", "quantile3:channel", "kmeans2:book32", "quantile8:book32"] {
        let coded = check(name.parse().unwrap(), &weights, 6, 96).unwrap();
        let Coded::Codebook(book) = &coded else { unreachable!("a codebook") };
        let len = match book.shape().books.span() {
            Span::Tensor => weights.len(),
            span @ (Span::Channel | Span::Group(_)) => span.weights(96),
        };
        for (part, back) in weights.chunks(len).zip(coded.decode().chunks(len)) {
            let room = (max_abs(part) * 2f64.powi(-10)).max(2f64.powi(-24)) as f32;
            let low = part.iter().copied().fold(f32::INFINITY, f32::min) - room;
            let high = part.iter().copied().fold(f32::NEG_INFINITY, f32::max) + room;
            assert!(back.iter().all(|w| (low..=high).contains(w)), "{name}");
        }
    }
}

/// As many levels as there are different weights lose nothing but the rounding to f16.
#[test]
fn few_different_weights_are_kept() {
    let weights: Vec<f32> = (0..256).map(|i| [0.5, -0.25, 3.0, 0.125][i % 4]).collect();
    for name in ["kmeans2:tensor", "kmeans2:channel", "kmeans3:book16", "kmeans2"] {
        let back = check(name.parse().unwrap(), &weights, 4, 64).unwrap().decode();
        assert!(measure(&weights, &back).relative < 1e-3, "{name}");
    }
}
