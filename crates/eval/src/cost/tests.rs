//! Bytes on disk and in memory, records of compressions, dates.

use std::process::Command;

use super::*;
use crate::report::Memory;

#[test]
fn weights_and_directory_are_weighed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, len: usize| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![0; len]).unwrap();
    };
    write("model.safetensors", 1000);
    write("part/more.safetensors", 24);
    write("config.json", 7);
    let size = weigh(folder.path()).unwrap();
    assert_eq!((size.weights_bytes, size.directory_bytes), (Some(1024), Some(1031)));
    let size = weigh(&folder.path().join("config.json")).unwrap();
    assert_eq!((size.weights_bytes, size.directory_bytes), (None, Some(7)));
    write("one.gguf", 9);
    let size = weigh(&folder.path().join("one.gguf")).unwrap();
    assert_eq!((size.weights_bytes, size.directory_bytes), (Some(9), Some(9)));
    let missing = weigh(&folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("none: cannot read"), "{missing}");
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_in_circles() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("self")).unwrap();
    std::fs::write(folder.path().join("a"), "12345").unwrap();
    std::os::unix::fs::symlink("a", folder.path().join("b.gguf")).unwrap();
    let size = weigh(folder.path()).unwrap();
    assert_eq!((size.weights_bytes, size.directory_bytes), (Some(5), Some(10)));
}

#[test]
fn tensor_errors_are_read_from_the_record() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tensor_errors(folder.path()).unwrap(), []);
    let path = folder.path().join("compression.json");
    let text = r#"{"scheme":"int8","tensors":[
        {"name":"a","format":"int8","relative":0.01,"bits_per_weight":8.1,"mean_abs":0.1,
         "max_abs":0.2,"shape":[1,2]},
        {"name":"norm","format":"F32","relative":null},
        {"name":"bias","format":"F32","relative":0.0,"kept":"one row"},
        {"name":"b","relative":0.5}]}"#;
    std::fs::write(&path, text).unwrap();
    let errors = tensor_errors(folder.path()).unwrap();
    let names: Vec<&str> = errors.iter().map(|error| error.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((errors[0].relative, errors[0].max_abs), (0.01, Some(0.2)));
    assert_eq!(tensor_errors(&path).unwrap(), [], "a model that is a file has no record");
    std::fs::write(&path, "[]").unwrap();
    let wrong = tensor_errors(folder.path()).unwrap_err().to_string();
    assert!(wrong.contains("compression.json: not a record of a compression"), "{wrong}");
    std::fs::write(&path, " ".repeat(crate::limits::SIDECAR_BYTES + 1)).unwrap();
    let large = tensor_errors(folder.path()).unwrap_err().to_string();
    assert!(large.ends_with("16777217 bytes, limit 16777216"), "{large}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_meter_sees_what_is_allocated() {
    const BLOCK: usize = 48 << 20;
    let mut meter = Meter::start().unwrap();
    let held = std::hint::black_box(vec![1u8; BLOCK]);
    meter.loaded();
    let more = std::hint::black_box(vec![2u8; BLOCK]);
    drop(more);
    let memory = meter.finish().unwrap();
    // Other tests of this process come and go, so only half of each block is asked for.
    let half = BLOCK as u64 / 2;
    assert!(memory.loaded_bytes > memory.start_bytes + half, "{memory:?}");
    assert!(memory.peak_bytes > memory.loaded_bytes + half, "{memory:?}");
    drop(held);
}

fn shell(script: &str, input: &[u8]) -> Result<Option<Memory>, String> {
    in_child(Command::new("sh").args(["-c", script]), input).map_err(|error| error.to_string())
}

#[cfg(unix)]
#[test]
fn a_child_answers_with_its_memory() {
    let memory = Memory { start_bytes: 1, loaded_bytes: 2, peak_bytes: 3 };
    let answer = serde_json::to_vec(&memory).unwrap();
    assert_eq!(shell("cat", &answer), Ok(Some(memory)));
    assert_eq!(shell("cat >/dev/null; echo null", b"x"), Ok(None));
    // More input and output than the pipes hold, and a child that reads nothing.
    let large = vec![b' '; 1 << 20];
    assert!(shell("cat", &large).unwrap_err().contains("answered with something else"));
    assert_eq!(shell("echo null", &large), Ok(None));
    let failed = "the process that measures memory failed:";
    assert_eq!(shell("echo out of luck >&2; exit 3", b""), Err(format!("{failed} out of luck")));
    assert_eq!(shell("exit 3", b""), Err(format!("{failed} exit status: 3")));
    let none = in_child(&mut Command::new("no-such-program-here"), b"").unwrap_err();
    assert!(none.to_string().starts_with("cannot run the process that measures memory"));
}

#[test]
fn dates_follow_the_calendar() {
    use std::time::{Duration, UNIX_EPOCH};
    let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(at(0), "1970-01-01T00:00:00Z");
    assert_eq!(at(68_169_599), "1972-02-28T23:59:59Z");
    assert_eq!(at(68_169_600), "1972-02-29T00:00:00Z");
    assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59Z");
    assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00Z");
}

#[test]
fn this_machine_has_a_name() {
    let machine = machine();
    assert!(!machine.cpu.is_empty() && machine.cores > 0 && !machine.simd.is_empty());
}
