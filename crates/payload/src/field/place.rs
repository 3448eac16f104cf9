//! Places in Morton order (Morton 1966): bits of longitude and latitude take turns, so that an area
//! is a few spans of the order. What lies in the spans is held against the area itself.

use super::FieldError;
use super::part::Part;
use super::posting::Gather;
use crate::{EARTH_RADIUS, GeoBox, GeoCircle, GeoPoint, GeoPolygon};
use std::f64::consts::FRAC_PI_2;
use std::ops::Range;

/// Most spans an area is cut into: more of them hold fewer places outside, but cost a search each.
const SPANS_MAX: usize = 48;
/// Degrees an area is widened by before it is cut: far more than distances are rounded by, about
/// a metre.
const MARGIN: f64 = 1e-5;

/// An area of the Earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Area<'a> {
    /// Between meridians and parallels.
    Box(&'a GeoBox),
    /// Around a place.
    Circle(&'a GeoCircle),
    /// Within a ring.
    Polygon(&'a GeoPolygon),
}

/// West, south, east, north in degrees.
type Bounds = [f64; 4];

const EARTH: Bounds = [-180.0, -90.0, 180.0, 90.0];

impl Area<'_> {
    pub(super) fn contains(&self, point: GeoPoint) -> bool {
        match self {
            Self::Box(area) => area.contains(point),
            Self::Circle(area) => area.contains(point),
            Self::Polygon(area) => area.contains(point),
        }
    }

    /// Boxes that hold all of the area, edges included: two where it reaches across 180°.
    fn bounds(&self) -> [Option<Bounds>; 2] {
        let around = |west: f64, south: f64, east: f64, north: f64| {
            if west > east {
                return [Some([west, south, 180.0, north]), Some([-180.0, south, east, north])];
            }
            [Some([west, south, east, north]), None]
        };
        match self {
            Self::Box(area) => {
                let (from, to) = (area.top_left, area.bottom_right);
                around(from.lon(), to.lat(), to.lon(), from.lat())
            }
            Self::Polygon(area) => [Some(area.exterior.bounds()), None],
            Self::Circle(area) => {
                let (lon, lat) = (area.center().lon(), area.center().lat());
                let angle = area.radius().max(0.0) / EARTH_RADIUS;
                let reach = angle.to_degrees() + MARGIN;
                let (south, north) = (lat - reach, lat + reach);
                if angle >= FRAC_PI_2 || south <= -90.0 || north >= 90.0 {
                    // It holds a pole, or half of the Earth: all meridians.
                    return [Some([-180.0, south.max(-90.0), 180.0, north.min(90.0)]), None];
                }
                // Where meridians touch the circle.
                let wide = (angle.sin() / lat.to_radians().cos()).min(1.0).asin().to_degrees();
                let (west, east) = (lon - wide - MARGIN, lon + wide + MARGIN);
                if east - west >= 360.0 {
                    return [Some([-180.0, south, 180.0, north]), None];
                }
                let turn = |lon: f64| match lon {
                    lon if lon < -180.0 => lon + 360.0,
                    lon if lon > 180.0 => lon - 360.0,
                    lon => lon,
                };
                around(turn(west), south, turn(east), north)
            }
        }
    }
}

/// How far `degrees` is between `least` and `most`, in 2^32 steps.
fn step(degrees: f64, [least, most]: [f64; 2]) -> u32 {
    // Beyond either end a cast saturates.
    ((degrees - least) / (most - least) * 2f64.powi(32)) as u32
}

/// The bits of `number` with a zero before each.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

fn code(lon: f64, lat: f64) -> u64 {
    let [west, south, east, north] = EARTH;
    spread(step(lon, [west, east])) << 1 | spread(step(lat, [south, north]))
}

/// `places` in Morton order as two sections, without repetitions.
pub(super) fn write(places: &mut Vec<(GeoPoint, u32)>) -> (Vec<u8>, Vec<u8>) {
    let key = |(point, row): &(GeoPoint, u32)| {
        let (lon, lat) = (point.lon(), point.lat());
        (code(lon, lat), *row, lon.to_bits(), lat.to_bits())
    };
    places.sort_by_cached_key(key);
    places.dedup();
    let mut points = Vec::with_capacity(places.len() * 16);
    let mut rows = Vec::with_capacity(places.len() * 4);
    for (point, row) in places {
        points.extend_from_slice(&point.lon().to_le_bytes());
        points.extend_from_slice(&point.lat().to_le_bytes());
        rows.extend_from_slice(&row.to_le_bytes());
    }
    (points, rows)
}

/// Places with their rows in Morton order.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) points: Part,
    pub(super) rows: Part,
    /// All rows are below.
    pub(super) limit: u32,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.rows.len() / 4
    }

    fn point(&self, at: usize) -> Result<GeoPoint, FieldError> {
        let [lon, lat] = halves(self.points.fixed(at)?);
        GeoPoint::new(lon, lat).map_err(|_| self.points.damaged())
    }

    /// Adds the rows of places within `area` to `gather`.
    pub(super) fn gather(&self, area: Area<'_>, gather: &mut Gather) -> Result<(), FieldError> {
        for at in self.spans(area).into_iter().flatten() {
            if area.contains(self.point(at)?) {
                let row = self.rows.u32(at)?;
                if row >= self.limit {
                    return Err(self.rows.damaged());
                }
                gather.add(row);
            }
        }
        Ok(())
    }

    /// How many places lie in the spans of `area`.
    pub(super) fn candidates(&self, area: Area<'_>) -> u64 {
        self.spans(area).iter().map(|span| span.len() as u64).sum()
    }

    /// Spans of the order that hold all places of `area`, ascending and disjoint.
    fn spans(&self, area: Area<'_>) -> Vec<Range<usize>> {
        let boxes: Vec<Cells> =
            area.bounds().iter().flatten().filter_map(|bounds| Cells::within(*bounds)).collect();
        let mut codes: Vec<(u64, u64)> = boxes.iter().flat_map(Cells::cover).collect();
        codes.sort_unstable();
        let mut spans: Vec<Range<usize>> = Vec::with_capacity(codes.len());
        for (first, last) in codes {
            let end = |before: &dyn Fn(u64) -> bool| {
                self.points.partition(self.len(), |point| {
                    let [lon, lat] = halves(point);
                    before(code(lon, lat))
                })
            };
            let (from, to) = (end(&|code| code < first), end(&|code| code <= last));
            let from = spans.last().map_or(from, |span| from.max(span.end));
            if from < to {
                spans.push(from..to);
            }
        }
        spans
    }
}

