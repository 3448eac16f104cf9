//! Schemes as text.

use std::fmt;
use std::str::FromStr;

use super::{BLOCK4, BOOKS, GROUP};
use crate::{Books, Filling, Float4, Scheme, SchemeError, Span};

const KNOWN: &str = "int8, linear2 to linear8, sym2 to sym8, affine2 to affine8, kmeans2 to \
                     kmeans8, quantile2 to quantile8, nf4, nf4dq, fp4, fp4dq, q4_0, q4_1, q5_0, \
                     q5_1, q8_0, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs; behind int8 and \
                     linearN to quantileN may stand :tensor, :channel or :g and the weights of a \
                     group, as linear4:g64, behind kmeansN and quantileN also :book and a group \
                     with a codebook of its own, behind nf4 and fp4 only :g";

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spanned = |name: &str, bits: u8, span: Span| match span {
            GROUP => format!("{name}{bits}"),
            Span::Tensor | Span::Channel | Span::Group(_) => format!("{name}{bits}:{span}"),
        };
        f.pad(&match *self {
            Self::Int8 => "int8".to_owned(),
            Self::Linear { bits, span } => spanned("linear", bits, span),
            Self::Sym { bits, span } => spanned("sym", bits, span),
            Self::Affine { bits, span } => spanned("affine", bits, span),
            Self::Float4 { format, block, double } => {
                let name = match format {
                    Float4::Nf4 => "nf4",
                    Float4::Fp4 => "fp4",
                };
                let double = if double { "dq" } else { "" };
                let block = if block == BLOCK4 { String::new() } else { format!(":g{block}") };
                format!("{name}{double}{block}")
            }
            Self::Codebook { filling, bits, books } => {
                let name = match filling {
                    Filling::Kmeans => "kmeans",
                    Filling::Quantile => "quantile",
                };
                match books {
                    BOOKS => format!("{name}{bits}"),
                    Books::Group(len) => format!("{name}{bits}:book{len}"),
                    Books::Tensor | Books::Row | Books::Scaled(_) => {
                        format!("{name}{bits}:{}", books.span())
                    }
                }
            }
            Self::Block(format) => format.to_string(),
        })
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        parse(text).ok_or_else(|| SchemeError { name: text.to_owned(), known: KNOWN })
    }
}

fn parse(text: &str) -> Option<Scheme> {
    if let Some(scheme) = codebook(text) {
        return Some(scheme);
    }
    let (name, span) = match text.split_once(':') {
        Some((name, span)) => (name, Some(span.parse::<Span>().ok()?)),
        None => (text, None),
    };
    if name == "int8" {
        return Some(match span {
            None | Some(Span::Channel) => Scheme::Int8,
            Some(span) => Scheme::Sym { bits: 8, span },
        });
    }
    if let Some((format, double)) = float4(name) {
        let block = match span {
            None => BLOCK4,
            Some(Span::Group(block)) => block,
            Some(Span::Tensor | Span::Channel) => return None,
        };
        return Some(Scheme::Float4 { format, block, double });
    }
    if let (Ok(format), None) = (name.parse(), span) {
        return Some(Scheme::Block(format));
    }
    let span = span.unwrap_or(GROUP);
    let bits = |family| name.strip_prefix(family).and_then(digit);
    bits("linear")
        .map(|bits| Scheme::Linear { bits, span })
        .or_else(|| bits("sym").map(|bits| Scheme::Sym { bits, span }))
        .or_else(|| bits("affine").map(|bits| Scheme::Affine { bits, span }))
}

/// `kmeansN` and `quantileN` with what may stand behind them.
fn codebook(text: &str) -> Option<Scheme> {
    let (name, behind) = text.split_once(':').map_or((text, None), |(n, b)| (n, Some(b)));
    let bits = |family| name.strip_prefix(family).and_then(digit);
    let (filling, bits) = bits("kmeans")
        .map(|bits| (Filling::Kmeans, bits))
        .or_else(|| bits("quantile").map(|bits| (Filling::Quantile, bits)))?;
    let books = match behind {
        None => BOOKS,
        Some(behind) => match behind.strip_prefix("book") {
            // The same numbers as behind a `g`.
            Some(len) => match format!("g{len}").parse().ok()? {
                Span::Group(len) => Books::Group(len),
                Span::Tensor | Span::Channel => return None,
            },
            None => match behind.parse().ok()? {
                Span::Tensor => Books::Tensor,
                Span::Channel => Books::Row,
                Span::Group(len) => Books::Scaled(len),
            },
        },
    };
    Some(Scheme::Codebook { filling, bits, books })
}

fn float4(name: &str) -> Option<(Float4, bool)> {
    Some(match name {
        "nf4" => (Float4::Nf4, false),
        "nf4dq" => (Float4::Nf4, true),
        "fp4" => (Float4::Fp4, false),
        "fp4dq" => (Float4::Fp4, true),
        _ => return None,
    })
}

/// A number of bits, 2 to 8, as one digit.
fn digit(text: &str) -> Option<u8> {
    let &[digit @ b'2'..=b'8'] = text.as_bytes() else { return None };
    Some(digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.to_string().parse::<Scheme>(), Ok(scheme));
        }
        for bits in 2..=8 {
            for span in [Span::Tensor, Span::Channel, Span::Group(1), Span::Group(77)] {
                let schemes = [
                    Scheme::Linear { bits, span },
                    Scheme::Sym { bits, span },
                    Scheme::Affine { bits, span },
                ];
                for scheme in schemes {
                    assert_eq!(scheme.to_string().parse::<Scheme>(), Ok(scheme));
                }
            }
        }
        for name in [
            "nf4:g128",
            "nf4dq:g256",
            "fp4:g32",
            "fp4dq",
            "kmeans3:tensor",
            "kmeans4:book64",
            "quantile4:channel",
            "quantile8:g7",
        ] {
            assert_eq!(name.parse::<Scheme>().unwrap().to_string(), name);
        }
        assert_eq!("int8:channel".parse(), Ok(Scheme::Int8));
    }

    #[test]
    fn other_names_are_refused_with_the_list() {
        let wrong = [
            "",
            "INT8",
            "linear",
            "linear1",
            "linear9",
            "linear04",
            " int8",
            "linear4:",
            "q4_0:g32",
            "linear4:g0",
            "linear4:g",
            "linear4:row",
            "linear4:g-1",
            "linear4:g99999999999999999999",
            "nf4:channel",
            "kmeans4:book",
            "kmeans4:book0",
            "kmeans9",
            "quantile4:bookg3",
            "linear4:book32",
            "nf4dqdq",
            "nf3",
        ];
        for name in wrong {
            let error = name.parse::<Scheme>().unwrap_err();
            assert_eq!((error.name.as_str(), error.known), (name, KNOWN));
        }
    }
}
