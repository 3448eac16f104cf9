//! Attention heads over strided projections.

use kvant_kernels::{AttentionScratch, Head, Kernels, Matrix, MatrixMut, PackedF32, WidenScales};
use kvant_testkit::Random;

use crate::{U, tables};

/// What the gaps between output rows hold before and after.
const GAP: f32 = -7777.0;

/// Queries, keys and values of one head, side by side in one buffer as projections leave them.
struct Projected {
    data: Vec<f32>,
    queries: usize,
    keys: usize,
    dim: usize,
}

impl Projected {
    fn new(queries: usize, keys: usize, dim: usize, random: &mut Random) -> Self {
        Self { data: random.normals(queries.max(keys) * (3 * dim + 2)), queries, keys, dim }
    }

    fn head(&self) -> Head<'_> {
        let view = |at: usize, rows: usize| {
            let data = self.data.get(at * self.dim..).unwrap_or_default();
            Matrix::strided(data, rows, self.dim, 3 * self.dim + 2)
        };
        let (query, key, value) = (view(0, self.queries), view(1, self.keys), view(2, self.keys));
        Head { query, key, value, scale: 1.0 / (self.dim as f32).sqrt() }
    }

    fn run(&self, head: &Head<'_>, table: &Kernels, scratch: &mut AttentionScratch) -> Vec<f32> {
        let stride = self.dim + 3;
        let mut out = vec![GAP; head.query.rows() * stride];
        let rows = head.query.rows();
        let target = MatrixMut::strided(&mut out, rows, self.dim, stride);
        table.attention(head, scratch, target);
        assert!(out.chunks_exact(stride).all(|row| row[self.dim..].iter().all(|&v| v == GAP)));
        out.chunks_exact(stride).flat_map(|row| row[..self.dim].to_vec()).collect()
    }
}

fn dot(a: &[f32], b: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| term(f64::from(a) * f64::from(b))).sum()
}

#[test]
fn attention_stays_within_the_bound() {
    let mut random = Random::new(1);
    let mut scratch = AttentionScratch::default();
    for (s, t, d) in
        [(1, 1, 32), (5, 5, 32), (20, 20, 32), (60, 130, 32), (100, 33, 16), (49, 7, 5)]
    {
        let projected = Projected::new(s, t, d, &mut random);
        let head = projected.head();
        let scale = f64::from(head.scale);
        for table in tables() {
            let out = projected.run(&head, table, &mut scratch);
            for i in 0..s {
                let query = head.query.row(i);
                let scores = (0..t).map(|j| scale * dot(query, head.key.row(j), |v| v));
                let scores: Vec<f64> = scores.map(f64::exp).collect();
                let largest = (0..t).map(|j| dot(query, head.key.row(j), f64::abs));
                let delta = scale * (d + 2) as f64 * U * largest.fold(0.0, f64::max);
                for c in 0..d {
                    let values = (0..t).map(|j| f64::from(head.value.row(j)[c]));
                    let exact = values.clone().zip(&scores).map(|(v, p)| v * p).sum::<f64>()
                        / scores.iter().sum::<f64>();
                    let size = values.map(f64::abs).fold(0.0, f64::max);
                    let bound = (2.0 * delta + 1e-5 + 2.0 * (t + 2) as f64 * U) * size;
                    let got = f64::from(out[i * d + c]);
                    let error = (got - exact).abs();
                    let place = format!("{} {s} x {t} x {d} at {i}, {c}", table.level());
                    assert!(error <= bound, "{place}: {got} for {exact}, bound {bound:e}");
                }
            }
        }
    }
}

/// Queries are gone through in blocks; the cuts must not show.
#[test]
fn a_query_does_not_depend_on_the_queries_beside_it() {
    let mut random = Random::new(2);
    let mut scratch = AttentionScratch::default();
    let projected = Projected::new(101, 37, 32, &mut random);
    let head = projected.head();
    for table in tables() {
        let whole = projected.run(&head, table, &mut scratch);
        for range in [0..1, 47..49, 3..101, 100..101, 10..10] {
            let part = Head { query: head.query.slice(range.clone()), ..head };
            let part = projected.run(&part, table, &mut scratch);
            let same = part.iter().map(|v| v.to_bits());
            let expected = &whole[range.start * 32..range.end * 32];
            assert!(same.eq(expected.iter().map(|v| v.to_bits())), "{} {range:?}", table.level());
        }
    }
}

