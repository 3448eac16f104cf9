//! Rows of logits to the figures of a position.

/// The figures of one scored position.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Position {
    /// −ln of the probability the model gave the token that followed.
    pub(super) loss: f64,
    /// The same of the reference.
    pub(super) reference_loss: f64,
    /// Kullback-Leibler divergence from the reference, not negative.
    pub(super) divergence: f64,
    /// Whether both think the same token most likely.
    pub(super) same_top: bool,
}

/// Scores every row of `logits` (`next.len()` rows), `next` being the tokens that followed, on
/// `threads` threads; a row is computed by one of them.
pub(super) fn score(
    logits: &[f32],
    reference: Option<&[f32]>,
    next: &[u32],
    threads: usize,
) -> Vec<Position> {
    let width = logits.len() / next.len();
    let mut positions = vec![Position::default(); next.len()];
    let share = next.len().div_ceil(threads.max(1));
    std::thread::scope(|scope| {
        for (part, positions) in positions.chunks_mut(share).enumerate() {
            scope.spawn(move || {
                for (at, position) in positions.iter_mut().enumerate() {
                    let row = part * share + at;
                    let rows = row * width..(row + 1) * width;
                    let reference = reference.map(|reference| &reference[rows.clone()]);
                    *position = compare(&logits[rows], reference, next[row] as usize);
                }
            });
        }
    });
    positions
}

fn compare(logits: &[f32], reference: Option<&[f32]>, next: usize) -> Position {
    let ours = Normaliser::of(logits);
    let loss = ours.sum - f64::from(logits[next]);
    let Some(reference) = reference else { return Position { loss, ..Position::default() } };
    let theirs = Normaliser::of(reference);
    let mut divergence = 0.0;
    for (&theirs_at, &ours_at) in reference.iter().zip(logits) {
        let log = f64::from(theirs_at) - theirs.sum;
        divergence += log.exp() * (log - (f64::from(ours_at) - ours.sum));
    }
    Position {
        loss,
        reference_loss: theirs.sum - f64::from(reference[next]),
        // Rounding alone may make it negative.
        divergence: divergence.max(0.0),
        same_top: ours.top == theirs.top,
    }
}

/// What turns a row of logits into log-probabilities.
struct Normaliser {
    /// ln Σ e^logit.
    sum: f64,
    /// The most likely token, the first of several.
    top: usize,
}

impl Normaliser {
    fn of(logits: &[f32]) -> Self {
        let mut top = 0;
        for (at, value) in logits.iter().enumerate() {
            if *value > logits[top] {
                top = at;
            }
        }
        let most = f64::from(logits[top]);
        let sum = logits.iter().map(|&value| (f64::from(value) - most).exp()).sum::<f64>();
        Self { sum: most + sum.ln(), top }
    }
}
