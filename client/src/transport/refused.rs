//! What an answer other than 101 to the upgrade request means. A login portal, a proxy or another server is a state of its
//! own, and never a logout (section 8).

use http::header::{CONTENT_TYPE, RETRY_AFTER, SERVER};
use http::{HeaderMap, Response, StatusCode};
use thiserror::Error;
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::version::WORKSPACE_HEADER;

/// How long to stay away from a server that says that it has trouble and not for how long.
const TRY_LATER_MS: u32 = 5_000;
/// The longest that a server may ask for in an HTTP header.
const TRY_LATER_MS_MAX: u32 = 10 * 60 * 1000;

/// Why there is no link.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No answer: no network, no such host, nothing listens, no trusted certificate.
    #[error("the server cannot be reached ({why})")]
    Unreachable {
        /// What the system says.
        why: String,
    },
    /// The server does not accept the token.
    #[error("the server does not accept this device's login any more")]
    LoginNeeded,
    /// Another workspace answers at this address (H2).
    #[error("another Tombolo server answers at this address")]
    OtherServer {
        /// Its id.
        workspace: WorkspaceId,
    },
    /// A login portal, a proxy or another program answers at this address.
    #[error(
        "something other than a Tombolo server answers at this address ({what}); perhaps this network wants a login in a browser first"
    )]
    SomethingElse {
        /// What came back.
        what: String,
    },
    /// The server does not speak this program's protocol.
    #[error("the server does not understand this program; update the older of both")]
    UpdateNeeded,
    /// The server, or what stands before it, has trouble.
    #[error("the server is not ready ({what})")]
    TryLater {
        /// What came back.
        what: String,
        /// Come back after this.
        after_ms: u32,
    },
}

impl ConnectError {
    pub(crate) fn unreachable(why: impl ToString) -> Self {
        Self::Unreachable { why: why.to_string() }
    }
}

/// Reads an answer that is not the upgrade, to a client of the workspace `own`.
pub(crate) fn classify<B>(response: &Response<B>, own: WorkspaceId) -> ConnectError {
    let status = response.status();
    let html = header(response.headers(), &CONTENT_TYPE).is_some_and(|kind| kind.contains("html"));
    let signed = header(response.headers(), &SERVER).is_some_and(|server| server.starts_with("tombolo"));
    let what = format!("HTTP {}{}", status.as_u16(), if html { ", a web page" } else { "" });
    match status {
        // Portals and proxies say "log in" too, and mean themselves: only a workspace refuses a token.
        StatusCode::UNAUTHORIZED => match workspace(response.headers()) {
            Some(workspace) if workspace == own => ConnectError::LoginNeeded,
            Some(workspace) => ConnectError::OtherServer { workspace },
            None => ConnectError::SomethingElse { what },
        },
        StatusCode::BAD_REQUEST if signed => ConnectError::UpdateNeeded,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => ConnectError::TryLater { what, after_ms: after_ms(response.headers()) },
        _ => ConnectError::SomethingElse { what },
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn workspace(headers: &HeaderMap) -> Option<WorkspaceId> {
    headers.get(WORKSPACE_HEADER)?.to_str().ok()?.parse().ok()
}

fn after_ms(headers: &HeaderMap) -> u32 {
    let seconds = header(headers, &RETRY_AFTER).and_then(|value| value.trim().parse::<u32>().ok());
    seconds.map_or(TRY_LATER_MS, |seconds| seconds.saturating_mul(1000).min(TRY_LATER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> ConnectError {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        classify(&response.body(()).unwrap(), OWN)
    }

    const OWN: WorkspaceId = WorkspaceId(uuid::Uuid::from_bytes([1; 16]));

    #[test]
    fn a_token_is_refused_by_its_own_workspace_and_by_nobody_else() {
        let other = WorkspaceId::from_bytes([2; 16]);
        assert_eq!(answer(401, &[(WORKSPACE_HEADER, &OWN.to_string())]), ConnectError::LoginNeeded);
        assert_eq!(answer(401, &[(WORKSPACE_HEADER, &other.to_string())]), ConnectError::OtherServer { workspace: other });
        for headers in [&[][..], &[("www-authenticate", "Basic realm=\"proxy\"")], &[(WORKSPACE_HEADER, "x")]] {
            assert!(matches!(answer(401, headers), ConnectError::SomethingElse { .. }), "{headers:?}");
        }
    }

    #[test]
    fn a_server_that_speaks_something_else_asks_for_an_update() {
        assert_eq!(answer(400, &[("server", "tombolo/0.1.0")]), ConnectError::UpdateNeeded);
        assert!(matches!(answer(400, &[("server", "nginx")]), ConnectError::SomethingElse { .. }));
    }

    #[test]
    fn a_portal_is_never_taken_for_a_logout() {
        let html = ("content-type", "text/html; charset=utf-8");
        for (status, headers) in [
            (200, vec![html]),
            (302, vec![("location", "http://portal.example/login")]),
            (401, vec![html]),
            (401, vec![("content-type", "application/json")]),
            (403, vec![html]),
            (403, vec![("content-type", "application/json")]),
            (407, vec![]),
            (511, vec![html]),
            (404, vec![]),
            (200, vec![("content-type", "application/json")]),
        ] {
            assert!(matches!(answer(status, &headers), ConnectError::SomethingElse { .. }), "{status}");
        }
    }

    #[test]
    fn a_server_in_trouble_is_asked_again_when_it_said() {
        let after = |headers: &[(&str, &str)]| match answer(503, headers) {
            ConnectError::TryLater { after_ms, .. } => after_ms,
            other => panic!("{other}"),
        };
        assert_eq!(after(&[]), TRY_LATER_MS);
        assert_eq!(after(&[("retry-after", "30")]), 30_000);
        assert_eq!(after(&[("retry-after", "4000000000")]), TRY_LATER_MS_MAX);
        assert_eq!(after(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), TRY_LATER_MS);
        assert!(matches!(answer(502, &[]), ConnectError::TryLater { .. }));
    }
}
