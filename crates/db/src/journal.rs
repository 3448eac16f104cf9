//! The seam of the log: records of all collections in one order.

pub(crate) mod file;
mod frame;

use std::fmt::Debug;

use kvant_storage::Bytes;

use crate::LogError;

/// Where the order of all changes is decided.
///
/// What every implementation promises: records have rising numbers and times that never fall; a
/// record is there for good once [`wait`](Self::wait) has returned for its number, and with it all
/// of smaller numbers; of what nobody waited for, a crash leaves a front part.
pub trait Journal: Send + Sync + Debug {
    /// Gives a record its place behind all others; it is not durable yet.
    ///
    /// # Errors
    /// [`LogError`] once the log has failed.
    fn enqueue(&self, collection: u64, change: Vec<u8>) -> Result<Stamp, LogError>;

    /// Returns when record `seq` and all before it are durable.
    ///
    /// # Errors
    /// [`LogError`] if they cannot be made so; nothing is taken any more then.
    fn wait(&self, seq: u64) -> Result<(), LogError>;

    /// The number of the last durable record, 0 before the first.
    fn durable(&self) -> u64;

    /// Gives back the space of records that nobody needs: `covered` is asked of each collection up
    /// to which number. May be late or do nothing.
    ///
    /// # Errors
    /// [`LogError`].
    fn trim(&self, covered: &dyn Fn(u64) -> u64) -> Result<(), LogError>;

    /// Bytes it takes.
    fn size_bytes(&self) -> u64;
}

/// A record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its number, from 1.
    pub seq: u64,
    /// When, in microseconds since 1970. No change looks at another clock.
    pub time: u64,
}

/// A record read back.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) stamp: Stamp,
    pub(crate) collection: u64,
    pub(crate) change: Bytes,
}
