//! A client by hand: bytes on a socket, and a WebSocket that speaks frames.

use super::soon;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::frame;
use tombolo_protocol::hash;
use tombolo_protocol::ids::{DeviceId, Hash16, Mark, PushNo, Seq, WorkspaceId};
use tombolo_protocol::message::{Down, Hello, Up};
use tombolo_protocol::version::{HELLO_HEADER, PROTOCOL, SUBPROTOCOL};

/// An HTTP answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Value,
}

/// Sends bytes and reads until the server closes; `None` where it closes without an answer.
pub(super) async fn send(addr: SocketAddr, request: impl AsRef<[u8]>) -> Option<Answer> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    let mut bytes = Vec::new();
    // A server that refuses the rest of a request may reset the connection behind its answer.
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::from(body)) })
}

pub(super) async fn post(addr: SocketAddr, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    send(addr, request).await.unwrap()
}

/// What a login gave.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) token: String,
    pub(super) device: DeviceId,
    pub(super) workspace: WorkspaceId,
}

pub(super) async fn login(addr: SocketAddr, name: &str, password: &str, device: Option<DeviceId>) -> Result<Login, Answer> {
    let body = serde_json::json!({ "name": name, "password": password, "device": device });
    let answer = post(addr, "/api/login", "", &body.to_string()).await;
    if answer.status != 200 {
        return Err(answer);
    }
    let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    Ok(Login { token: text("token"), device: text("device").parse().unwrap(), workspace: text("workspace").parse().unwrap() })
}

/// A connected client.
pub(super) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    /// Upgrades, with these headers beside those of every client.
    pub(super) async fn open(
        addr: SocketAddr,
        token: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{addr}/sync").into_client_request()?;
        let own = [("authorization", format!("Bearer {token}")), ("sec-websocket-protocol", SUBPROTOCOL.to_owned())];
        for (name, value) in own.iter().chain(headers) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        soon(tokio_tungstenite::connect_async(request)).await.map(|(stream, _)| Self(stream))
    }

    /// Connects a store that holds nothing yet.
    pub(super) async fn fresh(addr: SocketAddr, login: &Login, connection: u32) -> Self {
        let header = frame::hello_to_header(&hello(login, connection)).unwrap();
        Self::open(addr, &login.token, &[(HELLO_HEADER, header)]).await.unwrap()
    }

    pub(super) async fn say(&mut self, up: &Up) {
        self.send(Message::Binary(frame::encode_up(up).into())).await;
    }

    pub(super) async fn send(&mut self, message: Message) {
        self.try_send(message).await.unwrap();
    }

    pub(super) async fn try_send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.0.send(message).await
    }

    /// Bytes below the WebSocket.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// The next message of any kind.
    pub(super) async fn hear_message(&mut self) -> Message {
        soon(self.0.next()).await.unwrap().unwrap()
    }

    /// The next message; `None` where the server has closed.
    pub(super) async fn hear(&mut self) -> Option<Down> {
        loop {
            match soon(self.0.next()).await {
                Some(Ok(Message::Binary(bytes))) => return Some(frame::decode_down(&bytes).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// All messages until the server closes.
    pub(super) async fn hear_all(&mut self) -> Vec<Down> {
        let mut heard = Vec::new();
        while let Some(down) = self.hear().await {
            heard.push(down);
        }
        heard
    }

    /// Messages up to one that is looked for.
    pub(super) async fn hear_until(&mut self, wanted: impl Fn(&Down) -> bool) -> Down {
        loop {
            let down = self.hear().await.expect("the server closed before it was heard");
            if wanted(&down) {
                return down;
            }
        }
    }
}

/// The Hello of a store that holds nothing yet.
pub(super) fn hello(login: &Login, connection: u32) -> Hello {
    Hello {
        protocol: (PROTOCOL, PROTOCOL),
        workspace: login.workspace,
        device: login.device,
        process: 7,
        connection,
        schema: Seq(0),
        schema_hash: Hash16::default(),
        cursors: Cursors::default(),
        witness: Mark::default(),
        applied: (PushNo(0), Hash16::default()),
        frozen: Vec::new(),
        rate: 0,
    }
}

/// The hash under which the server keeps a token.
pub(super) fn stored(token: &str) -> [u8; 32] {
    hash::long(&URL_SAFE_NO_PAD.decode(token).unwrap())
}
