//! Searches of lists against all products in f64, files and their damage.

use std::path::Path;

use kvant_testkit::Random;
use proptest::prelude::*;

use super::*;
use crate::{Budget, Check};

/// Rows whose values are at indices of a Zipf-like distribution, as words are.
fn words(random: &mut Random, rows: usize, signed: bool) -> Vec<Sparse> {
    (0..rows)
        .map(|_| {
            let count = random.below(12);
            let mut pairs: Vec<(u32, f32)> = (0..count)
                .map(|_| {
                    let u = f64::from(random.unit()).max(1e-9);
                    let word = (2000f64.powf(u) - 1.0) as u32;
                    let value = if signed { random.normal() } else { random.unit() };
                    // Few different values, so that products tie.
                    (word.wrapping_mul(2_654_435_761), (8.0 * value).round() / 8.0)
                })
                .collect();
            pairs.sort_unstable_by_key(|pair| pair.0);
            pairs.dedup_by_key(|pair| pair.0);
            Sparse::new(pairs).unwrap()
        })
        .collect()
}

/// The product, if they share a dimension.
fn product(a: &Sparse, b: &Sparse) -> Option<f64> {
    let mut sum = None;
    for (index, value) in a.indices().iter().zip(a.values()) {
        if let Ok(at) = b.indices().binary_search(index) {
            let product = f64::from(*value) * f64::from(b.values()[at]);
            sum = Some(sum.unwrap_or(0.0) + product);
        }
    }
    sum
}

fn truth(rows: &[Sparse], query: &Sparse, options: &SearchOptions<'_>) -> Vec<Hit> {
    let allowed = |row: u32| options.allowed.is_none_or(|set| set.contains(Row(row)));
    let mut all: Vec<Hit> = (0..)
        .zip(rows)
        .filter(|(row, _)| allowed(*row))
        .filter_map(|(row, own)| {
            Some(Hit { row: Row(row), distance: 0.0 - product(own, query)? as f32 })
        })
        .collect();
    all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
    all.truncate(options.k);
    all
}

#[test]
fn searches_give_the_largest_products() {
    for (seed, signed) in [(1, false), (2, true)] {
        let mut random = Random::new(seed);
        let all = words(&mut random, 12_000, signed);
        let rows: SparseRows = all.iter().cloned().collect();
        let inverted = Inverted::build(&rows);
        assert_eq!(inverted.len(), rows.len());
        let sets: Vec<Bitmap> =
            [1, 2, 50, 3000].map(|n| Bitmap::of(12_000, |row| row.0 % n == n / 2)).to_vec();
        for query in words(&mut random, 60, signed) {
            for k in [1, 10, 200, 100_000] {
                for allowed in [None].into_iter().chain(sets.iter().map(Some)) {
                    let options = SearchOptions { k, allowed, ..SearchOptions::default() };
                    let expected = truth(&all, &query, &options);
                    let found = inverted.search(&query, &options).unwrap();
                    assert_eq!(found.certainty, Certainty::Exact);
                    assert_eq!(found.hits, expected, "k {k}");
                    assert_eq!(rows.search(&query, &options).unwrap().hits, expected, "k {k}");
                }
            }
        }
    }
}

/// Queries of more values than have a table of their own when rows are scanned.
#[test]
fn long_queries_are_answered_too() {
    let mut random = Random::new(4);
    let all = words(&mut random, 4000, true);
    let rows: SparseRows = all.iter().cloned().collect();
    let inverted = Inverted::build(&rows);
    for count in [63, 64, 65, 500] {
        let mut pairs: Vec<(u32, f32)> = (0..count)
            .map(|word: u32| (word.wrapping_mul(2_654_435_761), random.normal()))
            .collect();
        pairs.push((17, 1.0));
        let query = Sparse::new(pairs).unwrap();
        let options = SearchOptions::default();
        let expected = truth(&all, &query, &options);
        assert_eq!(inverted.search(&query, &options).unwrap().hits, expected);
        assert_eq!(rows.search(&query, &options).unwrap().hits, expected);
    }
}

