//! Packed weights that are kept in files: the same logits, whatever is in the files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kvant_kernels::Matrix;
use kvant_model::{
    Checkpoint, Compute, Decoder, Dense, ForwardOptions, PackedStore, SaveOptions, SavedTensor,
    Weight, save,
};
use kvant_quant::Scheme;
use kvant_storage::Bytes;
use kvant_storage::frame::{self, Frame, Kind, Section};
use kvant_testkit::Random;
use tempfile::TempDir;

use crate::toy::{LLAMA, SHARED, Toy};

const KIND: Kind = Kind { magic: *b"KVPACKED", version: 1, features: 0 };
const SIZE_MAX: u64 = 1 << 30;

/// A folder to keep packed weights in.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> PackedStore {
        PackedStore::new(self.folder.path().join("packed"), SIZE_MAX)
    }

    /// What is kept, by name.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("packed")).into_iter().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The only file.
    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn logits(checkpoint: &Checkpoint) -> Vec<u32> {
    let decoder = Decoder::open(checkpoint).unwrap();
    let logits = decoder.logits(&[5, 70, 3, 99, 5], ForwardOptions::default()).unwrap();
    logits.iter().map(|value| value.to_bits()).collect()
}

fn plain(model: &Path, compute: Compute) -> Vec<u32> {
    logits(&Checkpoint::open(model).unwrap().with_compute(compute))
}

fn stored(model: &Path, compute: Compute, store: PackedStore) -> Vec<u32> {
    logits(&Checkpoint::open(model).unwrap().with_compute(compute).with_packed(store))
}

/// The model of `toy` with its matrices in turn in each of `schemes`.
fn coded(toy: &Toy, schemes: &[&str]) -> PathBuf {
    let source = toy.directory();
    let matrices = toy.weights.iter().filter(|(_, (shape, _))| shape.len() == 2);
    let schemes = schemes.iter().cycle();
    let mut tensors: Vec<(String, SavedTensor)> = matrices
        .zip(schemes)
        .map(|((name, (shape, values)), scheme)| {
            let scheme: Scheme = scheme.parse().unwrap();
            let coded = scheme.encode(Matrix::new(values, shape[0], shape[1])).unwrap();
            (name.clone(), SavedTensor::Coded(coded))
        })
        .collect();
    let vectors = toy.weights.iter().filter(|(_, (shape, _))| shape.len() == 1);
    tensors.extend(vectors.map(|(name, _)| (name.clone(), SavedTensor::Kept)));
    let out = toy.folder.path().join("coded");
    save(&out, &source, &tensors, &SaveOptions::default()).unwrap();
    out
}

#[test]
fn logits_are_the_same_packed_or_kept() {
    let toy = Toy::new(SHARED);
    let mixed = coded(&toy, &["int8", "linear4:g16", "linear8:g16", "nf4"]);
    let mut models = vec![toy.directory(), toy.gguf(toy.metadata()), mixed];
    let whole = Toy::new(LLAMA);
    models.push(coded(&whole, &["int8"]));
    for model in models {
        for compute in [Compute::Auto, Compute::Float32, Compute::BFloat16, Compute::Int8] {
            let (place, expected) = (Place::new(), plain(&model, compute));
            assert!(stored(&model, compute, place.store()) == expected, "made: {compute:?}");
            let file = place.file();
            let (before, made) = (fs::read(&file).unwrap(), inode(&file));
            assert_eq!(PackedStore::check(&before.clone().into()), Some(9), "4 a layer, the head");
            assert!(stored(&model, compute, place.store()) == expected, "kept: {compute:?}");
            assert_eq!((inode(&file), &fs::read(&file).unwrap()), (made, &before), "written twice");
        }
    }
}

fn inode(file: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap())
}

/// The file again with `change` made to its data, its checksums those of the new content.
fn forged(file: &Path, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let frame = Frame::open(fs::read(file).unwrap().into(), file, &KIND).unwrap();
    let part = |name: &str| frame.section(name).unwrap().to_vec();
    let (key, table, mut data) = (part("key"), part("table"), part("data"));
    change(&mut data);
    let section = |name, data| Section { name, data };
    let sections = [section("key", &key[..]), section("table", &table), section("data", &data)];
    frame::to_bytes(&KIND, 0, &sections)
}

