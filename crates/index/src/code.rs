//! What a row is: one file per code, each implementing [`Rows`](crate::Rows).

pub(crate) mod float;
