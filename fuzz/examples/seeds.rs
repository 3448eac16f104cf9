//! Writes the valid seed of a target: `seeds TARGET FOLDER`.

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: seeds TARGET FOLDER");
        std::process::exit(2);
    };
    let Some((_, _, seed)) = kvant_fuzz::TARGETS.iter().find(|(known, _, _)| *known == name) else {
        eprintln!("no target '{name}'");
        std::process::exit(2);
    };
    std::fs::write(std::path::Path::new(&folder).join("seed"), seed())
        .expect("the seed is written");
}
