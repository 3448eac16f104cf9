//! The files of a data directory: each parser behind right checksums, and all of them behind wrong
//! ones. A target puts its file into a whole directory, which is then opened and asked everything.

use std::sync::{Arc, OnceLock};

use kvant_db::{
    Arity, Change, Config, Database, Dense, Edit, Metric, Multi, Optimizing, Payloads, Point,
    PointId, Search, Selector, SparseField, Tuning, Vector, Vectors, Wish, With,
};
use kvant_storage::frame::{self, Frame, Kind, Section};
use kvant_storage::{BLOCK_BYTES, Bytes, MemDir, Name, block_sums, crc32c, crc32c_append};
use serde_json::{Map, Value};

use crate::seed::DIM;

const POINTS: u64 = 40;
/// Bytes of a log before its first frame.
const HEADER: usize = 64;
const SPARSE: &str = "s";
const MULTI: &str = "m";
const TABLE: [&str; 7] = ["meta", "versions", "expires", "lookup", "order", "ids", "payloads"];
const INVERTED: [&str; 4] = ["head", "lists", "postings", "rows"];
const SEVERAL: [&str; 4] = ["head", "shape", "rows", "points"];
const MANIFEST: [&str; 3] = ["config", "state", "deleted"];

fn tuning() -> Tuning {
    Tuning { threads: 1, optimizer: Optimizing::Inline, ..Tuning::default() }
}

fn point(id: u64) -> Point {
    let number = |at: u64| ((id * 7 + at * 37) % 101) as f32;
    let rows = [vec![number(1), 1.0], vec![number(2), -1.0]];
    let mut vectors = Vectors::from([
        (String::new(), Vector::Dense((0..DIM as u64).map(number).collect())),
        (MULTI.to_owned(), Vector::Multi(Multi::new(&rows).expect("of one length"))),
    ]);
    if id.is_multiple_of(3) {
        let sparse = Vector::sparse(&[1, 5, id as u32 + 9], &[1.0, 0.5, -2.0]);
        vectors.insert(SPARSE.to_owned(), sparse.expect("different indices"));
    }
    let payload = Map::from_iter([("n".to_owned(), id.into()), ("t".to_owned(), "text".into())]);
    let id = if id.is_multiple_of(2) {
        PointId::Number(id)
    } else {
        format!("point {id}").parse().expect("a name")
    };
    Point { id, vectors, payload, ttl: Some(1 << 40) }
}

/// A segment with every kind of vector, deletions in the manifest, and a log.
fn made() -> MemDir {
    let memory = MemDir::default();
    let database = Database::open_in(Arc::new(memory.clone()), tuning()).expect("in memory");
    let dense = |dim| Dense { index: Some("hnsw4".into()), ..Dense::new(dim, Metric::Euclid) };
    let mut config = Config::single(dense(DIM));
    config.graph.scan_kib = 0;
    config.dense.insert(MULTI.to_owned(), Dense { multi: Arity::Many, ..dense(2) });
    config.sparse.insert(SPARSE.to_owned(), SparseField::default());
    let collection = database.create("c", &config).expect("in memory");
    let write = |change| {
        collection.write(change).expect("in memory");
    };
    write(Change::upsert((0..POINTS).map(point).collect()));
    collection.flush().expect("in memory");
    write(Change::delete(vec![PointId::Number(4)]));
    collection.flush().expect("in memory");
    write(Change::upsert(vec![point(6), point(99)]));
    drop((collection, database));
    memory
}

fn files() -> &'static [(Name, Vec<u8>)] {
    static FILES: OnceLock<Vec<(Name, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| made().files())
}

fn copy() -> MemDir {
    let memory = MemDir::default();
    files().iter().for_each(|(name, data)| memory.put(name, data.clone()));
    memory
}

/// The first file below `folder` that begins with `magic`.
fn file(folder: &str, magic: &str) -> (&'static Name, &'static [u8]) {
    let wanted = |(name, data): &&(Name, Vec<u8>)| {
        name.folder().ends_with(folder) && data.starts_with(magic.as_bytes())
    };
    let (name, data) = files().iter().find(wanted).expect("a directory has all kinds of files");
    (name, data)
}

fn kind(magic: &str, version: u32) -> Kind {
    Kind { magic: magic.as_bytes().try_into().expect("eight bytes"), version, features: 0 }
}

/// Sections of a file as the input of a target: lengths of all but the last, then the sections.
fn parts(data: &[u8], kind: &Kind, names: &[&str]) -> Vec<u8> {
    let frame = Frame::open(Bytes::copy_of(data), "seed".as_ref(), kind).expect("one of ours");
    let sections: Vec<Vec<u8>> =
        names.iter().map(|name| frame.section(name).expect("it has it").to_vec()).collect();
    let lens = sections[..names.len() - 1].iter();
    let mut input: Vec<u8> = lens.flat_map(|part| (part.len() as u16).to_le_bytes()).collect();
    input.extend(sections.concat());
    input
}

