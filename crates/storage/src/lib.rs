//! Bytes at rest: shared mapped bytes, write-once files, append logs, locks, framed sections.
//!
//! A file of Kvant is written once and appears under its name only when it is whole and on the
//! disk ([`Dir::create_new`], [`Dir::create`]); the one thing that grows is a log
//! ([`Dir::append`]), and what was appended counts only after [`Log::sync`]. [`FsDir`] is the real
//! implementation, [`MemDir`] the one of tests, and [`FaultDir`] fails or cuts the power at any
//! chosen call. [`frame`] is the checksummed container every write-once file uses, [`Blocks`]
//! verifies the parts of a large section as they are read. [`Shelf`] holds files that can be made
//! again.
//!
//! **Invariant:** no file is ever changed in place; nothing here knows what the bytes mean; the
//! only `unsafe` is in `bytes.rs` and below it.

mod block;
mod bytes;
mod dir;
mod error;
mod fault;
mod file;
pub mod frame;
mod fs;
pub mod limits;
mod lock;
mod mem;
mod name;
mod shelf;

pub use block::{BLOCK_BYTES, BLOCK_BYTES_MAX, Blocks, block_sums};
pub use bytes::{Append, Bytes, Words, bytes_of_f32, bytes_of_u32};
pub use dir::{Dir, Log, Sink};
pub use error::{Cause, CreateError, LockError, ReadError, RemoveError, WriteError};
pub use fault::{Fault, FaultDir};
pub use file::{
    Stamp, read_file, read_stamped_file, sync_folder, write_file_atomic, write_new_file,
};
pub use fs::{FsDir, stream_new_file, stream_passing_file};
pub use lock::Lock;
pub use mem::MemDir;
pub use name::{Name, NameError};
pub use shelf::Shelf;

/// CRC-32C (Castagnoli) of `data`, as every file of Kvant stores it.
pub fn crc32c(data: &[u8]) -> u32 {
    ::crc32c::crc32c(data)
}

/// CRC-32C of the bytes behind `crc` followed by `data`.
pub fn crc32c_append(crc: u32, data: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, data)
}
