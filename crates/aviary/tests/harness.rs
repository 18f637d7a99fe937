//! Starts the programs in a folder of their own, and waits for what they show: nothing here sleeps
//! where a state can be awaited.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const AVIARY: &str = env!("CARGO_BIN_EXE_aviary");
pub(crate) const OPENCANARYD: &str = env!("CARGO_BIN_EXE_opencanaryd");

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A TCP port that nobody has, below those that the system hands out to clients.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run in processes beside each other.
    let base = u16::try_from(std::process::id() * 61 % 19_000).unwrap();
    loop {
        let port = 12_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 19_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Whether this is root, whom some tests need; says so when it is not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        eprintln!("{test}: not run, needs root");
    }
    root
}

/// A folder with everything that a canary touches.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("aviary-").tempdir_in("/tmp").unwrap();
        // Other users' tests reach in; what is private below has its own mode.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The log file of [`Site::config`].
    pub(crate) fn log(&self) -> PathBuf {
        self.path("events.log")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// Writes `canary.conf`: these keys, on 127.0.0.1, with a log file unless a `logger` is given.
    pub(crate) fn config(&self, keys: Value) -> PathBuf {
        let mut all = json!({
            "device.node_id": "test-node",
            "device.listen_addr": "127.0.0.1",
            "logger": {"class": "PyLogger", "kwargs": {"handlers": {"file": self.file_handler()}}},
        });
        all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        self.write("canary.conf", &serde_json::to_string_pretty(&all).unwrap())
    }

    pub(crate) fn file_handler(&self) -> Value {
        json!({"class": "logging.FileHandler", "filename": self.log()})
    }

    /// A `logger` with the log file and these handlers.
    pub(crate) fn logger(&self, handlers: Value) -> Value {
        let mut all = Map::from_iter([("file".to_owned(), self.file_handler())]);
        all.extend(handlers.as_object().unwrap().clone());
        json!({"class": "PyLogger", "kwargs": {"handlers": all}})
    }

    /// A command in this folder with an environment of its own.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.path("home"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("AVIARY_STATE_DIR", self.state())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        Ended(self.command(program, arguments).output().unwrap())
    }

    pub(crate) fn aviary(&self, arguments: &[&str]) -> Ended {
        self.run(AVIARY, arguments)
    }

    /// `aviary sensor` on `canary.conf`, once it answers.
    pub(crate) fn start(&self) -> Canary<'_> {
        let config = self.path("canary.conf").display().to_string();
        self.start_by(self.command(AVIARY, &["sensor", "--config", &config]))
    }

    /// Whatever the command starts, once it answers.
    #[track_caller]
    pub(crate) fn start_by(&self, mut command: Command) -> Canary<'_> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("stderr")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut canary = Canary { site: self, child, pid: None };
        let status = until("a canary that answers", || {
            if let Some(ended) = canary.child.try_wait().unwrap() {
                panic!("the canary ended with {ended}: {}", self.stderr());
            }
            self.status()
        });
        canary.pid = status["pid"].as_i64().map(|pid| Pid::from_raw(i32::try_from(pid).unwrap()));
        canary
    }

    /// What the running canary says of itself; `None` if none answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let mut stream = UnixStream::connect(self.state().join("control.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"{\"ask\": \"status\"}\n").ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// All that canaries of this site wrote to standard error.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// Whole lines of the log file.
    pub(crate) fn events(&self) -> Vec<Value> {
        events_in(&self.log())
    }

    /// The first event that fits, once it stands in the log file.
    #[track_caller]
    pub(crate) fn event(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.events().into_iter().find(|event| fits(event)))
    }

    /// The event of a Redis password.
    #[track_caller]
    pub(crate) fn redis_event(&self, password: &str) -> Value {
        self.event(password, |event| is_redis(event, password))
    }
}

impl Drop for Site {
    /// What a failed test leaves behind says why.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("kept {}; standard error of its canaries:\n{}", self.folder.path().display(), self.stderr());
        }
    }
}

pub(crate) fn is_redis(event: &Value, password: &str) -> bool {
    event["logtype"] == 17001 && event["logdata"]["ARGS"] == password
}

/// Whole lines of a log file.
pub(crate) fn events_in(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Text from `/proc/PID/status`.
pub(crate) fn proc_status(pid: Pid, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A running canary; killed when dropped.
pub(crate) struct Canary<'a> {
    pub(crate) site: &'a Site,
    child: Child,
    pid: Option<Pid>,
}

impl Canary<'_> {
    /// The process that serves, which is not the child when a wrapper started it.
    pub(crate) fn pid(&self) -> Pid {
        self.pid.unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        until("the status", || self.site.status())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the child to end by itself; whether it says that all went well.
    pub(crate) fn ended(&mut self) -> bool {
        until("the end of the canary", || self.child.try_wait().unwrap()).success()
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.ended(), "{}", self.site.stderr());
    }

    /// Ends it without a word.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.ended();
    }
}

impl Drop for Canary<'_> {
    fn drop(&mut self) {
        if let (Some(pid), Ok(None)) = (self.pid, self.child.try_wait()) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that ended.
pub(crate) struct Ended(pub(crate) Output);

impl Ended {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// What it printed; it must have gone well.
    #[track_caller]
    pub(crate) fn good(&self) -> String {
        assert!(self.0.status.success(), "{}: {}{}", self.0.status, self.out(), self.err());
        self.out()
    }

    /// What it said, whether or not all is well.
    pub(crate) fn either(&self) -> String {
        self.out() + &self.err()
    }

    /// What it said against it, on whichever stream; it must have failed.
    #[track_caller]
    pub(crate) fn bad(&self) -> String {
        assert!(!self.0.status.success(), "did not fail: {}", self.out());
        self.out() + &self.err()
    }
}

/// A connection to 127.0.0.1.
#[track_caller]
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection to 127.0.0.1 from another address of the loopback network.
pub(crate) fn connect_from(source: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
    use std::os::fd::AsRawFd as _;
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::from(([127, 0, 0, 1], port))))?;
    Ok(TcpStream::from(socket))
}

/// A line, without its end; empty at the end of input.
#[track_caller]
pub(crate) fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        if byte[0] == b'\n' {
            break;
        }
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// Tries a Redis password and gives the reply; by the promises its event is then safe.
#[track_caller]
pub(crate) fn redis(port: u16, password: &str) -> String {
    say_redis(&mut connect(port), password)
}

/// The same on a connection that stands.
#[track_caller]
pub(crate) fn say_redis(stream: &mut TcpStream, password: &str) -> String {
    stream.write_all(format!("AUTH {password}\r\n").as_bytes()).unwrap();
    line(stream)
}
