//! Equal parts of all points.

use crate::id::PointId;
use std::hash::Hasher as _;

/// One of `total` parts of all points, for scans side by side and samples that stay the same.
///
/// A point is in the part `hash % total`, where the hash is SipHash-2-4 with a key of zeros over
/// 8 bytes, the least significant first, of a number, the 16 bytes of a UUID in the order it is
/// written, or the UTF-8 bytes of any other text. So the parts `0..total` have every point once,
/// and part 0 of 4 lies in part 0 of 2. Clients may count on this hash; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which part, below `total`.
    pub index: u32,
    /// How many parts there are, at least 1.
    pub total: u32,
}

impl Slice {
    /// Whether a point is in this part; never for a `total` of 0.
    pub fn contains(self, id: &PointId) -> bool {
        hash(id).checked_rem(u64::from(self.total)) == Some(u64::from(self.index))
    }
}

/// The standard library has this hash under a name it would rather have nobody use for tables.
#[expect(deprecated, reason = "the protocol prescribes SipHash-2-4, which is what this type is")]
fn hash(id: &PointId) -> u64 {
    let mut hasher = std::hash::SipHasher::new();
    match id {
        PointId::Number(number) => hasher.write(&number.to_le_bytes()),
        PointId::Uuid(value) => hasher.write(&value.to_be_bytes()),
        PointId::Text(text) => hasher.write(text.as_bytes()),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Of nothing, and of the bytes 0..16, with a key of zeros: by the reference code.
        assert_eq!(hash(&PointId::Text(String::new())), 0x1e92_4b9d_7377_00d7);
        let bytes = u128::from_be_bytes(std::array::from_fn(|n| n as u8));
        let text = PointId::Text((0..16u8).map(char::from).collect());
        assert_eq!(hash(&PointId::Uuid(bytes)), hash(&text));
        let number = PointId::Number(u64::from_le_bytes(*b"abcdefgh"));
        assert_eq!(hash(&number), hash(&PointId::Text("abcdefgh".to_owned())));
    }

    #[test]
    fn parts_have_every_point_once() {
        let ids = (0..1000).map(PointId::Number);
        let texts = (0..1000).map(|n| format!("id-{n}").parse().unwrap());
        let mut counts = [0; 4];
        for id in ids.chain(texts) {
            let slice = |index, total| Slice { index, total }.contains(&id);
            let parts: Vec<usize> = (0..4).filter(|n| slice(*n as u32, 4)).collect();
            assert_eq!(parts.len(), 1);
            counts[parts[0]] += 1;
            assert!(!slice(0, 4) || slice(0, 2), "a part of a part");
            assert!(slice(0, 1) && !slice(0, 0) && !slice(1, 1));
        }
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }
}
