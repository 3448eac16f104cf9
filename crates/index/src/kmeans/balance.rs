//! Clusters of bounded size.

use super::assign::{Nearest, Points};

/// How fast large clusters move away, in mean distances an iteration for one of twice the size.
const RATE: f64 = 0.03;
/// Rows whose scores are computed at a time.
const ROWS: usize = 1024;

/// Most rows of a cluster; all rows fit.
pub(super) fn most(rows: usize, k: usize, balance: f64) -> usize {
    let most = (rows as f64 / k as f64 * balance).floor();
    (most as usize).max(rows.div_ceil(k))
}

/// Raises the penalties of clusters above the mean size, lowers others.
pub(super) fn punish(penalties: &mut [f32], assigned: &[u32], mean_distance: f64) {
    let mut sizes = vec![0u32; penalties.len()];
    for &cluster in assigned {
        sizes[cluster as usize] += 1;
    }
    let mean = assigned.len() as f64 / penalties.len() as f64;
    for (penalty, size) in penalties.iter_mut().zip(sizes) {
        let over = f64::from(size) / mean - 1.0;
        *penalty = (f64::from(*penalty) + RATE * mean_distance * over.min(2.0)).max(0.0) as f32;
    }
}

/// Moves rows out of clusters of more than `most`, those farthest from the centroid, each to the
/// nearest cluster with room.
pub(super) fn bound(points: &Points<'_>, centroids: &[f32], most: usize, nearest: &mut [Nearest]) {
    let k = centroids.len() / points.dim;
    let mut members = vec![Vec::new(); k];
    for (row, nearest) in (0u32..).zip(nearest.iter()) {
        members[nearest.cluster as usize].push(row);
    }
    let mut room: Vec<usize> = members.iter().map(|rows| most.saturating_sub(rows.len())).collect();
    let mut out = Vec::new();
    for rows in members.iter_mut().filter(|rows| rows.len() > most) {
        let distance = |&row: &u32| points.distance(row as usize, nearest[row as usize]);
        rows.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.cmp(b)));
        out.extend_from_slice(&rows[most..]);
    }
    out.sort_unstable();
    for rows in out.chunks(ROWS) {
        let scores = points.scores(rows, centroids);
        for (&row, scores) in rows.iter().zip(scores.chunks_exact(k)) {
            let open = (0..k).filter(|&cluster| room[cluster] > 0);
            let best = open.min_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            if let Some(cluster) = best {
                room[cluster] -= 1;
                let score = scores[cluster];
                nearest[row as usize] = Nearest { cluster: cluster as u32, score };
            }
        }
    }
}
