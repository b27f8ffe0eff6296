//! The real programs as child processes, for end-to-end tests and the demo.
//!
//! [`binaries`] builds `tombolo-server` and `tombolo` once, the way the running test itself was built. [`ServerProcess`]
//! is a server on a free port that can be killed or stopped, [`tombolo()`] and [`tombolo_server()`] run a command to its
//! end, and [`Running`] is any child in between: its lines can be waited for, and it can be killed at a moment that a
//! line or the link tells.
//!
//! No child outlives its handle, and none is waited for without a limit: one that is silent for minutes is killed, and
//! that is an error which says what it printed before.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a child may print nothing and go on running, when it is waited for. The longest silence there is: a sync with a
/// server that is up and has no room takes eight attempts behind the last push that still found some, with up to a minute
/// between two.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// What would make a child behave differently on one person's machine.
const AMBIENT_VARIABLES: [&str; 10] = [
    "RUST_LOG",
    "RUST_BACKTRACE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `tombolo-server`.
    pub server: PathBuf,
    /// `tombolo`.
    pub client: PathBuf,
}

/// Builds both programs at the first call in this process, with the profile and into the folder of the caller's own
/// program, and says where they are.
///
/// # Errors
/// When they do not build.
pub fn binaries() -> Result<&'static Binaries> {
    static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_ref().map_err(|text| anyhow!("{text}"))
}

fn build() -> Result<Binaries> {
    let place = Place::of(&std::env::current_exe()?)?;
    place.build(&["tombolo-server", "tombolo"])?;
    Ok(Binaries { server: place.program("tombolo-server")?, client: place.program("tombolo")? })
}

/// Builds the desktop application like the program that runs, and returns where it is.
///
/// # Errors
/// When it does not build.
pub fn desktop() -> Result<PathBuf> {
    let place = Place::of(&std::env::current_exe()?)?;
    place.build(&["tombolo-desktop"])?;
    place.program("tombolo-desktop")
}

/// Where and how a program was built.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Cargo's target folder.
    target: PathBuf,
    /// The folder in it where programs of this profile are put.
    folder: PathBuf,
    profile: String,
}

impl Place {
    /// With the features of the whole workspace, as the caller was built: with those of one package alone, much would be compiled
    /// once more.
    fn build(&self, programs: &[&str]) -> Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let built = Command::new(cargo)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--workspace", "--profile", &self.profile])
            .args(programs.iter().flat_map(|program| ["--bin", program]))
            .arg("--target-dir")
            .arg(&self.target)
            .output()
            .context("cargo did not start")?;
        ensure!(built.status.success(), "the programs do not build:\n{}", String::from_utf8_lossy(&built.stderr));
        Ok(())
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}{EXE_SUFFIX}"));
        ensure!(path.is_file(), "the build ended well, but there is no {}", path.display());
        Ok(path)
    }

    /// Reads it off the program's path: `TARGET/FOLDER/program`, and `TARGET/FOLDER/deps/program` for tests.
    fn of(program: &Path) -> Result<Self> {
        let parent = program.parent();
        let folder = if parent.is_some_and(|p| p.ends_with("deps")) { parent.and_then(Path::parent) } else { parent };
        let (folder, target) = folder
            .and_then(|folder| Some((folder, folder.parent()?)))
            .with_context(|| format!("{} is not in a target folder", program.display()))?;
        let name = folder.file_name().and_then(OsStr::to_str).context("the target folder's name is not text")?;
        // The one profile whose folder has another name.
        let profile = if name == "debug" { "dev" } else { name };
        Ok(Self { target: target.to_owned(), folder: folder.to_owned(), profile: profile.to_owned() })
    }
}

