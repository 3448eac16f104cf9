//! Matrix products, their packed operands, and the codes of int8 rows.

use kvant_kernels::{Kernels, Level, Matrix, MatrixMut, Outputs, PackedF32, PackedI8, RowsI8};
use kvant_testkit::Random;

use crate::{TINY, U, tables};

/// Around registers, panels and tile heights.
const SIZES: [usize; 14] = [0, 1, 2, 3, 4, 5, 7, 13, 15, 16, 17, 31, 33, 65];
/// Past the blocks of panels and of steps, with a remainder in each direction.
const LARGE: [(usize, usize, usize); 6] =
    [(25, 395, 390), (7, 1570, 100), (13, 33, 1537), (1, 777, 385), (3, 130, 900), (500, 40, 64)];
/// What the gaps between output rows hold before and after.
const GAP: f32 = -7777.0;

fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    let small = SIZES
        .into_iter()
        .flat_map(|m| SIZES.into_iter().flat_map(move |n| SIZES.map(|k| (m, n, k))));
    small.chain(LARGE)
}

/// A strided matrix and what it looks into.
struct Strided {
    data: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl Strided {
    const GAP: usize = 3;

    fn new(rows: usize, cols: usize, random: &mut Random) -> Self {
        Self { data: random.normals(rows * (cols + Self::GAP)), rows, cols }
    }

    fn view(&self) -> Matrix<'_, f32> {
        Matrix::strided(&self.data, self.rows, self.cols, self.cols + Self::GAP)
    }
}

/// Runs a product into a strided output, checks that the gaps are whole, returns the rows.
fn into_strided(m: usize, n: usize, run: impl FnOnce(MatrixMut<'_, f32>)) -> Vec<f32> {
    let stride = n + 5;
    let mut out = vec![GAP; m * stride];
    run(MatrixMut::strided(&mut out, m, n, stride));
    for row in out.chunks_exact(stride) {
        assert!(row[n..].iter().all(|&v| v == GAP), "wrote outside of {m} x {n}");
    }
    out.chunks_exact(stride).flat_map(|row| row[..n].to_vec()).collect()
}

fn pack(w: Matrix<'_, f32>, table: &Kernels) -> PackedF32 {
    let mut packed = PackedF32::default();
    table.pack_f32(w, &mut packed);
    packed
}

/// `(k + 2)·u·(Σ|x·w| + |bias|)`, by the argument of the distances: no order of adding rounds a
/// term more than `k + 2` times.
#[test]
fn the_f32_product_stays_within_the_bound_at_every_shape() {
    let mut random = Random::new(1);
    for (m, n, k) in shapes() {
        let (x, w) = (Strided::new(m, k, &mut random), Strided::new(n, k, &mut random));
        let bias = random.normals(n);
        let bias = (m % 2 == 0).then_some(bias.as_slice());
        for table in tables() {
            let packed = pack(w.view(), table);
            assert_eq!((packed.n(), packed.k()), (n, k));
            let out = into_strided(m, n, |out| table.gemm_f32(x.view(), &packed, bias, out));
            for (at, &got) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let start = bias.map_or(0.0, |bias| f64::from(bias[j]));
                let terms = x.view().row(i).iter().zip(w.view().row(j));
                let (exact, size) = terms.fold((start, start.abs()), |(sum, size), (&x, &w)| {
                    let term = f64::from(x) * f64::from(w);
                    (sum + term, size + term.abs())
                });
                let (error, bound) = ((f64::from(got) - exact).abs(), (k + 2) as f64 * U * size);
                let place = format!("{} {m} x {n} x {k} at {i}, {j}", table.level());
                assert!(error <= bound + TINY, "{place}: {got} for {exact}, bound {bound:e}");
            }
        }
    }
}

/// Integer sums are exact and the scales are applied by one rounded product and one fused step, so
/// every level gives the same bits as the formula.
#[test]
fn the_int8_product_has_the_bits_of_the_formula_at_every_shape() {
    let mut random = Random::new(2);
    for (m, n, k) in shapes() {
        let x = Strided::new(m, k, &mut random);
        let codes: Vec<i8> = (0..n * k).map(|_| random.bits() as i8).collect();
        let scales: Vec<f32> = (0..n).map(|_| random.unit().abs() + 0.01).collect();
        let bias = random.normals(n);
        let bias = (m % 2 == 0).then_some(bias.as_slice());
        let packed = PackedI8::new(Matrix::new(&codes, n, k), &scales);
        for table in tables() {
            let mut rows = RowsI8::default();
            table.quantize_rows(x.view(), &mut rows);
            let out = into_strided(m, n, |out| table.gemm_i8(&rows, &packed, bias, out));
            for (at, &got) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let weights = &codes[j * k..(j + 1) * k];
                let sum: i32 =
                    rows.codes(i).zip(weights).map(|(x, &w)| i32::from(x) * i32::from(w)).sum();
                // The code of zero is no constant; what it adds is rounded on its own.
                let total: i32 = weights.iter().map(|&w| i32::from(w)).sum();
                let away = 128 - i32::from(rows.zero(i));
                let offset = rows.scale(i) * away as f32;
                let start = offset.mul_add(total as f32 * scales[j], bias.map_or(0.0, |b| b[j]));
                let sum = sum - away * total;
                let exact = (sum as f32).mul_add(rows.scale(i) * scales[j], start);
                let place = format!("{} {m} x {n} x {k} at {i}, {j}", table.level());
                assert_eq!(got.to_bits(), exact.to_bits(), "{place}: {got} for {exact}");
            }
        }
    }
}

