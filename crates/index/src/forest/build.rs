//! Growing trees.

use kvant_kernels::kernels;

use super::{Forest, depth_of};
use crate::file::Reader;
use crate::key::{distance, order};
use crate::seed::{Draw, mix};
use crate::sieve::Sieve;
use crate::space::Space;
use crate::spread::spread_by;
use crate::{BuildOptions, FloatRows, Metric, Row, Rows};

/// Rows that two centres are learnt from.
const SAMPLE: usize = 64;
const ITERATIONS: usize = 4;
/// Under which the trees that are grown are kept.
const TREES: &str = "trees";

pub(super) fn build(
    rows: Option<&FloatRows<'_>>,
    len: usize,
    trees: usize,
    options: &BuildOptions<'_>,
) -> Forest {
    let trees = trees.clamp(1, crate::TREES_MAX);
    let tell = |rows| options.progress.iter().for_each(|progress| progress(rows));
    let empty = Space { metric: Metric::Euclid, dim: 1, length: 0.0 };
    let rows = rows.filter(|rows| crate::code::check_rows(rows).is_ok());
    let space = rows.map_or(empty, Space::of);
    let depth = if rows.is_some() { depth_of(len) } else { 0 };
    let mut forest = Forest {
        trees,
        space,
        depth,
        normals: Vec::new(),
        planes: Vec::new(),
        rows: Vec::new(),
        sieve: Sieve::new(len),
    };
    let Some(rows) = rows.filter(|_| depth > 0) else {
        tell(len);
        return forest;
    };
    let lifts: Vec<f32> = match space.metric {
        Metric::Dot => rows.data().chunks_exact(space.dim).map(|row| space.lift(row)).collect(),
        Metric::Cosine | Metric::Euclid | Metric::Manhattan => Vec::new(),
    };
    let ground = Ground { rows, lifts, space, depth };
    let threads = options.threads.max(1);
    let kept = options.kept(TREES, |bytes| {
        let kept = Forest::read(&mut Reader::whole(&bytes), len).ok()?;
        let fits = kept.trees <= trees && (kept.space, kept.depth) == (space, depth);
        fits.then_some(kept)
    });
    let first = kept.as_ref().map_or(0, Forest::trees);
    forest = kept.unwrap_or(forest);
    let mut told = len * first / trees;
    tell(told);
    for from in (first..trees).step_by(threads) {
        let count = threads.min(trees - from);
        let grown = spread_by(1, &mut vec![(); threads], count, |(), at| {
            ground.tree(mix(options.seed ^ mix((from + at) as u64)))
        });
        for tree in grown {
            forest.normals.extend(tree.normals);
            forest.planes.extend(tree.planes);
            forest.rows.extend(tree.rows);
        }
        forest.trees = from + count;
        options.keep(TREES, || {
            let mut bytes = Vec::new();
            forest.write(&mut bytes);
            bytes
        });
        let done = len * (from + count) / trees;
        tell(done - told);
        told = done;
    }
    forest
}

/// What trees grow on.
struct Ground<'a> {
    rows: &'a FloatRows<'a>,
    /// The coordinate that each row gets, where it gets one.
    lifts: Vec<f32>,
    space: Space,
    depth: usize,
}

struct Tree {
    normals: Vec<i8>,
    planes: Vec<(f32, f32)>,
    rows: Vec<u32>,
}

/// A plane as it is kept, and its values for rows.
struct Plane {
    bytes: Vec<i8>,
    step: f32,
    /// The same in f32, with what stands for the coordinate that rows get behind it.
    values: Vec<f32>,
}

