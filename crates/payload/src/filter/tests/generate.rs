//! Any filter comes back from JSON, and numbers are compared as they are.

use super::*;
use crate::geo::{GeoBox, GeoCircle, GeoPoint, GeoPolygon, Ring};
use crate::{Bounds, Datetime, Step};
use proptest::prelude::*;
use serde_json::Number;
use std::cmp::Ordering;

fn any_path() -> impl Strategy<Value = Path> {
    let step = prop_oneof![
        "\\PC{0,4}".prop_map(Step::Key),
        (0..9usize).prop_map(Step::Index),
        Just(Step::Every)
    ];
    let steps = prop::collection::vec(step, 0..3);
    ("\\PC{0,4}", steps).prop_map(|(first, rest)| Path::from_steps(&first, rest).unwrap())
}

fn any_point() -> impl Strategy<Value = GeoPoint> {
    (-180.0..=180.0, -90.0..=90.0).prop_map(|(lon, lat)| GeoPoint::new(lon, lat).unwrap())
}

fn any_ring() -> impl Strategy<Value = Ring> {
    prop::collection::vec(any_point(), 3..6).prop_map(|mut points| {
        points.push(points[0]);
        Ring::new(points).unwrap()
    })
}

fn any_bounds<T: std::fmt::Debug + Clone>(
    bound: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Bounds<T>> {
    let bound = || prop::option::of(bound.clone());
    (bound(), bound(), bound(), bound()).prop_map(|(lt, gt, gte, lte)| Bounds { lt, gt, gte, lte })
}

fn any_number() -> impl Strategy<Value = Number> + Clone {
    let near = (-3i64..=3).prop_flat_map(|n| {
        prop::sample::select(vec![0, 1 << 53, -(1 << 53), i64::MAX - 3, i64::MIN + 3])
            .prop_map(move |base| base + n)
    });
    let float = prop_oneof![
        any::<f64>().prop_filter("finite", |float| float.is_finite()),
        near.clone().prop_map(|n| n as f64),
        (-9i32..9).prop_map(|n| f64::from(n) / 2.0),
    ];
    prop_oneof![
        near.prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        float.prop_map(|float| Number::from_f64(float).unwrap()),
    ]
}

fn any_list() -> impl Strategy<Value = MatchList> {
    prop_oneof![
        prop::collection::vec("\\PC{0,4}", 0..20).prop_map(MatchList::Texts),
        prop::collection::vec(any::<i64>(), 1..20).prop_map(MatchList::Integers),
    ]
}

fn any_match() -> impl Strategy<Value = Match> {
    let text = "\\PC{0,6}";
    let value = prop_oneof![
        text.prop_map(MatchValue::Text),
        any::<i64>().prop_map(MatchValue::Integer),
        any::<bool>().prop_map(MatchValue::Bool),
    ];
    prop_oneof![
        value.prop_map(Match::Value),
        text.prop_map(Match::Text),
        text.prop_map(Match::TextAny),
        text.prop_map(Match::Phrase),
        text.prop_map(Match::Prefix),
        any_list().prop_map(Match::Any),
        any_list().prop_map(Match::Except),
    ]
}

fn any_test() -> impl Strategy<Value = Test> {
    let moment = (-62_167_219_200_000_000i64..253_402_300_800_000_000)
        .prop_map(|micros| Datetime::from_micros(micros).unwrap());
    let moments = any_bounds(moment).prop_filter("a bound", |bounds| *bounds != Bounds::default());
    let corners = (any_point(), any_point());
    let polygon = (any_ring(), prop::collection::vec(any_ring(), 0..3));
    let circle = (any_point(), -1e6..1e8f64);
    prop_oneof![
        any_match().prop_map(Test::Match),
        any_bounds(any_number()).prop_map(|bounds| Test::Range(Range::Number(bounds))),
        moments.prop_map(|bounds| Test::Range(Range::Datetime(bounds))),
        corners
            .prop_map(|(top_left, bottom_right)| Test::GeoBox(GeoBox { top_left, bottom_right })),
        circle.prop_map(|(at, radius)| Test::GeoCircle(GeoCircle::new(at, radius).unwrap())),
        polygon.prop_map(|(exterior, interiors)| {
            Test::GeoPolygon(GeoPolygon { exterior, interiors })
        }),
        any_bounds(any::<u64>()).prop_map(Test::ValuesCount),
        any::<bool>().prop_map(Test::IsEmpty),
        any::<bool>().prop_map(Test::IsNull),
    ]
}

fn any_id() -> impl Strategy<Value = PointId> {
    prop_oneof![
        any::<u64>().prop_map(PointId::Number),
        any::<u128>().prop_map(PointId::Uuid),
        "\\PC{1,9}".prop_map(|text| text.parse().unwrap()),
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let slice = (1..=u32::MAX).prop_flat_map(|total| (0..total, Just(total)));
    let leaf = prop_oneof![
        4 => (any_path(), any_test()).prop_map(|(key, test)| Condition::Field { key, test }),
        1 => any_path().prop_map(Condition::IsEmpty),
        1 => any_path().prop_map(Condition::IsNull),
        1 => prop::collection::vec(any_id(), 0..5).prop_map(Condition::HasId),
        1 => "\\PC{0,6}".prop_map(Condition::HasVector),
        1 => slice.prop_map(|(index, total)| Condition::Slice(Slice { index, total })),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 0..3);
        let part = (several(), 1..4usize)
            .prop_map(|(conditions, min_count)| MinShould { conditions, min_count });
        let filter = (several(), several(), several(), prop::option::of(part)).prop_map(
            |(must, should, must_not, min_should)| Filter { must, should, must_not, min_should },
        );
        let nested = (any_path(), filter.clone());
        prop_oneof![
            filter.prop_map(Condition::Filter),
            nested.prop_map(|(key, filter)| Condition::Nested { key, filter }),
        ]
    })
}

