//! One writer per directory.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Holds a directory for its owner; dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock(Hold);

#[derive(Debug)]
enum Hold {
    /// An advisory lock on an open file: the kernel drops it with the process, even when killed.
    File(#[expect(dead_code, reason = "held open for its lock")] File),
    Memory(Arc<AtomicBool>),
}

impl Lock {
    pub(crate) fn file(file: File) -> Self {
        Self(Hold::File(file))
    }

    /// The lock behind `flag`, unless it is taken.
    pub(crate) fn memory(flag: &Arc<AtomicBool>) -> Option<Self> {
        let won = flag.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        won.then(|| Self(Hold::Memory(Arc::clone(flag))))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Hold::Memory(flag) = &self.0 {
            flag.store(false, Ordering::Release);
        }
    }
}
