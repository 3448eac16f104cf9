//! Sentence encoders as commands load them.

use kvant_model::{Checkpoint, Encoder};

/// Opens the encoder in `checkpoint`, and warns where its vectors are a guess.
///
/// # Errors
/// As [`Encoder::open`].
pub(super) fn open(checkpoint: &Checkpoint) -> anyhow::Result<Encoder> {
    let encoder = Encoder::open(checkpoint)?;
    if !encoder.is_pooling_stated() {
        eprintln!(
            "warning: {}: no pooling configuration (modules.json, 1_Pooling/config.json), so \
             vectors are the mean over tokens, not normalized; copy it from the model's source",
            checkpoint.path().display()
        );
    }
    Ok(encoder)
}
