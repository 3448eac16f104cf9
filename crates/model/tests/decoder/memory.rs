//! What a loaded model takes of memory that is its own.

use std::path::Path;
use std::sync::Arc;

use kvant_model::{CacheFormat, Checkpoint, Decoder, Engine, EngineOptions, PackedStore, Request};

/// What everything beside weights and keys and values may take.
const OTHERS: usize = 64 << 20;

/// Bytes of this process that are in memory and of no file.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    kib.map_or(0, |kib| kib << 10)
}

/// Loads the model and writes a token; what that takes, what it may take, and what took it.
fn taken(model: &Path, store: Option<PackedStore>) -> (usize, usize, Engine) {
    let before = anonymous();
    let checkpoint = Checkpoint::open(model).unwrap();
    let checkpoint = match store {
        Some(store) => checkpoint.with_packed(store),
        None => checkpoint,
    };
    let decoder = Arc::new(Decoder::open(&checkpoint).unwrap());
    drop(checkpoint);
    let tokens = decoder.tokenize("The capital of France is a city that many people").unwrap();
    let options = EngineOptions { cache: CacheFormat::F16, ..EngineOptions::default() };
    let mut engine = Engine::new(Arc::clone(&decoder), options);
    engine.run(Request::new(tokens, 1), |_| {}).unwrap();
    let taken = anonymous().saturating_sub(before);
    (taken, decoder.read_bytes() * 11 / 10 + engine.cache_bytes() + OTHERS, engine)
}

#[test]
fn memory_is_that_of_the_packed_weights_and_little_more() {
    let Some(model) = kvant_testkit::smollm2() else {
        return kvant_testkit::skip("no SmolLM2, KVANT_TEST_SMOLLM2 is not set");
    };
    if anonymous() == 0 {
        return kvant_testkit::skip("no /proc/self/status with RssAnon");
    }
    let folder = tempfile::tempdir().unwrap();
    let store = || Some(PackedStore::new(folder.path().to_owned(), 1 << 30));
    // Nothing is dropped in between, or the later would take the memory of the earlier.
    let (packed, most, _first) = taken(&model, store());
    let (mapped, _, _second) = taken(&model, store());
    eprintln!("anonymous MiB: {} packed, {} mapped", packed >> 20, mapped >> 20);
    assert!(packed <= most, "{packed} of {most} bytes");
    assert!(mapped <= OTHERS, "{mapped} bytes with the weights mapped");
}
