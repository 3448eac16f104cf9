//! Writing `model.safetensors`: the layout of coded weights and the order of tensors.

use std::borrow::Cow;

use kvant_quant::{Absmax, Books, Coded, Float4Matrix, ScaledMatrix};
use kvant_storage::{Dir, FsDir, Name, bytes_of_f32};
use serde_json::{Map, Value, json};

use super::{Cast, Container, SaveError, Stored, foreign};

/// One tensor of the file.
pub(super) struct Piece<'a> {
    name: String,
    dtype: &'static str,
    /// Bytes of an element: wider ones come first, so that every tensor is aligned.
    width: usize,
    shape: Vec<usize>,
    body: Body<'a>,
}

/// What a piece consists of.
enum Body<'a> {
    Bytes(Cow<'a, [u8]>),
    /// Made when it is written.
    Cast(&'a Cast<'a>),
}

impl Piece<'_> {
    /// A tensor of these bytes.
    pub(super) fn new(
        name: String,
        dtype: &'static str,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    ) -> Self {
        let width = match dtype {
            "I64" => 8,
            "I32" | "F32" => 4,
            "F16" => 2,
            _ => 1,
        };
        Self { name, dtype, width, shape, body: Body::Bytes(Cow::Owned(bytes)) }
    }

    fn len(&self) -> usize {
        match &self.body {
            Body::Bytes(bytes) => bytes.len(),
            Body::Cast(_) => self.width * self.shape.iter().product::<usize>(),
        }
    }
}

/// Writes all tensors; the header is padded so that the data start on a 64-byte boundary.
pub(super) fn write(
    dir: &FsDir,
    stored: &[(&str, Stored<'_>)],
    (container, progress): (Container, &dyn Fn(u64)),
) -> Result<(), SaveError> {
    let mut pieces: Vec<Piece<'_>> = Vec::with_capacity(stored.len());
    for (name, tensor) in stored {
        if container != Container::Kvant {
            tensor.refuse_viewed(name, &container)?;
        }
        if let (Stored::Coded(coded), true) = (tensor, container != Container::Kvant) {
            pieces.extend(foreign::pieces(name, coded, container, stored)?);
        } else {
            pieces.extend(self::pieces(name, tensor));
        }
    }
    pieces.sort_by(|a, b| b.width.cmp(&a.width).then_with(|| a.name.cmp(&b.name)));
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut at = 0usize;
    for piece in &pieces {
        let end = at + piece.len();
        let entry = json!({
            "dtype": piece.dtype, "shape": piece.shape, "data_offsets": [at, end],
        });
        header.insert(piece.name.clone(), entry);
        at = end;
    }
    let mut header = Value::Object(header).to_string();
    let padded = (8 + header.len()).next_multiple_of(64) - 8;
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    let mut sink = dir.create(&Name::new("model.safetensors")?)?;
    sink.write(&(header.len() as u64).to_le_bytes())?;
    sink.write(header.as_bytes())?;
    for piece in &pieces {
        match &piece.body {
            Body::Bytes(bytes) => sink.write(bytes)?,
            Body::Cast(cast) => sink.write(&cast.bytes()?)?,
        }
        progress(piece.shape.iter().product::<usize>() as u64);
    }
    Ok(sink.publish()?)
}

fn pieces<'a>(name: &str, stored: &'a Stored<'a>) -> Vec<Piece<'a>> {
    match stored {
        Stored::Raw(raw) => vec![Piece {
            name: name.to_owned(),
            dtype: raw.format.name,
            width: raw.format.bytes,
            shape: raw.shape.clone(),
            body: Body::Bytes(Cow::Borrowed(&raw.bytes)),
        }],
        Stored::Dense(dense) => {
            vec![floats(name.to_owned(), dense.shape().to_vec(), dense.values())]
        }
        Stored::Coded(coded) | Stored::Viewed(coded, _) => coded_pieces(name, coded),
        Stored::Cast(cast) => vec![Piece {
            name: name.to_owned(),
            dtype: cast.format.format().name,
            width: cast.format.format().bytes,
            shape: cast.shape.clone(),
            body: Body::Cast(cast),
        }],
    }
}

fn coded_pieces<'a>(name: &str, coded: &'a Coded) -> Vec<Piece<'a>> {
    let rows = coded.rows();
    let codes = |dtype, bytes: Cow<'a, [u8]>| {
        let shape = vec![rows, bytes.len().checked_div(rows).unwrap_or(0)];
        Piece { name: name.to_owned(), dtype, width: 1, shape, body: Body::Bytes(bytes) }
    };
    match coded {
        Coded::Int8(matrix) => {
            let bytes = matrix.codes().iter().map(|code| code.cast_unsigned()).collect();
            let scale = floats(format!("{name}_scale"), vec![rows, 1], matrix.scales());
            vec![codes("I8", Cow::Owned(bytes)), scale]
        }
        Coded::Linear(matrix) => {
            let shape = matrix.shape();
            let numbers = if shape.number_bytes() == 4 { floats } else { halves };
            let part = |suffix: &str, values: &'a [f32]| {
                let shape = vec![values.len() / shape.groups().max(1), shape.groups()];
                numbers(format!("{name}_{suffix}"), shape, values)
            };
            vec![
                codes("U8", Cow::Borrowed(matrix.codes())),
                part("scale", matrix.steps()),
                part("min", matrix.mins()),
            ]
        }
        Coded::Scaled(matrix) => scaled(name, matrix, codes("U8", Cow::Borrowed(matrix.codes()))),
        Coded::Float4(matrix) => float4(name, matrix),
        Coded::Codebook(matrix) => {
            let (shape, levels) = (matrix.shape(), matrix.levels());
            let per_book = shape.levels_per_book();
            let books = vec![levels.len() / per_book, per_book];
            let mut pieces = vec![
                codes("U8", Cow::Borrowed(matrix.codes())),
                halves(format!("{name}_codebook"), books, levels),
            ];
            if matches!(shape.books, Books::Scaled(_)) {
                let groups = shape.codes().groups();
                let shape = vec![rows, groups];
                pieces.push(halves(format!("{name}_scale"), shape, matrix.scales()));
            }
            pieces
        }
        Coded::Block(matrix) => vec![codes("U8", Cow::Borrowed(matrix.data()))],
    }
}