/// The sections again.
fn cut(data: &[u8], count: usize) -> Option<Vec<&[u8]>> {
    let (lens, mut rest) = data.split_at_checked((count - 1) * 2)?;
    let mut sections = Vec::new();
    for len in lens.as_chunks().0 {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (section, after) = rest.split_at(len);
        sections.push(section);
        rest = after;
    }
    sections.push(rest);
    Some(sections)
}

/// A file of these sections with right checksums.
fn framed(kind: &Kind, names: &[&str], sections: &[&[u8]]) -> Vec<u8> {
    let sections = names.iter().zip(sections).map(|(name, data)| Section { name, data });
    frame::to_bytes(kind, 0, &sections.collect::<Vec<_>>())
}

/// The same of a file of a segment: with the sums of its blocks.
fn summed(kind: &Kind, names: &[&str], sections: &[&[u8]]) -> Vec<u8> {
    let sums: Vec<u8> = sections.iter().flat_map(|data| block_sums(data)).collect();
    framed(kind, &[names, &["sums"][..]].concat(), &[sections, &[&sums[..]][..]].concat())
}

/// Whole points.
fn all() -> With {
    With { payload: Payloads::All, vectors: Wish::All }
}

/// Opens the directory and asks everything of every collection.
fn ask(memory: MemDir) {
    let Ok(database) = Database::open_in(Arc::new(memory), tuning()) else { return };
    for name in database.listing().collections.keys() {
        let Ok(collection) = database.collection(name) else { continue };
        let config = collection.config();
        let dense = config.dense.iter();
        let dense = dense.map(|(name, of)| (name, Vector::Dense(vec![0.5; of.dim])));
        let sparse = Vector::sparse(&[1, 5, 15], &[1.0, 1.0, 1.0]).expect("different indices");
        let sparse = config.sparse.keys().map(|name| (name, sparse.clone()));
        for (using, vector) in dense.chain(sparse) {
            let near = Search { limit: 3, ..Search::nearest(using, vector) };
            let found = collection.search(&near, &all());
            assert!(found.is_err() || found.is_ok_and(|found| found.len() <= 3));
        }
        if let Ok((found, _)) = collection.scroll(None, 100, None) {
            let ids: Vec<PointId> = found.into_iter().map(|found| found.id).collect();
            let _ = collection.get(&ids);
        }
        let _ = collection.write(Change::Edit(Edit::ClearPayload(Selector::Ids(vec![
            PointId::Number(6),
            PointId::Number(8),
        ]))));
        let _ = collection.compact();
    }
}

/// The first byte chooses a file, the rest replaces its bytes.
pub(crate) fn database(data: &[u8]) {
    let [choice, bytes @ ..] = data else { return };
    let memory = copy();
    memory.put(&files()[usize::from(*choice) % files().len()].0, bytes.to_vec());
    ask(memory);
}

/// The log of the directory.
pub(crate) fn database_seed() -> Vec<u8> {
    let (log, data) = file("log", "KVANTWAL");
    let choice = files().iter().position(|(name, _)| name == log).expect("it is there");
    [&[choice as u8][..], data].concat()
}

/// Which collections there are, as JSON.
pub(crate) fn catalog(data: &[u8]) {
    one("catalog", "KVANTCAT", "listing", data);
}

pub(crate) fn catalog_seed() -> Vec<u8> {
    parts(file("catalog", "KVANTCAT").1, &kind("KVANTCAT", 1), &["listing"])
}

/// Which files the log is, as JSON.
pub(crate) fn head(data: &[u8]) {
    one("head", "KVANTHED", "files", data);
}

pub(crate) fn head_seed() -> Vec<u8> {
    parts(file("head", "KVANTHED").1, &kind("KVANTHED", 1), &["files"])
}

fn one(folder: &str, magic: &str, section: &str, data: &[u8]) {
    let memory = copy();
    let bytes = framed(&kind(magic, 1), &[section], &[data]);
    memory.put(file(folder, magic).0, bytes);
    ask(memory);
}

/// The records of a frame of the log.
pub(crate) fn log(data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let (name, file) = file("log", "KVANTWAL");
    let mut bytes = file[..HEADER].to_vec();
    let (salt, number) = (&file[24..32], &file[40..48]);
    let len = (data.len() as u32).to_le_bytes();
    let crc = crc32c_append(crc32c(&[salt, &len[..], number].concat()), data);
    bytes.extend([&len[..], &crc.to_le_bytes()[..], number, data].concat());
    let memory = copy();
    memory.put(name, bytes);
    ask(memory);
}

pub(crate) fn log_seed() -> Vec<u8> {
    record(&change_seed())
}

/// A record behind all there are.
fn record(change: &[u8]) -> Vec<u8> {
    let numbers = [1000u64, 1, 1].map(u64::to_le_bytes).concat();
    [&numbers[..], &(change.len() as u32).to_le_bytes()[..], change].concat()
}

