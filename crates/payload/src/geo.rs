//! Places on the Earth and areas of it.
//!
//! The Earth is a sphere of its mean radius. Edges of boxes and polygons are straight lines in
//! longitude and latitude, as on a map of that projection, not the shortest ways on the sphere.

mod area;

pub use area::{GeoBox, GeoCircle, GeoPolygon, Ring};

use serde::Serialize;
use serde_json::Value;

/// The Earth's mean radius in metres, (2a + b) / 3 of the ellipsoid WGS 84 as the IUGG defines it.
pub const EARTH_RADIUS: f64 = 6_371_008.8;

/// A place: degrees of longitude in -180..=180 and of latitude in -90..=90.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GeoPoint {
    lon: f64,
    lat: f64,
}

/// What is no place or no area.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GeoError {
    /// No place on the Earth.
    #[error("longitude {lon} must lie within -180..=180 and latitude {lat} within -90..=90")]
    Point {
        /// Degrees of longitude.
        lon: f64,
        /// Degrees of latitude.
        lat: f64,
    },
    /// No length.
    #[error("radius {got} must be a finite number of metres")]
    Radius {
        /// The radius.
        got: f64,
    },
    /// Too few corners.
    #[error("a ring has {got} points, at least 4 are needed, the last of which is the first")]
    Corners {
        /// How many.
        got: usize,
    },
    /// The last point is not the first.
    #[error("a ring ends at {last:?}, it must end where it began, at {first:?}")]
    Open {
        /// Where it began, as (longitude, latitude).
        first: (f64, f64),
        /// Where it ended.
        last: (f64, f64),
    },
}

impl GeoPoint {
    /// The place at `lon` and `lat` degrees.
    ///
    /// # Errors
    /// [`GeoError::Point`] outside the ranges, and for what is no number.
    pub fn new(lon: f64, lat: f64) -> Result<Self, GeoError> {
        if (-180.0..=180.0).contains(&lon) && (-90.0..=90.0).contains(&lat) {
            Ok(Self { lon, lat })
        } else {
            Err(GeoError::Point { lon, lat })
        }
    }

    /// Degrees of longitude, -180..=180.
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// Degrees of latitude, -90..=90.
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// The place a payload's value stands for: an object with the numbers `lon` and `lat`. `None`
    /// for anything else, and for numbers that are no place, so those match no area.
    pub fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        Self::new(map.get("lon")?.as_f64()?, map.get("lat")?.as_f64()?).ok()
    }

    /// Metres along the shortest way on the sphere, by the haversine formula: exact to rounding
    /// everywhere but within metres of the opposite side of the Earth. At most half of the
    /// circumference.
    pub fn distance(self, other: Self) -> f64 {
        let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
        let cosines = self.lat.to_radians().cos() * other.lat.to_radians().cos();
        let h = half(self.lat, other.lat) + cosines * half(self.lon, other.lon);
        2.0 * EARTH_RADIUS * h.sqrt().min(1.0).asin()
    }
}

#[cfg(test)]
mod tests;
