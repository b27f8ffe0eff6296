//! `cargo demo`: a server on its embedded store, seeded clinic data, two devices, a conflict, in a temporary folder, with real
//! sockets and files. With a display it opens the desktop application twice, each window with a switch for its network; without
//! one it plays the same story as text, with the bytes and times of each step.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;
use tombolo_client::paths::STORE_FILE;
use tombolo_client::protocol::ids::{FieldTag, RowKey};
use tombolo_client::protocol::outbox::{Resolution, Write};
use tombolo_client::protocol::schema::CLINIC;
use tombolo_client::protocol::value::Value;
use tombolo_client::url::ServerUrl;
use tombolo_client::view::Query;
use tombolo_client::{Client, LocalWrite, Login, SyncDone, SyncOptions};
use tombolo_server::net::{Config, Operator, RunningServer, Server};
use tombolo_tests::clinic::{PASSWORD, PEOPLE, seed};
use tombolo_tests::process;
use tombolo_tests::proxy::{Admission, Proxy};

/// Plays the main story of Tombolo on this machine.
#[derive(Parser)]
#[command(name = "demo", after_help = "Example:\n  cargo demo -- --text")]
struct Options {
    /// Play it as text, also where there is a display
    #[arg(long)]
    text: bool,
    /// Patients to begin with
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
}

/// Somebody's login, at a device whose name the other one reads in histories.
fn login(name: &str) -> Login<'_> {
    let device_name = if name == PEOPLE[0] { "Reception" } else { "Outreach tablet" };
    Login { device_name: Some(device_name), ..Login::new(name, PASSWORD) }
}

#[expect(clippy::print_stdout, reason = "the story is told on standard output")]
fn say(text: &str) {
    println!("{text}");
}

fn main() -> Result<()> {
    let options = Options::parse();
    let windows = !options.text && has_display();
    if !options.text && !windows {
        say("There is no display here, so that no window can be opened; here is the same story as text.\n");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = TempDir::new()?;
    let server = runtime.block_on(Server::start(Config::local(folder.path().join("server"), CLINIC)))?;
    let story = Story { server: &server, operator: server.operator(), runtime: &runtime, folder: folder.path() };
    let told = if windows { story.show(options.rows) } else { story.play(options.rows) };
    runtime.block_on(server.shutdown());
    told
}

struct Story<'a> {
    server: &'a RunningServer,
    operator: Operator,
    runtime: &'a tokio::runtime::Runtime,
    folder: &'a Path,
}

