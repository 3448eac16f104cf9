//! What a collection is created with and keeps for good.

use crate::limits::{DIM_MAX, SETTING_SIZE_MAX};
use kvant_index::{M_MAX, M_MIN, Metric, Spec};
use serde::{Deserialize, Serialize};

/// The properties of a collection; they never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How far apart two vectors are; as text in JSON.
    #[serde(with = "text")]
    pub metric: Metric,
    /// Components of every vector, 1 to 65 536.
    pub dim: usize,
    /// The index built over sealed segments; as text in JSON.
    #[serde(with = "text")]
    pub spec: Spec,
    /// The model that made the vectors, for doors that embed texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The field of imported records that was the identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_field: Option<String>,
    /// The field of imported records that was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// The field of imported records that was the vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_field: Option<String>,
}

/// Why settings are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The dimension is out of range.
    #[error("dimension {got}, expected 1 to {DIM_MAX}")]
    Dim {
        /// The dimension.
        got: usize,
    },
    /// A graph that could not be read back.
    #[error("{got} links per node of the HNSW graph, expected {M_MIN} to {M_MAX}")]
    Links {
        /// The links.
        got: usize,
    },
    /// A name is too long.
    #[error("{name} has {got} bytes, at most {SETTING_SIZE_MAX} are allowed")]
    TooLong {
        /// The setting.
        name: &'static str,
        /// Its bytes.
        got: usize,
    },
}

impl Settings {
    /// Settings with no names, for vectors that come as they are.
    pub fn new(metric: Metric, dim: usize, spec: Spec) -> Self {
        Self {
            metric,
            dim,
            spec,
            model: None,
            id_field: None,
            text_field: None,
            vector_field: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if !(1..=DIM_MAX).contains(&self.dim) {
            return Err(SettingsError::Dim { got: self.dim });
        }
        if let Spec::Hnsw { m } = self.spec
            && !(M_MIN..=M_MAX).contains(&m)
        {
            return Err(SettingsError::Links { got: m });
        }
        let names = [
            ("model", &self.model),
            ("id field", &self.id_field),
            ("text field", &self.text_field),
            ("vector field", &self.vector_field),
        ];
        for (name, value) in names {
            let got = value.as_ref().map_or(0, String::len);
            if got > SETTING_SIZE_MAX {
                return Err(SettingsError::TooLong { name, got });
            }
        }
        Ok(())
    }
}

/// Things with a text form, as that text.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(it: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(it)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip_and_its_form() {
        let mut settings = Settings::new(Metric::Cosine, 384, Spec::default());
        settings.model = Some("minilm".to_owned());
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(json, r#"{"metric":"cosine","dim":384,"spec":"hnsw","model":"minilm"}"#);
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        assert!(serde_json::from_str::<Settings>(&json.replace("cosine", "sine")).is_err());
    }

    #[test]
    fn limits_hold_just_under_and_just_over() {
        let of = |dim| Settings::new(Metric::Dot, dim, Spec::Flat).check();
        assert_eq!((of(1), of(DIM_MAX)), (Ok(()), Ok(())));
        assert_eq!(of(0), Err(SettingsError::Dim { got: 0 }));
        assert!(of(DIM_MAX + 1).unwrap_err().to_string().contains("expected 1 to 65536"));
        let mut long = Settings::new(Metric::Dot, 1, Spec::Flat);
        long.text_field = Some("x".repeat(SETTING_SIZE_MAX));
        assert_eq!(long.check(), Ok(()));
        long.text_field = Some("x".repeat(SETTING_SIZE_MAX + 1));
        assert!(long.check().unwrap_err().to_string().contains("text field"));
    }
}
