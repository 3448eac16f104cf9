//! Independent pieces of work over a few threads, results in order.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Pieces a thread takes at a time.
const BLOCK: usize = 16;

/// `work(state, i)` for `i` in `0..count`, in order, on one thread per state.
///
/// Which thread does a piece is left to chance, so `work` must give the same whatever state it is
/// handed.
pub(crate) fn spread<S: Send, T: Send>(
    states: &mut [S],
    count: usize,
    work: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    spread_by(BLOCK, states, count, work)
}

/// The same for few large pieces, `block` of them at a time.
pub(crate) fn spread_by<S: Send, T: Send>(
    block: usize,
    states: &mut [S],
    count: usize,
    work: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let (work, next) = (&work, &next);
    let run = move |state: &mut S| {
        let mut blocks: Vec<(usize, Vec<T>)> = Vec::new();
        loop {
            let from = next.fetch_add(block, Ordering::Relaxed);
            if from >= count {
                return blocks;
            }
            let to = count.min(from + block);
            blocks.push((from, (from..to).map(|at| work(state, at)).collect()));
        }
    };
    let needed = count.div_ceil(block).max(1).min(states.len());
    let Some((own, others)) = states[..needed].split_first_mut() else {
        return Vec::new();
    };
    let mut found: Vec<Vec<(usize, Vec<T>)>> = others.iter().map(|_| Vec::new()).collect();
    let mut blocks = std::thread::scope(|scope| {
        for (state, found) in others.iter_mut().zip(&mut found) {
            scope.spawn(move || *found = run(state));
        }
        run(own)
    });
    blocks.extend(found.into_iter().flatten());
    blocks.sort_unstable_by_key(|&(from, _)| from);
    blocks.into_iter().flat_map(|(_, block)| block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        for threads in 1..5 {
            for count in [0, 1, 15, 16, 17, 1000] {
                let mut states = vec![0; threads];
                let got = spread(&mut states, count, |state, at| {
                    *state += 1;
                    at * at
                });
                assert_eq!(got, (0..count).map(|at| at * at).collect::<Vec<_>>());
                assert_eq!(states.iter().sum::<usize>(), count);
            }
        }
    }
}
