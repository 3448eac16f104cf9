//! What tells the packed weights of one model from those of another.

use std::fmt::Write;
use std::path::Path;

use kvant_kernels::PACKED_LAYOUT;
use kvant_storage::{Bytes, Stamp, crc32c, crc32c_append};

use crate::Checkpoint;

/// How weights are cut into packed ones: another number for other forms of the same model.
const FORMS: u32 = 1;
/// Bytes at the beginning of a file that are looked at.
const HEAD: usize = 1 << 16;
/// Bytes of each other place that is looked at.
const SAMPLE: usize = 1 << 12;
/// Such places, the last of them the end.
const SAMPLES: usize = 64;

/// A file that a model was read from.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: std::path::PathBuf,
    pub(crate) bytes: Bytes,
    pub(crate) stamp: Stamp,
}

/// What the packed weights of a model are called and what they must have been made from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) key: String,
}

impl Identity {
    /// The identity of `checkpoint`; `None` if some of its weights do not come from its files.
    ///
    /// The content of large files is not read: length, time of change and number of each file
    /// count, its beginning and [`SAMPLES`] places of it.
    pub(super) fn of(checkpoint: &Checkpoint) -> Option<Self> {
        if checkpoint.has_replaced() {
            return None;
        }
        let place = whole(checkpoint.path());
        let compute = format!("{:?}", checkpoint.compute);
        let mut key = String::new();
        let version = env!("CARGO_PKG_VERSION");
        writeln!(key, "kvant {version}, layout {PACKED_LAYOUT}, forms {FORMS}, {compute}").ok()?;
        for SourceFile { path, bytes, stamp } in checkpoint.files() {
            let Stamp { len, modified_ns, inode } = stamp;
            let crc = sampled(bytes);
            writeln!(key, "{} {len} {modified_ns} {inode} {crc:08x}", whole(path)).ok()?;
        }
        // How GPTQ's older files say what their codes mean.
        let settings = checkpoint.path().join("quantize_config.json");
        let settings = crate::file::json_if_there(&settings).ok()?;
        for settings in [checkpoint.config(), settings.as_ref()].into_iter().flatten() {
            let settings = settings.to_string();
            writeln!(key, "{} {:08x}", settings.len(), crc32c(settings.as_bytes())).ok()?;
        }
        let name = format!("{:016x}.packed", fnv(format!("{compute} {place}").as_bytes()));
        Some(Self { name, key })
    }
}

fn whole(path: &Path) -> String {
    path.canonicalize().as_deref().unwrap_or(path).to_string_lossy().into_owned()
}

/// The checksum of the beginning of `bytes` and of places spread over the rest; of all of them
/// where they are few.
fn sampled(bytes: &[u8]) -> u32 {
    let (head, rest) = bytes.split_at(bytes.len().min(HEAD));
    let crc = crc32c(head);
    let Some(last) = rest.len().checked_sub(SAMPLE * SAMPLES) else {
        return crc32c_append(crc, rest);
    };
    (0..SAMPLES).fold(crc, |crc, sample| {
        // In u128: the product may be larger than any file.
        let from =
            sample * SAMPLE + (last as u128 * sample as u128 / (SAMPLES as u128 - 1)) as usize;
        crc32c_append(crc, &rest[from..from + SAMPLE])
    })
}

/// FNV-1a in 64 bits (Fowler, Noll and Vo, 1991).
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_reach_the_whole_of_small_files_and_the_ends_of_large_ones() {
        let changed = |len: usize, at: usize| {
            let mut bytes = vec![1; len];
            let before = sampled(&bytes);
            bytes[at] = 2;
            sampled(&bytes) != before
        };
        let small = HEAD + SAMPLE * SAMPLES;
        assert!((0..small).step_by(997).all(|at| changed(small, at)));
        let large = 1 << 20;
        assert!(changed(large, 0) && changed(large, HEAD) && changed(large, large - 1));
        let seen = (0..large).step_by(1009).filter(|at| changed(large, *at)).count();
        assert!((200..500).contains(&seen), "{seen} of 1040 places");
        sampled(&[]);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_F739_67E8);
    }
}
