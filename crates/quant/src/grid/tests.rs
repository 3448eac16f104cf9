//! Groups, nearest levels and restored values of small grids.

use super::*;

fn grid(cut: Cut, levels: Levels, scales: Vec<f32>) -> Grid {
    Grid { rows: 2, cols: 5, cut, levels, scales, zeros: Vec::new(), offsets: Vec::new() }
}

#[test]
fn groups_cover_every_column_once() {
    let rows = grid(Cut::Rows(2), Levels::Uniform(4), vec![1.0; 6]);
    assert_eq!(rows.groups(), 6);
    let ranges = |grid: &Grid, row| grid.row(row).map(|(cols, _)| cols).collect::<Vec<_>>();
    assert_eq!(ranges(&rows, 1), [0..2, 2..4, 4..5]);
    let flat = grid(Cut::Flat(4), Levels::Uniform(4), vec![1.0, 2.0, 3.0]);
    assert_eq!(flat.groups(), 3);
    assert_eq!(ranges(&flat, 0), [0..4, 4..5]);
    assert_eq!(ranges(&flat, 1), [0..3, 3..5]);
    let scales: Vec<f32> = flat.row(1).map(|(_, group)| group.scale).collect();
    assert_eq!(scales, [2.0, 3.0]);
}

#[test]
fn the_nearest_level_is_nearest() {
    let table: Arc<[f32]> = Arc::from([-1.0, -0.25, 0.0, 0.5]);
    for levels in [Levels::Uniform(4), Levels::Table(table)] {
        for scale in [0.5, -2.0] {
            for zero in [0.0, 1.0] {
                let mut grid = grid(Cut::Rows(5), levels.clone(), vec![scale; 2]);
                grid.zeros = vec![zero; 2];
                grid.offsets = vec![0.3, -0.1];
                let group = grid.at(1, 0);
                for step in -40i16..40 {
                    let value = f32::from(step) * 0.11;
                    let best = (0..4).map(|code| (group.restore(code) - value).abs());
                    let best = best.fold(f32::INFINITY, f32::min);
                    let got = (group.restore(group.nearest(value)) - value).abs();
                    assert!(got <= best + 1e-6, "{levels:?} {scale} {zero} {value}");
                }
            }
        }
    }
}

#[test]
fn a_scale_of_zero_restores_the_offset() {
    let mut grid = grid(Cut::Flat(10), Levels::Uniform(16), vec![0.0]);
    grid.offsets = vec![0.75];
    grid.zeros = vec![8.0];
    let codes = grid.nearest(Matrix::new(&[3.0; 10], 2, 5));
    assert_eq!(codes, [8; 10]);
    assert_eq!(grid.restore(&codes), [0.75; 10]);
}

#[test]
fn a_table_per_group_is_looked_up_by_group() {
    let values = vec![0.0, 1.0, 10.0, 20.0];
    let grid = grid(Cut::Rows(5), Levels::Tables { values, count: 2 }, vec![1.0, 1.0]);
    let codes =
        grid.nearest(Matrix::new(&[0.9, 0.1, 0.6, 7.0, 0.5, 9.0, 17.0, 15.0, 14.0, 0.0], 2, 5));
    assert_eq!(codes, [1, 0, 1, 1, 0, 0, 1, 0, 0, 0]);
    assert_eq!(grid.restore(&codes)[5..7], [10.0, 20.0]);
}
