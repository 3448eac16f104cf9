//! Interleavings of a graph that grows with walks of it.

use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU32 as Modelled, Ordering::SeqCst};

use super::*;
use crate::hnsw::search::Gate;
use crate::{FloatRows, Metric};

const ROOM: usize = 14;
const DIM: usize = 2;

impl Atom for Modelled {
    fn new(value: u32) -> Self {
        Self::new(value)
    }

    fn get(&self) -> u32 {
        self.load(SeqCst)
    }

    fn set(&self, value: u32) {
        self.store(value, SeqCst);
    }
}

/// Rows on a spiral: near ones are near by number.
fn spiral() -> Vec<f32> {
    (0..ROOM as u16).map(f32::from).flat_map(|at| [at * at.cos(), at * at.sin()]).collect()
}

fn rows(data: &[f32], len: usize) -> FloatRows<'_> {
    FloatRows::new(&data[..len * DIM], DIM, Metric::Euclid)
}

/// The rows that a walk of `extent` finds around the row `around`; measuring a row past the extent
/// panics.
fn found(grown: &Grown<Modelled>, data: &[f32], extent: Extent, around: u32) -> Vec<u32> {
    let rows = rows(data, extent.len);
    let mut scratch = Scratch::new(ROOM);
    let query = &data[around as usize * DIM..][..DIM];
    let view = grown.view(extent);
    let hits = scratch.search(&view, &mut rows.scorer(query), ROOM, &Gate::OPEN).unwrap();
    let hits: Vec<_> = hits.collect();
    assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
    hits.iter().map(|hit| hit.row.0).collect()
}

/// Every interleaving of loads and stores that the model tries: walks of what was published while
/// rows are linked.
#[test]
fn walks_see_only_rows_that_were_published_while_it_grows() {
    let body = || {
        let data = Arc::new(spiral());
        let grown = Arc::new(Grown::<Modelled>::new(ROOM, 4, 1));
        let first = grown.grow(&rows(&data, 3), Extent::default(), (1, 4));
        let published = Arc::new(Mutex::new(first));
        let readers: Vec<_> = (0..2u32)
            .map(|around| {
                let (data, grown) = (Arc::clone(&data), Arc::clone(&grown));
                let published = Arc::clone(&published);
                shuttle::thread::spawn(move || {
                    let extent = *published.lock().unwrap();
                    let found = found(&grown, &data, extent, around);
                    assert!(found.iter().all(|&row| (row as usize) < extent.len), "{found:?}");
                    let mut once = found.clone();
                    once.sort_unstable();
                    once.dedup();
                    assert!(!found.is_empty() && once.len() == found.len(), "{found:?}");
                })
            })
            .collect();
        let mut extent = first;
        for len in [4, 9, ROOM] {
            extent = grown.grow(&rows(&data, len), extent, (1, 4));
            *published.lock().unwrap() = extent;
        }
        for reader in readers {
            reader.join().unwrap();
        }
        let mut all = found(&grown, &data, extent, 5);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..ROOM as u32), "every row is reached in the end");
    };
    shuttle::check_random(body, 300);
    shuttle::check_pct(body, 100, 3);
}

#[test]
fn it_grows_the_same_by_any_steps_of_a_power_and_any_threads() {
    let data: Vec<f32> =
        (0..2000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
    let grow = |threads: usize| {
        let grown = Grown::<AtomicU32>::new(1000, 8, 3);
        let mut extent = Extent::default();
        for len in [1, 2, 100, 101, 1000] {
            extent = grown.grow(&rows(&data, len), extent, (threads, 32));
        }
        let view = grown.view(extent);
        let links = |row| view.each_link(Row(row), 0).collect::<Vec<_>>();
        ((0..1000).map(links).collect::<Vec<_>>(), extent)
    };
    let one = grow(1);
    assert_eq!(one.1.len, 1000);
    assert!(one.0.iter().all(|links| (1..=24).contains(&links.len())));
    assert!(grow(3) == one && grow(0) == one);
}
