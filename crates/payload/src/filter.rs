//! Which points are meant.

mod check;
pub(crate) mod compile;
mod condition;
mod count;
mod read;
mod short;
mod slice;
mod write;

pub use check::Compiled;
pub use compile::{Subject, TextTest, Texts};
pub use condition::{Bounds, Condition, Match, MatchList, MatchValue, Range, Test};
pub use short::ConditionError;
pub use slice::Slice;

/// Conditions on a point, put together; the empty filter lets every point through.
///
/// In JSON as the protocol has it: `{"must": […], "must_not": {…}}`, where a list of one may be
/// its one condition. What is read and written is the same filter, bit for bit, and a filter
/// written is the shortest: absent and empty parts are left out. Unknown keys are refused.
///
/// Limits are those of [`limits`](crate::limits), checked when a filter is read, by
/// [`check`](Self::check) and by [`compile`](Self::compile).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All of them hold.
    pub must: Vec<Condition>,
    /// At least one of them holds, if there are any.
    pub should: Vec<Condition>,
    /// None of them holds.
    pub must_not: Vec<Condition>,
    /// At least so many of them hold.
    pub min_should: Option<MinShould>,
}

/// Conditions of which a number must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct MinShould {
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// How many of them must hold at least: 1 or more. More than there are never hold.
    pub min_count: usize,
}

impl Filter {
    /// One condition that must hold.
    pub fn of(condition: Condition) -> Self {
        Self { must: vec![condition], ..Self::default() }
    }

    /// Whether every point passes because nothing is asked of it.
    pub fn is_empty(&self) -> bool {
        self.must.is_empty()
            && self.should.is_empty()
            && self.must_not.is_empty()
            && self.min_should.is_none()
    }

    /// The conditions of all its parts, those of inner filters not unfolded.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let several = self.min_should.iter().flat_map(|part| &part.conditions);
        self.must.iter().chain(&self.should).chain(&self.must_not).chain(several)
    }
}

#[cfg(test)]
mod tests;
