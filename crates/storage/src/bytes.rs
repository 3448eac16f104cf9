//! Shared immutable bytes, mapped from a file or owned. The only room of this crate with `unsafe`.
#![expect(unsafe_code, reason = "mapping files and viewing bytes as numbers live here")]

mod append;

pub use append::Append;

use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

mod word;

pub use word::Words;

/// Shared immutable bytes; cloning and slicing copy nothing. A whole value (not a slice of one)
/// starts on a 64-byte boundary, so sections on 64-byte offsets keep that alignment.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<Owner>,
    start: usize,
    len: usize,
}

/// A multiple of the size of a page on every machine we know of.
const PAGE: usize = 1 << 16;

enum Owner {
    Mapped(Mmap),
    Lines(Vec<Line>),
}

/// A cache line; a vector of them is aligned memory without a custom allocator.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Bytes {
    /// A copy of `data` on a 64-byte boundary.
    pub fn copy_of(data: &[u8]) -> Self {
        let mut lines = vec![Line([0; 64]); data.len().div_ceil(64)];
        bytes_of_lines(&mut lines)[..data.len()].copy_from_slice(data);
        Self { owner: Arc::new(Owner::Lines(lines)), start: 0, len: data.len() }
    }

    /// `len` bytes written by `fill`, which gets them zeroed.
    pub(crate) fn fill(
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut lines = vec![Line([0; 64]); len.div_ceil(64)];
        fill(&mut bytes_of_lines(&mut lines)[..len])?;
        Ok(Self { owner: Arc::new(Owner::Lines(lines)), start: 0, len })
    }

    /// The content of `file`, mapped. An empty file needs no map.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        Self::map_as(file, &MmapOptions::new())
    }

    /// As [`Bytes::map`], with all pages brought in at once: cheaper than at first use where all of
    /// them will be used.
    pub(crate) fn map_whole(file: &File) -> io::Result<Self> {
        Self::map_as(file, MmapOptions::new().populate())
    }

    fn map_as(file: &File, options: &MmapOptions) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::copy_of(&[]));
        }
        // SAFETY: a map is sound as long as nobody shortens or rewrites the file beneath it.
        // Kvant's own files are written once and published by rename, so their inodes never
        // change; logs are read only while their single writer is not running. Foreign files
        // (models, data sets) come with the documented demand of `read_file` that they stay as
        // they are while in use. The map is read-only and private to this process.
        let map = unsafe { options.map(file)? };
        let len = map.len();
        Ok(Self { owner: Arc::new(Owner::Mapped(map)), start: 0, len })
    }

    /// The bytes `range` of these, sharing the memory.
    ///
    /// # Panics
    /// If the range is not inside.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "slice {range:?} of {}",
            self.len
        );
        Self { owner: Arc::clone(&self.owner), start: self.start + range.start, len: range.len() }
    }

    /// Tells the system that these bytes of a mapped file are not needed in memory for now; they
    /// are read from the file again when touched. Does nothing where they are owned.
    pub fn release(&self) {
        let Owner::Mapped(map) = &*self.owner else { return };
        // Only pages that lie inside as a whole; others may be in use by neighbours.
        let from = self.start.next_multiple_of(PAGE);
        let to = (self.start + self.len) / PAGE * PAGE;
        if from < to {
            // SAFETY: the map is shared with its file and read-only, so pages that are let go come
            // back with the same content. A refusal leaves everything as it was.
            let _ =
                unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, from, to - from) };
        }
    }

    /// Tells the system that `range` of a mapped file is read soon: it is brought in while other
    /// work goes on. A refusal, and bytes that are owned, make no difference.
    ///
    /// # Panics
    /// If the range is not inside.
    pub fn will_need(&self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        if let Owner::Mapped(map) = &*self.owner
            && !range.is_empty()
        {
            let _ = map.advise_range(Advice::WillNeed, self.start + range.start, range.len());
        }
    }

    /// Tells the system that these bytes of a mapped file are read here and there, so that it
    /// brings in no more than what is touched. Makes no difference where they are owned.
    pub fn read_apart(&self) {
        if let Owner::Mapped(map) = &*self.owner
            && self.len > 0
        {
            let _ = map.advise_range(Advice::Random, self.start, self.len);
        }
    }

    /// The bytes as little-endian `f32`, without copying. `None` unless the start is on a 4-byte
    /// boundary, the length a multiple of 4 and the machine little-endian.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: every bit pattern is a valid f32 and the memory is initialised and immutable
        // for the lifetime of `self`; `align_to` yields only correctly aligned whole elements.
        let (before, middle, after) = unsafe { self.align_to::<f32>() };
        (before.is_empty() && after.is_empty()).then_some(middle)
    }
}

