//! Damaged files: what a search reads is right or the search says what is not; nothing panics.

#![expect(clippy::expect_used, reason = "helpers of a test")]

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kvant_index::{
    Among, Bitmap, BuildOptions, Check, Effort, FloatRows, Hit, Index, IndexSpec, Metric,
    ReadAhead, Row, ScrubOptions, SearchError, SearchOptions, Stored,
};
use kvant_storage::frame::{self, Frame, Kind, Section};
use kvant_storage::{BLOCK_BYTES, Bytes};
use kvant_testkit::{Random, clustered};
use proptest::prelude::*;

const DIM: usize = 20;
const N: usize = 1500;
const QUERIES: usize = 3;
const FIRST: Kind = Kind { magic: *b"KVANTIDX", version: 1, features: 0 };
const KIND: Kind = Kind { magic: *b"KVANTIDX", version: 2, features: 0 };

/// Every shape over codes of every layout.
const SPECS: [&str; 22] = [
    "flat",
    "flat,int8",
    "flat,bound4",
    "flat,pq,rerank32",
    "flat,sign,rerank8",
    "hnsw4",
    "hnsw4,rq4,rerank32",
    "hnsw4,f16",
    "hnsw4,bound2,rerank16",
    "hnsw4,rq1,rerank8",
    "ivf20",
    "ivf20,pq,rerank32",
    "ivf20x2,pq,rerank16",
    "ivf20x2,rq8",
    "ivf20,bound4",
    "ivf20x2,int8,rerank32",
    "ivf20,rq1,rerank32",
    "flat,opq,rerank8",
    "hnsw4,rq3",
    "forest,int8,rerank32",
    "lsh,rq4",
    "qg32",
];

fn data() -> (Vec<f32>, Vec<f32>) {
    let mut rows = clustered(N + QUERIES, DIM, 31);
    let queries = rows.split_off(N * DIM);
    (rows, queries)
}

fn build(spec: &str, rows: &[f32]) -> Vec<u8> {
    let spec: IndexSpec = spec.parse().expect("a name");
    let rows = FloatRows::new(rows, DIM, Metric::Euclid);
    Index::build(&spec, rows, &BuildOptions::default()).expect("a code that holds them").to_bytes()
}

fn open(bytes: &[u8], check: Check) -> Result<Stored, String> {
    let opened = Stored::open(Bytes::copy_of(bytes), Path::new("dir/near.kvant"), check);
    opened.map_err(|error| error.to_string())
}

/// The ways to search that read in different ways.
fn ways(allowed: &Bitmap) -> [SearchOptions<'_>; 4] {
    let all = SearchOptions::default();
    [
        all,
        SearchOptions { effort: Effort::Exact, ..all },
        SearchOptions { effort: Effort::Probes(3), ..all },
        SearchOptions { allowed: Some(allowed), k: 3, ..all },
    ]
}

/// What every query finds in every way, then all of them at once, then a range.
fn answers(stored: &Stored, queries: &[f32]) -> Result<Vec<Result<Vec<Hit>, SearchError>>, String> {
    let index = stored.index().map_err(|error| error.to_string())?;
    let mut allowed = Bitmap::new(N);
    (0..N as u32).filter(|row| row % 7 == 0).for_each(|row| {
        allowed.insert(Row(row));
    });
    let mut found = Vec::new();
    for options in ways(&allowed) {
        let one = |query| index.search(query, &options).map(|found| found.hits);
        found.extend(queries.chunks_exact(DIM).map(one));
        match index.search_batch(queries, &options, 2) {
            Ok(all) => found.extend(all.into_iter().map(|found| Ok(found.hits))),
            Err(error) => found.extend(vec![Err(error); QUERIES]),
        }
    }
    let range = index.range(&queries[..DIM], 3.0, &SearchOptions::default());
    found.push(range.map(|found| found.hits));
    Ok(found)
}

