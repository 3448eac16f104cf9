//! What compression cost: quality, speed, size and memory of models, side by side.
//!
//! [`metric`] holds the formulas. [`report`] is the result: plain data that serialises to JSON,
//! prints as a table and draws itself as one self-contained HTML page.
//! [`perplexity()`] scores language models, [`ann`] the search for nearest neighbours.
//!
//! **Invariant:** nothing here trains, compresses or stores a model; figures come from running
//! models as anybody would, and a figure that was not measured is absent, never zero.

pub mod ann;
pub mod cost;
mod embed;
pub mod limits;
pub mod metric;
mod model;
pub mod perplexity;
pub mod report;
mod run;
pub mod task;

pub use embed::{Embed, Failure};
pub use model::{Model, OpenError};
pub use perplexity::{Perplexity, PerplexityError, PerplexityOptions, perplexity};
pub use report::Report;
pub use run::{EvalError, Options, Progress, Side, evaluate};
