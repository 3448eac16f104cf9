//! Collections of points: durable writes, immutable segments, filtered search.
//!
//! A [`Collection`] is a directory. A write goes to the write-ahead log and is on the disk when
//! the call returns; it is searched in memory until enough has gathered to be sealed into an
//! immutable checksummed segment with an index over it. The numbered manifest that lists the
//! segments is the one atomic commit point. `docs/format.md` describes every byte.
//!
//! **Invariant:** this crate computes no distance (`index` does) and opens no path of its own
//! (`storage` does, but for [`source`], which streams foreign files); nothing it wrote is changed.

mod change;
mod codec;
mod collection;
mod error;
mod filter;
mod info;
pub mod limits;
mod manifest;
mod payload;
mod point;
mod search;
mod segment;
mod settings;
pub mod source;
mod state;
mod wal;

pub use collection::{Batch, Collection, Tuning};
pub use error::{OpenError, SearchError, WriteError};
pub use filter::{Condition, ConditionError, Filter};
pub use info::Info;
pub use kvant_payload::{IdError, PointId};
pub use point::Point;
pub use search::{Found, Query};
pub use settings::{Settings, SettingsError};
