//! What rounding does to inputs, and what it costs.

use kvant_kernels::{MatrixMut, Pool, kernels};
use kvant_quant::Scheme;
use kvant_testkit::Random;

use super::*;
use crate::layer::linear::{Linear, Part};
use crate::{Dense, Weight};

const ROWS: usize = 5;
const COLS: usize = 96;
const OUTPUTS: usize = 24;

fn run(weight: &Weight, input: &Input, x: &[f32]) -> Vec<f32> {
    let part = Part {
        name: "w".into(),
        weight: weight.clone(),
        bias: vec![0.5; OUTPUTS],
        scale: 1.0,
        input: input.clone(),
    };
    let linear = Linear::prepare(&[part]);
    let mut out = vec![0.0; ROWS * OUTPUTS];
    let x = Matrix::new(x, ROWS, COLS);
    let out_matrix = MatrixMut::new(&mut out, ROWS, OUTPUTS);
    linear.forward((kernels(), &Pool::default()), x, &mut Rounded::default(), out_matrix);
    out
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v) * f64::from(v);
    let error: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    (error / b.iter().map(|v| square(*v)).sum::<f64>()).sqrt()
}

/// Inputs with one column far larger than the others, as feed-forward blocks have.
fn inputs() -> Vec<f32> {
    let mut x = Random::new(1).normals(ROWS * COLS);
    x.iter_mut().skip(7).step_by(COLS).for_each(|v| *v *= 60.0);
    x
}

fn input(rounding: Rounding) -> Input {
    Input { rounding, smooth: Vec::new() }
}

#[test]
fn finer_rounding_costs_less() {
    let x = inputs();
    let weight =
        Weight::Dense(Dense::owned(vec![OUTPUTS, COLS], Random::new(2).normals(OUTPUTS * COLS)));
    let exact = run(&weight, &Input::PLAIN, &x);
    let cost = |rounding| distance(&run(&weight, &input(rounding), &x), &exact);
    let max = x.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let (token, block) = (cost(Rounding::Token), cost(Rounding::Block));
    let fixed = cost(Rounding::Static(max / 127.0));
    assert!(cost(Rounding::Brain) < 0.005);
    assert!(block < token && token <= fixed && fixed < 0.1, "{block} {token} {fixed}");
}

#[test]
fn smoothing_changes_nothing_in_f32_and_helps_in_int8() {
    let x = inputs();
    let values = Random::new(2).normals(OUTPUTS * COLS);
    let plain = Weight::Dense(Dense::owned(vec![OUTPUTS, COLS], values.clone()));
    let exact = run(&plain, &Input::PLAIN, &x);
    let mut smooth = vec![1.0; COLS];
    smooth[7] = 8.0;
    let scaled = values.iter().enumerate().map(|(at, v)| v * smooth[at % COLS]).collect();
    let scaled = Weight::Dense(Dense::owned(vec![OUTPUTS, COLS], scaled));
    let at = |rounding| Input { rounding, smooth: smooth.clone() };
    assert!(distance(&run(&scaled, &at(Rounding::None), &x), &exact) < 1e-6);
    let smoothed = distance(&run(&scaled, &at(Rounding::Token), &x), &exact);
    let rough = distance(&run(&plain, &input(Rounding::Token), &x), &exact);
    assert!(smoothed < rough * 0.5, "{smoothed} {rough}");
}

/// The integer product and the rounded f32 product are one computation in two precisions.
#[test]
fn int8_weights_give_the_same_in_integers_and_in_f32() {
    let x = inputs();
    let values = Random::new(2).normals(OUTPUTS * COLS);
    let coded = Scheme::Int8.encode(Matrix::new(&values, OUTPUTS, COLS)).unwrap();
    let mut restored = vec![0.0; OUTPUTS * COLS];
    for (row, out) in restored.chunks_mut(COLS).enumerate() {
        coded.decode_row(row, out);
    }
    let dense = Weight::Dense(Dense::owned(vec![OUTPUTS, COLS], restored));
    let coded = Weight::Coded(coded);
    for smooth in [Vec::new(), vec![2.0; COLS]] {
        let input = Input { rounding: Rounding::Token, smooth };
        let (integers, floats) = (run(&coded, &input, &x), run(&dense, &input, &x));
        assert!(distance(&integers, &floats) < 1e-5);
    }
}
