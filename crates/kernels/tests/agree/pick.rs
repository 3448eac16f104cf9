//! Picked rows against f64 and whole numbers, at every length, and that the list does not matter.

use half::{bf16, f16};
use kvant_kernels::{
    DenseQuery, DenseWidth, Half, Kernels, PackedQuery, Packing, Picked, PlaneQuery, Sum,
};
use kvant_testkit::Random;

use crate::{TINY, U, tables};

const LENGTH_MAX: usize = 257;
/// Lists of every remainder by four, in order, backwards and with a row twice.
const LISTS: [&[u32]; 7] = [
    &[],
    &[2],
    &[0, 1],
    &[4, 1, 3],
    &[0, 1, 2, 3],
    &[8, 6, 4, 2, 0, 8],
    &[0, 1, 2, 3, 4, 5, 6, 7, 8],
];
const ROWS: usize = 9;

const SUMS: [Sum; 3] = [Sum::Product, Sum::Square, Sum::Magnitude];

fn term(sum: Sum, a: f64, b: f64) -> f64 {
    match sum {
        Sum::Product => a * b,
        Sum::Square => (a - b) * (a - b),
        Sum::Magnitude => (a - b).abs(),
    }
}

/// The numbers of a row.
type RowOf<'a> = &'a dyn Fn(u32) -> Vec<f64>;

/// Sums over a list of rows.
type PickFloats<'a> = &'a dyn Fn(&Kernels, &[u32]) -> Vec<f32>;

