//! Readers against good, odd and hostile files; scores against figures worked out by hand.

use std::path::PathBuf;

use kvant_testkit::Random;
use tempfile::TempDir;

use super::*;

/// A file of `bytes` called `name`, in a directory that goes away with the first of the pair.
fn file(name: &str, bytes: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read(kind: Kind, name: &str, bytes: impl AsRef<[u8]>) -> Result<Task, String> {
    let (folder, path) = file(name, bytes);
    let place = format!("{}/", folder.path().display());
    Task::read(kind, &path, None).map_err(|error| error.to_string().replace(&place, ""))
}

fn refused(kind: Kind, name: &str, bytes: impl AsRef<[u8]>) -> String {
    read(kind, name, bytes).unwrap_err()
}

#[test]
fn kinds_are_named() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let error = "chess".parse::<Kind>().unwrap_err();
    assert_eq!(error.to_string(), "unknown task 'chess': use sts, retrieval or classify");
}

#[test]
fn sts_reads_its_three_forms() {
    let long = "g\tf\ty\t1\t5.0\tA \"man\"\tA man\ng\tf\ty\t2\t0\tx\ty\textra\n";
    let short = "\u{feff}score\ta\tb\r\n5\tA \"man\"\tA man\r\n\r\n0.0\tx\ty\r\n";
    let lines = "{\"score\":5,\"sentence1\":\"A \\\"man\\\"\",\"sentence2\":\"A man\"}\n\
                 {\"score\":0,\"sentence1\":\"x\",\"sentence2\":\"y\",\"more\":1}";
    for (name, text) in [("a.tsv", long), ("b.TSV", short), ("c.jsonl", lines)] {
        let task = read(Kind::Sts, name, text).unwrap();
        assert_eq!(task.texts(), ["A \"man\"", "x", "A man", "y"], "{name}");
        assert_eq!((task.units(), task.metric()), (2, "Spearman"));
        let Task::Sts(pairs) = task else { panic!("kind") };
        assert_eq!(pairs.scores(), [5.0, 0.0]);
    }
}

#[test]
fn sts_names_the_line_that_is_wrong() {
    let sts = |text: &str| refused(Kind::Sts, "a.tsv", text);
    let columns = "expected 3 columns or those of STS-B (7 or more), got";
    assert_eq!(sts("1\ta\tb\n\n1\ta\n"), format!("a.tsv:3: {columns} 2"));
    assert_eq!(sts("1\ta\tb\nscore\ta\tb\n"), "a.tsv:2: expected a score, got 'score'");
    assert_eq!(sts("NaN\ta\tb\n"), "a.tsv:1: the score is not a finite number");
    assert_eq!(sts("1\t \tb\n"), "a.tsv:1: an empty text");
    assert_eq!(sts("1\ta\tb\n"), "a.tsv: fewer than two pairs");
    assert_eq!(sts(""), "a.tsv: fewer than two pairs");
    let bytes = [b"1\ta\tb\n1\t".as_slice(), &[0xff], b"\tb"].concat();
    assert_eq!(refused(Kind::Sts, "a.tsv", bytes), "a.tsv:2: not UTF-8 text");
    let json = |text: &str| refused(Kind::Sts, "a.jsonl", text);
    assert_eq!(json("\n{\"score\":1}"), "a.jsonl:2: missing field `sentence1`");
    assert_eq!(json("[1,"), "a.jsonl:1: EOF while parsing a value");
    let other = refused(Kind::Sts, "a.csv", "1,a,b");
    assert_eq!(other, "a.csv: a sts task reads .tsv or .jsonl files");
    let twice = Task::read(Kind::Sts, Path::new("a.tsv"), Some(Path::new("b.tsv"))).unwrap_err();
    assert_eq!(twice.to_string(), "a sts task has one data file; leave out the test file");
}

#[test]
fn texts_are_limited() {
    let long = "x".repeat(crate::limits::TEXT_BYTES);
    assert!(read(Kind::Sts, "a.tsv", format!("1\ta\t{long}\n2\ta\tb")).is_ok());
    let error = refused(Kind::Sts, "a.tsv", format!("1\ta\tb\n2\ta\t{long}y"));
    assert_eq!(error, "a.tsv:2: a text of 1048577 bytes, limit 1048576");
}

#[test]
fn missing_files_are_named() {
    let error = Task::read(Kind::Sts, Path::new("nowhere/x.tsv"), None).unwrap_err();
    assert_eq!(error.to_string(), "nowhere/x.tsv: no such file");
}

