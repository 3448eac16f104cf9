//! What this machine's memory gives at most: a buffer that no cache holds, read from end to end.

use std::path::Path;
use std::sync::{Barrier, Mutex};
use std::time::Instant;

/// Least bytes of the buffer; it has four times the largest cache if that is more,
const BYTES_MIN: usize = 256 << 20;
/// and no more than this.
const BYTES_MAX: usize = 1 << 30;
/// Times through the buffer; the fastest counts.
const ROUNDS: usize = 8;
/// Numbers that are added side by side.
const LANES: usize = 8;

/// What the limit is, in words.
pub(super) const PROBE: &str = "the fastest read of a buffer four times the last cache";

/// Billions of bytes a second that `threads` threads read together. Each has its own part of the
/// buffer and all begin a round together, which lasts until the last is done.
pub(super) fn read_gb_s(threads: usize) -> f64 {
    let threads = threads.clamp(1, std::thread::available_parallelism().map_or(1, usize::from));
    let numbers = size(Path::new("/sys/devices/system/cpu/cpu0/cache")) / 8 / threads;
    let (start, best) = (Barrier::new(threads), Mutex::new([0.0f64; ROUNDS]));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let part: Vec<u64> = (0..numbers as u64).collect();
                for round in 0..ROUNDS {
                    start.wait();
                    let began = Instant::now();
                    std::hint::black_box(sum(std::hint::black_box(&part)));
                    let took = began.elapsed().as_secs_f64();
                    if let Ok(mut slowest) = best.lock() {
                        slowest[round] = slowest[round].max(took);
                    }
                }
            });
        }
    });
    let rounds = best.into_inner().unwrap_or([f64::INFINITY; ROUNDS]);
    let fastest = rounds.into_iter().fold(f64::INFINITY, f64::min);
    (numbers * 8 * threads) as f64 / fastest / 1e9
}

fn sum(numbers: &[u64]) -> u64 {
    let mut sums = [0u64; LANES];
    for lanes in numbers.as_chunks::<LANES>().0 {
        for (sum, number) in sums.iter_mut().zip(lanes) {
            *sum = sum.wrapping_add(*number);
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

/// Bytes of the buffer by what the system tells of the caches in `folder`.
fn size(folder: &Path) -> usize {
    let caches = (0..8).filter_map(|index| {
        let text = std::fs::read_to_string(folder.join(format!("index{index}/size"))).ok()?;
        text.trim().strip_suffix('K')?.parse::<usize>().ok()
    });
    let largest = caches.max().unwrap_or(0);
    largest.saturating_mul(4 << 10).clamp(BYTES_MIN, BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_four_times_the_largest_cache_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(size(folder.path()), BYTES_MIN);
        let put = |index: usize, text: &str| {
            let place = folder.path().join(format!("index{index}"));
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("size"), text).unwrap();
        };
        put(0, "48K\n");
        put(3, "98304K\n");
        assert_eq!(size(folder.path()), 4 * 98304 * 1024);
        put(3, "32768K\n");
        assert_eq!(size(folder.path()), BYTES_MIN);
        put(3, "9999999999999K\n");
        assert_eq!(size(folder.path()), BYTES_MAX);
        put(3, "many");
        assert_eq!(size(folder.path()), BYTES_MIN);
    }

    #[test]
    fn every_number_is_read() {
        let numbers: Vec<u64> = (0..64).collect();
        assert_eq!(sum(&numbers), 63 * 64 / 2);
        assert_eq!(sum(&[u64::MAX; 16]), 0u64.wrapping_sub(16));
    }
}
