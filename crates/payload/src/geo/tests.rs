//! Distances and areas.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn at(lon: f64, lat: f64) -> GeoPoint {
    GeoPoint::new(lon, lat).unwrap()
}

fn ring(points: &[(f64, f64)]) -> Ring {
    Ring::new(points.iter().map(|(lon, lat)| at(*lon, *lat)).collect()).unwrap()
}

#[test]
fn places_have_ranges() {
    for (lon, lat, ok) in [
        (180.0, 90.0, true),
        (-180.0, -90.0, true),
        (180.000_000_1, 0.0, false),
        (0.0, -90.000_000_1, false),
        (f64::NAN, 0.0, false),
        (0.0, f64::NAN, false),
        (f64::INFINITY, 0.0, false),
    ] {
        assert_eq!(GeoPoint::new(lon, lat).is_ok(), ok, "{lon} {lat}");
    }
    assert_eq!(GeoPoint::from_value(&json!({"lon": 1, "lat": 2.5, "x": 0})), Some(at(1.0, 2.5)));
    for value in [
        json!({"lon": 1}),
        json!({"lon": "1", "lat": 2}),
        json!({"lon": 1, "lat": 91}),
        json!([1, 2]),
        json!(null),
        json!([{"lon": 1, "lat": 2}]),
    ] {
        assert_eq!(GeoPoint::from_value(&value), None, "{value}");
    }
}

#[test]
fn distances_along_great_circles() {
    let quarter = std::f64::consts::FRAC_PI_2 * EARTH_RADIUS;
    for (a, b, expected) in [
        (at(0.0, 0.0), at(90.0, 0.0), quarter),
        (at(13.0, 0.0), at(77.0, 90.0), quarter),
        (at(0.0, -90.0), at(50.0, 90.0), 2.0 * quarter),
        (at(-180.0, 10.0), at(180.0, 10.0), 0.0),
        (at(179.5, 0.0), at(-179.5, 0.0), quarter / 90.0),
        (at(5.0, 5.0), at(5.0, 5.0), 0.0),
        // Berlin and Moscow, by the spherical law of cosines.
        (at(13.404_954, 52.520_008), at(37.617_3, 55.755_8), 1_608_836.1),
    ] {
        let got = a.distance(b);
        assert!((got - expected).abs() < 0.5, "{a:?} {b:?}: {got} {expected}");
    }
}

#[test]
fn boxes_leave_their_edges_out() {
    let area = |west, north, east, south| GeoBox {
        top_left: at(west, north),
        bottom_right: at(east, south),
    };
    let plain = area(10.0, 20.0, 30.0, 0.0);
    let pacific = area(170.0, 10.0, -170.0, -10.0);
    for (area, lon, lat, expected) in [
        (plain, 20.0, 10.0, true),
        (plain, 10.0, 10.0, false),
        (plain, 30.0, 10.0, false),
        (plain, 20.0, 20.0, false),
        (plain, 20.0, 0.0, false),
        (plain, 10.000_000_001, 19.999_999_999, true),
        (pacific, 175.0, 0.0, true),
        (pacific, -175.0, 0.0, true),
        (pacific, 180.0, 0.0, true),
        (pacific, -180.0, 0.0, true),
        (pacific, 170.0, 0.0, false),
        (pacific, -170.0, 0.0, false),
        (pacific, 0.0, 0.0, false),
        (pacific, 175.0, 11.0, false),
        (area(10.0, 0.0, 30.0, 20.0), 20.0, 10.0, false),
        (area(10.0, 20.0, 10.0, 0.0), 10.0, 10.0, false),
    ] {
        assert_eq!(area.contains(at(lon, lat)), expected, "{area:?} {lon} {lat}");
    }
}

#[test]
fn circles_leave_their_rim_out() {
    let center = at(13.413_637, 52.521_976);
    let near = at(13.4, 52.52);
    let metres = center.distance(near);
    assert!((900.0..1000.0).contains(&metres), "{metres}");
    let circle = |radius| GeoCircle::new(center, radius).unwrap();
    assert!(circle(metres * 1.000_001).contains(near));
    assert!(!circle(metres).contains(near));
    assert!(!circle(0.0).contains(center) && !circle(-5.0).contains(center));
    assert!(GeoCircle::new(at(179.9, 0.0), 50_000.0).unwrap().contains(at(-179.9, 0.0)));
    assert!(circle(3e7).contains(at(-170.0, -50.0)), "all of the Earth");
    for radius in [f64::NAN, f64::INFINITY] {
        assert!(matches!(GeoCircle::new(center, radius), Err(GeoError::Radius { .. })));
    }
}

