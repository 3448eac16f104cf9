//! Codes of 4 bits in blocks: what tables cost, and a row in cache and streamed.
//!
//! `cargo bench -p kvant-kernels --bench scan -- [dim 784] [lists 512]`, one thread.

mod time;

use kvant_kernels::{
    BLOCK_ROWS, Estimate, Kernels, Level, Matrix, MatrixMut, PackedI8, RowsI8, ScanTables, Sum,
};
use kvant_testkit::Random;

/// Blocks that stay in L2, and bytes that do not fit in any cache.
const NEAR_BLOCKS: usize = 64;
const FAR_BYTES: usize = 256 << 20;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut number = |or: usize| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(or);
    let (dim, lists) = (number(784), number(512));
    let parts = dim / 2;
    let mut random = Random::new(1);
    let (query, books) = (random.normals(dim), random.normals(16 * dim));
    let books = books.as_chunks::<16>().0;
    let codes: Vec<u8> = (0..FAR_BYTES).map(|at| ((at * 131) >> 3) as u8).collect();
    let centroids: Vec<i8> = (0..lists * dim).map(|at| (at * 37 % 251) as i8).collect();
    let packed = PackedI8::new(Matrix::new(&centroids, lists, dim), &vec![1.0; lists]);
    for kernels in Level::ALL.into_iter().filter_map(Kernels::at) {
        println!("{}, {dim} dimensions in {parts} parts", kernels.level());
        let show = |what: &str, seconds: f64| println!("  {what}: {:.2} us", seconds * 1e6);
        let mut entries = vec![[0.0; 16]; parts];
        let mut entries_of = || kernels.scan_entries(Sum::Square, &query, books, &mut entries);
        show("entries", time::best(&mut entries_of));
        let mut ends = vec![[0.0; 2]; parts];
        show("ends", time::best(|| kernels.scan_ends(&entries, &mut ends)));
        let mut whole = vec![[0; 16]; parts];
        show("round", time::best(|| kernels.scan_round(&entries, &ends, 10.0, &mut whole)));
        whole.iter_mut().flatten().for_each(|entry| *entry = (*entry).min(80));
        show("tables", time::best(|| drop(std::hint::black_box(ScanTables::new(&whole)))));
        let mut rows = RowsI8::default();
        let mut near = vec![0.0; lists];
        let seconds = time::best(|| {
            kernels.quantize_rows(Matrix::new(&query, 1, dim), &mut rows);
            kernels.gemm_i8(&rows, &packed, None, MatrixMut::new(&mut near, 1, lists));
        });
        show(&format!("{lists} centroids"), seconds);
        let tables = ScanTables::new(&whole);
        let unit = ScanTables::block_bytes(parts);
        for blocks in [NEAR_BLOCKS, FAR_BYTES / unit] {
            let mut sums = vec![0; blocks * BLOCK_ROWS];
            let bytes = &codes[..blocks * unit];
            let seconds = time::best(|| kernels.scan_sums(bytes, &tables, &mut sums));
            let rows = (blocks * BLOCK_ROWS) as f64;
            let speed = bytes.len() as f64 / seconds * 1e-9;
            println!("  a row of {blocks} blocks: {:.2} ns, {speed:.1} GB/s", seconds / rows * 1e9);
        }
        let signs = ScanTables::new(&whole[..dim.div_ceil(4).min(parts)]);
        let unit = ScanTables::block_bytes(dim.div_ceil(4).min(parts)) + Estimate::BYTES;
        for blocks in [NEAR_BLOCKS, FAR_BYTES / unit] {
            let mut out = vec![0.0; blocks * BLOCK_ROWS];
            let bytes = &codes[..blocks * unit];
            let by = Estimate { base: 1.0, along: 1.0, slope: -2.0, all: 900.0 };
            let seconds = time::best(|| kernels.scan_closeness(bytes, &signs, &by, &mut out));
            let row = seconds / (blocks * BLOCK_ROWS) as f64 * 1e9;
            println!("  a row of signs in {blocks} blocks: {row:.2} ns");
        }
    }
}
