//! Names: of a shape and its parameters (`flat`, `hnsw32`), of a code (`rq4`), and of a whole
//! index, which composes a shape, a code and what measures again (`hnsw32,rq4,rerank8`).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{
    BITS_MAX, DIM_MAX, Family, Half, LISTS_MAX, M_MAX, M_MIN, Packing, Spill, TABLES_MAX,
    TREES_MAX, Width,
};

/// Links per node of a plain `hnsw`.
const M_DEFAULT: usize = 16;
/// Trees of a plain `forest`.
const TREES_DEFAULT: usize = 32;
/// Links of a plain `qg`, and what they are a multiple of.
const QG_LINKS: usize = kvant_kernels::BLOCK_ROWS;

/// Which shape to build. `Display` and `FromStr` are inverse to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spec {
    /// Every search measures every row.
    Flat,
    /// A graph; `m` links per node and level, twice that on level 0.
    Hnsw {
        /// [`M_MIN`]..=[`M_MAX`].
        m: usize,
    },
    /// Lists of rows near one another, of which some are scanned: `ivf1024`; with `x2` behind it
    /// each row lies in two lists.
    Ivf {
        /// 1..=[`LISTS_MAX`]; about `√n` where 0.
        lists: usize,
        /// Whether a row lies in two lists.
        spill: Spill,
    },
    /// Trees that halve the rows by planes, of which some leaves are scanned: `forest32`.
    Forest {
        /// 1..=[`TREES_MAX`].
        trees: usize,
    },
    /// Hash tables, of which some buckets are scanned: `lsh`, `lsh16x12` with tables and bits of a
    /// key; `lshcp`, `lshcp16x14` where keys are made of cross-polytopes.
    Lsh {
        /// What a key is made of.
        family: Family,
        /// 1..=[`TABLES_MAX`]; 16 where 0.
        tables: usize,
        /// 1..=[`BITS_MAX`]; by the number of rows where 0.
        bits: usize,
    },
    /// A graph with codes of neighbours beside each row: `qg`, `qg64` with links per row on the
    /// lowest level. Large, and no faster than a graph over bytes.
    Qg {
        /// A multiple of 32, at most 2 · [`M_MAX`].
        links: usize,
    },
}

impl Default for Spec {
    /// `hnsw` with 16 links per node.
    fn default() -> Self {
        Self::Hnsw { m: M_DEFAULT }
    }
}

/// A text that names no shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// No shape of this name.
    #[error(
        "unknown index '{0}': use flat, hnsw or hnsw with links per node, as hnsw32, ivf or ivf \
             with lists, as ivf1024, ivf1024x2, forest or forest with trees, as forest32, lsh or \
             lshcp or those with tables and bits, as lsh16x12, qg or qg with links, as qg64"
    )]
    Unknown(String),
    /// A number of links that is not supported.
    #[error("index '{0}': links per node must be {M_MIN} to {M_MAX}")]
    Links(String),
    /// A number of lists that is not supported.
    #[error("index '{0}': there can be 1 to {LISTS_MAX} lists")]
    Lists(String),
    /// A number of trees, tables or bits that is not supported.
    #[error(
        "index '{0}': there can be 1 to {TREES_MAX} trees, 1 to {TABLES_MAX} tables, 1 to \
             {BITS_MAX} bits"
    )]
    Cuts(String),
    /// Links per row that do not fill blocks.
    #[error("index '{0}': links per row must be a multiple of 32, at most 256")]
    Blocks(String),
    /// No code of this name.
    #[error(
        "unknown code '{0}': use f32, f16, bf16, int8, rq1 to rq8, sign, bound2, bound4, pq or \
             opq, or so with parts, as pq192"
    )]
    Code(String),
    /// Nothing that measures again has this name.
    #[error(
        "unknown rerank '{0}': use rerank8, rerank16, rerank32, or so with 1 to {FACTOR_MAX} \
             candidates per row, as rerank8x4"
    )]
    Rerank(String),
    /// More parts than an index has.
    #[error("index '{0}': use shape, shape,code or shape,code,rerank, as hnsw32,rq4,rerank8")]
    Parts(String),
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat => f.write_str("flat"),
            Self::Hnsw { m: M_DEFAULT } => f.write_str("hnsw"),
            Self::Hnsw { m } => write!(f, "hnsw{m}"),
            Self::Ivf { lists, spill } => {
                f.write_str("ivf")?;
                if *lists > 0 {
                    lists.fmt(f)?;
                }
                f.write_str(if *spill == Spill::Two { "x2" } else { "" })
            }
            Self::Qg { links: QG_LINKS } => f.write_str("qg"),
            Self::Qg { links } => write!(f, "qg{links}"),
            Self::Forest { trees: TREES_DEFAULT } => f.write_str("forest"),
            Self::Forest { trees } => write!(f, "forest{trees}"),
            Self::Lsh { family, tables, bits } => {
                f.write_str(if *family == Family::Polytopes { "lshcp" } else { "lsh" })?;
                if *tables > 0 { write!(f, "{tables}x{bits}") } else { Ok(()) }
            }
        }
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text == "flat" {
            return Ok(Self::Flat);
        }
        if let Some(rest) = text.strip_prefix("ivf") {
            return ivf(rest).unwrap_or_else(|| Err(SpecError::Unknown(shown(text))));
        }
        if let Some(rest) = text.strip_prefix("forest") {
            let trees = if rest.is_empty() { Some(TREES_DEFAULT) } else { number(rest, TREES_MAX) };
            let spec = trees.map(|trees| Self::Forest { trees });
            return named(text, rest, spec.ok_or_else(|| SpecError::Cuts(shown(text))));
        }
        if let Some(rest) = text.strip_prefix("lsh") {
            return lsh(text, rest);
        }
        if let Some(rest) = text.strip_prefix("qg") {
            let links = if rest.is_empty() { Some(QG_LINKS) } else { number(rest, 2 * M_MAX) };
            let links = links.filter(|links| links.is_multiple_of(QG_LINKS));
            let spec = links.map(|links| Self::Qg { links });
            return named(text, rest, spec.ok_or_else(|| SpecError::Blocks(shown(text))));
        }
        let links = text.strip_prefix("hnsw").ok_or_else(|| SpecError::Unknown(shown(text)))?;
        if links.is_empty() {
            return Ok(Self::default());
        }
        if !links.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SpecError::Unknown(shown(text)));
        }
        let m = links.parse().ok().filter(|m| (M_MIN..=M_MAX).contains(m));
        m.map(|m| Self::Hnsw { m }).ok_or_else(|| SpecError::Links(shown(text)))
    }
}

