//! Writing a model as one GGUF file, version 3, as llama.cpp reads it.

mod metadata;
mod vocabulary;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use kvant_quant::{BlockMatrix, Coded};
use kvant_storage::{Sink, stream_new_file};
use serde_json::Value;

pub(crate) use metadata::Metadata;
pub(crate) use vocabulary::SPECIAL;

use super::hyper::Hyper;
use super::{FloatFormat, SaveError, SavedTensor, Stored, stored};
use crate::checkpoint::{Content, Format, Raw, gguf, owner, printable};
use crate::name::{Family, interleave};
use crate::pool::{Mode, Pooling};
use crate::{Checkpoint, LoadError};

const ALIGNMENT: usize = 32;
const VERSION: u32 = 3;

/// Writes the model `source` to the new GGUF file `out` with its tensors as `tensors` says.
///
/// A directory of a llama, qwen2 or bert model is renamed on the way: tensors get their GGUF
/// names, rows of llama's query and key are interleaved by head, vectors become f32, and the
/// configuration and the tokenizer become metadata; the pooler of a bert model is left out, as
/// llama.cpp leaves it out. Of a GGUF file names and metadata stay as they are. Everything goes
/// to a temporary sibling first, renamed at the end; an existing `out` is refused. Costs one
/// pass over the tensors, held one at a time.
///
/// # Errors
/// [`SaveError`]; `out` does not exist then. Codes that no GGUF type holds are
/// [`SaveError::Unfit`].
pub fn save_gguf(
    out: &Path,
    source: &Checkpoint,
    tensors: &[(String, SavedTensor)],
) -> Result<(), SaveError> {
    write(out, source, tensors, &|_| {})
}

/// As [`save_gguf`]; `progress` is told the weights of every tensor that is written.
pub(super) fn write(
    out: &Path,
    source: &Checkpoint,
    tensors: &[(String, SavedTensor)],
    progress: &dyn Fn(u64),
) -> Result<(), SaveError> {
    if out.symlink_metadata().is_ok() {
        return Err(SaveError::Exists { path: out.to_path_buf() });
    }
    let stored = stored(source, tensors)?;
    stored.iter().try_for_each(|(name, stored)| stored.refuse_viewed(name, &"GGUF"))?;
    let (mut metadata, pieces) = match source.gguf() {
        Some(header) => copied(header, stored)?,
        None => translated(source, stored)?,
    };
    let changed = tensors.iter().any(|(_, tensor)| !matches!(tensor, SavedTensor::Kept));
    if changed || !metadata.has("general.file_type") {
        metadata.u32("general.file_type", file_type(&pieces));
        metadata.u32("general.quantization_version", 2);
    }
    let mut sink = stream_new_file(out)?;
    stream(sink.as_mut(), &metadata, &pieces, progress)?;
    Ok(sink.publish()?)
}

/// A tensor under its GGUF name, in the format it will have.
struct Piece<'a> {
    name: String,
    shape: Vec<usize>,
    format: &'static Format,
    stored: Stored<'a>,
}

