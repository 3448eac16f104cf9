//! Vectors of a file, for the benches.

/// The values of an `.npy` file of little-endian f32, and how many a row has.
pub(crate) fn floats(path: &str) -> Result<(Vec<f32>, usize), Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path)?;
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..header]).into_owned();
    if !text.contains("'<f4'") || !text.contains("False") {
        return Err(format!("{path}: not rows of f32: {text}").into());
    }
    let shape = text.split_once("'shape': (").map_or("", |(_, rest)| rest);
    let dim = shape.split([',', ')']).nth(1).map_or("", str::trim).parse()?;
    Ok((bytes[header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(), dim))
}
