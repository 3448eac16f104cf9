//! Speed of every kernel at the sizes of a small encoder: `cargo bench -p kvant-kernels`,
//! or `cargo bench -p kvant-kernels --bench gemm -- avx512` for one level.
//!
//! One thread; each figure is the best of several batches of its own processor time.

mod time;

use std::hint::black_box;

use kvant_kernels::{
    AttentionScratch, Head, Kernels, Level, Matrix, MatrixMut, PackedBF16, PackedF32, PackedI8,
    RowsBF16, RowsI8,
};
use kvant_testkit::Random;
use time::best;

/// Rows, outputs, inputs: projections and the two halves of a feed-forward layer.
const LAYERS: [(usize, usize, usize); 11] = [
    (500, 384, 384),
    (500, 1152, 384),
    (500, 1536, 384),
    (500, 384, 1536),
    (2000, 384, 384),
    (2000, 1152, 384),
    (2000, 1536, 384),
    (2000, 384, 1536),
    (20, 1536, 384),
    (5, 384, 384),
    (1, 384, 384),
];
/// Tokens of a sequence, for one attention head of 32.
const SEQUENCES: [usize; 5] = [5, 20, 64, 128, 256];

/// Nanoseconds of one run.
fn best_ns(run: impl FnMut()) -> f64 {
    best(run) * 1e9
}

fn layers(kernels: &Kernels, random: &mut Random) {
    print!("{:>6} {:>6} {:>6} {:>12} {:>12}", "m", "n", "k", "f32 GFLOP/s", "bf16");
    println!(" {:>12}", "int8 GOP/s");
    for (m, n, k) in LAYERS {
        let (x, w, bias) = (random.normals(m * k), random.normals(n * k), random.normals(n));
        let x = Matrix::new(&x, m, k);
        let mut out = vec![0.0; m * n];
        let packed = PackedF32::new(Matrix::new(&w, n, k));
        let f32_time = best(|| {
            kernels.gemm_f32(x, &packed, Some(&bias), MatrixMut::new(black_box(&mut out), m, n));
        });
        let packed = PackedBF16::new(Matrix::new(&w, n, k));
        let mut rows = RowsBF16::default();
        rows.reset(m, k);
        (0..m).for_each(|i| kernels.round_row(x.row(i), i, &mut rows));
        let bf16_time = best(|| {
            let out = MatrixMut::new(black_box(&mut out), m, n);
            kernels.gemm_bf16(&rows, &packed, Some(&bias), out);
        });
        let codes: Vec<i8> = w.iter().map(|w| (w * 40.0) as i8).collect();
        let packed = PackedI8::new(Matrix::new(&codes, n, k), &vec![0.01; n]);
        let mut rows = RowsI8::default();
        kernels.quantize_rows(x, &mut rows);
        let i8_time = best(|| {
            kernels.gemm_i8(&rows, &packed, Some(&bias), MatrixMut::new(black_box(&mut out), m, n));
        });
        let work = 2e-9 * (m * n * k) as f64;
        print!("{m:>6} {n:>6} {k:>6} {:>12.1} {:>12.1}", work / f32_time, work / bf16_time);
        println!(" {:>12.1}", work / i8_time);
    }
}

