//! Recipes over a model: change its weights, save a copy that loads the same way, say what it cost.
//!
//! [`compress`] opens a model directory, runs the passes of a [`Recipe`] over a [`Draft`]
//! ([`Transform`]s, then [`Quantize`]), measures every changed tensor against the original and
//! writes a new directory with a [`Report`] inside, or a GGUF file with one beside it.
//!
//! **Invariant:** the only crate that changes weights; it never touches its source, and a
//! directory it did not finish never carries the name that was asked for.

mod allocate;
mod assign;
mod budget;
mod calibrate;
mod correct;
mod draft;
mod error;
mod method;
mod pass;
mod pattern;
mod place;
mod plan;
mod quantize;
mod quantizer;
mod recipe;
mod report;
mod run;
mod select;
mod site;
mod transform;
mod worker;

pub use allocate::{Choice, allocate};
pub use assign::Fallback;
pub use budget::{Probe, ProbeError, Settled};
pub use calibrate::{CalibrateError, CalibrateOptions, Calibration, Moment, TOKENS_MIN};
pub use draft::Draft;
pub use error::{AssignError, CompressError, NameError, PassError, PlanError};
pub use method::Method;
pub use pass::{Pass, Run, Step};
pub use pattern::Pattern;
pub use plan::Plan;
pub use quantize::{Quantize, Requantize, Solve, SolveError, Solver, Task};
pub use quantizer::{Quantizer, QuantizerError};
pub use recipe::{Action, Budget, BudgetError, PRESETS, Recipe, RecipeError, Rule, observer};
pub use report::{REPORT_FILE, Report, TensorReport};
pub use run::{compress, report_of};
pub use select::{Reason, Select, Tables};
pub use site::{Absorber, Origin, Share, Site, sites};
pub use transform::{
    AwqOptions, LowRank, Rest, Rotate, Scaled, SmoothOptions, Transform, awq, rotate, smooth,
};
