//! Points of several vectors against all of them measured in f64.

use std::path::Path;

use kvant_testkit::{Random, clustered};

use super::*;
use crate::{Budget, Check};

const DIM: usize = 16;

/// `points` of 0 to 11 vectors around a place of their own each, and queries of some vectors around
/// such places.
struct Set {
    metric: Metric,
    data: Vec<f32>,
    counts: Vec<u32>,
    queries: Vec<Vec<Vec<f32>>>,
    /// The distance of every point to each query.
    truth: Vec<Vec<f64>>,
}

impl Set {
    fn new(metric: Metric, points: usize) -> Self {
        let places = clustered(points + 40, DIM, 5);
        let mut random = Random::new(6);
        let mut near = |place: &[f32], count: usize| -> Vec<Vec<f32>> {
            let one = |random: &mut Random| {
                let mut vector: Vec<f32> =
                    place.iter().map(|x| x + 0.6 * random.normal()).collect();
                metric.prepare(&mut vector);
                vector
            };
            (0..count).map(|_| one(&mut random)).collect()
        };
        let (mut data, mut counts) = (Vec::new(), Vec::new());
        for (at, place) in places.chunks_exact(DIM).take(points).enumerate() {
            let count = at * 7 % 12;
            data.extend(near(place, count).concat());
            counts.push(count as u32);
        }
        let queries = places.chunks_exact(DIM).skip(points).map(|place| near(place, 4)).collect();
        let mut set = Self { metric, data, counts, queries, truth: Vec::new() };
        let all = |query| (0..points).map(|point| set.distance(query, point)).collect();
        set.truth = set.queries.iter().map(|query: &Vec<Vec<f32>>| all(query)).collect();
        set
    }

    fn build(&self, spec: &str) -> Multi<'_> {
        let rows = FloatRows::new(&self.data, DIM, self.metric);
        let options = BuildOptions { threads: 2, ..BuildOptions::default() };
        Multi::build(&spec.parse().unwrap(), rows, &self.counts, &options).unwrap()
    }

    fn distance(&self, query: &[Vec<f32>], point: usize) -> f64 {
        let from: u32 = self.counts[..point].iter().sum();
        let own = &self.data[from as usize * DIM..][..self.counts[point] as usize * DIM];
        let each = |q: &Vec<f32>| {
            let one = |t: &[f32]| {
                let pairs = q.iter().zip(t).map(|(&q, &t)| (f64::from(q), f64::from(t)));
                match self.metric {
                    Metric::Cosine => 1.0 - pairs.map(|(q, t)| q * t).sum::<f64>(),
                    Metric::Dot => -pairs.map(|(q, t)| q * t).sum::<f64>(),
                    Metric::Euclid => pairs.map(|(q, t)| (q - t).powi(2)).sum(),
                    Metric::Manhattan => pairs.map(|(q, t)| (q - t).abs()).sum(),
                }
            };
            own.chunks_exact(DIM).map(one).fold(f64::INFINITY, f64::min)
        };
        query.iter().map(each).sum()
    }

    /// Share of the true best points among `hits`, having checked distances and order.
    fn judge(&self, at: usize, options: &SearchOptions<'_>, hits: &[Hit]) -> f64 {
        let allowed = |p: &usize| options.allowed.is_none_or(|set| set.contains(Row(*p as u32)));
        let all = (0..self.counts.len()).filter(allowed).filter(|&p| self.counts[p] > 0);
        let truth = &self.truth[at];
        let mut all: Vec<f64> = all.map(|point| truth[point]).collect();
        all.sort_by(f64::total_cmp);
        let k = options.k.min(all.len());
        assert_eq!(hits.len(), k, "as many as have vectors, up to k");
        assert!(hits.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
        for hit in hits {
            let expected = truth[hit.row.position()];
            assert!(allowed(&hit.row.position()));
            let off = (f64::from(hit.distance) - expected).abs();
            assert!(off <= 1e-4 * (1.0 + expected.abs()), "{hit:?}, not {expected}");
        }
        let near = |hit: &&Hit| {
            let last = all[k - 1] + 1e-4 * (1.0 + all[k - 1].abs());
            truth[hit.row.position()] <= last
        };
        if k == 0 { 1.0 } else { hits.iter().filter(near).count() as f64 / k as f64 }
    }

    fn recall(
        &self,
        multi: &Multi<'_, impl AsRef<[u8]> + Sync>,
        options: &SearchOptions<'_>,
    ) -> f64 {
        let each = |(at, query): (usize, &Vec<Vec<f32>>)| {
            self.judge(at, options, &multi.search(query, options).unwrap().hits)
        };
        self.queries.iter().enumerate().map(each).sum::<f64>() / self.queries.len() as f64
    }
}

