//! Budgets of memory.

use std::fmt;
use std::str::FromStr;

use super::PlanError;

/// Memory that searches may hold: what they go through, shape and codes. What measures candidates
/// again may stay in a mapped file, and is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Bytes for each row.
    Row(u64),
    /// Bytes for all rows together.
    All(u64),
}

impl Memory {
    /// Bytes for each of `rows` rows.
    pub fn per_row(self, rows: usize) -> f64 {
        match self {
            Self::Row(bytes) => bytes as f64,
            Self::All(bytes) => bytes as f64 / rows.max(1) as f64,
        }
    }
}

/// Units of memory for all rows together.
const UNITS: [(&str, u64); 7] = [
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Row(bytes) => write!(f, "{bytes}B"),
            Self::All(bytes) if bytes % 1_000_000 == 0 => write!(f, "{}MB", bytes / 1_000_000),
            Self::All(bytes) => write!(f, "{}kB", bytes / 1000),
        }
    }
}

impl FromStr for Memory {
    type Err = PlanError;

    /// `200B`, bytes a row; `64MB`, `2GiB`, in all.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let wrong = || PlanError::Budget { given: text.chars().take(32).collect() };
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, unit) = text.split_at(digits);
        let count: u64 = count.parse().map_err(|_| wrong())?;
        if unit == "B" {
            return Some(Self::Row(count)).filter(|_| count > 0).ok_or_else(wrong);
        }
        let size = UNITS.iter().find(|(name, _)| *name == unit).map(|&(_, size)| size);
        let bytes = size.and_then(|size| count.checked_mul(size)).filter(|&bytes| bytes > 0);
        bytes.map(Self::All).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_of_a_row_and_more_is_of_all() {
        for (text, memory) in [
            ("200B", Memory::Row(200)),
            ("64MB", Memory::All(64_000_000)),
            ("1GiB", Memory::All(1 << 30)),
            ("3kB", Memory::All(3000)),
        ] {
            assert_eq!(text.parse(), Ok(memory));
        }
        assert_eq!(Memory::All(64_000_000).to_string(), "64MB");
        assert_eq!(Memory::All(1 << 20).to_string(), "1048kB");
        assert_eq!(Memory::Row(7).to_string().parse(), Ok(Memory::Row(7)));
        assert_eq!(Memory::All(1000).per_row(10), 100.0);
        for text in ["", "B", "0B", "0MB", "5", "-1B", "1.5MB", "9mb", "99999999999999999GB"] {
            let error = text.parse::<Memory>().unwrap_err().to_string();
            assert!(error.contains("as 200B") && error.contains("64MB"), "{error}");
        }
    }
}
