//! Numbers to codes and back: a weight matrix in fewer bits, with a written bound on the error.
//!
//! [`Scheme::encode`] turns f32 rows into a [`Coded`] matrix; [`Coded::decode_row`] restores
//! them; [`measure`] says what was lost. Every family is a plain struct whose parts can be stored
//! and put together again with every length checked: [`Int8Matrix`] (symmetric, one scale per
//! row), [`LinearMatrix`] (minimum and step per group, 2 to 8 bits), [`ScaledMatrix`] (integer
//! codes with a scale and a zero point: the files of GPTQ, AWQ and compressed-tensors),
//! [`Float4Matrix`] (the four-bit tables of bitsandbytes), [`CodebookMatrix`] (levels fitted to
//! the weights) and [`BlockMatrix`] (the blocks of ggml, byte for byte).
//!
//! A format and the choice of codes are two things: [`Grid`] says which levels the codes of a
//! [`Coded`] stand for, and whoever chooses better codes puts them in.
//!
//! **Invariant:** this crate does no IO and holds no randomness: the same matrix always gives the
//! same bytes. NaN and infinities are refused on the way in, so none come out.

pub mod affine;
mod block;
mod codebook;
mod coded;
mod error;
mod fit;
mod float4;
mod grid;
mod int8;
pub mod kmeans;
mod linear;
mod measure;
pub mod pack;
mod refit;
mod scaled;
mod scheme;
mod shape;

pub use block::{BLOCK, BlockFormat, BlockMatrix};
pub use codebook::{Books, CodebookMatrix, CodebookShape, Filling};
pub use coded::Coded;
pub use error::{EncodeError, LayoutError, SchemeError};
pub use fit::{Fit, Observer};
pub use float4::{Absmax, Float4, Float4Matrix, Float4Shape, NESTED_BLOCK, dynamic_map};
pub use grid::{Cut, Grid, Group, Levels};
pub use int8::Int8Matrix;
pub use linear::LinearMatrix;
pub use measure::{ErrorStats, measure};
pub use scaled::ScaledMatrix;
pub use scheme::{Scheme, Span};
pub use shape::CodeShape;