impl Ground<'_> {
    fn tree(&self, seed: u64) -> Tree {
        let len = self.rows.len();
        let mut tree =
            Tree { normals: Vec::new(), planes: Vec::new(), rows: (0..len as u32).collect() };
        let mut keys: Vec<u64> = Vec::with_capacity(len);
        for level in 0..self.depth {
            for at in 0..1 << level {
                let rows = &mut tree.rows[super::range(len, level, at)];
                let plane = self.plane(rows, mix(seed ^ mix((1 << level | at) as u64)));
                keys.clear();
                keys.extend(rows.iter().map(|&row| {
                    let value = self.product(&plane.values, row);
                    u64::from(order(value)) << 32 | u64::from(row)
                }));
                let threshold = halve(&mut keys);
                rows.iter_mut().zip(&keys).for_each(|(row, &key)| *row = key as u32);
                tree.normals.extend(plane.bytes);
                tree.planes.push((plane.step, threshold));
            }
        }
        for leaf in 0..1 << self.depth {
            tree.rows[super::range(len, self.depth, leaf)].sort_unstable();
        }
        tree
    }

    /// The direction from one centre of some of `rows` to another, as bytes.
    fn plane(&self, rows: &[u32], seed: u64) -> Plane {
        let mut draw = Draw::new(seed);
        let sample: Vec<u32> = if rows.len() <= SAMPLE {
            rows.to_vec()
        } else {
            (0..SAMPLE).map(|_| rows[draw.below(rows.len())]).collect()
        };
        let width = self.space.width();
        let mut normal = vec![0.0f64; width];
        for sign in [-1.0, 1.0] {
            self.add(&mut normal, sample[draw.below(sample.len())], sign);
        }
        let mut shift = None;
        for _ in 0..ITERATIONS {
            let values: Vec<f32> = normal.iter().map(|&x| x as f32).collect();
            let products: Vec<f32> = sample.iter().map(|&r| self.product(&values, r)).collect();
            let middle = shift.unwrap_or_else(|| median(&products));
            let (mut centres, mut counts) = ([vec![0.0; width], vec![0.0; width]], [0.0, 0.0]);
            for (&row, &product) in sample.iter().zip(&products) {
                let side = usize::from(product >= middle);
                self.add(&mut centres[side], row, 1.0);
                counts[side] += 1.0;
            }
            if counts.contains(&0.0) {
                break;
            }
            let [low, high] = &centres;
            let gap = |(l, h): (&f64, &f64)| h / counts[1] - l / counts[0];
            normal = low.iter().zip(high).map(gap).collect();
            let middle = |(l, h): (&f64, &f64)| f64::midpoint(h / counts[1], l / counts[0]);
            let middles = low.iter().zip(high).map(middle);
            shift = Some(middles.zip(&normal).map(|(m, n)| m * n).sum::<f64>() as f32);
        }
        rounded(&normal, self.space.dim)
    }

    fn product(&self, values: &[f32], row: u32) -> f32 {
        let vector = self.rows.vector(Row(row));
        let lift = self.lifts.get(row as usize).map_or(0.0, |lift| lift * values[vector.len()]);
        kernels().dot_f32(vector, &values[..vector.len()]) + lift
    }

    fn add(&self, to: &mut [f64], row: u32, sign: f64) {
        let lift = self.lifts.get(row as usize);
        let values = self.rows.vector(Row(row)).iter().chain(lift);
        to.iter_mut().zip(values).for_each(|(to, &x)| *to += sign * f64::from(x));
    }
}

/// A normal of unit length as bytes of one step.
fn rounded(normal: &[f64], dim: usize) -> Plane {
    let length = normal.iter().map(|x| x * x).sum::<f64>().sqrt();
    let per_unit = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    let largest = normal[..dim].iter().fold(0.0f64, |largest, x| largest.max(x.abs())) * per_unit;
    let step = if largest > 0.0 { (largest / 127.0) as f32 } else { 1.0 };
    let byte = |x: &f64| (x * per_unit / f64::from(step)).round() as i8;
    let bytes: Vec<i8> = normal[..dim].iter().map(byte).collect();
    let lift = normal.get(dim).map(|x| (x * per_unit) as f32);
    let values = bytes.iter().map(|&b| f32::from(b) * step).chain(lift).collect();
    Plane { bytes, step, values }
}

/// Puts the lower half of `keys` first, and says what lies between the halves.
fn halve(keys: &mut [u64]) -> f32 {
    let middle = keys.len() / 2;
    if middle == 0 {
        return 0.0;
    }
    keys.select_nth_unstable(middle);
    let value = |key: u64| f64::from(distance((key >> 32) as u32));
    let below = keys[..middle].iter().copied().max().map_or(0.0, value);
    f64::midpoint(below, value(keys[middle])) as f32
}

fn median(values: &[f32]) -> f32 {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}
