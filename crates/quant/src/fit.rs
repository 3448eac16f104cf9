//! How the scales of a format are fitted to the weights.

pub(crate) mod part;
pub(crate) mod range;
pub(crate) mod search;

/// How a group's range is chosen from its weights: the calibration observers of the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Observer {
    /// From the smallest to the largest weight: nothing is clipped.
    #[default]
    MinMax,
    /// The range that leaves the outermost 0.1 % of the weights outside; below a thousand weights
    /// that is none of them.
    Percentile,
    /// The range with the least squared error, importance-weighted where importances are given.
    Mse,
    /// The range whose histogram after rounding is nearest to that before (Kullback–Leibler);
    /// below 4096 weights that share a scale, too few for a histogram, [`Observer::Mse`].
    Entropy,
}

/// What scales are fitted to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fit<'a> {
    /// How ranges are chosen.
    pub observer: Observer,
    /// How much an error in each column matters, one finite number ≥ 0 per column (the mean
    /// square of the layer's input); `None`: all the same.
    pub importance: Option<&'a [f32]>,
}
