//! Bad input of every kind: one line that names the file, exit code 1, nothing left behind.

use std::io::Write;
use std::process::Stdio;

use kvant_db::source::npy;

use crate::house::{BERT, House, safetensors, said};

/// A house with a model directory that opens but cannot run.
fn with_model() -> House {
    let house = House::new();
    house.write("model/config.json", BERT);
    house.write("model/model.safetensors", safetensors(64, 64));
    house
}

#[track_caller]
fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{line:?} does not say {part:?}");
    }
}

#[test]
fn broken_weights() {
    let house = with_model();
    let whole = safetensors(64, 64);
    let huge = [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat();
    let cases: &[(&str, &[u8])] = &[
        ("cut", &whole[..whole.len() - 1]),
        ("header", &whole[..20]),
        ("empty", b""),
        ("text", b"this is no model at all, not even a bit of one"),
        ("huge", &huge),
    ];
    for (name, bytes) in cases {
        house.write(&format!("{name}/config.json"), BERT);
        house.write(&format!("{name}/model.safetensors"), bytes);
        for command in [
            vec!["inspect", name],
            vec!["compress", name, "--scheme", "int8", "-o", "out"],
            vec!["embed", "--model", name, "a text"],
        ] {
            let line = house.fail(&command);
            says(&line, &[&format!("{name}/model.safetensors")]);
        }
        house.write(&format!("{name}.gguf"), bytes);
        says(&house.fail(&["inspect", &format!("{name}.gguf")]), &[&format!("{name}.gguf")]);
    }
}

#[test]
fn models_that_cannot_run() {
    let house = with_model();
    says(&house.fail(&["embed", "--model", "model", "x"]), &["tokenizer.json"]);
    house.write("other/config.json", BERT.replace("bert", "llama").replace("Bert", "Llama"));
    house.write("other/model.safetensors", safetensors(64, 64));
    house.write("other/tokenizer.json", "{}");
    says(&house.fail(&["embed", "--model", "other", "x"]), &["config.json", "lama"]);
    house.write("json/config.json", "{ not json");
    house.write("json/model.safetensors", safetensors(64, 64));
    says(&house.fail(&["embed", "--model", "json", "x"]), &["json/config.json"]);
    says(&house.fail(&["embed", "--model", "absent", "x"]), &["absent: no such model", "hf:"]);
    std::fs::create_dir(house.path("bare")).expect("made");
    says(&house.fail(&["inspect", "bare"]), &["bare: no model here", "config.json"]);
    says(&house.fail(&["inspect", "hf:a/b/c"]), &["hf:a/b/c", "hf:org/name"]);
    says(&house.fail(&["inspect", "pypi:-r"]), &["pypi:-r", "pypi:package"]);
}

#[test]
fn outputs_that_are_in_the_way_or_cannot_be() {
    let house = with_model();
    std::fs::create_dir(house.path("out")).expect("made");
    house.write("out.npy", "mine");
    let compress = |out| house.fail(&["compress", "model", "--scheme", "int8", "-o", out]);
    says(&compress("out"), &["out"]);
    let embed = |out| house.fail(&["embed", "--model", "model", "-o", out, "x"]);
    says(&embed("out.npy"), &["out.npy: already exists"]);
    says(&embed("absent/out.npy"), &["absent: no such directory"]);
    says(&embed("out.csv"), &["out.csv: vectors are written as .npy or .jsonl"]);
    if cfg!(target_os = "linux") {
        // Refuses everybody, the superuser included.
        says(&embed("/proc/out.npy"), &["/proc: cannot write here"]);
        says(&compress("/proc/out"), &["/proc"]);
        house.write("v.npy", npy::encode(&[1.0], 1));
        says(&house.fail(&["import", "/proc/c", "--from", "v.npy"]), &["/proc"]);
    }
}

#[test]
fn broken_data_files() {
    let house = House::new();
    let good = npy::encode(&[1.0, 2.0, 3.0, 4.0], 2);
    let nan = npy::encode(&[1.0, 2.0, 3.0, f32::NAN], 2);
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(17 << 20));
    let cases: &[(&str, &[u8], &str)] = &[
        ("cut.npy", &good[..good.len() - 1], "cut.npy: the file is cut short"),
        ("nan.npy", &nan, "nan.npy: row 1: component 1 of the vector is not a finite number"),
        ("not.npy", b"hello", "not.npy: this is not a NumPy .npy file"),
        ("empty.npy", b"", "empty.npy: this is not a NumPy .npy file"),
        ("cut.fvecs", &[2, 0, 0, 0, 1], "cut.fvecs: the file is cut short"),
        ("nan.jsonl", b"{\"vector\": [1]}\n{\"vector\": [NaN]}", "nan.jsonl: line 2: not a JSON"),
        ("inf.jsonl", b"{\"vector\": [1e99]}", "inf.jsonl: line 1: component 0"),
        ("odd.jsonl", b"{\"vector\": [1, 2]}\n{\"vector\": [1]}", "odd.jsonl"),
        ("blank.jsonl", b"{\"text\": \"\"}", "blank.jsonl: line 1: the text is empty"),
        ("text.jsonl", b"{\"text\": \"a\"}", "text.jsonl: line 1: a text without a vector"),
        ("none.jsonl", b"{\"a\": 1}", "none.jsonl: line 1: neither text nor vector"),
        ("long.jsonl", long.as_bytes(), "long.jsonl: line 1: the line is longer than"),
        ("blank.txt", b"\n \n\n", "blank.txt: no records"),
        ("lines.txt", b"\n\nb", "lines.txt: line 3: a text without a vector"),
        ("latin.txt", b"caf\xE9", "latin.txt: line 1: not UTF-8"),
        (
            "ids.jsonl",
            b"{\"id\": 1, \"vector\": [1]}\n{\"vector\": [1]}",
            "ids.jsonl: line 2: some",
        ),
        ("zero.txt", b"", "zero.txt: no records"),
        ("not.parquet", b"hello", "not.parquet: cannot be read as parquet"),
        ("not.hdf5", b"hello", "not.hdf5: cannot be read as HDF5"),
        ("a.xls", b"", "a.xls: not a known kind of file"),
    ];
    for (name, bytes, expected) in cases {
        house.write(name, bytes);
        let command = ["import", "db/c", "--from", name];
        says(&house.fail(&command), &[expected]);
        assert!(!house.path("db").exists(), "{name}");
    }
    says(&house.fail(&["import", "db/c", "--from", "absent.npy"]), &["absent.npy"]);
}

