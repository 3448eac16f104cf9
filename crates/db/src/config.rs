//! What a collection is made of: its vectors, how they are indexed, which fields are.

use std::collections::BTreeMap;

use kvant_index::{
    BuildOptions, CodeSpec, FloatRows, Index, IndexSpec, Metric, RerankSpec, Spec, SpecError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits::{DIM_MAX, NAME_SIZE_MAX, VECTOR_NAMES_MAX};
use crate::{Vector, VectorError, Vectors};

/// The make-up of a collection. Changes by records of the log alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Dense vectors and multi-vectors by name; the one without a name is `""`.
    #[serde(default)]
    pub dense: BTreeMap<String, Dense>,
    /// Sparse vectors by name.
    #[serde(default)]
    pub sparse: BTreeMap<String, SparseField>,
    /// Graphs, where a vector says nothing of its own.
    #[serde(default)]
    pub graph: Graph,
    /// Codes, where a vector says nothing of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// When segments are made and merged.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Seconds, by the time of the log, after which a point that says nothing of its own is
    /// deleted; never where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// What a door wants to find again; nothing here depends on it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub notes: Map<String, Value>,
}

/// One dense vector of every point, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    /// Components, 1 to 65,536.
    pub dim: usize,
    /// How far apart two of them are.
    #[serde(with = "text")]
    pub metric: Metric,
    /// How components are kept.
    #[serde(default)]
    pub storage: Storage,
    /// Whether a point has several, of which the closest counts for each of a query (`MaxSim`).
    #[serde(default)]
    pub multi: Arity,
    /// Its graphs, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Graph>,
    /// Its codes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The whole name of an index, as [`IndexSpec`] reads it, in place of what follows from graph
    /// and code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

/// One sparse vector of every point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparseField {
    /// Whether a query's values are multiplied by how rare their indices are among the points.
    #[serde(default)]
    pub weighting: Weighting,
}

/// What the values of a sparse query are multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// Nothing.
    #[default]
    Plain,
    /// `ln(1 + (n − f + ½) / (f + ½))` for an index that `f` of `n` points have.
    Idf,
}

/// How the components of a vector are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Four bytes, as they came.
    #[default]
    F32,
    /// Two bytes, rounded to the nearest half.
    F16,
    /// Whole numbers from 0 to 255; kept as halves, which hold them exactly.
    U8,
}

/// How many vectors a point has under one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arity {
    /// One.
    #[default]
    One,
    /// Any number.
    Many,
}

/// How graphs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Links per row; none are built, and every search is exact, where 0.
    pub m: usize,
    /// Candidates while building.
    pub ef_construct: usize,
    /// Bytes of vectors, in KiB, from which a segment has a graph; below all rows are scanned.
    pub scan_kib: usize,
}

impl Default for Graph {
    /// 16 links, 128 candidates, scans below 4 MiB.
    fn default() -> Self {
        Self { m: 16, ef_construct: 128, scan_kib: 4096 }
    }
}

/// The code that is searched; the vectors themselves measure again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// No code: the vectors as they are.
    None,
    /// A byte a component.
    Int8,
    /// Four bits a component, rotated.
    Int4,
    /// A bit a component, rotated.
    Binary,
    /// Two bits a component, rotated.
    Binary2,
    /// Product codes of four bits for every two components.
    Product,
}

/// When segments are made and merged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    /// The part of dead rows from which a segment is written anew, 0 to 1.
    pub vacuum: f64,
    /// Fewest dead rows for that.
    pub vacuum_min: usize,
    /// Most bytes of vectors of a segment, in KiB.
    pub segment_kib: usize,
}

impl Default for Optimizer {
    /// A fifth of the rows and 1,000; 1 GiB.
    fn default() -> Self {
        Self { vacuum: 0.2, vacuum_min: 1000, segment_kib: 1 << 20 }
    }
}

