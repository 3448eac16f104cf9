//! Indexes in files, from vectors to answers, and their bench.

use kvant_db::source::npy::{self, Whole};
use kvant_testkit::{Random, clustered};
use serde_json::{Value, json};

use crate::house::House;

const DIM: usize = 12;
const ROWS: usize = 3000;
const QUERIES: usize = 40;

/// A house with vectors, queries and a mask of every third row.
fn with_vectors() -> (House, Vec<f32>, Vec<f32>) {
    let house = House::new();
    let mut data = clustered(ROWS + QUERIES, DIM, 4);
    let mut random = Random::new(5);
    for x in &mut data {
        *x += 0.01 * random.normal();
    }
    let queries = data.split_off(ROWS * DIM);
    house.write("b.npy", npy::encode(&data, DIM));
    house.write("q.npy", npy::encode(&queries, DIM));
    let mask: Vec<i32> = (0..ROWS as i32).map(|row| i32::from(row % 3 == 0)).collect();
    house.write("m.npy", npy::encode_whole(&mask, 1));
    (house, data, queries)
}

/// The `k` nearest allowed rows of each query by brute force.
fn nearest(
    (data, queries): (&[f32], &[f32]),
    metric: &str,
    k: usize,
    allowed: impl Fn(usize) -> bool,
) -> Vec<i64> {
    let distance = |row: &[f32], query: &[f32]| -> f64 {
        let pairs = || row.iter().zip(query).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        match metric {
            "ip" => -dot,
            "cos" => -dot / row.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>().sqrt(),
            "l2" => pairs().map(|(a, b)| (a - b).powi(2)).sum(),
            _ => pairs().map(|(a, b)| (a - b).abs()).sum(),
        }
    };
    let mut all = Vec::new();
    for query in queries.chunks_exact(DIM) {
        let rows = data.chunks_exact(DIM).enumerate().filter(|(row, _)| allowed(*row));
        let mut rows: Vec<(f64, i64)> =
            rows.map(|(row, values)| (distance(values, query), row as i64)).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let found = rows.iter().map(|(_, row)| *row).chain(std::iter::repeat(-1));
        all.extend(found.take(k));
    }
    all
}

fn rows(house: &House, name: &str) -> Vec<i64> {
    Whole::read(&house.path(name)).expect("written").values
}

#[test]
fn flat_indexes_find_what_a_loop_finds() {
    let (house, data, queries) = with_vectors();
    for metric in ["cos", "ip", "l2", "l1"] {
        let (file, out) = (format!("{metric}.kvant"), format!("{metric}.npy"));
        let build = ["index", "build", "--base", "b.npy", "--metric", metric, "--index", "flat"];
        let built = house.json(&[&build[..], &["--out", &file]].concat());
        assert_eq!((&built["rows"], &built["dim"]), (&json!(ROWS), &json!(DIM)), "{built}");
        assert_eq!(built["bytes_per_vector_hot"].as_f64().map(f64::floor), Some(48.0), "{built}");
        house.run(&format!("index search {file} --queries q.npy -k 7 --threads 2 -o {out}"));
        assert_eq!(rows(&house, &out), nearest((&data, &queries), metric, 7, |_| true), "{metric}");
        let search = ["index", "search", &file, "--queries", "q.npy", "--filter-mask", "m.npy"];
        let found = house.json(&[&search[..], &["--k", "3"]].concat());
        let expected = nearest((&data, &queries), metric, 3, |row| row % 3 == 0);
        let results = found["results"].as_array().expect("a list");
        for (result, expected) in results.iter().zip(expected.chunks(3)) {
            assert_eq!(result["rows"], json!(expected), "{metric}");
            assert_eq!(result["certainty"], "exact", "{metric}");
        }
        assert_eq!((results.len(), &found["truncated"]), (QUERIES, &json!(0)));
    }
}

