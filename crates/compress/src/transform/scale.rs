//! Scales of input channels: the search that both transforms with scales share.

use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32, kernels};
use kvant_model::Dense;
use kvant_quant::{Fit, Observer, Scheme};

use crate::site::{Share, Site, columns, sites};
use crate::worker::each;
use crate::{Calibration, Draft, Moment, PassError};

/// Rows of a weight that stand for all of it when scales are compared.
const SAMPLE: usize = 256;

/// What a transform with scales did at one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// The weights that read it.
    pub readers: Vec<String>,
    /// The exponent chosen; `None`: the channels stay as they are.
    pub alpha: Option<f64>,
    /// The loss that was minimised, without scales.
    pub loss_before: f64,
    /// And with those chosen.
    pub loss: f64,
}

/// What becomes of inputs with nothing before them that could take a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// They stay as they are.
    #[default]
    Leave,
    /// The scale is stored beside the weight and applied when the layer runs, or undone when its
    /// weight is decoded: only models in Kvant's own container can say so.
    Store,
}

/// A scale for every slot of a site's absorber, and what is said of it.
pub(super) struct Choice {
    pub(super) scale: Vec<f32>,
    pub(super) alpha: Option<f64>,
    pub(super) loss_before: f64,
    pub(super) loss: f64,
}

impl Choice {
    /// The best of `candidates` (exponent and slots) by `loss` of the channels' scales, or to
    /// leave the channels as they are.
    pub(super) fn best(
        share: Share,
        channels: usize,
        candidates: impl Iterator<Item = (f64, Vec<f32>)>,
        loss: impl Fn(&[f32]) -> f64,
    ) -> Self {
        let expand = |slots: &[f32]| -> Vec<f32> {
            (0..channels).map(|channel| slots[share.slot(channel)]).collect()
        };
        let scale = vec![1.0; share.slots(channels)];
        let before = loss(&expand(&scale));
        let mut best = Self { scale, alpha: None, loss_before: before, loss: before };
        for (alpha, scale) in candidates {
            let loss = loss(&expand(&scale));
            if loss < best.loss {
                best = Self { scale, alpha: Some(alpha), loss_before: before, loss };
            }
        }
        best
    }
}

/// What a weight is going to be encoded in, by its name; `None`: it keeps its values.
pub(super) type Encoded<'a> = &'a (dyn Fn(&str) -> Option<Scheme> + Sync);
/// Whether a site takes a scale.
pub(super) type Taken<'a> = &'a dyn Fn(&Site) -> bool;

/// Chooses scales for every site that can take them, has statistics and a reader that is going to
/// be encoded, and folds them into the weights of `draft` and the statistics of `calibration`.
///
/// All choices are made on the weights as they come in: the scale of a weight's rows, which
/// another site may choose, changes neither the loss of its columns nor its order.
pub(super) fn scale_sites(
    draft: &mut Draft,
    calibration: &mut Calibration,
    threads: usize,
    (encoded, taken): (Encoded<'_>, Taken<'_>),
    choose: &(dyn Fn(&Loss<'_>, Share) -> Choice + Sync),
) -> Result<Vec<Scaled>, PassError> {
    let work: Vec<Site> = sites(draft)?
        .into_iter()
        .filter(|site| site.readers.iter().any(|name| encoded(name).is_some()))
        .filter(|site| taken(site) && moment(calibration, site).is_some())
        .collect();
    let choices = each(threads, &work, |site| {
        let Some(moment) = moment(calibration, site) else { return Ok(None) };
        let share = site.absorber.as_ref().map_or(Share::None, |absorber| absorber.share);
        let choice = choose(&Loss::new(draft, site, moment, encoded)?, share);
        Ok::<_, PassError>(choice.loss_before.is_finite().then_some(choice))
    });
    let mut scaled = Vec::with_capacity(work.len());
    for (site, choice) in work.into_iter().zip(choices) {
        let Some(choice) = choice? else { continue };
        let Choice { scale, alpha, loss_before, loss } = choice;
        if alpha.is_some() {
            let channels = match site.absorber {
                Some(_) => site.scale(draft, &scale)?,
                None => site.store(draft, scale)?,
            };
            if let Some(moment) = calibration.inputs.iter_mut().find(|moment| of(moment, &site)) {
                divide(moment, &channels);
            }
        }
        scaled.push(Scaled { readers: site.readers, alpha, loss_before, loss });
    }
    Ok(scaled)
}

fn moment<'a>(calibration: &'a Calibration, site: &Site) -> Option<&'a Moment> {
    calibration.inputs.iter().find(|moment| of(moment, site))
}

fn of(moment: &Moment, site: &Site) -> bool {
    site.readers.iter().any(|reader| moment.weights.contains(reader))
}

