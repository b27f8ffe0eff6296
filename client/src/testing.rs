//! What the tests of this crate share: a client that knows the clinic without ever having met a server, and tiny servers.

use crate::handle::Client;
use crate::login::LoginAnswer;
use crate::store::{Account, Store};
use crate::url::ServerUrl;
use redb::backends::InMemoryBackend;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use tombolo_protocol::ids::{DeviceId, RowId, Seq, UserId, WorkspaceId};
use tombolo_protocol::schema::{CLINIC, Role};

/// An account at a server that is not there.
pub(crate) fn account(url: &str) -> Account {
    Account {
        url: url.to_owned(),
        workspace: WorkspaceId::from_bytes([1; 16]),
        user: UserId::from_bytes([2; 16]),
        user_name: "anna".to_owned(),
        device: DeviceId::from_bytes([3; 16]),
        token: Some("token".to_owned()),
    }
}

/// The clinic's schema, as the first commit.
pub(crate) fn clinic_schema() -> (Seq, String) {
    (Seq(1), CLINIC.to_owned())
}

/// What a login of an editor at an address brings.
pub(crate) fn login_answer(url: &str) -> LoginAnswer {
    LoginAnswer { account: account(url), role: Role::Editor, schema: clinic_schema() }
}

/// A client on a store in memory that is logged in at an address.
pub(crate) fn client_at(url: &str) -> Client {
    let client = Client::with_opener(Box::new(|| Store::with_backend(InMemoryBackend::new()))).unwrap();
    client.adopt(login_answer(url)).unwrap();
    client
}

/// A client that knows the clinic's schema and has no rows.
pub(crate) fn clinic() -> Client {
    client_at(&closed_port().to_string())
}

/// The id of a site that no mirror has.
pub(crate) fn site() -> RowId {
    RowId::from_bytes([7; 16])
}

/// An address at which nothing listens.
pub(crate) fn closed_port() -> ServerUrl {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

/// A server that answers one request with the same bytes whatever it is; what it heard comes by the channel.
pub(crate) fn answer_once(answer: &str) -> (ServerUrl, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (heard, hears) = channel();
    let answer = answer.to_owned();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        heard.send(request).unwrap();
    });
    (url, hears)
}

/// A proxy that connects whoever asks, once; what it was asked comes by the channel.
pub(crate) fn proxy_once() -> (ureq::Proxy, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = ureq::Proxy::new(&format!("http://anna:stone@{}", listener.local_addr().unwrap())).unwrap();
    let (heard, hears) = channel();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let asked = read_request(&mut client);
        let mut server = TcpStream::connect(asked.split(' ').nth(1).unwrap()).unwrap();
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        heard.send(asked).unwrap();
        let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut up, &mut server));
        let _ = std::io::copy(&mut down, &mut client);
    });
    (proxy, hears)
}

fn read_request(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        if stream.read(&mut byte).unwrap() == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        bytes.push(byte[0]);
    }
}