/// Why a configuration is not taken, or a vector does not fit one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The dimension is out of range.
    #[error("vector {name:?}: dimension {got}, expected 1 to {DIM_MAX}")]
    Dim {
        /// The vector.
        name: String,
        /// The dimension.
        got: usize,
    },
    /// A name is too long, or there are too many.
    #[error("{what}: {got}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        got: usize,
        /// How many there may be.
        max: usize,
    },
    /// A dense and a sparse vector of one name.
    #[error("vector {name:?} is both dense and sparse: give one of them another name")]
    Twice {
        /// The vector.
        name: String,
    },
    /// A graph or an index that cannot be built.
    #[error("vector {name:?}: {problem}")]
    Index {
        /// The vector.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A vector the collection does not have.
    #[error("no vector {name:?} here: the collection has {known}")]
    Unknown {
        /// The vector.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A vector that does not fit.
    #[error("vector {name:?}: {cause}")]
    Vector {
        /// The vector.
        name: String,
        /// Why.
        cause: VectorError,
    },
}

impl Dense {
    /// One vector of `dim` components a point, as it came, under graphs.
    pub fn new(dim: usize, metric: Metric) -> Self {
        let (storage, multi) = (Storage::F32, Arity::One);
        Self { dim, metric, storage, multi, graph: None, code: None, index: None }
    }

    /// Components as they are kept: of unit length where the metric is cosine, rounded as the
    /// storage says.
    pub(crate) fn prepare(&self, vector: &mut [f32]) {
        self.metric.prepare(vector);
        if self.storage != Storage::F32 {
            for x in vector {
                *x = half::f16::from_f32(*x).to_f32();
            }
        }
    }
}

impl Config {
    /// One vector without a name.
    pub fn single(dense: Dense) -> Self {
        Self { dense: BTreeMap::from([(String::new(), dense)]), ..Self::default() }
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// [`ConfigError`], naming the vector.
    pub fn check(&self) -> Result<(), ConfigError> {
        let got = self.dense.len() + self.sparse.len();
        if got > VECTOR_NAMES_MAX {
            return Err(ConfigError::TooMany { what: "vectors", got, max: VECTOR_NAMES_MAX });
        }
        for name in self.dense.keys().chain(self.sparse.keys()) {
            if name.len() > NAME_SIZE_MAX {
                let (what, got) = ("bytes of a vector's name", name.len());
                return Err(ConfigError::TooMany { what, got, max: NAME_SIZE_MAX });
            }
        }
        if let Some(name) = self.sparse.keys().find(|name| self.dense.contains_key(*name)) {
            return Err(ConfigError::Twice { name: name.clone() });
        }
        for (name, dense) in &self.dense {
            if !(1..=DIM_MAX).contains(&dense.dim) {
                return Err(ConfigError::Dim { name: name.clone(), got: dense.dim });
            }
            self.spec(name, usize::MAX)
                .map_err(|problem| ConfigError::Index { name: name.clone(), problem })?;
        }
        Ok(())
    }

    /// [`check`](Self::check), and that every index can be built: not every code measures every
    /// metric or takes any dimension, and a collection whose points cannot be sealed is none.
    ///
    /// # Errors
    /// [`ConfigError`], naming the vector.
    pub fn check_indexes(&self) -> Result<(), ConfigError> {
        self.check()?;
        for (name, dense) in &self.dense {
            let row = vec![1.0; dense.dim];
            let rows = FloatRows::new(&row, dense.dim, dense.metric);
            let options = BuildOptions { threads: 1, ..BuildOptions::default() };
            let built = self.spec(name, usize::MAX).and_then(|spec| {
                Index::build(&spec, rows, &options).map(drop).map_err(|error| error.to_string())
            });
            built.map_err(|problem| ConfigError::Index { name: name.clone(), problem })?;
        }
        Ok(())
    }

    /// The index over `rows` rows of a dense vector.
    pub(crate) fn spec(&self, name: &str, rows: usize) -> Result<IndexSpec, String> {
        let Some(dense) = self.dense.get(name) else { return Ok(IndexSpec::default()) };
        let graph = dense.graph.unwrap_or(self.graph);
        let small = rows.saturating_mul(dense.dim * 4) < graph.scan_kib.saturating_mul(1024);
        let shape = match &dense.index {
            Some(text) => {
                let spec: IndexSpec = text.parse().map_err(|e: SpecError| e.to_string())?;
                if !keeps_vectors(&spec) {
                    return Err(format!("index {text:?} keeps no vectors: end it with rerank32"));
                }
                if !small {
                    return Ok(spec);
                }
                Spec::Flat
            }
            None if small || graph.m == 0 => Spec::Flat,
            None => format!("hnsw{}", graph.m).parse().map_err(|e: SpecError| e.to_string())?,
        };
        let code = dense.code.or(self.code).unwrap_or(Code::Int8);
        // Rotations keep no sum of absolute differences, and codes have fewer dimensions.
        let plain = dense.metric == Metric::Manhattan || dense.dim > kvant_index::DIM_MAX;
        let code = if plain { Code::None } else { code };
        Ok(spec_of(shape, code, dense.storage))
    }

    /// Holds the vectors of a point to the collection, and brings them into the form they are kept
    /// in.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] or [`ConfigError::Vector`].
    pub fn prepare(&self, vectors: &mut Vectors) -> Result<(), ConfigError> {
        for (name, vector) in vectors {
            let fail = |cause| ConfigError::Vector { name: name.clone(), cause };
            vector.check().map_err(fail)?;
            self.fits(name, vector)?;
            match (self.dense.get(name), vector) {
                (Some(dense), Vector::Dense(values)) => dense.prepare(values),
                (Some(dense), Vector::Multi(multi)) => {
                    multi.rows_mut().for_each(|row| dense.prepare(row));
                }
                (_, Vector::Sparse(_)) | (None, _) => {}
            }
        }
        Ok(())
    }

    /// Whether there is such a vector, of this kind and dimension.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(crate) fn fits(&self, name: &str, vector: &Vector) -> Result<(), ConfigError> {
        let dense = self.dense.get(name);
        let expected = match dense {
            Some(dense) if dense.multi == Arity::Many => "multi-vector",
            Some(_) => "dense",
            None if self.sparse.contains_key(name) => "sparse",
            None => return Err(self.unknown(name)),
        };
        let got = vector.kind();
        let fail = |cause| ConfigError::Vector { name: name.to_owned(), cause };
        if got != expected {
            return Err(fail(VectorError::Kind { expected, got }));
        }
        let dim = match vector {
            Vector::Dense(values) => values.len(),
            Vector::Multi(multi) => multi.dim(),
            Vector::Sparse(_) => return Ok(()),
        };
        let expected = dense.map_or(dim, |dense| dense.dim);
        if dim == expected { Ok(()) } else { Err(fail(VectorError::Dim { expected, got: dim })) }
    }

    /// That there is no such vector.
    pub fn unknown(&self, name: &str) -> ConfigError {
        let names: Vec<String> =
            self.dense.keys().chain(self.sparse.keys()).map(|name| format!("{name:?}")).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        ConfigError::Unknown { name: name.to_owned(), known }
    }
}

/// The code that is searched, and the vectors to measure again.
fn spec_of(shape: Spec, code: Code, storage: Storage) -> IndexSpec {
    let text = match (code, storage) {
        (Code::None, Storage::F32) => String::new(),
        (Code::None, Storage::F16 | Storage::U8) => ",f16".to_owned(),
        (code, storage) => {
            let name = match code {
                Code::None | Code::Int8 => "int8",
                Code::Int4 => "rq4",
                Code::Binary => "rq1",
                Code::Binary2 => "rq2",
                Code::Product => "pq",
            };
            let again = if storage == Storage::F32 { 32 } else { 16 };
            format!(",{name},rerank{again}")
        }
    };
    // Names put together from parts that fit have a meaning; the plain shape always does.
    format!("{shape}{text}").parse().unwrap_or(IndexSpec { shape, ..IndexSpec::default() })
}

/// Whether the rows, as they are kept, can be read back from such an index.
fn keeps_vectors(spec: &IndexSpec) -> bool {
    let whole = matches!(spec.code, CodeSpec::Float | CodeSpec::Bound(_));
    whole || matches!(spec.rerank, Some((RerankSpec::Float, _)))
}

/// Things with a text form, as that text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
