//! The proxy against a server that sends back what it gets.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Sends everything back, and reports how each connection ended.
struct Echo {
    addr: SocketAddr,
    ended: mpsc::UnboundedReceiver<io::Result<u64>>,
}

async fn echo() -> Echo {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (end, ended) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let end = end.clone();
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let copied = tokio::io::copy(&mut from, &mut to).await;
                let shut = to.shutdown().await;
                let _ = end.send(shut.and(copied));
            });
        }
    });
    Echo { addr, ended }
}

/// A proxy before an echo server, and a connection through it that has proven to work with one byte each way.
async fn linked() -> (Echo, Proxy, TcpStream) {
    let echo = echo().await;
    let proxy = Proxy::start(echo.addr).unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(round_trip(&mut client, b"!").await.unwrap(), b"!");
    (echo, proxy, client)
}

async fn round_trip(client: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    client.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    client.read_exact(&mut back).await?;
    Ok(back)
}

/// What arrives before the connection ends, and how it ends.
async fn read_to_the_end(client: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = client.read_to_end(&mut bytes).await.map(|_| ());
    (bytes, end)
}

/// Connects and reads; a reset may be seen at either step.
async fn try_to_read(addr: SocketAddr) -> io::Result<usize> {
    TcpStream::connect(addr).await?.read(&mut [0]).await
}

fn is_reset<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn bytes_pass_unchanged_and_both_ends_close_cleanly() {
    let (mut echo, proxy, mut client) = linked().await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let (mut from, mut to) = client.split();
    let (back, ()) = tokio::join!(
        async {
            let mut back = Vec::new();
            from.read_to_end(&mut back).await.unwrap();
            back
        },
        async {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        }
    );
    assert!(back == sent, "{} bytes came back of {}", back.len(), sent.len());
    assert_eq!(echo.ended.recv().await.unwrap().unwrap(), 1_000_001);
    let counters = proxy.wait_for(|c| c.open == 0).await.unwrap();
    let flow = Flow { sent: 1_000_001, delivered: 1_000_001 };
    assert_eq!((counters.up, counters.down, counters.connections, counters.cuts), (flow, flow, 1, 0));
}

#[tokio::test]
async fn turns_count_how_often_the_traffic_changes_its_direction() {
    let (_echo, proxy, mut client) = linked().await;
    round_trip(&mut client, b"abc").await.unwrap();
    round_trip(&mut client, b"abc").await.unwrap();
    assert_eq!(proxy.counters().turns, 5, "six messages, to and fro");
}

#[tokio::test]
async fn a_cut_resets_both_ends_of_all_connections_and_new_ones_pass() {
    let (mut echo, proxy, mut client) = linked().await;
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    round_trip(&mut second, b"x").await.unwrap();
    proxy.cut_now();
    assert!(is_reset(read_to_the_end(&mut client).await.1));
    assert!(is_reset(read_to_the_end(&mut second).await.1));
    assert!(is_reset(echo.ended.recv().await.unwrap()));
    assert!(is_reset(echo.ended.recv().await.unwrap()));
    let mut third = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(round_trip(&mut third, b"y").await.unwrap(), b"y");
}

#[tokio::test]
async fn a_cut_on_the_way_up_lets_exactly_the_bytes_before_it_through() {
    for bytes in [0, 1, 7, 99] {
        let (mut echo, proxy, mut client) = linked().await;
        proxy.cut_after(Direction::Up, bytes);
        client.write_all(&[7; 100]).await.unwrap();
        assert!(is_reset(read_to_the_end(&mut client).await.1));
        assert!(is_reset(echo.ended.recv().await.unwrap()), "the server is told");
        let counters = proxy.counters();
        assert_eq!((counters.up.delivered, counters.cuts), (1 + bytes, 1));
    }
}

#[tokio::test]
async fn a_cut_on_the_way_down_lets_exactly_the_bytes_before_it_arrive() {
    for bytes in [0, 1, 7, 99] {
        let (_echo, proxy, mut client) = linked().await;
        proxy.cut_after(Direction::Down, bytes);
        client.write_all(&[7; 100]).await.unwrap();
        let (arrived, end) = read_to_the_end(&mut client).await;
        assert_eq!(arrived.len() as u64, bytes);
        assert!(is_reset(end));
    }
}