#[test]
fn retrieval_reads_documents_and_queries() {
    let text = "{\"query\":\"one or two\",\"relevant\":[1,\"b\",1]}\n\
                {\"id\":1,\"text\":\"one\"}\n{\"id\":\"b\",\"text\":\"two\"}\n\
                {\"id\":\"c\",\"text\":\"three\"}\n";
    let task = read(Kind::Retrieval, "a.jsonl", text).unwrap();
    assert_eq!(task.texts(), ["one", "two", "three", "one or two"]);
    let Task::Retrieval(corpus) = &task else { panic!("kind") };
    assert_eq!((corpus.id(0), corpus.id(1), corpus.queries()), ("1", "b", 1));
    // By dot product the query finds 2, 0, 1: relevant at ranks 2 and 3.
    let rows = [0.8, 0.6, 0.6, 0.8, 1.0, 0.0, 1.0, 0.0];
    let outcome = task.score(Vectors::new(&rows, 2, 1)).unwrap();
    let (second, third) = (1.0 / 3f64.log2(), 0.5);
    assert!((outcome.score - (second + third) / (1.0 + second)).abs() < 1e-12);
    let values: Vec<f64> = outcome.scores.iter().map(|score| score.value).collect();
    assert_eq!(values, [1.0, 0.5, 0.0]);
    assert_eq!(outcome.neighbours, [[2, 0, 1]]);
    assert_eq!(outcome.units, [outcome.score]);
}

#[test]
fn retrieval_refuses_what_it_cannot_judge() {
    let json = |text: &str| refused(Kind::Retrieval, "a.jsonl", text);
    let document = "{\"id\":1,\"text\":\"one\"}\n";
    let query = "{\"query\":\"q\",\"relevant\":[\"2\"]}";
    let unknown = json(&format!("{document}{query}"));
    assert_eq!(unknown, "a.jsonl:2: relevant id '2' is no document of this file");
    assert_eq!(json(&document.repeat(2)), "a.jsonl:2: id '1' is there twice");
    let none = json(&format!("{document}{{\"query\":\"q\",\"relevant\":[]}}"));
    assert_eq!(none, "a.jsonl:2: 1..=100000 relevant ids wanted, got 0");
    assert_eq!(json(document), "a.jsonl: no queries with something to find");
    assert_eq!(json(""), "a.jsonl: no documents");
    let form = "a.jsonl:1: expected {\"id\", \"text\"} or {\"query\", \"relevant\": [ids]}";
    assert_eq!(json("{\"id\":1}"), form);
    assert_eq!(json("{\"id\":1.5,\"text\":\"x\"}"), form);
    let nested = json(&"[".repeat(100_000));
    assert!(nested.starts_with("a.jsonl:1: recursion limit exceeded"), "{nested}");
    assert_eq!(
        refused(Kind::Retrieval, "a.txt", "x"),
        "a.txt: a retrieval task reads .jsonl or .csv files"
    );
}

#[test]
fn retrieval_by_category_leaves_out_the_text_itself() {
    let text = "category,text\na,one\nb,\"two, or\n \"\"2\"\"\"\na,three\nlonely,four\nb,five\n";
    let task = read(Kind::Retrieval, "a.csv", text).unwrap();
    assert_eq!(task.texts(), ["one", "two, or\n \"2\"", "three", "four", "five"]);
    assert_eq!(task.units(), 4, "a text alone in its category asks nothing");
    // Both of `a` point one way and both of `b` another, so each finds its fellow first.
    let rows = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.6, 0.8, 0.0, 1.0];
    let outcome = task.score(Vectors::new(&rows, 2, 1)).unwrap();
    assert_eq!(outcome.score, 1.0);
    assert_eq!(outcome.neighbours[0], [2, 3, 1, 4]);
}

#[test]
fn retrieval_takes_queries_from_a_test_file() {
    let (_a, data) = file("data.csv", "text,category\none,a\ntwo,b\n");
    let (_b, test) = file("test.csv", "text,category\nuno,a\n");
    let task = Task::read(Kind::Retrieval, &data, Some(&test)).unwrap();
    assert_eq!(task.texts(), ["one", "two", "uno"]);
    let outcome = task.score(Vectors::new(&[1.0, 0.0, 0.0, 1.0, 0.0, 1.0], 2, 1)).unwrap();
    assert!((outcome.score - 1.0 / 3f64.log2()).abs() < 1e-12);
    let (_c, other) = file("other.csv", "text,category\nuno,a\ndos,z\n");
    let error = Task::read(Kind::Retrieval, &data, Some(&other)).unwrap_err().to_string();
    assert!(error.ends_with("other.csv:3: a category that the data file does not have"), "{error}");
}

