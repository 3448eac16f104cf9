//! A live index beside a map, under threads, and after many changes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::seed::Draw;
use crate::{Certainty, Effort, FloatRows};

const DIM: usize = 8;
const SPECS: [&str; 6] =
    ["flat", "flat,bound4", "hnsw8", "hnsw,rq4,rerank32", "hnsw,int8", "ivf,pq,rerank32"];

/// Numbers in −1..1, the same for a seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        crate::seed::mix(self.0)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0).collect()
    }
}

fn live(spec: &str, metric: Metric) -> Live {
    let options = LiveOptions { tail: 64, threads: 2, ..LiveOptions::default() };
    Live::new(spec.parse().unwrap(), DIM, metric, options)
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let mut row = b.to_vec();
    metric.prepare(&mut row);
    let mut out = [0.0];
    let rows = FloatRows::new(&row, DIM, metric);
    crate::Scorer::score(&mut rows.scorer(a), &[crate::Row(0)], &mut out);
    out[0]
}

/// What an index of `oracle` must find.
fn truth(oracle: &BTreeMap<u64, Vec<f32>>, metric: Metric, query: &[f32], k: usize) -> Vec<f32> {
    let mut all: Vec<f32> = oracle.values().map(|x| distance(metric, query, x)).collect();
    all.sort_unstable_by(f32::total_cmp);
    all.truncate(k);
    all
}

fn assert_same(live: &Live, oracle: &BTreeMap<u64, Vec<f32>>, noise: &mut Noise, spec: &str) {
    assert_eq!(live.len(), oracle.len());
    let mut ids: Vec<u64> = live.snapshot().ids().collect();
    ids.sort_unstable();
    assert!(ids.iter().eq(oracle.keys()), "{spec}: {} ids", ids.len());
    let query = noise.vector();
    let k = 1 + noise.below(2 * oracle.len() as u64 + 1) as usize;
    let search = LiveSearch { k, effort: Effort::Exact, ..LiveSearch::default() };
    let found = live.search(&query, &search).unwrap();
    let expected = truth(oracle, live.metric(), &query, k);
    assert_eq!(found.hits.len(), expected.len(), "{spec}");
    let exact = spec.ends_with("rerank32") || !spec.contains(',') || spec.contains("bound");
    for (hit, expected) in found.hits.iter().zip(expected) {
        let own = distance(live.metric(), &query, &oracle[&hit.id]);
        let slack = if exact { 1e-4 } else { 0.1 };
        assert!((hit.distance - own).abs() < slack, "{spec}: {hit:?}, in truth {own}");
        assert!((hit.distance - expected).abs() < slack, "{spec}: {hit:?}, expected {expected}");
    }
    let search = LiveSearch { k, ..search };
    let default = live.search(&query, &LiveSearch { effort: Effort::Default, ..search }).unwrap();
    assert_eq!(default.hits.len(), k.min(oracle.len()), "{spec}: never fewer than there are");
    assert!(default.hits.iter().all(|hit| oracle.contains_key(&hit.id)), "{spec}");
}

#[test]
fn it_behaves_as_a_map_that_can_be_searched() {
    for (at, spec) in SPECS.iter().enumerate() {
        let metric = Metric::ALL[at % 3];
        let (live, mut oracle) = (live(spec, metric), BTreeMap::new());
        let mut noise = Noise(at as u64 * 1000);
        for step in 0..60 {
            match noise.below(8) {
                0..=3 => {
                    let ids: Vec<u64> = (0..noise.below(40)).map(|_| noise.below(300)).collect();
                    let vectors: Vec<Vec<f32>> = ids.iter().map(|_| noise.vector()).collect();
                    let before = oracle.len();
                    for (id, vector) in ids.iter().zip(&vectors) {
                        oracle.insert(*id, vector.clone());
                    }
                    assert_eq!(live.put(&ids, &vectors.concat()), Ok(oracle.len() - before));
                }
                4 | 5 => {
                    let ids: Vec<u64> = (0..noise.below(30)).map(|_| noise.below(300)).collect();
                    let gone = ids.iter().filter(|id| oracle.remove(id).is_some()).count();
                    assert_eq!(live.remove(&ids), gone);
                }
                6 => {
                    let rows = live.snapshot().rows();
                    let did = live.compact().unwrap();
                    assert_eq!((did.kept, did.kept + did.dropped), (oracle.len(), rows));
                    let now = live.snapshot();
                    assert_eq!((now.rows(), now.dead(), now.tails()), (oracle.len(), 0, 0));
                }
                _ => {
                    let id = noise.below(300);
                    assert_eq!(live.contains(id), oracle.contains_key(&id), "step {step}");
                    let expected = oracle.get(&id).cloned().map(|mut vector| {
                        metric.prepare(&mut vector);
                        vector
                    });
                    assert_eq!(live.get(id), expected);
                }
            }
            assert_same(&live, &oracle, &mut noise, spec);
        }
    }
}

