//! Picked rows: nanoseconds a row where they are in cache and scattered, and where they stream.
//!
//! `cargo bench -p kvant-kernels --bench pick -- [dim 384]`, one thread.

mod time;

use kvant_kernels::{
    DenseQuery, DenseWidth, Half, Kernels, Level, PackedQuery, Packing, Picked, PlaneQuery, Sum,
};
use kvant_testkit::Random;

/// Rows of a slab that stays in L2, and bytes of one that does not fit in any cache.
const NEAR_ROWS: usize = 256;
const FAR_BYTES: usize = 128 << 20;
/// Rows of a list, as a graph or a scan asks for them.
const LIST: usize = 64;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let dim: usize = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(384);
    let mut random = Random::new(1);
    let slab: Vec<u8> = (0..FAR_BYTES).map(|at| ((at * 131) >> 3) as u8).collect();
    let floats: Vec<f32> = (0..FAR_BYTES / 4).map(|at| (at % 1000) as f32).collect();
    let query = random.normals(dim);
    let codes: Vec<i8> = query.iter().map(|q| (q * 30.0) as i8).collect();
    let bytes: Vec<u8> = codes.iter().map(|&q| q as u8).collect();
    let (four, two) = [Packing::Four, Packing::Two]
        .map(|packing| PackedQuery::new(&codes, packing, &[7; 16]))
        .into();
    let planes = PlaneQuery::new(&codes);
    for kernels in Level::ALL.into_iter().filter_map(Kernels::at).skip(1) {
        println!("{}, dim {dim}: ns a row in cache, streamed, GB/s streamed", kernels.level());
        let mut out = [0.0; LIST];
        let mut sums = [0; LIST];
        show("f32", 4 * dim, &mut |rows| {
            kernels.pick_f32(Sum::Square, Picked::new(&floats, dim, rows), &query, &mut out);
        });
        show("f16", 2 * dim, &mut |rows| {
            let rows = Picked::new(&slab, 2 * dim, rows);
            kernels.pick_half(Half::F16, Sum::Square, rows, &query, &mut out);
        });
        show("int8", dim, &mut |rows| {
            kernels.pick_u8(Picked::new(&slab, dim, rows), &codes, &mut sums);
        });
        show("4 bits", dim / 2, &mut |rows| {
            kernels.pick_packed(Picked::new(&slab, dim / 2, rows), &four, &mut sums);
        });
        for width in DenseWidth::ALL {
            let (query, stride) = (DenseQuery::new(&codes, width, &[7; 8]), width.bytes(dim));
            show(&format!("{} bits", width.bits()), stride, &mut |rows| {
                kernels.pick_dense(Picked::new(&slab, stride, rows), &query, &mut sums);
            });
        }
        show("2 bits", dim / 4, &mut |rows| {
            kernels.pick_packed(Picked::new(&slab, dim / 4, rows), &two, &mut sums);
        });
        show("1 bit by 4", dim / 8, &mut |rows| {
            kernels.pick_planes(Picked::new(&slab, dim / 8, rows), &planes, &mut sums);
        });
        let mut pairs = [[0; 2]; LIST];
        show("1 bit by 1", dim / 8, &mut |rows| {
            kernels.pick_bits(Picked::new(&slab, dim / 8, rows), &bytes[..dim / 8], &mut pairs);
        });
    }
}

fn show(name: &str, row_bytes: usize, pick: &mut dyn FnMut(&[u32])) {
    let mut random = Random::new(2);
    let near: Vec<u32> = (0..LIST).map(|_| random.below(NEAR_ROWS) as u32).collect();
    let cached = time::best(|| pick(&near)) / LIST as f64;
    let last = (FAR_BYTES / row_bytes - LIST) as u32;
    let mut from = 0;
    let mut list = near;
    let streamed = time::best(|| {
        list.iter_mut().zip(from..).for_each(|(row, next)| *row = next);
        from = if from + 2 * LIST as u32 > last { 0 } else { from + LIST as u32 };
        pick(&list);
    });
    let streamed = streamed / LIST as f64;
    let rate = row_bytes as f64 / streamed * 1e-9;
    println!("{name:<12} {:>8.1} {:>8.1} {rate:>8.1}", cached * 1e9, streamed * 1e9);
}