#[test]
fn csv_names_the_line_that_is_wrong() {
    let csv = |text: &str| refused(Kind::Classify, "a.csv", text);
    assert_eq!(csv("a,b\n"), "a.csv:1: expected a header 'text,category', found no 'text'");
    assert_eq!(csv(""), "a.csv:1: expected a header 'text,category', found no 'text'");
    assert_eq!(csv("text,label\nx,a\n\"y\nz\",a,b\n"), "a.csv:3: expected 2 fields, got 3");
    assert_eq!(csv("text,label\nx,\n"), "a.csv:2: an empty text");
    assert_eq!(csv("text,label\nx,a\ny,a\n"), "a.csv: fewer than two classes");
    let few = csv("\u{feff}text,label\nx,a\ny,b\n");
    assert_eq!(few, "a.csv: no texts for the test: a class needs five texts, or pass a test file");
    let bytes = [b"text,label\nx,a\n".as_slice(), &[0xc0], b",b"].concat();
    assert_eq!(refused(Kind::Classify, "a.csv", bytes), "a.csv:3: not UTF-8 text");
}

#[test]
fn every_fifth_text_of_a_class_is_held_out() {
    let line = |i: usize| format!("{{\"text\":\"t{i}\",\"label\":{}}}\n", i % 2);
    let text: String = (0..12).map(line).collect();
    let Task::Classify(labelled) = read(Kind::Classify, "a.jsonl", &text).unwrap() else {
        panic!("kind")
    };
    assert_eq!((labelled.training(), labelled.tests()), (10, 2));
    // The fifth of class 0 is t8, of class 1 t9.
    assert_eq!(labelled.texts()[10..], ["t8", "t9"]);
    assert_eq!(labelled.names(), ["0", "1"]);
    let (_a, data) = file("a.jsonl", &text);
    let (_b, test) = file("b.csv", "text,category\nx,1\n");
    let both = Labelled::read(&data, Some(&test)).unwrap();
    assert_eq!((both.training(), both.tests()), (12, 1));
}

/// `n` points around `classes` well separated centres, with their classes.
fn clusters(n: usize, classes: usize, dim: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut centres = Random::new(99);
    let centres: Vec<Vec<f32>> = (0..classes).map(|_| centres.normals(dim)).collect();
    let mut random = Random::new(seed);
    let labels: Vec<u32> = (0..n).map(|i| (i % classes) as u32).collect();
    let mut rows = Vec::new();
    for &label in &labels {
        rows.extend(centres[label as usize].iter().map(|x| x + 0.3 * random.normal()));
    }
    unit_rows(&mut rows, dim);
    (rows, labels)
}

#[test]
fn the_probe_learns_what_is_separable_and_only_that() {
    let (dim, classes) = (16, 5);
    let (rows, labels) = clusters(400, classes, dim, 1);
    let (fresh, truths) = clusters(200, classes, dim, 2);
    let (train, test) = (Vectors::new(&rows, dim, 1), Vectors::new(&fresh, dim, 1));
    let probe = Probe::fit(train, &labels, classes, &FitOptions::default());
    assert!(crate::metric::accuracy(&probe.predict(test), &truths).unwrap() > 0.99);
    // Labels that have nothing to do with the points teach nothing about new ones.
    let mut random = Random::new(3);
    let noise: Vec<u32> = labels.iter().map(|_| random.below(classes) as u32).collect();
    let probe = Probe::fit(train, &noise, classes, &FitOptions::default());
    assert!(crate::metric::accuracy(&probe.predict(test), &truths).unwrap() < 0.5);
}

#[test]
fn the_probe_is_the_minimum_and_the_same_each_time() {
    let (rows, labels) = clusters(120, 3, 8, 4);
    let vectors = Vectors::new(&rows, 8, 1);
    let fit = |options| Probe::fit(vectors, &labels, 3, &options);
    let options = FitOptions { steps: 500, tolerance: 1e-7, ..FitOptions::default() };
    let probe = fit(options);
    assert_eq!(probe, fit(options));
    // A convex loss: more steps than the default change nothing that shows.
    assert_eq!(probe.predict(vectors), fit(FitOptions::default()).predict(vectors));
    // A strong penalty leaves no weights to speak of.
    let flat = fit(FitOptions { c: 1e-9, tolerance: 0.0, ..options });
    assert!((0..3).all(|class| (0..8).all(|i| flat.weight(class, i).abs() < 1e-6)));
}

