//! A service that does what its peer tells it, on a real listener of the loopback network.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use aviary_config::IgnoreRules;
use aviary_event::{Class, Event, KindInfo, LogData};
use aviary_journal::{Guard, Journal, Options};
use aviary_service::{
    Dialogue, Endpoint, Facts, Limits, MemoryVault, Outbox, Protocol, Security, Service, TlsFacts, TlsKey, TlsProfile,
    TlsStart, Transport, Vault as _, Wrapping,
};
use jiff::tz::TimeZone;
use tokio::sync::{Semaphore, watch};

use crate::clock;
use crate::connections::Connections;
use crate::datagrams;
use crate::listener::{Listener, Station, bind};
use crate::quarantine::Quarantine;
use crate::reporter::{Reporter, Rules};
use crate::session::Shared;
use crate::tls::Tls;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the service reports: `WHAT` is what happened, `DATA` the bytes that came with it.
pub(crate) static KIND: KindInfo = KindInfo {
    number: 39000,
    constant: "LOG_TEST",
    class: Class::Command,
    when: "",
    keys: &["DATA", "WHAT"],
    technique: &[],
};

/// Reads lines; the first word says what to do.
struct Obedient {
    reports_the_end: bool,
    plain: bool,
}

fn told(what: &str, data: &[u8]) -> LogData {
    LogData::new().with("DATA", data).with("WHAT", what)
}

impl Dialogue for Obedient {
    fn open(&mut self, out: &mut Outbox) {
        out.reply(if self.plain { "plain\n" } else { "hello\n" });
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return 0 };
        let line = String::from_utf8_lossy(&input[..end]).into_owned();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "echo" => out.reply(format!("{rest}\n")),
            "report" => {
                out.report(&KIND, told("report", rest.as_bytes()));
                out.reply("reported\n");
            }
            "reply-first" => {
                out.reply("x".repeat(1 << 20));
                out.report(&KIND, told("later", rest.as_bytes()));
            }
            "pause" => {
                out.pause(Duration::from_millis(rest.parse().unwrap()));
                out.reply("rested\n");
            }
            "compute" => out.compute(|| b"computed\n".to_vec()),
            "miscompute" => {
                out.compute(|| panic!("a computation fails"));
                out.report(&KIND, told("after", rest.as_bytes()));
            }
            "starttls" => {
                out.reply("go\n");
                out.start_tls();
            }
            "wraptls" => {
                let heard: usize = rest.parse().unwrap();
                // So many bytes behind the line are the handshake's already, bare.
                let Some(first) = input.get(end + 1..end + 1 + heard) else { return 0 };
                out.start_tls_with(TlsStart { heard: first.to_vec(), wrapping: Some(Box::new(Framed)) });
                return end + 1 + heard;
            }
            "stoptls" => {
                out.stop_tls();
                out.reply("plain\n");
            }
            "note" => out.note("word", rest),
            "idle" => out.idle_limit(Duration::from_secs(rest.parse().unwrap())),
            "bye" => {
                out.reply("bye\n");
                out.close();
                out.report(&KIND, told("bye", rest.as_bytes()));
            }
            "reset" => out.reset(),
            "panic" => panic!("a service fails"),
            _ => {}
        }
        end + 1
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        if self.reports_the_end {
            out.report(&KIND, told("ended", rest));
        }
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        out.report(&KIND, told("expired", rest));
        out.reply("too slow\n");
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        out.report(&KIND, told("overflowed", &input[..16]));
        out.reply("too much\n");
    }

    fn secured(&mut self, tls: &TlsFacts, out: &mut Outbox) {
        out.reply(format!("{}\n", tls.version));
    }

    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        out.reply(result);
    }
}

/// Puts TLS behind two bytes of length.
struct Framed;

impl Wrapping for Framed {
    fn take_out<'a>(&mut self, input: &'a [u8]) -> Result<Option<(usize, &'a [u8])>, String> {
        let Some((length, rest)) = input.split_first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 {
            return Err("an empty frame".to_owned());
        }
        Ok(rest.get(..length).map(|tls| (2 + length, tls)))
    }

    fn put_in(&mut self, tls: &[u8]) -> Vec<u8> {
        framed(tls)
    }
}

/// TLS behind its length.
pub(crate) fn framed(tls: &[u8]) -> Vec<u8> {
    [&u16::try_from(tls.len()).unwrap().to_be_bytes(), tls].concat()
}

#[derive(Clone)]
struct Playing {
    security: Security,
    reports_the_end: bool,
    limits: Limits,
}

impl Service for Playing {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: 0,
            protocol: Protocol::Tcp,
            label: "test".to_owned(),
            security: self.security,
            try_line: "",
        }]
    }

    fn dialogue(&self, _: usize, facts: &Facts) -> Box<dyn Dialogue> {
        let plain = facts.transport == Transport::PlainOnTlsPort;
        Box::new(Obedient { reports_the_end: self.reports_the_end, plain })
    }

    fn datagram(&self, _: usize, _: &Facts, bytes: &[u8], out: &mut Outbox) {
        let line = String::from_utf8_lossy(bytes).into_owned();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "report" => {
                out.report(&KIND, told("report", rest.as_bytes()));
                out.reply("a");
                out.reply("b");
            }
            "big" => out.reply("x".repeat(rest.parse().unwrap())),
            "prove" => out.proven(),
            "talk" => out.converse(Box::new(Obedient { reports_the_end: self.reports_the_end, plain: true })),
            "keep" => out.keep("upload", rest),
            "panic" => panic!("a service fails"),
            _ => {}
        }
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}