#[test]
fn a_snapshot_stays_as_it_is_and_filters_belong_to_one() {
    let live = live("hnsw8,int8", Metric::Euclid);
    let mut noise = Noise(7);
    let ids: Vec<u64> = (0..200).collect();
    let vectors: Vec<f32> = ids.iter().flat_map(|_| noise.vector()).collect();
    live.put(&ids, &vectors).unwrap();
    let before = live.snapshot();
    let odd = before.filter(|id| id % 2 == 1);
    let search = LiveSearch { k: 150, filter: Some(&odd), ..LiveSearch::default() };
    let query = noise.vector();
    let found = before.search(&query, &search).unwrap();
    assert_eq!(found.hits.len(), 100);
    assert!(found.hits.iter().all(|hit| hit.id % 2 == 1));
    live.remove(&ids[..120]);
    live.put(&ids[..50], &vectors[..50 * DIM]).unwrap();
    live.compact().unwrap();
    assert_eq!((before.len(), live.len()), (200, 130));
    assert_eq!(before.search(&query, &search).unwrap(), found, "what is held does not change");
    assert_eq!(live.search(&query, &search), Err(LiveError::Filter));
}

#[test]
fn changes_are_seen_whole_while_others_search_and_compact() {
    let live = live("hnsw8,rq8,rerank32", Metric::Euclid);
    let ids: Vec<u64> = (0..90).collect();
    let all = |generation: f32| vec![generation; ids.len() * DIM];
    live.put(&ids, &all(0.0)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = 0.0;
                while !stop.load(Ordering::Relaxed) {
                    let search = LiveSearch { k: 1000, ..LiveSearch::default() };
                    let found = live.search(&[0.0; DIM], &search).unwrap();
                    let first = found.hits[0].distance;
                    // A generation lies at one distance: nobody sees half of one, or an id twice.
                    let mut seen: Vec<u64> = found.hits.iter().map(|hit| hit.id).collect();
                    seen.sort_unstable();
                    assert_eq!(seen, ids);
                    assert!(found.hits.iter().all(|hit| hit.distance == first), "{found:?}");
                    assert!(first >= newest, "{first} after {newest}");
                    newest = first;
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                live.compact().unwrap();
            }
        });
        for generation in 1..60u8 {
            live.put(&ids, &all(f32::from(generation))).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(live.len(), ids.len());
}

#[test]
fn what_was_put_or_removed_during_a_compaction_counts() {
    let live = live("hnsw8", Metric::Cosine);
    let mut noise = Noise(99);
    let vectors: Vec<Vec<f32>> = (0..400).map(|_| noise.vector()).collect();
    live.put(&(0..400).collect::<Vec<_>>(), &vectors.concat()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                live.compact().unwrap();
            }
        });
        for id in 0..100u64 {
            live.remove(&[id]);
            live.put(&[id + 100], &vectors[id as usize]).unwrap();
            live.put(&[id + 1000], &vectors[id as usize]).unwrap();
            live.remove(&[id + 1000]);
        }
    });
    let mut ids: Vec<u64> = live.snapshot().ids().collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(100..400));
    for id in 100..200u64 {
        let found = live.search(&vectors[id as usize - 100], &LiveSearch::default()).unwrap();
        assert_eq!(found.hits[0].id, id);
    }
}

/// The share of the true ten nearest that default searches find.
fn recall(live: &Live, oracle: &BTreeMap<u64, Vec<f32>>, queries: &[Vec<f32>]) -> f64 {
    let found = queries.iter().map(|query| {
        let all = truth(oracle, live.metric(), query, 10);
        let hits = live.search(query, &LiveSearch { effort: Effort::Ef(24), ..Default::default() });
        let reach = all[9] + 1e-5;
        hits.unwrap().hits.iter().filter(|hit| hit.distance <= reach).count() as f64 / 10.0
    });
    found.sum::<f64>() / queries.len() as f64
}

