//! What HTTP answers when it does not do what was asked: a word for programs and a sentence for people.

use super::hub::Unavailable;
use super::log;
use axum::Json;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::version::WORKSPACE_HEADER;

/// A refused request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HttpFailure {
    status: StatusCode,
    /// For programs; never changed.
    error: &'static str,
    /// For people.
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl HttpFailure {
    pub(crate) fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), headers: Vec::new() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// No token, or one that is not valid (any more) in this workspace.
    pub(crate) fn unauthorized(workspace: WorkspaceId) -> Self {
        let message = "The login of this device is not valid any more; nothing is lost. Log in again.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .with(header::WWW_AUTHENTICATE, "Bearer")
            .with(HeaderName::from_static(WORKSPACE_HEADER), workspace.to_string())
    }

    /// Too much at once; worth another try.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "try_later", message).with(header::RETRY_AFTER, "2")
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Unavailable> for HttpFailure {
    fn from(unavailable: Unavailable) -> Self {
        // Why is for the operator, who finds it in the log.
        log::to_stderr(&unavailable);
        Self::busy("The server has trouble of its own at the moment; nothing was changed. Try again in a while.")
    }
}

impl IntoResponse for HttpFailure {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.error, "message": self.message }));
        let mut response = (self.status, body).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
