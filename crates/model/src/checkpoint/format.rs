//! The element formats of weight files: how many weights per block, how many bytes.

use kvant_quant::BlockFormat;

/// What the bytes of a format mean to the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// IEEE 754 binary64, little endian.
    Float64,
    /// IEEE 754 binary32, little endian.
    Float32,
    /// IEEE 754 binary16, little endian.
    Half,
    /// The upper half of a binary32 (bfloat16), little endian.
    Brain,
    /// Blocks of weights with their own scales.
    Block(BlockFormat),
    /// Signed bytes: int8 codes.
    Int8,
    /// Bytes: packed codes.
    Bytes,
    /// Indices, or a code this version only lists.
    Opaque,
}

/// One element format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The name printed by `inspect`; for safetensors the `dtype`.
    pub(crate) name: &'static str,
    /// Weights per block.
    pub(crate) block: usize,
    /// Bytes per block.
    pub(crate) bytes: usize,
    /// What the bytes mean.
    pub(crate) content: Content,
    /// Whether the values are weights of the network (not indices).
    pub(crate) weights: bool,
    /// Number of the type in GGUF files.
    ggml: Option<u32>,
    /// Whether safetensors has it under this name.
    safetensors: bool,
}

impl Format {
    /// IEEE 754 binary32.
    pub(crate) const F32: Self = element("F32", 4, Content::Float32, Some(0));
    /// IEEE 754 binary16.
    pub(crate) const F16: Self = element("F16", 2, Content::Half, Some(1));
    /// The upper half of a binary32.
    pub(crate) const BF16: Self = element("BF16", 2, Content::Brain, Some(30));

    /// The format a safetensors header calls `name`.
    pub(crate) fn from_safetensors(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.safetensors && format.name == name)
    }

    /// The format a GGUF tensor info numbers `id`.
    pub(crate) fn from_ggml(id: u32) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.ggml == Some(id))
    }

    /// The format of these blocks.
    pub(crate) fn of_block(format: BlockFormat) -> &'static Self {
        let found = FORMATS.iter().find(|known| known.content == Content::Block(format));
        found.unwrap_or(&Self::F32)
    }

    /// Number of the type in GGUF files.
    pub(crate) fn ggml(&self) -> Option<u32> {
        self.ggml
    }

    /// Whether safetensors has it.
    pub(crate) fn is_safetensors(&self) -> bool {
        self.safetensors
    }

    /// Bytes of a tensor whose last dimension is the fastest.
    ///
    /// `None` on overflow, or when rows do not consist of whole blocks.
    pub(crate) fn size_bytes(&self, shape: &[usize]) -> Option<usize> {
        let count = shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n))?;
        if !shape.last().copied().unwrap_or(1).is_multiple_of(self.block) {
            return None;
        }
        (count / self.block).checked_mul(self.bytes)
    }
}

const fn element(name: &'static str, bytes: usize, content: Content, ggml: Option<u32>) -> Format {
    let weights = !matches!(content, Content::Opaque);
    Format { name, block: 1, bytes, content, weights, ggml, safetensors: true }
}

const fn block(name: &'static str, id: u32, format: BlockFormat) -> Format {
    let (content, ggml) = (Content::Block(format), Some(id));
    let bytes = format.block_bytes();
    Format {
        name,
        block: format.weights_per_block(),
        bytes,
        content,
        weights: true,
        ggml,
        safetensors: false,
    }
}

const fn listed(name: &'static str, id: u32, block: usize, bytes: usize) -> Format {
    let (content, ggml) = (Content::Opaque, Some(id));
    Format { name, block, bytes, content, weights: true, ggml, safetensors: false }
}

/// Every format either container may hold; the sizes are those of the ggml block structures.
static FORMATS: [Format; 44] = [
    element("F64", 8, Content::Float64, Some(28)),
    Format::F32,
    Format::F16,
    Format::BF16,
    element("I64", 8, Content::Opaque, Some(27)),
    element("I32", 4, Content::Opaque, Some(26)),
    element("I16", 2, Content::Opaque, Some(25)),
    element("I8", 1, Content::Int8, Some(24)),
    element("U64", 8, Content::Opaque, None),
    element("U32", 4, Content::Opaque, None),
    element("U16", 2, Content::Opaque, None),
    element("U8", 1, Content::Bytes, None),
    element("BOOL", 1, Content::Opaque, None),
    element("F8_E4M3", 1, Content::Opaque, None),
    element("F8_E5M2", 1, Content::Opaque, None),
    element("F8_E8M0", 1, Content::Opaque, None),
    block("Q4_0", 2, BlockFormat::Q4_0),
    block("Q4_1", 3, BlockFormat::Q4_1),
    block("Q5_0", 6, BlockFormat::Q5_0),
    block("Q5_1", 7, BlockFormat::Q5_1),
    block("Q8_0", 8, BlockFormat::Q8_0),
    listed("Q8_1", 9, 32, 36),
    block("Q2_K", 10, BlockFormat::Q2_K),
    block("Q3_K", 11, BlockFormat::Q3_K),
    block("Q4_K", 12, BlockFormat::Q4_K),
    block("Q5_K", 13, BlockFormat::Q5_K),
    block("Q6_K", 14, BlockFormat::Q6_K),
    listed("Q8_K", 15, 256, 292),
    listed("IQ2_XXS", 16, 256, 66),
    listed("IQ2_XS", 17, 256, 74),
    listed("IQ3_XXS", 18, 256, 98),
    listed("IQ1_S", 19, 256, 50),
    block("IQ4_NL", 20, BlockFormat::IQ4_NL),
    listed("IQ3_S", 21, 256, 110),
    listed("IQ2_S", 22, 256, 82),
    block("IQ4_XS", 23, BlockFormat::IQ4_XS),
    listed("IQ1_M", 29, 256, 56),
    listed("TQ1_0", 34, 256, 54),
    listed("TQ2_0", 35, 256, 66),
    block("MXFP4", 39, BlockFormat::MXFP4),
    listed("Q4_0_4_4", 31, 32, 18),
    listed("Q4_0_4_8", 32, 32, 18),
    listed("Q4_0_8_8", 33, 32, 18),
    listed("NVFP4", 40, 64, 36),
];
