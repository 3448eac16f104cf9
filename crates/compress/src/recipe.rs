//! What is to be done to a model, in order, and to which of its tensors.

mod budget;
mod preset;
#[cfg(test)]
mod tests;

pub use budget::{Budget, BudgetError};
pub use preset::PRESETS;

use std::fmt;

use kvant_quant::{Observer, Scheme};
use serde::Deserialize;

use crate::{NameError, Pattern, Quantizer, Transform};

/// Passes over a model, in order. `FromStr` reads TOML:
///
/// ```
/// let recipe: kvant_compress::Recipe = r#"
///     [[pass]]
///     transform = "smooth"
///
///     [[pass]]                  # a tensor takes the first pass that names it
///     targets = ["*embeddings*"]
///     scheme = "linear6:g32"
///
///     [[pass]]
///     scheme = "iq4_nl@gptq"
///     observer = "mse"
/// "#.parse()?;
/// assert_eq!(recipe.rules.len(), 2);
/// # Ok::<(), kvant_compress::RecipeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipe {
    /// What changes the weights before they are quantized, in order.
    pub transforms: Vec<Transform>,
    /// Which tensors become what. A tensor takes the first rule that names it; one that no rule
    /// names stays as it is.
    pub rules: Vec<Rule>,
}

/// What becomes of the weight matrices whose names are targeted.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Names; empty: all.
    pub targets: Vec<Pattern>,
    /// Names that are exempt.
    pub except: Vec<Pattern>,
    /// The output axis of the tensors, whose slices share scales as rows of a matrix do; `None`:
    /// that which a compressed source names, else the first.
    pub axis: Option<usize>,
    /// What becomes of them.
    pub action: Action,
}

/// What becomes of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It stays as it is.
    Keep,
    /// It is quantized.
    Quantize {
        /// Format and method.
        quantizer: Quantizer,
        /// How ranges are chosen; `None`: as the method does.
        observer: Option<Observer>,
    },
    /// The rule's tensors share a budget: each gets one of the formats.
    Allocate {
        /// The limit.
        budget: Budget,
        /// The formats to choose from.
        choices: Vec<Quantizer>,
    },
}

/// Why a text is no [`Recipe`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// It is no TOML, or has other keys.
    #[error("not a recipe: {0}")]
    Syntax(String),
    /// A pass does not say what it does, or says several things.
    #[error(
        "pass {number}: {why}; a pass has one of transform = …, scheme = …, keep = true, \
         budget = … with schemes = […]"
    )]
    Pass {
        /// Its number, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// It has no passes.
    #[error("the recipe has no [[pass]]")]
    Empty,
}

impl Recipe {
    /// All weight matrices by one quantizer.
    pub fn uniform(quantizer: impl Into<Quantizer>) -> Self {
        let action = Action::Quantize { quantizer: quantizer.into(), observer: None };
        let rule = Rule { targets: Vec::new(), except: Vec::new(), axis: None, action };
        Self { transforms: Vec::new(), rules: vec![rule] }
    }

    /// The first pass of it that needs a calibration.
    pub fn needing_data(&self) -> Option<String> {
        let transform = self.transforms.iter().find(|transform| transform.needs_data());
        transform.map(ToString::to_string).or_else(|| {
            self.rules.iter().find_map(|rule| match &rule.action {
                Action::Keep => None,
                Action::Quantize { quantizer, .. } => {
                    quantizer.needs_data().then(|| quantizer.to_string())
                }
                Action::Allocate { choices, budget } => {
                    let choice = choices.iter().find(|choice| choice.needs_data());
                    let choice = choice.map(ToString::to_string);
                    choice.or_else(|| budget.is_quality().then(|| budget.to_string()))
                }
            })
        })
    }

    /// Whether it rotates the network, which ends what a calibration is true of.
    pub fn rotates(&self) -> bool {
        self.transforms.iter().any(|transform| matches!(transform, Transform::Rotate { .. }))
    }

