//! Which tensor becomes what, by the rules of a recipe.

use kvant_model::TensorInfo;
use kvant_quant::{BLOCK, BlockFormat, Scheme};

use crate::recipe::{Action, Recipe};
use crate::{AssignError, Draft, Reason, Select, Task};

/// What the rules say of a model's tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Assignment {
    /// Tensors that stay, and why.
    pub(crate) kept: Vec<(String, Reason)>,
    /// Tensors to quantize.
    pub(crate) tasks: Vec<Task>,
    /// Output axes that rules name, of tensors that do not stay.
    pub(crate) axes: Vec<(String, usize)>,
    /// Rules with a budget, and the tensors that share it.
    pub(crate) shared: Vec<(usize, Vec<String>)>,
}

/// What to do with a matrix whose rows its format cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Say so and stop.
    #[default]
    Refuse,
    /// Take the nearest format with blocks of 32 that is no coarser, else leave it.
    Allow,
}

/// Applies the rules of `recipe` to every tensor of `draft`.
///
/// # Errors
/// [`AssignError`] for a pattern that names no tensor, a rule that gets none, or a block that
/// does not divide the rows.
pub(crate) fn assign(
    draft: &Draft,
    recipe: &Recipe,
    select: &Select,
    fallback: Fallback,
) -> Result<Assignment, AssignError> {
    let tensors = draft.tensors();
    refuse_idle(tensors, recipe)?;
    let mut out = Assignment::default();
    for tensor in tensors {
        let rule = recipe.rules.iter().enumerate().find(|(_, rule)| rule.names(&tensor.name));
        let named = rule.and_then(|(_, rule)| rule.axis);
        let axis = named.or(tensor.axis).unwrap_or(0);
        if let Err(reason) = select.judge(tensor, axis) {
            out.kept.push((tensor.name.clone(), reason));
            continue;
        }
        let Some(view) = tensor.view(axis) else {
            let (tensor, rank) = (tensor.name.clone(), tensor.shape.len());
            return Err(AssignError::Axis { tensor, axis, rank });
        };
        if axis != 0 {
            out.axes.push((tensor.name.clone(), axis));
        }
        match rule.map(|(index, rule)| (index, &rule.action)) {
            None | Some((_, Action::Keep)) => {
                out.kept.push((tensor.name.clone(), Reason::Recipe));
            }
            Some((_, Action::Quantize { quantizer, observer })) => {
                let scheme = fitting(&tensor.name, view.cols(), quantizer.scheme, fallback)?;
                let quantizer = crate::Quantizer { scheme, ..*quantizer };
                let (name, observer) = (tensor.name.clone(), *observer);
                out.tasks.push(Task { name, quantizer, observer });
            }
            Some((index, Action::Allocate { .. })) => {
                match out.shared.iter_mut().find(|(rule, _)| *rule == index) {
                    Some((_, names)) => names.push(tensor.name.clone()),
                    None => out.shared.push((index, vec![tensor.name.clone()])),
                }
            }
        }
    }
    Ok(out)
}

/// Patterns with a slip of the pen would otherwise go unnoticed.
fn refuse_idle(tensors: &[TensorInfo], recipe: &Recipe) -> Result<(), AssignError> {
    for rule in &recipe.rules {
        for pattern in rule.targets.iter().chain(&rule.except) {
            if !tensors.iter().any(|tensor| pattern.matches(&tensor.name)) {
                let largest = tensors.iter().max_by_key(|tensor| tensor.elements());
                let example = largest.map_or_else(String::new, |tensor| tensor.name.clone());
                return Err(AssignError::Pattern { pattern: pattern.to_string(), example });
            }
        }
    }
    Ok(())
}

/// `scheme`, or what takes its place where rows of `cols` weights are no whole blocks.
fn fitting(
    tensor: &str,
    cols: usize,
    scheme: Scheme,
    fallback: Fallback,
) -> Result<Scheme, AssignError> {
    let Scheme::Block(format) = scheme else { return Ok(scheme) };
    let block = format.weights_per_block();
    if cols.is_multiple_of(block) {
        return Ok(scheme);
    }
    let instead = substitute(format).filter(|_| cols.is_multiple_of(BLOCK));
    match (fallback, instead) {
        (Fallback::Allow, Some(other)) => Ok(Scheme::Block(other)),
        // The encoder says why, and the tensor stays.
        (Fallback::Allow, None) => Ok(scheme),
        (Fallback::Refuse, _) if block == BLOCK => Ok(scheme),
        (Fallback::Refuse, _) => {
            Err(AssignError::Block { tensor: tensor.to_owned(), scheme, cols, block })
        }
    }
}

/// The format with blocks of 32 that stands in for one with blocks of 256: no coarser, and no
/// larger than it must be.
fn substitute(format: BlockFormat) -> Option<BlockFormat> {
    match format {
        BlockFormat::Q2_K | BlockFormat::Q3_K | BlockFormat::Q4_K | BlockFormat::IQ4_XS => {
            Some(BlockFormat::IQ4_NL)
        }
        BlockFormat::Q5_K => Some(BlockFormat::Q5_0),
        BlockFormat::Q6_K => Some(BlockFormat::Q8_0),
        BlockFormat::Q4_0
        | BlockFormat::Q4_1
        | BlockFormat::Q5_0
        | BlockFormat::Q5_1
        | BlockFormat::Q8_0
        | BlockFormat::IQ4_NL
        | BlockFormat::MXFP4 => None,
    }
}
