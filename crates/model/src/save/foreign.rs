//! Directories in the layouts of other quantizers, for the programs that read those.

mod awq;
mod bitsandbytes;
mod compressed_tensors;
mod gptq;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use kvant_quant::{BlockFormat, CodeShape, Coded, ScaledMatrix, Scheme, Span, pack};
use serde_json::{Value, json};

use super::container::Piece;
use super::{HEADS, SaveError, SaveOptions, Stored};
use crate::activation::SMOOTH;
use crate::checkpoint::{CORRECTION, VERSION};

/// How coded weights lie in `model.safetensors`, and so which programs read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Container {
    /// `kvant`: every format, read by Kvant; models of `int8` alone are what
    /// [`Container::CompressedTensors`] writes.
    #[default]
    Kvant,
    /// `compressed-tensors`: integers of 2 to 8 bits, for transformers, vLLM and `SGLang`.
    CompressedTensors,
    /// `gptq`: integers of 2, 3, 4 and 8 bits in groups, for `GPTQModel`, transformers and vLLM;
    /// version 2 of the format where there are zero points.
    Gptq,
    /// `awq`: integers of 4 bits in groups, version `gemm`, for transformers and vLLM.
    Awq,
    /// `bnb`: `nf4` and `fp4`, for transformers with bitsandbytes.
    BitsAndBytes,
}

/// A name that is no container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no container is called {name:?}; there are kvant, compressed-tensors, gptq, awq, bnb")]
pub struct ContainerError {
    /// The name asked for.
    pub name: String,
}

impl Container {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Kvant, Self::CompressedTensors, Self::Gptq, Self::Awq, Self::BitsAndBytes];

    /// Whether weights of this scheme can be stored there without changing any. A matrix may
    /// still have a shape that the readers of a container do not take.
    pub fn holds(self, scheme: &Scheme) -> bool {
        let (bits, span) = match *scheme {
            Scheme::Sym { bits, span } | Scheme::Affine { bits, span } => (bits, span),
            Scheme::Int8 => (8, Span::Channel),
            Scheme::Block(BlockFormat::Q4_0) => (4, Span::Group(32)),
            Scheme::Block(BlockFormat::Q5_0) => (5, Span::Group(32)),
            Scheme::Block(BlockFormat::Q8_0) => (8, Span::Group(32)),
            Scheme::Float4 { block, .. } => {
                let known = bitsandbytes::BLOCKS.contains(&block);
                return self == Self::Kvant || self == Self::BitsAndBytes && known;
            }
            Scheme::Linear { .. } | Scheme::Codebook { .. } | Scheme::Block(_) => {
                return self == Self::Kvant;
            }
        };
        let group = matches!(span, Span::Group(_));
        match self {
            Self::Kvant | Self::CompressedTensors => true,
            Self::Gptq => group && [2, 3, 4, 8].contains(&bits),
            Self::Awq => group && bits == 4,
            Self::BitsAndBytes => false,
        }
    }

    /// Whether a GGUF file can store weights of this scheme without changing any.
    pub fn gguf_holds(scheme: &Scheme) -> bool {
        matches!(scheme, Scheme::Block(format) if *format != BlockFormat::MXFP4)
    }

    /// The formats it holds, in words.
    fn formats(self) -> &'static str {
        match self {
            Self::Kvant => "every format",
            Self::CompressedTensors => "int8, sym2 to sym8, affine2 to affine8, q4_0, q5_0, q8_0",
            Self::Gptq => "sym and affine of 2, 3, 4 and 8 bits in groups, q4_0, q8_0",
            Self::Awq => "sym4 and affine4 in groups, q4_0",
            Self::BitsAndBytes => "nf4, nf4dq, fp4, fp4dq in blocks of 64 to 4096",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kvant => "kvant",
            Self::CompressedTensors => "compressed-tensors",
            Self::Gptq => "gptq",
            Self::Awq => "awq",
            Self::BitsAndBytes => "bnb",
        })
    }
}

impl FromStr for Container {
    type Err = ContainerError;

    fn from_str(text: &str) -> Result<Self, ContainerError> {
        let known = Self::ALL.into_iter().find(|container| container.to_string() == text);
        known.ok_or_else(|| ContainerError { name: text.to_owned() })
    }
}

/// The parts of the coded tensor `name` among `all` of a model.
pub(super) fn pieces<'a>(
    name: &str,
    coded: &'a Coded,
    container: Container,
    all: &[(&str, Stored<'_>)],
) -> Result<Vec<Piece<'a>>, SaveError> {
    check(name, coded, container)?;
    if container == Container::BitsAndBytes {
        return bitsandbytes::pieces(name, coded);
    }
    let Some(matrix) = scaled(coded) else { return Err(alien(name, coded, container)) };
    match container {
        Container::Gptq => gptq::pieces(name, &matrix, gptq::version(all)),
        Container::Awq => awq::pieces(name, &matrix),
        Container::Kvant | Container::CompressedTensors | Container::BitsAndBytes => {
            compressed_tensors::pieces(name, &matrix, compressed_tensors::layout(all))
        }
    }
}

