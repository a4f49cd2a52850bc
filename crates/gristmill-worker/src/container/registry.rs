//! Registries: the pull half of the OCI distribution protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use gristmill_proto::app::OciDigest;
use reqwest::header::{ACCEPT, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;

use super::source::{Checked, FetchError, Kind};

const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// Between two pieces of a part.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("`{0}` does not name a registry and a repository")]
    Name(String),
    #[error("registry {host}: {source}")]
    Unreachable { host: String, source: reqwest::Error },
    #[error("registry {host} says {status} to {digest}")]
    Status { host: String, status: StatusCode, digest: OciDigest },
    #[error("registry {host} wants a kind of sign-in that is not known here: {wanted}")]
    Challenge { host: String, wanted: String },
    #[error("registry {0} stopped in the middle of an answer")]
    Silent(String),
}

/// How the registries of this machine's owner are reached.
#[derive(Clone, Debug)]
pub struct Registries {
    pub client: Client,
    /// By host, as images name it.
    pub known: BTreeMap<String, Registry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Hosts that are asked first.
    pub mirrors: Vec<String>,
    pub login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "login of {}", self.user)
    }
}

impl Registries {
    pub(super) async fn fetch(
        &self,
        name: &str,
        digest: OciDigest,
        kind: Kind,
        to: &mut Checked,
    ) -> Result<(), FetchError> {
        let (host, repository) = name.split_once('/').ok_or_else(|| RegistryError::Name(name.to_owned()))?;
        let mirrors = self.known.get(host).into_iter().flat_map(|known| &known.mirrors).map(String::as_str);
        let mut said = None;
        for host in mirrors.chain([host]) {
            to.restart()?;
            match self.fetch_from(host, repository, digest, kind, to).await {
                Ok(()) => return Ok(()),
                Err(error) => said = Some(error),
            }
        }
        Err(said.expect("the registry itself was asked"))
    }

    async fn fetch_from(
        &self,
        host: &str,
        repository: &str,
        digest: OciDigest,
        kind: Kind,
        to: &mut Checked,
    ) -> Result<(), FetchError> {
        let folder = match kind {
            Kind::Manifest => "manifests",
            Kind::Blob => "blobs",
        };
        // What Docker calls `docker.io` answers elsewhere.
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let url = format!("{}://{address}/v2/{repository}/{folder}/{digest}", scheme(address));
        let mut response = self.get(host, &url, None).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let sign = self.sign_in(host, repository, &response).await?;
            response = self.get(host, &url, Some(sign)).await?;
        }
        if response.status() != StatusCode::OK {
            return Err(RegistryError::Status { host: host.to_owned(), status: response.status(), digest }.into());
        }
        let mut pieces = response.bytes_stream();
        loop {
            let piece = tokio::time::timeout(PATIENCE, pieces.next()).await;
            match piece.map_err(|_| RegistryError::Silent(host.to_owned()))? {
                Some(Ok(piece)) => to.write(&piece)?,
                Some(Err(source)) => return Err(unreachable(host)(source).into()),
                None => return Ok(()),
            }
        }
    }

    async fn get(&self, host: &str, url: &str, sign: Option<Sign<'_>>) -> Result<Response, RegistryError> {
        let request = self.client.get(url).header(ACCEPT, ACCEPTED);
        let request = match sign {
            Some(Sign::Token(token)) => request.bearer_auth(token),
            Some(Sign::Password(login)) => request.basic_auth(&login.user, Some(&login.password)),
            None => request,
        };
        let answer = tokio::time::timeout(PATIENCE, request.send()).await;
        answer.map_err(|_| RegistryError::Silent(host.to_owned()))?.map_err(unreachable(host))
    }

    async fn sign_in(&self, host: &str, repository: &str, refused: &Response) -> Result<Sign<'_>, RegistryError> {
        let wanted = refused.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let unknown = || RegistryError::Challenge { host: host.to_owned(), wanted: wanted.chars().take(200).collect() };
        let login = self.known.get(host).and_then(|known| known.login.as_ref());
        if wanted.to_ascii_lowercase().starts_with("basic") {
            return login.map(Sign::Password).ok_or_else(unknown);
        }
        let challenge = Challenge::read(wanted).ok_or_else(unknown)?;
        // A password goes to whom the registry names only if nobody else can listen.
        if login.is_some() && !challenge.realm.starts_with("https://") && scheme(host) == "https" {
            return Err(unknown());
        }
        let mut url = reqwest::Url::parse(&challenge.realm).map_err(|_| unknown())?;
        url.query_pairs_mut()
            .append_pair("service", &challenge.service)
            .append_pair("scope", &format!("repository:{repository}:pull"));
        let sign = login.map(Sign::Password);
        let answer = self.get(host, url.as_str(), sign).await?.error_for_status().map_err(unreachable(host))?;
        let mut bytes = Vec::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(unreachable(host))?);
            if bytes.len() > TOKEN_BYTES_MAX {
                return Err(unknown());
            }
        }
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
        token.token.or(token.access_token).map(Sign::Token).ok_or_else(unknown)
    }
}

fn unreachable(host: &str) -> impl FnOnce(reqwest::Error) -> RegistryError {
    let host = host.to_owned();
    |source| RegistryError::Unreachable { host, source: source.without_url() }
}

enum Sign<'a> {
    Token(String),
    Password(&'a Login),
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// `Bearer realm="…",service="…"`
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: String,
}

impl Challenge {
    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        let mut found = Self::default();
        for pair in rest.split(',') {
            let (name, value) = pair.trim().split_once('=')?;
            let value = value.trim_matches('"').to_owned();
            match name {
                "realm" => found.realm = value,
                "service" => found.service = value,
                _ => {}
            }
        }
        (kind.eq_ignore_ascii_case("bearer") && !found.realm.is_empty()).then_some(found)
    }
}

/// Without TLS only on this machine.
fn scheme(host: &str) -> &'static str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if ["localhost", "127.0.0.1", "[::1]"].contains(&name) { "http" } else { "https" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let read = Challenge::read(r#"Bearer realm="https://auth.example/token",service="registry.example",scope="x""#);
        let expected = Challenge { realm: "https://auth.example/token".into(), service: "registry.example".into() };
        assert_eq!(read, Some(expected));
        for text in ["", "Bearer", "Bearer x", "Digest realm=\"a\"", "Bearer service=\"a\""] {
            assert_eq!(Challenge::read(text), None, "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        for (host, expected) in [
            ("localhost", "http"),
            ("127.0.0.1:5000", "http"),
            ("[::1]:5000", "http"),
            ("127.0.0.1.evil.example", "https"),
        ] {
            assert_eq!(scheme(host), expected, "{host}");
        }
    }
}
