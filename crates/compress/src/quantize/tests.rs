//! Every method on every format: no worse than rounding, exact where it can be, and defined
//! where data are poor.

use kvant_kernels::Matrix;
use kvant_quant::{Fit, Grid, Observer, Scheme};
use kvant_testkit::Random;

use super::factor::Factor;
use super::gptq;
use super::{Solve, SolveError, Solver};
use crate::{Method, Moment};

/// Inputs whose channels differ in size and go together, as those of networks do.
fn inputs(random: &mut Random, count: usize, dim: usize) -> Vec<f32> {
    let base = random.normals(8 * dim);
    let mut x = Vec::with_capacity(count * dim);
    for _ in 0..count {
        let parts = random.normals(8);
        let noise = random.normals(dim);
        for (col, noise) in noise.iter().enumerate() {
            let shared: f32 = parts.iter().zip(&base[col * 8..]).map(|(a, b)| a * b).sum();
            x.push((shared + 0.5 * noise) * (1.0 + (col % 7) as f32));
        }
    }
    x
}

fn moment(x: &[f32], dim: usize) -> Moment {
    let count = x.len() / dim;
    let mut hessian = vec![0.0; dim * dim];
    for row in 0..dim {
        for col in 0..dim {
            let pairs = x.chunks_exact(dim).map(|x| f64::from(x[row]) * f64::from(x[col]));
            hessian[row * dim + col] = (pairs.sum::<f64>() / count as f64) as f32;
        }
    }
    let mean_square = (0..dim).map(|i| hessian[i * dim + i]).collect();
    Moment { dim, count: count as u64, hessian, mean_square, ..Moment::default() }
}

fn solve(scheme: Scheme, method: Method) -> Solve {
    Solve { scheme, method, observer: None, threads: 1 }
}

fn error(solver: &Solver<'_>, w: Matrix<'_, f32>, scheme: Scheme, method: Method) -> f64 {
    let coded = solver.encode(w, &solve(scheme, method)).unwrap();
    solver.error(w, &coded.decode()).unwrap()
}

/// Formats that are written, on rows of 256.
fn schemes() -> Vec<Scheme> {
    let w = vec![0.5; 256];
    let written = |scheme: &Scheme| scheme.encode(Matrix::new(&w, 1, 256)).is_ok();
    Scheme::ALL.into_iter().filter(written).collect()
}

#[test]
fn gptq_loses_less_than_rounding_on_every_format() {
    let mut random = Random::new(5);
    let (rows, dim) = (24, 256);
    let w = random.normals(rows * dim);
    let w = Matrix::new(&w, rows, dim);
    let moment = moment(&inputs(&mut random, 600, dim), dim);
    let solver = Solver::new(Some(&moment), Method::Gptq).unwrap();
    for scheme in schemes() {
        let rtn = error(&solver, w, scheme, Method::Rtn);
        let search = error(&solver, w, scheme, Method::Search);
        let gptq = error(&solver, w, scheme, Method::Gptq);
        assert!(gptq < rtn && gptq < search, "{scheme}: {rtn} {search} {gptq}");
    }
}

#[test]
fn weights_on_the_grid_are_found_again() {
    let mut random = Random::new(6);
    let (rows, dim) = (8, 256);
    let moment = moment(&inputs(&mut random, 600, dim), dim);
    let solver = Solver::new(Some(&moment), Method::Gptq).unwrap();
    let w = random.normals(rows * dim);
    for scheme in schemes() {
        let grid = scheme.encode(Matrix::new(&w, rows, dim)).unwrap().grid();
        let codes = grid.nearest(Matrix::new(&w, rows, dim));
        let exact = grid.restore(&codes);
        let factor = Factor::new(moment.matrix().unwrap()).unwrap();
        let found = gptq::choose(Matrix::new(&exact, rows, dim), &grid, &factor, 1);
        assert!(grid.restore(&found) == exact, "{scheme}");
        let rtn = solver.error(Matrix::new(&exact, rows, dim), &exact).unwrap();
        assert_eq!(rtn, 0.0);
    }
}

