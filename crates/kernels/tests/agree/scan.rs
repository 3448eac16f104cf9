//! Sums by tables and picks from lists against plain loops, at every length.

use kvant_kernels::{BLOCK_ROWS, ENTRY_MAX, Estimate, ScanTables, Sum, code_place};
use kvant_testkit::Random;

use crate::tables;

const TABLES_MAX: usize = 70;
const LENGTH_MAX: usize = 150;

fn random_tables(random: &mut Random, count: usize, most: u8) -> Vec<[u8; 16]> {
    let entry = |random: &mut Random| random.below(usize::from(most) + 1) as u8;
    (0..count).map(|_| std::array::from_fn(|_| entry(random))).collect()
}

#[test]
fn sums_of_blocks_are_exact_at_every_number_of_tables() {
    let mut random = Random::new(31);
    for count in (0..=TABLES_MAX).chain([516]) {
        // The largest entries that 16 bits hold the sum of.
        let most = ENTRY_MAX.min((usize::from(u16::MAX) / count.max(1)).min(127) as u8);
        let mut entries = random_tables(&mut random, count, most);
        if let Some(first) = entries.first_mut() {
            first[7] = most;
        }
        let scan = ScanTables::new(&entries);
        for blocks in 0..4 {
            let bytes = ScanTables::block_bytes(count);
            // Codes without tables are there and count nothing.
            let codes: Vec<u8> = (0..blocks * bytes).map(|_| random.bits() as u8).collect();
            let code = |row: usize, table: usize| {
                let (byte, shift) = code_place(table, row % BLOCK_ROWS);
                usize::from(codes[row / BLOCK_ROWS * bytes + byte] >> shift & 15)
            };
            let sum = |row| {
                (0..count).map(|table| u16::from(entries[table][code(row, table)])).sum::<u16>()
            };
            let expected: Vec<u16> = (0..blocks * BLOCK_ROWS).map(sum).collect();
            for kernels in tables() {
                let mut out = vec![u16::MAX; blocks * BLOCK_ROWS];
                kernels.scan_sums(&codes, &scan, &mut out);
                assert_eq!(out, expected, "{} {count} tables", kernels.level());
            }
        }
    }
}

#[test]
fn estimates_of_blocks_are_the_same_bits_at_every_level() {
    let mut random = Random::new(35);
    for count in (0..=TABLES_MAX).chain([196]) {
        let scan = ScanTables::new(&random_tables(&mut random, count, ENTRY_MAX));
        let unit = ScanTables::block_bytes(count);
        for blocks in [0, 1, 2, 5] {
            let (mut bytes, mut sums) = (Vec::new(), Vec::new());
            let mut numbers = Vec::new();
            for _ in 0..blocks {
                let codes: Vec<u8> = (0..unit).map(|_| random.bits() as u8).collect();
                let mut own = [0; BLOCK_ROWS];
                kvant_kernels::kernels().scan_sums(&codes, &scan, &mut own);
                sums.extend(own);
                let mut line = random.normals(2 * BLOCK_ROWS);
                line[3] = f32::NAN;
                bytes.extend(codes);
                bytes.extend(line.iter().flat_map(|x| x.to_le_bytes()));
                numbers.extend((0..BLOCK_ROWS).map(|at| [line[at], line[BLOCK_ROWS + at]]));
            }
            let all = (count * 40) as f32;
            let estimate = Estimate { base: 3.5, along: 0.7, slope: -0.03, all };
            let pairs = sums.iter().zip(numbers);
            let expected: Vec<u32> =
                pairs.map(|(&sum, by)| estimate.closeness(sum, by).to_bits()).collect();
            for kernels in tables() {
                let mut out = vec![0.0; blocks * BLOCK_ROWS];
                kernels.scan_closeness(&bytes, &scan, &estimate, &mut out);
                let got: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
                assert_eq!(got, expected, "{} {count} tables", kernels.level());
            }
        }
    }
}

#[test]
fn the_largest_sums_do_not_wrap() {
    // 516 tables of 127 are 65,532.
    let scan = ScanTables::new(&[[ENTRY_MAX; 16]; 516]);
    let codes = vec![0xA5; 2 * ScanTables::block_bytes(516)];
    for kernels in tables() {
        let mut out = [0; 2 * BLOCK_ROWS];
        kernels.scan_sums(&codes, &scan, &mut out);
        assert_eq!(out, [65_532; 2 * BLOCK_ROWS], "{}", kernels.level());
    }
}

