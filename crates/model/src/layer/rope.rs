//! Rotary position embedding (Su et al., 2021, §3.4.2).

/// Which values of a head are turned together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// `i` with `i + width / 2`: safetensors checkpoints.
    #[default]
    Halves,
    /// `2 · i` with `2 · i + 1`: Llama in GGUF files, whose rows are permuted for it.
    Neighbours,
}

/// Cosines and sines of the positions of some rows, `rows × width / 2` each.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    pairing: Pairing,
}

impl Rotation {
    /// Prepares the row `i` to stand at the `i`-th of `positions`; pair `j` turns by
    /// `frequencies[j]` a position. The angles are computed in double precision. Keeps its memory.
    pub(crate) fn set(
        &mut self,
        frequencies: &[f64],
        pairing: Pairing,
        positions: impl Iterator<Item = usize>,
    ) {
        (self.half, self.pairing) = (frequencies.len(), pairing);
        self.cos.clear();
        self.sin.clear();
        for position in positions {
            for frequency in frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                self.cos.push(cos as f32);
                self.sin.push(sin as f32);
            }
        }
    }

    /// Turns the heads that lie side by side in `values`, those of row `row`.
    pub(crate) fn turn(&self, values: &mut [f32], row: usize) {
        let half = self.half;
        let cos = &self.cos[row * half..][..half];
        let sin = &self.sin[row * half..][..half];
        for head in values.chunks_exact_mut(2 * half) {
            match self.pairing {
                Pairing::Halves => {
                    let (first, second) = head.split_at_mut(half);
                    let pairs = first.iter_mut().zip(second).zip(cos.iter().zip(sin));
                    pairs.for_each(|((a, b), (cos, sin))| turn(a, b, *cos, *sin));
                }
                Pairing::Neighbours => {
                    let pairs = head.as_chunks_mut().0.iter_mut().zip(cos.iter().zip(sin));
                    pairs.for_each(|([a, b], (cos, sin))| turn(a, b, *cos, *sin));
                }
            }
        }
    }
}

fn turn(a: &mut f32, b: &mut f32, cos: f32, sin: f32) {
    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
}