#[test]
fn what_is_kept_is_what_is_used() {
    let toy = Toy::new(SHARED);
    let (model, place) = (toy.directory(), Place::new());
    let right = stored(&model, Compute::Auto, place.store());
    let file = place.file();
    let other = forged(&file, |data| data.chunks_exact_mut(4).for_each(|value| value[3] ^= 0x80));
    fs::write(&file, other).unwrap();
    assert!(stored(&model, Compute::Auto, place.store()) != right, "weights of the other sign");
}

/// Loads `model` with every one of `contents` in the place of what is kept.
fn survives(model: &Path, place: &Place, contents: impl Iterator<Item = Vec<u8>>) {
    let expected = plain(model, Compute::Auto);
    assert!(stored(model, Compute::Auto, place.store()) == expected);
    let file = place.file();
    let whole = fs::read(&file).unwrap();
    for (at, content) in contents.enumerate() {
        fs::remove_file(&file).unwrap();
        fs::write(&file, content).unwrap();
        assert!(stored(model, Compute::Auto, place.store()) == expected, "content {at}");
        assert!(fs::read(&file).unwrap() == whole, "content {at} is replaced");
    }
}

#[test]
fn damage_anywhere_is_seen_and_repaired() {
    let toy = Toy::new(SHARED);
    let (model, place) = (toy.directory(), Place::new());
    stored(&model, Compute::Auto, place.store());
    let whole = fs::read(place.file()).unwrap();
    let frame = Frame::open(Bytes::copy_of(&whole), Path::new("kept"), &KIND).unwrap();
    let heads = whole.len() - frame.section("data").unwrap().len();
    assert!(heads > 1000 && whole.len() > 100 * 1024, "{heads} of {}", whole.len());
    let header = (0..156).chain((156..heads).step_by(23));
    let mut random = Random::new(3);
    let mut places: Vec<usize> = header.collect();
    places.extend((0..60).map(|_| heads + random.below(whole.len() - heads)));
    let flipped = |at: usize, bit: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        bytes
    };
    // Zeros between sections are nobody's: a flip there changes nothing, so is not repaired.
    let harmless = |at: &usize| {
        let changed = Frame::open(flipped(*at, 0).into(), Path::new("kept"), &KIND);
        changed.is_ok_and(|frame| {
            ["key", "table", "data"].iter().all(|name| frame.section(name).is_ok())
        })
    };
    places.retain(|at| !harmless(at));
    assert!(places.len() > 180, "{} places", places.len());
    survives(&model, &place, places.into_iter().enumerate().map(|(n, at)| flipped(at, n % 8)));
    let cuts = [0, 1, 7, 8, 31, 32, 155, heads - 1, heads, heads + 1, whole.len() - 1];
    survives(&model, &place, cuts.into_iter().map(|cut| whole[..cut].to_vec()));
    let longer = [&whole[..], &[0]].concat();
    survives(&model, &place, [longer, vec![0; 5000], b"KVPACKED".to_vec()].into_iter());
}

#[test]
fn a_file_of_another_model_or_of_older_weights_is_not_taken() {
    let (toy, other) = (Toy::new(SHARED), Toy::new(SHARED));
    let (model, place) = (toy.directory(), Place::new());
    let first = stored(&model, Compute::Auto, place.store());
    let file = place.file();
    // The same shapes, other weights, at another path.
    let elsewhere = Place::new();
    let mut changed = other;
    for (_, values) in changed.weights.values_mut() {
        for value in values {
            *value *= 1.5;
        }
    }
    let different = stored(&changed.directory(), Compute::Auto, elsewhere.store());
    assert!(first != different);
    fs::remove_file(&file).unwrap();
    fs::copy(elsewhere.file(), &file).unwrap();
    assert!(stored(&model, Compute::Auto, place.store()) == first);
    // Now the model itself becomes the other one: the same length, then also the same time.
    let weights = model.join("model.safetensors");
    let time = fs::metadata(&weights).unwrap().modified().unwrap();
    let (old, new) = (
        fs::read(&weights).unwrap(),
        fs::read(changed.folder.path().join("model/model.safetensors")).unwrap(),
    );
    assert_eq!(old.len(), new.len());
    fs::write(&weights, &new).unwrap();
    assert!(stored(&model, Compute::Auto, place.store()) == different);
    assert_eq!(place.files(), [file], "the old weights are not kept beside the new ones");
    fs::write(&weights, &old).unwrap();
    File::options().append(true).open(&weights).unwrap().set_modified(time).unwrap();
    assert!(stored(&model, Compute::Auto, place.store()) == first);
    fs::write(&weights, &new).unwrap();
    File::options().append(true).open(&weights).unwrap().set_modified(time).unwrap();
    assert!(stored(&model, Compute::Auto, place.store()) == different, "told by samples alone");
    // The configuration counts too.
    let mut config = toy.config.clone();
    config["rope_theta"] = 5000.into();
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    assert!(stored(&model, Compute::Auto, place.store()) == plain(&model, Compute::Auto));
}

