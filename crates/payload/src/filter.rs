//! Stand-in.
#![allow(missing_docs)]
use crate::PointId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub must: Vec<(String, Value)>,
}
#[derive(Clone, Debug)]
pub struct Prepared(Filter);
pub trait Subject {
    fn id(&self) -> &PointId;
    fn payload(&self) -> &Map<String, Value>;
    fn has_vector(&self, name: &str) -> bool;
}
impl Filter {
    pub fn prepared(&self) -> Prepared {
        Prepared(self.clone())
    }
}
impl Prepared {
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.0.must.iter().all(|(key, value)| subject.payload().get(key) == Some(value))
    }
}
