//! Moments in time, to the microsecond.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A moment: microseconds since 1970-01-01T00:00:00Z, in the years 0 to 9999.
///
/// Texts taken are `2024-02-29T12:30:45.123456Z` (RFC 3339, with any offset) and shorter or looser
/// ones that are common: a space for the `T`, an offset without colon or minutes (`+0200`, `+02`),
/// no offset (it is UTC then), no seconds, the date alone. Of more than six decimals the rest is
/// cut off, towards the past. A leap second is the second before it.
///
/// Written as RFC 3339 in UTC with as many decimals as it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datetime(i64);

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
/// The beginning of the year 0.
const FIRST: i64 = -62_167_219_200_000_000;
/// The last microsecond of the year 9999.
const LAST: i64 = 253_402_300_799_999_999;

/// A text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no date and time: expected for example 2024-02-29T12:30:45Z or 2024-02-29")]
pub struct DatetimeError {
    /// How the text starts.
    pub text: String,
}

impl Datetime {
    /// The moment that many microseconds after the beginning of 1970 in UTC, `None` outside the
    /// years 0 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (FIRST..=LAST).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the beginning of 1970 in UTC; equal moments have equal ones.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// The moment a payload's value stands for; `None` for what is no text or no moment.
    pub fn from_value(value: &Value) -> Option<Self> {
        read(value.as_str()?)
    }
}

fn read(text: &str) -> Option<Datetime> {
    let bytes = text.as_bytes();
    // The library takes more than this protocol does: dates without hyphens, years with a sign,
    // and names of zones in brackets, which would need a database of zones.
    let shape = bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-';
    if !shape || bytes.len() > 64 || bytes.last() == Some(&b']') {
        return None;
    }
    let pieces = Pieces::parse(text).ok()?;
    let local = DateTime::from_parts(pieces.date(), pieces.time().unwrap_or_default());
    let offset = pieces.to_numeric_offset();
    // Not by way of the library's own moments, which end before those of the year 9999 do.
    let seconds = offset.map_or(0, |offset| i64::from(offset.seconds()));
    let since = local.duration_since(EPOCH) - SignedDuration::from_secs(seconds);
    let micros = since.as_nanos().div_euclid(1000);
    Datetime::from_micros(i64::try_from(micros).ok()?)
}

impl FromStr for Datetime {
    type Err = DatetimeError;

    fn from_str(text: &str) -> Result<Self, DatetimeError> {
        read(text).ok_or_else(|| DatetimeError { text: text.chars().take(40).collect() })
    }
}

impl fmt::Display for Datetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = EPOCH + SignedDuration::from_micros(self.0);
        write!(f, "{local}Z")
    }
}

impl Serialize for Datetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Datetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn texts_of_one_moment_are_one_moment() {
        let second = 1_709_209_845_000_000;
        for (text, micros) in [
            ("2024-02-29T12:30:45Z", second),
            ("2024-02-29t12:30:45z", second),
            ("2024-02-29T12:30:45.000000Z", second),
            ("2024-02-29T14:30:45+02:00", second),
            ("2024-02-29T14:30:45+0200", second),
            ("2024-02-29T14:30:45+02", second),
            ("2024-02-29 07:00:45-05:30", second),
            ("2024-02-29 12:30:45 +00:00", i64::MIN),
            ("2024-02-29T12:30:45", second),
            ("2024-02-29 12:30:45", second),
            ("2024-02-29T12:30", second - 45_000_000),
            ("2024-02-29 12:30", second - 45_000_000),
            ("2024-02-29T12:30:45.5", second + 500_000),
            ("2024-02-29T12:30:45.123456789Z", second + 123_456),
            ("2024-02-29", 1_709_164_800_000_000),
            ("1969-12-31T23:59:59.9999999Z", -1),
            ("1970-01-01", 0),
            ("0000-01-01", -62_167_219_200_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000_000),
        ] {
            let got = text.parse::<Datetime>().map_or(i64::MIN, Datetime::micros);
            assert_eq!(got, micros, "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let long = format!("2024-02-29T12:30:45.{}Z", "1".repeat(60));
        for text in [
            "",
            "2024",
            "20240229",
            "20240229T123045Z",
            "2024-02",
            "2023-02-29",
            "2024-13-01",
            "2024-02-29T24:00:01Z",
            "2024-02-29T12:30:45Zx",
            "2024-02-29T12:30:45Z[Europe/Berlin]",
            "2024-02-29T12:30:45[UTC]",
            "-002024-02-29",
            "+002024-02-29",
            "12024-02-29",
            "0000-01-01T00:00:00+01:00",
            "12:30:45",
            "2024-W09-4",
            "today",
            "20é4-02-29",
            &long,
        ] {
            let error = text.parse::<Datetime>().unwrap_err();
            assert!(error.to_string().contains("is no date and time"), "{text}");
        }
    }

    #[test]
    fn only_texts_of_payloads_are_moments() {
        let micros = |value: Value| Datetime::from_value(&value).map(Datetime::micros);
        assert_eq!(micros(json!("1970-01-01T00:00:01Z")), Some(1_000_000));
        for value in [json!(0), json!(null), json!("x"), json!(["1970-01-01"]), json!({})] {
            assert_eq!(micros(value), None);
        }
    }

    proptest! {
        #[test]
        fn moments_come_back(micros in prop_oneof![FIRST..=LAST, Just(FIRST), Just(LAST)]) {
            let moment = Datetime::from_micros(micros).unwrap();
            prop_assert_eq!(moment.micros(), micros);
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(serde_json::from_str::<Datetime>(&json).unwrap(), moment);
        }

        #[test]
        fn any_text_is_a_moment_or_an_error(text in "[0-9TZtz:+. -]{0,30}|\\PC{0,40}") {
            if let Ok(moment) = text.parse::<Datetime>() {
                prop_assert_eq!(moment.to_string().parse::<Datetime>().unwrap(), moment);
            }
        }
    }
}