#[test]
fn only_rows_that_share_a_dimension_are_found() {
    let of = |pairs: &[(u32, f32)]| Sparse::new(pairs.to_vec()).unwrap();
    let all = [of(&[(1, 1.0)]), of(&[]), of(&[(1, -1.0), (2, 0.0)]), of(&[(u32::MAX, 2.0)])];
    let rows: SparseRows = all.iter().cloned().collect();
    let inverted = Inverted::build(&rows);
    assert_eq!((inverted.dimensions(), inverted.values()), (3, 4));
    let options = SearchOptions::default();
    for (query, expected) in [
        (of(&[]), vec![]),
        (of(&[(7, 1.0)]), vec![]),
        (of(&[(1, 1.0)]), vec![(0, -1.0), (2, 1.0)]),
        (of(&[(2, 3.0)]), vec![(2, 0.0)]),
        (of(&[(1, 0.0)]), vec![(0, 0.0), (2, 0.0)]),
        (of(&[(0, 1.0), (u32::MAX, 1.0)]), vec![(3, -2.0)]),
    ] {
        for found in [inverted.search(&query, &options), rows.search(&query, &options)] {
            let hits: Vec<(u32, f32)> =
                found.unwrap().hits.iter().map(|hit| (hit.row.0, hit.distance)).collect();
            assert_eq!(hits, expected, "{query:?}");
        }
    }
    for (row, own) in (0..).zip(&all) {
        assert_eq!(inverted.row(Row(row)).unwrap(), *own);
    }
    let none = Inverted::build(&SparseRows::default());
    assert!(none.is_empty() && none.search(&all[0], &options).unwrap().hits.is_empty());
}

#[test]
fn weights_are_factors_of_the_query() {
    let mut random = Random::new(5);
    let all = words(&mut random, 3000, false);
    let rows: SparseRows = all.iter().cloned().collect();
    let inverted = Inverted::build(&rows);
    let few = Bitmap::of(3000, |row| row.0 % 3 == 0);
    for query in words(&mut random, 20, false) {
        for among in [None, Some(&few)] {
            let expected: Vec<usize> = query
                .indices()
                .iter()
                .map(|index| {
                    let has = |(row, own): &(usize, &Sparse)| {
                        among.is_none_or(|set| set.contains(Row(*row as u32)))
                            && own.indices().contains(index)
                    };
                    all.iter().enumerate().filter(has).count()
                })
                .collect();
            let counts = inverted.frequencies(query.indices(), among).unwrap();
            assert_eq!(counts, expected);
            assert_eq!(rows.frequencies(query.indices(), among).unwrap(), expected);
            let factor = |index: u32| {
                let at = query.indices().binary_search(&index).unwrap();
                idf(all.len(), counts[at])
            };
            let weighted = query.weighted(factor).unwrap();
            for (at, value) in weighted.values().iter().enumerate() {
                let (n, df) = (all.len() as f64, counts[at] as f64);
                let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
                let expected = f64::from(query.values()[at]) * idf;
                assert!((f64::from(*value) - expected).abs() < 1e-5 * (1.0 + expected.abs()));
            }
            let options = SearchOptions::default();
            let found = inverted.search(&weighted, &options).unwrap().hits;
            assert_eq!(found, truth(&all, &weighted, &options));
        }
    }
    let twice = rows.frequencies(&[9, 9, 0], None).unwrap();
    assert_eq!(twice[0], twice[1]);
    assert!(idf(5, 9) > 0.0, "rows counted elsewhere");
    let large = Sparse::new(vec![(1, f32::MAX)]).unwrap();
    assert_eq!(large.weighted(|_| 2.0), None);
    assert_eq!(large.weighted(|_| 0.0).unwrap().values(), [0.0]);
}

#[test]
fn values_at_the_ends_of_f32_are_summed() {
    let of = |pairs: &[(u32, f32)]| Sparse::new(pairs.to_vec()).unwrap();
    let mut all = vec![of(&[(1, 1e-40)]); 200];
    all.extend([of(&[(1, f32::MAX), (2, -f32::MAX)]), of(&[(2, f32::MAX)])]);
    let rows: SparseRows = all.iter().cloned().collect();
    let inverted = Inverted::build(&rows);
    for query in [of(&[(1, f32::MAX), (2, f32::MAX)]), of(&[(1, 1e-40)]), of(&[(2, -1.0)])] {
        let options = SearchOptions { k: 3, ..SearchOptions::default() };
        let expected = truth(&all, &query, &options);
        assert_eq!(inverted.search(&query, &options).unwrap().hits, expected);
        assert_eq!(rows.search(&query, &options).unwrap().hits, expected);
    }
}

