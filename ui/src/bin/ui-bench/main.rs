//! `ui-bench`: how quickly the desktop application answers, on a real store with a real server beside it.
//!
//! The program makes a clinic (`clinic` of `tombolo-tests`, a process of its own) and plays each part in a fresh process: a window
//! of 1280 x 800 drawn by the software renderer into memory, its desk, its engine and its store. A frame is everything that the
//! window's thread does for one event: what the desk told since, the event, timers, and painting; one every sixtieth of a second.
//! Where there is a display, the desktop application itself is started on the same store, too.

mod desktop;
mod figures;
mod stage;

use clap::{Parser, ValueEnum};
use figures::{Times, rss_mb};
use serde_json::{Map, Value, json};
use slint::platform::Key;
use stage::Stage;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tombolo_client::paths::STORE_FILE;
use tombolo_client::url::ServerUrl;
use tombolo_client::{Client, Login};
use tombolo_ui::app::Options;

/// What goes wrong is said and ends the program.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Wheel notches, and presses of an arrow key, that are timed.
const MOVES: usize = 1_000;
/// Jumps from one end of the list to the other.
const JUMPS: usize = 100;
/// Times that each text is typed.
const ROUNDS: usize = 10;
/// What is typed: a name, a part of a number, two words, and what nobody has.
const TYPED: [&str; 4] = ["wanj", "+25471", "ma ki", "zzzz"];
/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(300);

/// How quickly the desktop application answers.
#[derive(Parser)]
#[command(name = "ui-bench", after_help = "Example:\n  cargo run --release -p tombolo-ui --bin ui-bench -- --rows 100000")]
struct Arguments {
    /// Patients in the store
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Play one part, on the store in the folder that TOMBOLO_BENCH names
    #[arg(long, hide = true)]
    part: Option<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// A store that has everything.
    List,
    /// A store that is being filled.
    Bootstrap,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(part) => {
            let folder = PathBuf::from(std::env::var_os("TOMBOLO_BENCH").ok_or("TOMBOLO_BENCH names no folder")?);
            match part {
                Part::List => list(&folder, arguments.rows),
                Part::Bootstrap => bootstrap(&folder, arguments.rows),
            }
        }
        None => all(&arguments),
    }
}

// ---- the program that was started ----

fn all(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clinic = Clinic::start(arguments.rows, &folder.path().join("server"))?;
    let store = |name: &str| -> Result<PathBuf> {
        let store = folder.path().join(name);
        let client = Client::open(&store.join(STORE_FILE))?;
        client.login(&clinic.server, Login::new(&clinic.user, &clinic.password))?;
        Ok(store)
    };
    let full = store("full")?;
    Client::open(&full.join(STORE_FILE))?.sync(Default::default(), |_| std::ops::ControlFlow::Continue(()))?;
    let mut told = Map::from_iter([("rows".to_owned(), json!(arguments.rows))]);
    told.append(&mut play(Part::List, &full, arguments.rows)?);
    told.append(&mut play(Part::Bootstrap, &store("new")?, arguments.rows)?);
    if let Some(mut window) = desktop::figures(&full)? {
        told.append(&mut window);
    }
    if arguments.json {
        print(&Value::Object(told).to_string())
    } else {
        print(&figures::table(&told))
    }
    Ok(())
}

/// Plays a part in a process of its own, and adds the time from its start to its first picture.
fn play(part: Part, store: &Path, rows: usize) -> Result<Map<String, Value>> {
    let part = part.to_possible_value().expect("every part has a name");
    let began = now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--part", part.get_name(), "--rows", &rows.to_string()])
        .env("TOMBOLO_BENCH", store)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    let mut told = Map::new();
    for name in ["visible_ms", "listed_ms"] {
        lines.next().ok_or(format!("the part `{}` ended early", part.get_name()))??;
        told.insert(format!("{}_{name}", part.get_name()), json!(began.elapsed().as_millis()));
    }
    let last = lines.next().ok_or(format!("the part `{}` ended early", part.get_name()))??;
    told.append(&mut serde_json::from_str(&last)?);
    if !child.wait()?.success() {
        return Err(format!("the part `{}` failed", part.get_name()).into());
    }
    Ok(told)
}

/// A server in another process; it ends with this handle.
struct Clinic {
    child: Child,
    server: ServerUrl,
    user: String,
    password: String,
}

impl Clinic {
    fn start(rows: usize, folder: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut child = Command::new(cargo)
            .args(["run", "--release", "--quiet", "-p", "tombolo-tests", "--bin", "clinic", "--"])
            .args(["--rows", &rows.to_string(), "--folder"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().ok_or("no pipe")?).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).map_err(|_| "the clinic's server did not start")?;
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        Ok(Self { child, server: text("server").parse()?, user: text("user"), password: text("password") })
    }
}

