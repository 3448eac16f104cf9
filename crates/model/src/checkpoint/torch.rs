//! Weights saved by `PyTorch`: a pickle of views, and the storages they look at.
//!
//! Two layouts: a zip archive (`NAME/data.pkl`, `NAME/data/KEY` stored plainly, since version
//! 1.6) and, before it, five pickles in a row (magic number, protocol, machine, the object, the
//! keys) with every storage behind them as its number of elements (i64) and its values.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;

use kvant_storage::Bytes;
use zip::{CompressionMethod, ZipArchive};

use super::Raw;
use super::header::{HeaderError, printable};
use super::pickle::{self, Id, Node, Pickle, Storage, View};
use crate::limit::{GGUF_TENSORS, NAME_BYTES, PICKLE_DEPTH};

/// First bytes of the old layout: a pickle of protocol 2 holding the magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const PROTOCOL: i128 = 1001;
/// Bytes of the names of all tensors, beyond a multiple of the pickle's length.
const NAMES: usize = 1 << 16;
/// Where trainers keep the weights among other things.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];

/// Whether `data` starts like a file of `PyTorch`.
pub(crate) fn looks_right(data: &[u8]) -> bool {
    data.starts_with(b"PK\x03\x04") || data.starts_with(LEGACY)
}

/// The tensors of the file `data`, by name. Tensors that lie in order stay where they are;
/// others (transposed, say) are copied.
pub(crate) fn parse(data: &Bytes) -> Result<BTreeMap<String, Raw>, HeaderError> {
    let (pickle, places) = if data.starts_with(LEGACY) { legacy(data)? } else { archive(data)? };
    let mut tensors = BTreeMap::new();
    let mut copied = 0usize;
    for (name, view) in flatten(&pickle)? {
        let storage = &pickle.storages[view.storage];
        let Some(range) = places.get(&storage.key) else {
            return Err(HeaderError::tensor(&name, "its storage is not in the file"));
        };
        let bytes = data.slice(range.clone());
        let raw = tensor(&name, view, storage, &bytes)?;
        if raw.bytes.len() > bytes.len() || !lies_in_order(view) {
            copied = copied.saturating_add(raw.bytes.len());
            if copied > data.len() {
                let why = "tensors out of order hold more than the file";
                return Err(HeaderError::tensor(&name, why));
            }
        }
        if tensors.insert(name.clone(), raw).is_some() {
            return Err(HeaderError::tensor(&name, "described twice"));
        }
    }
    Ok(tensors)
}

type Places = BTreeMap<String, Range<usize>>;

/// A zip archive: where the content of every storage is.
fn archive(data: &Bytes) -> Result<(Pickle, Places), HeaderError> {
    let broken = |why: String| HeaderError::Syntax { why: format!("the zip archive {why}") };
    let fail = |error: zip::result::ZipError| broken(format!("does not open: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(&data[..])).map_err(fail)?;
    let mut entries = BTreeMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(fail)?;
        let name = entry.name().map_err(fail)?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(broken(format!("holds '{}' packed", printable(&name))));
        }
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let size = usize::try_from(entry.size()).ok();
        let range = start.zip(size).and_then(|(start, size)| Some(start..start.checked_add(size)?));
        let range = range.filter(|range| range.end <= data.len());
        let range = range.ok_or(HeaderError::Truncated { what: "the zip archive" })?;
        entries.insert(name, range);
    }
    let root = entries.keys().find_map(|name| name.strip_suffix("data.pkl"));
    let root = root.filter(|root| root.is_empty() || root.ends_with('/'));
    let root = root.ok_or_else(|| broken("holds no data.pkl: it is not from PyTorch".into()))?;
    let content = |name: &str| entries.get(&format!("{root}{name}")).map(|r| &data[r.clone()]);
    if content("byteorder").is_some_and(|order| order != b"little") {
        return Err(big_endian());
    }
    let pickle = pickle::read(content("data.pkl").unwrap_or_default())?;
    let key = |storage: &Storage| {
        let range = entries.get(&format!("{root}data/{}", storage.key))?;
        Some((storage.key.clone(), range.clone()))
    };
    let places = pickle.storages.iter().filter_map(key).collect();
    Ok((pickle, places))
}