#[test]
fn points_are_found_by_the_sum_of_their_best_pairs() {
    for metric in Metric::ALL {
        let set = Set::new(metric, 3000);
        for spec in ["flat", "hnsw16", "ivf60", "hnsw8,int8,rerank32"] {
            let multi = set.build(spec);
            let every = Bitmap::full(3000);
            let half = Bitmap::of(3000, |row| row.0 % 2 == 1);
            let few = Bitmap::of(3000, |row| row.0 % 97 == 1);
            for allowed in [None, Some(&every), Some(&half), Some(&few)] {
                for k in [1, 10, 50] {
                    let options = SearchOptions { k, allowed, ..SearchOptions::default() };
                    let found = set.recall(&multi, &options);
                    assert!(found >= 0.95, "{metric} {spec} k {k}: {found}");
                    let exact = SearchOptions { effort: Effort::Exact, ..options };
                    assert_eq!(set.recall(&multi, &exact), 1.0, "{metric} {spec} k {k}");
                }
            }
            let found = multi.search(&set.queries[0], &SearchOptions::default()).unwrap();
            let flat = if spec == "flat" { Certainty::Exact } else { Certainty::Bounded };
            assert_eq!(found.certainty, flat, "{spec}");
            let exact = SearchOptions { effort: Effort::Exact, ..SearchOptions::default() };
            let found = multi.search(&set.queries[0], &exact).unwrap();
            assert_eq!(found.certainty, Certainty::Exact, "{spec}");
        }
    }
}

#[test]
fn any_number_of_points_and_of_k() {
    for points in [0, 1, 2, 13, 300] {
        let set = Set::new(Metric::Cosine, points);
        for spec in ["flat", "hnsw4", "ivf3,pq,rerank32"] {
            let multi = set.build(spec);
            assert_eq!((multi.len(), multi.is_empty()), (points, points == 0));
            for k in [1, points.max(1), points + 1, usize::MAX] {
                let options = SearchOptions { k, ..SearchOptions::default() };
                let found = set.recall(&multi, &options);
                assert!(found >= 0.95, "{spec}, {points} points, k {k}: {found}");
            }
        }
    }
}

#[test]
fn scores_are_sums_of_similarities() {
    let set = Set::new(Metric::Cosine, 50);
    let multi = set.build("flat");
    let found = multi.search(&set.queries[1], &SearchOptions::default()).unwrap();
    let point = found.hits[0].row;
    let expected = 4.0 - set.distance(&set.queries[1], point.position());
    let score = multi.similarity(found.hits[0].distance, 4);
    assert!((f64::from(score) - expected).abs() < 1e-4);
    assert_eq!(multi.vectors(point).len(), set.counts[point.position()] as usize);
}

#[test]
fn examples_are_points_too() {
    let set = Set::new(Metric::Cosine, 400);
    let multi = set.build("hnsw8");
    let [a, b] = [&set.queries[2], &set.queries[3]];
    let examples = Examples::Sum { positive: vec![a.clone()], negative: vec![b.clone()] };
    let found = multi.search_examples(&examples, &SearchOptions::default()).unwrap();
    let score = |p: usize| set.distance(b, p) - set.distance(a, p);
    let best = (0..400).filter(|&p| set.counts[p] > 0).map(score).fold(f64::MIN, f64::max);
    assert!((f64::from(found.hits[0].distance) + best).abs() < 1e-3, "{best}: {found:?}");
    assert_eq!((found.certainty, found.hits.len()), (Certainty::Exact, 10));
    let none = Examples::Sum { positive: vec![vec![]], negative: vec![] };
    assert!(multi.search_examples(&none, &SearchOptions::default()).is_err());
}

