//! Recipes read from TOML, and what is refused.

use super::*;

fn error(text: &str) -> String {
    text.parse::<Recipe>().unwrap_err().to_string()
}

#[test]
fn the_first_rule_that_names_a_tensor_counts() {
    let recipe: Recipe = r#"
        [[pass]]
        transform = "rotate:7"
        [[pass]]
        keep = true
        targets = ["*norm*"]
        [[pass]]
        targets = ["a.*"]
        except = ["a.b"]
        scheme = "linear4:g64@search"
        observer = "kl"
        [[pass]]
        budget = "4.5bpw"
        schemes = ["q4_0", "q8_0"]
    "#
    .parse()
    .unwrap();
    assert_eq!(recipe.transforms, [Transform::Rotate { seed: 7 }]);
    let rule = |name: &str| recipe.rules.iter().position(|rule| rule.names(name));
    assert_eq!(rule("x.norm.weight"), Some(0));
    assert_eq!(rule("a.c"), Some(1));
    assert_eq!(rule("a.b"), Some(2));
    assert_eq!(recipe.schemes().len(), 3);
    assert_eq!(recipe.needing_data(), None);
    assert_eq!(recipe.to_string(), "rotate:7, keep, linear4:g64@search, 4.5bpw");
    let Action::Quantize { quantizer, observer } = &recipe.rules[1].action else { panic!() };
    assert_eq!(
        (quantizer.to_string().as_str(), *observer),
        ("linear4:g64@search", Some(Observer::Entropy))
    );
}

#[test]
fn what_is_no_recipe_is_refused_with_a_reason() {
    assert!(error("").contains("no [[pass]]"));
    assert!(error("[[pass]]\nscheme = 4").contains("line 2"));
    assert!(error("[[pass]]\nsheme = \"int8\"").contains("sheme"));
    assert!(error("[[pass]]\nscheme = \"int3\"").contains("pass 1: scheme \"int3\""));
    assert!(error("[[pass]]\nscheme = \"int8\"\nkeep = true").contains("several"));
    assert!(error("[[pass]]\ntargets = [\"*\"]").contains("does nothing"));
    assert!(error("[[pass]]\nbudget = \"4bpw\"").contains("come together"));
    assert!(error("[[pass]]\nbudget = \"4bits\"\nschemes = []").contains("4.5bpw"));
    assert!(error("[[pass]]\ntransform = \"turn\"").contains("smooth, rotate"));
    assert!(error("[[pass]]\ntransform = \"smooth\"\nscheme = \"int8\"").contains("stands alone"));
    assert!(error("[[pass]]\nscheme = \"int8\"\nobserver = \"max\"").contains("minmax"));
    assert!(error("[[pass]]\nscheme = \"int8\"\naxis = -1").contains("line 3"));
    assert!(error("[[pass]]\nkeep = true\naxis = 1").contains("pass 1: axis"));
    assert!(error("[[pass]]\ntransform = \"smooth\"\naxis = 1").contains("stands alone"));
}

#[test]
fn presets_are_recipes() {
    for (name, purpose, text) in PRESETS {
        let recipe: Recipe = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!recipe.rules.is_empty() && !purpose.is_empty());
    }
}

#[test]
fn budgets_read_back() {
    for (text, budget) in [
        ("4.5bpw", Budget::Bits(4.5)),
        ("16MB", Budget::Bytes(16_000_000)),
        ("0.9 GB", Budget::Bytes(900_000_000)),
        ("123B", Budget::Bytes(123)),
        ("cosine=0.99", Budget::Cosine(0.99)),
        ("kld=0.05", Budget::Divergence(0.05)),
    ] {
        assert_eq!(text.parse(), Ok(budget));
        assert_eq!(budget.to_string().parse(), Ok(budget));
    }
    for text in
        ["", "4.5", "bpw", "-1bpw", "0MB", "cosine=1", "cosine=1.5", "kld=", "33bpw", "1e3MB"]
    {
        assert!(text.parse::<Budget>().is_err(), "{text}");
    }
}