/// A changed bit anywhere: what is found is what was found before, or the file and the place are
/// named.
#[test]
fn every_changed_bit_is_told_or_makes_no_difference() {
    let (rows, queries) = data();
    for name in SPECS {
        let bytes = build(name, &rows);
        let truth = answers(&open(&bytes, Check::Opened).expect("whole"), &queries).expect("whole");
        let mut random = Random::new(5);
        let (mut told, mut untouched) = (0, 0);
        for _ in 0..200 {
            let bit = random.below(bytes.len() * 8);
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let names = |text: &str, offset: usize| {
                assert!(text.starts_with("dir/near.kvant: "), "{name} {bit}: {text}");
                assert!(text.contains("restore") || text.contains("kvant"), "{text}");
                assert!(
                    (offset..offset + BLOCK_BYTES).contains(&(bit / 8)),
                    "{name} {bit}: {text}"
                );
            };
            let number = |text: &str| {
                let rest = text.split("at byte ").nth(1)?;
                rest.split(' ').next()?.parse().ok()
            };
            let stored = open(&changed, Check::Opened);
            match stored.and_then(|stored| answers(&stored, &queries)) {
                Err(text) => {
                    names(&text, number(&text).unwrap_or(bit / 8));
                    told += 1;
                }
                Ok(found) => {
                    for (found, truth) in found.iter().zip(&truth) {
                        match found {
                            Ok(found) => {
                                assert!(
                                    truth.as_ref() == Ok(found),
                                    "{name} {bit}: a wrong answer"
                                );
                                untouched += 1;
                            }
                            Err(SearchError::Damaged { path, offset, .. }) => {
                                assert_eq!(path, Path::new("dir/near.kvant"));
                                names(
                                    &found.as_ref().expect_err("it").to_string(),
                                    *offset as usize,
                                );
                                told += 1;
                            }
                            Err(error) => unreachable!("{name} {bit}: {error}"),
                        }
                    }
                }
            }
            let padding = bytes[bit / 8] == 0;
            assert!(open(&changed, Check::Everything).is_err() || padding, "{name} {bit} unseen");
        }
        assert!(told > 100, "{name}: {told} told, {untouched} untouched");
    }
}

/// A search that does not read the damage goes on; one that does says so every time.
#[test]
fn damage_stops_only_what_reads_it() {
    let (rows, queries) = data();
    let mut bytes = build("hnsw8,rq4,rerank32", &rows);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let stored = open(&bytes, Check::Opened).expect("a whole header");
    let index = stored.index().expect("a whole head");
    let (mut fine, mut failed) = (0, 0);
    for query in queries.chunks_exact(DIM) {
        let answers =
            [0; 3].map(|_| index.search(query, &SearchOptions { k: 1, ..Default::default() }));
        let count = answers.iter().filter(|answer| answer.is_err()).count();
        assert!(count == 0 || count == 3, "the same every time");
        (fine, failed) = (fine + usize::from(count == 0), failed + count / 3);
    }
    assert!(fine > 0 && failed > 0, "{fine} {failed}");
    let batch = index.search_batch(&queries, &SearchOptions::default(), 2);
    assert!(matches!(batch, Err(SearchError::Damaged { section: "rows", .. })), "{batch:?}");
    let all: Vec<&[f32]> = queries.chunks_exact(DIM).collect();
    let several = index.search_several(&all, Among::Sum, &SearchOptions::default());
    assert!(matches!(several, Err(SearchError::Damaged { .. })), "{several:?}");
    let near = queries
        .chunks_exact(DIM)
        .find_map(|query| index.resume(query, &SearchOptions { k: 1, ..Default::default() }).ok());
    let mut resumed = near.expect("one that is not damaged");
    let given = resumed.by_ref().count();
    assert!(given < N && matches!(resumed.failure(), Some(SearchError::Damaged { .. })), "{given}");
}

