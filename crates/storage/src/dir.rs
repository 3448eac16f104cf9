//! The seam of storage: write-once files and append logs under names.

use crate::{Bytes, CreateError, Lock, LockError, Name, ReadError, RemoveError, WriteError};
use std::fmt::Debug;
use std::ops::Range;
use std::path::PathBuf;

/// A directory of write-once files and append logs.
///
/// What every implementation promises, and `tests/dir.rs` checks:
/// - a file made by [`create_new`](Self::create_new) or [`create`](Self::create) is visible only
///   whole, never replaces another, and survives a power cut once the call has returned;
/// - a log exists durably, if empty, once [`append`](Self::append) has returned, and its bytes
///   survive once [`Log::sync`] has returned; unsynced bytes may be lost, cut or zeroed;
/// - a removed file may come back after a power cut;
/// - folders appear with the first file inside them.
pub trait Dir: Send + Sync + Debug {
    /// Where the directory is, for messages.
    fn place(&self) -> PathBuf;

    /// The whole file. On disk it is mapped, so the cost is paid when pages are touched.
    ///
    /// # Errors
    /// [`ReadError::Missing`] or [`ReadError::Io`].
    fn read(&self, name: &Name) -> Result<Bytes, ReadError>;

    /// The bytes `range` of the file, copied.
    ///
    /// # Errors
    /// [`ReadError::Range`] unless the range is inside the file; otherwise as [`read`](Self::read).
    fn read_range(&self, name: &Name, range: Range<u64>) -> Result<Bytes, ReadError>;

    /// Creates a file of `data`, durably, if the name is free.
    ///
    /// # Errors
    /// [`CreateError::AlreadyExists`] for the loser of a race. After [`CreateError::Io`] the file
    /// is absent or whole.
    fn create_new(&self, name: &Name, data: &[u8]) -> Result<(), CreateError>;

    /// The streaming form of [`create_new`](Self::create_new).
    ///
    /// # Errors
    /// [`CreateError::Io`]; a taken name is found at [`Sink::publish`] at the latest.
    fn create(&self, name: &Name) -> Result<Box<dyn Sink>, CreateError>;

    /// A new empty log, visible and durable at once.
    ///
    /// # Errors
    /// [`CreateError::AlreadyExists`] or [`CreateError::Io`].
    fn append(&self, name: &Name) -> Result<Box<dyn Log>, CreateError>;

    /// Removes a file; a missing one is no error.
    ///
    /// # Errors
    /// [`RemoveError::Io`].
    fn remove(&self, name: &Name) -> Result<(), RemoveError>;

    /// The files directly inside `folder` (`""` is the top), sorted. Temporary files, lock files
    /// and anything whose name is no [`Name`] are left out; a missing folder is empty.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    fn list(&self, folder: &str) -> Result<Vec<Name>, ReadError>;

    /// Takes the directory for one writer, until the [`Lock`] is dropped or the process ends.
    ///
    /// # Errors
    /// [`LockError::Held`] if somebody has it, in this process or another.
    fn lock(&self) -> Result<Lock, LockError>;
}

/// A file being written, invisible until published; dropped unpublished it leaves nothing.
pub trait Sink: Send + Sync {
    /// Adds `data` at the end.
    ///
    /// # Errors
    /// [`WriteError`]; the sink is then good only for dropping.
    fn write(&mut self, data: &[u8]) -> Result<(), WriteError>;

    /// Makes the file durable and visible under its name.
    ///
    /// # Errors
    /// As [`Dir::create_new`].
    fn publish(self: Box<Self>) -> Result<(), CreateError>;
}

/// A log being appended to by its only writer.
pub trait Log: Send + Sync {
    /// Adds `data` at the end; durable only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`WriteError`]; the log then refuses everything (its end is unknown).
    fn append(&mut self, data: &[u8]) -> Result<(), WriteError>;

    /// Returns when everything appended is durable.
    ///
    /// # Errors
    /// [`WriteError`]; the log then refuses everything. A failed sync is never tried again:
    /// the kernel may have dropped the pages and would report success the second time.
    fn sync(&mut self) -> Result<(), WriteError>;
}
