//! What a connection has standing: sessions, trees, open files and pipes, all bounded.

use std::sync::Arc;

use aviary_event::{LogData, PeerBytes};
use aviary_service::{Facts, Outbox};
use sha2::Sha256;

use super::codec::{Header, u64_at};
use super::content::draw;
use super::directory::Listing;
use super::events;
use super::pipes::Pipe;
use super::sealing::Sealing;
use super::server::Server;
use super::signing::Signing;
use super::status;
use super::tree::{Place, Tree};

/// Sessions of a connection.
pub(super) const SESSIONS: usize = 16;

/// Trees of a session.
pub(super) const TREES: usize = 16;

/// Open files and pipes of a connection.
pub(super) const OPENS: usize = 128;

/// Pipes among them.
pub(super) const PIPES: usize = 16;

/// Bytes of a name that a session keeps for its later events.
pub(super) const NAME: usize = 256;

/// Bytes of a list of mechanisms that is kept.
pub(super) const MECHANISMS: usize = 512;

/// Requests that wait for a change.
pub(super) const PENDING: usize = 32;

/// Replies in bytes that a connection may draw at once, and a second. Beyond, reads are short and
/// listings come in small pieces, which every client puts up with.
const BURST: usize = 256 * 1024;
const A_SECOND: i64 = 16 * 1024 * 1024;

/// What is always answered in one reply.
const LEAST: usize = 4096;

/// Who a session is.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) id: u64,
    /// The challenge that its NTLM response must answer; `None` once it stands.
    pub(super) challenge: Option<[u8; 8]>,
    pub(super) stands: bool,
    pub(super) anonymous: bool,
    pub(super) user: Vec<u8>,
    pub(super) domain: Vec<u8>,
    pub(super) workstation: Vec<u8>,
    pub(super) trees: Vec<TreeConnect>,
    /// SPNEGO's list of mechanisms as the client sent it.
    pub(super) mechanisms: Vec<u8>,
    /// Hash over the messages that led here, for 3.1.1.
    pub(super) preauth: Vec<u8>,
    /// Signs, when the password is known.
    pub(super) signing: Option<Signing>,
    /// Encrypts, likewise.
    pub(super) sealing: Option<Sealing>,
}

impl Session {
    /// The user as OpenCanary writes it.
    pub(super) fn user(&self) -> &[u8] {
        if self.user.is_empty() { b"anonymous" } else { &self.user }
    }
}

/// A share that a session uses.
#[derive(Debug)]
pub(super) struct TreeConnect {
    pub(super) id: u32,
    /// IPC$, or the decoy share.
    pub(super) pipes: bool,
}

/// An open file, folder or pipe.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) session: u64,
    pub(super) tree: u32,
    pub(super) what: What,
}

/// What is open.
#[derive(Debug)]
pub(super) enum What {
    File(OpenFile),
    Pipe(Pipe),
}

/// A file or folder.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) place: Place,
    pub(super) access: u32,
    pub(super) delete_on_close: bool,
    pub(super) read: bool,
    pub(super) listing: Option<Listing>,
    pub(super) upload: Option<Upload>,
}

/// What was written to a file.
#[derive(Debug)]
pub(super) struct Upload {
    /// Name in quarantine.
    pub(super) name: String,
    pub(super) hash: Sha256,
    /// Bytes that came.
    pub(super) size: u64,
}

/// A request that waits for a change in a folder.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) header: Header,
    pub(super) id: u64,
    pub(super) open: u64,
}

/// What the client said of itself.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) dialects: Vec<u16>,
    pub(super) guid: [u8; 16],
    pub(super) security: u16,
    pub(super) capabilities: u32,
    /// As Samba's `%a`.
    pub(super) arch: &'static str,
    /// Its NetBIOS name, when it said one.
    pub(super) name: Option<Vec<u8>>,
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Close,
    Reset,
}

