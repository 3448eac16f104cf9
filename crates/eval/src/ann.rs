//! How well and how fast nearest neighbours are found: recall, and curves of it against speed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::Machine;

/// Recalls at which engines are compared.
pub const LEVELS: [f64; 4] = [0.9, 0.95, 0.99, 0.999];

/// Mean share of the true neighbours that were found: `found` and `truth` hold `k` rows for each
/// query, negative numbers standing for none. A query that has no neighbours counts as answered.
///
/// # Panics
/// If they are not whole lists of `k ≥ 1`, as many of each.
pub fn recall(found: &[i32], truth: &[i32], k: usize) -> f64 {
    assert!(k > 0 && found.len() == truth.len() && found.len().is_multiple_of(k), "lists of {k}");
    let lists = found.chunks_exact(k).zip(truth.chunks_exact(k));
    let shares = lists.map(|(found, truth)| {
        let wanted = truth.iter().filter(|row| **row >= 0);
        let (mut hits, mut count) = (0, 0);
        for row in wanted {
            (hits, count) = (hits + usize::from(found.contains(row)), count + 1);
        }
        if count == 0 { 1.0 } else { hits as f64 / f64::from(count) }
    });
    shares.sum::<f64>() / (found.len() / k).max(1) as f64
}

/// What one setting of an engine gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The setting.
    pub param: String,
    /// Mean share of the true neighbours.
    pub recall: f64,
    /// Queries a second, one a call.
    pub qps_one: Option<f64>,
    /// Queries a second, all in one call.
    pub qps_batch: Option<f64>,
}

/// Which of the speeds of a [`Point`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// One query a call.
    One,
    /// All queries in one call.
    Batch,
}

impl Calls {
    /// That speed.
    pub fn of(self, point: &Point) -> Option<f64> {
        match self {
            Self::One => point.qps_one,
            Self::Batch => point.qps_batch,
        }
    }
}

/// An engine and all its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    /// Its name.
    pub name: String,
    /// In the order they were measured.
    pub points: Vec<Point>,
    /// Seconds that the index took to build.
    pub build_s: Option<f64>,
    /// Bytes of the index on disk, a row.
    pub bytes_per_vector: Option<f64>,
    /// Bytes that searches keep in memory, a row.
    pub bytes_per_vector_hot: Option<f64>,
}

/// Engines over the same vectors and queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// The vectors.
    pub data: String,
    /// How many, and the values of each.
    pub shape: (usize, usize),
    /// The measure.
    pub metric: String,
    /// Queries searched for.
    pub queries: usize,
    /// Rows wanted for each.
    pub k: usize,
    /// Threads of a call with all queries.
    pub threads: usize,
    /// Rows that may be found, where a filter says so.
    pub allowed: Option<usize>,
    /// When, in UTC, as RFC 3339.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// Ours first.
    pub engines: Vec<Engine>,
}

/// Lines that hold no results of an engine.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}; expected the result.jsonl of kvant bench ann, or of bench/ann")]
pub struct EngineError {
    /// From 1.
    line: usize,
    what: String,
}

/// A line of either kind: an engine with its points, or one point.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "peer")]
    engine: Option<String>,
    n: Option<f64>,
    points: Option<Vec<Line>>,
    param: Option<Value>,
    recall: Option<f64>,
    qps_one: Option<f64>,
    qps_batch: Option<f64>,
    build_s: Option<f64>,
    size: Option<f64>,
    bytes_per_vector: Option<f64>,
    bytes_per_vector_hot: Option<f64>,
}

