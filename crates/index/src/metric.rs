//! How far apart two vectors are.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The measure of an index. Inside, every measure is a distance: lower is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// `1 − cos(a, b)`, in 0..=2. Rows are unit vectors; a zero vector is at 1 from everything.
    Cosine,
    /// `−Σ a·b`.
    Dot,
    /// Squared Euclidean distance `Σ (a−b)²`.
    Euclid,
    /// `Σ |a−b|`.
    Manhattan,
}

/// A name that is no metric.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown metric '{0}': use cosine, dot, euclid or manhattan (cos, ip, l2, l1)")]
pub struct MetricError(String);

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 4] = [Self::Cosine, Self::Dot, Self::Euclid, Self::Manhattan];

    /// The name that [`FromStr`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclid => "euclid",
            Self::Manhattan => "manhattan",
        }
    }

    /// The name that benchmarks use, which [`FromStr`] takes too.
    pub fn short(self) -> &'static str {
        match self {
            Self::Cosine => "cos",
            Self::Dot => "ip",
            Self::Euclid => "l2",
            Self::Manhattan => "l1",
        }
    }

    /// Brings a vector into the form rows are kept in: unit length for cosine, else unchanged.
    ///
    /// A zero vector stays zero. The norm is summed in f64, so no finite vector overflows it.
    pub fn prepare(self, vector: &mut [f32]) {
        match self {
            Self::Cosine => {
                let norm = norm(vector);
                if norm > 0.0 {
                    for x in vector {
                        *x = (f64::from(*x) / norm) as f32;
                    }
                }
            }
            Self::Dot | Self::Euclid | Self::Manhattan => {}
        }
    }

    /// How alike two vectors at a distance are, as searches by examples count it: cosine
    /// similarity, inner product, else the distance with a minus (squared for
    /// [`Metric::Euclid`]). Higher is closer.
    pub fn similarity(self, distance: f32) -> f32 {
        self.alike() - distance
    }

    /// The similarity at no distance.
    pub(crate) fn alike(self) -> f32 {
        if self == Self::Cosine { 1.0 } else { 0.0 }
    }

    /// What people expect to read for a distance: cosine similarity, inner product, Euclidean
    /// distance (the root of ours), Manhattan distance.
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::Cosine => 1.0 - distance,
            Self::Dot => 0.0 - distance,
            Self::Euclid => distance.max(0.0).sqrt(),
            Self::Manhattan => distance,
        }
    }
}

/// One over the length of a query measured by its cosine, 0 for a zero query; 1 for the rest.
pub(crate) fn scale_of(metric: Metric, query: &[f32]) -> f32 {
    if metric != Metric::Cosine {
        return 1.0;
    }
    let norm = norm(query);
    if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 }
}

/// Euclidean length, summed in f64.
pub(crate) fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(name: &str) -> Result<Self, MetricError> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == name || metric.short() == name)
            .ok_or_else(|| MetricError(name.chars().take(32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_errors_list_them() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
            assert_eq!(metric.short().parse(), Ok(metric));
        }
        let error = "chebyshev".parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("'chebyshev'") && error.contains("manhattan"), "{error}");
    }

    #[test]
    fn prepare_makes_unit_rows_for_cosine_only() {
        let mut v = [3e30, 4e30];
        Metric::Cosine.prepare(&mut v);
        assert!((v[0] - 0.6).abs() < 1e-6 && (v[1] - 0.8).abs() < 1e-6, "{v:?}");
        let mut zero = [0.0; 3];
        Metric::Cosine.prepare(&mut zero);
        assert_eq!(zero, [0.0; 3]);
        let mut same = [3.0, 4.0];
        Metric::Dot.prepare(&mut same);
        assert_eq!(same, [3.0, 4.0]);
    }

    #[test]
    fn scores_read_the_way_people_expect() {
        assert_eq!(Metric::Cosine.score(0.25), 0.75);
        assert_eq!(Metric::Dot.score(-2.0), 2.0);
        assert_eq!(Metric::Euclid.score(9.0), 3.0);
        assert_eq!(Metric::Manhattan.score(9.0), 9.0);
    }
}