/// Bytes that may be answered.
#[derive(Debug)]
struct Budget {
    left: usize,
    /// Bytes that were allowed, and so deducted, and have not left yet.
    allowed: usize,
    /// The most that is allowed at once.
    most: usize,
    /// When it was last looked at.
    since: Option<i64>,
}

/// One connection.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) facts: Facts,
    /// The dialect agreed on; 0x0100 is SMB1.
    pub(super) dialect: Option<u16>,
    pub(super) client: Client,
    pub(super) preauth: Vec<u8>,
    /// Signing algorithm agreed on at 3.1.1.
    pub(super) algorithm: u16,
    /// Cipher agreed on; 0 is none.
    pub(super) cipher: u16,
    pub(super) sessions: Vec<Session>,
    pub(super) opens: Vec<Open>,
    pub(super) pending: Vec<Pending>,
    /// The connection is to end behind what is being answered.
    pub(super) end: Option<End>,
    pub(super) tree: Arc<Tree>,
    budget: Budget,
    counter: u64,
}

impl Connection {
    pub(super) fn new(server: Arc<Server>, facts: &Facts) -> Self {
        let tree = server.tree();
        let client = Client { arch: "UNKNOWN", ..Client::default() };
        Self {
            server,
            facts: facts.clone(),
            dialect: None,
            client,
            preauth: vec![0; 64],
            algorithm: 1,
            cipher: 0,
            sessions: Vec::new(),
            opens: Vec::new(),
            pending: Vec::new(),
            end: None,
            tree,
            budget: Budget { left: BURST, allowed: 0, most: usize::MAX, since: None },
            counter: 0,
        }
    }

    /// Counts things of this connection from 1.
    pub(super) const fn count(&mut self) -> u64 {
        self.counter = self.counter.saturating_add(1);
        self.counter
    }

    /// 32 bytes of this connection for a purpose.
    pub(super) fn random(&self, purpose: &str, number: u64) -> [u8; 32] {
        draw(&self.facts.entropy, purpose, number)
    }

    /// A number of this connection for a purpose.
    pub(super) fn random_number(&self, purpose: &str, number: u64) -> u64 {
        self.random(purpose, number).first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
    }

    /// How much of `wanted` bytes a reply may hold now; they are deducted.
    pub(super) fn allow(&mut self, wanted: usize, out: &Outbox) -> usize {
        let now = out.now().as_micros();
        let since = self.budget.since.replace(now).unwrap_or(now);
        let passed = now.saturating_sub(since).clamp(0, 1_000_000);
        let gained = usize::try_from(passed.saturating_mul(A_SECOND).checked_div(1_000_000).unwrap_or(0)).unwrap_or(0);
        self.budget.left = self.budget.left.saturating_add(gained).min(BURST.saturating_mul(32));
        let allowed = wanted.min(self.budget.left.min(self.budget.most).max(LEAST));
        self.budget.left = self.budget.left.saturating_sub(allowed);
        self.budget.allowed = self.budget.allowed.saturating_add(allowed);
        allowed
    }

    /// Gives back what was allowed and is not answered.
    pub(super) const fn give_back(&mut self, bytes: usize) {
        self.budget.left = self.budget.left.saturating_add(bytes);
        self.budget.allowed = self.budget.allowed.saturating_sub(bytes);
    }

    /// Sets the most that is allowed at once, so that the parts of a compound stay within their bound.
    pub(super) const fn limit(&mut self, most: usize) {
        self.budget.most = most;
    }

    /// A reply of this size leaves; what was allowed of it is deducted already.
    pub(super) fn spend(&mut self, bytes: usize) {
        let paid = bytes.min(self.budget.allowed);
        self.budget.allowed = self.budget.allowed.saturating_sub(paid);
        self.budget.left = self.budget.left.saturating_sub(bytes.saturating_sub(paid));
    }

