//! The one place where shapes and codes are told apart at run time.

pub(crate) mod ground;
pub(crate) mod rows;
mod stage;
mod vector;

use std::sync::Arc;

use kvant_storage::Bytes;

use crate::file::{self, HEAD, Reader, Shape, VERSION};
use crate::number::Part;
use crate::{
    Account, BuildOptions, FileError, Flat, Forest, Hit, Hnsw, Ivf, IvfOptions, Lsh, LshOptions,
    Metric, Order, Qg, Rows, SearchOptions, Spec,
};

/// A shape of any kind. It holds no vectors: every call is handed the rows it was built over.
#[derive(Debug)]
pub enum AnyShape {
    /// Every row is measured.
    Flat(Flat),
    /// A graph is walked.
    Hnsw(Hnsw),
    /// Some of many lists are scanned.
    Ivf(Ivf),
    /// Some leaves of many trees are scanned.
    Forest(Forest),
    /// Some buckets of many tables are scanned.
    Lsh(Lsh),
    /// A graph is walked by codes beside its rows.
    Qg(Qg),
}

/// What was built over rows of which some are left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before<'a> {
    pub(crate) shape: &'a AnyShape,
    /// The number that each of the first rows had; rising.
    pub(crate) from: &'a [u32],
}

impl AnyShape {
    /// Builds the shape that `spec` names over `rows`.
    pub fn build<R: Rows<Query = [f32]>>(
        spec: &Spec,
        rows: &R,
        options: &BuildOptions<'_>,
    ) -> Self {
        Self::made(spec, rows, (1, None, options))
    }

    /// The same, where codes in the order of the shape share blocks of `align` rows, and much may
    /// be taken over from what was built `before`.
    pub(crate) fn made<R: Rows<Query = [f32]>>(
        spec: &Spec,
        rows: &R,
        (align, before, options): (usize, Option<Before<'_>>, &BuildOptions<'_>),
    ) -> Self {
        match spec {
            Spec::Flat => {
                if let Some(progress) = options.progress {
                    progress(rows.len());
                }
                Self::Flat(Flat::new(rows.len()))
            }
            Spec::Hnsw { m } => match before {
                Some(Before { shape: Self::Hnsw(old), from }) if old.m() == *m => {
                    Self::Hnsw(old.rebuilt(rows, from, options))
                }
                _ => Self::Hnsw(Hnsw::build(rows, *m, options)),
            },
            Spec::Ivf { lists, spill } => {
                let lists = IvfOptions { lists: *lists, spill: *spill, align };
                match before {
                    Some(Before { shape: Self::Ivf(old), .. }) if old.options() == lists => {
                        Self::Ivf(old.rebuilt(rows, options))
                    }
                    _ => Self::Ivf(Ivf::build(rows, lists, options)),
                }
            }
            Spec::Forest { trees } => Self::Forest(Forest::build(rows, *trees, options)),
            Spec::Lsh { family, tables, bits } => {
                let lsh = LshOptions { family: *family, tables: *tables, bits: *bits };
                Self::Lsh(Lsh::build(rows, lsh, options))
            }
            Spec::Qg { links } => {
                let vectors = rows.vectors();
                Self::Qg(Qg::build(rows, vectors.as_ref(), *links, options))
            }
        }
    }