#[test]
fn the_probe_of_two_points_is_the_known_one() {
    // One feature, x = ±1 with opposite labels, C = 1: by symmetry w₁ = −w₀ = w and no bias, and
    // the minimum of ln(1 + e^(−2w)) + w²/2 (loss of one point, its share of the penalty) solves
    // w = 2 / (1 + e^(2w)).
    let probe = Probe::fit(
        Vectors::new(&[-1.0, 1.0], 1, 1),
        &[0, 1],
        2,
        &FitOptions { tolerance: 1e-9, ..FitOptions::default() },
    );
    let w = probe.weight(1, 0);
    assert!((w - 2.0 / (1.0 + (2.0 * w).exp())).abs() < 1e-4, "{w}");
    assert!((w + probe.weight(0, 0)).abs() < 1e-5);
}

#[test]
fn nearest_is_exact_for_any_threads_and_panels() {
    let mut random = Random::new(7);
    let (dim, n) = (8, 5000);
    let mut rows = random.normals(n * dim);
    unit_rows(&mut rows, dim);
    // A twin of row 0 far away: equal scores go by rising row.
    rows.copy_within(0..dim, 4500 * dim);
    let documents = Vectors::new(&rows, dim, 1);
    let itself: Vec<Option<u32>> = (0..70).map(|i| (i != 0).then_some(i)).collect();
    let found = nearest(documents.slice(0..70), documents, &itself, 10);
    for threads in [2, 3, 100] {
        let queries = Vectors::new(&rows[..70 * dim], dim, threads);
        assert_eq!(nearest(queries, documents, &itself, 10), found);
    }
    assert_eq!((found[0][0].row, found[0][1].row), (0, 4500));
    for (query, list) in found.iter().enumerate() {
        let score = |row: u32| {
            let (a, b) = (documents.row(query), documents.row(row as usize));
            a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
        };
        let mut all: Vec<f64> =
            (0..n as u32).filter(|&row| itself[query] != Some(row)).map(score).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        for (rank, hit) in list.iter().enumerate() {
            assert!((score(hit.row) - all[rank]).abs() < 1e-5, "query {query} rank {rank}");
            assert_ne!(itself[query], Some(hit.row));
        }
    }
    assert!(nearest(documents.slice(0..0), documents, &[], 3).is_empty());
    assert_eq!(nearest(documents.slice(0..1), documents.slice(0..2), &[Some(1)], 10)[0].len(), 1);
}

#[test]
fn figures_without_an_answer_say_so() {
    let task = read(Kind::Sts, "a.tsv", "1\ta\tb\n2\tc\td\n").unwrap();
    let error = task.score(Vectors::new(&[1.0, 0.0, 1.0], 1, 1)).unwrap_err();
    assert_eq!(error, TaskError::Vectors { expected: 4, got: 3 });
    let error = task.score(Vectors::new(&[1.0; 4], 1, 1)).unwrap_err().to_string();
    assert_eq!(error, "Pearson is undefined: all values are equal, so there is no correlation");
}

#[test]
fn spaced_indices_rise_and_cover() {
    assert_eq!(spaced(10, 5).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
    assert_eq!(spaced(3, 5).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(spaced(0, 5).count() + spaced(5, 0).count(), 0);
}

#[test]
fn unit_rows_scale_and_leave_zero() {
    let mut rows = [3.0, 4.0, 0.0, 0.0];
    unit_rows(&mut rows, 2);
    assert_eq!(rows, [0.6, 0.8, 0.0, 0.0]);
}

#[test]
fn shared_data_reads_as_it_is() {
    let Some(data) = kvant_testkit::shared("data") else {
        return kvant_testkit::skip("the shared evaluation data is absent");
    };
    let units = |kind, name: &str| Task::read(kind, &data.join(name), None).unwrap().units();
    assert_eq!(units(Kind::Sts, "stsb-dev.tsv"), 1500);
    assert_eq!(units(Kind::Sts, "stsb-train.tsv"), 5749);
    assert_eq!(units(Kind::Retrieval, "banking77-test.csv"), 3080);
    let (train, test) = (data.join("banking77-train.csv"), data.join("banking77-test.csv"));
    let labelled = Labelled::read(&train, Some(&test)).unwrap();
    let counts = (labelled.training(), labelled.tests(), labelled.names().len());
    assert_eq!(counts, (10_003, 3080, 77));
}
