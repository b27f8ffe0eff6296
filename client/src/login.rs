//! Logging in: `POST {url}/api/login` with name and password; what comes back makes a store usable.

use crate::proxy;
use crate::store::Account;
use crate::tls;
use crate::url::ServerUrl;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tombolo_protocol::ids::{DeviceId, Seq, UserId, WorkspaceId};
use tombolo_protocol::limits::{NAME_BYTES_MAX, SCHEMA_BYTES_MAX};
use tombolo_protocol::schema::Role;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

/// A login takes no longer than this; the schema that it brings takes its time at 9.6 kbit/s.
const LOGIN_DEADLINE: Duration = Duration::from_secs(120);
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// Looking whether there is a server is not worth a longer wait.
const LOOK_DEADLINE: Duration = Duration::from_secs(8);
/// Telling the server of a logout is not worth a longer wait.
const LOGOUT_DEADLINE: Duration = Duration::from_secs(5);
/// The longest answer: a schema, written as JSON, and what is around it.
const ANSWER_BYTES_MAX: u64 = 4 * SCHEMA_BYTES_MAX as u64;

/// Why a login failed. Nothing on this device was changed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum LoginFailure {
    /// No answer.
    #[error(
        "the server cannot be reached ({why}). Check the address and the network, and log in again; everything on this device is kept"
    )]
    Unreachable {
        /// What is known of the reason.
        why: String,
    },
    /// Name or password are wrong.
    #[error("the name or the password is wrong. Nothing was changed; try again")]
    WrongCredentials,
    /// Too many failures with this name.
    #[error("too many failed logins with this name; wait {after_s} s and try again")]
    TooManyAttempts {
        /// Wait this long.
        after_s: u64,
    },
    /// Something else answers.
    #[error(
        "what answers at this address is not a Tombolo server ({what}). Check the address; perhaps this network wants a login in a browser first"
    )]
    NotTombolo {
        /// What came back.
        what: String,
    },
    /// The server has trouble.
    #[error("the server is not ready. {message}")]
    TryLater {
        /// In its words, with what to do.
        message: String,
    },
    /// The server says no.
    #[error("the server refused the login: {message}")]
    Refused {
        /// In its words.
        message: String,
    },
}

/// Who logs in.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// What people call this device, in at most 64 bytes: whoever may see a change reads it beside who made it. `None` leaves the
    /// name that the device has.
    pub device_name: Option<&'a str>,
}

impl<'a> Login<'a> {
    /// By name and password; the device is called as before.
    pub fn new(name: &'a str, password: &'a str) -> Self {
        Self { name, password, device_name: None }
    }
}

/// What this computer calls itself, as far as that may be a device's name.
pub fn computer_name() -> Option<String> {
    device_name_of(&gethostname::gethostname().to_string_lossy())
}

