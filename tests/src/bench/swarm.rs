//! Many light devices in one process: they speak the protocol and keep nothing, so that what is measured is the server.

use super::machine::{now, percentile};
use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use tombolo_client::protocol::batch::{ChangeBatch, WireChange};
use tombolo_client::protocol::change::{Change, FieldChange, Op, Push, Verdict};
use tombolo_client::protocol::cursor::Cursors;
use tombolo_client::protocol::frame::{decode_down, encode_up, hello_to_header};
use tombolo_client::protocol::ids::{
    DeviceId, FieldTag, Hash16, Mark, PushNo, RowId, RowKey, RowNo, Seq, TableTag, WorkspaceId,
};
use tombolo_client::protocol::message::{Down, Hello, Outcome, PushMessage, Up};
use tombolo_client::protocol::row::RowName;
use tombolo_client::protocol::value::Value;
use tombolo_client::protocol::version::{HELLO_HEADER, PROTOCOL, SUBPROTOCOL};
use uuid::Uuid;

const PATIENTS: TableTag = TableTag(2);
const NAME: FieldTag = FieldTag(1);
const WEIGHT: FieldTag = FieldTag(7);
const SITE: FieldTag = FieldTag(9);
/// As the product's own client.
const PING_AFTER: Duration = Duration::from_secs(25);

/// A device that may connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pass {
    pub device: DeviceId,
    pub token: String,
}

/// What a process with light devices is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Swarm {
    pub(super) addr: SocketAddr,
    pub(super) workspace: WorkspaceId,
    /// Its devices; of [`Work::Issue`], one that others are issued to.
    pub(super) passes: Vec<Pass>,
    pub(super) work: Work,
}

/// What is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Work {
    /// Have so many devices issued, each by the session of the one before, and write their passes.
    Issue { count: usize, to: PathBuf },
    /// Connect, catch up, say so, and stay.
    Hold,
    /// Push for so long, each device `batch` changes a push and one push at a time; write what was acknowledged last.
    Load { batch: usize, seconds: u64, site: RowId, to: PathBuf },
}

/// What a load came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Loaded {
    pub changes: u64,
    pub seconds: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Does what the file says, and prints what came of it: of a swarm that holds, `ready`, and then it goes on for ever.
///
/// # Errors
/// When a device cannot connect, or something else than the protocol foresees happens.
#[expect(clippy::print_stdout, reason = "the process that started this one reads its output")]
pub fn run_swarm(file: &std::path::Path) -> Result<()> {
    let swarm: Swarm = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match &swarm.work {
            Work::Issue { count, to } => {
                std::fs::write(to, serde_json::to_string(&issue(&swarm, *count).await?)?)?;
                println!("ready");
            }
            Work::Hold => {
                for peer in connect_all(&swarm).await? {
                    tokio::spawn(stay(peer));
                }
                println!("ready");
                std::future::pending::<()>().await;
            }
            Work::Load { batch, seconds, site, to } => {
                let (loaded, ledger) = load(&swarm, *batch, Duration::from_secs(*seconds), *site).await?;
                std::fs::write(to, ledger)?;
                println!("ready {}", serde_json::to_string(&loaded)?);
            }
        }
        Ok(())
    })
}

async fn connect_all(swarm: &Swarm) -> Result<Vec<Peer>> {
    let mut peers = Vec::with_capacity(swarm.passes.len());
    for pass in &swarm.passes {
        peers.push(Peer::caught_up(swarm.addr, swarm.workspace, pass).await?);
    }
    Ok(peers)
}

async fn issue(swarm: &Swarm, count: usize) -> Result<Vec<Pass>> {
    let mut pass = swarm.passes.first().context("nobody to issue devices to")?.clone();
    let mut passes = Vec::with_capacity(count);
    for _ in 0..count {
        let mut peer = Peer::caught_up(swarm.addr, swarm.workspace, &pass).await?;
        peer.send(&Up::NewDevice).await?;
        pass = loop {
            if let Down::DeviceIssued { device, token } = peer.receive().await? {
                break Pass { device, token };
            }
        };
        peer.send(&Up::Bye).await?;
        passes.push(pass.clone());
    }
    Ok(passes)
}

async fn stay(mut peer: Peer) -> Result<()> {
    loop {
        match timeout(PING_AFTER, peer.receive()).await {
            Ok(Ok(Down::Delta(_))) => peer.send(&Up::AckDelta).await?,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => peer.send(&Up::Ping { nonce: 1 }).await?,
        }
    }
}

