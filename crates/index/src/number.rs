//! Numbers of a shape: in memory of its own, or where they lie in a file.

use std::ops::Range;
use std::sync::Arc;

use kvant_storage::{Blocks, Bytes, Words};

use crate::FileError;

/// Numbers that were built, or those of a file, verified block by block as they are read.
///
/// What is read by place is empty where there is no such place, and where the file is damaged:
/// then the blocks count it, and whoever opened the file tells it.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    held: Held,
    guard: Option<Guard>,
}

#[derive(Clone, Debug)]
enum Held {
    Own(Vec<u32>),
    Shared(Words),
}

#[derive(Clone, Debug)]
struct Guard {
    blocks: Arc<Blocks>,
    /// The byte at which they begin.
    start: usize,
}

impl Guard {
    #[inline]
    fn touch(&self, places: Range<usize>) -> bool {
        self.blocks.touch(self.start + places.start * 4..self.start + places.end * 4)
    }
}

impl Numbers {
    /// All of them, unverified.
    #[inline]
    pub(crate) fn all(&self) -> &[u32] {
        match &self.held {
            Held::Own(numbers) => numbers,
            Held::Shared(words) => words,
        }
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// Those at `places`.
    #[inline]
    pub(crate) fn some(&self, places: Range<usize>) -> &[u32] {
        let Some(numbers) = self.all().get(places.clone()) else { return &[] };
        match &self.guard {
            Some(guard) if !guard.touch(places) => &[],
            _ => numbers,
        }
    }

    /// That at `place`.
    #[inline]
    pub(crate) fn one(&self, place: usize) -> Option<u32> {
        self.some(place..place + 1).first().copied()
    }

    /// All of them, to be changed; copied first where they lie in a file.
    pub(crate) fn own(&mut self) -> &mut Vec<u32> {
        if let Held::Shared(words) = &self.held {
            *self = words.to_vec().into();
        }
        match &mut self.held {
            Held::Own(numbers) => numbers,
            Held::Shared(_) => unreachable!("copied above"),
        }
    }

    /// Moves them to where lists of lines of the cache begin with one.
    pub(crate) fn align(&mut self) {
        if let Held::Own(numbers) = &self.held
            && let Some(words) = Words::copy_of(numbers)
        {
            self.held = Held::Shared(words);
        }
    }

    /// They are read here and there: nothing around them is to be brought in.
    pub(crate) fn read_apart(&self) {
        if let Held::Shared(words) = &self.held {
            words.bytes().read_apart();
        }
    }
}

impl From<Vec<u32>> for Numbers {
    fn from(numbers: Vec<u32>) -> Self {
        Self { held: Held::Own(numbers), guard: None }
    }
}

impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Eq for Numbers {}

/// The bytes of a shape, and the checksums of their blocks where they lie in a file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    bytes: Bytes,
    blocks: Option<Arc<Blocks>>,
}

impl Part {
    /// With `blocks` of the same bytes, or known to be whole.
    pub(crate) fn new(bytes: Bytes, blocks: Option<Arc<Blocks>>) -> Self {
        Self { bytes, blocks }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes from the first on, `count` of them or as many as there are, verified; none where
    /// they are damaged.
    pub(crate) fn head(&self, count: usize) -> &[u8] {
        let count = count.min(self.bytes.len());
        let whole = self.blocks.as_ref().is_none_or(|blocks| blocks.touch(0..count));
        if whole { &self.bytes[..count] } else { &[] }
    }

    /// `counts` numbers one list after the other from byte `start` on, which must reach to the
    /// last byte exactly. Reads none.
    pub(crate) fn numbers<const N: usize>(
        &self,
        start: usize,
        counts: [u64; N],
    ) -> Result<[Numbers; N], FileError> {
        let total = counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let expected = total.and_then(|total| total.checked_mul(4)?.checked_add(start as u64));
        let (expected, got) = (expected.unwrap_or(u64::MAX), self.bytes.len() as u64);
        if expected != got {
            return Err(FileError::Length { expected, got });
        }
        let mut start = start;
        Ok(counts.map(|count| {
            let from = start;
            start += count as usize * 4;
            self.lying(from..start)
        }))
    }

    fn lying(&self, range: Range<usize>) -> Numbers {
        let start = range.start;
        if let Some(words) = Words::new(self.bytes.slice(range.clone())) {
            let guard = self.blocks.clone().map(|blocks| Guard { blocks, start });
            return Numbers { held: Held::Shared(words), guard };
        }
        // Another machine's order of bytes.
        let whole = self.blocks.as_ref().is_none_or(|blocks| blocks.touch(range.clone()));
        let bytes = if whole { &self.bytes[range] } else { &[] };
        numbers_of(bytes).into()
    }
}

/// Appends numbers to `bytes`.
pub(crate) fn put(bytes: &mut Vec<u8>, numbers: &[u32]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// The numbers in `bytes`.
pub(crate) fn numbers_of(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect()
}