/// What follows `ivf`; `None` if that is neither numbers nor `x2`.
fn ivf(rest: &str) -> Option<Result<Spec, SpecError>> {
    let (digits, spill) = match rest.strip_suffix("x2") {
        Some(digits) => (digits, Spill::Two),
        None => (rest, Spill::One),
    };
    if digits.is_empty() {
        return Some(Ok(Spec::Ivf { lists: 0, spill }));
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let lists = digits.parse().ok().filter(|lists| (1..=LISTS_MAX).contains(lists));
    let spec = lists.map(|lists| Spec::Ivf { lists, spill });
    Some(spec.ok_or_else(|| SpecError::Lists(format!("ivf{}", shown(rest)))))
}

/// What follows `lsh`.
fn lsh(text: &str, rest: &str) -> Result<Spec, SpecError> {
    let (family, rest) = match rest.strip_prefix("cp") {
        Some(rest) => (Family::Polytopes, rest),
        None => (Family::Planes, rest),
    };
    if rest.is_empty() {
        return Ok(Spec::Lsh { family, tables: 0, bits: 0 });
    }
    let (tables, bits) = rest.split_once('x').ok_or_else(|| SpecError::Unknown(shown(text)))?;
    let numbers = number(tables, TABLES_MAX).zip(number(bits, BITS_MAX));
    let spec = numbers.map(|(tables, bits)| Spec::Lsh { family, tables, bits });
    named(text, &[tables, bits].concat(), spec.ok_or_else(|| SpecError::Cuts(shown(text))))
}

/// A number of 1 to `most`.
fn number(digits: &str, most: usize) -> Option<usize> {
    digits.parse().ok().filter(|number| (1..=most).contains(number))
}

/// What was made of `digits`, or what is wrong with them.
fn named(text: &str, digits: &str, spec: Result<Spec, SpecError>) -> Result<Spec, SpecError> {
    let digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if digits { spec } else { Err(SpecError::Unknown(shown(text))) }
}

/// What a row is held as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CodeSpec {
    /// As it came: `f32`.
    #[default]
    Float,
    /// 16-bit floats: `f16`, `bf16`.
    Half(Half),
    /// Bytes: `int8`.
    Int8,
    /// Rotated codes of few bits: `rq1` to `rq8`.
    Rotated(Width),
    /// Signs alone: `sign`.
    Sign,
    /// The rows as they came, with codes of few bits that bound distances, so that searches of
    /// every row need not read it: `bound2`, `bound4`.
    Bound(Packing),
    /// 4 bits for each of some parts of a row, scanned 32 rows at a time: `pq`, `pq96`.
    Product {
        /// At most the dimension; one for two dimensions where 0.
        parts: usize,
    },
    /// The same along learnt axes: `opq`, `opq96`.
    Opq {
        /// As those of [`Product`](Self::Product).
        parts: usize,
    },
}