async fn load(swarm: &Swarm, batch: usize, time: Duration, site: RowId) -> Result<(Loaded, String)> {
    let mut writers = Vec::new();
    for (number, peer) in connect_all(swarm).await?.into_iter().enumerate() {
        let mut writer = Writer::new(peer, number, batch);
        writer.create(site).await?;
        writers.push(writer);
    }
    let began = now();
    let writers: Vec<_> = writers.into_iter().map(|writer| tokio::spawn(writer.write_until(began + time))).collect();
    let (mut took, mut ledger, mut changes) = (Vec::new(), String::new(), 0);
    for writer in writers {
        let writer = writer.await??;
        changes += writer.took.len() as u64 * batch as u64;
        for row in &writer.rows {
            writeln!(ledger, "{},{}", row.0, writer.weight)?;
        }
        took.extend(writer.took);
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort();
    let ms = |percent| percentile(&took, percent).as_secs_f64() * 1000.0;
    Ok((Loaded { changes, seconds, p50_ms: ms(50), p99_ms: ms(99) }, ledger))
}

/// One open session.
struct Peer {
    socket: WebSocketStream<TcpStream>,
    schema: Seq,
    head: Mark,
}

impl Peer {
    /// Connects and takes everything, as a new device does.
    async fn caught_up(addr: SocketAddr, workspace: WorkspaceId, pass: &Pass) -> Result<Self> {
        let hello = Hello {
            protocol: (PROTOCOL, PROTOCOL),
            workspace,
            device: pass.device,
            process: 1,
            connection: 1,
            schema: Seq(0),
            schema_hash: Hash16::default(),
            cursors: Cursors::default(),
            witness: Mark::default(),
            applied: Default::default(),
            frozen: Vec::new(),
            rate: 0,
        };
        let mut request = format!("ws://{addr}/sync").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {}", pass.token).parse()?);
        headers.insert("sec-websocket-protocol", SUBPROTOCOL.parse()?);
        headers.insert(HELLO_HEADER, hello_to_header(&hello).context("an empty Hello is short")?.parse()?);
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(request, stream).await?;
        let mut peer = Self { socket, schema: Seq(0), head: Mark::default() };
        loop {
            match peer.receive().await? {
                Down::Schema { seq, .. } => peer.schema = seq,
                Down::Welcome(welcome) => peer.head = welcome.snapshot,
                Down::Delta(_) => peer.send(&Up::AckDelta).await?,
                Down::CaughtUp(_) => return Ok(peer),
                _ => {}
            }
        }
    }

    async fn send(&mut self, message: &Up) -> Result<()> {
        Ok(self.socket.send(Message::Binary(encode_up(message).into())).await?)
    }

    async fn receive(&mut self) -> Result<Down> {
        loop {
            match self.socket.next().await.context("the server hung up")?? {
                Message::Binary(frame) => match decode_down(&frame)? {
                    Down::Closed(reason) => bail!("the server closed: {reason:?}"),
                    message => return Ok(message),
                },
                Message::Close(_) => bail!("the server closed"),
                _ => {}
            }
        }
    }
}

/// A device that pushes its own rows again and again.
struct Writer {
    peer: Peer,
    rows: Vec<RowId>,
    number: PushNo,
    hash: Hash16,
    base: Seq,
    weight: u32,
    took: Vec<Duration>,
}

impl Writer {
    fn new(peer: Peer, number: usize, rows: usize) -> Self {
        let id = |row: usize| RowId(Uuid::from_u128(0x0190_0000_0000_7000_8000 << 48 | (number as u128) << 16 | row as u128));
        let base = peer.head.seq;
        let rows = (0..rows).map(id).collect();
        Self { peer, rows, number: PushNo(0), hash: Hash16::default(), base, weight: 0, took: Vec::new() }
    }

    async fn create(&mut self, site: RowId) -> Result<()> {
        let fields = vec![(NAME, Value::text("Asha Mwangi")), (SITE, Value::Uuid(*site.bytes()))];
        self.push(Op::Create, fields).await
    }

    /// Nobody gives back credit, so the server keeps what the others changed to itself: this measures writing.
    async fn write_until(mut self, end: Instant) -> Result<Self> {
        while now() < end {
            self.weight += 1;
            let began = now();
            let weight = Value::float(f64::from(self.weight % 4000) / 10.0)?;
            self.push(Op::Update, vec![(WEIGHT, weight)]).await?;
            self.took.push(began.elapsed());
        }
        Ok(self)
    }

    async fn push(&mut self, op: Op, fields: Vec<(FieldTag, Value)>) -> Result<()> {
        let base = self.base;
        let fields: Vec<_> = fields.into_iter().map(|(field, value)| FieldChange { field, value, base }).collect();
        let change = |id: &RowId| Change {
            key: RowKey { table: PATIENTS, id: *id },
            op,
            row_base: Seq(0),
            view_base: base,
            fields: fields.clone(),
            lost: Vec::new(),
            group: None,
            edited_at_ms: 1_760_000_000_000,
        };
        let number = self.number.next();
        let changes: Vec<Change> = self.rows.iter().map(change).collect();
        let mut push = Push { number, hash: Hash16::default(), schema: self.peer.schema, changes };
        push.hash = push.compute_hash(self.hash);
        (self.number, self.hash) = (push.number, push.hash);
        self.peer.send(&Up::Push(Box::new(on_the_wire(push)))).await?;
        let outcome = loop {
            if let Down::Result { outcome, .. } = self.peer.receive().await? {
                break outcome;
            }
        };
        self.base = outcome.commit.seq;
        accepted(&outcome, self.rows.len())
    }
}

fn on_the_wire(push: Push) -> PushMessage {
    let wire = |change: Change| WireChange {
        table: change.key.table,
        name: RowName::Id(change.key.id, RowNo(0)),
        op: change.op,
        row_base: change.row_base,
        view_base: change.view_base,
        fields: change.fields,
        lost: change.lost,
        group: change.group,
        edited_at_ms: change.edited_at_ms,
    };
    let changes = ChangeBatch(push.changes.into_iter().map(wire).collect());
    PushMessage { number: push.number, hash: push.hash, schema: push.schema, changes }
}

fn accepted(outcome: &Outcome, count: usize) -> Result<()> {
    let verdicts = outcome.verdicts.as_ref().context("a push that was void")?;
    let all = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted { .. }));
    ensure!(all && verdicts.len() == count, "changes of one's own rows were not accepted: {verdicts:?}");
    Ok(())
}