fn heads(kernels: &Kernels, random: &mut Random) {
    const DIM: usize = 32;
    print!("{:>6} {:>10} {:>10} {:>10} {:>10}", "s", "pack k", "q.k", "softmax", "p.v");
    println!(" {:>10} {:>10}   us per head", "all in one", "in bf16");
    for s in SEQUENCES {
        let data = random.normals(s * 3 * 384);
        let view = |at: usize| Matrix::strided(&data[at..], s, DIM, 3 * 384);
        let (q, k, v) = (view(0), view(384), view(768));
        let (mut keys, mut values) = (PackedF32::default(), PackedF32::default());
        let mut scores = vec![0.0; s * s];
        let pack = best_ns(|| black_box(&mut keys).pack(k));
        values.pack_transposed(v);
        let qk = best_ns(|| {
            kernels.gemm_f32(q, &keys, None, MatrixMut::new(black_box(&mut scores), s, s));
        });
        let softmax = best_ns(|| {
            black_box(&mut scores).chunks_exact_mut(s).for_each(|row| kernels.softmax(row));
        });
        let mut out = vec![0.0; s * DIM];
        let pv = best_ns(|| {
            values.pack_transposed(v);
            let scores = Matrix::new(&scores, s, s);
            kernels.gemm_f32(scores, &values, None, MatrixMut::new(black_box(&mut out), s, DIM));
        });
        let mut scratch = AttentionScratch::default();
        let head = Head { query: q, key: k, value: v, scale: 0.177 };
        let all = best_ns(|| {
            let out = MatrixMut::new(black_box(&mut out), s, DIM);
            kernels.attention(&head, &mut scratch, out);
        });
        let brain = best_ns(|| {
            let out = MatrixMut::new(black_box(&mut out), s, DIM);
            kernels.attention_bf16(&head, &mut scratch, out);
        });
        let [pack, qk, softmax, pv, all] = [pack, qk, softmax, pv, all].map(|ns| ns / 1e3);
        print!("{s:>6} {pack:>10.2} {qk:>10.2} {softmax:>10.2} {pv:>10.2} {all:>10.2}");
        println!(" {:>10.2}", brain / 1e3);
    }
}

fn distances(kernels: &Kernels, random: &mut Random) {
    const DIM: usize = 384;
    let (a, b) = (random.normals(DIM), random.normals(DIM));
    let codes = |x: &[f32]| x.iter().map(|x| (x * 40.0) as i8).collect::<Vec<_>>();
    let (c, d) = (codes(&a), codes(&b));
    let dot = best_ns(|| _ = black_box(kernels.dot_f32(black_box(&a), black_box(&b))));
    let l2 = best_ns(|| _ = black_box(kernels.l2_f32(black_box(&a), black_box(&b))));
    let l1 = best_ns(|| _ = black_box(kernels.l1_f32(black_box(&a), black_box(&b))));
    let cosine = best_ns(|| _ = black_box(kernels.cosine_f32(black_box(&a), black_box(&b))));
    let dot_i8 = best_ns(|| _ = black_box(kernels.dot_i8(black_box(&c), black_box(&d))));
    print!("ns at d = {DIM}: dot {dot:.1}  l2 {l2:.1}  l1 {l1:.1}  ");
    println!("cosine {cosine:.1}  dot_i8 {dot_i8:.1}");
}

fn rows(kernels: &Kernels, random: &mut Random) {
    const DIM: usize = 384;
    let (x, gain, bias) = (random.normals(4 * DIM), random.normals(DIM), random.normals(DIM));
    let mut row = x.clone();
    let gelu = best_ns(|| {
        row.copy_from_slice(&x);
        kernels.gelu(black_box(&mut row));
    });
    let softmax = best_ns(|| {
        row.copy_from_slice(&x);
        kernels.softmax(black_box(&mut row[..128]));
    });
    let norm = best_ns(|| kernels.layer_norm(black_box(&mut row[..DIM]), &gain, &bias, 1e-12));
    let mut codes = RowsI8::default();
    let quantize =
        best_ns(|| kernels.quantize_rows(Matrix::new(black_box(&x), 4, DIM), &mut codes));
    print!("ns: gelu(1536) {gelu:.0}  softmax(128) {softmax:.0}  layer_norm(384) {norm:.0}  ");
    println!("quantize_rows(4 x 384) {quantize:.0}");
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for level in Level::ALL.into_iter().rev() {
        if !asked.is_empty() && !asked.iter().any(|name| name == level.name()) {
            continue;
        }
        let Some(kernels) = Kernels::at(level) else {
            println!("{level}: not on this CPU");
            continue;
        };
        println!("\n== {level}");
        let mut random = Random::new(1);
        distances(kernels, &mut random);
        rows(kernels, &mut random);
        layers(kernels, &mut random);
        heads(kernels, &mut random);
    }
}