/// Header, padding, then every tensor padded to the alignment.
fn stream(
    sink: &mut dyn Sink,
    metadata: &Metadata,
    pieces: &[Piece<'_>],
    progress: &dyn Fn(u64),
) -> Result<(), SaveError> {
    let mut header = gguf::MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((pieces.len() as u64).to_le_bytes());
    header.extend((metadata.len() as u64).to_le_bytes());
    header.extend(metadata.bytes());
    let mut offset = 0usize;
    let mut sizes = Vec::with_capacity(pieces.len());
    for piece in pieces {
        metadata::string(&mut header, &piece.name);
        header.extend((piece.shape.len() as u32).to_le_bytes());
        piece.shape.iter().rev().for_each(|&n| header.extend((n as u64).to_le_bytes()));
        header.extend(piece.type_number()?.to_le_bytes());
        header.extend((offset as u64).to_le_bytes());
        let size = piece.format.size_bytes(&piece.shape);
        let size =
            size.ok_or_else(|| piece.unfit(format!("does not fit {}", piece.format.name)))?;
        sizes.push(size);
        offset = (offset + size).next_multiple_of(ALIGNMENT);
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    sink.write(&header)?;
    for (piece, size) in pieces.iter().zip(sizes) {
        let bytes = piece.bytes()?;
        assert_eq!(bytes.len(), size, "bytes of {}", piece.name);
        sink.write(&bytes)?;
        sink.write(&[0; ALIGNMENT][..size.next_multiple_of(ALIGNMENT) - size])?;
        progress(piece.shape.iter().product::<usize>() as u64);
    }
    Ok(())
}

impl<'a> Piece<'a> {
    /// Chooses the format. `copied` tensors of a GGUF file keep theirs; of a directory vectors,
    /// positions and token types become f32, which is what ggml adds to activations.
    fn new(name: String, stored: Stored<'a>, copied: bool) -> Result<Self, SaveError> {
        if owner(&name).is_some() {
            let why = "is a correction or a scale of an input, which GGUF does not know: convert \
                       it with --dtype f32, or compress without lowrank and activations";
            return Err(SaveError::Unfit { name: printable(&name), why: why.into() });
        }
        let shape = stored.shape();
        let added = match name.as_str() {
            "token_types.weight" => true,
            "position_embd.weight" => !matches!(stored, Stored::Coded(_)),
            _ => shape.len() <= 1,
        };
        let is_float = |raw: &Raw| {
            let float = [Content::Float64, Content::Float32, Content::Half, Content::Brain];
            float.contains(&raw.format.content)
        };
        let format = match &stored {
            Stored::Raw(raw) if !copied && !is_float(raw) => {
                let why = format!("holds values of type {}, no weights", raw.format.name);
                return Err(SaveError::Unfit { name: printable(&name), why });
            }
            Stored::Raw(raw) if copied => raw.format,
            _ if added => &Format::F32,
            Stored::Raw(raw) if raw.format.content == Content::Float64 => &Format::F32,
            Stored::Raw(raw) => raw.format,
            Stored::Dense(_) | Stored::Viewed(..) => &Format::F32,
            Stored::Cast(cast) => cast.format.format(),
            Stored::Coded(coded) => match block(coded).map(BlockMatrix::format) {
                Some(format) => Format::of_block(format),
                None => return Err(not_coded(&name, &coded.format())),
            },
        };
        Ok(Self { name, shape, format, stored })
    }

    fn unfit(&self, why: String) -> SaveError {
        SaveError::Unfit { name: printable(&self.name), why }
    }

    fn type_number(&self) -> Result<u32, SaveError> {
        if self.shape.len() > 4 {
            return Err(self.unfit(format!("has {} dimensions, GGUF takes 4", self.shape.len())));
        }
        let number = self.format.ggml();
        number.ok_or_else(|| {
            self.unfit(format!("holds values of type {}, which GGUF lacks", self.format.name))
        })
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, SaveError> {
        let block = match &self.stored {
            Stored::Raw(raw) if raw.format == self.format => return Ok(raw.bytes[..].into()),
            Stored::Cast(cast) if self.format == cast.format.format() => {
                return cast.bytes().map(Cow::Owned);
            }
            Stored::Coded(coded) if self.format != &Format::F32 => block(coded),
            Stored::Raw(_)
            | Stored::Dense(_)
            | Stored::Coded(_)
            | Stored::Viewed(..)
            | Stored::Cast(_) => None,
        };
        match block {
            Some(matrix) => Ok(matrix.data().into()),
            None => FloatFormat::F32.encode(&self.name, &self.stored.values()?).map(Cow::Owned),
        }
    }
}

fn not_coded(name: &str, format: &str) -> SaveError {
    let why = format!(
        "is coded as {format}, which GGUF does not know: convert it with --dtype f32, or compress \
         to a block format such as q8_0"
    );
    SaveError::Unfit { name: printable(name), why }
}

/// The blocks of a matrix coded in them.
fn block(coded: &Coded) -> Option<&BlockMatrix> {
    if let Coded::Block(matrix) = coded { Some(matrix) } else { None }
}

/// The tensors of a GGUF file in their order, and its metadata as they are.
fn copied<'a>(
    header: &gguf::Header,
    stored: Vec<(&str, Stored<'a>)>,
) -> Result<(Metadata, Vec<Piece<'a>>), SaveError> {
    let mut metadata = Metadata::default();
    for (key, value) in &header.stored {
        metadata.stored(key, value);
    }
    // Ours is the default one.
    metadata.remove("general.alignment");
    let entries = header.entries.iter().enumerate();
    let places: BTreeMap<&str, usize> =
        entries.map(|(at, entry)| (entry.name.as_str(), at)).collect();
    // New ones last.
    let place = |name: &str| places.get(name).copied().unwrap_or(usize::MAX);
    let mut pieces = Vec::with_capacity(stored.len());
    for (name, stored) in stored {
        pieces.push((place(name), Piece::new(name.to_owned(), stored, true)?));
    }
    pieces.sort_by_key(|(at, _)| *at);
    Ok((metadata, pieces.into_iter().map(|(_, piece)| piece).collect()))
}

/// The tensors of a directory under their GGUF names, and metadata from its files.
fn translated<'a>(
    source: &Checkpoint,
    stored: Vec<(&str, Stored<'a>)>,
) -> Result<(Metadata, Vec<Piece<'a>>), SaveError> {
    let path = source.path().join("config.json");
    let Some(config) = source.config() else {
        let (what, remedy) = ("config.json", "give the directory of a model, or a GGUF file");
        return Err(LoadError::Missing { path: source.path().into(), what, remedy }.into());
    };
    let hyper = Hyper::from_config(&path, config)?;
    let mut pieces = Vec::with_capacity(stored.len());
    for (name, stored) in stored {
        // A head that was made for this file differs from the word table.
        let own = matches!(stored, Stored::Dense(_) | Stored::Coded(_));
        let tied = hyper.tied && name == "lm_head.weight" && !own;
        if hyper.family.is_left_out(name) || tied {
            continue;
        }
        let unfit = |why: String| SaveError::Unfit { name: printable(name), why };
        let gguf = hyper.family.to_gguf(name).ok_or_else(|| {
            unfit(format!("has no name in the GGUF files of {} models", hyper.family.name()))
        })?;
        let stored = match hyper.family.interleaved(&gguf) {
            None => stored,
            Some(heads) => {
                let (rows, heads) = (stored.shape().first().copied(), hyper.heads(heads));
                let order = interleave(rows.unwrap_or(0), heads)
                    .ok_or_else(|| unfit(format!("its rows are not those of {heads} heads")))?;
                stored.select_rows(order)
            }
        };
        pieces.push(Piece::new(gguf, stored, false)?);
    }
    let missing = |name: &String| !pieces.iter().any(|piece| piece.name == *name);
    if let Some(name) = hyper.family.required(hyper.layers).find(missing) {
        let name = hyper.family.to_hugging(&name).unwrap_or(name);
        return Err(source.fail(&name, "is missing".into()).into());
    }
    pieces.sort_by_cached_key(|piece| place(&piece.name));
    let metadata = describe(source, config, &hyper, &pieces)?;
    Ok((metadata, pieces))
}

/// The table first, then layer by layer, then the output.
fn place(name: &str) -> (usize, String) {
    let layer = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
    let layer = layer.and_then(|layer| layer.parse::<usize>().ok());
    let rank = match layer {
        Some(layer) => layer + 1,
        None if name.starts_with("output") => usize::MAX,
        None => 0,
    };
    (rank, name.to_owned())
}

fn describe(
    source: &Checkpoint,
    config: &Value,
    hyper: &Hyper,
    pieces: &[Piece<'_>],
) -> Result<Metadata, LoadError> {
    let dir = source.path();
    let rows = |name: &str| {
        let piece = pieces.iter().find(|piece| piece.name == name);
        piece.and_then(|piece| piece.shape.first()).copied().unwrap_or(0)
    };
    let mut metadata = Metadata::default();
    metadata.text("general.architecture", hyper.family.name());
    metadata.text("general.type", "model");
    let known = config.get("_name_or_path").and_then(Value::as_str).unwrap_or_default();
    let folder = dir.canonicalize().ok();
    let folder = folder.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let name = known.rsplit('/').next().filter(|name| !name.is_empty());
    metadata.text("general.name", name.unwrap_or(&folder));
    let vocabulary = rows("token_embd.weight");
    hyper.describe(&mut metadata, vocabulary);
    if hyper.family == Family::Bert {
        let types = rows("token_types.weight").max(1);
        metadata.u32("tokenizer.ggml.token_type_count", types as u32);
        pooling(&mut metadata, dir)?;
    }
    vocabulary::describe(&mut metadata, dir, hyper.family, vocabulary)?;
    Ok(metadata)
}

/// How a sentence encoder makes one vector. What GGUF has no key for has one of ours.
fn pooling(metadata: &mut Metadata, dir: &Path) -> Result<(), LoadError> {
    let pooling = Pooling::read(dir)?;
    let number = match pooling.mode() {
        Mode::Mean => 1,
        Mode::First => 2,
        Mode::Max => {
            let (path, what) = (dir.join("modules.json"), "max pooling in GGUF".into());
            let supported = "mean and cls pooling";
            return Err(LoadError::Unsupported { path, what, supported });
        }
    };
    metadata.u32("bert.pooling_type", number);
    metadata.flag(NORMALIZED, pooling.is_normalized());
    let sentence = crate::file::json_if_there(&dir.join("sentence_bert_config.json"))?;
    let limit = sentence.as_ref().and_then(|config| config.get("max_seq_length"));
    if let Some(limit) = limit.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()) {
        metadata.u32(MAX_TOKENS, limit);
    }
    Ok(())
}

/// Whether vectors are scaled to length 1; a key of Kvant.
pub(crate) const NORMALIZED: &str = "kvant.pooling.normalized";
/// Tokens of the longest text a sentence encoder takes; a key of Kvant.
pub(crate) const MAX_TOKENS: &str = "kvant.max_tokens";

/// What llama.cpp calls a file most of whose weights are in each format.
const FILE_TYPES: [(&str, u32); 17] = [
    ("F32", 0),
    ("F16", 1),
    ("Q4_0", 2),
    ("Q4_1", 3),
    ("Q8_0", 7),
    ("Q5_0", 8),
    ("Q5_1", 9),
    ("Q2_K", 10),
    ("Q3_K", 11),
    ("Q4_K", 14),
    ("Q5_K", 16),
    ("Q6_K", 18),
    ("IQ4_NL", 25),
    ("IQ4_XS", 30),
    ("BF16", 32),
    ("TQ1_0", 36),
    ("MXFP4", 38),
];

/// The format of most weights in matrices, by its number; 1024 means "guessed".
fn file_type(pieces: &[Piece<'_>]) -> u32 {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.shape.len() > 1) {
        let weights: usize = piece.shape.iter().product();
        match counts.iter_mut().find(|(name, _)| *name == piece.format.name) {
            Some((_, count)) => *count += weights,
            None => counts.push((piece.format.name, weights)),
        }
    }
    let most = counts.iter().max_by_key(|(_, count)| *count).map_or("F32", |(name, _)| name);
    FILE_TYPES.iter().find(|(name, _)| *name == most).map_or(1024, |(_, number)| *number)
}