impl Line {
    fn point(&self) -> Option<Point> {
        let param = match &self.param {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let recall = self.recall.filter(|recall| (0.0..=1.0).contains(recall))?;
        let speed = |qps: Option<f64>| qps.filter(|qps| qps.is_finite() && *qps > 0.0);
        let (qps_one, qps_batch) = (speed(self.qps_one), speed(self.qps_batch));
        Some(Point { param, recall, qps_one, qps_batch })
    }
}

/// The engines in lines of JSON: those that `kvant bench ann` writes, a setting each, or those of
/// `bench/ann`, an engine each. `name` is that of an engine that does not say its own.
///
/// # Errors
/// [`EngineError`] at the first line that is neither.
pub fn engines(text: &str, name: &str) -> Result<Vec<Engine>, EngineError> {
    let mut all: Vec<Engine> = Vec::new();
    for (at, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let wrong = |what: String| EngineError { line: at + 1, what };
        let line: Line = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let name = line.engine.as_deref().unwrap_or(name);
        let points = match &line.points {
            Some(points) => points.iter().filter_map(Line::point).collect(),
            None => vec![line.point().ok_or_else(|| wrong("no recall from 0 to 1".to_owned()))?],
        };
        let place = all.iter().position(|engine| engine.name == name && line.points.is_none());
        let place = place.unwrap_or_else(|| {
            all.push(Engine { name: name.to_owned(), ..Engine::default() });
            all.len() - 1
        });
        let engine = &mut all[place];
        engine.points.extend(points);
        engine.build_s = engine.build_s.or(line.build_s);
        let size = line.size.zip(line.n).map(|(size, rows)| size / rows.max(1.0));
        engine.bytes_per_vector = engine.bytes_per_vector.or(line.bytes_per_vector).or(size);
        engine.bytes_per_vector_hot = engine.bytes_per_vector_hot.or(line.bytes_per_vector_hot);
    }
    Ok(all)
}

/// The points that no other beats in both recall and speed, recall rising.
pub fn frontier(engine: &Engine, calls: Calls) -> Vec<(f64, f64)> {
    let speed = |point: &Point| Some((point.recall, calls.of(point)?));
    let mut points: Vec<(f64, f64)> = engine.points.iter().filter_map(speed).collect();
    points.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let mut best = 0.0;
    points.retain(|&(_, qps)| {
        let better = qps > best;
        best = f64::max(best, qps);
        better
    });
    points.reverse();
    points
}

/// Queries a second at a recall of `level`: between two settings along a straight line of the
/// logarithm, as `run_peers.py` has it; `None` where no setting reaches it.
pub fn speed_at(engine: &Engine, calls: Calls, level: f64) -> Option<f64> {
    let points = frontier(engine, calls);
    let at = points.iter().position(|&(recall, _)| recall >= level)?;
    let (above, below) = (points[at], points.get(at.wrapping_sub(1)));
    let Some(&(recall, qps)) = below else { return Some(above.1) };
    let share = (level - recall) / (above.0 - recall);
    Some((qps.ln() * (1.0 - share) + above.1.ln() * share).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_true_neighbours() {
        assert_eq!(recall(&[1, 2, 3, 4], &[2, 1, 4, 9], 2), 0.75);
        assert_eq!(recall(&[1, -1, -1, -1], &[1, -1, -1, -1], 2), 1.0, "fewer rows than k");
        assert_eq!(recall(&[5, 1], &[1, 5], 1), 0.0);
        assert_eq!(recall(&[], &[], 3), 0.0);
    }

    fn engine(points: &[(f64, f64)]) -> Engine {
        let point = |&(recall, qps): &(f64, f64)| Point {
            param: String::new(),
            recall,
            qps_one: Some(qps),
            qps_batch: None,
        };
        Engine { points: points.iter().map(point).collect(), ..Engine::default() }
    }

    #[test]
    fn speeds_lie_between_the_settings_that_count() {
        let engine = engine(&[(0.8, 400.0), (0.9, 100.0), (0.85, 90.0), (1.0, 25.0)]);
        assert_eq!(frontier(&engine, Calls::One), [(0.8, 400.0), (0.9, 100.0), (1.0, 25.0)]);
        assert!(frontier(&engine, Calls::Batch).is_empty());
        let at = |level| speed_at(&engine, Calls::One, level).unwrap();
        assert_eq!(at(0.5), 400.0);
        assert!((at(0.85) - 200.0).abs() < 1e-9 && (at(0.95) - 50.0).abs() < 1e-9);
        assert!((at(0.9) - 100.0).abs() < 1e-9);
        assert_eq!(speed_at(&engine, Calls::One, 1.1), None);
    }

    #[test]
    fn results_of_both_kinds_are_read() {
        let ours = "{\"engine\":\"k\",\"param\":16,\"recall\":0.9,\"qps_one\":5,\"build_s\":2}\n\n\
                    {\"engine\":\"k\",\"param\":32,\"recall\":0.95,\"qps_one\":4}\n";
        let peer = "{\"peer\":\"p\",\"n\":10,\"size\":400,\"points\":[{\"param\":[2,40],\
                    \"recall\":0.5,\"qps_one\":7,\"qps_batch\":null}]}";
        let all = engines(&format!("{ours}{peer}\n"), "file").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[0].name.as_str(), all[0].build_s, all[0].points.len()),
            ("k", Some(2.0), 2)
        );
        assert_eq!(all[0].points[1].param, "32");
        assert_eq!((all[1].name.as_str(), all[1].bytes_per_vector), ("p", Some(40.0)));
        assert_eq!(all[1].points[0].param, "[2,40]");
        assert_eq!(engines("{\"recall\":1,\"qps_one\":3}", "file").unwrap()[0].name, "file");
        for (text, words) in [("{}", "line 1: no recall"), ("\n[]", "line 2: "), ("x", "line 1")] {
            let error = engines(text, "file").unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("result.jsonl"), "{error}");
        }
    }
}