#[test]
#[should_panic(expected = "sums of up to 65659")]
fn sums_past_16_bits_are_refused() {
    let _ = ScanTables::new(&[[ENTRY_MAX; 16]; 517]);
}

#[test]
#[should_panic(expected = "an entry above 127")]
fn entries_past_7_bits_are_refused() {
    let _ = ScanTables::new(&[[128; 16]]);
}

#[test]
#[should_panic(expected = "whole blocks")]
fn a_cut_block_is_refused() {
    let scan = ScanTables::new(&[[1; 16]; 5]);
    kvant_kernels::kernels().scan_sums(&[0; 127], &scan, &mut [0; 32]);
}

#[test]
fn values_below_a_limit_are_found_at_every_length() {
    let mut random = Random::new(32);
    for n in 0..=LENGTH_MAX {
        let values: Vec<u16> = (0..n).map(|_| random.bits() as u16).collect();
        for most in [0, 1, 30_000, 40_000, u16::MAX] {
            let near = |&at: &u32| values[at as usize] <= most;
            let expected: Vec<u32> = (0..n as u32).filter(near).collect();
            for kernels in tables() {
                let mut places = Vec::new();
                kernels.scan_below(&values, most, &mut places);
                assert_eq!(places, expected, "{} {n} {most}", kernels.level());
            }
        }
    }
}

#[test]
fn the_first_least_value_is_found_at_every_length() {
    let mut random = Random::new(33);
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
    for n in 0..=LENGTH_MAX {
        for kind in 0..8 {
            // Few values, so that there are equal ones, and some that are odd.
            let value = |random: &mut Random| match (kind, random.below(5)) {
                (0, _) => f32::NAN,
                (1, _) => f32::INFINITY,
                (2 | 3, at) => odd[at],
                (4, at) => [f32::NAN, 0.0, -0.0, 1.0, f32::INFINITY][at],
                (5, at) => at as f32 - 2.0,
                _ => random.normal(),
            };
            let values: Vec<f32> = (0..n).map(|_| value(&mut random)).collect();
            let mut expected: Option<(u32, f32)> = None;
            for (at, &value) in (0..).zip(&values) {
                if !value.is_nan() && expected.is_none_or(|(_, least)| value < least) {
                    expected = Some((at, value));
                }
            }
            for kernels in tables() {
                assert_eq!(kernels.least(&values), expected, "{} {values:?}", kernels.level());
            }
        }
    }
}

#[test]
fn tables_of_a_query_are_the_same_at_every_level() {
    let mut random = Random::new(34);
    for (dim, parts) in [(0, 0), (1, 1), (5, 5), (7, 3), (48, 24), (100, 33), (784, 392)] {
        let numbers = random.normals(17 * dim);
        let (query, books) = numbers.split_at(dim);
        let books = books.as_chunks::<16>().0;
        for sum in [Sum::Product, Sum::Square, Sum::Magnitude] {
            let mut expected = vec![[0.0f32; 16]; parts];
            for (part, table) in expected.iter_mut().enumerate() {
                for at in part * dim / parts..(part + 1) * dim / parts {
                    for (entry, &c) in table.iter_mut().zip(&books[at]) {
                        *entry += match sum {
                            Sum::Product => query[at] * c,
                            Sum::Square => (query[at] - c) * (query[at] - c),
                            Sum::Magnitude => (query[at] - c).abs(),
                        };
                    }
                }
            }
            for kernels in tables() {
                let mut entries = vec![[f32::NAN; 16]; parts];
                kernels.scan_entries(sum, query, books, &mut entries);
                assert_eq!(entries, expected, "{} {sum:?} {dim}", kernels.level());
                let mut ends = vec![[0.0; 2]; parts];
                kernels.scan_ends(&entries, &mut ends);
                let mut rounded = vec![[255; 16]; parts];
                kernels.scan_round(&entries, &ends, 20.0, &mut rounded);
                for ((table, rounded), [low, high]) in entries.iter().zip(rounded).zip(ends) {
                    let sorted = |from: f32, pick: fn(f32, f32) -> f32| {
                        table.iter().copied().fold(from, pick)
                    };
                    assert_eq!(low, sorted(f32::INFINITY, f32::min));
                    assert_eq!(high, sorted(f32::NEG_INFINITY, f32::max));
                    let whole =
                        |&e: &f32| ((e - low) * 20.0).clamp(0.0, 127.0).round_ties_even() as u8;
                    assert!(table.iter().map(whole).eq(rounded), "{}", kernels.level());
                }
            }
        }
    }
}