impl Story<'_> {
    fn play(&self, rows: usize) -> Result<()> {
        self.seed(rows)?;
        say("\nTwo devices log in and get everything.");
        let (amina, brian) = (self.device("amina")?, self.device("brian")?);
        report("Amina's first sync", &sync(&amina)?);
        report("Brian's first sync", &sync(&brian)?);
        let patients = amina.list(table(&amina, "patients")?, Query { limit: Some(3), ..Query::default() })?;
        let [one, two, three] = patients.as_slice() else { bail!("too few patients") };
        say("\nThe network is gone. Both go on working; each edit is safe on its own disk at once.");
        edit(&amina, one.key, "phone", "+254700000001")?;
        edit(&brian, one.key, "village", "Lamu")?;
        say("  First patient: Amina changes the phone number, Brian the village.");
        edit(&amina, two.key, "notes", "Amina: allergic to penicillin")?;
        edit(&brian, two.key, "notes", "Brian: moved in with her sister")?;
        say("  Second patient: both write a note.");
        edit(&amina, three.key, "phone", "+254700000003")?;
        write(&brian, three.key, Write::Delete)?;
        say("  Third patient: Amina changes the phone number, Brian deletes the record.");
        say("\nThe network is back. Amina syncs first, then Brian.");
        report("Amina", &sync(&amina)?);
        report("Brian", &sync(&brian)?);
        say("  The first patient merged without a question: phone from Amina, village from Brian.");
        self.decide(&brian)?;
        report("Brian, with his decisions", &sync(&brian)?);
        report("Amina", &sync(&amina)?);
        self.compare(&amina, &brian)
    }

    /// Two windows of two people; whoever started this plays the story.
    fn show(&self, rows: usize) -> Result<()> {
        self.seed(rows)?;
        say("Building the desktop application. The first time takes some minutes.");
        let desktop = process::desktop()?;
        let mut windows = Vec::new();
        // Each window has a way of its own to the server, that its switch cuts.
        let mut ways = Vec::new();
        for name in PEOPLE {
            let proxy = Arc::new(Proxy::start(self.server.addr())?);
            let store = self.folder.join(name);
            let client = Client::open(&store.join(STORE_FILE))?;
            let url: ServerUrl = format!("http://{}", proxy.addr()).parse()?;
            client.login(&url, login(name)).with_context(|| format!("{name} cannot log in"))?;
            report(&format!("{name}'s first sync"), &sync(&client)?);
            drop(client);
            let switch = switch(proxy.clone())?;
            ways.push(proxy);
            let window = std::process::Command::new(&desktop)
                .arg("--store")
                .arg(&store)
                .arg("--data")
                .arg(self.folder.join(format!("{name}-settings")))
                .arg("--network")
                .arg(switch.to_string())
                .spawn()
                .context("the desktop application did not start")?;
            windows.push(window);
        }
        say("\nTwo windows are open: Amina's and Brian's, at one clinic. Try this:\n  \
             1. Switch the network off in both (top right).\n  \
             2. Open the same patient in both, press Edit, and write different notes. Save.\n  \
             3. Switch the network on and press Sync in one, then in the other.\n  \
             4. The second one asks: press Decide, choose, press Apply merge, and Sync.\n  \
             5. Sync in the first one: both show the same.\nClose both windows to end the demo.");
        let before = self.commits()?;
        for mut window in windows {
            window.wait()?;
        }
        self.tell_end(before)
    }

    /// What the windows left, once they are closed.
    fn tell_end(&self, before: u64) -> Result<()> {
        let [amina, brian] = PEOPLE.map(|name| Client::open(&self.folder.join(name).join(STORE_FILE)));
        let (amina, brian) = (amina?, brian?);
        say(&format!("\nThe windows are closed. Commits that they made: {}.", self.commits()? - before));
        let waiting = amina.pending()?.len() + brian.pending()?.len();
        if waiting > 0 {
            say(&format!("Changes that were not sent yet: {waiting}. They were safe on the device that made them."));
        } else if rows(&amina)? == rows(&brian)? {
            return self.compare(&amina, &brian);
        } else {
            say("Nothing waits to be sent; one device has not synced since the other one did.");
        }
        Ok(())
    }

    fn commits(&self) -> Result<u64> {
        Ok(self.runtime.block_on(self.operator.verify())?.commits)
    }

    fn seed(&self, rows: usize) -> Result<()> {
        let began = now();
        self.runtime.block_on(seed(&self.operator, rows))?;
        say(&format!("A server at http://{} has {rows} patients ({} ms).", self.server.addr(), began.elapsed().as_millis()));
        Ok(())
    }

    fn device(&self, name: &str) -> Result<Client> {
        let client = Client::open(&self.folder.join(format!("{name}.redb")))?;
        let url: ServerUrl = format!("http://{}", self.server.addr()).parse()?;
        client.login(&url, login(name)).with_context(|| format!("{name} cannot log in"))?;
        Ok(client)
    }

    /// Brian looks at what is asked, and decides.
    fn decide(&self, brian: &Client) -> Result<()> {
        let schema = brian.schema()?;
        let conflicts = brian.conflicts()?;
        ensure!(conflicts.len() == 2, "two questions were expected, not {}", conflicts.len());
        say("\nBrian is asked:");
        for conflict in conflicts {
            let table = schema.table(conflict.key.table).context("an unknown table")?;
            let by = conflict.author.as_ref().map_or("somebody", |author| author.name.as_str());
            match conflict.conflict.fields.first() {
                Some(field) => {
                    let field = table.field(*field).context("an unknown field")?;
                    let mine = conflict.mine.fields.get(&field.tag).map(|edit| field.show(&edit.value)).unwrap_or_default();
                    let theirs = conflict.server.as_ref().map(|row| field.show(row.value(field.tag))).unwrap_or_default();
                    say(&format!("  {}: mine \"{mine}\", on the server \"{theirs}\" by {by}.", field.label));
                    say("    He types both into one note.");
                    let both = field.parse_text(&format!("{theirs}; {mine}"))?;
                    let choice = tombolo_client::protocol::outbox::Choice::Value(both);
                    brian.resolve(conflict.key, Some(conflict.clone()), Resolution::Fields([(field.tag, choice)].into()))?;
                }
                None => {
                    say(&format!("  He deleted this record, and {by} changed it meanwhile: delete anyway, or keep?"));
                    say("    He keeps it.");
                    brian.resolve(conflict.key, Some(conflict.clone()), Resolution::AllServer)?;
                }
            }
        }
        Ok(())
    }

    /// Both devices and the server hold the same, and the log is sound.
    fn compare(&self, amina: &Client, brian: &Client) -> Result<()> {
        ensure!(rows(amina)? == rows(brian)?, "the two devices differ");
        ensure!(amina.pending()?.is_empty() && brian.pending()?.is_empty(), "something is still pending");
        let report = self.runtime.block_on(self.operator.verify())?;
        ensure!(report.is_sound(), "the server's log is not sound: {report}");
        say("\nBoth devices are identical, nothing is pending, and the server's log verifies:");
        say(&format!("  {}", report.to_string().trim().replace('\n', "\n  ")));
        Ok(())
    }
}

