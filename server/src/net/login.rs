//! `POST /api/login` and `POST /api/logout`: names and passwords in, tokens out.
//!
//! # Login
//! Body: `{"name", "password", "device"?}`, where `device` is the id that this client store had before: it stays if it is that
//! user's. Answer, 200: `{"token", "device", "user", "name", "role", "scopes", "workspace", "schema": {"seq", "name", "text"},
//! "expires_at_ms"}`, where `scopes` is `"all"` or a list of ids. Everything else: `{"error", "message"}`, where `error` is
//! `bad_request`, `wrong_credentials` (401), `too_many_attempts` (429), `too_large` (413), `refused` (403) or `try_later` (503).
//!
//! # Logout
//! With the token as `Authorization: Bearer`. The token stops working; the answer is `{}`.

use super::attempts::Attempts;
use super::clock;
use super::failure::HttpFailure;
use super::http::App;
use super::hub::Hub;
use super::peer::Peer;
use crate::passwords::{self, Memory};
use crate::snapshot::{Identity, Snapshot};
use crate::store::StoreError;
use crate::store::records::User;
use crate::workspace::{Job, Reply};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value as JsonValue, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tombolo_protocol::commit::{AccessChange, Grant};
use tombolo_protocol::hash;
use tombolo_protocol::ids::{DeviceId, UserId, WorkspaceId};
use tombolo_protocol::schema::Role;

/// Bytes of a login's body; what is left of a stranger's 8 KiB is for the headers.
const LOGIN_BYTES_MAX: usize = 4 * 1024;
/// Passwords checked at the same time: each takes 19 MiB and some 20 ms of a core.
const HASHINGS_MAX: usize = 2;
/// Logins that may wait for that.
const WAITING_MAX: usize = 64;
/// A token works for so long, by the server's clock.
const TOKEN_DAYS: i64 = 90;
const DAY_MS: i64 = 24 * 3600 * 1000;
const TOKEN_BYTES: usize = 32;

/// What the logins of a server share.
pub(crate) struct Desk {
    attempts: Mutex<Attempts>,
    hashings: Semaphore,
    waiting: Semaphore,
    /// What the hashings fill: one for each of them, used again and again.
    memories: Arc<Mutex<Vec<Memory>>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            attempts: Mutex::default(),
            hashings: Semaphore::new(HASHINGS_MAX),
            waiting: Semaphore::new(HASHINGS_MAX + WAITING_MAX),
            memories: Arc::default(),
        }
    }
}

impl Desk {
    /// Whether this is the password of that name; the same work where there is no such user.
    async fn check(
        &self,
        name: &str,
        password: String,
        phc: Option<String>,
        now: impl Fn() -> i64,
    ) -> Result<bool, HttpFailure> {
        let busy = || HttpFailure::busy("Many log in at the moment. Try again in a while.");
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let _turn = self.hashings.acquire().await.map_err(|_| busy())?;
        // Others of this name may have failed while this one waited.
        self.attempts().admit(name, now()).map_err(too_many)?;
        let memories = self.memories.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let memories = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = memories().pop().unwrap_or_default();
            let is_it = passwords::verify(&password, phc.as_deref(), &mut memory);
            memories().push(memory);
            is_it
        });
        let is_it = checked.await.map_err(|_| busy())?;
        if !is_it {
            self.attempts().failed(name, now());
        }
        Ok(is_it)
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new token, and the hash that is stored of it.
pub(crate) fn new_token() -> (String, [u8; 32]) {
    let bytes: [u8; TOKEN_BYTES] = clock::random();
    (URL_SAFE_NO_PAD.encode(bytes), hash::long(&bytes))
}

/// When a token that is made now expires.
pub(crate) fn expires_at_ms(now_ms: i64) -> i64 {
    now_ms.saturating_add(TOKEN_DAYS * DAY_MS)
}

/// The hash of the token in a request's headers.
pub(crate) fn token_hash(headers: &HeaderMap) -> Option<[u8; 32]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let bytes: [u8; TOKEN_BYTES] = URL_SAFE_NO_PAD.decode(token.trim()).ok()?.try_into().ok()?;
    Some(hash::long(&bytes))
}

/// Who sends a request.
///
/// # Errors
/// That the token is missing, unknown, expired or revoked; or that the store cannot be read.
pub(crate) async fn identify(hub: &Arc<Hub>, headers: &HeaderMap) -> Result<Identity, HttpFailure> {
    let token = token_hash(headers);
    let (workspace, identity) = read(hub, move |snapshot, now_ms| {
        let identity = token.map(|token| snapshot.identity(&token, now_ms)).transpose()?.flatten();
        Ok((snapshot.workspace(), identity))
    })
    .await?;
    identity.ok_or_else(|| HttpFailure::unauthorized(workspace))
}