#[test]
fn coded_indexes_are_searched_from_their_file() {
    let (house, data, queries) = with_vectors();
    house
        .run("index build --base b.npy --metric l2 --index hnsw8,rq4,rerank32 -o a.kvant --seed 3");
    house.run(
        "index build --base b.npy --metric euclid --index hnsw8,rq4,rerank32 -o b.kvant --seed 3 \
         --threads 1",
    );
    let bytes = |name: &str| std::fs::read(house.path(name)).expect("there");
    assert!(bytes("a.kvant") == bytes("b.kvant"), "the same for any number of threads");
    let info = house.json(&["index", "info", "a.kvant", "--verify"]);
    assert_eq!((&info["index"], &info["metric"]), (&json!("hnsw8,rq4,rerank32"), &json!("euclid")));
    assert_eq!((&info["rows"], &info["verified"]), (&json!(ROWS), &json!(true)));
    assert_eq!(info["bytes_rerank"], json!(ROWS * DIM * 4));
    let whole = house.json(&["index", "verify", "a.kvant"]);
    let size = bytes("a.kvant").len() as u64;
    assert!(whole["bytes"].as_u64().is_some_and(|of| of < size && of > size - 4096), "{whole}");
    assert!(house.run("index verify b.kvant --rate 1000").contains("all checksums hold"));
    let told = house.run("index info a.kvant");
    assert!(told.contains("reranked") && !told.contains("verified"), "{told}");
    house.run("index search a.kvant --queries q.npy --ef 200 -o found.npy");
    let truth = nearest((&data, &queries), "l2", 10, |_| true);
    let found = rows(&house, "found.npy");
    let right = found.chunks(10).zip(truth.chunks(10));
    let right: usize = right.map(|(a, b)| a.iter().filter(|row| b.contains(row)).count()).sum();
    assert!(right as f64 >= 0.97 * truth.len() as f64, "{right} of {}", truth.len());
    house.run("index search a.kvant --queries q.npy --exact --verify -o exact.npy");
    assert_eq!(rows(&house, "exact.npy"), truth);
}

#[test]
fn searches_may_be_ended_early() {
    let (house, data, queries) = with_vectors();
    house.run("index build --base b.npy --metric l2 --index flat -o flat.kvant");
    let search = ["index", "search", "flat.kvant", "--queries", "q.npy", "-k", "4"];
    let cut = house.json(&[&search[..], &["--max-distances", "100"]].concat());
    assert_eq!(cut["truncated"], json!(QUERIES));
    let first = nearest((&data[..100 * DIM], &queries), "l2", 4, |_| true);
    for (result, expected) in cut["results"].as_array().expect("a list").iter().zip(first.chunks(4))
    {
        assert_eq!(result["rows"], json!(expected));
        assert_eq!(result["certainty"], "truncated");
    }
    let none = house.json(&[&search[..], &["--timeout", "0"]].concat());
    assert_eq!(none["results"][0], json!({"certainty": "truncated", "rows": [], "scores": []}));
    let text = house.run("index search flat.kvant --queries q.npy -k 1 --max-distances 0");
    assert_eq!(text.lines().next(), Some("0:  …"));
    house.run("index search flat.kvant --queries q.npy -k 5000 -o all.npy");
    let all = rows(&house, "all.npy");
    assert_eq!(all.len(), 5000 * QUERIES);
    assert!(all.chunks(5000).all(|list| list[ROWS..].iter().all(|&row| row == -1)));
}

