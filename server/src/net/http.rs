//! What is served at which path.

use super::config::Limits;
use super::failure::HttpFailure;
use super::hub::{Health, Hub};
use super::login::{self, Desk};
use super::peer::Peer;
use super::socket::Upgrade;
use super::ws::{self, Connection};
use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tombolo_protocol::error::DecodeError;
use tombolo_protocol::frame;
use tombolo_protocol::message::Hello;
use tombolo_protocol::version::{HELLO_HEADER, SUBPROTOCOL};

const LANDING: &str = "This is a Tombolo server. It has no pages to look at: point the Tombolo app, \
                       or `tombolo login URL --user NAME --password-stdin`, at this address.\n";
const SERVER: &str = concat!("tombolo/", env!("CARGO_PKG_VERSION"));

/// What all requests share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) hub: Arc<Hub>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) reads: Arc<Semaphore>,
    /// Held by everything that a stopping server waits for; nothing is ever sent.
    pub(crate) busy: mpsc::Sender<()>,
}

/// All paths.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(|| async { LANDING }))
        .route("/healthz", get(health))
        .route("/sync", get(sync))
        .route("/api/login", post(login::login))
        .route("/api/logout", post(login::logout))
        .method_not_allowed_fallback(|| async {
            HttpFailure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path takes another method.")
        })
        .fallback(|| async {
            HttpFailure::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path. Clients sync at /sync.")
        })
        .layer(axum::middleware::map_response(signed))
        .with_state(app)
}

/// Names the server in every answer, so that a client can tell it from a portal or a proxy in between. A stranger has one
/// request: what follows a login is an upgrade, on a connection of its own.
async fn signed(mut response: Response) -> Response {
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn health(State(app): State<App>) -> Response {
    let health = *app.hub.health().borrow();
    match health {
        Health::Serving(_) => "ok\n".into_response(),
        Health::Trouble => (StatusCode::SERVICE_UNAVAILABLE, "the store is being opened again\n").into_response(),
        Health::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

/// `GET /sync`: who asks is known before anything is upgraded.
async fn sync(
    State(app): State<App>,
    Extension(peer): Extension<Arc<Peer>>,
    request: Request,
) -> Result<Response, HttpFailure> {
    let mut upgrade = Upgrade::of(request).map_err(|error| {
        let message = format!("This path speaks WebSocket only: {error}");
        HttpFailure::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message).with(header::UPGRADE, "websocket")
    })?;
    let identity = login::identify(&app.hub, upgrade.headers()).await?;
    if !upgrade.speaks(SUBPROTOCOL) {
        let message = format!("This server speaks `{SUBPROTOCOL}`, and this client something else: update the older of both.");
        return Err(HttpFailure::new(StatusCode::BAD_REQUEST, "subprotocol", message));
    }
    if app.hub.sessions() >= app.limits.sessions_max {
        return Err(HttpFailure::busy("All places of this server are taken. Try again in a while."));
    }
    let Some((place, heard)) = app.hub.enter(identity.device, app.limits.device_sessions_max) else {
        return Err(HttpFailure::busy("This device has too many connections at the moment. Try again in a minute."));
    };
    // A revocation between the first look and the place rang no bell here.
    if login::identify(&app.hub, upgrade.headers()).await? != identity {
        return Err(HttpFailure::busy("The login of this device changed at this moment. Try again."));
    }
    let connection = Box::new(Connection {
        hub: app.hub,
        place,
        heard,
        peer: peer.clone(),
        identity,
        hello: hello(upgrade.headers()),
        limits: app.limits,
        reads: app.reads,
    });
    peer.is_known_now();
    let busy = app.busy;
    let (answer, coming) = upgrade.accept();
    tokio::spawn(async move {
        if let Some((incoming, outgoing)) = coming.halves().await {
            // A task of its own, without the room that the upgrade took.
            tokio::spawn(ws::begin(incoming, outgoing, connection, busy));
        }
    });
    Ok(answer)
}

/// Hello, where the request carries it.
fn hello(headers: &HeaderMap) -> Option<Result<Box<Hello>, DecodeError>> {
    let value = headers.get(HELLO_HEADER)?;
    Some(match value.to_str() {
        Ok(text) => frame::hello_from_header(text).map(Box::new),
        Err(_) => Err(DecodeError::Malformed("not base64url".to_owned())),
    })
}
