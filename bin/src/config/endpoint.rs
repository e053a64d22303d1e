//! Ways to reach a chain.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Network;

/// Where toncenter has its API, for URLs that name a server alone.
const API_PATH: &str = "/api/v2";

/// A way to reach a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// In this process, kept in this directory.
    Embedded(PathBuf),
    /// A toncenter v2 API at this URL, which ends in the path of the API and not in a slash.
    Http(String),
}

/// A text that is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a chain endpoint: expected an http(s) URL of a toncenter v2 API without query or password, or embedded:DIR")]
pub struct EndpointError;

impl Endpoint {
    /// Where a network is reached unless somebody says otherwise.
    pub fn default_of(network: Network) -> Self {
        let url = match network {
            Network::Devnet => "http://127.0.0.1:8081/api/v2",
            Network::Testnet => "https://testnet.toncenter.com/api/v2",
            Network::Mainnet => "https://toncenter.com/api/v2",
        };
        Self::Http(url.to_owned())
    }

    /// Whether it is a chain in this process.
    pub const fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }

    /// Whether its answers cannot be changed on the way.
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Http(url) if url.starts_with("https://"))
    }

    /// Makes a relative directory absolute.
    pub(super) fn resolve(&mut self, dir: &Path) {
        if let Self::Embedded(path) = self {
            *path = dir.join(&*path);
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(dir) = text.strip_prefix("embedded:") {
            return if dir.is_empty() { Err(EndpointError) } else { Ok(Self::Embedded(dir.into())) };
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let has_host = rest.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'[');
        // What stands here is shown in errors and logs, so a key must not.
        let may_be_secret = rest.contains(['?', '#', '@']);
        if !has_host || may_be_secret || text.parse::<axum::http::Uri>().is_err() {
            return Err(EndpointError);
        }
        let url = text.trim_end_matches('/');
        let has_path = rest.trim_end_matches('/').contains('/');
        Ok(Self::Http(if has_path { url.to_owned() } else { format!("{url}{API_PATH}") }))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(dir) => write!(f, "embedded:{}", dir.display()),
            Self::Http(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_or_directories() {
        let check = |text: &str, expected| assert_eq!(text.parse::<Endpoint>(), expected, "{text}");
        check("http://127.0.0.1:8081/", Ok(Endpoint::Http("http://127.0.0.1:8081/api/v2".into())));
        check("http://127.0.0.1:8081", Ok(Endpoint::Http("http://127.0.0.1:8081/api/v2".into())));
        check("https://a.example/ton/", Ok(Endpoint::Http("https://a.example/ton".into())));
        check("https://toncenter.com/api/v2", Ok(Endpoint::Http("https://toncenter.com/api/v2".into())));
        check("http://[::1]:8081", Ok(Endpoint::Http("http://[::1]:8081/api/v2".into())));
        check("embedded:chain", Ok(Endpoint::Embedded("chain".into())));
        for wrong in ["", "embedded:", "http://", "https:///x", "ftp://x", "toncenter.com", "127.0.0.1:8081", "http://a b"] {
            check(wrong, Err(EndpointError));
        }
        for wrong in ["https://a.example/api/v2?api_key=sesame", "https://me:sesame@a.example", "https://a.example/#sesame"] {
            check(wrong, Err(EndpointError));
        }
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for text in ["embedded:/a/b", "https://toncenter.com/api/v2"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }
}
