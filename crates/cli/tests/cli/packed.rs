//! Packed weights from run to run.

use std::path::PathBuf;

use kvant_testkit::llama;

use crate::house::{House, said};

const LINE: [&str; 6] = ["generate", "model", "a few words", "--raw", "--max-tokens", "5"];

fn house() -> House {
    let house = House::new();
    llama(&house.path("model"), 5).expect("written");
    house
}

/// What is kept.
fn kept(house: &House, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(house.path(folder)).into_iter().flatten();
    entries.map(|entry| entry.expect("listed").path()).collect()
}

#[test]
fn the_second_run_says_what_the_first_said() {
    let mut house = house();
    let first = house.succeed(&LINE);
    let files = kept(&house, "kvant-home/packed");
    assert_eq!(files.len(), 1, "{files:?}");
    let content = std::fs::read(&files[0]).expect("read");
    assert_eq!(house.succeed(&LINE), first);
    std::fs::write(&files[0], &content[..content.len() / 2]).expect("cut");
    assert_eq!(house.succeed(&LINE), first);
    assert!(std::fs::read(&files[0]).expect("read") == content, "made again");
    house.set("KVANT_PACKED_CACHE", "elsewhere");
    assert_eq!(house.succeed(&LINE), first);
    assert_eq!(kept(&house, "elsewhere").len(), 1);
}

#[test]
fn nothing_is_kept_where_it_is_not_wanted_or_cannot_be() {
    let mut house = house();
    house.set("KVANT_PACKED_CACHE", "off");
    let first = house.succeed(&LINE);
    house.set("KVANT_PACKED_CACHE", "");
    let mut homeless = house.command(&LINE);
    let output = homeless.env_remove("KVANT_HOME").env_remove("HOME").output().expect("runs");
    assert_eq!(said(&output), (first.clone(), String::new()));
    house.write("file", "");
    house.set("KVANT_PACKED_CACHE", "file");
    assert_eq!(house.succeed(&LINE), first);
    assert!(kept(&house, "kvant-home/packed").is_empty() && kept(&house, ".cache").is_empty());
}

#[test]
fn two_processes_may_make_the_same_file_at_once() {
    let house = house();
    let mut expected = None;
    for _ in 0..4 {
        let start = || house.command(&LINE).stdout(std::process::Stdio::piped()).spawn();
        let children = [start(), start(), start()];
        for child in children {
            let output = child.expect("starts").wait_with_output().expect("ends");
            let (out, _) = said(&output);
            assert!(output.status.success());
            assert_eq!(expected.get_or_insert_with(|| out.clone()), &out);
        }
        let files = kept(&house, "kvant-home/packed");
        assert_eq!(files.len(), 1, "{files:?}");
        std::fs::remove_file(&files[0]).expect("removed");
    }
}
