//! What can be asked of a collection.

pub(crate) mod example;
mod facet;
mod formula;
mod fuse;
mod group;
mod matrix;
mod order;
mod run;

use std::sync::Arc;

use kvant_index::Effort;
use kvant_payload::{Filter, Path, PointId};
use serde_json::{Map, Value};

pub use facet::{Facet, FacetValue};
pub use formula::{Decay, Expression, Variable};
pub use group::{Group, Groups};
pub use matrix::{Matrix, MatrixRow};
pub use order::{Direction, OrderBy, Start};

pub(crate) use example::changed;

use crate::{Collection, Found, Vector};

/// One question, and those whose answers it is asked of.
#[derive(Clone, Debug)]
pub struct Search {
    /// Asked first; this question is then asked of what they found, all of it together.
    pub prefetch: Vec<Search>,
    /// How points are put in order; by their names where `None`.
    pub query: Option<Query>,
    /// Which of the vectors of points.
    pub using: String,
    /// Which points may be found; all where `None`.
    pub filter: Option<Filter>,
    /// How hard to try.
    pub effort: Effort,
    /// Points with a worse score are left out.
    pub threshold: Option<f32>,
    /// How many points, at most 10,000 with those passed over.
    pub limit: usize,
    /// How many of the best are passed over.
    pub offset: usize,
    /// Where the points that a query names are; here where `None`.
    pub from: Option<Lookup>,
    /// The points among which the rarity of a sparse query's indices is counted; all where `None`.
    pub population: Option<Filter>,
}

/// Another collection, or another vector, that points named in a query are looked up in.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The collection.
    pub collection: Arc<Collection>,
    /// The vector; that of the question where `None`.
    pub using: Option<String>,
}

/// A vector, or a point whose vector is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Itself.
    Vector(Vector),
    /// The point of this name, which is then not found itself.
    Point(PointId),
}

/// How points are put in order.
#[derive(Clone, Debug)]
pub enum Query {
    /// By how near they are.
    Nearest {
        /// To what.
        to: Input,
        /// Chosen so that they are not all alike.
        diversity: Option<Diversity>,
    },
    /// By how like some examples they are, and how unlike others.
    Recommend {
        /// Like these.
        positive: Vec<Input>,
        /// Unlike these.
        negative: Vec<Input>,
        /// What counts.
        strategy: Strategy,
    },
    /// By which side of pairs they are on, then by how near a target they are.
    Discover {
        /// The target.
        target: Input,
        /// Nearer to the first than to the second.
        context: Vec<(Input, Input)>,
    },
    /// By which side of pairs they are on.
    Context(Vec<(Input, Input)>),
    /// By how near a target they are, and by what was said of what was found.
    Feedback {
        /// The target.
        target: Input,
        /// Examples and how good they were said to be.
        feedback: Vec<(Input, f32)>,
        /// The weight of the target, the power of a difference, the weight of pairs.
        weights: [f32; 3],
    },
    /// By a value of their payload.
    OrderBy(OrderBy),
    /// By their places in the answers of the questions asked first.
    Rrf {
        /// Added to each place.
        k: f32,
        /// Of each question; 1 where there are fewer.
        weights: Option<Vec<f32>>,
    },
    /// By their scores in the answers of the questions asked first, each brought to one scale.
    Dbsf,
    /// By what a formula makes of their scores and payloads.
    Formula {
        /// The formula.
        formula: Expression,
        /// Values of variables that a point does not have.
        defaults: Map<String, Value>,
    },
    /// By chance.
    Sample {
        /// The same seed gives the same points.
        seed: u64,
    },
}

/// What counts among examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Their mean: `2·p̄ − n̄`, or `p̄` where none is negative.
    #[default]
    Average,
    /// The example that is nearest.
    Best,
    /// All of them.
    Sum,
}

/// How what is found is made unlike one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diversity {
    /// 0: by nearness alone; 1: by being unlike alone.
    pub weight: f32,
    /// How many of the nearest are chosen from; as many as are wanted where `None`.
    pub candidates: Option<usize>,
}

/// What of a point is wanted with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct With {
    /// Of its payload.
    pub payload: Payloads,
    /// Of its vectors.
    pub vectors: Wish,
}

/// Some of a payload.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Payloads {
    /// Nothing.
    #[default]
    None,
    /// All.
    All,
    /// These keys.
    Only(Vec<Path>),
    /// All but these keys.
    Without(Vec<Path>),
}

/// Some of the vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Wish {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// These.
    Only(Vec<String>),
}

/// A point that was found, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The point, as much of it as was wanted.
    pub found: Found,
    /// As people read it: cosine similarity and inner product (higher is closer), Euclidean and
    /// Manhattan distance (lower is closer), or what the query makes of them.
    pub score: f32,
    /// The value it was put in order by.
    pub order: Option<Value>,
}

impl Default for Search {
    /// Ten points in the order of their names.
    fn default() -> Self {
        Self {
            prefetch: Vec::new(),
            query: None,
            using: String::new(),
            filter: None,
            effort: Effort::Default,
            threshold: None,
            limit: 10,
            offset: 0,
            from: None,
            population: None,
        }
    }
}

impl Search {
    /// The ten points nearest to a vector.
    pub fn nearest(using: &str, vector: Vector) -> Self {
        let query = Query::Nearest { to: Input::Vector(vector), diversity: None };
        Self { query: Some(query), using: using.to_owned(), ..Self::default() }
    }
}