/// How a program ended and all that it printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// This output, if the exit code is `code`.
    ///
    /// # Errors
    /// With all that was printed, when it is another.
    pub fn exited_with(self, code: i32) -> Result<Self> {
        let Self { command, stdout, stderr, .. } = &self;
        ensure!(self.code == Some(code), "`{command}` ended with {:?}, not {code}\n{stdout}{stderr}", self.code);
        Ok(self)
    }

    /// The objects of a `--json` output, one a line.
    ///
    /// # Errors
    /// When a line is not JSON.
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        let parse = |line: &str| {
            serde_json::from_str(line).with_context(|| format!("`{}` printed a line that is not JSON: {line}", self.command))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// Runs `tombolo --store STORE ARGS...` to its end.
///
/// # Errors
/// When it does not build, start or end; not because of its exit code.
pub fn tombolo(store: &Path, args: &[&str], stdin: &str) -> Result<Output> {
    spawn_tombolo(store, args, stdin)?.wait()
}

/// Starts `tombolo --store STORE ARGS...`, to be watched or killed.
///
/// # Errors
/// When it does not build or start.
pub fn spawn_tombolo(store: &Path, args: &[&str], stdin: &str) -> Result<Running> {
    let mut command = Command::new(&binaries()?.client);
    command.arg("--store").arg(store).args(args);
    Running::start(command, stdin)
}

/// Runs `tombolo-server ARGS...` to its end: every command but `serve`.
///
/// # Errors
/// When it does not build, start or end; not because of its exit code.
pub fn tombolo_server(args: &[&str], stdin: &str) -> Result<Output> {
    let mut command = Command::new(&binaries()?.server);
    command.args(args);
    Running::start(command, stdin)?.wait()
}

/// A server that is serving. Dropped, it is killed.
#[derive(Debug)]
pub struct ServerProcess {
    running: Running,
    url: String,
    addr: SocketAddr,
}

impl ServerProcess {
    /// Starts `tombolo-server serve` and returns once it has announced its address. It listens on a free port of
    /// 127.0.0.1, unless `extra_args` has a `--listen`.
    ///
    /// # Errors
    /// When it does not build or start, or ends or stays silent instead of announcing an address; with what it printed.
    pub fn start(data: &Path, schema: &Path, extra_args: &[&str]) -> Result<Self> {
        let mut command = Command::new(&binaries()?.server);
        command.arg("serve").arg("--schema").arg(schema).arg("--data").arg(data);
        if !extra_args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(extra_args);
        Self::announced(Running::start(command, "")?)
    }

    fn announced(mut running: Running) -> Result<Self> {
        while let Some(line) = running.next_line()? {
            if let Some((url, addr)) = announcement(&line) {
                return Ok(Self { running, url, addr });
            }
        }
        let Output { command, code, stdout, stderr } = running.wait()?;
        bail!("`{command}` ended with {code:?} and announced no address\n{stdout}{stderr}")
    }

    /// Where it serves, as a client is told: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it serves, as a proxy is told.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id, for measurements.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it has printed to standard error so far.
    pub fn stderr_so_far(&self) -> String {
        self.running.stderr_so_far()
    }

    /// Kills it where it stands, as a power cut would, and returns when it is gone.
    ///
    /// # Errors
    /// When the system refuses that, or a thread of it has panicked before.
    pub fn kill9(self) -> Result<Output> {
        without_panic(self.running.kill9()?)
    }

    /// Asks it to end in good order, and returns when it has.
    ///
    /// # Errors
    /// When the system refuses that, it does not end, or a thread of it has panicked.
    pub fn stop(self) -> Result<Output> {
        without_panic(self.running.stop()?)
    }
}

/// A task that panics takes no other one along, so that nobody would notice it.
fn without_panic(output: Output) -> Result<Output> {
    ensure!(!output.stderr.contains("panicked at"), "`{}` panicked:\n{}", output.command, output.stderr);
    Ok(output)
}

/// The address in `Tombolo is serving NAME at http://IP:PORT`, if the line is one.
fn announcement(line: &str) -> Option<(String, SocketAddr)> {
    let url = line.split_whitespace().rfind(|word| word.starts_with("http://"))?;
    let addr = url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    Some((url.to_owned(), addr))
}

/// A child process whose output is read while it runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    /// Closed when the child's standard output is.
    lines: Receiver<String>,
    stdout: String,
    stderr: Arc<Mutex<String>>,
    stderr_reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a program and gives it `stdin`, without the settings of the environment that would change what it does.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(mut command: Command, stdin: &str) -> Result<Self> {
        for variable in AMBIENT_VARIABLES {
            command.env_remove(variable);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let text = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        let mut child = command.spawn().with_context(|| format!("`{text}` did not start"))?;
        let (mut input, input_text) = (child.stdin.take().expect("it is piped"), stdin.to_owned());
        // In a thread, as a child need not read it; one that ends without reading it breaks the pipe, and may.
        std::thread::spawn(move || input.write_all(input_text.as_bytes()));
        let lines = read_lines(child.stdout.take().expect("it is piped"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let stderr_reader = Some(read_text(child.stderr.take().expect("it is piped"), Arc::clone(&stderr)));
        Ok(Self { command: text, child, lines, stdout: String::new(), stderr, stderr_reader })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output, without the line's end; `None` when there will be no more.
    ///
    /// # Errors
    /// When it has been silent for too long.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        match self.lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => {
                self.stdout += &line;
                Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let (command, stderr) = (&self.command, self.stderr_so_far());
                bail!("`{command}` neither ended nor printed anything for {SILENCE_MAX:?}\n{}{stderr}", self.stdout)
            }
        }
    }

    /// What it has printed to standard error so far.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has been silent for too long.
    pub fn wait(mut self) -> Result<Output> {
        while self.next_line()?.is_some() {}
        let code = self.child.wait()?.code();
        if let Some(reader) = self.stderr_reader.take() {
            reader.join().map_err(|_| anyhow!("the reader of standard error panicked"))?;
        }
        let (command, stdout) = (std::mem::take(&mut self.command), std::mem::take(&mut self.stdout));
        Ok(Output { command, code, stdout, stderr: self.stderr_so_far() })
    }

    /// Kills it where it stands, as a power cut would, and returns when it is gone.
    ///
    /// # Errors
    /// When the system refuses that.
    pub fn kill9(mut self) -> Result<Output> {
        self.child.kill()?;
        self.wait()
    }

    /// Asks it to end in good order (SIGTERM), and returns when it has.
    ///
    /// # Errors
    /// When the system refuses that, or it does not end.
    pub fn stop(self) -> Result<Output> {
        // The shell has `kill` built in; the program of that name is not on every machine.
        let sent = Command::new("sh").args(["-c", "kill -TERM $0"]).arg(self.pid().to_string()).status()?;
        ensure!(sent.success(), "`{}` could not be asked to end", self.command);
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends each line, with its end, and closes the channel behind the last.
fn read_lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

/// Appends each line to `text` as it comes.
fn read_text(from: impl Read + Send + 'static, text: Arc<Mutex<String>>) -> JoinHandle<()> {
    let lines = read_lines(from);
    std::thread::spawn(move || {
        for line in lines {
            *text.lock().unwrap_or_else(PoisonError::into_inner) += &line;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stdin: &str) -> Running {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Running::start(command, stdin).unwrap()
    }

    #[test]
    fn the_end_of_a_program_is_its_exit_code_and_all_that_it_printed() {
        let output = shell("cat; echo warning >&2; exit 3", "one\ntwo").wait().unwrap();
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (Some(3), "one\ntwo", "warning\n"));
        let error = output.exited_with(0).unwrap_err().to_string();
        assert!(error.contains("ended with Some(3), not 0\none\ntwowarning"), "{error}");
    }

    #[test]
    fn json_lines_are_parsed_and_a_line_that_is_none_is_named() {
        let objects = shell(r#"echo '{"id":1}'; echo '{"id":2}'"#, "").wait().unwrap().json_lines().unwrap();
        assert_eq!(objects, [serde_json::json!({"id": 1}), serde_json::json!({"id": 2})]);
        let error = shell("echo oops", "").wait().unwrap().json_lines().unwrap_err();
        assert!(error.to_string().contains("not JSON: oops"), "{error}");
    }

    #[test]
    fn a_program_that_never_reads_its_input_does_not_block_us() {
        let output = shell("exit 0", &"x".repeat(1 << 20)).wait().unwrap();
        assert_eq!(output.code, Some(0));
    }

    #[test]
    fn a_server_is_there_once_it_has_announced_its_address() {
        let script = "echo starting; echo 'Tombolo is serving clinic at http://127.0.0.1:4711'; exec cat /dev/zero >/dev/null";
        let server = ServerProcess::announced(shell(script, "")).unwrap();
        assert_eq!((server.url(), server.addr()), ("http://127.0.0.1:4711", "127.0.0.1:4711".parse().unwrap()));
        assert_eq!(server.kill9().unwrap().code, None, "a signal ended it");
    }

    #[test]
    fn a_server_that_does_not_come_up_says_why() {
        let error = ServerProcess::announced(shell("echo 'the port is taken' >&2; exit 1", "")).unwrap_err();
        assert!(error.to_string().ends_with("ended with Some(1) and announced no address\nthe port is taken\n"), "{error}");
    }

    #[test]
    fn a_stopped_program_ends_in_its_own_way() {
        let script = "trap 'kill -9 $!; echo bye; exit 7' TERM; cat /dev/zero >/dev/null 2>&1 & echo ready; wait";
        let mut running = shell(script, "");
        assert_eq!(running.next_line().unwrap().as_deref(), Some("ready"));
        let output = running.stop().unwrap();
        assert_eq!((output.code, output.stdout.as_str()), (Some(7), "ready\nbye\n"));
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let running = shell("exec cat /dev/zero >/dev/null", "");
        let proc = PathBuf::from(format!("/proc/{}", running.pid()));
        assert!(proc.exists());
        drop(running);
        assert!(!proc.exists());
    }

    #[test]
    fn lines_that_announce_nothing_are_not_taken_for_an_address() {
        assert_eq!(announcement("Tombolo is serving clinic"), None);
        assert_eq!(announcement("see http://example.org/help"), None);
    }

    #[test]
    fn programs_are_built_the_way_the_test_was() {
        let place = |target: &str, folder: &str, profile: &str| Place {
            target: target.into(),
            folder: folder.into(),
            profile: profile.into(),
        };
        let of = |program: &str| Place::of(Path::new(program)).unwrap();
        assert_eq!(of("/t/debug/deps/end_to_end-0a1b"), place("/t", "/t/debug", "dev"));
        assert_eq!(of("/t/release/demo"), place("/t", "/t/release", "release"));
        assert_eq!(of("/t/bench/deps/sizes-77"), place("/t", "/t/bench", "bench"));
    }
}