fn scaled<'a>(name: &str, matrix: &'a ScaledMatrix, codes: Piece<'a>) -> Vec<Piece<'a>> {
    let groups = matrix.shape().groups();
    let numbers = if matrix.scale_bytes() == 4 { floats } else { halves };
    let rows = matrix.scales().len() / groups.max(1);
    let mut pieces =
        vec![codes, numbers(format!("{name}_scale"), vec![rows, groups], matrix.scales())];
    pieces.extend(matrix.packed_zeros().map(|packed| {
        let shape = vec![rows, packed.len().checked_div(rows).unwrap_or(0)];
        bytes(format!("{name}_zero_point"), shape, Cow::Owned(packed))
    }));
    pieces
}

/// As bitsandbytes writes them, but for the names of the parts and without the tables.
fn float4<'a>(name: &str, matrix: &'a Float4Matrix) -> Vec<Piece<'a>> {
    let part = |suffix: &str, values: &'a [f32]| {
        floats(format!("{name}_{suffix}"), vec![values.len()], values)
    };
    let codes =
        |name: String, codes: &'a [u8]| bytes(name, vec![codes.len()], Cow::Borrowed(codes));
    let mut pieces = vec![codes(name.to_owned(), matrix.codes())];
    match matrix.absmax() {
        Absmax::Plain(scales) => pieces.push(part("absmax", scales)),
        Absmax::Double { codes: stored, scales, offset, .. } => {
            pieces.push(codes(format!("{name}_absmax"), stored));
            pieces.push(part("nested_absmax", scales));
            pieces.push(part("nested_offset", std::slice::from_ref(offset)));
        }
    }
    pieces.extend(matrix.absmax().other_map().map(|map| part("nested_quant_map", map)));
    pieces
}

fn bytes(name: String, shape: Vec<usize>, bytes: Cow<'_, [u8]>) -> Piece<'_> {
    Piece { name, dtype: "U8", width: 1, shape, body: Body::Bytes(bytes) }
}

fn floats(name: String, shape: Vec<usize>, values: &[f32]) -> Piece<'_> {
    let body = Body::Bytes(Cow::Borrowed(bytes_of_f32(values)));
    Piece { name, dtype: "F32", width: 4, shape, body }
}

/// Values that are f16 numbers, in two bytes each.
fn halves(name: String, shape: Vec<usize>, values: &[f32]) -> Piece<'_> {
    let bytes = values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect();
    Piece { name, dtype: "F16", width: 2, shape, body: Body::Bytes(Cow::Owned(bytes)) }
}
