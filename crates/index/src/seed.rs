//! Numbers of a seed.

/// The output function of `SplitMix64` (Steele et al., 2014).
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `SplitMix64` itself.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The numbers of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bits
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// A number in 0..1, never 0.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// `count` of the numbers below `of`, rising; all of them where there are no more.
    pub(crate) fn some(&mut self, count: usize, of: usize) -> Vec<u32> {
        if count >= of {
            return (0..of as u32).collect();
        }
        // Knuth's selection sampling (The Art of Computer Programming, 3.4.2, S).
        let mut chosen = Vec::with_capacity(count);
        for at in 0..of {
            if self.below(of - at) < count - chosen.len() {
                chosen.push(at as u32);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_as_many_as_asked_for_and_spread() {
        let mut draw = Draw::new(1);
        for (count, of) in [(0, 0), (0, 9), (9, 9), (12, 9), (300, 1000)] {
            let chosen = draw.some(count, of);
            assert_eq!(chosen.len(), count.min(of));
            assert!(chosen.windows(2).all(|w| w[0] < w[1]));
            assert!(chosen.iter().all(|&at| (at as usize) < of));
        }
        let low = draw.some(300, 1000).iter().filter(|&&at| at < 500).count();
        assert!((110..190).contains(&low), "{low}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&draw.unit()) && draw.unit() > 0.0));
    }
}