/// By the definition: the sign of the difference, which no rounding may change.
fn order(a: &Number, b: &Number) -> Ordering {
    let whole = |number: &Number| {
        number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
    };
    let mixed = |whole: i128, float: f64| {
        let below = float.floor();
        // Beyond 2^100 floats are greater than any whole number of 64 bits.
        if below.abs() >= 2f64.powi(100) {
            return if below > 0.0 { Ordering::Less } else { Ordering::Greater };
        }
        let fraction = if float > below { Ordering::Less } else { Ordering::Equal };
        whole.cmp(&(below as i128)).then(fraction)
    };
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => mixed(a, b.as_f64().unwrap()),
        (None, Some(b)) => mixed(b, a.as_f64().unwrap()).reverse(),
        (None, None) => a.as_f64().partial_cmp(&b.as_f64()).unwrap(),
    }
}

proptest! {
    #[test]
    fn filters_come_back(condition in any_condition(), payload in "[abc]{0,3}") {
        let filter = Filter { must_not: vec![condition], ..Filter::default() };
        let json = serde_json::to_string(&filter).unwrap();
        let back: Filter = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &filter);
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), json);
        // And both are asked the same.
        let point = point(json!({ "a": payload, "b": [payload] }));
        let (one, other) = (filter.compile().unwrap(), back.compile().unwrap());
        prop_assert_eq!(one.matches(&point), other.matches(&point));
    }

    #[test]
    fn numbers_are_compared_by_value(bounds in any_bounds(any_number()), number in any_number()) {
        let passes = |bound: &Option<Number>, with: &[Ordering]| {
            bound.as_ref().is_none_or(|bound| with.contains(&order(&number, bound)))
        };
        let expected = passes(&bounds.lt, &[Ordering::Less])
            && passes(&bounds.gt, &[Ordering::Greater])
            && passes(&bounds.lte, &[Ordering::Less, Ordering::Equal])
            && passes(&bounds.gte, &[Ordering::Greater, Ordering::Equal]);
        let key = Path::key("n").unwrap();
        let asked = Condition::Field { key, test: Test::Range(Range::Number(bounds)) };
        let got = Filter::of(asked).compile().unwrap().matches(&point(json!({ "n": number })));
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn an_opposite_passes_what_a_condition_does_not(
        condition in any_condition(),
        n: u8,
        text: String,
    ) {
        let point = point(json!({ "a": [n, { "b": text }], "b": n, "c": text, "d": null }));
        let one = Filter::of(condition.clone()).compile().unwrap();
        let other = Filter { must_not: vec![condition], ..Filter::default() }.compile().unwrap();
        prop_assert_ne!(one.matches(&point), other.matches(&point));
    }
}