#[test]
fn a_scrub_finds_every_damaged_block_once_and_frees_the_rest() {
    let (rows, queries) = data();
    let mut bytes = build("hnsw8,int8,rerank32", &rows);
    let stored = open(&bytes, Check::Opened).expect("whole");
    let all = stored.unverified_bytes();
    assert!(all > (bytes.len() - 2048) as u64 && all < bytes.len() as u64);
    let seen = std::cell::Cell::new(0);
    let progress = |bytes| seen.set(seen.get() + bytes);
    let options = ScrubOptions { progress: Some(&progress), ..ScrubOptions::default() };
    let found = stored.scrub(&options);
    assert_eq!((found.bytes, seen.get(), found.finished), (all, all, true));
    assert!(found.damaged.is_empty() && stored.unverified_bytes() == 0);
    let places = [bytes.len() - 1, bytes.len() - 3 * BLOCK_BYTES, bytes.len() / 3];
    for at in places {
        bytes[at] ^= 64;
    }
    let stored = open(&bytes, Check::Opened).expect("a whole header");
    for times in 0..2 {
        let found = stored.scrub(&ScrubOptions::default());
        assert!(found.finished && found.damaged.len() == 3, "{found:?}");
        for at in places {
            let here = |offset: u64, len: u64| (offset..offset + len).contains(&(at as u64));
            assert!(found.damaged.iter().any(|damage| here(damage.offset, damage.len)), "{at}");
        }
        // The second time only these are looked at.
        assert!(found.bytes == all || times == 1 && found.bytes == stored.unverified_bytes());
    }
    let index = stored.index();
    assert!(
        index.is_err() || answers(&stored, &queries).expect("opened").iter().any(Result::is_err)
    );
}

#[test]
fn a_scrub_keeps_its_pace_and_ends_when_told() {
    let (rows, _) = data();
    let bytes = build("flat,int8,rerank32", &rows);
    let stored = open(&bytes, Check::Opened).expect("whole");
    let cancel = AtomicBool::new(true);
    let options = ScrubOptions { cancel: Some(&cancel), ..ScrubOptions::default() };
    assert!(!stored.scrub(&options).finished);
    assert!(stored.unverified_bytes() > bytes.len() as u64 / 2);
    cancel.store(false, Ordering::Relaxed);
    let rate = NonZeroU64::new(bytes.len() as u64 * 5);
    let began = Instant::now();
    let found = stored.scrub(&ScrubOptions { bytes_per_second: rate, ..options });
    assert!(found.finished && found.damaged.is_empty());
    assert!(began.elapsed() > Duration::from_millis(150), "{:?}", began.elapsed());
}