#[test]
fn replaced_weights_are_neither_kept_nor_mistaken_for_those_of_the_file() {
    let toy = Toy::new(SHARED);
    let (model, place) = (toy.directory(), Place::new());
    let name = "model.layers.0.mlp.down_proj.weight";
    let replace = |mut checkpoint: Checkpoint| {
        let (shape, values) = &toy.weights[name];
        let values = values.iter().map(|value| value * 2.0).collect();
        checkpoint.replace(name.to_owned(), Weight::Dense(Dense::owned(shape.clone(), values)));
        checkpoint
    };
    let open = || Checkpoint::open(&model).unwrap();
    let expected = logits(&replace(open()));
    assert!(logits(&replace(open().with_packed(place.store()))) == expected);
    assert!(place.files().is_empty());
    let unchanged = stored(&model, Compute::Auto, place.store());
    assert!(unchanged != expected);
    assert!(logits(&replace(open().with_packed(place.store()))) == expected);
    assert!(stored(&model, Compute::Auto, place.store()) == unchanged);
}

#[test]
fn a_place_that_takes_nothing_is_no_error() {
    let toy = Toy::new(SHARED);
    let (model, folder) = (toy.directory(), tempfile::tempdir().unwrap());
    let expected = plain(&model, Compute::Auto);
    fs::write(folder.path().join("file"), b"").unwrap();
    for place in ["file", "file/below"] {
        let store = PackedStore::new(folder.path().join(place), SIZE_MAX);
        assert!(stored(&model, Compute::Auto, store) == expected);
    }
    assert!(stored(&model, Compute::Auto, PackedStore::new("/proc/none".into(), 1)) == expected);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_folder_is_held_to_its_size() {
    let place = Place::new();
    let toys: Vec<Toy> = (0..3).map(|_| Toy::new(SHARED)).collect();
    let models: Vec<PathBuf> = toys.iter().map(Toy::directory).collect();
    stored(&models[0], Compute::Auto, place.store());
    let first = place.file();
    let size = fs::metadata(&first).unwrap().len();
    let small = PackedStore::new(place.folder.path().join("packed"), size * 5 / 2);
    stored(&models[1], Compute::Auto, small.clone());
    assert_eq!(place.files().len(), 2);
    let long_ago = SystemTime::now() - Duration::from_secs(1000);
    File::options().append(true).open(&first).unwrap().set_modified(long_ago).unwrap();
    stored(&models[2], Compute::Auto, small);
    assert_eq!(place.files().len(), 2);
    assert!(!first.exists(), "what was not used for longest is gone");
    let tiny = PackedStore::new(place.folder.path().join("tiny"), size / 2);
    let expected = plain(&models[0], Compute::Auto);
    assert!(stored(&models[0], Compute::Auto, tiny) == expected);
    assert!(!place.folder.path().join("tiny").exists(), "more than all that may be kept");
}

#[test]
fn many_may_make_the_same_file_at_once() {
    let toy = Toy::new(SHARED);
    let (model, place) = (toy.directory(), Place::new());
    let expected = plain(&model, Compute::Auto);
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for _ in 0..6 {
                let run = || assert!(stored(&model, Compute::Auto, place.store()) == expected);
                scope.spawn(run);
            }
        });
        fs::remove_file(place.file()).unwrap();
    }
}
