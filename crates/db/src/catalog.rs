//! Which collections there are: a document that is only created, next version by next version.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use kvant_storage::frame::{Frame, Kind, Section, to_bytes};
use kvant_storage::{CreateError, Dir, Name};
use serde::{Deserialize, Serialize};

use crate::OpenError;
use crate::manifest::numbers;

const FOLDER: &str = "catalog";
const KIND: Kind = Kind { magic: *b"KVANTCAT", version: 1, features: 0 };

/// Names of collections and other names for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The number of each collection by its name.
    pub collections: BTreeMap<String, u64>,
    /// Names of collections by their other names.
    pub aliases: BTreeMap<String, String>,
    /// The number of the next collection; none is ever given twice.
    pub next: u64,
}

/// The seam of the catalog: one document, of which the next version can be made once.
///
/// What every implementation promises: of several who make version n + 1 of version n one
/// succeeds; what was made is durable when the call returns.
pub trait Catalog: Send + Sync + Debug {
    /// The newest version and its number, 0 for the empty document before the first.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be read.
    fn get(&self) -> Result<(u64, Listing), OpenError>;

    /// Makes the version after `version`. `false` if somebody else made it first.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be written.
    fn put(&self, version: u64, listing: &Listing) -> Result<bool, OpenError>;
}

/// The catalog as files `catalog/<version>`.
#[derive(Debug)]
pub(crate) struct FileCatalog {
    pub(crate) dir: Arc<dyn Dir>,
}

impl Catalog for FileCatalog {
    fn get(&self) -> Result<(u64, Listing), OpenError> {
        let Some(number) = numbers(&*self.dir, FOLDER)?.into_iter().max() else {
            return Ok((0, Listing { next: 1, ..Listing::default() }));
        };
        let name = Name::numbered(FOLDER, number);
        let path = self.dir.place().join(name.as_str());
        let frame = Frame::open(self.dir.read(&name)?, &path, &KIND)?;
        let listing = serde_json::from_slice(&frame.section("listing")?)
            .map_err(|error| OpenError::Corrupt { path, offset: 0, what: error.to_string() })?;
        Ok((number, listing))
    }

    fn put(&self, version: u64, listing: &Listing) -> Result<bool, OpenError> {
        // Maps of texts and numbers into memory: there is no way to fail.
        let json = serde_json::to_vec(listing).unwrap_or_default();
        let bytes = to_bytes(&KIND, 0, &[Section { name: "listing", data: &json }]);
        match self.dir.create_new(&Name::numbered(FOLDER, version + 1), &bytes) {
            Ok(()) => {}
            Err(CreateError::AlreadyExists { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        // What cannot be removed costs space until the next time.
        for old in numbers(&*self.dir, FOLDER)?.into_iter().filter(|old| *old <= version) {
            let _ = self.dir.remove(&Name::numbered(FOLDER, old));
        }
        Ok(true)
    }
}