impl CodeSpec {
    /// Candidates per row wanted when something better measures again.
    pub(crate) fn factor(self) -> usize {
        match self {
            Self::Rotated(Width::One) | Self::Sign => 10,
            Self::Rotated(Width::Two) | Self::Product { .. } | Self::Opq { .. } => 4,
            Self::Rotated(Width::Three | Width::Four) => 3,
            Self::Float
            | Self::Half(_)
            | Self::Int8
            | Self::Rotated(Width::Five | Width::Six | Width::Seven | Width::Eight)
            | Self::Bound(_) => 2,
        }
    }
}

impl fmt::Display for CodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float => f.write_str("f32"),
            Self::Half(Half::F16) => f.write_str("f16"),
            Self::Half(Half::Bf16) => f.write_str("bf16"),
            Self::Int8 => f.write_str("int8"),
            Self::Rotated(width) => write!(f, "rq{}", width.bits()),
            Self::Sign => f.write_str("sign"),
            Self::Bound(packing) => write!(f, "bound{}", packing.bits()),
            Self::Product { parts: 0 } => f.write_str("pq"),
            Self::Product { parts } => write!(f, "pq{parts}"),
            Self::Opq { parts: 0 } => f.write_str("opq"),
            Self::Opq { parts } => write!(f, "opq{parts}"),
        }
    }
}

impl FromStr for CodeSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (learnt, name) = match text.strip_prefix('o') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let digits = name.strip_prefix("pq").filter(|digits| !digits.starts_with('+'));
        let parts = digits.and_then(|digits| digits.parse().ok());
        if let Some(parts) = parts.filter(|parts| (1..=DIM_MAX).contains(parts)) {
            return Ok(if learnt { Self::Opq { parts } } else { Self::Product { parts } });
        }
        let same = |code: &Self| code.to_string() == text;
        crate::AnyRows::CODES.into_iter().find(same).ok_or_else(|| SpecError::Code(shown(text)))
    }
}

/// What measures the candidates of a code again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RerankSpec {
    /// 8 bits a dimension, by the code that loses least: `rerank8`.
    Eight,
    /// f16: `rerank16`.
    Sixteen,
    /// The rows as they came: `rerank32`.
    Float,
}

impl RerankSpec {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Eight, Self::Sixteen, Self::Float];
}

impl fmt::Display for RerankSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eight => "rerank8",
            Self::Sixteen => "rerank16",
            Self::Float => "rerank32",
        })
    }
}

/// Most candidates per row wanted.
const FACTOR_MAX: usize = 1000;

/// A whole index: `shape[,code[,rerank[x candidates per row]]]`. `Display` and `FromStr` are
/// inverse to one another; a part of its default value is not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IndexSpec {
    /// Which rows to look at.
    pub shape: Spec,
    /// What a row is.
    pub code: CodeSpec,
    /// What measures again, and how many candidates per row wanted.
    pub rerank: Option<(RerankSpec, usize)>,
}

impl IndexSpec {
    /// Whether the rows of the code lie in blocks, which shapes scan. Graphs measure single rows:
    /// under them only what has no other layout does.
    pub(crate) fn in_blocks(&self) -> bool {
        match self.code {
            CodeSpec::Product { .. } | CodeSpec::Opq { .. } => true,
            CodeSpec::Rotated(Width::One) => !matches!(self.shape, Spec::Hnsw { .. }),
            CodeSpec::Float
            | CodeSpec::Half(_)
            | CodeSpec::Int8
            | CodeSpec::Rotated(_)
            | CodeSpec::Sign
            | CodeSpec::Bound(_) => false,
        }
    }

    /// Rows that share a block.
    pub(crate) fn block(&self) -> usize {
        if self.in_blocks() { kvant_kernels::BLOCK_ROWS } else { 1 }
    }

    /// Whether searches read the rows as they came, beside what codes there are.
    pub fn searches_floats(&self) -> bool {
        matches!(self.code, CodeSpec::Float | CodeSpec::Bound(_))
    }
}

impl fmt::Display for IndexSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shape.fmt(f)?;
        if self.code != CodeSpec::Float || self.rerank.is_some() {
            write!(f, ",{}", self.code)?;
        }
        match self.rerank {
            None => Ok(()),
            Some((rerank, factor)) if factor == self.code.factor() => write!(f, ",{rerank}"),
            Some((rerank, factor)) => write!(f, ",{rerank}x{factor}"),
        }
    }
}

impl FromStr for IndexSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = text.split(',');
        let shape = parts.next().unwrap_or_default().parse()?;
        let code: CodeSpec = parts.next().map_or(Ok(CodeSpec::Float), str::parse)?;
        let rerank = parts.next().map(|part| rerank(part, code)).transpose()?;
        match parts.next() {
            None => Ok(Self { shape, code, rerank }),
            Some(_) => Err(SpecError::Parts(shown(text))),
        }
    }
}

