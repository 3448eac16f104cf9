//! What this crate accepts at most from files it did not write.

/// Bytes of a safetensors header.
pub(crate) const SAFETENSORS_HEADER_BYTES: u64 = 10 << 20;
/// Dimensions of one tensor.
pub(crate) const DIMENSIONS: usize = 8;
/// Bytes of a tensor name.
pub(crate) const NAME_BYTES: usize = 1024;
/// Tensors of a GGUF file.
pub(crate) const GGUF_TENSORS: u64 = 1 << 16;
/// Metadata entries of a GGUF file.
pub(crate) const GGUF_ENTRIES: u64 = 1 << 16;
/// Bytes of a metadata string that is kept; longer ones are only skipped over.
pub(crate) const GGUF_STRING_BYTES: usize = 1 << 16;
/// Alignment of the data of a GGUF file.
pub(crate) const GGUF_ALIGNMENT: u64 = 1 << 20;
/// Bytes of one JSON file of a model directory (configurations).
pub(crate) const CONFIG_BYTES: usize = 4 << 20;
/// Bytes of `tokenizer.json` and of `model.safetensors.index.json`.
pub(crate) const TOKENIZER_BYTES: usize = 64 << 20;
/// Files a sharded checkpoint may have.
pub(crate) const SHARDS: usize = 1024;
/// Bytes of a file copied beside the weights; larger ones are left out.
pub(crate) const COMPANION_BYTES: u64 = 64 << 20;
/// Width of a network.
pub(crate) const HIDDEN: usize = 16_384;
/// Layers of a network.
pub(crate) const LAYERS: usize = 512;
/// Entries of a vocabulary.
pub(crate) const VOCABULARY: usize = 1 << 22;
/// Labels of a classifier.
pub(crate) const LABELS: usize = 1 << 16;
/// Tokens of a sequence; attention weights of one head take 4 bytes for each pair of them.
pub(crate) const POSITIONS: usize = 1 << 14;
/// Tokens of the longest sequence of a language model.
pub(crate) const CONTEXT: usize = 1 << 24;
/// Bytes of a text that the tokenizer looks at.
pub(crate) const TEXT_BYTES: usize = 1 << 20;
/// Instructions of one pickle.
pub(crate) const PICKLE_OPS: u64 = 1 << 22;
/// Bytes of a text in a pickle.
pub(crate) const PICKLE_TEXT_BYTES: u64 = 1 << 20;
/// Dictionaries inside dictionaries of a pickle.
pub(crate) const PICKLE_DEPTH: usize = 16;
/// Bytes of a chat template.
pub(crate) const TEMPLATE_BYTES: usize = 1 << 16;
/// Steps of a chat template.
pub(crate) const TEMPLATE_FUEL: u64 = 1_000_000;
/// Stack of the thread that runs a chat template: 8 kB for each level that [`TEMPLATE_BYTES`] of it
/// can nest. Only what is used takes memory.
pub(crate) const TEMPLATE_STACK_BYTES: usize = 512 << 20;
