//! What goes into the linear layers of a network, handed to whoever wants to know.

use kvant_kernels::Matrix;

/// Sees the inputs of linear layers while a network runs.
///
/// Calls come in the order of the layers, from the calling thread, and are the same for any
/// number of threads.
pub trait Tap {
    /// `x` (`tokens × inputs`) is read by all of `weights`, which are names in the checkpoint.
    fn input(&mut self, weights: &[&str], x: Matrix<'_, f32>);
}