#[test]
fn budgets_end_it_and_what_does_not_fit_is_refused() {
    let mut random = Random::new(7);
    let all = words(&mut random, 9000, false);
    let rows: SparseRows = all.iter().cloned().collect();
    let inverted = Inverted::build(&rows);
    let query = Sparse::new((0..3).map(|word| (word, 1.0)).collect()).unwrap();
    let query = Sparse::new(
        query.indices().iter().map(|word| (word.wrapping_mul(2_654_435_761), 1.0)).collect(),
    )
    .unwrap();
    let cancel = std::sync::atomic::AtomicBool::new(true);
    let ended = [
        Budget { distances: Some(50), ..Budget::default() },
        Budget { cancel: Some(&cancel), ..Budget::default() },
        Budget { deadline: Some(std::time::Instant::now()), ..Budget::default() },
    ];
    for budget in ended {
        let options = SearchOptions { budget, ..SearchOptions::default() };
        for found in [inverted.search(&query, &options), rows.search(&query, &options)] {
            let found = found.unwrap();
            assert_eq!(found.certainty, Certainty::Truncated, "{budget:?}");
            assert_eq!(found.hits.is_empty(), budget.distances.is_none(), "{budget:?}");
        }
    }
    let enough = Budget { distances: Some(1_000_000), ..Budget::default() };
    let options = SearchOptions { budget: enough, ..SearchOptions::default() };
    assert_eq!(inverted.search(&query, &options).unwrap().certainty, Certainty::Exact);
    let set = Bitmap::new(7);
    let other = SearchOptions { allowed: Some(&set), ..SearchOptions::default() };
    let wrong = SearchError::Allowed { expected: 9000, got: 7 };
    assert_eq!(inverted.search(&query, &other), Err(wrong.clone()));
    assert_eq!(rows.search(&query, &other), Err(wrong.clone()));
    assert_eq!(inverted.frequencies(&[1], Some(&set)), Err(wrong));
    let none = SearchOptions { k: 0, ..SearchOptions::default() };
    assert_eq!(inverted.search(&query, &none), Err(SearchError::Nothing));
    assert_eq!(rows.search(&query, &none), Err(SearchError::Nothing));
}

fn open(bytes: &[u8], check: Check) -> Result<Inverted, String> {
    let opened = Inverted::open(bytes.to_vec().into(), Path::new("dir/words.kvant"), check);
    opened.map_err(|error| error.to_string())
}

#[test]
fn bytes_bring_back_the_same_lists() {
    for count in [0, 1, 700, 6000] {
        let mut random = Random::new(9);
        let all = words(&mut random, count, true);
        let rows: SparseRows = all.iter().cloned().collect();
        let inverted = Inverted::build(&rows);
        let bytes = inverted.to_bytes();
        let again = open(&bytes, Check::Everything).unwrap();
        assert_eq!(again.to_bytes(), bytes);
        assert_eq!((again.len(), again.dimensions()), (count, inverted.dimensions()));
        for query in words(&mut random, 30, true) {
            let options = SearchOptions::default();
            assert_eq!(again.search(&query, &options), inverted.search(&query, &options));
            let counts = again.frequencies(query.indices(), None);
            assert_eq!(counts, inverted.frequencies(query.indices(), None));
        }
        for (row, own) in (0..).zip(&all) {
            assert_eq!(again.row(Row(row)).unwrap(), *own);
        }
        let lazy = open(&bytes, Check::Opened).unwrap();
        assert!(lazy.unverified_bytes() > 0);
        assert!(lazy.scrub(&crate::ScrubOptions::default()).finished);
        assert_eq!(lazy.unverified_bytes(), 0);
        let mut sink = Vec::new();
        let mut write = Collect(&mut sink);
        inverted.write(&mut write).unwrap();
        assert_eq!(sink, bytes);
    }
}

struct Collect<'a>(&'a mut Vec<u8>);