fn halves(bytes: [u8; 16]) -> [f64; 2] {
    let bits = u128::from_le_bytes(bytes);
    [f64::from_bits(bits as u64), f64::from_bits((bits >> 64) as u64)]
}

/// A box in steps, edges included.
#[derive(Clone, Copy, Debug)]
struct Cells {
    x: [u32; 2],
    y: [u32; 2],
}

impl Cells {
    fn within([west, south, east, north]: Bounds) -> Option<Self> {
        let x = [west - MARGIN, east + MARGIN].map(|lon| step(lon, [EARTH[0], EARTH[2]]));
        let y = [south - MARGIN, north + MARGIN].map(|lat| step(lat, [EARTH[1], EARTH[3]]));
        (west <= east && south <= north).then_some(Self { x, y })
    }

    /// First and last codes of cells that cover the box: cells are quartered, the largest first,
    /// as long as there may be more of them.
    fn cover(&self) -> Vec<(u64, u64)> {
        let mut done = Vec::new();
        let mut open = std::collections::VecDeque::from([(0u32, 0u32, 32u32)]);
        while let Some((x, y, bits)) = open.pop_front() {
            let size = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
            let (right, top) = (x | size, y | size);
            if x > self.x[1] || right < self.x[0] || y > self.y[1] || top < self.y[0] {
                continue;
            }
            let inside = x >= self.x[0] && right <= self.x[1] && y >= self.y[0] && top <= self.y[1];
            if inside || bits == 0 || done.len() + open.len() >= SPANS_MAX {
                let first = spread(x) << 1 | spread(y);
                done.push((first, spread(right) << 1 | spread(top)));
                continue;
            }
            let half = 1 << (bits - 1);
            open.extend(
                [(x, y), (x | half, y), (x, y | half), (x | half, y | half)]
                    .map(|(x, y)| (x, y, bits - 1)),
            );
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_interleave_and_cover_what_they_must() {
        assert_eq!(spread(u32::MAX), 0x5555_5555_5555_5555);
        assert_eq!(code(-180.0, -90.0), 0);
        assert_eq!(code(180.0, 90.0), u64::MAX);
        assert_eq!(code(180.0, -90.0), 0xaaaa_aaaa_aaaa_aaaa);
        let cells = Cells::within([13.0, 52.0, 13.5, 52.6]).unwrap();
        let codes = cells.cover();
        assert!(codes.len() <= SPANS_MAX + 4, "{}", codes.len());
        for (lon, lat) in [(13.0, 52.0), (13.5, 52.6), (13.2, 52.3)] {
            let code = code(lon, lat);
            assert!(codes.iter().any(|(first, last)| (*first..=*last).contains(&code)));
        }
        let area: f64 = codes.iter().map(|(a, b)| (b - a) as f64 + 1.0).sum();
        let part = area / 2f64.powi(64);
        assert!(part < 4.0 * (0.5 * 0.6) / (360.0 * 180.0), "{part}");
        assert!(Cells::within([1.0, 0.0, 0.0, 1.0]).is_none());
    }
}