#[test]
fn polygons_with_holes() {
    let square = ring(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0), (0.0, 0.0)]);
    // Round the other way, and with a corner at the height of the point looked for.
    let hole = ring(&[(4.0, 4.0), (4.0, 6.0), (6.0, 6.0), (7.0, 5.0), (6.0, 4.0), (4.0, 4.0)]);
    let area = GeoPolygon { exterior: square.clone(), interiors: vec![hole] };
    for (lon, lat, expected) in [
        (1.0, 1.0, true),
        (1.0, 5.0, true),
        (9.0, 5.0, true),
        (5.0, 5.0, false),
        (4.0, 5.0, false),
        (7.0, 5.0, false),
        (6.9, 5.2, true),
        (0.0, 5.0, false),
        (10.0, 5.0, false),
        (5.0, 0.0, false),
        (10.0, 10.0, false),
        (11.0, 5.0, false),
        (-1.0, 10.0, false),
        (5.0, 4.0, false),
    ] {
        assert_eq!(area.contains(at(lon, lat)), expected, "{lon} {lat}");
    }
    assert_eq!(area.corners(), 11);
    assert_eq!(square.bounds(), [0.0, 0.0, 10.0, 10.0]);
    // A star that crosses itself: its middle is crossed twice.
    let star =
        ring(&[(0.0, 10.0), (6.0, -8.0), (-9.0, 3.0), (9.0, 3.0), (-6.0, -8.0), (0.0, 10.0)]);
    let star = GeoPolygon { exterior: star, interiors: Vec::new() };
    assert!(star.contains(at(0.0, 8.0)) && !star.contains(at(0.0, 0.0)));
}

#[test]
fn rings_are_closed() {
    let points = [at(0.0, 0.0), at(1.0, 0.0), at(1.0, 1.0), at(0.0, 0.0)];
    assert_eq!(Ring::new(points.to_vec()).unwrap().points(), points);
    assert_eq!(Ring::new(points[..3].to_vec()), Err(GeoError::Corners { got: 3 }));
    assert_eq!(Ring::new(Vec::new()), Err(GeoError::Corners { got: 0 }));
    let open =
        Ring::new(points[..3].iter().chain(&points[..1]).chain(&points[1..2]).copied().collect());
    assert_eq!(open, Err(GeoError::Open { first: (0.0, 0.0), last: (1.0, 0.0) }));
}

proptest! {
    #[test]
    fn distance_is_a_distance(
        a in -180.0..180.0,
        b in -90.0..90.0,
        c in -180.0..180.0,
        d in -90.0..90.0,
    ) {
        let (x, y) = (at(a, b), at(c, d));
        let far = x.distance(y);
        prop_assert!((0.0..=std::f64::consts::PI * EARTH_RADIUS * 1.000_001).contains(&far));
        prop_assert!((far - y.distance(x)).abs() <= 1e-6);
        prop_assert_eq!(x.distance(x), 0.0);
    }

    /// A convex ring by the other definition: left of all of its edges.
    #[test]
    fn convex_rings_are_the_left_of_their_edges(
        corners in 3..12usize,
        turn in 0.0..6.0f64,
        lon in -12.0..12.0f64,
        lat in -12.0..12.0f64,
    ) {
        let corner = |n: usize| {
            let angle = turn + n as f64 * std::f64::consts::TAU / corners as f64;
            (10.0 * angle.cos(), 10.0 * angle.sin())
        };
        let mut points: Vec<(f64, f64)> = (0..corners).map(corner).collect();
        points.push(points[0]);
        let left = |edge: &[(f64, f64)]| {
            let ((a, b), (c, d)) = (edge[0], edge[1]);
            (c - a) * (lat - b) - (d - b) * (lon - a) > 0.0
        };
        let expected = points.windows(2).all(left);
        let area = GeoPolygon { exterior: ring(&points), interiors: Vec::new() };
        prop_assert_eq!(area.contains(at(lon, lat)), expected);
        let hole = GeoPolygon { exterior: area.exterior.clone(), interiors: vec![area.exterior] };
        prop_assert!(!hole.contains(at(lon, lat)));
    }
}
