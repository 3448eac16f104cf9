//! Areas and which places lie in them.

use super::{GeoError, GeoPoint};
use serde::Serialize;

/// All between two meridians and two parallels, the lines themselves left out.
///
/// Where the western edge has the greater longitude, the box reaches across the meridian of 180°.
/// A box whose northern edge lies south of its southern one holds no place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GeoBox {
    /// The north-western corner.
    pub top_left: GeoPoint,
    /// The south-eastern corner.
    pub bottom_right: GeoPoint,
}

/// All places nearer to one than a distance; a place at just this distance is outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GeoCircle {
    center: GeoPoint,
    radius: f64,
}

/// All within a ring that is not within one of its holes; a place on a ring is outside.
///
/// Edges do not reach across the meridian of 180°: the ring of an area that does is the long way
/// round, such an area is asked for as two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GeoPolygon {
    /// The outer boundary.
    pub exterior: Ring,
    /// The holes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interiors: Vec<Ring>,
}

/// A closed line of straight edges. It may cross itself: inside is then what a ray to the outside
/// crosses it from an odd number of times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ring {
    points: Vec<GeoPoint>,
    /// West, south, east, north.
    #[serde(skip)]
    bounds: [f64; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Inside,
    Edge,
    Outside,
}

impl GeoBox {
    /// Whether `point` lies in it.
    pub fn contains(&self, point: GeoPoint) -> bool {
        let (west, east) = (self.top_left.lon, self.bottom_right.lon);
        let within = if west > east {
            point.lon > west || point.lon < east
        } else {
            west < point.lon && point.lon < east
        };
        within && self.bottom_right.lat < point.lat && point.lat < self.top_left.lat
    }
}

impl GeoCircle {
    /// All nearer to `center` than `radius` metres, which is nothing for a radius of 0 or less.
    ///
    /// # Errors
    /// [`GeoError::Radius`] for what is not finite.
    pub fn new(center: GeoPoint, radius: f64) -> Result<Self, GeoError> {
        if radius.is_finite() {
            Ok(Self { center, radius })
        } else {
            Err(GeoError::Radius { got: radius })
        }
    }

    /// Its middle.
    pub fn center(&self) -> GeoPoint {
        self.center
    }

    /// Metres.
    pub fn radius(&self) -> f64 {
        self.radius
    }

    /// Whether `point` lies in it.
    pub fn contains(&self, point: GeoPoint) -> bool {
        self.center.distance(point) < self.radius
    }
}

impl GeoPolygon {
    /// Whether `point` lies in it. O(corners), O(1) outside the box around it.
    pub fn contains(&self, point: GeoPoint) -> bool {
        self.exterior.side(point) == Side::Inside
            && self.interiors.iter().all(|hole| hole.side(point) == Side::Outside)
    }

    /// Points of all rings together.
    pub fn corners(&self) -> usize {
        self.interiors.iter().fold(self.exterior.points.len(), |n, ring| n + ring.points.len())
    }
}

impl Ring {
    /// The ring through `points`, of which the last must be the first again.
    ///
    /// # Errors
    /// [`GeoError::Corners`] for fewer than four, [`GeoError::Open`].
    pub fn new(points: Vec<GeoPoint>) -> Result<Self, GeoError> {
        let ([first, .., last], true) = (points.as_slice(), points.len() >= 4) else {
            return Err(GeoError::Corners { got: points.len() });
        };
        if first != last {
            let pair = |point: &GeoPoint| (point.lon, point.lat);
            return Err(GeoError::Open { first: pair(first), last: pair(last) });
        }
        let start = [first.lon, first.lat, first.lon, first.lat];
        let bounds = points.iter().fold(start, |[west, south, east, north], point| {
            let (lon, lat) = (point.lon, point.lat);
            [west.min(lon), south.min(lat), east.max(lon), north.max(lat)]
        });
        Ok(Self { points, bounds })
    }

    /// Its points, the first of which is also the last.
    pub fn points(&self) -> &[GeoPoint] {
        &self.points
    }

    /// Its box: west, south, east, north in degrees.
    pub fn bounds(&self) -> [f64; 4] {
        self.bounds
    }

    /// Counts the edges that a ray to the east crosses. An edge owns its southern end and not its
    /// northern one, so a ray through a corner crosses one edge or both or none, as it should.
    fn side(&self, point: GeoPoint) -> Side {
        let GeoPoint { lon, lat } = point;
        let [west, south, east, north] = self.bounds;
        if lon < west || lon > east || lat < south || lat > north {
            return Side::Outside;
        }
        let mut inside = false;
        for edge in self.points.windows(2) {
            let (a, b) = (edge[0], edge[1]);
            // Positive where the point lies left of the edge.
            let turn = (b.lon - a.lon) * (lat - a.lat) - (b.lat - a.lat) * (lon - a.lon);
            let beside = lat >= a.lat.min(b.lat) && lat <= a.lat.max(b.lat);
            if turn == 0.0 && beside && lon >= a.lon.min(b.lon) && lon <= a.lon.max(b.lon) {
                return Side::Edge;
            }
            if (a.lat > lat) != (b.lat > lat) && (turn > 0.0) == (b.lat > a.lat) {
                inside = !inside;
            }
        }
        if inside { Side::Inside } else { Side::Outside }
    }
}
