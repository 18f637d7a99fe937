//! Starts and stops what is measured, each in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::talk::Talk;

/// How long a server may take to open a port.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a server may take to stop.
const LEAVE: Duration = Duration::from_secs(8);

/// A running server; ended when dropped.
pub(crate) struct Server {
    /// Its process.
    pub(crate) pid: u32,
    /// When its process was started.
    pub(crate) started: Instant,
    child: Child,
    folder: Option<TempDir>,
}

impl Server {
    /// Starts a program in a folder that lives as long as it does. Its output goes to files there.
    pub(crate) fn spawn(mut command: Command, folder: TempDir) -> anyhow::Result<Self> {
        let out = |name| std::fs::File::create(folder.path().join(name));
        command.stdin(Stdio::null()).stdout(out("stdout")?).stderr(out("stderr")?).current_dir(folder.path());
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("{command:?} cannot be started"))?;
        Ok(Self { pid: child.id(), started, child, folder: Some(folder) })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("."), TempDir::path)
    }

    /// Waits until a port takes connections.
    pub(crate) fn await_port(&mut self, port: u16) -> anyhow::Result<Duration> {
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.said());
            }
            if self.started.elapsed() > PATIENCE {
                bail!("port {port} was not opened: {}", self.said());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(self.started.elapsed())
    }

    /// What it wrote to its standard error.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder().join("stderr")).unwrap_or_default()
    }

    /// Lines of its event log that hold this log type.
    pub(crate) fn events(&self, logtype: &str) -> usize {
        let log = std::fs::read_to_string(self.folder().join("events.log")).unwrap_or_default();
        let wanted = format!("\"logtype\": {logtype},");
        log.lines().filter(|line| logtype.is_empty() || line.contains(&wanted)).count()
    }

    /// Ends it and gives back its folder.
    pub(crate) fn stop(mut self) -> Option<TempDir> {
        self.end();
        self.folder.take()
    }

    fn end(&mut self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < LEAVE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that nobody holds just now, below those that the kernel gives to clients, and each time another.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two benches at once begin at different places.
    let begin = 20_000 + u16::try_from(std::process::id() % 8000)?;
    for _ in 0..1000 {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free from {begin} on")
}

/// An address of this machine.
pub(crate) fn here(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// OpenCanary's flat configuration with one handler, for a canary and for OpenCanary alike.
pub(crate) fn config(folder: &Path, services: &[(&Talk, u16)], more: &[(&str, Value)]) -> Value {
    let mut config = json!({
        "device.node_id": "bench",
        "logger": {"class": "PyLogger", "kwargs": {
            "formatters": {"plain": {"format": "%(message)s"}},
            "handlers": {"file": {"class": "logging.FileHandler", "filename": folder.join("events.log")}},
        }},
    });
    for (talk, port) in services {
        config[format!("{}.enabled", talk.service)] = json!(true);
        config[format!("{}.port", talk.service)] = json!(port);
        for (key, value) in talk.settings {
            config[*key] = json!(value);
        }
    }
    for (key, value) in more {
        config[*key] = value.clone();
    }
    config
}

/// Which canary is measured.
#[derive(Clone, clap::Args)]
pub(crate) struct Canary {
    /// The program `aviary`, built for release
    #[arg(long, default_value = "target/release/aviary", value_name = "FILE")]
    pub(crate) aviary: PathBuf,
}

impl Canary {
    /// Starts it with a config, in a folder that may hold the state of an earlier run.
    pub(crate) fn start(&self, folder: TempDir, config: &Value) -> anyhow::Result<Server> {
        let program = self.aviary.canonicalize().with_context(|| {
            format!("{} is missing; `cargo build --release -p aviary` makes it", self.aviary.display())
        })?;
        let file = folder.path().join("canary.conf");
        std::fs::write(&file, config.to_string())?;
        let mut command = Command::new(program);
        command.args(["sensor", "--config"]).arg(file).env("AVIARY_STATE_DIR", folder.path().join("state"));
        Server::spawn(command, folder)
    }
}

/// Starts OpenCanary from a virtual environment.
pub(crate) fn opencanary(environment: &Path, config: impl FnOnce(&Path) -> Value) -> anyhow::Result<Server> {
    let bin = environment.join("bin").canonicalize().with_context(|| format!("{}", environment.display()))?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("opencanary.conf"), config(folder.path()).to_string())?;
    let mut command = Command::new(bin.join("twistd"));
    command.args(["-noy"]).arg(bin.join("opencanary.tac")).args(["--pidfile", "twistd.pid"]);
    command.env("HOME", folder.path());
    Server::spawn(command, folder)
}

/// Starts a bare loop over UDP.
pub(crate) fn bare_datagrams(port: u16) -> anyhow::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare-datagrams", "--listen", &here(port).to_string()]);
    Server::spawn(command, tempfile::tempdir()?)
}

/// Starts a bare server that says what the canary at `like` says.
pub(crate) fn bare(talk: &Talk, like: u16, port: u16) -> anyhow::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", talk.service]);
    command.args(["--listen", &here(port).to_string(), "--like", &here(like).to_string()]);
    let mut server = Server::spawn(command, tempfile::tempdir()?)?;
    server.await_port(port)?;
    Ok(server)
}