#[test]
fn recall_after_half_was_replaced_is_that_of_a_fresh_build() {
    for spec in ["hnsw8", "hnsw8,int8", "ivf,pq,rerank32"] {
        let mut noise = Noise(5);
        let options = LiveOptions { tail: 1024, threads: 2, ..LiveOptions::default() };
        let live = Live::new(spec.parse().unwrap(), DIM, Metric::Euclid, options);
        let mut oracle: BTreeMap<u64, Vec<f32>> =
            (0..4000).map(|id| (id, noise.vector())).collect();
        let flat = |part: &BTreeMap<u64, Vec<f32>>| part.values().flatten().copied().collect();
        let all: Vec<f32> = flat(&oracle);
        live.put(&oracle.keys().copied().collect::<Vec<_>>(), &all).unwrap();
        live.compact().unwrap();
        // A tenth at a time, so that a compaction takes over what the one before left.
        for round in 0..5u64 {
            let gone: Vec<u64> = oracle.keys().copied().skip(round as usize).step_by(10).collect();
            assert_eq!(live.remove(&gone), gone.len());
            for id in &gone {
                oracle.remove(id);
            }
            for at in 0..gone.len() as u64 {
                let (id, vector) = (10_000 + round * 1000 + at, noise.vector());
                live.put(&[id], &vector).unwrap();
                oracle.insert(id, vector);
            }
            live.compact().unwrap();
        }
        let queries: Vec<Vec<f32>> = (0..200).map(|_| noise.vector()).collect();
        let fresh = Live::new(spec.parse().unwrap(), DIM, Metric::Euclid, options);
        let all: Vec<f32> = flat(&oracle);
        fresh.put(&oracle.keys().copied().collect::<Vec<_>>(), &all).unwrap();
        fresh.compact().unwrap();
        let (kept, anew) = (recall(&live, &oracle, &queries), recall(&fresh, &oracle, &queries));
        assert!(kept >= anew - 0.01, "{spec}: {kept} after changes, {anew} built anew");
    }
}

#[test]
fn the_same_changes_give_the_same_answers_for_any_number_of_threads() {
    let answers = [1, 2, 5].map(|threads| {
        let options = LiveOptions { tail: 500, threads, ..LiveOptions::default() };
        let live = Live::new("hnsw8,rq4".parse().unwrap(), DIM, Metric::Dot, options);
        let mut noise = Noise(3);
        for round in 0..4 {
            let ids: Vec<u64> = (0..300).map(|id| id + 200 * round).collect();
            let vectors: Vec<f32> = ids.iter().flat_map(|_| noise.vector()).collect();
            live.put(&ids, &vectors).unwrap();
            if round == 1 {
                live.compact().unwrap();
            }
        }
        let queries = (0..50).map(|_| noise.vector());
        let effort = Effort::Ef(10);
        let search = LiveSearch { effort, ..LiveSearch::default() };
        queries.map(|query| live.search(&query, &search).unwrap()).collect::<Vec<_>>()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn refusals_name_the_remedy_and_change_nothing() {
    let live = live("hnsw", Metric::Cosine);
    let said = |error: LiveError| error.to_string();
    let error = said(live.put(&[1, 2], &[0.0; 9]).unwrap_err());
    assert_eq!(error, "9 values for 2 ids of 8 dimensions: give 16");
    let mut bad = [1.0; 16];
    bad[11] = f32::NAN;
    let error = said(live.put(&[1, 2], &bad).unwrap_err());
    assert_eq!(error, "value 3 of the vector of id 2 is not a finite number");
    assert!(live.is_empty() && live.search(&[1.0; 8], &LiveSearch::default()).is_ok());
    assert!(live.search(&[1.0; 7], &LiveSearch::default()).is_err());
    let none = LiveSearch { k: 0, ..LiveSearch::default() };
    assert!(live.search(&[1.0; 8], &none).is_err());
    assert!(live.search(&[f32::INFINITY; 8], &LiveSearch::default()).is_err());
    assert_eq!(live.put(&[], &[]), Ok(0));
    assert_eq!(live.remove(&[5]), 0);
    assert_eq!(live.compact().unwrap(), Compaction::default());
}

#[test]
fn it_goes_on_from_an_index_that_was_built() {
    let mut noise = Noise(42);
    let data: Vec<f32> = (0..100).flat_map(|_| noise.vector()).collect();
    let bytes = kvant_storage::Bytes::copy_of(kvant_storage::bytes_of_f32(&data));
    let rows = || FloatRows::shared(bytes.clone(), DIM, Metric::Euclid).unwrap();
    let build = || {
        crate::Index::build(&"hnsw,int8".parse().unwrap(), rows(), &BuildOptions::default())
            .unwrap()
    };
    let ids: Vec<u64> = (1000..1100).collect();
    let options = LiveOptions::default();
    assert!(Live::over(build(), rows(), ids[1..].to_vec(), options).is_none());
    assert!(Live::over(build(), rows(), vec![1; 100], options).is_none());
    let live = Live::over(build(), rows(), ids, options).unwrap();
    live.remove(&[1005]);
    live.put(&[5], &data[5 * DIM..6 * DIM]).unwrap();
    let found = live.search(&data[5 * DIM..6 * DIM], &LiveSearch::default()).unwrap();
    assert_eq!((found.hits[0].id, found.certainty), (5, Certainty::Bounded));
    assert!(live.wants_compaction() || live.snapshot().dead() == 1);
    assert_eq!(live.compact(), Ok(Compaction { kept: 100, dropped: 1 }));
    let some = Draw::new(1).some(3, 100);
    assert!(some.iter().all(|&row| live.get(u64::from(row) + 1000).is_some() != (row == 5)));
}