/// Checks one sum against f64 within the bound of two vectors, and that a row gives one result.
fn check_floats(sum: Sum, (row_of, query): (RowOf<'_>, &[f32]), pick: PickFloats<'_>, place: &str) {
    for table in tables() {
        let level = table.level();
        let alone: Vec<f32> = (0..ROWS as u32).map(|row| pick(table, &[row])[0]).collect();
        for (row, &got) in alone.iter().enumerate() {
            let pairs = row_of(row as u32).into_iter().zip(query);
            let terms = pairs.map(|(x, &q)| term(sum, x, q.into()));
            let (exact, size) = terms.fold((0.0, 0.0), |(s, z), t: f64| (s + t, z + t.abs()));
            let bound = (query.len() + 3) as f64 * (U * size + TINY);
            let error = (f64::from(got) - exact).abs();
            assert!(error <= bound, "{sum:?} {level} {place} row {row}: {got} for {exact}");
        }
        for list in LISTS {
            let expected: Vec<f32> = list.iter().map(|&row| alone[row as usize]).collect();
            assert_eq!(pick(table, list), expected, "{sum:?} {level} {place} {list:?}");
        }
    }
}

#[test]
fn floats_stay_within_the_bound_at_every_length() {
    let mut random = Random::new(21);
    for n in 0..=LENGTH_MAX {
        let stride = n + n % 3;
        let slab = random.normals(ROWS * stride + 1);
        let query = random.normals(n);
        let row = |row: u32| -> Vec<f64> {
            slab[row as usize * stride..][..n].iter().map(|&x| x.into()).collect()
        };
        for sum in SUMS {
            let pick = |table: &Kernels, list: &[u32]| {
                let mut out = vec![f32::NAN; list.len()];
                table.pick_f32(sum, Picked::new(&slab, stride, list), &query, &mut out);
                out
            };
            check_floats(sum, (&row, &query), &pick, &format!("f32 n {n}"));
        }
    }
}

#[test]
fn halves_stay_within_the_bound_at_every_length() {
    let mut random = Random::new(22);
    for n in 0..=LENGTH_MAX {
        let stride = 2 * n + n % 5;
        let values = random.normals(ROWS * n);
        let query = random.normals(n);
        for half in [Half::F16, Half::Bf16] {
            let (mut slab, mut stored) = (vec![0; ROWS * stride + 1], vec![0.0; ROWS * n]);
            for (at, &value) in values.iter().enumerate() {
                let place = at / n * stride + at % n * 2;
                let (bytes, value) = match half {
                    Half::F16 => (f16::from_f32(value).to_le_bytes(), f16::from_f32(value).into()),
                    Half::Bf16 => {
                        (bf16::from_f32(value).to_le_bytes(), bf16::from_f32(value).into())
                    }
                };
                slab[place..place + 2].copy_from_slice(&bytes);
                stored[at] = value;
            }
            let row = |row: u32| stored[row as usize * n..][..n].to_vec();
            for sum in SUMS {
                let pick = |table: &Kernels, list: &[u32]| {
                    let mut out = vec![f32::NAN; list.len()];
                    let rows = Picked::new(&slab, stride, list);
                    table.pick_half(half, sum, rows, &query, &mut out);
                    out
                };
                check_floats(sum, (&row, &query), &pick, &format!("{half:?} n {n}"));
            }
        }
    }
}

/// Sums over a list of rows, in whole numbers.
type PickWhole<'a, O> = &'a dyn Fn(&Kernels, &[u32], &mut [O]);

/// All levels give what `exact` gives, for every list.
fn check_whole<O: PartialEq + std::fmt::Debug + Copy + Default>(
    exact: &dyn Fn(u32) -> O,
    pick: PickWhole<'_, O>,
    place: &str,
) {
    for table in tables() {
        for list in LISTS {
            let mut out = vec![O::default(); list.len()];
            pick(table, list, &mut out);
            let expected: Vec<O> = list.iter().map(|&row| exact(row)).collect();
            assert_eq!(out, expected, "{} {place} {list:?}", table.level());
        }
    }
}

fn bytes(random: &mut Random, n: usize) -> Vec<u8> {
    (0..n).map(|_| random.bits() as u8).collect()
}

#[test]
fn bytes_are_exact_at_every_length_and_at_the_extremes() {
    let mut random = Random::new(23);
    for n in (0..=LENGTH_MAX).chain([1000, 65_535]) {
        let stride = n + 3;
        let mut slab = bytes(&mut random, ROWS * stride);
        let mut query: Vec<i8> = bytes(&mut random, n).iter().map(|&q| q as i8).collect();
        if n > 256 {
            slab[..stride].fill(255);
            query.fill(if n % 2 == 0 { 127 } else { -128 });
        }
        let near: Vec<u8> = query.iter().map(|&q| q as u8).collect();
        let row = |row: u32| &slab[row as usize * stride..][..n];
        let exact = |at: u32| {
            let pairs = row(at).iter().zip(&query);
            pairs.map(|(&x, &q)| i32::from(x) * i32::from(q)).sum::<i32>()
        };
        let pick = |table: &Kernels, list: &[u32], out: &mut [i32]| {
            table.pick_u8(Picked::new(&slab, stride, list), &query, out);
        };
        check_whole(&exact, &pick, &format!("bytes n {n}"));
        let exact = |at: u32| {
            row(at).iter().zip(&near).map(|(&x, &q)| u32::from(x.abs_diff(q))).sum::<u32>()
        };
        let pick = |table: &Kernels, list: &[u32], out: &mut [u32]| {
            table.pick_gaps(Picked::new(&slab, stride, list), &near, out);
        };
        check_whole(&exact, &pick, &format!("gaps n {n}"));
    }
}

#[test]
fn packed_codes_are_exact_at_every_length() {
    let mut random = Random::new(24);
    for n in (0..=LENGTH_MAX).chain([2048, 65_535]) {
        for packing in [Packing::Two, Packing::Four] {
            let stride = packing.bytes(n) + 1;
            let slab = bytes(&mut random, ROWS * stride);
            let query: Vec<i8> = bytes(&mut random, n).iter().map(|&q| q as i8).collect();
            let levels: [u8; 16] = std::array::from_fn(|_| random.bits() as u8);
            let prepared = PackedQuery::new(&query, packing, &levels);
            let exact = |row: u32| -> i32 {
                let row = &slab[row as usize * stride..];
                let code = |at: usize| {
                    let place = at % packing.per_byte() * packing.bits();
                    usize::from(row[at / packing.per_byte()] >> place) % (1 << packing.bits())
                };
                (0..n).map(|at| i32::from(levels[code(at)]) * i32::from(query[at])).sum()
            };
            let pick = |table: &Kernels, list: &[u32], out: &mut [i32]| {
                table.pick_packed(Picked::new(&slab, stride, list), &prepared, out);
            };
            check_whole(&exact, &pick, &format!("{packing:?} n {n}"));
        }
    }
}

#[test]
fn dense_codes_are_exact_at_every_length() {
    let mut random = Random::new(27);
    for n in (0..=LENGTH_MAX * 2).chain([784, 65_535]) {
        for width in DenseWidth::ALL {
            let stride = width.bytes(n) + 1;
            let slab = bytes(&mut random, ROWS * stride);
            let mut query: Vec<i8> = bytes(&mut random, n).iter().map(|&q| q as i8).collect();
            // The largest sums of pairs.
            query.iter_mut().skip(n / 2).for_each(|q| *q = -128);
            let mut levels: [u8; 8] = std::array::from_fn(|_| random.bits() as u8 % 128);
            levels[7] = 127;
            let prepared = DenseQuery::new(&query, width, &levels);
            let exact = |row: u32| -> i32 {
                let row = &slab[row as usize * stride..][..stride];
                let level = |at: usize| match width.code(row, n, at) {
                    code if width == DenseWidth::Three => levels[usize::from(code)],
                    code => code,
                };
                (0..n).map(|at| i32::from(level(at)) * i32::from(query[at])).sum()
            };
            let pick = |table: &Kernels, list: &[u32], out: &mut [i32]| {
                table.pick_dense(Picked::new(&slab, stride, list), &prepared, out);
            };
            check_whole(&exact, &pick, &format!("{width:?} n {n}"));
        }
    }
}

#[test]
#[should_panic(expected = "a level above 127")]
fn dense_levels_past_7_bits_are_refused() {
    let _ = DenseQuery::new(&[1], DenseWidth::Three, &[128; 8]);
}

#[test]
fn bits_and_planes_are_exact_at_every_length() {
    let mut random = Random::new(25);
    for n in (0..=LENGTH_MAX * 2).chain([4096]) {
        let stride = n.div_ceil(8) + 1;
        let slab = bytes(&mut random, ROWS * stride);
        let query: Vec<i8> = (0..n).map(|_| (random.bits() as i8) >> 4).collect();
        let prepared = PlaneQuery::new(&query);
        let row = |row: u32| &slab[row as usize * stride..][..stride];
        let exact = |at: u32| -> i32 {
            let set = |bit: &usize| row(at)[bit / 8] >> (bit % 8) & 1 == 1;
            (0..n).filter(set).map(|bit| i32::from(query[bit])).sum()
        };
        let pick = |table: &Kernels, list: &[u32], out: &mut [i32]| {
            table.pick_planes(Picked::new(&slab, stride, list), &prepared, out);
        };
        check_whole(&exact, &pick, &format!("planes n {n}"));
        let query = bytes(&mut random, n.div_ceil(8));
        let exact = |at: u32| {
            let count = |f: fn(u8, u8) -> u8| -> u32 {
                row(at).iter().zip(&query).map(|(&a, &b)| f(a, b).count_ones()).sum()
            };
            [count(|a, b| a & b), count(|a, b| a ^ b)]
        };
        let pick = |table: &Kernels, list: &[u32], out: &mut [[u32; 2]]| {
            table.pick_bits(Picked::new(&slab, stride, list), &query, out);
        };
        check_whole(&exact, &pick, &format!("bits n {n}"));
    }
}

/// A row past the slab is refused before anything of it is read.
#[test]
fn a_row_past_the_slab_panics() {
    for table in tables() {
        for row in [ROWS as u32, u32::MAX] {
            let slab = [0u8; 5 * ROWS];
            let measure = || table.pick_u8(Picked::new(&slab, 5, &[row]), &[1; 5], &mut [0]);
            assert!(std::panic::catch_unwind(measure).is_err(), "{} row {row}", table.level());
        }
    }
}

#[test]
fn values_that_reach_a_limit_are_listed_at_every_length() {
    let mut random = Random::new(26);
    for n in 0..=LENGTH_MAX {
        let mut values = random.normals(n);
        for at in (0..n).step_by(23) {
            values[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0][at % 5];
        }
        for least in [0.0, 1.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let reaches = |&at: &u32| {
                let value = values[at as usize];
                value >= least || value.is_nan() || least.is_nan()
            };
            let expected: Vec<u32> = (0..n as u32).filter(reaches).collect();
            for table in tables() {
                let mut places = vec![9];
                table.reaching(&values, least, &mut places);
                assert_eq!(places[1..], expected, "{} n {n} {least}", table.level());
            }
        }
    }
}