/// Threads that meet blocks for the first time, or damage, at the same time.
#[test]
fn threads_verify_together() {
    let (rows, queries) = data();
    for ahead in [ReadAhead::First, ReadAhead::Always] {
        let mut stored = open(&build("hnsw8,rq4,rerank32", &rows), Check::Opened).expect("whole");
        stored.read_ahead(ahead);
        let index = stored.index().expect("whole");
        let one =
            |query: &[f32]| index.search(query, &SearchOptions::default()).expect("whole").hits;
        let found: Vec<Vec<Vec<Hit>>> = std::thread::scope(|scope| {
            let run = || queries.chunks_exact(DIM).map(one).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

/// Files of the version before are read, each section as one block.
#[test]
fn files_without_a_table_of_blocks_are_read() {
    let (rows, queries) = data();
    for name in SPECS {
        let bytes = build(name, &rows);
        let truth = answers(&open(&bytes, Check::Opened).expect("whole"), &queries).expect("whole");
        let mut first = without_table(&bytes, |_, _| ());
        for check in [Check::Opened, Check::Everything] {
            let stored = open(&first, check).expect("whole");
            assert!(answers(&stored, &queries).expect("whole") == truth, "{name}");
        }
        let last = first.len() - 1;
        first[last] ^= 2;
        let stored = open(&first, Check::Opened).expect("a whole header");
        let told = answers(&stored, &queries);
        assert!(told.map_or(true, |all| all.iter().any(Result::is_err)), "{name}");
        assert!(open(&first, Check::Everything).is_err());
    }
}

/// A file of version 1 with sections changed and checksums that are right.
fn without_table(bytes: &[u8], change: impl Fn(&str, &mut Vec<u8>)) -> Vec<u8> {
    let frame = Frame::open(Bytes::copy_of(bytes), Path::new("f"), &KIND).expect("whole");
    let names = ["head", "shape", "code", "rerank", "rows"];
    let parts = names.into_iter().filter(|name| frame.has(name)).map(|name| {
        let mut part = frame.section(name).expect("whole").to_vec();
        change(name, &mut part);
        (name, part)
    });
    let parts: Vec<_> = parts.collect();
    let sections: Vec<_> = parts.iter().map(|(name, data)| Section { name, data }).collect();
    frame::to_bytes(&FIRST, 0, &sections)
}

#[test]
fn a_table_of_blocks_that_does_not_fit_is_refused() {
    let (rows, _) = data();
    let bytes = build("flat,int8", &rows);
    let frame = Frame::open(Bytes::copy_of(&bytes), Path::new("f"), &KIND).expect("whole");
    let names = ["head", "blocks", "shape", "code"];
    let parts = names.map(|name| frame.section(name).expect("there").to_vec());
    let changes: [fn(&mut Vec<u8>); 6] = [
        Vec::clear,
        |table| table.truncate(8),
        |table| table.extend([0; 4]),
        |table| table[..8].fill(0),
        |table| table[..8].copy_from_slice(&(1u64 << 20).to_le_bytes()),
        |table| table[..8].fill(255),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut parts = parts.clone();
        change(&mut parts[1]);
        let sections: Vec<_> =
            names.iter().zip(&parts).map(|(name, data)| Section { name, data }).collect();
        let error =
            open(&frame::to_bytes(&KIND, 0, &sections), Check::Opened).expect_err("refused");
        assert!(error.starts_with("dir/near.kvant: section \"blocks\""), "{at}: {error}");
    }
    let sections = [Section { name: "head", data: &parts[0] }];
    let error = open(&frame::to_bytes(&KIND, 0, &sections), Check::Opened).expect_err("refused");
    assert!(error.contains("no section \"blocks\""), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Links, lists and codes that nobody wrote under checksums that are right: rows of the index
    /// come back, or the file is refused.
    #[test]
    fn changed_sections_are_refused_or_searchable(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..9),
        early in prop::collection::vec((0usize..30, any::<u32>()), 0..2),
        which in 0..SPECS.len(),
    ) {
        static BUILT: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| {
            let (rows, _) = data();
            SPECS.iter().map(|spec| build(spec, &rows)).collect()
        });
        let (_, queries) = data();
        let bytes = without_table(&BUILT[which], |name, part| {
            if name != "shape" && name != "code" || part.len() < 8 {
                return;
            }
            let words = part.len() / 4;
            let late = changes.iter().map(|(at, value)| (at.index(words), *value));
            let early = early.iter().map(|&(at, value)| (at, value));
            for (at, value) in late.chain(early.filter(|_| name == "shape")) {
                if let Some(word) = part.get_mut(at * 4..at * 4 + 4) {
                    // A row that is there now and then.
                    let value = if value % 2 == 0 { value } else { value % 2500 };
                    word.copy_from_slice(&value.to_le_bytes());
                }
            }
        });
        for check in [Check::Opened, Check::Everything] {
            if let Ok(stored) = open(&bytes, check)
                && let Ok(found) = answers(&stored, &queries)
            {
                for hits in found {
                    let hits = hits.expect("the checksums are right");
                    prop_assert!(hits.iter().all(|hit| hit.row.position() < N));
                }
            }
        }
    }
}
