//! A distance and a row as one integer, so that every order is total and ties fall to the row.

use crate::Row;

/// A value whose integer order is the order of distances; NaN is farther than everything.
pub(crate) fn order(distance: f32) -> u32 {
    if distance.is_nan() {
        return u32::MAX;
    }
    // Adding zero turns −0 into +0: they are equal and must tie.
    let bits = (distance + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The distance that [`order`] was given (one NaN for all).
pub(crate) fn distance(order: u32) -> f32 {
    f32::from_bits(if order >> 31 == 1 { order & !(1 << 31) } else { !order })
}

/// Orders by distance, then by row.
pub(crate) fn key(distance: f32, row: Row) -> u64 {
    u64::from(order(distance)) << 32 | u64::from(row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_distances_do() {
        let rising =
            [f32::NEG_INFINITY, -2.0, -1e-40, 0.0, f32::MIN_POSITIVE, 1.0, f32::MAX, f32::INFINITY];
        assert!(rising.windows(2).all(|w| order(w[0]) < order(w[1])));
        assert!(rising.iter().all(|&d| distance(order(d)) == d));
        assert_eq!(order(-0.0), order(0.0));
        assert!(order(-f32::NAN) > order(f32::INFINITY) && distance(order(f32::NAN)).is_nan());
        assert!(key(1.0, Row(7)) < key(1.0, Row(8)) && key(1.0, Row(8)) < key(1.5, Row(0)));
    }
}