#[test]
fn collections_that_disagree() {
    let house = House::new();
    house.write("a.npy", npy::encode(&[1.0, 2.0, 3.0, 4.0], 2));
    house.write("b.npy", npy::encode(&[1.0, 2.0, 3.0], 3));
    house.run("import db/c --from a.npy --metric dot --index hnsw8");
    let import =
        |rest: &[&str]| house.fail(&[&["import", "db/c", "--from", "a.npy"], rest].concat());
    says(&import(&["--metric", "cosine"]), &["db/c", "default", "dot", "cosine", "--metric"]);
    says(&import(&["--index", "flat"]), &["db/c", "hnsw8", "flat", "--index"]);
    says(&import(&["--id-field", "key"]), &["db/c", "id", "key", "--id-field"]);
    house.write("model/config.json", BERT);
    says(&import(&["--model", "model"]), &["db/c", "no model", "model", "--model"]);
    let line = house.fail(&["import", "db/c", "--from", "b.npy"]);
    says(&line, &["b.npy: row 0", "dimension 3", "has 2"]);
    says(&house.fail(&["search", "db/c", "--vector", "[1,2,3]"]), &["db/c", "dimension 3"]);
    says(&house.fail(&["search", "db/c", "--vector", "[1,"]), &["--vector must be a JSON array"]);
    let like = house.fail(&["search", "db/c", "--like", "77"]);
    says(&like, &["db/c", "default", "no point 77"]);
    says(&house.fail(&["search", "db/c", "words"]), &["db/c", "--vector or --like"]);
    says(&house.fail(&["info", "db/absent"]), &["db/absent"]);
    says(&house.fail(&["search", "db", "--vector", "[1]"]), &["db: no data directory"]);
    let line = house.run("import db/c --from a.npy --metric dot --index hnsw8");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn collections_that_cannot_be() {
    let house = House::new();
    house.write("a.npy", npy::encode(&[1.0, 2.0, 3.0, 4.0], 2));
    let import = |rest: &[&str]| {
        let line = house.fail(&[&["import", "db", "--from", "a.npy"], rest].concat());
        assert!(!house.path("db").exists(), "{rest:?}");
        line
    };
    says(&import(&["--collection", "a/b"]), &["a/b", "no name of a collection"]);
    says(&import(&["--collection", ""]), &["no name of a collection"]);
    says(&import(&["--index", "hnsw,pq"]), &["hnsw,pq", "keeps no vectors", "rerank32"]);
    says(&import(&["--index", "flat,rq4,rerank32", "--metric", "l1"]), &["rq4", "manhattan"]);
    house.write("mine/notes.txt", "mine");
    says(&house.fail(&["import", "mine", "--from", "a.npy"]), &["mine: holds other files"]);
}

#[test]
fn flags_that_make_no_sense_are_usage_errors() {
    let house = House::new();
    for line in [
        "",
        "frobnicate",
        "compress model --scheme int7 -o out",
        "import db/c --from x --metric chebyshev",
        "import db/c --from x --index tree",
        "import db/c --from x --batch 0",
        "search db/c",
        "search db/c q --filter nonsense",
        "delete db/c --filter nonsense",
        "embed --model m a --from b",
        "eval m --against m --task guess --data x",
    ] {
        let args: Vec<&str> = line.split(' ').filter(|arg| !arg.is_empty()).collect();
        let output = house.command(&args).output().expect("runs");
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {out}{err}");
        assert!(out.is_empty() && !err.is_empty(), "{line}");
    }
    assert!(house.run("--help").contains("compress"));
    assert!(house.run("--version").starts_with("kvant "));
    assert!(house.run("completions bash").contains("kvant"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let house = House::new();
    let rows: Vec<f32> = (0..4000).map(|i| i as f32).collect();
    house.write("a.npy", npy::encode(&rows, 1));
    house.run("import db/c --from a.npy --metric euclid --index flat");
    let mut command = house.command(&["search", "db/c", "--vector", "[1]", "-k", "4000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(said(&output).1, "");
    assert!(output.status.success());
}

#[test]
fn standard_input_is_held_to_the_same_rules() {
    let house = with_model();
    let run = |input: &[u8]| {
        let mut command = house.command(&["embed", "--model", "absent"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        // It may refuse before it reads.
        let _ = child.stdin.take().expect("piped").write_all(input);
        let output = child.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(1));
        said(&output).1
    };
    assert!(run(b"a\n").starts_with("kvant: absent: no such model"));
}

/// A level that does not exist must not become another one behind the user's back.
#[test]
fn an_unknown_simd_level() {
    let mut house = with_model();
    house.set("KVANT_SIMD", "avx1024");
    says(&house.fail(&["inspect", "model"]), &["KVANT_SIMD", "avx1024", "avx512"]);
}

/// Questions need documents; a task without them must not swallow the flag.
#[test]
fn questions_without_documents() {
    let house = with_model();
    house.write("pairs.tsv", "5.0\tA man sings.\tA man is singing.\n0.5\tA cat.\tTwo.\n");
    let line = house.fail(&[
        "eval",
        "model",
        "--against",
        "model",
        "--task",
        "sts",
        "--data",
        "pairs.tsv",
        "--ask",
        "who?",
    ]);
    says(&line, &["--ask", "retrieval"]);
}