#[tokio::test]
async fn a_stalled_direction_holds_bytes_back_and_the_other_goes_on() {
    let (_echo, proxy, mut client) = linked().await;
    proxy.stall(Direction::Down);
    client.write_all(b"hello").await.unwrap();
    let stalled = proxy.wait_for(|c| c.up.delivered == 6 && c.open == 1).await.unwrap();
    assert_eq!(stalled.down.delivered, 1);
    proxy.resume(Direction::Down);
    let mut back = [0; 5];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    assert_eq!(proxy.counters().cuts, 0);
}

#[tokio::test]
async fn the_end_of_a_stream_does_not_pass_a_stalled_direction() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.stall(Direction::Up);
    client.shutdown().await.unwrap();
    // Bytes the other way have come through the proxy later than the end of the stream came to it.
    for _ in 0..10 {
        server.write_all(b"x").await.unwrap();
        client.read_u8().await.unwrap();
    }
    let silence = server.try_read(&mut [0]).unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
    proxy.resume(Direction::Up);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_swallowed_answer_was_sent_by_the_server_and_never_arrives() {
    let (mut echo, proxy, mut client) = linked().await;
    proxy.swallow_answers(5);
    client.write_all(b"1234").await.unwrap();
    proxy.wait_for(|c| c.swallowed == 4).await.unwrap();
    assert_eq!(proxy.counters().cuts, 0, "the server has not said enough yet");
    client.write_all(b"5").await.unwrap();
    let (arrived, end) = read_to_the_end(&mut client).await;
    assert_eq!(arrived, b"");
    assert!(is_reset(end));
    assert!(is_reset(echo.ended.recv().await.unwrap()));
    assert_eq!(proxy.counters().up.delivered, 6, "the server had the request whole");
    let mut again = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(round_trip(&mut again, b"retry").await.unwrap(), b"retry");
}

#[tokio::test]
async fn new_connections_are_refused_while_open_ones_go_on() {
    let (_echo, proxy, mut client) = linked().await;
    proxy.set_admission(Admission::Refuse);
    assert!(is_reset(try_to_read(proxy.addr()).await));
    assert_eq!(round_trip(&mut client, b"still here").await.unwrap(), b"still here");
    proxy.set_admission(Admission::Forward);
    let mut admitted = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(round_trip(&mut admitted, b"x").await.unwrap(), b"x");
    assert_eq!(proxy.wait_for(|c| c.refused == 1).await.unwrap().connections, 2);
}

#[tokio::test]
async fn a_portal_answers_with_a_page_and_the_server_hears_nothing() {
    let (_echo, proxy, _client) = linked().await;
    proxy.set_admission(Admission::Portal);
    let mut guest = TcpStream::connect(proxy.addr()).await.unwrap();
    guest.write_all(b"GET /sync HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
    let (page, end) = read_to_the_end(&mut guest).await;
    let page = String::from_utf8(page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html"), "{page}");
    assert!(end.is_ok());
    let counters = proxy.wait_for(|c| c.portal_answers == 1).await.unwrap();
    assert_eq!((counters.connections, counters.up.sent), (1, 1));
}

#[tokio::test]
async fn a_client_of_a_server_that_is_gone_is_reset_and_finds_the_next_one() {
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(gone).unwrap();
    assert!(is_reset(try_to_read(proxy.addr()).await));
    proxy.wait_for(|c| c.unreachable == 1 && c.open == 0).await.unwrap();
    proxy.set_upstream(echo().await.addr);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(round_trip(&mut client, b"back").await.unwrap(), b"back");
}

#[tokio::test]
async fn a_slow_link_takes_at_least_its_time() {
    let echo = echo().await;
    let proxy = Proxy::start_slow(echo.addr, Shape::symmetric(100, 64_000)).unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let started = tokio::time::Instant::now();
    round_trip(&mut client, &[7; 1_600]).await.unwrap();
    // The round trip and 200 ms to send on the way up; on the way down the packets overlap with those going up.
    assert!(started.elapsed() >= Duration::from_millis(100 + 200), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_dropped_proxy_closes_its_port_and_its_connections() {
    let (_echo, proxy, mut client) = linked().await;
    let addr = proxy.addr();
    drop(proxy);
    assert_eq!(read_to_the_end(&mut client).await.0, b"");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[test]
fn a_plain_thread_can_wait_for_the_link_too() {
    let runtime = Runtime::new().unwrap();
    let echo = runtime.block_on(echo());
    let proxy = Proxy::start(echo.addr).unwrap();
    let mut client = std::net::TcpStream::connect(proxy.addr()).unwrap();
    io::Write::write_all(&mut client, b"plain").unwrap();
    let counters = proxy.wait_for_blocking(|c| c.down.delivered == 5).unwrap();
    assert_eq!(counters.up.sent, 5);
}
