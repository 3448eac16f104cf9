//! The room for HTTP over `db` and `model`.
//!
//! Nothing is served yet: the room stands so that the arrows into it are law from the first day.
//!
//! **Invariant:** the only crate that may hold async code and wire types.
