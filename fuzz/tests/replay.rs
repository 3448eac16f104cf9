//! The short regression: every target on its valid seed, on truncations, on mutations of it, and on
//! every input that once broke something (`regression/TARGET/*`).

use kvant_fuzz::TARGETS;

const MUTATIONS: usize = 400;

/// `SplitMix64`: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One to four edits: a flipped bit, an extreme byte, an extreme word, a cut, a doubled piece.
fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        match random.below(6) {
            _ if data.is_empty() => return,
            0 => data[at] ^= 1 << random.below(8),
            1 => data[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5)],
            2 | 3 => {
                let word = [0, 1, u64::MAX, 1 << 63, u64::from(u32::MAX), 1 << 40][random.below(6)];
                for (byte, value) in data[at..].iter_mut().zip(word.to_le_bytes()) {
                    *byte = value;
                }
            }
            4 => data.truncate(at),
            _ => {
                let piece = data[at..data.len().min(at + 16)].to_vec();
                data.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn no_target_breaks() {
    for (_, run, seed) in TARGETS {
        let valid = seed();
        run(&valid);
        let step = (valid.len() / 200).max(1);
        (0..valid.len()).step_by(step).for_each(|cut| run(&valid[..cut]));
        let mut random = Random(42);
        for _ in 0..MUTATIONS {
            let mut data = valid.clone();
            mutate(&mut data, &mut random);
            run(&data);
        }
    }
}

/// Indexes of other codes than that of the seed.
#[test]
fn other_codes_do_not_break() {
    let run = kvant_fuzz::target("index").unwrap();
    let mut random = Random(43);
    for valid in kvant_fuzz::seed::others() {
        run(&valid);
        for _ in 0..MUTATIONS {
            let mut data = valid.clone();
            mutate(&mut data, &mut random);
            run(&data);
        }
    }
}

#[test]
fn what_once_broke_stays_whole() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("regression");
    for (name, run, _) in TARGETS {
        let Ok(inputs) = std::fs::read_dir(folder.join(name)) else { continue };
        for input in inputs {
            run(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_binary() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut names: Vec<String> = TARGETS.iter().map(|(name, _, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(files, names);
}
