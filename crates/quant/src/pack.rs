//! Codes of 1 to 8 bits side by side in bytes.
//!
//! Code `i` takes the bits `i·n .. (i+1)·n` of the stream, low bits first in every byte: eight
//! codes are exactly `n` bytes. Unused bits of the last byte are zero.

/// Bytes that `count` codes of `bits` bits take.
///
/// # Panics
/// If `bits` is not 1 to 8.
pub const fn packed_len(count: usize, bits: u8) -> usize {
    assert!(bits >= 1 && bits <= 8, "codes have 1 to 8 bits");
    count / 8 * bits as usize + (count % 8 * bits as usize).div_ceil(8)
}

/// Packs `codes` into `out`; bits of a code above `bits` are ignored.
///
/// ```
/// let mut bytes = [0; 2];
/// kvant_quant::pack::pack(&[1, 2, 3, 0, 3], 2, &mut bytes);
/// assert_eq!(bytes, [0b00_11_10_01, 0b11]);
/// let mut codes = [0; 5];
/// kvant_quant::pack::unpack(&bytes, 2, &mut codes);
/// assert_eq!(codes, [1, 2, 3, 0, 3]);
/// ```
///
/// # Panics
/// If `out` does not hold exactly [`packed_len`] bytes, or `bits` is not 1 to 8.
pub fn pack(codes: &[u8], bits: u8, out: &mut [u8]) {
    assert_eq!(out.len(), packed_len(codes.len(), bits), "bytes of the packed codes");
    let mask = (1u64 << bits) - 1;
    for (codes, bytes) in codes.chunks(8).zip(out.chunks_mut(usize::from(bits))) {
        let mut word = 0u64;
        for (i, &code) in codes.iter().enumerate() {
            word |= (u64::from(code) & mask) << (i * usize::from(bits));
        }
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
}

/// Unpacks as many codes as `out` holds.
///
/// # Panics
/// If `bytes` does not hold exactly [`packed_len`] bytes, or `bits` is not 1 to 8.
pub fn unpack(bytes: &[u8], bits: u8, out: &mut [u8]) {
    assert_eq!(bytes.len(), packed_len(out.len(), bits), "bytes of the packed codes");
    let mask = (1u64 << bits) - 1;
    for (codes, bytes) in out.chunks_mut(8).zip(bytes.chunks(usize::from(bits))) {
        let mut word = [0u8; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_le_bytes(word);
        for (i, code) in codes.iter_mut().enumerate() {
            *code = ((word >> (i * usize::from(bits))) & mask) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    #[test]
    fn every_width_and_length_reads_back() {
        let mut random = Random::new(7);
        for bits in 1..=8u8 {
            for len in 0..=200usize {
                let codes: Vec<u8> =
                    (0..len).map(|_| (random.bits() & ((1 << bits) - 1)) as u8).collect();
                let mut bytes = vec![0xAA; packed_len(len, bits)];
                pack(&codes, bits, &mut bytes);
                let mut back = vec![0xFF; len];
                unpack(&bytes, bits, &mut back);
                assert_eq!(codes, back, "{bits} bits, {len} codes");
                let spare = bytes.len() * 8 - len * usize::from(bits);
                assert!(spare < 8, "no spare byte");
                if spare > 0 {
                    assert_eq!(bytes[bytes.len() - 1] >> (8 - spare), 0, "spare bits are zero");
                }
            }
        }
    }

    #[test]
    fn low_bits_come_first() {
        let mut bytes = [0; 3];
        pack(&[0b101, 0b011, 0b110, 0, 0, 0, 0, 0b100], 3, &mut bytes);
        assert_eq!(bytes, [0b10_011_101, 0b0000_0001, 0b1000_0000]);
    }

    #[test]
    fn high_bits_of_a_code_do_not_leak() {
        let mut bytes = [0; 1];
        pack(&[0xFF, 0], 4, &mut bytes);
        assert_eq!(bytes, [0x0F]);
    }

    #[test]
    fn lengths_do_not_overflow() {
        assert_eq!(packed_len(usize::MAX, 8), usize::MAX);
    }
}
