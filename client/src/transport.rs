//! One link to a server: TCP, TLS, the upgrade request with Hello inside, and a task each for reading and writing.

mod refused;
mod watched;

pub use refused::ConnectError;
pub use watched::ByteCounts;

use crate::proxy;
use crate::tls;
use crate::url::ServerUrl;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::limits::FRAME_WIRE_BYTES_MAX;
use tombolo_protocol::version::{HELLO_HEADER, SUBPROTOCOL};
use watched::Watched;

/// A link that is not there after this is not waited for.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// One of several addresses of a host has this long.
const ADDRESS_DEADLINE: Duration = Duration::from_secs(10);
/// A link that accepts no byte for this long is dead.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Small, since most messages are; tungstenite's own default is 128 KiB.
const BUFFER_BYTES: usize = 4 * 1024;
/// Frames that wait for a task.
const FRAMES_MAX: usize = 8;

type Socket = WebSocketStream<MaybeTlsStream<Watched<TcpStream>>>;

/// What an upgrade request says.
pub(crate) struct Knock {
    pub url: ServerUrl,
    /// The way there, if it is not straight.
    pub proxy: Option<ureq::Proxy>,
    pub token: String,
    /// The workspace that it is for.
    pub workspace: WorkspaceId,
    /// Hello, where it fits into a header.
    pub hello: Option<String>,
}

/// What comes from the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Bytes),
    /// The link is over; nothing follows.
    Gone {
        /// The server closed it because of an error.
        by_error: bool,
    },
}

/// An open link. Who drops it ends it at once.
pub(crate) struct Link {
    pub incoming: mpsc::Receiver<Incoming>,
    pub outgoing: mpsc::Sender<Bytes>,
    reader: Task,
    writer: Task,
}

/// A task that ends with who holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// Opens a link within [`CONNECT_DEADLINE`].
    pub(crate) async fn open(knock: Knock, bytes: Arc<ByteCounts>) -> Result<Self, ConnectError> {
        match timeout(CONNECT_DEADLINE, upgrade(knock, bytes)).await {
            Ok(Ok(socket)) => Ok(Self::over(socket)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ConnectError::unreachable("it did not answer in time")),
        }
    }

    fn over(socket: Socket) -> Self {
        let (sink, stream) = socket.split();
        let (to_driver, incoming) = mpsc::channel(FRAMES_MAX);
        let (outgoing, from_driver) = mpsc::channel(FRAMES_MAX);
        let reader = Task(tokio::spawn(read(stream, to_driver)));
        let writer = Task(tokio::spawn(write(sink, from_driver)));
        Self { incoming, outgoing, reader, writer }
    }

    /// Ends the link behind the frames that it was given.
    pub(crate) async fn close(self) {
        let Self { incoming: _incoming, outgoing, reader: _reader, mut writer } = self;
        drop(outgoing);
        // The writer ends by itself: each of its writes has a deadline.
        let _ = (&mut writer.0).await;
    }
}

async fn upgrade(knock: Knock, bytes: Arc<ByteCounts>) -> Result<Socket, ConnectError> {
    let request = request(&knock)?;
    let stream = match &knock.proxy {
        Some(proxy) => dial(proxy.host(), proxy.port()).await?,
        None => dial(knock.url.host(), knock.url.port()).await?,
    };
    // An answer must not wait for more bytes to go with it.
    stream.set_nodelay(true).map_err(ConnectError::unreachable)?;
    let mut stream = Watched::new(stream, bytes, WRITE_DEADLINE);
    if let Some(proxy) = &knock.proxy {
        proxy::connect(&mut stream, proxy, &knock.url).await?;
    }
    let connector = if knock.url.is_secure() { Connector::Rustls(tls::client_config()) } else { Connector::Plain };
    match client_async_tls_with_config(request, stream, Some(config()), Some(connector)).await {
        Ok((socket, _response)) => Ok(socket),
        Err(Error::Http(response)) => Err(refused::classify(&response, knock.workspace)),
        Err(Error::Io(error)) => Err(ConnectError::unreachable(error)),
        Err(error @ (Error::Protocol(_) | Error::HttpFormat(_) | Error::Utf8(_) | Error::Capacity(_))) => {
            Err(ConnectError::SomethingElse { what: error.to_string() })
        }
        Err(error) => Err(ConnectError::unreachable(error)),
    }
}

/// Tries the addresses of the host one after another, so that one that swallows packets does not hide the others.
async fn dial(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(ConnectError::unreachable)?;
    let mut last = ConnectError::unreachable("its name has no address");
    for address in addresses {
        last = match timeout(ADDRESS_DEADLINE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => ConnectError::unreachable(error),
            Err(_) => ConnectError::unreachable(format!("{address} does not answer")),
        };
    }
    Err(last)
}

fn request(knock: &Knock) -> Result<Request, ConnectError> {
    let mut request = knock.url.socket().into_client_request().map_err(ConnectError::unreachable)?;
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    // A token that is no header value cannot be one that the server issued.
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", knock.token)).map_err(|_| ConnectError::LoginNeeded)?;
    bearer.set_sensitive(true);
    headers.insert(AUTHORIZATION, bearer);
    if let Some(hello) = &knock.hello {
        let hello = HeaderValue::try_from(hello).expect("base64url is a header value");
        headers.insert(HeaderName::from_static(HELLO_HEADER), hello);
    }
    Ok(request)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(2 * FRAME_WIRE_BYTES_MAX)
        .max_message_size(Some(FRAME_WIRE_BYTES_MAX))
        .max_frame_size(Some(FRAME_WIRE_BYTES_MAX))
}

async fn read(mut stream: SplitStream<Socket>, to_driver: mpsc::Sender<Incoming>) {
    let by_error = loop {
        match stream.next().await {
            Some(Ok(Message::Binary(frame))) => {
                if to_driver.send(Incoming::Frame(frame)).await.is_err() {
                    return;
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(close))) => {
                break close
                    .is_some_and(|frame| matches!(frame.code, CloseCode::Error | CloseCode::Protocol | CloseCode::Invalid));
            }
            // Only binary messages are spoken (section 8).
            Some(Ok(Message::Text(_)) | Err(_)) | None => break false,
        }
    };
    // The driver may have let go of the link meanwhile.
    let _ = to_driver.send(Incoming::Gone { by_error }).await;
}

/// Writes frames in order, many with one flush where many wait.
async fn write(mut sink: SplitSink<Socket, Message>, mut from_driver: mpsc::Receiver<Bytes>) {
    while let Some(frame) = from_driver.recv().await {
        let mut sent = sink.feed(Message::Binary(frame)).await;
        while let (Ok(()), Ok(frame)) = (&sent, from_driver.try_recv()) {
            sent = sink.feed(Message::Binary(frame)).await;
        }
        if sent.is_err() || sink.flush().await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_link_that_is_let_go_of_ends_both_its_tasks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let knock = Knock { url, proxy: None, token: "token".to_owned(), workspace: Default::default(), hello: None };
        let opening = tokio::spawn(Link::open(knock, Arc::default()));
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
        let upgrade = |_: &_, mut response: http::Response<()>| {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
            Ok(response)
        };
        // It stays open, says nothing and reads nothing.
        let _silent = tokio_tungstenite::accept_hdr_async(stream, upgrade).await.unwrap();
        let link = opening.await.unwrap().unwrap();
        let tasks = [link.reader.0.abort_handle(), link.writer.0.abort_handle()];
        drop(link);
        let ended = async {
            while !tasks.iter().all(|task| task.is_finished()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), ended).await.unwrap();
    }
}
