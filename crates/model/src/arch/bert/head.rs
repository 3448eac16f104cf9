//! The head of a classifier: the state of the first token through the pooler and a linear layer
//! (Devlin et al., 2018, §4.1).

use kvant_kernels::{Kernels, Matrix, MatrixMut};

use super::Source;
use crate::activation::{Input, Rounding};
use crate::layer::linear::{Linear, Part};
use crate::layer::resize;
use crate::store::Loader;
use crate::trunk::Work;
use crate::{Checkpoint, LoadError};

/// `W · tanh(P · h + p) + b` of the state `h` of the first token.
#[derive(Debug)]
pub(crate) struct Head {
    pooler: Linear,
    classifier: Linear,
}

impl Head {
    /// Takes the weights of a head of `labels` outputs out of `checkpoint`.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        hidden: usize,
        labels: usize,
    ) -> Result<Self, LoadError> {
        let trunk = Source::of(checkpoint, Loader::without(checkpoint));
        // The last layer lies beside the trunk, not in it.
        let beside = Source { checkpoint, loader: Loader::without(checkpoint), prefix: "" };
        let linear = |source: &Source<'_>, name: &str, rows| {
            Ok::<_, LoadError>(Linear::prepare(&[source.head_part(name, rows, hidden)?]))
        };
        Ok(Self {
            pooler: linear(&trunk, "pooler.dense", hidden)?,
            classifier: linear(&beside, "classifier", labels)?,
        })
    }

    /// Writes the logits of every sequence of the batch, whose states are computed, to `work.rows`.
    pub(crate) fn forward(&self, kernels: &Kernels, work: &mut Work) {
        let Work { batch, scratch, rows } = work;
        let (hidden, labels, count) =
            (self.pooler.cols(), self.classifier.rows(), batch.lengths.len());
        let first = resize(&mut scratch.update, count * hidden);
        let mut token = 0;
        for (length, row) in batch.lengths.iter().zip(first.chunks_exact_mut(hidden)) {
            row.copy_from_slice(&scratch.hidden[token * hidden..][..hidden]);
            token += length;
        }
        let on = (kernels, &scratch.alone);
        let pooled = resize(&mut scratch.context, count * hidden);
        let x = Matrix::new(&first[..], count, hidden);
        let out = MatrixMut::new(pooled, count, hidden);
        self.pooler.forward(on, x, &mut scratch.codes, out);
        for value in pooled.iter_mut() {
            *value = value.tanh();
        }
        rows.resize(count * labels, 0.0);
        let x = Matrix::new(&pooled[..], count, hidden);
        let out = MatrixMut::new(&mut rows[..], count, labels);
        self.classifier.forward(on, x, &mut scratch.codes, out);
    }

    /// Bytes held.
    pub(crate) fn size_bytes(&self) -> usize {
        self.pooler.size_bytes() + self.classifier.size_bytes()
    }
}

impl Source<'_> {
    /// A linear layer of a head. It reads its input in full precision whatever the model says: one
    /// token of a sequence goes through it, and who calibrates a model sees the trunk only.
    fn head_part(&self, name: &str, rows: usize, cols: usize) -> Result<Part, LoadError> {
        let weight = self.loader.weight(&self.named(&format!("{name}.weight")), rows, cols)?;
        let part = self.part(name, (rows, cols), |name| {
            let smooth = self.checkpoint.smooth(name, cols)?;
            Ok(Input { rounding: Rounding::None, smooth })
        })?;
        Ok(part.with(weight))
    }
}
