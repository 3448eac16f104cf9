//! Where real models and evaluation data are, if this machine has them.

use std::path::PathBuf;

/// The all-MiniLM-L6-v2 directory: `KVANT_TEST_MINILM`, else where `./test` puts it
/// (`.cache/models/minilm` in the repository). `None` where it is absent.
pub fn minilm() -> Option<PathBuf> {
    let place = std::env::var_os("KVANT_TEST_MINILM")
        .map_or_else(|| root().join(".cache/models/minilm"), PathBuf::from);
    place.join("model.safetensors").is_file().then_some(place)
}

/// The SmolLM2-135M-Instruct GGUF file (`Q4_1`): `KVANT_TEST_SMOLLM2`, which `./test --full` sets.
/// `None` where it is absent.
pub fn smollm2() -> Option<PathBuf> {
    std::env::var_os("KVANT_TEST_SMOLLM2").map(PathBuf::from).filter(|place| place.is_file())
}

/// The weights of EfficientNet-Lite0 (a `.pth` file): `KVANT_TEST_EFFICIENTNET`, which
/// `./test --full` sets. `None` where they are absent.
pub fn efficientnet() -> Option<PathBuf> {
    std::env::var_os("KVANT_TEST_EFFICIENTNET").map(PathBuf::from).filter(|place| place.is_file())
}

/// A file or directory of the shared evaluation data (`../shared/NAME`), `None` where absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let place = root().parent()?.join("shared").join(name);
    place.exists().then_some(place)
}

/// Says on stderr that a part of a test did not run, and why.
pub fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, PathBuf::from)
}