/// A text as a device's name: without control characters and blanks around it, cut to what the server takes.
pub fn device_name_of(text: &str) -> Option<String> {
    let mut name: String = text.chars().filter(|character| !character.is_control()).collect();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// What a login brought.
pub(crate) struct LoginAnswer {
    pub account: Account,
    /// What the user may do.
    pub role: Role,
    /// The server's schema.
    pub schema: (Seq, String),
}

#[derive(Deserialize)]
struct Answer {
    token: String,
    device: DeviceId,
    user: UserId,
    name: String,
    role: Role,
    workspace: WorkspaceId,
    schema: AnsweredSchema,
}

#[derive(Deserialize)]
struct AnsweredSchema {
    seq: Seq,
    text: String,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    message: String,
}

/// Asks the server. `device` is what the store was before, if it was anything.
pub(crate) fn ask(url: &ServerUrl, login: Login<'_>, device: Option<DeviceId>) -> Result<LoginAnswer, LoginFailure> {
    ask_through(proxy::of_environment(url), url, login, device)
}

fn ask_through(
    proxy: Option<Proxy>,
    url: &ServerUrl,
    login: Login<'_>,
    device: Option<DeviceId>,
) -> Result<LoginAnswer, LoginFailure> {
    let mut body = serde_json::json!({ "name": login.name, "password": login.password });
    if let Some(name) = login.device_name {
        body["device_name"] = serde_json::json!(name);
    }
    if let Some(device) = device {
        body["device"] = serde_json::json!(device);
    }
    let mut response = agent(LOGIN_DEADLINE, proxy).post(url.http("/api/login")).send_json(&body).map_err(unreachable)?;
    let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let status = response.status().as_u16();
    let answer: Answer = match (status, text) {
        (200, Ok(text)) => serde_json::from_str(&text).map_err(|_| not_tombolo(&response))?,
        (200, Err(error)) => return Err(unreachable(error)),
        (_, text) => return Err(refused(&response, &text.unwrap_or_default())),
    };
    let account = Account {
        url: url.to_string(),
        workspace: answer.workspace,
        user: answer.user,
        user_name: answer.name,
        device: answer.device,
        token: Some(answer.token),
    };
    Ok(LoginAnswer { account, role: answer.role, schema: (answer.schema.seq, answer.schema.text) })
}

/// Whether a Tombolo server answers at this address. Asks over the network.
///
/// # Errors
/// [`LoginFailure`]: nothing answers, or something else.
pub fn look(url: &ServerUrl) -> Result<(), LoginFailure> {
    // A login that nobody could mean: the server's refusal of it is its own and no portal's.
    let answer = agent(LOOK_DEADLINE, proxy::of_environment(url)).post(url.http("/api/login")).send_json(serde_json::json!({}));
    let mut response = answer.map_err(unreachable)?;
    let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
    match (response.status().as_u16(), serde_json::from_str::<Refused>(&text)) {
        (400..=499 | 503, Ok(_)) => Ok(()),
        _ => Err(not_tombolo(&response)),
    }
}

/// Tells the server that a token is not used any more. Returns whether it heard.
pub(crate) fn revoke(url: &ServerUrl, token: &str) -> bool {
    let request = agent(LOGOUT_DEADLINE, proxy::of_environment(url))
        .post(url.http("/api/logout"))
        .header("authorization", format!("Bearer {token}"));
    // A token that is not valid any more is as good as revoked.
    request.send_empty().is_ok_and(|response| matches!(response.status().as_u16(), 200 | 401))
}

fn agent(deadline: Duration, proxy: Option<Proxy>) -> Agent {
    let system = tls::system_roots();
    let roots = if system.is_empty() {
        RootCerts::WebPki
    } else {
        let certificates = system.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>();
        RootCerts::Specific(Arc::new(certificates))
    };
    Agent::config_builder()
        .http_status_as_error(false)
        // A redirect is a portal's; a password goes nowhere but where it was sent.
        .max_redirects(0)
        .max_redirects_will_error(false)
        // The way of the session's socket.
        .proxy(proxy)
        .timeout_global(Some(deadline))
        .timeout_connect(Some(CONNECT_DEADLINE.min(deadline)))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .user_agent(concat!("tombolo/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn unreachable(error: ureq::Error) -> LoginFailure {
    match error {
        ureq::Error::Protocol(error) => LoginFailure::NotTombolo { what: error.to_string() },
        ureq::Error::Timeout(_) => LoginFailure::Unreachable { why: "it did not answer in time".to_owned() },
        ureq::Error::Io(error) => LoginFailure::Unreachable { why: error.to_string() },
        error => LoginFailure::Unreachable { why: error.to_string() },
    }
}

fn not_tombolo(response: &http::Response<Body>) -> LoginFailure {
    let kind = response.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let page = if kind.is_some_and(|kind| kind.contains("html")) { ", a web page" } else { "" };
    LoginFailure::NotTombolo { what: format!("HTTP {}{page}", response.status().as_u16()) }
}

fn refused(response: &http::Response<Body>, text: &str) -> LoginFailure {
    // Only a Tombolo server gives a word and a sentence.
    let Ok(Refused { error, message }) = serde_json::from_str(text) else {
        return match response.status().as_u16() {
            status @ (502..=504) => {
                LoginFailure::TryLater { message: format!("What stands before it says HTTP {status}. Try again in a while") }
            }
            _ => not_tombolo(response),
        };
    };
    match error.as_str() {
        "wrong_credentials" => LoginFailure::WrongCredentials,
        "too_many_attempts" => {
            let after = response.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            LoginFailure::TooManyAttempts { after_s: after.unwrap_or(60) }
        }
        "try_later" => LoginFailure::TryLater { message },
        "not_found" | "method_not_allowed" => LoginFailure::NotTombolo { what: message },
        _ => LoginFailure::Refused { message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::answer_once;

    const DEVICE: &str = "0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e";

    fn login_at(answer: &str) -> (Result<LoginAnswer, LoginFailure>, String) {
        let (url, heard) = answer_once(answer);
        let login = Login { device_name: Some("Reception"), ..Login::new("anna", "river stone 42") };
        let result = ask(&url, login, Some(DEVICE.parse().unwrap()));
        (result, heard.recv().unwrap())
    }

    fn failure(status: &str, kind: &str, body: &str) -> LoginFailure {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        login_at(&answer).0.err().unwrap()
    }

    #[test]
    fn a_login_names_the_stores_device_and_brings_account_role_and_schema() {
        let body = format!(
            "{{\"token\":\"t\",\"device\":\"{DEVICE}\",\"user\":\"{DEVICE}\",\"name\":\"Anna\",\"role\":\"editor\",\"scopes\":\"all\",\
             \"workspace\":\"{DEVICE}\",\"schema\":{{\"seq\":2,\"name\":\"clinic\",\"text\":\"x\"}},\"expires_at_ms\":1}}"
        );
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (result, heard) = login_at(&answer);
        let LoginAnswer { account, role, schema } = result.ok().unwrap();
        assert_eq!((account.token.as_deref(), account.user_name.as_str()), (Some("t"), "Anna"));
        assert_eq!((role, schema), (Role::Editor, (Seq(2), "x".to_owned())));
        assert!(heard.starts_with("POST /api/login "), "{heard}");
        assert!(heard.contains(DEVICE) && heard.contains("Reception"), "{heard}");
    }

    #[test]
    fn a_computers_name_is_cut_to_what_a_device_may_be_called() {
        assert_eq!(device_name_of("reception-2").as_deref(), Some("reception-2"));
        assert_eq!(device_name_of(" \u{7}a\n ").as_deref(), Some("a"));
        assert_eq!(device_name_of(" \t "), None);
        let long = device_name_of(&"é".repeat(40)).unwrap();
        assert_eq!((long.len(), long.chars().count()), (64, 32));
    }

    #[test]
    fn a_login_goes_through_a_proxy() {
        let (url, heard) = answer_once("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n");
        let (proxy, asked) = crate::testing::proxy_once();
        assert!(ask_through(Some(proxy), &url, Login::new("anna", "x"), None).is_err());
        assert!(heard.recv().unwrap().starts_with("POST /api/login "));
        let asked = asked.recv().unwrap();
        assert!(asked.starts_with(&format!("CONNECT {} ", url.authority())), "{asked}");
        assert!(asked.contains("Proxy-Authorization: Basic YW5uYTpzdG9uZQ=="), "{asked}");
    }

    #[test]
    fn what_the_server_says_is_told_apart() {
        let json = "application/json";
        let wrong = failure("401 Unauthorized", json, "{\"error\":\"wrong_credentials\",\"message\":\"no\"}");
        assert_eq!(wrong, LoginFailure::WrongCredentials);
        let busy = failure("503 Busy", json, "{\"error\":\"try_later\",\"message\":\"busy\"}");
        assert_eq!(busy, LoginFailure::TryLater { message: "busy".into() });
        let no = failure("403 No", json, "{\"error\":\"refused\",\"message\":\"not you\"}");
        assert_eq!(no, LoginFailure::Refused { message: "not you".into() });
        let many = failure("429 Many\r\nretry-after: 7", json, "{\"error\":\"too_many_attempts\",\"message\":\"x\"}");
        assert_eq!(many, LoginFailure::TooManyAttempts { after_s: 7 });
    }

    #[test]
    fn a_web_page_is_no_server_whatever_its_status() {
        for status in ["200 OK", "401 Unauthorized", "404 Not Found", "302 Found\r\nlocation: http://127.0.0.1:1/portal"] {
            let failure = failure(status, "text/html", "<html>Welcome to the hotel</html>");
            assert!(matches!(failure, LoginFailure::NotTombolo { .. }), "{status}: {failure}");
        }
        assert!(matches!(failure("200 OK", "application/json", "{}"), LoginFailure::NotTombolo { .. }));
    }

    #[test]
    fn a_server_that_does_not_answer_is_told_in_plain_words() {
        let error = unreachable(ureq::Error::Timeout(ureq::Timeout::Global)).to_string();
        assert!(error.starts_with("the server cannot be reached (it did not answer in time). "), "{error}");
        let busy = LoginFailure::TryLater { message: "All places are taken. Try again in a while.".to_owned() };
        assert_eq!(busy.to_string(), "the server is not ready. All places are taken. Try again in a while.");
    }

    #[test]
    fn a_port_where_nothing_listens_is_not_reachable() {
        let url = crate::testing::closed_port();
        assert!(matches!(ask(&url, Login::new("anna", "x"), None), Err(LoginFailure::Unreachable { .. })));
    }
}
