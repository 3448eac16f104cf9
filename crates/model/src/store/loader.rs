//! Linear layers of a model that is being loaded: kept ones where there are, else packed.

use std::cell::Cell;

use super::form::Form;
use super::identity::Identity;
use super::table::Layer;
use super::{Kept, PackedStore};
use crate::layer::linear::{Linear, Part, Size};
use crate::layer::packed::Packed;
use crate::{Checkpoint, LoadError, Weight};

/// Where the linear layers of a model come from.
#[derive(Debug)]
pub(crate) struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    /// Where they are kept, if anywhere.
    place: Option<(&'a PackedStore, Identity)>,
    kept: Option<Kept>,
    /// Whether one was packed.
    packed: Cell<bool>,
}

impl<'a> Loader<'a> {
    /// Looks for what is kept of `checkpoint`.
    pub(crate) fn new(checkpoint: &'a Checkpoint) -> Self {
        let place = checkpoint.packed.as_ref();
        let place = place.and_then(|store| Some((store, Identity::of(checkpoint)?)));
        let kept = place.as_ref().and_then(|(store, at)| store.read(&at.name, &at.key));
        Self { checkpoint, place, kept, packed: Cell::new(false) }
    }

    /// Packs all layers, and keeps none: those beside a network that is kept.
    pub(crate) fn without(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, place: None, kept: None, packed: Cell::new(false) }
    }

    /// The layer of `parts`, outputs one behind the other. Their weights are read only if it is not
    /// kept.
    ///
    /// # Errors
    /// [`LoadError::Tensor`] if a weight is missing, damaged or of another size.
    ///
    /// # Panics
    /// If there are none, or their inputs differ.
    pub(crate) fn linear(&self, parts: Vec<Part<Size>>) -> Result<Linear, LoadError> {
        let kept = self.kept.as_ref().and_then(|kept| kept.layer(&Linear::key_of(&parts)));
        if let Some(weights) = kept.filter(|weights| fit(weights, &parts)) {
            return Ok(Linear::of(weights, &parts));
        }
        self.packed.set(true);
        let read = |part: Part<Size>| {
            let Size { rows, cols } = part.weight;
            let weight = self.weight(&part.name, rows, cols)?;
            Ok(part.with(weight))
        };
        let parts = parts.into_iter().map(read).collect::<Result<Vec<_>, LoadError>>()?;
        let linear = Linear::prepare(&parts);
        for part in &parts {
            self.checkpoint.release(&part.name);
        }
        Ok(linear)
    }

    /// A weight of exactly `rows × cols`.
    ///
    /// # Errors
    /// [`LoadError::Tensor`] if it is missing, damaged or of another size.
    pub(crate) fn weight(&self, name: &str, rows: usize, cols: usize) -> Result<Weight, LoadError> {
        let weight = self.checkpoint.weight(name)?;
        if (weight.rows(), weight.cols()) == (rows, cols) {
            return Ok(weight);
        }
        let got = format!("{} x {}", weight.rows(), weight.cols());
        Err(self.checkpoint.fail(name, format!("is {got}, the config says {rows} x {cols}")))
    }

    /// Keeps `linears`, all layers of the model, for the next time, unless they are.
    pub(crate) fn keep<'l>(&self, linears: impl Iterator<Item = &'l Linear>) {
        let Some((store, at)) = &self.place else { return };
        if self.kept.is_some() && !self.packed.get() {
            return;
        }
        let layers: Vec<_> = linears
            .map(|linear| Layer {
                key: linear.key(),
                weights: linear.weights().iter().map(Form::of).collect(),
            })
            .collect();
        store.write(&at.name, &at.key, &layers);
    }
}

/// Whether `weights` have the outputs and inputs of `parts`.
fn fit(weights: &[Packed], parts: &[Part<Size>]) -> bool {
    let wanted: usize = parts.iter().map(|part| part.weight.rows).sum();
    let rows = weights.iter().try_fold(0usize, |sum, weight| sum.checked_add(weight.rows()));
    let cols = |weight: &Packed| weight.cols() == parts[0].weight.cols;
    rows == Some(wanted) && weights.iter().all(cols)
}
