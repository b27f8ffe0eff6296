//! The address of a server, as a person gives it at login.

use http::Uri;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The address of a server: `http://HOST[:PORT][/PATH]`, or with `https`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerUrl {
    secure: bool,
    host: String,
    port: u16,
    /// What stands before the server's own paths, without a slash at the end.
    prefix: String,
}

/// Why a text is no address of a server.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is missing or another one.
    #[error("`{0}` does not say how to reach the server: write https://{0}, or http://{0} inside one building")]
    NoScheme(String),
    /// It is not an address.
    #[error("`{0}` is not the address of a server: write it like https://sync.example.org")]
    NotAnAddress(String),
}

impl ServerUrl {
    /// Whether the link is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is this machine.
    pub fn is_local(&self) -> bool {
        let address = self.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, always both.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The address of the session's WebSocket.
    pub fn socket(&self) -> String {
        format!("{}://{}{}/sync", if self.secure { "wss" } else { "ws" }, self.authority(), self.prefix)
    }

    /// The address of a path of the server's HTTP side.
    pub fn http(&self, path: &str) -> String {
        format!("{}://{}{}{path}", if self.secure { "https" } else { "http" }, self.authority(), self.prefix)
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let not_one = || UrlError::NotAnAddress(text.to_owned());
        if !text.contains("://") {
            return Err(UrlError::NoScheme(text.to_owned()));
        }
        let uri: Uri = text.parse().map_err(|_| not_one())?;
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            _ => return Err(not_one()),
        };
        let authority = uri.authority().ok_or_else(not_one)?;
        if authority.as_str().contains('@') || authority.host().is_empty() || uri.query().is_some() {
            return Err(not_one());
        }
        Ok(Self {
            secure,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = self.port == if self.secure { 443 } else { 80 };
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.host)?;
        if !usual {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_socket_and_login() {
        let url: ServerUrl = "http://127.0.0.1:7171".parse().unwrap();
        assert_eq!(url.socket(), "ws://127.0.0.1:7171/sync");
        assert_eq!(url.http("/api/login"), "http://127.0.0.1:7171/api/login");
        assert!(url.is_local() && !url.is_secure());
        let url: ServerUrl = "https://Example.org/tombolo/".parse().unwrap();
        assert_eq!(url.socket(), "wss://example.org:443/tombolo/sync");
        assert_eq!(url.to_string(), "https://example.org/tombolo");
        assert!(!url.is_local());
        assert!("http://[::1]:80".parse::<ServerUrl>().unwrap().is_local());
        assert_eq!("http://[::1]:80".parse::<ServerUrl>().unwrap().host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_told_apart_from_one_without_a_scheme() {
        assert!(matches!("example.org:7171".parse::<ServerUrl>(), Err(UrlError::NoScheme(_))));
        for text in ["ftp://example.org", "http://", "http://a@b", "http://exa mple", "http://x?y=1"] {
            assert!(matches!(text.parse::<ServerUrl>(), Err(UrlError::NotAnAddress(_))), "{text}");
        }
    }
}