#[test]
fn what_does_not_fit_is_refused_and_budgets_end_it() {
    let set = Set::new(Metric::Dot, 2000);
    for spec in ["flat", "hnsw8"] {
        let multi = set.build(spec);
        let options = SearchOptions::default();
        let query = &set.queries[0];
        let refused = |query: &[Vec<f32>], options| multi.search(query, &options).unwrap_err();
        assert_eq!(refused(&[], options), SearchError::Dimension { expected: DIM, got: 0 });
        let short = SearchError::Dimension { expected: DIM, got: 2 };
        assert_eq!(refused(&[query[0].clone(), vec![0.0; 2]], options), short);
        let set = Bitmap::new(3);
        let wrong = SearchError::Allowed { expected: 2000, got: 3 };
        assert_eq!(refused(query, SearchOptions { allowed: Some(&set), ..options }), wrong);
        assert_eq!(refused(query, SearchOptions { k: 0, ..options }), SearchError::Nothing);
        let cancel = std::sync::atomic::AtomicBool::new(true);
        let budget = Budget { cancel: Some(&cancel), ..Budget::default() };
        let found = multi.search(query, &SearchOptions { budget, ..options }).unwrap();
        assert_eq!(found.certainty, Certainty::Truncated, "{spec}");
    }
}

fn open(bytes: &[u8], check: Check) -> Result<MultiStored, String> {
    let opened = MultiStored::open(bytes.to_vec().into(), Path::new("dir/texts.kvant"), check);
    opened.map_err(|error| error.to_string())
}

#[test]
fn bytes_bring_back_the_same_points() {
    for points in [0, 1, 900] {
        let set = Set::new(Metric::Euclid, points);
        for spec in ["flat", "hnsw8,rq8,rerank32", "ivf10,pq,rerank8"] {
            let multi = set.build(spec);
            let bytes = multi.to_bytes();
            for check in [Check::Opened, Check::Everything] {
                let stored = open(&bytes, check).unwrap();
                let again = stored.multi().unwrap();
                assert_eq!((again.len(), stored.len()), (points, points));
                assert_eq!(again.to_bytes(), bytes, "{spec}");
                for query in &set.queries[..5] {
                    let options = SearchOptions::default();
                    assert_eq!(again.search(query, &options), multi.search(query, &options));
                }
            }
        }
    }
}

#[test]
fn every_changed_bit_is_told_or_makes_no_difference() {
    let set = Set::new(Metric::Euclid, 600);
    let bytes = set.build("hnsw4,rq4,rerank32").to_bytes();
    let options = SearchOptions::default();
    let answers = |stored: &MultiStored| {
        let multi = stored.multi().map_err(|error| error.to_string())?;
        let each = |query: &Vec<Vec<f32>>| multi.search(query, &options);
        Ok::<_, String>(set.queries[..3].iter().map(each).collect::<Vec<_>>())
    };
    let truth = answers(&open(&bytes, Check::Opened).unwrap()).unwrap();
    let mut random = Random::new(12);
    let mut told = 0;
    for _ in 0..200 {
        let bit = random.below(bytes.len() * 8);
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let padding = bytes[bit / 8] == 0;
        assert!(open(&changed, Check::Everything).is_err() || padding, "{bit} unseen");
        match open(&changed, Check::Opened).and_then(|stored| answers(&stored)) {
            Err(text) => {
                assert!(text.starts_with("dir/texts.kvant: "), "{text}");
                told += 1;
            }
            Ok(found) => {
                for (found, truth) in found.iter().zip(&truth) {
                    let damaged = matches!(found, Err(SearchError::Damaged { .. }));
                    assert!(damaged || found == truth, "bit {bit}: a wrong answer");
                    told += usize::from(damaged);
                }
            }
        }
    }
    assert!(told > 100, "{told} told");
}

#[test]
fn points_that_do_not_cover_the_vectors_are_refused() {
    let set = Set::new(Metric::Dot, 30);
    let multi = set.build("flat");
    let last = *multi.starts.last().unwrap();
    for starts in [vec![0, last - 1], vec![1, last], vec![0, last, 3, last], vec![last + 1]] {
        let forged = Multi { index: set.build("flat").index, starts: starts.into() };
        assert!(open(&forged.to_bytes(), Check::Opened).unwrap_err().contains("points"));
    }
}
