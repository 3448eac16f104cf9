//! Rotary position embedding (Su et al., 2021, §3.4.2).

/// Which values of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// `i` with `i + width / 2`: safetensors checkpoints.
    Halves,
    /// `2 · i` with `2 · i + 1`: Llama in GGUF files, whose rows are permuted for it.
    Neighbours,
}

/// Cosines and sines of every position of a sequence, `positions × width / 2` each.
#[derive(Debug)]
pub(crate) struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    pairing: Pairing,
}

impl Rotation {
    /// Positions `0..positions`; pair `i` turns by `frequencies[i]` a position. The angles are
    /// computed in double precision.
    pub(crate) fn new(frequencies: &[f64], pairing: Pairing, positions: usize) -> Self {
        let angles = (0..positions).flat_map(|at| frequencies.iter().map(move |f| at as f64 * f));
        let (sin, cos) = angles.map(f64::sin_cos).map(|(s, c)| (s as f32, c as f32)).unzip();
        Self { cos, sin, half: frequencies.len(), pairing }
    }

    /// Turns the heads that lie side by side in `row`, the token at `position`.
    pub(crate) fn turn(&self, row: &mut [f32], position: usize) {
        let half = self.half;
        let cos = &self.cos[position * half..][..half];
        let sin = &self.sin[position * half..][..half];
        for head in row.chunks_exact_mut(2 * half) {
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