#[test]
fn the_int8_product_is_exact_for_weights_of_minus_128() {
    for k in [1, 4, 63, 64, 384, 1536, 32768] {
        let x: Vec<f32> = (0..2 * k).map(|i| if i < k { 1.0 } else { -1.0 }).collect();
        let packed = PackedI8::new(Matrix::new(&vec![-128; 17 * k], 17, k), &[1.0; 17]);
        for table in tables() {
            let mut rows = RowsI8::default();
            table.quantize_rows(Matrix::new(&x, 2, k), &mut rows);
            let out = into_strided(2, 17, |out| table.gemm_i8(&rows, &packed, None, out));
            // Codes 255 and 0 of zeros 0 and 255: all bytes at their ends.
            let exact = -128.0 * k as f32;
            let close = |v: f32, exact: f32| (v - exact).abs() <= 1e-6 * exact.abs();
            assert!(out[..17].iter().all(|&v| close(v, exact)), "{} k {k}", table.level());
            assert!(out[17..].iter().all(|&v| close(v, -exact)), "{} k {k}", table.level());
        }
    }
}

/// Every row alone, and every run of rows, against the same rows of the whole product.
#[test]
fn a_row_of_a_product_does_not_depend_on_the_rows_beside_it() {
    const ROWS: usize = 40;
    let mut random = Random::new(3);
    for (n, k) in [(1, 9), (48, 32), (70, 33), (390, 500), (33, 40)] {
        let (x, w) = (Strided::new(ROWS, k, &mut random), Strided::new(n, k, &mut random));
        let (codes, bias) = (vec![3; n * k], random.normals(n));
        let packed_i8 = PackedI8::new(Matrix::new(&codes, n, k), &vec![0.1; n]);
        for table in tables() {
            let packed = pack(w.view(), table);
            let run = |range: std::ops::Range<usize>| {
                let x = x.view().slice(range);
                let (m, mut rows) = (x.rows(), RowsI8::default());
                table.quantize_rows(x, &mut rows);
                let mut out =
                    into_strided(m, n, |out| table.gemm_f32(x, &packed, Some(&bias), out));
                out.extend(into_strided(m, n, |out| {
                    table.gemm_i8(&rows, &packed_i8, Some(&bias), out);
                }));
                out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let whole = run(0..ROWS);
            for from in [0, 1, 11, 29] {
                for m in 1..=ROWS - from {
                    let part = run(from..from + m);
                    for half in 0..2 {
                        let whole = &whole[(half * ROWS + from) * n..][..m * n];
                        let part = &part[half * m * n..][..m * n];
                        assert_eq!(part, whole, "{} {m} rows from {from}", table.level());
                    }
                }
            }
        }
    }
}

/// The product of a unit matrix with packed weights gives the weights back, bit for bit.
#[test]
fn packing_keeps_every_weight() {
    let mut random = Random::new(4);
    let mut reused = PackedF32::default();
    let scalar = Kernels::at(Level::Scalar).expect("always there");
    for (n, k) in SIZES.into_iter().flat_map(|n| SIZES.map(|k| (n, k))) {
        let (w, across) = (Strided::new(n, k, &mut random), Strided::new(k, n, &mut random));
        let unit: Vec<f32> = (0..k * k).map(|i| f32::from(u8::from(i % (k + 1) == 0))).collect();
        let unpack = |packed: &PackedF32| {
            let x = Matrix::new(&unit, k, k);
            into_strided(k, n, |out| scalar.gemm_f32(x, packed, None, out))
        };
        for table in tables() {
            table.pack_f32(w.view(), &mut reused);
            let got = unpack(&reused);
            let right =
                (0..n * k).all(|at| got[at % k * n + at / k] == w.view().row(at / k)[at % k]);
            assert!(right, "{} {n} x {k}", table.level());
        }
        reused.pack_transposed(across.view());
        let got = unpack(&reused);
        let right = (0..n * k).all(|at| got[at] == across.view().row(at / n)[at % n]);
        assert!(right, "transposed {n} x {k}");
    }
}

/// All levels divide and round alike, so codes and scales are the same, not only close.
#[test]
fn the_codes_of_rows_are_those_of_the_specification() {
    let mut random = Random::new(5);
    let scalar = Kernels::at(Level::Scalar).expect("always there");
    let specials = [0.0, -0.0, 1e-45, -1e-38, 1e-31, 3e38, f32::INFINITY, f32::NAN];
    for cols in 0..=LAST_COLS {
        let mut x = Strided::new(specials.len() + 4, cols, &mut random);
        for (row, special) in specials.into_iter().enumerate().filter(|_| cols > 0) {
            x.data[row * (cols + Strided::GAP) + row % cols] = special;
            if row < 5 {
                x.data[row * (cols + Strided::GAP)..][..cols].fill(special);
            }
        }
        let mut expected = RowsI8::default();
        scalar.quantize_rows(x.view(), &mut expected);
        for table in tables() {
            let mut rows = RowsI8::default();
            table.quantize_rows(random_rows(&mut random).view(), &mut rows);
            table.quantize_rows(x.view(), &mut rows);
            assert_eq!((rows.rows(), rows.cols()), (x.rows, cols));
            for i in 0..x.rows {
                let (got, want) = (rows.scale(i), expected.scale(i));
                assert_eq!(got.to_bits(), want.to_bits(), "{} row {i} of {cols}", table.level());
                assert_eq!(rows.zero(i), expected.zero(i), "{} row {i} of {cols}", table.level());
                assert!(rows.codes(i).eq(expected.codes(i)), "{} row {i} of {cols}", table.level());
            }
            // Row by row, in any order, into a buffer that held something else.
            let mut single = RowsI8::default();
            table.quantize_rows(random_rows(&mut random).view(), &mut single);
            single.reset(x.rows, cols);
            for i in (0..x.rows).rev() {
                table.quantize_row(x.view().row(i), i, &mut single);
            }
            for i in 0..x.rows {
                let (got, want) = (single.scale(i), expected.scale(i));
                assert_eq!(got.to_bits(), want.to_bits(), "{} row {i} of {cols}", table.level());
                assert!(single.codes(i).eq(expected.codes(i)), "row {i} of {cols}");
            }
        }
    }
}

const LAST_COLS: usize = 130;

/// Something to leave behind in a reused buffer.
fn random_rows(random: &mut Random) -> Strided {
    let (rows, cols) = (random.below(20), random.below(150));
    Strided::new(rows, cols, random)
}

/// A code is the nearest whole number, so the error is half a scale and the rounding of the value.
#[test]
fn codes_are_within_half_a_scale() {
    let mut random = Random::new(6);
    let x = Strided::new(50, 100, &mut random);
    for table in tables() {
        let mut rows = RowsI8::default();
        table.quantize_rows(x.view(), &mut rows);
        for i in 0..50 {
            let scale = rows.scale(i);
            for (code, &value) in rows.codes(i).zip(x.view().row(i)) {
                let error = (f32::from(code) * scale - value).abs();
                assert!(error <= 0.5001 * scale, "{value} as {code} x {scale}");
            }
        }
    }
}

/// A row that cannot be coded must not pass for one of zeros.
#[test]
fn nan_and_infinity_reach_the_product() {
    let packed = PackedI8::new(Matrix::new(&[1; 20 * 40], 20, 40), &[1.0; 20]);
    for special in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 17, 39] {
            let mut x = vec![1.0; 80];
            x[at] = special;
            for table in tables() {
                let mut rows = RowsI8::default();
                table.quantize_rows(Matrix::new(&x, 2, 40), &mut rows);
                let out = into_strided(2, 20, |out| table.gemm_i8(&rows, &packed, None, out));
                assert!(out[..20].iter().all(|v| v.is_nan()), "{} {special}", table.level());
                assert!(out[20..].iter().all(|v| v.is_finite()), "{}", table.level());
            }
        }
    }
}

