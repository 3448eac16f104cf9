//! Shapes that say which rows to look at (`Flat`, HNSW, IVF, forests, hash tables, graphs with
//! codes beside each row), over codes that say what a row is.
//!
//! A code implements [`Rows`]; a shape asks it only for distances, so every shape works over every
//! code, and [`Reranked`] makes one code of two. [`AnyShape`] and [`AnyRows`] are the one place
//! where shapes and codes are told apart at run time; [`Index`] holds one of each, named by an
//! [`IndexSpec`]. Inside, lower is closer; [`Metric::score`] turns a distance round for people.
//!
//! Beside dense rows and one query: [`Inverted`] lists sparse rows by dimension, [`Multi`] searches
//! points of several vectors, [`Examples`] stand for a query; [`fusion`] makes one list of
//! several, and [`mmr`](fn@mmr) chooses among what was found.
//!
//! [`Plan::auto`] tries shapes and codes on a sample of the rows, chooses, and says why.
//! [`Stored`] is such an index as one file, given as bytes. [`Live`] is one that changes while it
//! is searched.
//!
//! **Invariant:** this crate opens no path, owns codes but no vectors, spawns only the threads it
//! is asked for, and gives the same answer and the same bytes for the same rows, seed and options,
//! be a build done at once or from [`Stages`] that an ended one left.

mod any;
mod batch;
mod best;
mod bitmap;
mod budget;
mod build;
mod choice;
mod code;
mod example;
mod file;
mod flat;
mod forest;
pub mod fusion;
mod guard;
mod hnsw;
mod index;
mod inverted;
mod ivf;
mod key;
mod kmeans;
mod limit;
mod live;
mod lsh;
mod metric;
mod mmr;
mod multi;
mod number;
mod order;
mod plan;
mod resume;
mod row;
mod rows;
mod scrub;
mod search;
mod seed;
mod seen;
mod several;
mod sieve;
mod space;
mod spec;
mod spread;
mod stage;
mod stored;
mod top;
mod tuning;

pub use any::AnyShape;
pub use any::rows::{AnyRows, AnyScorer};
pub use bitmap::Bitmap;
pub use budget::{Account, Budget};
pub use build::BuildOptions;
pub use code::CodeError;
pub use code::bit::{BitMetric, BitRows, BitScorer, SignRows};
pub use code::bound::{BoundRows, ProvenRows};
pub use code::float::{FloatRows, FloatScorer};
pub use code::half::{HalfRows, HalfScorer};
pub use code::int8::{Int8Rows, Int8Scorer};
pub use code::multi::{MultiRows, MultiScorer};
pub use code::pq::{Axes, PqOptions, PqRows, PqScorer};
pub use code::rerank::{Reranked, RerankedScorer};
pub use code::rotated::block::{BlockScorer, RotatedBlocks};
pub use code::rotated::{RotatedRows, RotatedScorer, Width};
pub use code::sparse::{Sparse, SparseRows, SparseScorer};
pub use example::{ExampleRows, ExampleScorer, Examples};
pub use file::FileError;
pub use flat::Flat;
pub use forest::Forest;
pub use guard::{Guarded, GuardedScorer, ReadAhead};
pub use hnsw::Hnsw;
pub use hnsw::quick::Qg;
pub use index::Index;
pub use inverted::{Inverted, idf};
pub use ivf::{Ivf, IvfOptions, Spill};
pub use kmeans::{
    Clusters, Iteration, KmeansError, KmeansOptions, Precision, Start, Watch, kmeans, silhouette,
};
pub use kvant_kernels::{Half, Packing};
pub use limit::{
    AXES_MAX, BITS_MAX, DIM_MAX, LEVEL_MAX, LISTS_MAX, M_MAX, M_MIN, ROWS_MAX, TABLES_MAX,
    TREES_MAX,
};
pub use live::{
    Compaction, Live, LiveError, LiveFilter, LiveHit, LiveOptions, LiveResult, LiveSearch, Snapshot,
};
pub use lsh::{Family, Lsh, LshOptions};
pub use metric::{Metric, MetricError};
pub use mmr::{Mmr, mmr, mmr_by};
pub use multi::{Multi, MultiStored};
pub use order::{Order, Ordered, OrderedScorer};
pub use plan::{Memory, Plan, PlanError, PlanOptions, Reason, Step, Tried};
pub use resume::Resumed;
pub use row::Row;
pub use rows::{Rows, Scorer};
pub use scrub::{Damage, ScrubOptions, Scrubbed};
pub use search::{Certainty, Effort, Hit, SearchError, SearchOptions, SearchResult};
pub use several::Among;
pub use spec::{CodeSpec, IndexSpec, RerankSpec, Spec, SpecError};
pub use stage::Stages;
pub use stored::{Check, Sizes, Stored, StoredError};
pub use top::Top;
pub use tuning::Tuning;