impl kvant_storage::Sink for Collect<'_> {
    fn write(&mut self, data: &[u8]) -> Result<(), kvant_storage::WriteError> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<(), kvant_storage::CreateError> {
        Ok(())
    }
}

/// A changed bit anywhere: the same answers, or the file is named.
#[test]
fn every_changed_bit_is_told_or_makes_no_difference() {
    let mut random = Random::new(11);
    let all = words(&mut random, 4000, false);
    let rows: SparseRows = all.iter().cloned().collect();
    let bytes = Inverted::build(&rows).to_bytes();
    let queries = words(&mut random, 10, false);
    let options = SearchOptions::default();
    let answers = |inverted: &Inverted| {
        let found = queries.iter().map(|query| inverted.search(query, &options));
        let rows = (0..50).map(|row| inverted.row(Row(row * 70)));
        (found.collect::<Vec<_>>(), rows.collect::<Vec<_>>())
    };
    let truth = answers(&open(&bytes, Check::Opened).unwrap());
    let (mut told, mut same) = (0, 0);
    for _ in 0..300 {
        let bit = random.below(bytes.len() * 8);
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let padding = bytes[bit / 8] == 0;
        assert!(open(&changed, Check::Everything).is_err() || padding, "{bit} unseen");
        let inverted = match open(&changed, Check::Opened) {
            Ok(inverted) => inverted,
            Err(text) => {
                assert!(text.starts_with("dir/words.kvant: "), "{text}");
                told += 1;
                continue;
            }
        };
        let (found, rows) = answers(&inverted);
        let mut judge = |right: bool, error: Option<&SearchError>| match error {
            None => {
                assert!(right, "bit {bit}: a wrong answer");
                same += 1;
            }
            Some(SearchError::Damaged { path, offset, .. }) => {
                assert_eq!(path, Path::new("dir/words.kvant"));
                let block = *offset as usize..*offset as usize + kvant_storage::BLOCK_BYTES;
                assert!(block.contains(&(bit / 8)), "bit {bit}: block at {offset}");
                told += 1;
            }
            Some(error) => unreachable!("{error}"),
        };
        found.iter().zip(&truth.0).for_each(|(f, t)| judge(f == t, f.as_ref().err()));
        rows.iter().zip(&truth.1).for_each(|(f, t)| judge(f == t, f.as_ref().err()));
    }
    assert!(told > 300 && same > 300, "{told} told, {same} the same");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Sections may hold anything under checksums that are right: searches end, and name rows
    /// that there are.
    #[test]
    fn forged_lists_break_nothing(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..8),
    ) {
        let mut random = Random::new(13);
        let all = words(&mut random, 500, true);
        let rows: SparseRows = all.iter().cloned().collect();
        let mut inverted = Inverted::build(&rows);
        for (at, value) in &changes {
            let Lists { dimensions, starts, first, heads, greatest, least, rows, values } =
                &mut inverted.lists;
            let all = [dimensions, starts, first, heads, greatest, least, rows, values];
            let Forward { starts, dimensions, values } = &mut inverted.forward;
            let all = all.into_iter().chain([starts, dimensions, values]).map(Numbers::own);
            let mut all: Vec<_> = all.filter(|numbers| !numbers.is_empty()).collect();
            let part = at.index(all.len());
            let place = at.index(all[part].len());
            all[part][place] = if value % 2 == 0 { value % 600 } else { *value };
        }
        let bytes = inverted.to_bytes();
        let _ = open(&bytes, Check::Everything);
        let opened = open(&bytes, Check::Opened).unwrap();
        let half = Bitmap::of(500, |row| row.0 % 2 == 0);
        let few = Bitmap::of(500, |row| row.0 == 3);
        for query in words(&mut random, 10, true) {
            for allowed in [None, Some(&half), Some(&few)] {
                let options = SearchOptions { allowed, ..SearchOptions::default() };
                let found = opened.search(&query, &options).unwrap();
                prop_assert!(found.hits.iter().all(|hit| hit.row.0 < 500));
            }
            opened.frequencies(query.indices(), Some(&half)).unwrap();
        }
        (0..500).for_each(|row| drop(opened.row(Row(row)).unwrap()));
    }

    /// Foreign bytes are refused, whatever they are.
    #[test]
    fn foreign_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&bytes, Check::Opened).is_err());
    }
}
