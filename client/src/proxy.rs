//! The way out through an HTTP proxy, where the environment names one: the session's socket and the login go the same way, both
//! by CONNECT, so that both succeed or fail together.

use crate::transport::ConnectError;
use crate::url::ServerUrl;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ureq::{Proxy, ProxyProtocol};

/// The longest answer to CONNECT.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// The proxy that the environment names for a server: `HTTPS_PROXY` (`HTTP_PROXY` for an address without encryption), else
/// `ALL_PROXY`, unless `NO_PROXY` lists the host. Names in small letters count too. This machine is never asked for by a proxy.
pub(crate) fn of_environment(url: &ServerUrl) -> Option<Proxy> {
    of(url, |name| std::env::var(name).ok())
}

fn of(url: &ServerUrl, variable: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    let named =
        |name: &str| [name.to_owned(), name.to_lowercase()].iter().find_map(|name| variable(name)).filter(|v| !v.is_empty());
    if url.is_local() || named("NO_PROXY").is_some_and(|list| lists(&list, url)) {
        return None;
    }
    let own = if url.is_secure() { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    let proxy = Proxy::new(&named(own).or_else(|| named("ALL_PROXY"))?).ok()?;
    (proxy.protocol() == ProxyProtocol::Http).then_some(proxy)
}

/// Whether a list like `localhost,.example.org,10.0.0.7:8443,*` names a server: by its host, or a domain that it is in.
fn lists(list: &str, url: &ServerUrl) -> bool {
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        let entry = match entry.rsplit_once(':') {
            Some((host, port)) if port.parse() == Ok(url.port()) => host,
            _ => &entry,
        };
        let domain = entry.trim_start_matches('*').trim_start_matches('.');
        let inside = url.host().strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        entry == "*" || (!domain.is_empty() && inside)
    })
}

/// Asks a proxy, on a fresh connection to it, for a connection to the server.
pub(crate) async fn connect(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    proxy: &Proxy,
    url: &ServerUrl,
) -> Result<(), ConnectError> {
    let target = url.authority();
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(name) = proxy.username() {
        let login = BASE64_STANDARD.encode(format!("{name}:{}", proxy.password().unwrap_or_default()));
        request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(ConnectError::unreachable)?;
    stream.flush().await.map_err(ConnectError::unreachable)?;
    let mut answer = Vec::new();
    // Byte by byte: what comes behind the answer is the server's.
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < ANSWER_BYTES_MAX {
        answer.push(stream.read_u8().await.map_err(ConnectError::unreachable)?);
    }
    let status = str::from_utf8(&answer).ok().and_then(|text| {
        let mut words = text.split_ascii_whitespace();
        words.next().filter(|version| version.starts_with("HTTP/"))?;
        words.next()?.parse::<u16>().ok()
    });
    let host = proxy.host();
    match status {
        Some(200..=299) => Ok(()),
        Some(407) => {
            let what = format!(
                "the proxy {host} wants a name and a password: HTTPS_PROXY=http://NAME:PASSWORD@{host}:{}",
                proxy.port()
            );
            Err(ConnectError::SomethingElse { what })
        }
        Some(status @ 500..) => Err(ConnectError::unreachable(format!("the proxy {host} does not reach it: HTTP {status}"))),
        Some(status) => Err(ConnectError::SomethingElse { what: format!("the proxy {host} says HTTP {status}") }),
        None => Err(ConnectError::SomethingElse { what: format!("what should be a proxy at {host} is none") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    fn host_of(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        of(&url.parse().unwrap(), variable).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn the_environment_names_a_proxy_for_what_is_not_near() {
        let all = [("ALL_PROXY", "http://all:3128"), ("https_proxy", "http://secure:3128"), ("HTTP_PROXY", "plain")];
        assert_eq!(host_of("https://sync.example.org", &all).as_deref(), Some("secure"));
        assert_eq!(host_of("http://sync.example.org", &all).as_deref(), Some("plain"));
        assert_eq!(host_of("http://sync.example.org", &all[..2]).as_deref(), Some("all"));
        for near in ["http://localhost:7171", "http://127.0.0.1", "https://[::1]"] {
            assert_eq!(host_of(near, &all), None);
        }
        assert_eq!(host_of("https://sync.example.org", &[]), None);
        // What is not spoken here is gone round.
        assert_eq!(host_of("https://sync.example.org", &[("HTTPS_PROXY", "socks5://socks:1080")]), None);
    }

    #[test]
    fn hosts_and_domains_that_no_proxy_lists_are_reached_without_one() {
        let direct =
            |list: &str| host_of("https://sync.example.org:8443", &[("ALL_PROXY", "http://p"), ("NO_PROXY", list)]).is_none();
        for list in ["*", "example.org", ".example.org", "a, *.example.org", "sync.example.org:8443", "SYNC.example.org"] {
            assert!(direct(list), "{list}");
        }
        for list in ["", ",", "ample.org", "sync.example.org:443", "other.example.org", "."] {
            assert!(!direct(list), "{list}");
        }
    }

    async fn says(answer: &str) -> (Result<(), ConnectError>, String) {
        let (near, mut far) = duplex(1024);
        let proxy = Proxy::new("http://anna:river%20stone@proxy:3128").unwrap();
        let url = "https://sync.example.org".parse().unwrap();
        far.write_all(answer.as_bytes()).await.unwrap();
        let connected = connect(near, &proxy, &url).await;
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.unwrap();
        (connected, asked)
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_server_with_the_name_and_password_of_its_address() {
        let (connected, asked) = says("HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n").await;
        assert_eq!(connected, Ok(()));
        let login = BASE64_STANDARD.encode("anna:river stone");
        let host = "sync.example.org:443";
        assert_eq!(asked, format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {login}\r\n\r\n"));
    }

    #[tokio::test]
    async fn what_a_proxy_says_instead_is_told_apart() {
        for (answer, unreachable) in [
            ("HTTP/1.1 407 No\r\n\r\n", false),
            ("HTTP/1.1 403 No\r\n\r\n", false),
            ("SSH-2.0\r\n\r\n", false),
            ("HTTP/1.0 502 x\r\n\r\n", true),
        ] {
            let error = says(answer).await.0.unwrap_err();
            assert_eq!(matches!(error, ConnectError::Unreachable { .. }), unreachable, "{answer}: {error}");
            assert_eq!(matches!(error, ConnectError::SomethingElse { .. }), !unreachable, "{answer}: {error}");
        }
    }
}