#[test]
fn uncorrelated_inputs_leave_nothing_to_carry() {
    let mut random = Random::new(7);
    let (rows, dim) = (8, 256);
    let mut hessian = vec![0.0; dim * dim];
    (0..dim).for_each(|i| hessian[i * dim + i] = 1.0);
    let moment =
        Moment { dim, count: 1, hessian, mean_square: vec![1.0; dim], ..Moment::default() };
    let solver = Solver::new(Some(&moment), Method::Gptq).unwrap();
    let w = random.normals(rows * dim);
    let w = Matrix::new(&w, rows, dim);
    for scheme in schemes() {
        let fit = Fit { observer: Observer::Mse, importance: Some(&moment.mean_square) };
        let grid = scheme.fit(w, &fit).unwrap().grid();
        let factor = Factor::new(moment.matrix().unwrap()).unwrap();
        assert_eq!(gptq::choose(w, &grid, &factor, 1), grid.nearest(w), "{scheme}");
        let (gptq, search) = (Method::Gptq, Method::Search);
        assert!(error(&solver, w, scheme, gptq) <= error(&solver, w, scheme, search));
    }
}

/// The algorithm of the paper: the inverse of the damped matrix, its upper factor, one column
/// after the other with the error over the pivot carried on. All in f64.
fn textbook(w: Matrix<'_, f32>, grid: &Grid, moment: &Moment) -> Vec<u8> {
    let dim = moment.dim;
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| moment.mean_square[b].total_cmp(&moment.mean_square[a]));
    let mean = moment.mean_square.iter().map(|&v| f64::from(v)).sum::<f64>() / dim as f64;
    let mut a: Vec<Vec<f64>> = (0..dim)
        .map(|i| (0..dim).map(|j| f64::from(moment.hessian[order[i] * dim + order[j]])).collect())
        .collect();
    (0..dim).for_each(|i| a[i][i] += 0.01 * mean);
    let inverse = invert(a);
    let mut upper = vec![vec![0.0; dim]; dim];
    for i in 0..dim {
        for j in i..dim {
            let sum: f64 = (0..i).map(|k| upper[k][i] * upper[k][j]).sum();
            let value: f64 = inverse[i][j] - sum;
            upper[i][j] = if i == j { value.sqrt() } else { value / upper[i][i] };
        }
    }
    let mut codes = vec![0; w.rows() * dim];
    for row in 0..w.rows() {
        let mut values: Vec<f64> = order.iter().map(|&c| f64::from(w.row(row)[c])).collect();
        for i in 0..dim {
            let group = grid.at(row, order[i]);
            let code = group.nearest(values[i] as f32);
            codes[row * dim + order[i]] = code;
            let error = (values[i] - f64::from(group.restore(code))) / upper[i][i];
            (i..dim).for_each(|j| values[j] -= error * upper[i][j]);
        }
    }
    codes
}

