//! What HTTP answers when it does not do what was asked: a word for programs and a sentence for people.

use super::hub::Unavailable;
use super::log;
use axum::Json;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refused request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HttpFailure {
    status: StatusCode,
    /// For programs; never changed.
    error: &'static str,
    /// For people.
    message: String,
    header: Option<(HeaderName, String)>,
}

impl HttpFailure {
    pub(crate) fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), header: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// No token, or one that is not valid (any more).
    pub(crate) fn unauthorized() -> Self {
        let message = "The login of this device is not valid any more; nothing is lost. Log in again.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message).with(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// Too much at once; worth another try.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "try_later", message).with(header::RETRY_AFTER, "2")
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
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
        if let Some((name, value)) = self.header
            && let Ok(value) = value.parse()
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
