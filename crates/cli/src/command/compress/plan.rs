//! From flags to a plan.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use kvant_compress::{
    Action, CalibrateOptions, Calibration, Fallback, PRESETS, Plan, Quantizer, Recipe, Requantize,
    Rule, Select, Tables,
};

use kvant_model::Container;

use crate::args::{Compress, Schemes};
use crate::command::calibrate;
use crate::progress::Audience;

/// Formats a budget chooses from unless `--scheme` names some.
const CHOICES: &str = "q8_0,linear6,q5_0,iq4_nl,linear3:g64";

pub(super) fn plan(args: &Compress, model: &Path, audience: Audience) -> anyhow::Result<Plan> {
    let mut recipe = recipe(args)?;
    recipe.transforms.extend(args.transform.iter().copied());
    if let Some(name) = &args.observer {
        let observer = kvant_compress::observer(name)?;
        for rule in &mut recipe.rules {
            if let Action::Quantize { observer: chosen, .. } = &mut rule.action {
                *chosen = Some(observer);
            }
        }
    }
    let (calibration, texts) = match &args.calibrate {
        // A rotation comes first; what follows it looks at the text by itself.
        Some(file) if recipe.rotates() && !Calibration::is_one(file) => {
            (None, calibrate::read(file)?)
        }
        Some(file) => calibration(args, model, file, audience)?,
        None => (None, Vec::new()),
    };
    let tables = match args.container {
        Container::Kvant | Container::CompressedTensors => Tables::Take,
        Container::Gptq | Container::Awq | Container::BitsAndBytes => Tables::Leave,
    };
    Ok(Plan {
        recipe,
        select: Select { tables, ..Select::default() },
        calibration: calibration.map(Arc::new),
        texts,
        activations: args.activations,
        container: args.container,
        fallback: if args.fallback { Fallback::Allow } else { Fallback::Refuse },
        requantize: if args.requantize { Requantize::Allow } else { Requantize::Refuse },
        threads: args.threads.get(),
    })
}

/// The passes that the flags ask for.
fn recipe(args: &Compress) -> anyhow::Result<Recipe> {
    let budget = args.budget.or(args.min_quality);
    if let Some(name) = &args.recipe {
        if args.scheme.is_some() || budget.is_some() {
            bail!("--recipe says it all: leave out --scheme, --budget and --min-quality");
        }
        return preset_or_file(name);
    }
    let named = match &args.scheme {
        Some(Schemes::Named(quantizers)) => quantizers.clone(),
        Some(Schemes::Help) | None => Vec::new(),
    };
    if let Some(budget) = budget {
        let choices = if named.is_empty() { default_choices()? } else { named };
        let action = Action::Allocate { budget, choices };
        let rule = Rule { targets: Vec::new(), except: Vec::new(), axis: None, action };
        return Ok(Recipe { transforms: Vec::new(), rules: vec![rule] });
    }
    match named[..] {
        [quantizer] => Ok(Recipe::uniform(quantizer)),
        [] => bail!(
            "say how: --scheme FORMAT (--scheme help lists them), --recipe small, or \
             --budget 4.5bpw"
        ),
        _ => bail!("several schemes are chosen from with --budget or --min-quality"),
    }
}

fn default_choices() -> anyhow::Result<Vec<Quantizer>> {
    Ok(CHOICES.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

fn preset_or_file(name: &str) -> anyhow::Result<Recipe> {
    if let Some((_, _, text)) = PRESETS.iter().find(|(preset, ..)| *preset == name) {
        return Ok(text.parse::<Recipe>()?);
    }
    let text = std::fs::read_to_string(name).with_context(|| {
        let presets: Vec<&str> = PRESETS.iter().map(|(preset, ..)| *preset).collect();
        format!("recipe {name}: no such preset ({}) and no file", presets.join(", "))
    })?;
    text.parse::<Recipe>().with_context(|| name.to_owned())
}

/// What the layers see of the text in `file`, and the text; or the calibration in `file`.
fn calibration(
    args: &Compress,
    model: &Path,
    file: &Path,
    audience: Audience,
) -> anyhow::Result<(Option<Calibration>, Vec<String>)> {
    if Calibration::is_one(file) {
        return Ok((Some(Calibration::load(file)?), Vec::new()));
    }
    let texts = calibrate::read(file)?;
    let options = CalibrateOptions { threads: args.threads.get(), ..CalibrateOptions::default() };
    Ok((Some(calibrate::collect(model, &texts, &options, audience)?), texts))
}
