//! Rounding to bf16, products and attention of what was rounded.

use kvant_kernels::{
    AttentionScratch, Head, Kernels, Matrix, MatrixMut, Outputs, PackedBF16, RowsBF16,
};
use kvant_testkit::Random;

use crate::{U, tables};

/// Smaller ones may count as zero.
const NORMAL: f64 = f32::MIN_POSITIVE as f64;
/// Around registers, panels, pairs and tile heights.
const SIZES: [usize; 12] = [0, 1, 2, 3, 4, 7, 13, 16, 17, 31, 33, 65];
const LARGE: [(usize, usize, usize); 5] =
    [(25, 395, 390), (7, 1570, 100), (13, 33, 1537), (3, 130, 900), (500, 40, 64)];

fn rounded(x: Matrix<'_, f32>, table: &Kernels) -> RowsBF16 {
    let mut rows = RowsBF16::default();
    rows.reset(x.rows(), x.cols());
    for m in 0..x.rows() {
        table.round_row(x.row(m), m, &mut rows);
    }
    rows
}

/// What the half package makes of it, but for numbers that are smaller than normal ones.
fn expected(value: f32) -> f32 {
    if value.is_subnormal() {
        return 0.0_f32.copysign(value);
    }
    half::bf16::from_f32(value).to_f32()
}

#[test]
fn values_round_to_the_nearest_bf16_at_every_level() {
    let mut random = Random::new(1);
    let special = [
        0.0,
        -0.0,
        1.0,
        f32::MIN_POSITIVE,
        -1e-40,
        1e-45,
        f32::MAX,
        -f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1.003_906_2,
        1.011_718_8,
        f32::from_bits(0x3F80_8000),
        f32::from_bits(0x3F81_8000),
        f32::from_bits(0x3F80_8001),
        f32::from_bits(0x007F_FFFF),
    ];
    for len in 0..=100 {
        let mut values: Vec<f32> = (0..len).map(|_| f32::from_bits(random.bits() as u32)).collect();
        values.iter_mut().zip(special).for_each(|(value, special)| *value = special);
        values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 7.0);
        values.rotate_left(len / 3);
        for table in tables() {
            let rows = rounded(Matrix::new(&values, 1, len), table);
            let got: Vec<u32> = rows.values(0).map(f32::to_bits).collect();
            let wanted: Vec<u32> = values.iter().map(|&v| expected(v).to_bits()).collect();
            assert_eq!(got, wanted, "{} of {len}", table.level());
        }
    }
}

#[test]
fn nan_stays_nan() {
    for bits in [0x7F80_0001_u32, 0x7FC0_0000, 0xFFFF_FFFF, 0x7FFF_8000, 0xFF80_0001] {
        for table in tables() {
            let values = [f32::from_bits(bits); 40];
            let rows = rounded(Matrix::new(&values, 1, 40), table);
            assert!(rows.values(0).all(f32::is_nan), "{} {bits:x}", table.level());
        }
    }
}