    /// The session of that number, once it stands.
    pub(super) fn session(&self, id: u64) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id && session.stands)
    }

    /// The tree of a request, or the status that there is none.
    pub(super) fn connected(&self, header: &Header) -> Result<&TreeConnect, u32> {
        let session = self.session(header.session).ok_or(status::USER_SESSION_DELETED)?;
        session.trees.iter().find(|tree| tree.id == header.tree).ok_or(status::NETWORK_NAME_DELETED)
    }

    /// The file id of an open file: two numbers of 8 bytes.
    pub(super) fn file_id(&self, open: u64) -> [u8; 16] {
        let second = self.random_number("file", open) & 0xffff_ffff_0000_0000 | open;
        let mut id = [0; 16];
        let bytes = open.to_le_bytes().into_iter().chain(second.to_le_bytes());
        for (slot, byte) in id.iter_mut().zip(bytes) {
            *slot = byte;
        }
        id
    }

    /// Where in the list the file stands that 16 bytes at `at` name. `related` stands for all ones.
    pub(super) fn position(
        &self,
        header: &Header,
        message: &[u8],
        at: usize,
        related: Option<u64>,
    ) -> Result<usize, u32> {
        self.connected(header)?;
        let id = message.get(at..).and_then(|rest| rest.get(..16)).ok_or(status::INVALID_PARAMETER)?;
        let number = match (id == [0xff; 16], related) {
            (true, Some(number)) => number,
            (true, None) => return Err(status::FILE_CLOSED),
            (false, _) => u64_at(id, 0).filter(|number| self.file_id(*number) == id).ok_or(status::FILE_CLOSED)?,
        };
        let fits = |open: &Open| open.id == number && open.session == header.session && open.tree == header.tree;
        self.opens.iter().position(fits).ok_or(status::FILE_CLOSED)
    }

    /// The file there, with its place.
    pub(super) fn file(&mut self, position: usize) -> Option<&mut OpenFile> {
        match self.opens.get_mut(position).map(|open| &mut open.what) {
            Some(What::File(file)) => Some(file),
            _ => None,
        }
    }

    /// The protocol as Samba's `%R`.
    pub(super) const fn version(&self) -> &'static str {
        match self.dialect {
            Some(0x0311) => "SMB3_11",
            Some(0x0302) => "SMB3_02",
            Some(0x0300) => "SMB3_00",
            Some(0x0210) => "SMB2_10",
            Some(0x0202) => "SMB2_02",
            _ => "NT1",
        }
    }

    /// OpenCanary's file event.
    pub(super) fn audit(&self, session: u64, action: &str, file: impl AsRef<[u8]>, status: u32, out: &mut Outbox) {
        let nobody = Session::default();
        let session = self.session(session).unwrap_or(&nobody);
        let peer = self.facts.peer.ip().to_canonical().to_string();
        let remote = match (&self.client.name, session.workstation.as_slice()) {
            (_, name @ [_, ..]) => name.to_ascii_lowercase(),
            (Some(name), _) => name.to_ascii_lowercase(),
            _ => peer.into_bytes(),
        };
        let domain = if session.domain.is_empty() { self.server.group.as_bytes() } else { &session.domain };
        let data = LogData::new()
            .with("AUDITACTION", action)
            .with("DOMAIN", domain)
            .with("FILENAME", file.as_ref())
            .with("LOCALNAME", self.server.target.netbios_computer.to_lowercase())
            .with("REMOTENAME", remote)
            .with("SHARENAME", self.server.share.as_str())
            .with("SMBARCH", self.client.arch)
            .with("SMBVER", self.version())
            .with("STATUS", super::status::audit(status))
            .with("USER", session.user());
        out.report(events::FILE, data);
    }

    /// The user of a session, for events of ours.
    pub(super) fn user_of(&self, session: u64) -> Vec<u8> {
        self.session(session).map(|session| session.user.clone()).unwrap_or_default()
    }
}

/// Reports what is no SMB.
pub(super) fn violation(reason: &str, data: &[u8], out: &mut Outbox) {
    let data = data.get(..data.len().min(1024)).unwrap_or_default();
    let data = PeerBytes::from(data);
    out.report(events::VIOLATION, LogData::new().with("REASON", reason).with("DATA", data));
}