/// The bytes of `values` as they lie in memory, which is how little-endian files hold them.
pub fn bytes_of_f32(values: &[f32]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "the file formats are little-endian") };
    // SAFETY: f32 has no padding and u8 no alignment or validity demands; the length in bytes is
    // that of the slice, and the borrow is carried over.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

/// The bytes of `numbers` as they lie in memory, which is how little-endian files hold them.
pub fn bytes_of_u32(numbers: &[u32]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "the file formats are little-endian") };
    // SAFETY: u32 has no padding and u8 no alignment or validity demands; the length in bytes is
    // that of the slice, and the borrow is carried over.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast::<u8>(), size_of_val(numbers)) }
}

fn bytes_of_lines(lines: &mut [Line]) -> &mut [u8] {
    let len = size_of_val(lines);
    // SAFETY: `Line` is repr(C) around 64 bytes with alignment 64, hence without padding; all
    // bytes are initialised, u8 has no validity demands, and the exclusive borrow is carried over.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<u8>(), len) }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &*self.owner {
            Owner::Mapped(map) => map,
            // SAFETY: as in `bytes_of_lines`, with a shared borrow.
            Owner::Lines(lines) => unsafe {
                std::slice::from_raw_parts(lines.as_ptr().cast::<u8>(), size_of_val(&**lines))
            },
        };
        &all[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(data: Vec<u8>) -> Self {
        Self::copy_of(&data)
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::copy_of(&[])
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(*self.owner, Owner::Mapped(_)) { "mapped" } else { "owned" };
        write!(f, "Bytes({} {kind})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn copies_and_maps_hold_the_same_bytes_on_a_line_boundary() {
        for len in [0, 1, 63, 64, 65, 4096, 10_000] {
            let data: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&data).unwrap();
            let mapped = [Bytes::map(&file).unwrap(), Bytes::map_whole(&file).unwrap()];
            for bytes in [Bytes::copy_of(&data)].iter().chain(&mapped) {
                assert_eq!(&**bytes, &data);
                bytes.release();
                bytes.slice(len / 3..len / 2).release();
                assert_eq!(&**bytes, &data, "what was released comes back");
                assert!(bytes.is_empty() || (bytes.as_ptr() as usize).is_multiple_of(64));
            }
        }
    }

    #[test]
    fn slices_share_and_nest() {
        let bytes = Bytes::from((0..100).collect::<Vec<u8>>());
        let part = bytes.slice(10..50).slice(5..10);
        assert_eq!(&*part, &[15, 16, 17, 18, 19]);
        assert_eq!(part.as_ptr(), bytes[15..].as_ptr());
        assert!(bytes.slice(100..100).is_empty());
    }

    #[test]
    fn numbers_are_viewed_only_when_aligned_and_whole() {
        let values = [1.5f32, -0.0, f32::MAX, f32::NAN];
        let bytes = Bytes::copy_of(bytes_of_f32(&values));
        let view = bytes.as_f32().unwrap();
        assert!(view.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!(bytes.slice(4..12).as_f32().unwrap().len(), 2);
        assert!(bytes.slice(1..9).as_f32().is_none());
        assert!(bytes.slice(0..7).as_f32().is_none());
        assert_eq!(Bytes::default().as_f32(), Some(&[][..]));
        assert_eq!(bytes_of_u32(&[1, 0x0203_0405]), [1, 0, 0, 0, 5, 4, 3, 2]);
    }
}