/// Reads from the store, off the async threads.
async fn read<T: Send + 'static>(
    hub: &Arc<Hub>,
    read: impl FnOnce(&Snapshot, i64) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, HttpFailure> {
    let hub = hub.clone();
    hub.mended().await;
    let done = tokio::task::spawn_blocking(move || hub.read(|snapshot| read(snapshot, hub.now_ms())));
    match done.await {
        Ok(done) => Ok(done?),
        Err(_) => Err(HttpFailure::busy("The server stumbled over this request; nothing was changed.")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    name: String,
    password: String,
    device: Option<DeviceId>,
    device_name: Option<String>,
}

/// What a client needs to begin, and keeps.
#[derive(Serialize)]
pub(crate) struct LoginAnswer {
    token: String,
    device: DeviceId,
    user: UserId,
    name: String,
    role: Role,
    scopes: JsonValue,
    workspace: WorkspaceId,
    schema: JsonValue,
    expires_at_ms: i64,
}

/// `POST /api/login`.
pub(crate) async fn login(
    State(app): State<App>,
    Extension(peer): Extension<Arc<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoginAnswer>, HttpFailure> {
    let LoginRequest { name, password, device, device_name } = read_request(&headers, body).await?;
    // Who has to wait anyway takes no place.
    app.desk.attempts().admit(&name, app.hub.now_ms()).map_err(too_many)?;
    let wanted = name.clone();
    let found = read(&app.hub, move |snapshot, _| snapshot.user_named(&wanted)).await?;
    let phc = found.as_ref().map(|(_, user)| user.password.clone());
    if !app.desk.check(&name, password, phc, || app.hub.now_ms()).await? {
        return Err(wrong_credentials());
    }
    let (user, record) = found.ok_or_else(wrong_credentials)?;
    // A large schema takes its time on a bad link.
    peer.is_known_now();
    issue(&app.hub, user, record, (device, device_name)).await.map(Json)
}

async fn read_request(headers: &HeaderMap, body: Body) -> Result<LoginRequest, HttpFailure> {
    let too_large = || {
        let message = format!("A login has at most {LOGIN_BYTES_MAX} bytes.");
        HttpFailure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LOGIN_BYTES_MAX) {
        return Err(too_large());
    }
    let bytes = to_bytes(body, LOGIN_BYTES_MAX).await.map_err(|_| too_large())?;
    serde_json::from_slice(&bytes).map_err(|error| {
        HttpFailure::bad_request(format!(
            "A login is a JSON object with name, password and, where there is one, device and device_name: {error}."
        ))
    })
}

async fn issue(
    hub: &Arc<Hub>,
    user: UserId,
    record: User,
    (device, name): (Option<DeviceId>, Option<String>),
) -> Result<LoginAnswer, HttpFailure> {
    let (token, hash) = new_token();
    let expires_at_ms = expires_at_ms(hub.now_ms());
    let fresh = DeviceId(clock::random_id());
    let device = match hub.ask(Job::IssueToken { user, device, name, fresh, token: hash, expires_at_ms }).await? {
        Reply::Token(Ok(device)) => device,
        Reply::Token(Err(refused)) => {
            return Err(HttpFailure::new(StatusCode::FORBIDDEN, "refused", format!("The login was refused: {refused}.")));
        }
        _ => return Err(HttpFailure::busy("The server stumbled over this login. Try again.")),
    };
    let (workspace, schema) = read(hub, |snapshot, _| {
        let schema = snapshot.schema();
        let schema = json!({ "seq": snapshot.schema_seq(), "name": schema.name, "text": schema.text });
        Ok((snapshot.workspace(), schema))
    })
    .await?;
    let scopes = match record.grant {
        Grant::All => json!("all"),
        Grant::Scopes(scopes) => json!(scopes),
    };
    Ok(LoginAnswer { token, device, user, name: record.name, role: record.role, scopes, workspace, schema, expires_at_ms })
}

/// `POST /api/logout`.
pub(crate) async fn logout(State(app): State<App>, headers: HeaderMap) -> Result<Json<JsonValue>, HttpFailure> {
    let Identity { device, user, .. } = identify(&app.hub, &headers).await?;
    let job = Job::Access { by: user, change: AccessChange::TokenRevoked { device } };
    match app.hub.ask(job).await? {
        // Refused is a token that is gone meanwhile, which is what was asked for.
        Reply::Access(_) => Ok(Json(json!({}))),
        _ => Err(HttpFailure::busy("The server stumbled over this logout. Try again in a while.")),
    }
}

fn wrong_credentials() -> HttpFailure {
    HttpFailure::new(StatusCode::UNAUTHORIZED, "wrong_credentials", "The name or the password is wrong.")
}

fn too_many(wait_ms: i64) -> HttpFailure {
    let seconds = wait_ms / 1000 + 1;
    let message = format!("Too many failed logins with this name. Try again in {seconds} s.");
    HttpFailure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message).with(header::RETRY_AFTER, seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    #[tokio::test(flavor = "multi_thread")]
    async fn logins_at_the_same_time_share_the_memory_and_none_of_them_counts_as_a_failure() {
        let desk = Desk::default();
        let phc = passwords::hash("river stone", [7; 16]).unwrap();
        let login = |_| desk.check("anna", "river stone".to_owned(), Some(phc.clone()), || 1000);
        let checked = join_all((0..4 * HASHINGS_MAX + 6).map(login)).await;
        assert!(checked.iter().all(|checked| *checked == Ok(true)), "{checked:?}");
        let made = desk.memories.lock().unwrap().len();
        assert!((1..=HASHINGS_MAX).contains(&made), "{made}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn guesses_at_the_same_time_are_no_more_than_those_one_after_another() {
        let desk = Desk::default();
        let phc = passwords::hash("river stone", [7; 16]).unwrap();
        let guess = |_| desk.check("anna", "river".to_owned(), Some(phc.clone()), || 1000);
        let checked = join_all((0..16).map(guess)).await;
        let tried = checked.iter().filter(|checked| checked.is_ok()).count();
        assert!((10..10 + HASHINGS_MAX).contains(&tried), "{tried}");
    }
}