/// Gauss–Jordan with the diagonal as pivots: the matrix is positive definite.
fn invert(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let dim = a.len();
    let mut out: Vec<Vec<f64>> =
        (0..dim).map(|i| (0..dim).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for i in 0..dim {
        let pivot = a[i][i];
        (0..dim).for_each(|j| {
            a[i][j] /= pivot;
            out[i][j] /= pivot;
        });
        for k in (0..dim).filter(|&k| k != i) {
            let factor = a[k][i];
            for j in 0..dim {
                a[k][j] -= factor * a[i][j];
                out[k][j] -= factor * out[i][j];
            }
        }
    }
    out
}

#[test]
fn codes_are_those_of_the_textbook() {
    let mut random = Random::new(8);
    for dim in [32, 96, 288] {
        let rows = 6;
        let w = random.normals(rows * dim);
        let w = Matrix::new(&w, rows, dim);
        let moment = moment(&inputs(&mut random, 3 * dim, dim), dim);
        let grid = "q4_0".parse::<Scheme>().unwrap().encode(w).unwrap().grid();
        let factor = Factor::new(moment.matrix().unwrap()).unwrap();
        let ours = gptq::choose(w, &grid, &factor, 1);
        let theirs = textbook(w, &grid, &moment);
        // A target that falls between two levels within f32 may go either way, and takes what
        // follows in its row along.
        let differ = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        assert!(differ * 100 <= ours.len(), "{dim}: {differ} of {}", ours.len());
    }
}

#[test]
fn threads_do_not_change_a_code() {
    let mut random = Random::new(9);
    let (rows, dim) = (150, 96);
    let w = random.normals(rows * dim);
    let w = Matrix::new(&w, rows, dim);
    let moment = moment(&inputs(&mut random, 300, dim), dim);
    let solver = Solver::new(Some(&moment), Method::Gptq).unwrap();
    let codes = |threads| {
        let solve = Solve { threads, ..solve("q4_0".parse().unwrap(), Method::Gptq) };
        solver.encode(w, &solve).unwrap()
    };
    let one = codes(1);
    assert!(one == codes(2) && one == codes(3));
    let rows: Vec<usize> = (0..70).collect();
    let part = Matrix::new(&w.data()[..70 * dim], 70, dim);
    let part = solver.encode(part, &solve("q4_0".parse().unwrap(), Method::Gptq)).unwrap();
    assert!(one.select_rows(&rows) == part, "a row depends on itself alone");
}

#[test]
fn poor_data_have_a_defined_result() {
    let mut random = Random::new(10);
    let (rows, dim) = (5, 64);
    let w = random.normals(rows * dim);
    let scheme: Scheme = "q4_0".parse().unwrap();
    // Fewer tokens than columns, dead channels among them, and nothing at all.
    let mut x = inputs(&mut random, 3, dim);
    x.chunks_exact_mut(dim).for_each(|x| x[10..20].fill(0.0));
    for x in [x, vec![0.0; dim]] {
        let moment = moment(&x, dim);
        let solver = Solver::new(Some(&moment), Method::Gptq).unwrap();
        for rows in [1, rows] {
            let w = Matrix::new(&w[..rows * dim], rows, dim);
            let coded = solver.encode(w, &solve(scheme, Method::Gptq)).unwrap();
            let lost = solver.error(w, &coded.decode()).unwrap();
            assert!(lost.is_finite() && lost < 0.2, "{lost}");
        }
        for constant in [0.0, 0.3] {
            let w = vec![constant; dim];
            let coded = solver.encode(Matrix::new(&w, 1, dim), &solve(scheme, Method::Gptq));
            assert!(coded.unwrap().decode().iter().all(|v| (v - constant).abs() < 1e-3));
        }
    }
}

#[test]
fn broken_data_are_refused() {
    let dim = 32;
    let full = moment(&vec![1.0; dim], dim);
    let mut broken = full.clone();
    broken.hessian[5 * dim + 3] = f32::NAN;
    let refused = Solver::new(Some(&broken), Method::Gptq).unwrap_err();
    assert!(matches!(refused, SolveError::NotFinite { col: 3, .. }), "{refused}");
    let diagonal = Moment { hessian: Vec::new(), ..full.clone() };
    for moment in [None, Some(&diagonal)] {
        let refused = Solver::new(moment, Method::Gptq).unwrap_err();
        assert_eq!(refused, SolveError::NoData { method: Method::Gptq });
    }
    let solver = Solver::new(Some(&full), Method::Search).unwrap();
    let w = vec![1.0; 64];
    let solve = solve("int8".parse().unwrap(), Method::Search);
    let refused = solver.encode(Matrix::new(&w, 1, 64), &solve).unwrap_err();
    assert_eq!(refused, SolveError::Dim { expected: 64, got: 32 });
}
