//! What a point is called.

use crate::limits::ID_SIZE_MAX;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The identifier of a point, unique in its collection.
///
/// As text: plain digits without leading zeros are a [`Number`](Self::Number), the hyphenated form
/// of a UUID is a [`Uuid`](Self::Uuid), everything else is [`Text`](Self::Text). JSON strings are
/// read the same way, so `7` and `"7"` are one point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PointId {
    /// A whole number.
    Number(u64),
    /// A UUID, most significant byte first.
    Uuid(u128),
    /// Any other text of 1 to 512 bytes.
    Text(String),
}

/// Why a text is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing to call it by.
    #[error("an identifier must not be empty")]
    Empty,
    /// Longer than 512 bytes.
    #[error("identifier {start:?}… has {got} bytes, at most {ID_SIZE_MAX} are allowed")]
    TooLong {
        /// How it starts.
        start: String,
        /// Its bytes.
        got: usize,
    },
}

impl PointId {
    /// The same identifier in its one form: `Text("7")` is `Number(7)`.
    ///
    /// # Errors
    /// [`IdError`] for an empty or overlong text.
    pub fn canonical(self) -> Result<Self, IdError> {
        match self {
            Self::Text(text) => from_text(text),
            Self::Number(_) | Self::Uuid(_) => Ok(self),
        }
    }
}

fn from_text(text: String) -> Result<PointId, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_SIZE_MAX {
        return Err(IdError::TooLong { start: text.chars().take(24).collect(), got: text.len() });
    }
    let number = || text.parse::<u64>().ok().filter(|n| n.to_string() == text);
    Ok(match number().map(PointId::Number).or_else(|| uuid(&text).map(PointId::Uuid)) {
        Some(id) => id,
        None => PointId::Text(text),
    })
}

/// The value of `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, in either case.
fn uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    let hyphens = [8, 13, 18, 23];
    if bytes.len() != 36 {
        return None;
    }
    bytes.iter().enumerate().try_fold(0u128, |value, (at, byte)| {
        if hyphens.contains(&at) {
            return (*byte == b'-').then_some(value);
        }
        let digit = char::from(*byte).to_digit(16)?;
        Some(value << 4 | u128::from(digit))
    })
}

impl FromStr for PointId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > ID_SIZE_MAX {
            let start = text.chars().take(24).collect();
            return Err(IdError::TooLong { start, got: text.len() });
        }
        from_text(text.to_owned())
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Uuid(value) => {
                let hex = format!("{value:032x}");
                let (a, b, c, d) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20]);
                write!(f, "{a}-{b}-{c}-{d}-{}", &hex[20..])
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<u64> for PointId {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl Serialize for PointId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Uuid(_) => serializer.collect_str(self),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for PointId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = PointId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 or a string")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<PointId, E> {
                Ok(PointId::Number(value))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<PointId, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> PointId {
        text.parse().unwrap()
    }

    #[test]
    fn texts_find_their_kind() {
        assert_eq!(id("0"), PointId::Number(0));
        assert_eq!(id("18446744073709551615"), PointId::Number(u64::MAX));
        for text in ["18446744073709551616", "007", "-1", "+1", "1.0", " 1", "a"] {
            assert_eq!(id(text), PointId::Text(text.to_owned()));
        }
        let uuid = "0123ABCD-89ab-cdef-0123-456789abcdef";
        assert_eq!(id(uuid), PointId::Uuid(0x0123_abcd_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(id(uuid).to_string(), uuid.to_lowercase());
        for text in ["0123abcd89ab-cdef-0123-456789abcdef-", &uuid[1..], &uuid.replace('-', "_")] {
            assert!(matches!(id(text), PointId::Text(_)), "{text}");
        }
        assert_eq!(PointId::Text("7".to_owned()).canonical(), Ok(PointId::Number(7)));
    }

    #[test]
    fn length_is_bounded() {
        assert_eq!("".parse::<PointId>(), Err(IdError::Empty));
        assert!(matches!(id(&"x".repeat(ID_SIZE_MAX)), PointId::Text(_)));
        let long = "x".repeat(ID_SIZE_MAX + 1).parse::<PointId>().unwrap_err().to_string();
        assert!(long.contains("has 513 bytes"), "{long}");
    }

    #[test]
    fn json_is_a_number_or_a_string() {
        let from = |json: &str| serde_json::from_str::<PointId>(json);
        assert_eq!(from("7").unwrap(), PointId::Number(7));
        assert_eq!(from("\"7\"").unwrap(), PointId::Number(7));
        assert_eq!(serde_json::to_string(&id("a\"b")).unwrap(), "\"a\\\"b\"");
        for bad in ["-1", "1.5", "null", "true", "[1]", "{}", "\"\""] {
            assert!(from(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_json_round_trip(number: u64, uuid: u128, text in "\\PC{1,40}") {
            let texts = PointId::Text(text).canonical().unwrap();
            for id in [PointId::Number(number), PointId::Uuid(uuid), texts] {
                prop_assert_eq!(&id.to_string().parse::<PointId>().unwrap(), &id);
                let json = serde_json::to_string(&id).unwrap();
                prop_assert_eq!(serde_json::from_str::<PointId>(&json).unwrap(), id);
            }
        }
    }
}
