//! The WebSocket below a session. What comes in is read by the library: masks, fragments, limits. What goes out is written here,
//! head and payload as they are: the library would copy each frame into a buffer that stays as large as the largest that ever
//! went through it, for as long as the session lasts.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{self, HeaderMap, HeaderValue, header};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tombolo_protocol::limits::FRAME_WIRE_BYTES_MAX;

/// The buffer that every socket has at once, and grows for a larger frame; the default would be 128 KiB.
const READ_BUFFER_BYTES: usize = 1024;
/// Payloads up to this are written together with what waits beside them, larger ones without being copied.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// A request that asks for a WebSocket.
pub(crate) struct Upgrade {
    request: http::Request<()>,
    answer: http::Response<Body>,
    coming: OnUpgrade,
}

impl Upgrade {
    /// Looks at a request.
    ///
    /// # Errors
    /// What makes it none that asks for a WebSocket.
    pub(crate) fn of(mut request: Request) -> Result<Self, tungstenite::Error> {
        let coming = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let request = http::Request::from_parts(parts, ());
        let answer = create_response_with_body(&request, Body::empty)?;
        Ok(Self { request, answer, coming })
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Whether the client speaks this subprotocol; then it is what is spoken.
    pub(crate) fn speaks(&mut self, protocol: &'static str) -> bool {
        let offered = self.request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
        let mut names = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let does = names.any(|name| name.trim() == protocol);
        if does {
            self.answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        does
    }

    /// The answer to the request, and what becomes the socket once it was sent.
    pub(crate) fn accept(self) -> (Response, Coming) {
        (self.answer, Coming(self.coming))
    }
}

/// A socket that is there when the answer to its request was sent.
pub(crate) struct Coming(OnUpgrade);

impl Coming {
    /// Both halves; `None` where the client left meanwhile.
    pub(crate) async fn halves(self) -> Option<(Incoming, Outgoing)> {
        let stream = TokioIo::new(self.0.await.ok()?);
        let (read, write) = tokio::io::split(stream);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(FRAME_WIRE_BYTES_MAX))
            .max_frame_size(Some(FRAME_WIRE_BYTES_MAX));
        let incoming = WebSocketStream::from_raw_socket(Inward(read), Role::Server, Some(config)).await;
        Some((incoming, Outgoing { stream: write, is_closed: false }))
    }
}

/// What comes in. It answers nothing by itself: who reads it answers pings and the closing frame.
pub(crate) type Incoming = WebSocketStream<Inward>;

/// A stream of which nothing that is written arrives.
pub(crate) struct Inward(ReadHalf<TokioIo<Upgraded>>);

impl AsyncRead for Inward {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Inward {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What goes out.
pub(crate) struct Outgoing<S = WriteHalf<TokioIo<Upgraded>>> {
    stream: S,
    is_closed: bool,
}

impl<S: AsyncWrite + Unpin> Outgoing<S> {
    /// Writes messages in order, small ones together. Nothing is written behind a closing frame.
    ///
    /// # Errors
    /// The stream's.
    pub(crate) async fn write(&mut self, messages: impl Iterator<Item = Message>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for message in messages {
            if self.is_closed {
                break;
            }
            self.is_closed = message.is_close();
            let frame = frame_of(message);
            frame.header().format(frame.payload().len() as u64, &mut bytes).map_err(io::Error::other)?;
            if frame.payload().len() <= COPIED_BYTES_MAX {
                bytes.extend_from_slice(frame.payload());
            } else {
                self.stream.write_all(&bytes).await?;
                bytes.clear();
                self.stream.write_all(frame.payload()).await?;
            }
        }
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }

    /// Says that nothing more comes, unless that was said.
    ///
    /// # Errors
    /// The stream's.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.write(std::iter::once(Message::Close(None))).await
    }
}

fn frame_of(message: Message) -> Frame {
    match message {
        Message::Binary(data) => Frame::message(data, OpCode::Data(Data::Binary), true),
        Message::Text(text) => Frame::message(text, OpCode::Data(Data::Text), true),
        Message::Ping(data) => Frame::ping(data),
        Message::Pong(data) => Frame::pong(data),
        Message::Close(why) => Frame::close(why),
        Message::Frame(frame) => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    #[tokio::test]
    async fn messages_of_all_lengths_arrive_in_order_and_none_behind_the_closing_one() {
        let (near, far) = tokio::io::duplex(1_000);
        let mut outgoing = Outgoing { stream: near, is_closed: false };
        let bulk = |length: usize| Message::Binary((0..length).map(|byte| byte as u8).collect::<Vec<u8>>().into());
        // The head has another form from 126 and from 65,536 bytes on.
        let lengths = [0, 1, 125, 126, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, 65_535, 65_536, 3];
        let mut sent: Vec<Message> = lengths.into_iter().map(bulk).collect();
        sent.insert(3, Message::Ping("are you there".into()));
        sent.push(Message::Pong("I am".into()));
        sent.push(Message::Close(Some(CloseFrame { code: CloseCode::Protocol, reason: "".into() })));
        let behind = [bulk(2), Message::Ping("".into())];
        let all: Vec<Message> = sent.iter().chain(&behind).cloned().collect();
        let writing = tokio::spawn(async move {
            outgoing.write(all.into_iter()).await.unwrap();
            outgoing.write(std::iter::once(Message::Ping("".into()))).await.unwrap();
            outgoing.close().await.unwrap();
        });
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        let mut heard = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            heard.push(message);
        }
        writing.await.unwrap();
        assert!(heard == sent, "{} of {} messages", heard.len(), sent.len());
    }
}