    /// The `k` allowed rows closest to `query`, closest first: never fewer than
    /// `min(k, rows allowed)`, unless a budget ends it.
    ///
    /// # Panics
    /// If `rows` are not the ones this was built over (by number), the query does not fit them, or
    /// the allowed set ranges over another number of rows.
    pub fn search<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        options: &SearchOptions<'_>,
    ) -> Vec<Hit> {
        self.search_within(rows, query, options, &Account::new(&options.budget))
    }

    /// [`search`](Self::search), with what it uses of the budget put to `account`, which says
    /// afterwards whether the search was cut short.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_within<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        match self {
            Self::Flat(flat) => flat.search_within(rows, query, options, account),
            Self::Hnsw(hnsw) => hnsw.search_within(rows, query, options, account),
            Self::Ivf(ivf) => ivf.search_within(rows, query, options, account),
            Self::Forest(forest) => forest.search_within(rows, query, options, account),
            Self::Lsh(lsh) => lsh.search_within(rows, query, options, account),
            Self::Qg(qg) => qg.search_within(rows, query, options, account),
        }
    }

    /// What this shape is.
    pub fn spec(&self) -> Spec {
        match self {
            Self::Flat(_) => Spec::Flat,
            Self::Hnsw(hnsw) => Spec::Hnsw { m: hnsw.m() },
            Self::Ivf(ivf) => {
                let IvfOptions { lists, spill, .. } = ivf.options();
                Spec::Ivf { lists, spill }
            }
            Self::Forest(forest) => Spec::Forest { trees: forest.trees() },
            Self::Lsh(lsh) => {
                let LshOptions { family, tables, bits } = lsh.options();
                Spec::Lsh { family, tables, bits }
            }
            Self::Qg(qg) => Spec::Qg { links: qg.links() },
        }
    }

    /// Whether rows of so many values by this measure may be what it was built over.
    pub fn serves(&self, dim: usize, metric: Metric) -> bool {
        match self {
            Self::Flat(_) | Self::Hnsw(_) => true,
            // A single list is never chosen.
            Self::Ivf(ivf) => ivf.lists() <= 1 || (ivf.dim(), ivf.metric()) == (dim, metric),
            Self::Forest(forest) => forest.serves(dim, metric),
            Self::Lsh(lsh) => lsh.serves(dim, metric),
            Self::Qg(qg) => qg.serves(dim, metric),
        }
    }

    /// The order in which codes are best held, if it is not that of the rows.
    pub fn order(&self) -> Option<&Arc<Order>> {
        match self {
            Self::Flat(_) | Self::Hnsw(_) | Self::Forest(_) | Self::Lsh(_) | Self::Qg(_) => None,
            Self::Ivf(ivf) => Some(ivf.order()),
        }
    }

    /// Number of rows it was built over.
    pub fn len(&self) -> usize {
        match self {
            Self::Flat(flat) => flat.len(),
            Self::Hnsw(hnsw) => hnsw.len(),
            Self::Ivf(ivf) => ivf.len(),
            Self::Forest(forest) => forest.len(),
            Self::Lsh(lsh) => lsh.len(),
            Self::Qg(qg) => qg.len(),
        }
    }

    /// Whether it was built over no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape as bytes, the same on every machine. Not checksummed: that is the file's part.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Flat(flat) => file::header(Shape::Flat, flat.len()),
            Self::Hnsw(hnsw) => {
                let mut bytes = file::header(Shape::Hnsw, hnsw.len());
                hnsw.write(&mut bytes);
                bytes
            }
            Self::Ivf(ivf) => {
                let mut bytes = file::header(Shape::Ivf, ivf.len());
                ivf.write(&mut bytes);
                bytes
            }
            Self::Forest(forest) => {
                let mut bytes = file::header(Shape::Forest, forest.len());
                forest.write(&mut bytes);
                bytes
            }
            Self::Lsh(lsh) => {
                let mut bytes = file::header(Shape::Lsh, lsh.len());
                lsh.write(&mut bytes);
                bytes
            }
            Self::Qg(qg) => {
                let mut bytes = file::header(Shape::Qg, qg.len());
                qg.write(&mut bytes);
                bytes
            }
        }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, over `len` rows.
    ///
    /// # Errors
    /// If the bytes are not exactly a shape over `len` rows; nothing in them can make this panic or
    /// allocate more than a small multiple of their length.
    pub fn from_bytes(bytes: &[u8], len: usize) -> Result<Self, FileError> {
        let (shape, mut reader) = Reader::open(bytes, len)?;
        let any = match shape {
            Shape::Flat => Self::Flat(Flat::new(len)),
            Shape::Hnsw | Shape::Ivf if reader.version() == VERSION => {
                let any = Self::open(&Part::new(Bytes::copy_of(bytes), None), len)?;
                return any.check().map(|()| any);
            }
            Shape::Hnsw => Self::Hnsw(Hnsw::read(&mut reader, len)?),
            Shape::Ivf => Self::Ivf(Ivf::read(&mut reader, len)?),
            Shape::Forest => Self::Forest(Forest::read(&mut reader, len)?),
            Shape::Lsh => Self::Lsh(Lsh::read(&mut reader, len)?),
            Shape::Qg => Self::Qg(Qg::read(&mut reader, len)?),
        };
        reader.end().map(|()| any)
    }

    /// What [`to_bytes`](Self::to_bytes) wrote, over `len` rows, read where it lies: nothing of the
    /// rows is looked at before a search does, and none of it can make that panic.
    pub(crate) fn open(part: &Part, len: usize) -> Result<Self, FileError> {
        let (shape, reader) = Reader::open(part.head(HEAD), len)?;
        match shape {
            Shape::Hnsw if reader.version() == VERSION => Hnsw::open(part, len).map(Self::Hnsw),
            Shape::Ivf if reader.version() == VERSION => Ivf::open(part, len).map(Self::Ivf),
            // All of it is read.
            Shape::Flat | Shape::Hnsw | Shape::Ivf | Shape::Forest | Shape::Lsh | Shape::Qg => {
                Self::from_bytes(part.head(part.bytes().len()), len)
            }
        }
    }

    /// Whether everything in it is as searches expect it. O(rows).
    pub(crate) fn check(&self) -> Result<(), FileError> {
        match self {
            // All but these are checked when they are read.
            Self::Flat(_) | Self::Forest(_) | Self::Lsh(_) | Self::Qg(_) => Ok(()),
            Self::Hnsw(hnsw) => hnsw.check(),
            Self::Ivf(ivf) => ivf.check(),
        }
    }

    /// What lies in a file is read here and there, where it is so.
    pub(crate) fn read_apart(&self) {
        if let Self::Hnsw(hnsw) = self {
            hnsw.read_apart();
        }
    }
}
