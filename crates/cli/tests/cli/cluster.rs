//! Clusters of a file of vectors, on the terminal, as JSON and as files.

use kvant_db::source::npy;
use kvant_testkit::Random;

use crate::house::House;

const DIM: usize = 6;

/// Rows around four points far apart, in turn.
fn base(house: &House) {
    let mut random = Random::new(3);
    let at = |row: usize, j: usize| if row % 4 == j { 9.0 } else { 0.0 };
    let data: Vec<f32> =
        (0..400 * DIM).map(|i| at(i / DIM, i % DIM) + 0.1 * random.normal()).collect();
    house.write("base.npy", npy::encode(&data, DIM));
}

#[test]
fn clusters_are_told_and_written() {
    let house = House::new();
    base(&house);
    let line = "cluster --base base.npy --k 4 --out c.npy --assign a.npy --threads 2";
    let args: Vec<&str> = line.split(' ').collect();
    let found = house.json(&args);
    assert_eq!((&found["rows"], &found["dim"], &found["k"]), (&400.into(), &6.into(), &4.into()));
    assert_eq!(found["sizes"]["most"], 100);
    assert!(found["silhouette"].as_f64().expect("a number") > 0.9, "{found}");
    let inertia = found["inertia"].as_f64().expect("a number");
    assert!((10.0..40.0).contains(&inertia), "{inertia}");
    let centroids = std::fs::read(house.path("c.npy")).expect("centroids");
    assert_eq!(centroids.len(), 128 + 4 * DIM * 4);
    let assigned = std::fs::read(house.path("a.npy")).expect("clusters");
    assert!(assigned.starts_with(b"\x93NUMPY") && assigned.len() == 128 + 400 * 4);
    let ids = assigned[128..].as_chunks::<4>().0;
    let ids: Vec<i32> = ids.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
    assert!((4..400).all(|row| ids[row] == ids[row - 4]), "rows of one point are one cluster");
    let told = house.run("cluster --base base.npy --k 4 --metric cos --balanced");
    assert!(told.contains("silhouette") && told.contains("100 to 100"), "{told}");
    let again = house.json(&["cluster", "--base", "base.npy", "--k", "4", "--threads", "1"]);
    assert_eq!(again["inertia"], found["inertia"], "any number of threads");
}

#[test]
fn what_cannot_be_clustered_is_refused() {
    let house = House::new();
    base(&house);
    house.write("there.npy", "x");
    for (line, words) in [
        ("cluster --base base.npy --k 401", "ask for 1 to 400"),
        ("cluster --base base.npy --k 4 --balanced 0.5", "1 or more"),
        ("cluster --base base.npy --k 4 --out there.npy", "already exists"),
        ("cluster --base base.npy --k 4 --out c.txt", "written as .npy"),
        ("cluster --base none.npy --k 4", "none.npy"),
    ] {
        let error = house.fail(&line.split(' ').collect::<Vec<_>>());
        assert!(error.contains(words), "{line}: {error}");
    }
}