impl Drop for Clinic {
    fn drop(&mut self) {
        // Its input ends; what is left of it then ends with the folder.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

// ---- the parts ----

/// A store that has everything: scrolled, walked through by keys, searched.
fn list(store: &Path, rows: usize) -> Result<()> {
    let stage = open(store)?;
    stage.until(|| stage.browse().get_total() as usize == rows)?;
    print("listed");
    stage.until(|| stage.shell().get_last_sync() != "")?;
    let rss_listed = rss_mb("VmRSS")?;

    let mut scroll = Times::default();
    for at in 0..MOVES {
        // Down and up again, in the same steps.
        let notch = if at % 200 < 150 { -120.0 } else { 360.0 };
        scroll.push(stage.next_painted(|| stage.wheel(notch))?);
    }

    stage.frame(|| stage.click());
    stage.key(Key::Home);
    stage.frame(|| ());
    let mut keys = Times::default();
    for at in 0..MOVES {
        let before = stage.browse().get_selected();
        // The choice moves in the frame of the key, and the details follow when they were read. A key that is held down repeats 25
        // to 33 times a second, so that there is a frame for each; the slower one counts.
        let choice = stage.next_painted(|| stage.key(Key::DownArrow))?;
        keys.push(choice.max(stage.painted_next()?));
        if stage.browse().get_selected() != before + 1 {
            return Err(format!("arrow key {at} did not move the choice").into());
        }
    }
    let mut jumps = Times::default();
    for at in 0..JUMPS {
        let (key, wanted) = if at % 2 == 0 { (Key::End, rows - 1) } else { (Key::Home, 0) };
        jumps.push(stage.next_painted(|| stage.key(key))?);
        if stage.browse().get_selected() as usize != wanted {
            return Err(format!("jump {at} did not arrive").into());
        }
    }

    stage.control("k");
    let (mut search, mut clear) = (Times::default(), Times::default());
    let mut hits = Vec::new();
    for _ in 0..ROUNDS {
        for text in TYPED {
            for letter in text.chars() {
                search.push(stage.next_painted(|| stage.key(letter))?);
            }
            if stage.browse().get_text() != text {
                return Err(format!("{:?} was typed and {:?} is there", text, stage.browse().get_text()).into());
            }
            hits.push(stage.browse().get_total());
            for _ in 1..text.chars().count() {
                search.push(stage.next_painted(|| stage.key(Key::Backspace))?);
            }
            clear.push(stage.next_painted(|| stage.key(Key::Backspace))?);
            if stage.browse().get_total() as usize != rows {
                return Err("an empty search does not show everything".into());
            }
        }
    }
    hits.truncate(TYPED.len());
    print(
        &json!({
            "list_scroll": scroll.json(), "list_key": keys.json(), "list_jump": jumps.json(),
            "list_search": search.json(), "list_search_cleared": clear.json(), "list_search_hits": hits,
            "list_rss_mb": rss_listed, "list_rss_after_mb": rss_mb("VmRSS")?, "list_rss_peak_mb": rss_mb("VmHWM")?,
        })
        .to_string(),
    );
    Ok(())
}

/// A store that is being filled, while somebody scrolls what has come: a frame every sixtieth of a second.
fn bootstrap(store: &Path, rows: usize) -> Result<()> {
    let stage = open(store)?;
    stage.until(|| stage.browse().get_total() > 0)?;
    print("listed");
    let mut frames = Times::default();
    let began = now();
    let mut at = 0_usize;
    while (stage.browse().get_total() as usize) < rows || stage.browse().get_filling() {
        if began.elapsed() > PATIENCE {
            return Err("the first sync does not end".into());
        }
        at += 1;
        let notch = if at % 100 < 75 { -120.0 } else { 360.0 };
        frames.push(stage.next_frame(|| stage.wheel(notch)).0);
    }
    let filled_ms = began.elapsed().as_millis();
    print(
        &json!({
            "bootstrap_frame": frames.json(), "bootstrap_filled_ms": filled_ms, "bootstrap_rss_peak_mb": rss_mb("VmHWM")?,
        })
        .to_string(),
    );
    Ok(())
}

/// A window on a store; says when its first picture is there.
fn open(store: &Path) -> Result<Stage> {
    let data = store.with_extension("settings");
    let stage = Stage::open(Options { store: Some(store.to_owned()), data: Some(data), ..Options::default() })?;
    stage.next_painted(|| ())?;
    print("visible");
    Ok(stage)
}

#[expect(clippy::print_stdout, reason = "the figures are the program's answer")]
fn print(text: &str) {
    println!("{text}");
    // Whoever waits for this line has it now.
    let _ = std::io::stdout().flush();
}

#[expect(clippy::disallowed_methods, reason = "the benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
