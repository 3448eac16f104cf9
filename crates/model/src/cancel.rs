//! A flag that ends work early.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag shared by who asks for work and who does it. Clones are the same flag.
///
/// Once set it stays set. Work looks at it between its parts, none of which takes longer than
/// reading one token would: a language model between layers, and where no other request goes on
/// after every 64 tokens of a layer; an encoder between batches.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Flag>);

#[derive(Default)]
struct Flag {
    set: AtomicBool,
    condition: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.0.set.load(Ordering::Relaxed);
        f.debug_struct("Cancel").field("set", &set).finish_non_exhaustive()
    }
}

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that sets itself the first time `condition` holds where it is looked at: a deadline,
    /// or a signal of another runtime. Called from any thread that works, thousands of times a
    /// second.
    pub fn when(condition: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Flag { set: AtomicBool::new(false), condition: Some(Box::new(condition)) }))
    }

    /// Sets the flag.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is set.
    pub fn is_cancelled(&self) -> bool {
        if self.0.set.load(Ordering::Relaxed) {
            return true;
        }
        let holds = self.0.condition.as_ref().is_some_and(|condition| condition());
        if holds {
            self.cancel();
        }
        holds
    }
}