/// The `quantization_config` of a model with these tensors.
pub(super) fn describe(
    stored: &[(&str, Stored<'_>)],
    options: SaveOptions,
) -> Result<Value, SaveError> {
    let mut coded = Vec::new();
    for (name, stored) in stored {
        let addition = [SMOOTH].iter().chain(&CORRECTION).find(|part| name.ends_with(*part));
        if addition.is_some() {
            let why =
                format!("is an addition to a layer that {} has no place for", options.container);
            return Err(unfit(name, format!("{why}: compress without it, or as kvant")));
        }
        stored.refuse_viewed(name, &options.container)?;
        if let Stored::Coded(matrix) = stored {
            check(name, matrix, options.container)?;
            coded.push((*name, matrix.as_ref()));
        }
    }
    let kept = kept(stored);
    let mut config = match options.container {
        Container::Gptq => gptq::describe(&coded, &kept, gptq::version(stored)),
        Container::Awq => awq::describe(&coded, &kept)?,
        Container::BitsAndBytes => bitsandbytes::describe(&coded, &kept),
        Container::Kvant | Container::CompressedTensors => {
            let layout = compressed_tensors::layout(stored);
            compressed_tensors::describe(&coded, stored, (layout, options.activations))
        }
    };
    if let Some(activations) = options.activations {
        let own = json!({ "version": VERSION, "activations": activations.to_string() });
        config["kvant"] = own;
    }
    Ok(config)
}

/// The linear layers that stay in floating point, by the names of their modules.
fn kept<'a>(stored: &[(&'a str, Stored<'_>)]) -> Vec<&'a str> {
    let kept = stored.iter().filter(|(name, stored)| {
        let matrix = !matches!(stored, Stored::Coded(_)) && stored.shape().len() == 2;
        matrix && !is_table(name)
    });
    kept.filter_map(|(name, _)| name.strip_suffix(".weight")).collect()
}

/// Whether a tensor is a table of embeddings and no linear layer.
fn is_table(name: &str) -> bool {
    name.contains("embed")
}

/// Refuses what no reader of the container would take.
fn check(name: &str, coded: &Coded, container: Container) -> Result<(), SaveError> {
    if !container.holds(&coded.scheme()) {
        return Err(alien(name, coded, container));
    }
    if !name.ends_with(".weight") {
        return Err(unfit(
            name,
            format!("is no weight of a layer, and {container} holds no other"),
        ));
    }
    let layers = matches!(container, Container::Gptq | Container::Awq | Container::BitsAndBytes);
    if layers && (is_table(name) || HEADS.contains(&name)) {
        let what = if is_table(name) { "a table of embeddings" } else { "the head" };
        let why = format!("is {what}, which readers of {container} expect in floating point");
        return Err(unfit(name, format!("{why}: leave it out, or use compressed-tensors")));
    }
    Ok(())
}

fn alien(name: &str, coded: &Coded, container: Container) -> SaveError {
    let (format, holds) = (coded.format(), container.formats());
    unfit(name, format!("is {format}, which {container} cannot hold exactly: it holds {holds}"))
}

fn unfit(name: &str, why: String) -> SaveError {
    SaveError::Unfit { name: crate::checkpoint::printable(name), why }
}

/// Bits and span of the blocks that are integers around zero.
fn integers(format: BlockFormat) -> Option<(u8, Span)> {
    let known = [(BlockFormat::Q4_0, 4), (BlockFormat::Q5_0, 5), (BlockFormat::Q8_0, 8)];
    let bits = known.iter().find(|(known, _)| *known == format).map(|(_, bits)| *bits);
    bits.map(|bits| (bits, Span::Group(32)))
}

/// The same weights as integers with a scale and a zero point per span, if that is what they are.
fn scaled(coded: &Coded) -> Option<Cow<'_, ScaledMatrix>> {
    let (bits, span) = match coded {
        Coded::Scaled(matrix) => return Some(Cow::Borrowed(matrix)),
        Coded::Int8(matrix) => {
            let shape = CodeShape {
                rows: matrix.rows(),
                cols: matrix.cols(),
                bits: 8,
                span: Span::Channel,
            };
            let codes = matrix.codes().iter().map(|code| code.cast_unsigned() ^ 0x80).collect();
            let matrix = ScaledMatrix::from_parts(shape, codes, matrix.scales().to_vec(), None);
            return matrix.ok().map(Cow::Owned);
        }
        Coded::Block(matrix) => integers(matrix.format())?,
        Coded::Linear(_) | Coded::Float4(_) | Coded::Codebook(_) => return None,
    };
    let (grid, mut codes) = (coded.grid(), coded.codes());
    let zero = grid.zeros.first().copied().unwrap_or(0.0);
    let shift = (1u8 << (bits - 1)).checked_sub(zero as u8)?;
    for code in &mut codes {
        *code = code.wrapping_add(shift);
    }
    let shape = CodeShape { rows: coded.rows(), cols: coded.cols(), bits, span };
    let matrix = ScaledMatrix::from_parts(shape, rows_of(&codes, shape), grid.scales, None);
    matrix.ok().map(Cow::Owned)
}

/// One code per weight, packed row by row.
fn rows_of(codes: &[u8], shape: CodeShape) -> Vec<u8> {
    let mut packed = vec![0; shape.rows * shape.row_bytes()];
    if shape.cols > 0 {
        let rows = packed.chunks_exact_mut(shape.row_bytes());
        for (packed, codes) in rows.zip(codes.chunks_exact(shape.cols)) {
            pack::pack(codes, shape.bits, packed);
        }
    }
    packed
}

/// The zero point of every span, the middle where none is stored.
fn zeros_of(matrix: &ScaledMatrix) -> Cow<'_, [u8]> {
    let middle = 1u8 << (matrix.shape().bits - 1);
    match matrix.zeros() {
        Some(zeros) => Cow::Borrowed(zeros),
        None => Cow::Owned(vec![middle; matrix.scales().len()]),
    }
}