/// Pickles in a row and the storages behind them.
fn legacy(data: &Bytes) -> Result<(Pickle, Places), HeaderError> {
    let mut at = 0;
    let mut next = || {
        let pickle = pickle::read(&data[at..])?;
        at += pickle.length;
        Ok::<Pickle, HeaderError>(pickle)
    };
    next()?;
    let protocol = next()?;
    let Node::Int(PROTOCOL) = protocol.nodes[protocol.root] else {
        let (what, expected) = ("the protocol of the file", "1001");
        return Err(HeaderError::Unknown { what, got: "something else".into(), expected });
    };
    let machine = next()?;
    if matches!(machine.get(machine.root, "little_endian"), Some(Node::Bool(false))) {
        return Err(big_endian());
    }
    let (pickle, keys) = (next()?, next()?);
    let wrong = || HeaderError::Syntax { why: "the list of storages is no list of texts".into() };
    let Node::List(list) = &keys.nodes[keys.root] else { return Err(wrong()) };
    let mut places = Places::new();
    let storages = pickle.storages.iter().map(|storage| (storage.key.as_str(), storage));
    let storages: HashMap<&str, &Storage> = storages.collect();
    for &id in list {
        let Node::Text(key) = &keys.nodes[id] else { return Err(wrong()) };
        let truncated = HeaderError::Truncated { what: "the storages" };
        // A storage that nothing looks at: how wide its elements are is not said.
        let Some(storage) = storages.get(key.as_str()) else {
            return Err(HeaderError::Syntax { why: "a storage belongs to no tensor".into() });
        };
        let count = data.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let count = u64::from_le_bytes(*count.ok_or(truncated.clone())?);
        if count != storage.elements as u64 {
            let got = printable(key);
            return Err(HeaderError::Syntax { why: format!("storage '{got}' has another length") });
        }
        let size = storage.elements.checked_mul(storage.format.bytes);
        let end = size.and_then(|size| size.checked_add(at + 8)).filter(|&end| end <= data.len());
        let end = end.ok_or(truncated)?;
        places.insert(key.clone(), at + 8..end);
        at = end;
    }
    Ok((pickle, places))
}

fn big_endian() -> HeaderError {
    let (what, expected) = ("the byte order", "little endian");
    HeaderError::Unknown { what, got: "big endian".into(), expected }
}

impl Pickle {
    fn get(&self, dict: Id, key: &str) -> Option<&Node> {
        self.entry(dict, key).map(|id| &self.nodes[id])
    }

    fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let Node::Dict(entries) = &self.nodes[dict] else { return None };
        let is = |id: Id| matches!(&self.nodes[id], Node::Text(text) if text == key);
        entries.iter().find(|(id, _)| is(*id)).map(|(_, value)| *value)
    }
}

