//! What one search may cost, and the account of it while it runs.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// When a search ends early, with the best it has found by then, and says so
/// ([`Certainty::Truncated`](crate::Certainty::Truncated)). Costs nothing where nothing is set.
///
/// Limits are looked at between blocks of 256 rows of a scan and between hops of a walk. A budget
/// of distances gives the same answer every time; of a batch each query has all of it. A deadline
/// or a flag ends whatever of a batch is running, and what would come after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget<'a> {
    /// Rows measured at most; what a better code then measures again is not counted.
    pub distances: Option<usize>,
    /// The time at which to give up.
    pub deadline: Option<Instant>,
    /// Gives up once this is `true`.
    pub cancel: Option<&'a AtomicBool>,
}

/// One search's use of its [`Budget`].
#[derive(Clone, Debug)]
pub struct Account<'a> {
    budget: Budget<'a>,
    limited: bool,
    /// Rows that may still be measured.
    left: Cell<usize>,
    cut: Cell<bool>,
}

impl<'a> Account<'a> {
    /// For one search, nothing spent.
    pub fn new(budget: &Budget<'a>) -> Self {
        let Budget { distances, deadline, cancel } = *budget;
        Self {
            budget: *budget,
            limited: distances.is_some() || deadline.is_some() || cancel.is_some(),
            left: Cell::new(distances.unwrap_or(usize::MAX)),
            cut: Cell::new(false),
        }
    }

    /// How many of the next `rows` rows may be measured; if not all of them, the search is to end
    /// with those.
    #[inline]
    pub fn grant(&self, rows: usize) -> usize {
        if self.limited { self.grant_of(rows) } else { rows }
    }

    /// Whether the deadline has passed or the flag is set: for work that no distances are granted
    /// for.
    #[inline]
    pub fn is_late(&self) -> bool {
        self.limited && self.ends()
    }

    /// Whether the search was ended before it was done.
    pub fn is_cut(&self) -> bool {
        self.cut.get()
    }

    #[cold]
    fn grant_of(&self, rows: usize) -> usize {
        let left = self.left.get();
        // What was cut once stays cut, whatever the flag does.
        let granted = if self.cut.get() || self.ends() { 0 } else { rows.min(left) };
        self.left.set(left - granted);
        self.cut.set(self.cut.get() || granted < rows);
        granted
    }

    fn ends(&self) -> bool {
        let cancelled = self.budget.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed));
        let late = || self.budget.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let ends = cancelled || late();
        self.cut.set(self.cut.get() || ends);
        ends
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn without_limits_everything_is_granted() {
        let account = Account::new(&Budget::default());
        assert_eq!(account.grant(usize::MAX), usize::MAX);
        assert_eq!(account.grant(7), 7);
        assert!(!account.is_late() && !account.is_cut());
    }

    #[test]
    fn distances_run_out_exactly() {
        let account = Account::new(&Budget { distances: Some(10), ..Budget::default() });
        assert_eq!((account.grant(6), account.grant(4)), (6, 4));
        assert!(!account.is_cut(), "all that was wanted was granted");
        assert_eq!(account.grant(0), 0);
        assert!(!account.is_cut());
        assert_eq!(account.grant(1), 0);
        assert!(account.is_cut() && !account.is_late());
    }

    #[test]
    fn flags_and_deadlines_end_it_for_good() {
        let flag = AtomicBool::new(false);
        let account = Account::new(&Budget { cancel: Some(&flag), ..Budget::default() });
        assert_eq!(account.grant(5), 5);
        flag.store(true, Ordering::Relaxed);
        assert_eq!(account.grant(5), 0);
        flag.store(false, Ordering::Relaxed);
        assert_eq!(account.grant(5), 0);
        let hour = Duration::from_hours(1);
        for (deadline, over) in [(Instant::now(), true), (Instant::now() + hour, false)] {
            let budget = Budget { deadline: Some(deadline), ..Budget::default() };
            let account = Account::new(&budget);
            assert_eq!((account.is_late(), account.is_cut()), (over, over));
            assert_eq!(account.grant(5), if over { 0 } else { 5 });
        }
    }
}
