//! Scores of made-up logits, by hand.

use super::*;

/// ln of probabilities, shifted: logits of them.
fn logits(rows: &[[f64; 4]]) -> Vec<f32> {
    let rows = rows.iter().enumerate();
    rows.flat_map(|(at, row)| row.map(|p| (p.ln() + at as f64 * 3.0) as f32)).collect()
}

fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-6, "{got} is not {expected}");
}

#[test]
fn figures_of_a_position_are_those_of_the_definition() {
    let ours = logits(&[[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]);
    let theirs = logits(&[[0.25, 0.25, 0.1, 0.4], [0.1, 0.1, 0.7, 0.1]]);
    for threads in [1, 2, 7] {
        let positions = score(&ours, Some(&theirs), &[1, 0], threads);
        near(positions[0].loss, -(0.2f64.ln()));
        near(positions[0].reference_loss, -(0.25f64.ln()));
        let expected = 0.25 * (2.5f64).ln() + 0.25 * (1.25f64).ln() + 0.1 * (1.0f64 / 3.0).ln();
        near(positions[0].divergence, expected);
        near(positions[1].divergence, 0.1 * (1.0f64 / 7.0).ln() + 0.7 * (7.0f64).ln());
        assert_eq!(positions.iter().map(|p| p.same_top).collect::<Vec<_>>(), [true, false]);
        let alone = score(&ours, None, &[1, 0], threads);
        assert_eq!(alone[1].loss, positions[1].loss);
    }
    let same = score(&ours, Some(&ours), &[3, 3], 1);
    assert!(same.iter().all(|p| p.divergence.abs() < 1e-12 && p.same_top));
}

#[test]
fn large_logits_do_not_overflow() {
    let rows = [1e30f32, -1e30, 1e30, 0.0];
    let [position] = score(&rows, Some(&rows), &[0], 1)[..] else { panic!("one") };
    near(position.loss, 0.0);
    assert!(position.divergence.is_finite());
}

#[test]
fn summaries_are_means_and_standard_errors() {
    let position = |loss: f64, reference_loss: f64, divergence: f64, same_top: bool| Position {
        loss,
        reference_loss,
        divergence,
        same_top,
    };
    let positions = [
        position(1.0, 0.5, 0.1, true),
        position(2.0, 2.0, 0.2, false),
        position(3.0, 2.0, 0.6, true),
        position(2.0, 1.5, 0.3, true),
    ];
    let found = summarise(&positions, 8, 2, true);
    assert_eq!((found.context, found.chunks, found.scored), (8, 2, 4));
    near(found.perplexity.value, 2f64.exp());
    // Losses vary by 1/2 around 2: √(0.5 / 3).
    near(found.perplexity.error, 2f64.exp() * (0.5f64 / 3.0).sqrt());
    let against = found.against.expect("a reference");
    near(against.reference.value, 1.5f64.exp());
    near(against.ratio.value, 0.5f64.exp());
    near(against.ratio.error, 0.5f64.exp() * (0.125f64 / 3.0).sqrt());
    near(against.mean.value, 0.3);
    near(against.mean.error, (0.035f64 / 3.0).sqrt());
    near(against.median, 0.25);
    near(against.p99, 0.6);
    near(against.max, 0.6);
    near(against.same_top.value, 0.75);
    near(against.same_top.error, (0.75f64 * 0.25 / 3.0).sqrt());
    let one = summarise(&positions[..1], 4, 1, false);
    assert_eq!((one.perplexity.error, one.against), (0.0, None));
}