/// As written in `Kernels::gemm_bf16`; and a part of the outputs has the bits of the whole.
#[test]
fn the_product_stays_within_the_bound_at_every_shape() {
    let mut random = Random::new(2);
    let small = SIZES.into_iter();
    let small = small.flat_map(|m| SIZES.into_iter().flat_map(move |n| SIZES.map(|k| (m, n, k))));
    for (m, n, k) in small.chain(LARGE) {
        let (x, w) = (random.normals(m * (k + 3)), random.normals(n * (k + 1)));
        let (x, w) = (Matrix::strided(&x, m, k, k + 3), Matrix::strided(&w, n, k, k + 1));
        let bias = random.normals(n);
        let bias = (m % 2 == 0).then_some(bias.as_slice());
        for table in tables() {
            let rows = rounded(x, table);
            let mut packed = PackedBF16::default();
            table.pack_bf16(w, &mut packed);
            assert_eq!((packed.n(), packed.k()), (n, k));
            let mut out = vec![f32::NAN; m * n];
            table.gemm_bf16(&rows, &packed, bias, MatrixMut::new(&mut out, m, n));
            for (at, &got) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let start = bias.map_or(0.0, |bias| f64::from(bias[j]));
                let weights = w.row(j).iter().map(|&w| f64::from(expected(w)));
                let terms = rows.values(i).map(f64::from).zip(weights);
                let (exact, size) = terms.fold((start, start.abs()), |(sum, size), (x, w)| {
                    (sum + x * w, size + (x * w).abs())
                });
                let bound = (k + 3) as f64 * U * size + k as f64 * NORMAL;
                let error = (f64::from(got) - exact).abs();
                let place = format!("{} {m} x {n} x {k} at {i}, {j}", table.level());
                assert!(error <= bound, "{place}: {got} for {exact}, bound {bound:e}");
            }
            if n > 33 && m > 0 {
                let mut part = vec![f32::NAN; m * (n - 32)];
                let of = Outputs::new(&packed, 32..n);
                table.gemm_bf16(&rows, of, bias, MatrixMut::new(&mut part, m, n - 32));
                let whole = out.chunks_exact(n).flat_map(|row| row[32..].iter());
                assert!(whole.eq(part.iter()), "{} {m} x {n} x {k}", table.level());
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let mut random = Random::new(3);
    let (m, n, k) = (29, 50, 70);
    let (x, w) = (random.normals(m * k), random.normals(n * k));
    let packed = PackedBF16::new(Matrix::new(&w, n, k));
    for table in tables() {
        let mut whole = vec![0.0; m * n];
        let rows = rounded(Matrix::new(&x, m, k), table);
        table.gemm_bf16(&rows, &packed, None, MatrixMut::new(&mut whole, m, n));
        for (x, whole) in x.chunks_exact(k).zip(whole.chunks_exact(n)) {
            let mut alone = vec![0.0; n];
            let row = rounded(Matrix::new(x, 1, k), table);
            table.gemm_bf16(&row, &packed, None, MatrixMut::new(&mut alone, 1, n));
            assert_eq!(alone, whole, "{}", table.level());
        }
    }
}

#[test]
fn a_transposed_weight_is_packed_alike() {
    let mut random = Random::new(4);
    for (n, k) in [(1, 1), (16, 2), (17, 3), (32, 33), (40, 256), (5, 0), (0, 5)] {
        let w = random.normals(n * k);
        let transposed: Vec<f32> =
            (0..k).flat_map(|j| (0..n).map(move |i| (i, j))).map(|(i, j)| w[i * k + j]).collect();
        let x = random.normals(2 * k);
        for table in tables() {
            let rows = rounded(Matrix::new(&x, 2, k), table);
            let mut out = [vec![0.0; 2 * n], vec![1.0; 2 * n]];
            for (which, out) in out.iter_mut().enumerate() {
                let mut packed = PackedBF16::default();
                match which {
                    0 => table.pack_bf16(Matrix::new(&w, n, k), &mut packed),
                    _ => table.pack_bf16_transposed(Matrix::new(&transposed, k, n), &mut packed),
                }
                assert_eq!((packed.n(), packed.k()), (n, k));
                table.gemm_bf16(&rows, &packed, None, MatrixMut::new(out, 2, n));
            }
            assert_eq!(out[0], out[1], "{} {n} x {k}", table.level());
        }
    }
}

fn dot(a: &[f32], b: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| term(f64::from(a) * f64::from(b))).sum()
}

/// As written in `Kernels::attention_bf16`; and a query does not depend on those beside it.
#[test]
fn attention_stays_within_the_bound() {
    let mut random = Random::new(5);
    let mut scratch = AttentionScratch::default();
    for (s, t, d) in [(1, 1, 32), (5, 5, 32), (20, 20, 32), (60, 131, 32), (49, 7, 5), (3, 0, 4)] {
        let data = random.normals(s.max(t) * (3 * d + 2));
        let view = |at: usize, rows| Matrix::strided(&data[at * d..], rows, d, 3 * d + 2);
        let scale = 1.0 / (d as f32).sqrt();
        let head = Head { query: view(0, s), key: view(1, t), value: view(2, t), scale };
        let scale = f64::from(scale);
        for table in tables() {
            let mut out = vec![0.0; s * d];
            table.attention_bf16(&head, &mut scratch, MatrixMut::new(&mut out, s, d));
            assert!(t > 0 || out.iter().all(|v| v.is_nan()), "{}", table.level());
            for i in 0..if t > 0 { s } else { 0 } {
                let query = head.query.row(i);
                let scores = (0..t).map(|j| scale * dot(query, head.key.row(j), |v| v));
                let scores: Vec<f64> = scores.map(f64::exp).collect();
                let largest = (0..t).map(|j| dot(query, head.key.row(j), f64::abs));
                let delta = (d + 2) as f64 * U + 0.004;
                let delta = scale * delta * largest.fold(0.0, f64::max);
                for c in 0..d {
                    let values = (0..t).map(|j| f64::from(head.value.row(j)[c]));
                    let exact = values.clone().zip(&scores).map(|(v, p)| v * p).sum::<f64>()
                        / scores.iter().sum::<f64>();
                    let size = values.map(f64::abs).fold(0.0, f64::max);
                    let bound = (2.0 * delta).exp_m1() + 0.0045 + 2.0 * (t + 2) as f64 * U;
                    let got = f64::from(out[i * d + c]);
                    let place = format!("{} {s} x {t} x {d} at {i}, {c}", table.level());
                    assert!((got - exact).abs() <= bound * size, "{place}: {got} for {exact}");
                }
                let mut alone = vec![0.0; d];
                let one = Head { query: head.query.slice(i..i + 1), ..head };
                table.attention_bf16(&one, &mut scratch, MatrixMut::new(&mut alone, 1, d));
                assert_eq!(alone, out[i * d..][..d], "{}", table.level());
            }
        }
    }
}