/// A running listener with its journal.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    /// Port of the UDP sockets, which are bound to all addresses.
    pub(crate) udp_port: u16,
    pub(crate) quarantine: std::path::PathBuf,
    pub(crate) journal: Journal,
    reporter: Arc<Reporter>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) stop: watch::Sender<bool>,
    certificate: Vec<u8>,
    _folder: tempfile::TempDir,
    _guard: Guard,
}

impl Rig {
    /// A service that reports the end of each conversation.
    pub(crate) fn new(security: Security) -> Self {
        Self::with(security, true, Limits::default())
    }

    /// A service with these limits, which reports the end of a conversation or leaves that to the frame.
    pub(crate) fn with(security: Security, reports_the_end: bool, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (journal, guard) =
            Journal::open(&Options::at(folder.path().join("journal.db")), clock::now_micros).unwrap();
        let rules = Rules {
            node_id: "node".to_owned(),
            hosts: Vec::new(),
            ignore: IgnoreRules::default(),
            honeycreds: Default::default(),
            zone: TimeZone::UTC,
        };
        let vault = MemoryVault::default();
        let profile = TlsProfile {
            name: "test".to_owned(),
            subject: vec![("CN", "test.local".to_owned())],
            issuer: Vec::new(),
            names: vec!["test.local".to_owned()],
            key: TlsKey::EcdsaP256,
            days: 365,
            alpn: Vec::new(),
            server_auth: false,
            files: None,
        };
        let tls = (security != Security::Plain).then(|| Tls::new(profile, &vault));
        if let Some(tls) = &tls {
            tls.wait().unwrap();
        }
        let certificate = vault.slot("tls/test.crt", Box::new(Vec::new)).wait().to_vec();
        let service: Arc<dyn Service> = Arc::new(Playing { security, reports_the_end, limits });
        let folder_path = folder.path().to_owned();
        let reporter = Arc::new(Reporter::new(journal.clone(), rules));
        let shared = Arc::new(Shared {
            service,
            endpoint: 0,
            security,
            tls,
            unconsumed: limits.unconsumed,
            received: limits.received,
            reporter: Arc::clone(&reporter),
            workshop: Arc::new(Semaphore::new(1)),
            quarantine: Quarantine::new(folder.path().join("quarantine"), (1000, 1000)),
            guard: datagrams::Guard::new(200),
        });
        let station = || Station {
            shared: Arc::clone(&shared),
            label: Arc::from("test"),
            host: None,
            entry: Arc::from("test"),
            limits,
            host_name: Arc::from("srv01"),
            keep_alive: None,
        };
        let socket = bind(Some([127, 0, 0, 1].into()), 0).unwrap();
        let address = socket.local_addr().unwrap();
        let socket = tokio::net::TcpListener::from_std(socket).unwrap();
        let connections = Connections::new(1000, 1000);
        let (stop, stopped) = watch::channel(false);
        let room = Arc::new(Semaphore::new(1000));
        let task = Listener::new(station(), 1).run(socket, Arc::clone(&connections), room, stopped);
        drop(tokio::runtime::Handle::current().spawn(task));
        let sockets = datagrams::bind(None, 0).unwrap();
        let udp_port = sockets[0].local_addr().unwrap().port();
        let listener = Listener::new(station(), 2);
        for socket in sockets {
            let task = Arc::clone(&listener).run_datagrams(socket, stop.subscribe());
            drop(tokio::runtime::Handle::current().spawn(task));
        }
        let quarantine = folder_path.join("quarantine");
        Self {
            address,
            udp_port,
            quarantine,
            journal,
            reporter,
            connections,
            stop,
            certificate,
            _folder: folder,
            _guard: guard,
        }
    }

    /// Where events go.
    pub(crate) const fn reporter(&self) -> &Arc<Reporter> {
        &self.reporter
    }

    /// A connection, and the greeting if one is to be read.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn greeted(&self) -> TcpStream {
        let mut stream = self.connect();
        assert_eq!(line(&mut stream), "hello");
        stream
    }

    /// TLS to the service, which trusts its certificate alone.
    pub(crate) fn tls(&self) -> rustls::ClientConnection {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone().into()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        rustls::ClientConnection::new(Arc::new(config), "test.local".try_into().unwrap()).unwrap()
    }

    /// The first event that fits.
    pub(crate) async fn event(&self, fits: impl Fn(&Event) -> bool) -> Arc<Event> {
        let mut reader = self.journal.peek(0);
        let found = async {
            loop {
                if let Some(event) = reader.next(64).await.into_iter().find(|event| fits(event)) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the event comes")
    }

    /// The event in which the service tells of this.
    pub(crate) async fn told(&self, what: &str) -> Arc<Event> {
        self.event(|event| text(event, "WHAT") == what).await
    }

    /// The event in which the frame tells of a connection that nobody else told of.
    pub(crate) async fn unreported(&self) -> Arc<Event> {
        self.event(|event| event.logtype == Some(crate::kinds::UNREPORTED.number)).await
    }
}

/// A value of an event's data.
pub(crate) fn text(event: &Event, key: &str) -> String {
    let value = event.logdata.get(key);
    value
        .and_then(|value| value.as_bytes())
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default()
}

/// A line; empty at the end of input.
pub(crate) fn line(stream: &mut impl std::io::Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        if byte[0] == b'\n' {
            break;
        }
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Sends a line and gives the answer.
pub(crate) fn ask(stream: &mut (impl std::io::Read + std::io::Write), words: &str) -> String {
    stream.write_all(format!("{words}\n").as_bytes()).unwrap();
    line(stream)
}

/// How a connection ended: true for a FIN, false for an RST.
pub(crate) fn closed_in_order(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                return false;
            }
        }
    }
}

/// Makes the end of a connection an RST.
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Sends all without reading anything.
pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}