fn rerank(text: &str, code: CodeSpec) -> Result<(RerankSpec, usize), SpecError> {
    let (name, factor) = match text.split_once('x') {
        None => (text, Some(code.factor())),
        Some((name, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, digits.parse().ok().filter(|factor| (1..=FACTOR_MAX).contains(factor)))
        }
        Some((name, _)) => (name, None),
    };
    let known = RerankSpec::ALL.into_iter().find(|rerank| rerank.to_string() == name);
    known.zip(factor).ok_or_else(|| SpecError::Rerank(shown(text)))
}

/// Enough of a text to recognise it.
fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        let lists = ["ivf", "ivf1", "ivf1024", "ivfx2", "ivf64x2", "forest", "forest1"];
        let lists =
            lists.into_iter().chain(["lsh", "lsh16x12", "lshcp", "lshcp1x24", "qg", "qg64"]);
        for text in ["flat", "hnsw", "hnsw4", "hnsw32", "hnsw128"].into_iter().chain(lists) {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
        assert_eq!("hnsw16".parse(), Ok(Spec::default()));
        assert_eq!("forest32".parse(), "forest".parse::<Spec>());
    }

    #[test]
    fn refusals_say_what_exists() {
        for text in ["", "Flat", "ivf-8", "ivfx3", "ivf8x", "hnsw-8", "hnsw+8", "hnsw16,flat"] {
            assert!(matches!(text.parse::<Spec>(), Err(SpecError::Unknown(_))), "{text}");
        }
        for text in ["forest-1", "forests", "lsh8", "lsh+8x4", "lsh8xx4", "lshcp8"] {
            assert!(matches!(text.parse::<Spec>(), Err(SpecError::Unknown(_))), "{text}");
        }
        for text in ["qg0", "qg33", "qg288", "qg99999999999999999999"] {
            let error = text.parse::<Spec>().unwrap_err();
            assert!(error.to_string().contains("multiple of 32"), "{text}: {error}");
        }
        for text in ["forest0", "forest1025", "lshx", "lsh0x8", "lsh8x0", "lsh257x8", "lshcp8x25"] {
            let error = text.parse::<Spec>().unwrap_err();
            assert!(error.to_string().contains("1 to 1024 trees"), "{text}: {error}");
        }
        for text in ["hnsw0", "hnsw3", "hnsw129", "hnsw99999999999999999999999"] {
            let error = text.parse::<Spec>().unwrap_err();
            assert!(error.to_string().contains("4 to 128"), "{error}");
        }
    }

    #[test]
    fn lists_and_parts_have_limits() {
        for text in ["ivf0", "ivf1048577", "ivf99999999999999999999999x2"] {
            let error = text.parse::<Spec>().unwrap_err();
            assert!(error.to_string().contains("1 to 1048576 lists"), "{error}");
        }
        for text in ["pq0", "pq65536", "pq-1", "pqx", "opq0", "opq+1", "ooopq", "orq4"] {
            let error = text.parse::<CodeSpec>().unwrap_err();
            assert!(error.to_string().contains("as pq192"), "{error}");
        }
    }

    #[test]
    fn whole_indexes_round_trip() {
        let texts = [
            "flat",
            "hnsw32,rq4",
            "flat,int8",
            "hnsw,rq4,rerank8",
            "flat,f32,rerank16",
            "ivf,pq",
            "ivf64x2,pq48,rerank32",
            "flat,opq",
            "ivf,opq96,rerank8x2",
            "hnsw,rq3,rerank8",
            "hnsw,rq5",
            "flat,rq6",
            "flat,rq7",
        ];
        for text in texts.into_iter().chain(["hnsw,rq1,rerank32x50", "flat,sign,rerank8x1"]) {
            assert_eq!(text.parse::<IndexSpec>().unwrap().to_string(), text);
        }
        let same = "flat,rq4,rerank8x3".parse::<IndexSpec>().unwrap();
        assert_eq!(same.to_string(), "flat,rq4,rerank8");
        assert_eq!("hnsw16,f32".parse(), Ok(IndexSpec::default()));
    }

    #[test]
    fn refusals_of_parts_say_what_exists() {
        for text in ["flat,", "flat,rq9", "flat,RQ4", "hnsw,rerank8"] {
            let error = text.parse::<IndexSpec>().unwrap_err();
            assert!(error.to_string().contains("use f32, f16, bf16, int8, rq1"), "{error}");
        }
        for part in ["rerank", "rerank8x0", "rerank8x1001", "rerank8x+4", "rerank4", "x8"] {
            let error = format!("flat,rq1,{part}").parse::<IndexSpec>().unwrap_err();
            assert!(error.to_string().contains("use rerank8, rerank16, rerank32"), "{error}");
        }
        let error = "flat,rq1,rerank8,rq4".parse::<IndexSpec>().unwrap_err();
        assert!(matches!(error, SpecError::Parts(_)), "{error}");
    }
}