    /// The formats it may write, each once.
    pub fn schemes(&self) -> Vec<Scheme> {
        let mut schemes = Vec::new();
        for rule in &self.rules {
            match &rule.action {
                Action::Keep => {}
                Action::Quantize { quantizer, .. } => schemes.push(quantizer.scheme),
                Action::Allocate { choices, .. } => {
                    schemes.extend(choices.iter().map(|choice| choice.scheme));
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        schemes.retain(|scheme| seen.insert(*scheme));
        schemes
    }
}

impl Rule {
    /// Whether it names the tensor `name`.
    pub fn names(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.targets.is_empty() || any(&self.targets)) && !any(&self.except)
    }
}

/// The passes in one line.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules.iter().map(|rule| match &rule.action {
            Action::Keep => "keep".to_owned(),
            Action::Quantize { quantizer, .. } => quantizer.to_string(),
            Action::Allocate { budget, .. } => budget.to_string(),
        });
        let passes: Vec<String> =
            self.transforms.iter().map(ToString::to_string).chain(rules).collect();
        f.write_str(&passes.join(", "))
    }
}

/// The file as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    pass: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    transform: Option<String>,
    scheme: Option<String>,
    observer: Option<String>,
    keep: Option<bool>,
    budget: Option<String>,
    schemes: Option<Vec<String>>,
    axis: Option<usize>,
    #[serde(default)]
    targets: Vec<Pattern>,
    #[serde(default)]
    except: Vec<Pattern>,
}

impl std::str::FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.message().lines().next().unwrap_or_default().to_owned();
            RecipeError::Syntax(match error.span() {
                Some(span) => {
                    format!("line {}: {line}", text[..span.start].matches('\n').count() + 1)
                }
                None => line,
            })
        })?;
        let mut recipe = Self::default();
        for (index, entry) in file.pass.into_iter().enumerate() {
            let fail = |why| RecipeError::Pass { number: index + 1, why };
            match entry.transform() {
                Some(transform) => recipe.transforms.push(transform.map_err(fail)?),
                None => recipe.rules.push(entry.rule().map_err(fail)?),
            }
        }
        if recipe.rules.is_empty() && recipe.transforms.is_empty() {
            return Err(RecipeError::Empty);
        }
        Ok(recipe)
    }
}

impl Entry {
    fn transform(&self) -> Option<Result<Transform, String>> {
        let name = self.transform.as_deref()?;
        let alone = self.scheme.is_none()
            && self.keep.is_none()
            && self.budget.is_none()
            && self.axis.is_none()
            && self.targets.is_empty();
        Some(if alone {
            name.parse().map_err(|error: NameError| error.to_string())
        } else {
            Err("a transform concerns the whole model and stands alone".to_owned())
        })
    }

    fn rule(self) -> Result<Rule, String> {
        let parse = |text: &str| {
            text.parse::<Quantizer>().map_err(|error| format!("scheme {text:?}: {error}"))
        };
        let observer = self.observer.as_deref().map(observer).transpose();
        let observer = observer.map_err(|error| error.to_string())?;
        if self.schemes.is_some() != self.budget.is_some() {
            return Err("budget and schemes come together".to_owned());
        }
        let action = match (self.scheme, self.keep, self.budget) {
            (Some(scheme), None, None) => Action::Quantize { quantizer: parse(&scheme)?, observer },
            (None, Some(true), None) => Action::Keep,
            (None, None, Some(budget)) => Action::Allocate {
                budget: budget.parse().map_err(|error: BudgetError| error.to_string())?,
                choices: self
                    .schemes
                    .unwrap_or_default()
                    .iter()
                    .map(|scheme| parse(scheme))
                    .collect::<Result<_, _>>()?,
            },
            (None, Some(false), None) => return Err("keep = false says nothing".to_owned()),
            (None, None, None) => return Err("it does nothing".to_owned()),
            _ => return Err("it does several things".to_owned()),
        };
        if self.axis.is_some() && action == Action::Keep {
            return Err("axis says nothing of tensors that stay".to_owned());
        }
        Ok(Rule { targets: self.targets, except: self.except, axis: self.axis, action })
    }
}

/// The observer called `name`.
///
/// # Errors
/// [`NameError`] with the names there are.
pub fn observer(name: &str) -> Result<Observer, NameError> {
    match name {
        "minmax" => Ok(Observer::MinMax),
        "percentile" => Ok(Observer::Percentile),
        "mse" => Ok(Observer::Mse),
        "kl" => Ok(Observer::Entropy),
        _ => Err(NameError {
            what: "observer",
            name: name.to_owned(),
            known: "minmax, percentile, mse, kl",
        }),
    }
}