/// Rows of `bytes` bytes as rows of `words` words, padded with zeros.
fn words(rows: &[u8], bytes: usize, words: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len().checked_div(bytes).unwrap_or(0) * words * 4);
    for row in rows.chunks_exact(bytes.max(1)) {
        let end = out.len() + words * 4;
        out.extend_from_slice(row);
        out.resize(end, 0);
    }
    out
}

/// Zero points of `groups` per row, each group as a stream of words over all rows.
fn zero_words(zeros: &[u8], groups: usize, bits: u8) -> (usize, Vec<u8>) {
    let rows = zeros.len().checked_div(groups).unwrap_or(0);
    let by_group = transposed::<1>(zeros, rows, groups);
    let bytes = pack::packed_len(rows, bits);
    let width = (rows * usize::from(bits)).div_ceil(32);
    let mut packed = vec![0; groups * bytes];
    if rows > 0 {
        for (packed, zeros) in packed.chunks_exact_mut(bytes).zip(by_group.chunks_exact(rows)) {
            pack::pack(zeros, bits, packed);
        }
    }
    (width, words(&packed, bytes, width))
}

/// A `rows × cols` table of elements of `N` bytes with its columns as rows.
fn transposed<const N: usize>(bytes: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let elements = bytes.as_chunks::<N>().0;
    let columns = (0..cols).flat_map(|col| (0..rows).map(move |row| row * cols + col));
    columns.flat_map(|at| elements[at]).collect()
}

/// The scales group by group in f16, or an error where that would change them.
fn half_scales(
    name: &str,
    matrix: &ScaledMatrix,
    container: Container,
) -> Result<Vec<u8>, SaveError> {
    let groups = matrix.shape().groups();
    let mut bytes = Vec::with_capacity(matrix.scales().len() * 2);
    for &scale in matrix.scales() {
        let half = half::f16::from_f32(scale);
        if half.to_f32() != scale {
            let why = format!("has the scale {scale}, which {container} would round to f16");
            return Err(unfit(name, format!("{why}: use a format with groups, as sym4:g32")));
        }
        bytes.extend(half.to_le_bytes());
    }
    Ok(transposed::<2>(&bytes, matrix.scales().len() / groups.max(1), groups))
}

/// The length of the groups, and an error where readers would refuse the shape.
fn group_of(
    name: &str,
    shape: CodeShape,
    (rows_of, cols_of): (usize, usize),
) -> Result<usize, SaveError> {
    let CodeShape { rows, cols, span, .. } = shape;
    let Span::Group(group) = span else {
        return Err(unfit(name, format!("has a scale per {span}, not in groups")));
    };
    if !rows.is_multiple_of(rows_of) || !cols.is_multiple_of(cols_of) || !cols.is_multiple_of(group)
    {
        let why = format!("is {rows} x {cols} in groups of {group}");
        let wants = format!("outputs by {rows_of}, inputs by {cols_of} and by the group");
        return Err(unfit(name, format!("{why}; its readers want multiples: {wants}")));
    }
    Ok(group)
}