/// Kills builds that keep parts, one as soon as there is any, one later, and goes on.
#[test]
fn a_killed_build_goes_on_and_gives_the_same_file() {
    let house = House::new();
    let data = clustered(8000, DIM, 6);
    house.write("b.npy", npy::encode(&data, DIM));
    let build = |out: &'static str, checkpoint: &'static str| {
        let of = ["index", "build", "--base", "b.npy", "--metric", "l1", "--index", "hnsw16,f16"];
        [&of[..], &["-o", out, "--checkpoint", checkpoint, "--seed", "7"]].concat()
    };
    let few = ["index", "build", "--base", "few.npy", "--metric", "l1", "--index", "hnsw16,f16"];
    house.write("few.npy", npy::encode(&data[..900 * DIM], DIM));
    let whole = house.json(&build("whole.kvant", "off"));
    assert_eq!(whole["resumed"], json!(false));
    let graph = house.path("a.kvant.parts/graph.part");
    for saves in [1, 4] {
        let mut child = house.command(&build("a.kvant", "0")).spawn().expect("runs");
        let stamp = || std::fs::metadata(&graph).and_then(|meta| meta.modified()).ok();
        let mut last = stamp();
        for _ in 0..saves {
            while stamp() == last {
                assert!(child.try_wait().expect("known").is_none(), "done before it was killed");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            last = stamp();
        }
        child.kill().expect("killed");
        assert!(!child.wait().expect("ended").success() && !house.path("a.kvant").exists());
    }
    // Of no use to a build of something else, which does not leave them there.
    house.write("few.kvant.parts/graph.part", std::fs::read(&graph).expect("there"));
    let other = house.json(&[&few[..], &["-o", "few.kvant"]].concat());
    assert_eq!(other["resumed"], json!(false));
    assert!(!house.path("few.kvant.parts").exists());
    let told = house.succeed(&build("a.kvant", "off"));
    assert!(!told.contains("going on"), "parts are not looked for: {told}");
    std::fs::remove_file(house.path("a.kvant")).expect("there");
    let told = house.succeed(&build("a.kvant", "5"));
    assert!(told.contains("going on from what an ended build had kept"), "{told}");
    assert!(!house.path("a.kvant.parts").exists(), "nothing is left behind");
    let bytes = |name: &str| std::fs::read(house.path(name)).expect("there");
    assert!(bytes("a.kvant") == bytes("whole.kvant"), "as if it had never been ended");
}

#[test]
fn damage_and_misuse_are_told_in_a_line() {
    let (house, ..) = with_vectors();
    house.run("index build --base b.npy --metric l2 --index hnsw8,int8 -o a.kvant");
    let whole = std::fs::read(house.path("a.kvant")).expect("there");
    let mut flipped = whole.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    house.write("cut.kvant", &whole[..whole.len() - 1]);
    house.write("flipped.kvant", &flipped);
    house.write("text.kvant", "not an index");
    house.write("short.npy", npy::encode_whole(&[1, 0], 1));
    house.write("wide.npy", npy::encode(&[1.0; 26], 13));
    house.write("none.npy", npy::encode(&[], 12));
    let search = |file: &'static str, more: &[&'static str]| {
        [&["index", "search", file, "--queries", "q.npy"], more].concat()
    };
    let build = |base: &'static str, out: &'static str| {
        vec!["index", "build", "--base", base, "--metric", "l2", "-o", out]
    };
    let bench = |more: &[&'static str]| {
        let flags = ["--base", "b.npy", "--queries", "q.npy", "--metric", "l2", "--out", "d"];
        [&["bench", "ann"], &flags[..], more].concat()
    };
    for (args, words) in [
        (search("cut.kvant", &[]), &["cut.kvant", "restore it"][..]),
        (search("flipped.kvant", &["--verify"]), &["flipped.kvant", "section \"code\"", "restore"]),
        (vec!["index", "info", "flipped.kvant", "--verify"], &["flipped.kvant", "restore"]),
        (vec!["index", "verify", "flipped.kvant"], &["1 damaged blocks", "at byte", "restore"]),
        (search("text.kvant", &[]), &["text.kvant", "not a KVANTIDX file"]),
        (search("absent.kvant", &[]), &["absent.kvant: no such file"]),
        (search("a.kvant", &["--filter-mask", "short.npy"]), &["short.npy: 2 values", "3000 rows"]),
        (search("a.kvant", &["--filter-mask", "q.npy"]), &["q.npy", "must be whole"]),
        (search("a.kvant", &["-o", "a.kvant"]), &["a.kvant: already exists"]),
        (search("a.kvant", &["-o", "a.txt"]), &["a.txt", ".npy"]),
        (search("a.kvant", &["--probes", "3"]), &["a.kvant", "a graph: use --ef"]),
        (build("none.npy", "x.kvant"), &["none.npy: no vectors"]),
        (build("b.npy", "a.kvant"), &["a.kvant: already exists"]),
        (bench(&["--ground-truth", "short.npy"]), &["short.npy", "(2, 1)", "(40, 10)"]),
        (bench(&["--engine-results", "q.npy"]), &["q.npy"]),
        (bench(&["--threads", "2", "--pin", "0"]), &["1 cores for 2 threads"]),
    ] {
        let line = house.fail(&args);
        assert!(words.iter().all(|word| line.contains(word)), "{args:?}: {line}");
    }
    let mut wide = search("a.kvant", &[]);
    wide[4] = "wide.npy";
    let line = house.fail(&wide);
    assert!(line.contains("wide.npy: 13 components, the index has 12"), "{line}");
    let line = house.fail(&search("flipped.kvant", &["--exact"]));
    assert!(line.starts_with("flipped.kvant: section \"code\": the block at byte"), "{line}");
    let rotated = ["index", "build", "--base", "b.npy", "--metric", "l1", "--index", "flat,rq4"];
    let line = house.fail(&[&rotated[..], &["-o", "x.kvant"]].concat());
    assert!(line.contains("b.npy") && line.contains("use cosine, dot or euclid"), "{line}");
    let output = house.command(&["index", "build", "--index", "tree"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn lists_are_told_how_many_to_look_into() {
    let (house, data, queries) = with_vectors();
    house.run("index build --base b.npy --metric l2 --index ivf40,int8 -o lists.kvant");
    house.run("index build --base b.npy --metric l2 --index flat -o flat.kvant");
    let truth = nearest((&data, &queries), "l2", 10, |_| true);
    let right = |probes: usize| {
        let out = format!("found{probes}.npy");
        house.run(&format!("index search lists.kvant --queries q.npy --probes {probes} -o {out}"));
        let found = rows(&house, &out);
        let pairs = found.chunks(10).zip(truth.chunks(10));
        pairs.map(|(a, b)| a.iter().filter(|row| b.contains(row)).count()).sum::<usize>()
    };
    let (one, few, all) = (right(1), right(6), right(40));
    assert!(one < few && few <= all, "{one}, {few}, {all}");
    assert!(all as f64 >= 0.97 * truth.len() as f64, "{all} of {}", truth.len());
    let search = |file, flag| ["index", "search", file, "--queries", "q.npy", flag, "4"];
    let line = house.fail(&search("lists.kvant", "--ef"));
    assert!(line.contains("lists.kvant") && line.contains("use --probes"), "{line}");
    for flag in ["--ef", "--probes"] {
        let line = house.fail(&search("flat.kvant", flag));
        assert!(line.contains("flat measures every row") && line.contains("neither"), "{line}");
    }
    for more in [["--probes", "0"], ["--exact", "--probes=2"], ["--ef=2", "--probes=2"]] {
        let search = ["index", "search", "lists.kvant", "--queries", "q.npy"];
        let output = house.command(&[&search[..], &more].concat()).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{more:?}");
    }
}

/// The effort that was tuned is kept in the file, and searches take it.
#[test]
fn auto_chooses_says_why_and_is_remembered() {
    let (house, data, queries) = with_vectors();
    let flags = "--base b.npy --metric l2 --index auto --memory 60B --threads 2";
    let told = house.run(&format!("index build {flags} --recall 0.9 -o text.kvant"));
    for words in ["at most", "ivf", "chosen in", "others, held out of them", "0.9"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let build = ["index", "build", "--base", "b.npy", "--metric", "l2", "--index", "auto"];
    let more = ["--memory", "60B", "--recall", "0.9", "-k", "5", "-o", "a.kvant"];
    let built = house.json(&[&build[..], &more].concat());
    let plan = &built["plan"];
    assert_eq!((&plan["index"], &plan["k"]), (&built["index"], &json!(5)), "{built}");
    assert_eq!((&plan["memory"], &plan["recall"]), (&json!("60B"), &json!(0.9)), "{built}");
    assert!(plan["reasons"].as_array().is_some_and(|all| all.len() >= 3), "{built}");
    assert!(plan["tried"].as_array().is_some_and(|all| all.len() >= 3), "{built}");
    assert!(built["bytes_per_vector_hot"].as_f64() <= Some(60.0), "{built}");
    let info = house.json(&["index", "info", "a.kvant"]);
    assert_eq!((&info["effort"], &info["k"]), (&plan["effort"], &json!(5)), "{info}");
    assert!(house.run("index info a.kvant").contains("effort"));
    let (name, count) =
        info["effort"].as_object().and_then(|all| all.iter().next()).expect("an effort");
    house.run("index search a.kvant --queries q.npy -k 5 -o usual.npy");
    house.run(&format!("index search a.kvant --queries q.npy -k 5 --{name} {count} -o said.npy"));
    let found = rows(&house, "usual.npy");
    assert_eq!(found, rows(&house, "said.npy"));
    let truth = nearest((&data, &queries), "l2", 5, |_| true);
    let right = found.chunks(5).zip(truth.chunks(5));
    let right: usize = right.map(|(a, b)| a.iter().filter(|row| b.contains(row)).count()).sum();
    assert!(right as f64 >= 0.85 * truth.len() as f64, "{right} of {}", truth.len());
    let whole = house.json(&[&build[..], &["--recall", "1", "-o", "exact.kvant"]].concat());
    assert_eq!((&whole["index"], &whole["plan"]["effort"]), (&json!("flat,bound4"), &Value::Null));
    for (more, words) in [
        (&["--recall", "0"][..], "b.npy: recall 0 is not above 0 and at most 1"),
        (&["--recall", "1.5"], "recall 1.5 is not"),
        (&["--memory", "1B"], "bytes a row are too few: any index takes at least"),
        (&["--memory", "2kB"], "bytes in all"),
        (&["--recall", "1", "--memory", "47B"], "exact search takes at least 48.0, 144000 bytes"),
    ] {
        let line = house.fail(&[&build[..], &["-o", "no.kvant"], more].concat());
        assert!(line.contains(words), "{more:?}: {line}");
    }
    let given = ["index", "build", "--base", "b.npy", "--metric", "l2", "--index", "hnsw"];
    for (more, words) in
        [(["--recall", "0.9"], "--recall is what"), (["--memory", "9B"], "--memory is for")]
    {
        let line = house.fail(&[&given[..], &["-o", "no.kvant"], &more].concat());
        assert!(line.contains(words) && line.contains("auto"), "{line}");
    }
    let budget = [&build[..], &["--memory", "9 MB", "-o", "no.kvant"]].concat();
    assert_eq!(house.command(&budget).output().expect("runs").status.code(), Some(2));
}

#[test]
fn the_bench_of_auto_builds_once_and_sweeps() {
    let (house, ..) = with_vectors();
    let bench = "bench ann --base b.npy --queries q.npy --metric l2 --threads 2 --reps 1";
    let told = house.run(&format!("{bench} --index auto --memory 60B --out d"));
    assert!(told.contains("chosen in") && told.contains("kvant auto: "), "{told}");
    let plan = std::fs::read_to_string(house.path("d/plan.json")).expect("written");
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let all = lines(&house, "d/result.jsonl");
    assert!(all.len() > 1, "{all:?}");
    let recall = |line: &Value| line["recall"].as_f64().expect("a number");
    assert!(all.iter().all(|line| recall(line) >= 0.8), "{all:?}");
    assert!(all[..all.len() - 1].iter().all(|line| recall(line) <= 0.9995), "{all:?}");
    let name = format!("kvant auto: {}", plan["index"].as_str().expect("a name"));
    let params: Vec<u64> = all.iter().filter_map(|line| line["param"].as_u64()).collect();
    assert!(params.is_sorted_by(|a, b| a < b), "{params:?}");
    for line in &all {
        assert_eq!(line["engine"], json!(name));
        assert!(line["plan_s"].as_f64() > Some(0.0), "{line}");
        let effort = plan["effort"].as_object().and_then(|all| all.values().next());
        assert_eq!(line["tuned"], json!(effort == Some(&line["param"])), "{line}");
    }
    let exact = format!("{bench} --index auto --recall 1 --out e --json");
    let exact: Value = serde_json::from_str(&house.run(&exact)).expect("JSON");
    assert_eq!((&exact[0]["recall"], exact.as_array().map(Vec::len)), (&json!(1.0), Some(1)));
}

fn lines(house: &House, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(house.path(name)).expect("written");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_bench_of_a_flat_index_is_exact() {
    let (house, data, queries) = with_vectors();
    let bench = "bench ann --base b.npy --queries q.npy --metric cos --k 5 --threads 1 --reps 2";
    house.run(&format!("{bench} --index flat --out d"));
    let all = lines(&house, "d/result.jsonl");
    assert_eq!(all.len(), 1, "one line for an index without settings");
    let line = &all[0];
    assert_eq!((&line["param"], &line["recall"]), (&json!("scan"), &json!(1.0)), "{line}");
    let truth = nearest((&data, &queries), "cos", 5, |_| true);
    let ids = line["ids"].as_str().expect("a file");
    assert_eq!(rows(&house, &format!("d/{ids}")), truth);
    for name in ["qps_one", "qps_batch", "p50_ms", "p99_ms", "build_s", "size", "rss_delta"] {
        assert!(line[name].as_f64() > Some(0.0), "{name}: {line}");
    }
    assert!(line["p99_ms"].as_f64() >= line["p50_ms"].as_f64(), "{line}");
    // Rows are held in memory, and they are all there is.
    let held = line["rss_per_vector"].as_f64().expect("a number");
    assert!((48.0..150.0).contains(&held), "{line}");
    // The same rows among those that a mask lets pass, by the neighbours of a file.
    let truth = nearest((&data, &queries), "cos", 5, |row| row % 3 == 0);
    let truth: Vec<i32> = truth.iter().map(|&row| row as i32).collect();
    house.write("gt.npy", npy::encode_whole(&truth, 5));
    house.run(&format!(
        "{bench} --index flat,bound4 --filter-mask m.npy --ground-truth gt.npy --out d"
    ));
    let line = &lines(&house, "d/result.jsonl")[0];
    assert_eq!((&line["recall"], &line["allowed"]), (&json!(1.0), &json!(1000)), "{line}");
}

/// With one build.
#[test]
fn several_masks_and_numbers_of_threads_are_measured() {
    let (house, ..) = with_vectors();
    house.write("all.npy", npy::encode_whole(&[1; ROWS], 1));
    let flags = "--base b.npy --queries q.npy --metric cos --threads 1,2 --index flat --out d";
    house.run(&format!("bench ann {flags} --filter-mask m.npy --filter-mask all.npy"));
    let all = lines(&house, "d/result.jsonl");
    let masks: Vec<&Value> = all.iter().map(|line| &line["mask"]).collect();
    assert_eq!(masks, ["m", "all"]);
    for line in &all {
        let batches = line["batches"].as_array().expect("a list");
        let threads: Vec<&Value> = batches.iter().map(|batch| &batch["threads"]).collect();
        assert_eq!((&line["recall"], threads), (&json!(1.0), vec![&json!(1), &json!(2)]));
    }
}

/// A predicate asked in every call allows the rows that a mask made before does.
#[test]
fn predicates_are_asked_within_the_time() {
    let (house, ..) = with_vectors();
    let numbers: Vec<i32> =
        (0..ROWS as i32).map(|row| if row % 3 == 0 { -5 } else { row }).collect();
    house.write("c.npy", npy::encode_whole(&numbers, 1));
    let flags = "--base b.npy --queries q.npy --metric l2 --reps 1 --index hnsw8,int8";
    house.run(&format!("bench ann {flags} --filter-mask m.npy --out d"));
    house.run(&format!("bench ann {flags} --filter-column c.npy --filter-below -4,10 --out e"));
    let (masked, asked) = (lines(&house, "d/result.jsonl"), lines(&house, "e/result.jsonl"));
    assert_eq!(asked[0]["mask"], "below -4");
    assert_eq!(asked[asked.len() - 1]["allowed"], json!(1000 + 6));
    for (at, line) in masked.iter().enumerate() {
        assert_eq!((&asked[at]["allowed"], &line["allowed"]), (&json!(1000), &json!(1000)));
        let name = format!("ids-{at}.npy");
        assert_eq!(rows(&house, &format!("d/{name}")), rows(&house, &format!("e/{name}")));
    }
    let bench = "bench ann --base b.npy --queries q.npy --metric l2 --index flat --out f";
    let short = format!("{bench} --filter-column q.npy --filter-below 1");
    let line = house.fail(&short.split(' ').collect::<Vec<_>>());
    assert!(line.contains("q.npy"), "{line}");
    for wrong in ["--filter-column c.npy", "--filter-below 3"] {
        let wrong = format!("{bench} {wrong}");
        let wrong: Vec<&str> = wrong.split(' ').collect();
        assert_eq!(house.command(&wrong).output().expect("runs").status.code(), Some(2));
    }
}

#[test]
fn forests_and_hash_tables_are_built_searched_and_measured() {
    let (house, ..) = with_vectors();
    for (at, spec) in ["forest4,int8", "lsh4x5", "lshcp,rq4,rerank32"].into_iter().enumerate() {
        let built = format!("index build --base b.npy --metric l2 --index {spec} -o {at}.kvant");
        house.run(&built);
        let file = format!("{at}.kvant");
        let info = house.json(&["index", "info", &file, "--verify"]);
        assert_eq!(info["index"], *spec);
        let near = house.json(&["index", "search", &file, "--queries", "q.npy", "--ef", "20"]);
        assert_eq!(near["results"][0]["rows"].as_array().map(Vec::len), Some(10), "{spec}");
        let bench = "bench ann --base b.npy --queries q.npy --metric l2 --threads 1 --reps 1";
        house.run(&format!("{bench} --index {spec} --out d{at}"));
        let all = lines(&house, &format!("d{at}/result.jsonl"));
        let recall = |line: &Value| line["recall"].as_f64().expect("a number");
        assert!(recall(&all[all.len() - 1]) >= recall(&all[0]), "{spec}");
        let first = if at == 0 { 2 } else { [2, 8][at - 1] };
        assert_eq!(all[0]["param"], first, "{spec}");
    }
}

#[test]
fn the_bench_of_a_graph_sweeps_and_draws() {
    let (house, ..) = with_vectors();
    let peer = json!({"peer": "other <b>", "n": 10, "size": 480, "points": [
        {"param": [1, 2], "recall": 0.8, "qps_one": 1000.0, "qps_batch": 2000.0}]});
    house.write("peer.jsonl", peer.to_string());
    let bench = "bench ann --base b.npy --queries q.npy --metric l2 --k 10 --threads 2 --reps 1 \
                 --index hnsw4,rq4,rerank16 --build-threads 2 --engine-results peer.jsonl";
    let told = house.run(&format!("{bench} --out d"));
    assert!(told.contains("setting") && told.contains("other <b>"), "{told}");
    let all = lines(&house, "d/result.jsonl");
    let params: Vec<u64> = all.iter().filter_map(|line| line["param"].as_u64()).collect();
    assert_eq!(params, [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768][..all.len()]);
    let recall = |line: &Value| line["recall"].as_f64().expect("a number");
    assert!(all.iter().all(|line| (0.5..=1.0).contains(&recall(line))));
    assert!(recall(&all[all.len() - 1]) > recall(&all[0]));
    assert!(all[..all.len() - 1].iter().all(|line| recall(line) <= 0.9995));
    let page = std::fs::read_to_string(house.path("d/plot.html")).expect("written");
    assert!(page.contains("<svg") && page.contains("kvant hnsw4,rq4,rerank16"));
    assert!(page.contains("other &lt;b&gt;") && !page.contains("other <b>"));
    assert!(!page.contains("NaN") && !page.contains("inf") && !page.contains("http"));
    // The file that was written answers as what was built, and its results can be drawn again.
    let again = format!("{bench} --engine-results d/result.jsonl --mapped --out e --json");
    let json: Value = serde_json::from_str(&house.run(&again)).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(all.len()));
    for at in 0..all.len() {
        let name = format!("ids-{at}.npy");
        assert_eq!(rows(&house, &format!("d/{name}")), rows(&house, &format!("e/{name}")));
    }
}
