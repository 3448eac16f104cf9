//! In what precision linear layers read their inputs.

use std::fmt;
use std::str::FromStr;

use kvant_kernels::Scaling;
use serde_json::Value;

use crate::{Checkpoint, LoadError};

/// How a model's activations are quantized: a choice made when it is compressed, recorded in
/// its configuration and followed by everything that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activations {
    /// `int8:token` (or `int8`): 8 bits, a scale per token, found when it comes by. With int8
    /// weights this runs in integers.
    Token,
    /// `int8:block32`: 8 bits, a scale per 32 neighbouring values of a token.
    Block,
    /// `int8:static`: 8 bits, one scale per layer, found by a calibration.
    Static,
}

/// What to compute in when a model is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compute {
    /// As the model says: quantized activations if it was compressed with them, int8 in blocks of
    /// 32 for the coded weights of a GGUF file, else f32.
    #[default]
    Auto,
    /// f32 activations.
    Float32,
    /// Activations rounded to bf16, sums in f32.
    BFloat16,
    /// int8 activations: as the model says, a scale per token where it says nothing.
    Int8,
}

/// A name that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is none of {known}")]
pub struct ActivationError {
    name: String,
    known: &'static str,
}

impl fmt::Display for Activations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Token => "int8:token",
            Self::Block => "int8:block32",
            Self::Static => "int8:static",
        })
    }
}

impl FromStr for Activations {
    type Err = ActivationError;

    fn from_str(text: &str) -> Result<Self, ActivationError> {
        match text {
            "int8" | "int8:token" => Ok(Self::Token),
            "int8:block32" => Ok(Self::Block),
            "int8:static" => Ok(Self::Static),
            _ => {
                let known = "int8, int8:token, int8:block32, int8:static";
                Err(ActivationError { name: text.to_owned(), known })
            }
        }
    }
}

impl FromStr for Compute {
    type Err = ActivationError;

    fn from_str(text: &str) -> Result<Self, ActivationError> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::Float32),
            "bf16" => Ok(Self::BFloat16),
            "int8" => Ok(Self::Int8),
            _ => {
                let known = "auto, f32, bf16, int8";
                Err(ActivationError { name: text.to_owned(), known })
            }
        }
    }
}

/// What a layer does to its input before it multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rounding {
    None,
    /// 8 bits per block for weights in codes, nothing for those of full precision.
    Format,
    Brain,
    Token,
    Block,
    /// 8 bits at this scale.
    Static(f32),
}

impl Rounding {
    /// How codes of 8 bits are scaled, where there are any.
    pub(crate) fn scaling(self) -> Option<Scaling> {
        match self {
            Self::None | Self::Brain => None,
            Self::Token => Some(Scaling::Row),
            Self::Format | Self::Block => Some(Scaling::Block),
            Self::Static(scale) => Some(Scaling::Fixed(scale)),
        }
    }
}

/// How the input of a weight is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub(crate) rounding: Rounding,
    /// What each column of the stored weight was multiplied by, and each input is divided by;
    /// empty: by nothing.
    pub(crate) smooth: Vec<f32>,
}

#[cfg(test)]
impl Input {
    /// Nothing is done to the input.
    pub(crate) const PLAIN: Self = Self { rounding: Rounding::None, smooth: Vec::new() };
}

/// The suffix of the factors of [`Input::smooth`], behind the name of a weight.
pub(crate) const SMOOTH: &str = "_smooth";
/// What stands for `weight` in the name of a layer's static input scale.
pub(crate) const INPUT_SCALE: &str = "input_scale";

/// The activations that `config.json` asks for.
pub(crate) fn recorded(config: &Value) -> Option<Activations> {
    let quantization = config.get("quantization_config")?;
    let own = quantization.get("kvant").unwrap_or(quantization);
    if let Some(name) = own.get("activations").and_then(Value::as_str) {
        return name.parse().ok();
    }
    if own.get("tensors").is_some() {
        // Kvant's own: nothing said is nothing asked for.
        return None;
    }
    let groups = quantization.get("config_groups")?.as_object()?;
    let asked = groups.values().find_map(|group| group.get("input_activations")?.as_object())?;
    if asked.get("num_bits").and_then(Value::as_u64) != Some(8) {
        return None;
    }
    let dynamic = asked.get("dynamic").and_then(Value::as_bool).unwrap_or(false);
    Some(if dynamic { Activations::Token } else { Activations::Static })
}

impl Checkpoint {
    /// How the activations of this model were asked to be quantized when it was compressed.
    pub fn activations(&self) -> Option<Activations> {
        self.config().and_then(recorded)
    }

    /// Chooses what networks loaded from this checkpoint compute in.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.compute = compute;
        self
    }

    /// How the input of the weight `name`, of `cols` columns, is read.
    pub(crate) fn input(&self, name: &str, cols: usize) -> Result<Input, LoadError> {
        let smooth = self.smooth(name, cols)?;
        let rounding = match (self.compute, self.activations()) {
            // Programs that read GGUF multiply its blocks by blocks of 8 bits.
            (Compute::Auto, None) if self.gguf().is_some() => Rounding::Format,
            (Compute::Float32, _) | (Compute::Auto, None) => Rounding::None,
            (Compute::BFloat16, _) => Rounding::Brain,
            (Compute::Int8, None) | (_, Some(Activations::Token)) => Rounding::Token,
            (_, Some(Activations::Block)) => Rounding::Block,
            (_, Some(Activations::Static)) => {
                let base = name.strip_suffix("weight").unwrap_or(name);
                Rounding::Static(self.factors(&format!("{base}{INPUT_SCALE}"), 1)?[0])
            }
        };
        Ok(Input { rounding, smooth })
    }

    /// What the `cols` columns of the stored weight `name` were multiplied by; empty: by nothing.
    pub(crate) fn smooth(&self, name: &str, cols: usize) -> Result<Vec<f32>, LoadError> {
        let smooth = format!("{name}{SMOOTH}");
        if self.tensor_or_part(&smooth) { self.factors(&smooth, cols) } else { Ok(Vec::new()) }
    }

    /// `count` positive numbers.
    fn factors(&self, name: &str, count: usize) -> Result<Vec<f32>, LoadError> {
        let dense = self.dense(name)?;
        let values = dense.values();
        if values.len() != count {
            let why = format!("has {} values, expected {count}", values.len());
            return Err(self.fail(name, why));
        }
        match values.iter().find(|value| !(value.is_normal() && **value > 0.0)) {
            Some(value) => Err(self.fail(name, format!("holds {value}, which is no scale"))),
            None => Ok(values.to_vec()),
        }
    }
}