fn rows(client: &Client) -> Result<Vec<(RowKey, BTreeMap<FieldTag, Value>)>> {
    let rows = client.list(table(client, "patients")?, Query::default())?;
    Ok(rows.into_iter().map(|row| (row.key, row.values)).collect())
}

/// Whether a window could appear. Other systems than these always have a display.
fn has_display() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(all(unix, not(target_os = "macos"))) || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Listens for a window's switch: `off` cuts its way to the server, `on` opens it.
fn switch(proxy: Arc<Proxy>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            // A window that is closed in the middle of a word says nothing.
            let _ = BufReader::new(stream).read_line(&mut line);
            match line.trim() {
                "off" => {
                    proxy.set_admission(Admission::Refuse);
                    proxy.cut_now();
                }
                "on" => proxy.set_admission(Admission::Forward),
                _ => {}
            }
        }
    });
    Ok(address)
}

fn table(client: &Client, name: &str) -> Result<tombolo_client::protocol::ids::TableTag> {
    Ok(client.schema()?.table_named(name).with_context(|| format!("no table {name}"))?.tag)
}

fn edit(client: &Client, key: RowKey, field: &str, text: &str) -> Result<()> {
    let schema = client.schema()?;
    let field = schema.table(key.table).and_then(|table| table.field_named(field)).context("no such field")?;
    write(client, key, Write::Update(BTreeMap::from([(field.tag, field.parse_text(text)?)])))
}

fn write(client: &Client, key: RowKey, write: Write) -> Result<()> {
    Ok(client.transaction(vec![LocalWrite { key, write, seen: None }], false)?)
}

fn sync(client: &Client) -> Result<SyncDone> {
    Ok(client.sync(SyncOptions::default(), |_| ControlFlow::Continue(()))?)
}

fn report(who: &str, done: &SyncDone) {
    let SyncDone { report, bytes_up, bytes_down, duration_ms } = done;
    say(&format!(
        "  {who}: {} pushed ({} merged), {} rows received; {} up, {} down, {duration_ms} ms.",
        report.pushed,
        report.merged,
        report.pulled,
        bytes(*bytes_up),
        bytes(*bytes_down),
    ));
}

fn bytes(count: u64) -> String {
    if count < 10_000 { format!("{count} B") } else { format!("{:.1} kB", count as f64 / 1000.0) }
}

#[expect(clippy::disallowed_methods, reason = "the demo tells how long its steps took")]
fn now() -> Instant {
    Instant::now()
}