/// One change.
pub(crate) fn change(data: &[u8]) {
    log(&record(data));
}

/// The last change of the directory, which writes two points.
pub(crate) fn change_seed() -> Vec<u8> {
    // The head of a frame and that of its one record stand before it; sixteen bytes of a mark
    // behind.
    let log = file("log", "KVANTWAL").1;
    let mut at = HEADER;
    let mut last = &log[..0];
    while let Some(head) = log.get(at..at + 16) {
        let len = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        if len > 0 {
            last = &log[at + 16..at + 16 + len];
        }
        at += 16 + len;
    }
    last[28..].to_vec()
}

/// What a collection consists of.
pub(crate) fn manifest(data: &[u8]) {
    let Some(sections) = cut(data, MANIFEST.len()) else { return };
    let memory = copy();
    let bytes = framed(&kind("KVANTMAN", 2), &MANIFEST, &sections);
    memory.put(file("manifest", "KVANTMAN").0, bytes);
    ask(memory);
}

pub(crate) fn manifest_seed() -> Vec<u8> {
    parts(file("manifest", "KVANTMAN").1, &kind("KVANTMAN", 2), &MANIFEST)
}

/// Names, versions, times and payloads of a segment.
pub(crate) fn table(data: &[u8]) {
    of_segment("KVANTPTS", &TABLE, data);
}

pub(crate) fn table_seed() -> Vec<u8> {
    parts(file("segment", "KVANTPTS").1, &kind("KVANTPTS", 1), &TABLE)
}

/// Sparse vectors and the lists over them.
pub(crate) fn inverted(data: &[u8]) {
    of_index("KVANTINV", &INVERTED, &INVERTED[1..], data);
}

pub(crate) fn inverted_seed() -> Vec<u8> {
    parts(file("segment", "KVANTINV").1, &kind("KVANTINV", 2), &INVERTED)
}

/// Several vectors of each point, and the index over them.
pub(crate) fn several(data: &[u8]) {
    of_index("KVANTMUL", &SEVERAL, &SEVERAL[1..3], data);
}

pub(crate) fn several_seed() -> Vec<u8> {
    parts(file("segment", "KVANTMUL").1, &kind("KVANTMUL", 2), &SEVERAL)
}

/// A file of an index, of whose sections the `large` ones are verified block by block.
fn of_index(magic: &str, names: &[&str], large: &[&str], data: &[u8]) {
    let Some(sections) = cut(data, names.len()) else { return };
    let mut blocks = (BLOCK_BYTES as u64).to_le_bytes().to_vec();
    for (name, section) in names.iter().zip(&sections) {
        if large.contains(name) {
            blocks.extend(block_sums(section));
        }
    }
    let (names, sections) =
        ([&["blocks"], names].concat(), [&[&blocks[..]], &sections[..]].concat());
    exchange(magic, framed(&kind(magic, 2), &names, &sections));
}

/// Which rows have a vector.
pub(crate) fn slot(data: &[u8]) {
    of_segment("KVANTSLT", &["rows"], data);
}

pub(crate) fn slot_seed() -> Vec<u8> {
    parts(file("segment", "KVANTSLT").1, &kind("KVANTSLT", 1), &["rows"])
}

/// A file of the segment with sums of its own.
fn of_segment(magic: &str, names: &[&str], data: &[u8]) {
    let Some(sections) = cut(data, names.len()) else { return };
    exchange(magic, summed(&kind(magic, 1), names, &sections));
}

/// Puts a file in the place of that of its kind, and into the manifest.
fn exchange(magic: &str, bytes: Vec<u8>) {
    let (name, _) = file("segment", magic);
    let memory = copy();
    let input = manifest_seed();
    let sections = cut(&input, MANIFEST.len()).expect("made of as many");
    let mut state: Value = serde_json::from_slice(sections[1]).expect("JSON");
    let identity = identity(&bytes);
    relist(&mut state, name.leaf(), (bytes.len(), identity));
    let state = serde_json::to_vec(&state).expect("JSON");
    let manifest = framed(&kind("KVANTMAN", 2), &MANIFEST, &[sections[0], &state, sections[2]]);
    memory.put(file("manifest", "KVANTMAN").0, manifest);
    memory.put(name, bytes);
    ask(memory);
}

/// The checksum at the end of the header of a framed file.
fn identity(bytes: &[u8]) -> u32 {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    number(32 + 40 * number(12) as usize)
}

/// Says of every file called `name` what it is now.
fn relist(value: &mut Value, name: &str, (size, identity): (usize, u32)) {
    match value {
        Value::Object(object) => {
            if object.get("name").is_some_and(|of| of == name) {
                object.insert("size".to_owned(), size.into());
                object.insert("identity".to_owned(), identity.into());
            }
            object.values_mut().for_each(|value| relist(value, name, (size, identity)));
        }
        Value::Array(values) => {
            values.iter_mut().for_each(|value| relist(value, name, (size, identity)));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
