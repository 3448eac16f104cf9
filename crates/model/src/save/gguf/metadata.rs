//! Metadata entries in the bytes of a GGUF file.

/// Entries in the order they were added; a key that is there already is replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    entries: Vec<(String, Vec<u8>)>,
}

/// Type numbers of the values.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

impl Metadata {
    /// Adds an entry as it stands in a file: type number and value.
    pub(crate) fn stored(&mut self, key: &str, value: &[u8]) {
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value.to_vec(),
            None => self.entries.push((key.to_owned(), value.to_vec())),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.entries.retain(|(known, _)| known != key);
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, _)| known == key)
    }

    pub(crate) fn u32(&mut self, key: &str, value: u32) {
        self.scalar(key, U32, &value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, key: &str, value: f32) {
        self.scalar(key, F32, &value.to_le_bytes());
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.scalar(key, BOOL, &[u8::from(value)]);
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        string(&mut bytes, value);
        self.scalar(key, TEXT, &bytes);
    }

    pub(crate) fn texts(&mut self, key: &str, values: &[String]) {
        self.list(key, TEXT, values, |bytes, value| string(bytes, value));
    }

    pub(crate) fn i32s(&mut self, key: &str, values: &[i32]) {
        self.list(key, I32, values, |bytes, value| bytes.extend(value.to_le_bytes()));
    }

    pub(crate) fn f32s(&mut self, key: &str, values: &[f32]) {
        self.list(key, F32, values, |bytes, value| bytes.extend(value.to_le_bytes()));
    }

    fn scalar(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.stored(key, &[&kind.to_le_bytes(), value].concat());
    }

    fn list<T>(&mut self, key: &str, kind: u32, values: &[T], put: fn(&mut Vec<u8>, &T)) {
        let mut bytes = ARRAY.to_le_bytes().to_vec();
        bytes.extend(kind.to_le_bytes());
        bytes.extend((values.len() as u64).to_le_bytes());
        for value in values {
            put(&mut bytes, value);
        }
        self.stored(key, &bytes);
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries one behind the other, as they stand in a file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in &self.entries {
            string(&mut bytes, key);
            bytes.extend(value);
        }
        bytes
    }
}

/// A string as GGUF has it: its length as u64, then its bytes.
pub(super) fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
