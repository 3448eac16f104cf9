//! The levels of x86-64.

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod avxvnni;
mod block;
pub(crate) mod load;
mod pick;