/// The statistics of an input whose channels were divided by `scale`.
fn divide(moment: &mut Moment, scale: &[f32]) {
    for (row, by) in moment.hessian.chunks_exact_mut(moment.dim.max(1)).zip(scale) {
        row.iter_mut().zip(scale).for_each(|(value, s)| *value /= s * by);
    }
    moment.mean_square.iter_mut().zip(scale).for_each(|(value, s)| *value /= s * s);
    for values in [&mut moment.mean, &mut moment.mean_abs, &mut moment.max_abs] {
        values.iter_mut().zip(scale).for_each(|(value, s)| *value /= s);
    }
}

/// The values of `channels` brought to the slots they share: `join` of all of a slot.
pub(super) fn slots(channels: &[f32], share: Share, join: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let mut slots: Vec<Option<f32>> = vec![None; share.slots(channels.len())];
    for (channel, &value) in channels.iter().enumerate() {
        let slot = &mut slots[share.slot(channel)];
        *slot = Some(slot.map_or(value, |known| join(known, value)));
    }
    slots.into_iter().map(Option::unwrap_or_default).collect()
}

/// The losses of one site for any scales.
pub(super) struct Loss<'a> {
    readers: Vec<Reader>,
    /// The largest magnitude in every column of the readers.
    pub(super) columns_max: Vec<f32>,
    pub(super) moment: &'a Moment,
    hessian: Option<PackedF32>,
    kernels: &'static Kernels,
}

/// A weight that is going to be encoded.
struct Reader {
    /// Some of its rows.
    rows: Dense,
    /// How many rows of the weight each of them stands for.
    each: f64,
    scheme: Scheme,
}

impl<'a> Loss<'a> {
    pub(super) fn new(
        draft: &Draft,
        site: &Site,
        moment: &'a Moment,
        encoded: Encoded<'_>,
    ) -> Result<Self, PassError> {
        let kernels = kernels();
        let mut loss = Self {
            readers: Vec::new(),
            columns_max: vec![0.0; moment.dim],
            hessian: moment.matrix().map(PackedF32::new),
            moment,
            kernels,
        };
        for name in &site.readers {
            let Some(scheme) = encoded(name) else { continue };
            let dense = draft.dense(name)?;
            let count = dense.rows().min(SAMPLE);
            let place = |at: usize| at * dense.rows() / count;
            let rows = (0..count).flat_map(|at| dense.row(place(at)).iter().copied());
            let rows = Dense::owned(vec![count, dense.cols()], rows.collect());
            let each = dense.rows() as f64 / count.max(1) as f64;
            loss.readers.push(Reader { rows, each, scheme });
            for row in 0..dense.rows() {
                for (max, value) in loss.columns_max.iter_mut().zip(dense.row(row)) {
                    *max = max.max(value.abs());
                }
            }
        }
        Ok(loss)
    }

    /// `tr(ΔW·H·ΔWᵀ)` of all readers when they are encoded with their columns multiplied by
    /// `scale`; infinite where the scheme cannot hold them. Relative to nothing: a sum of squares.
    pub(super) fn weights(&self, scale: &[f32]) -> f64 {
        self.readers.iter().map(|reader| reader.each * self.reader(reader, scale)).sum()
    }

    fn reader(&self, reader: &Reader, scale: &[f32]) -> f64 {
        let rows = reader.rows.matrix();
        let scaled = columns(rows, scale);
        let squares = self.moment.mean_square.iter().zip(scale);
        let importance: Vec<f32> = squares.map(|(square, s)| square / (s * s)).collect();
        let fit = Fit { observer: Observer::Mse, importance: Some(&importance) };
        let coded = reader.scheme.fit(Matrix::new(&scaled, rows.rows(), rows.cols()), &fit);
        let Ok(coded) = coded else { return f64::INFINITY };
        let mut error = coded.decode();
        for (error, row) in error.chunks_exact_mut(rows.cols()).zip(0..) {
            for ((error, value), scale) in error.iter_mut().zip(rows.row(row)).zip(scale) {
                *error = *error / scale - value;
            }
        }
        self.under_hessian(&error, rows.cols())
    }

    fn under_hessian(&self, error: &[f32], cols: usize) -> f64 {
        let rows = error.len() / cols;
        let Some(hessian) = &self.hessian else {
            let square = |row: &[f32]| {
                let terms = row.iter().zip(&self.moment.mean_square);
                terms.map(|(e, h)| f64::from(*e).powi(2) * f64::from(*h)).sum::<f64>()
            };
            return error.chunks_exact(cols).map(square).sum();
        };
        let mut product = vec![0.0; error.len()];
        let out = MatrixMut::new(&mut product, rows, cols);
        self.kernels.gemm_f32(Matrix::new(error, rows, cols), hessian, None, out);
        let pairs = error.chunks_exact(cols).zip(product.chunks_exact(cols));
        pairs.map(|(e, p)| f64::from(self.kernels.dot_f32(e, p))).sum()
    }

    /// `‖W·diag(scale)‖²` of all readers.
    pub(super) fn norm(&self, scale: &[f32]) -> f64 {
        let norms = self.readers.iter().map(|reader| {
            let scaled = columns(reader.rows.matrix(), scale);
            reader.each * scaled.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>()
        });
        norms.sum()
    }
}