/// Every tensor under the names of the dictionaries that lead to it, joined by dots. Of a file
/// with `state_dict` or the like beside other things only that part counts.
fn flatten(pickle: &Pickle) -> Result<Vec<(String, &View)>, HeaderError> {
    let inner = WRAPPERS.iter().find_map(|key| {
        let id = pickle.entry(pickle.root, key)?;
        matches!(pickle.nodes[id], Node::Dict(_)).then_some(id)
    });
    let mut found = Vec::new();
    let mut open = vec![(String::new(), inner.unwrap_or(pickle.root), 0)];
    // A name takes more room than the two bytes that recall a value, so it is counted.
    let mut room = 4 * pickle.length + NAMES;
    while let Some((name, id, depth)) = open.pop() {
        let node = &pickle.nodes[id];
        let mut below = Vec::new();
        if let Node::Tensor(view) = node {
            found.push((name, view));
            continue;
        } else if let Node::List(items) = node {
            below.extend(items.iter().enumerate().map(|(at, &id)| (Err(at), id)));
        } else if let Node::Dict(entries) = node {
            below.extend(entries.iter().map(|&(key, value)| (Ok(key), value)));
        }
        let leads =
            |id: Id| matches!(pickle.nodes[id], Node::Tensor(_) | Node::List(_) | Node::Dict(_));
        for (key, id) in below.into_iter().filter(|(_, id)| leads(*id)) {
            let key: Result<Id, usize> = key;
            let key = key.map_or_else(|at| Some(at.to_string()), |id| pickle.nodes[id].key());
            let Some(key) = key else { continue };
            let key = if name.is_empty() { key } else { format!("{name}.{key}") };
            let left = room.checked_sub(key.len() + 1);
            let fits = depth < PICKLE_DEPTH && key.len() <= NAME_BYTES;
            room = left.filter(|_| fits).ok_or_else(|| {
                let why = "dictionaries are nested too deep, or their keys are too long";
                HeaderError::Syntax { why: why.into() }
            })?;
            open.push((key, id, depth + 1));
        }
    }
    if found.len() as u64 > GGUF_TENSORS {
        let (what, limit) = ("the number of tensors", GGUF_TENSORS);
        return Err(HeaderError::TooLarge { what, got: found.len() as u64, limit });
    }
    if found.is_empty() {
        return Err(HeaderError::Syntax { why: "the file holds no tensors".into() });
    }
    Ok(found)
}

/// Whether the elements of a view lie one behind the other, the last dimension fastest.
fn lies_in_order(view: &View) -> bool {
    let mut expected = 1usize;
    view.shape.iter().zip(&view.stride).rev().all(|(&n, &stride)| {
        let fits = n <= 1 || stride == expected;
        expected = expected.saturating_mul(n);
        fits
    }) || view.shape.contains(&0)
}

/// The elements that `view` shows of a storage whose content is `bytes`.
fn tensor(name: &str, view: &View, storage: &Storage, bytes: &Bytes) -> Result<Raw, HeaderError> {
    let fail = |why: &str| HeaderError::tensor(name, why);
    let width = storage.format.bytes;
    if storage.elements.checked_mul(width).is_none_or(|size| size > bytes.len()) {
        return Err(fail("its storage is shorter than it says"));
    }
    if view.shape.len() != view.stride.len() {
        return Err(fail("it has other strides than dimensions"));
    }
    let count = view.shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n));
    let count = count.filter(|&count| count <= storage.elements);
    let count = count.ok_or_else(|| fail("it shows more elements than its storage has"))?;
    let steps = view.shape.iter().zip(&view.stride);
    let last = steps.clone().try_fold(view.offset, |at, (&n, &stride)| {
        at.checked_add(n.saturating_sub(1).checked_mul(stride)?)
    });
    if count > 0 && last.is_none_or(|last| last >= storage.elements) {
        return Err(fail("it reaches past the end of its storage"));
    }
    let (format, shape) = (storage.format, view.shape.clone());
    if count == 0 {
        return Ok(Raw { format, shape, bytes: bytes.slice(0..0) });
    }
    if lies_in_order(view) {
        let bytes = bytes.slice(view.offset * width..(view.offset + count) * width);
        return Ok(Raw { format, shape, bytes });
    }
    let mut gathered = Vec::with_capacity(count * width);
    let mut index = vec![0usize; shape.len()];
    let mut at = view.offset;
    for _ in 0..count {
        gathered.extend_from_slice(&bytes[at * width..(at + 1) * width]);
        // Counts like an odometer, the last dimension fastest.
        for (place, (&n, &stride)) in index.iter_mut().zip(steps.clone()).rev() {
            *place += 1;
            at += stride;
            if *place < n {
                break;
            }
            at -= stride * n;
            *place = 0;
        }
    }
    Ok(Raw { format, shape, bytes: Bytes::from(gathered) })
}
