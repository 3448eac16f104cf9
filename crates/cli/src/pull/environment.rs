//! Where caches are and how hubs are reached: the variables of each ecosystem, read once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Everything that comes from environment variables.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// `$HF_HUB_CACHE`, `$HF_HOME/hub`, or `~/.cache/huggingface/hub`.
    pub(crate) hub_cache: PathBuf,
    /// `$HF_ENDPOINT`, or the public hub.
    pub(crate) hub_endpoint: String,
    /// `$HF_TOKEN`, or what the hub's own tool stored.
    pub(crate) hub_token: Option<String>,
    /// `$HF_HUB_OFFLINE` is set to a true value.
    pub(crate) hub_offline: bool,
    /// `$KVANT_HOME`, `$XDG_CACHE_HOME/kvant`, or `~/.cache/kvant`.
    pub(crate) kvant_cache: PathBuf,
    /// `$KVANT_PACKED_CACHE`, or `packed` in the cache of Kvant; nowhere if that is `off`, or if
    /// there is no home.
    pub(crate) packed_cache: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables of this process.
    pub(crate) fn of_process() -> Self {
        Self::from(&|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| variable(name).map(PathBuf::from);
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let cache = path("XDG_CACHE_HOME")
            .or_else(|| path("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(|| PathBuf::from(".cache"));
        let hub_home = path("HF_HOME").unwrap_or_else(|| cache.join("huggingface"));
        let token_path = path("HF_TOKEN_PATH").unwrap_or_else(|| hub_home.join("token"));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let kvant_cache = path("KVANT_HOME").unwrap_or_else(|| cache.join("kvant"));
        let at_home =
            ["KVANT_HOME", "XDG_CACHE_HOME", "HOME"].into_iter().any(|n| path(n).is_some());
        let packed_cache = match path("KVANT_PACKED_CACHE") {
            Some(off) if off == Path::new("off") => None,
            Some(folder) => Some(folder),
            None => at_home.then(|| kvant_cache.join("packed")),
        };
        let offline = text("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_lowercase();
        Self {
            hub_cache: path("HF_HUB_CACHE").unwrap_or_else(|| hub_home.join("hub")),
            hub_endpoint: endpoint.trim_end_matches('/').to_owned(),
            hub_token: text("HF_TOKEN").or_else(|| stored(&token_path)),
            hub_offline: matches!(offline.as_str(), "1" | "true" | "yes" | "on"),
            kvant_cache,
            packed_cache,
        }
    }
}

fn stored(path: &Path) -> Option<String> {
    let token = std::fs::read_to_string(path).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Environment {
        Environment::from(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_more_specific_variable_wins() {
        let plain = with(&[("HOME", "/h")]);
        assert_eq!(plain.hub_cache, Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(plain.kvant_cache, Path::new("/h/.cache/kvant"));
        assert!(!plain.hub_offline && plain.hub_token.is_none());
        let xdg = with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]);
        assert_eq!(xdg.hub_cache, Path::new("/x/huggingface/hub"));
        assert_eq!(xdg.kvant_cache, Path::new("/x/kvant"));
        let home = with(&[("HOME", "/h"), ("HF_HOME", "/f"), ("KVANT_HOME", "/k")]);
        assert_eq!(home.hub_cache, Path::new("/f/hub"));
        assert_eq!(home.kvant_cache, Path::new("/k"));
        let cache = with(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c"), ("HF_HUB_OFFLINE", "ON")]);
        assert_eq!(cache.hub_cache, Path::new("/c"));
        assert!(cache.hub_offline);
        assert_eq!(home.packed_cache.as_deref(), Some(Path::new("/k/packed")));
        assert_eq!(cache.packed_cache, None, "no home");
        let named = with(&[("KVANT_PACKED_CACHE", "/p")]);
        assert_eq!(named.packed_cache.as_deref(), Some(Path::new("/p")));
        assert_eq!(with(&[("HOME", "/h"), ("KVANT_PACKED_CACHE", "off")]).packed_cache, None);
        let mirror = with(&[("HF_ENDPOINT", "http://mirror/hf/"), ("HF_TOKEN", "t")]);
        assert_eq!(mirror.hub_endpoint, "http://mirror/hf");
        assert_eq!(mirror.hub_token.as_deref(), Some("t"));
    }
}
