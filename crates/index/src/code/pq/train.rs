//! The centroids of each part: Lloyd's iterations in few dimensions, on a sample.

use std::ops::Range;

use super::{CENTROIDS, PqOptions, range};
use crate::seed::{Draw, mix};
use crate::spread::spread;
use crate::{FloatRows, Row, Rows};

/// One dimension of the centroids of a part.
pub(super) type Column = [f32; CENTROIDS];

/// More than these change little.
const ITERATIONS: usize = 16;

/// The centroids by dimensions: 16 values for each.
pub(super) fn books(rows: &FloatRows<'_>, parts: usize, options: &PqOptions) -> Vec<f32> {
    let dim = rows.dim();
    let sample = Draw::new(options.seed).some(options.training.max(1), rows.len());
    // By dimensions, so that a part is read in a row.
    let mut columns = vec![0.0f32; dim * sample.len()];
    for (at, &row) in sample.iter().enumerate() {
        for (j, &x) in rows.vector(Row(row)).iter().enumerate() {
            columns[j * sample.len() + at] = x;
        }
    }
    let each = spread(&mut vec![(); options.threads.max(1)], parts, |(), part| {
        let range = range(part, parts, dim);
        let columns = &columns[range.start * sample.len()..range.end * sample.len()];
        learn(columns, range.len(), &mut Draw::new(options.seed ^ mix(part as u64 + 1)))
    });
    each.concat().concat()
}

/// The centroids of one part of `dim` columns.
pub(super) fn learn(columns: &[f32], dim: usize, draw: &mut Draw) -> Vec<Column> {
    let count = columns.len() / dim;
    let mut book = vec![[0.0f32; CENTROIDS]; dim];
    if count == 0 {
        return book;
    }
    let point = |at: usize| (0..dim).map(move |j| columns[j * count + at]);
    for (code, at) in start(columns, dim, draw).into_iter().enumerate() {
        book.iter_mut().zip(point(at)).for_each(|(line, x)| line[code] = x);
    }
    settle(columns, &mut book, ITERATIONS);
    book
}

/// What the codes of a part stand for, by columns.
pub(super) fn values(columns: &[f32], book: &[Column]) -> Vec<f32> {
    let (dim, count) = (book.len(), columns.len() / book.len());
    let mut values = vec![0.0; columns.len()];
    for at in 0..count {
        let point = (0..dim).map(|j| columns[j * count + at]);
        let code = usize::from(closest(point, book.iter()));
        (0..dim).for_each(|j| values[j * count + at] = book[j][code]);
    }
    values
}

/// Moves the centroids of a part to the means of what is nearest to them, at most `iterations`
/// times.
pub(super) fn settle(columns: &[f32], book: &mut [Column], iterations: usize) {
    let (dim, count) = (book.len(), columns.len() / book.len());
    let point = |at: usize| (0..dim).map(move |j| columns[j * count + at]);
    let mut codes = vec![0u8; count];
    for _ in 0..iterations {
        let mut sums = vec![[0.0f64; CENTROIDS]; dim];
        let mut sizes = [0usize; CENTROIDS];
        let mut changed = false;
        for (at, code) in codes.iter_mut().enumerate() {
            let next = closest(point(at), book.iter());
            changed |= next != *code;
            *code = next;
            sizes[usize::from(next)] += 1;
            sums.iter_mut().zip(point(at)).for_each(|(s, x)| s[usize::from(next)] += f64::from(x));
        }
        for (line, sums) in book.iter_mut().zip(&sums) {
            for code in (0..CENTROIDS).filter(|&code| sizes[code] > 0) {
                line[code] = (sums[code] / sizes[code] as f64) as f32;
            }
        }
        if !changed {
            break;
        }
    }
}

/// Points far from one another (k-means++).
fn start(columns: &[f32], dim: usize, draw: &mut Draw) -> Vec<usize> {
    let count = columns.len() / dim;
    let mut nearest = vec![f64::INFINITY; count];
    let mut chosen = vec![draw.below(count)];
    while chosen.len() < CENTROIDS {
        let last = chosen[chosen.len() - 1];
        let mut total = 0.0;
        for (at, nearest) in nearest.iter_mut().enumerate() {
            let gap = |j: usize| f64::from(columns[j * count + at] - columns[j * count + last]);
            let distance: f64 = (0..dim).map(|j| gap(j) * gap(j)).sum();
            *nearest = nearest.min(distance);
            total += *nearest;
        }
        let mut rest = draw.unit() * total;
        let next = nearest.iter().position(|&chance| {
            rest -= chance;
            chance > 0.0 && rest < 0.0
        });
        // Doubles where fewer than 16 points differ.
        chosen.push(next.unwrap_or(last));
    }
    chosen
}

/// The code of the nearest centroid, of equal ones the first.
fn closest<'a>(
    point: impl Iterator<Item = f32>,
    book: impl Iterator<Item = &'a [f32; CENTROIDS]>,
) -> u8 {
    let mut distances = [0.0f32; CENTROIDS];
    for (x, line) in point.zip(book) {
        distances.iter_mut().zip(line).for_each(|(d, c)| *d += (x - c) * (x - c));
    }
    let mut best = 0;
    for code in 1..CENTROIDS {
        if distances[code] < distances[best] {
            best = code;
        }
    }
    best as u8
}

/// The code of a part of a row.
pub(super) fn nearest(row: &[f32], books: &[f32], range: Range<usize>) -> u8 {
    let (lines, _) = books.as_chunks::<CENTROIDS>();
    closest(row[range.clone()].iter().copied(), lines[range].iter())
}