/// Writes some outputs.
type Product<'a> = &'a dyn Fn(std::ops::Range<usize>, MatrixMut<'_, f32>);

/// Threads share a product by its outputs: the parts are the columns of the whole, bit for bit.
#[test]
fn parts_of_a_product_are_its_columns() {
    let mut random = Random::new(9);
    for (m, n, k) in [(1, 100, 70), (3, 33, 40), (13, 130, 96)] {
        let (x, w, bias) = (random.normals(m * k), random.normals(n * k), random.normals(n));
        let (x, w) = (Matrix::new(&x, m, k), Matrix::new(&w, n, k));
        let codes: Vec<i8> = w.data().iter().map(|v| (v * 40.0) as i8).collect();
        let int8 = PackedI8::new(Matrix::new(&codes, n, k), &random.normals(n));
        for table in tables() {
            let packed = pack(w, table);
            let mut rows = RowsI8::default();
            table.quantize_rows(x, &mut rows);
            let products: [Product<'_>; 2] = [
                &|of, out| table.gemm_f32(x, Outputs::new(&packed, of), Some(&bias), out),
                &|of, out| table.gemm_i8(&rows, Outputs::new(&int8, of), Some(&bias), out),
            ];
            for product in products {
                let (mut whole, mut cut) = (vec![0.0; m * n], vec![0.0; m * n]);
                product(0..n, MatrixMut::new(&mut whole, m, n));
                let (left, right) = MatrixMut::new(&mut cut, m, n).split_columns(16);
                product(0..16, left);
                product(16..n, right);
                assert_eq!(whole, cut, "{} {m} {n} {k}", table.level());
            }
        }
    }
}

#[test]
#[should_panic(expected = "outputs begin inside a panel")]
fn a_part_that_begins_inside_a_panel_is_refused() {
    let _ = Outputs::new(&PackedF32::new(Matrix::new(&[0.0; 64], 32, 2)), 8..16);
}