#[test]
fn one_key_gives_its_value_and_no_key_gives_nan() {
    let mut random = Random::new(3);
    for table in tables() {
        let mut scratch = AttentionScratch::default();
        let one = Projected::new(3, 1, 32, &mut random);
        let out = one.run(&one.head(), table, &mut scratch);
        assert!(out.chunks_exact(32).all(|row| row == one.head().value.row(0)));
        let none = Projected::new(3, 0, 32, &mut random);
        assert!(none.run(&none.head(), table, &mut scratch).iter().all(|v| v.is_nan()));
    }
}

/// What is stored in f16 or int8 multiplies as if it had been decoded and packed.
#[test]
fn stored_keys_and_values_are_widened_to_what_they_stand_for() {
    let mut random = Random::new(12);
    for (n, k) in [(1_usize, 1), (16, 3), (17, 64), (64, 64), (40, 31)] {
        let panels = n.div_ceil(16);
        let halves: Vec<u16> =
            (0..panels * 16 * k).map(|_| half::f16::from_f32(random.normal()).to_bits()).collect();
        let codes: Vec<i8> = (0..panels * 16 * k).map(|_| random.below(255) as u8 as i8).collect();
        let (outputs, inputs) = (random.normals(panels * 16), random.normals(k));
        let of = |out: usize, input: usize| (out / 16 * k + input) * 16 + out % 16;
        let value = |code: i8, scale: f32| f32::from(code) * scale;
        let decoded: [&dyn Fn(usize, usize) -> f32; 3] = [
            &|out, input| half::f16::from_bits(halves[of(out, input)]).to_f32(),
            &|out, input| value(codes[of(out, input)], outputs[out]),
            &|out, input| value(codes[of(out, input)], inputs[input]),
        ];
        let x = random.normals(3 * k);
        let x = Matrix::new(&x, 3, k);
        for table in tables() {
            for (which, decoded) in decoded.iter().enumerate() {
                let (mut packed, mut expected) = (PackedF32::default(), PackedF32::default());
                let scales = [WidenScales::Outputs(&outputs), WidenScales::Inputs(&inputs)];
                match which {
                    0 => table.widen_f16(&halves, (n, k), &mut packed),
                    _ => table.widen_i8(&codes, scales[which - 1], (n, k), &mut packed),
                }
                let plain: Vec<f32> = (0..n)
                    .flat_map(|out| (0..k).map(move |input| (out, input)))
                    .map(|(out, input)| decoded(out, input))
                    .collect();
                table.pack_f32(Matrix::new(&plain, n, k), &mut expected);
                let (mut got, mut wanted) = (vec![0.0; 3 * n], vec![0.0; 3 * n]);
                table.gemm_f32(x, &packed, None, MatrixMut::new(&mut got, 3, n));
                table.gemm_f32(x, &expected, None, MatrixMut::new(&mut wanted, 3, n));
                assert_eq!(got, wanted, "{which} of {n} x {k} at {}", table.level());
            }
        }
    }
}

/// Multiplying f16 as it is stored gives the bits of widening it first, however many rows.
#[test]
fn stored_halves_are_multiplied_as_if_they_had_been_widened() {
    let mut random = Random::new(13);
    for (n, k) in [(1_usize, 1_usize), (16, 3), (17, 64), (64, 64), (40, 31), (100, 384), (20, 400)]
    {
        let count = n.div_ceil(16) * 16 * k;
        let halves: Vec<u16> =
            (0..count).map(|_| half::f16::from_f32(random.normal()).to_bits()).collect();
        for rows in 1..=9 {
            // Rows that lie apart, as those of a longer product do.
            let (from, to) = (k + 5, n + 3);
            let x = random.normals(rows * from);
            let x = Matrix::strided(&x, rows, k, from);
            for table in tables() {
                let (mut packed, mut memory) = (PackedF32::default(), PackedF32::default());
                let (mut got, mut wanted) = (vec![7.0; rows * to], vec![7.0; rows * to]);
                table.widen_f16(&halves, (n, k), &mut packed);
                table.gemm_f32(x, &packed, None, MatrixMut::strided(&mut wanted, rows, n, to));
                let out = MatrixMut::strided(&mut got, rows, n, to);
                table.gemm_f16(x, &halves, &mut memory, out);
                assert_eq!(got, wanted, "{rows} rows of {n} x {k} at {}", table.level());
            }
        }
    }
}
