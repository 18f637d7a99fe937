//! TREE_CONNECT and what ends trees and sessions.

use aviary_event::LogData;
use aviary_service::Outbox;
use aviary_wire::ntlm::from_utf16;

use super::codec::{Answer, Header, Put as _, slice, text, u16_at};
use super::dialogue::Reply;
use super::events;
use super::server::Product;
use super::state::{Connection, TREES, TreeConnect};
use super::status;

/// All that may be done to a file.
pub(super) const ALL_ACCESS: u32 = 0x001f_01ff;
/// Reading, listing, attributes.
const READ_ACCESS: u32 = 0x0012_00a9;

/// A share that is there, or why it is not.
enum Share {
    Pipes,
    Disk,
    Refused(u32),
}

impl Connection {
    /// The share of that name.
    fn share(&self, name: &str, session: u64) -> Share {
        let windows = self.server.is_windows();
        let anonymous = self.session(session).is_some_and(|session| session.anonymous);
        if name.eq_ignore_ascii_case("IPC$") {
            return Share::Pipes;
        }
        if name.to_lowercase() == self.server.share.to_lowercase() {
            let refused = anonymous && !self.server.guest;
            return if refused { Share::Refused(status::ACCESS_DENIED) } else { Share::Disk };
        }
        if windows && (name.eq_ignore_ascii_case("ADMIN$") || name.eq_ignore_ascii_case("C$")) {
            return Share::Refused(status::ACCESS_DENIED);
        }
        Share::Refused(status::BAD_NETWORK_NAME)
    }

    /// What may be done in the decoy share.
    pub(super) fn access(&self) -> u32 {
        if self.server.writable { ALL_ACCESS } else { READ_ACCESS }
    }

    /// Answers TREE_CONNECT: size 16, type of share, reserved, flags, capabilities, access.
    pub(super) fn tree_connect(&mut self, header: &Header, message: &[u8], out: &mut Outbox) -> Reply {
        let path = || slice(message, u16_at(message, 68)?, u16_at(message, 70)?);
        let Some(path) = path() else { return Answer::fail(status::INVALID_PARAMETER).into() };
        let share = self.find_share(header.session, path, out);
        let pipes = match share {
            Ok(pipes) => pipes,
            Err(status) => return Answer::fail(status).into(),
        };
        let Some(id) = self.add_tree(header.session, pipes) else {
            return Answer::fail(status::INSUFFICIENT_RESOURCES).into();
        };
        let mut body = Vec::with_capacity(16);
        body.put16(16);
        body.extend_from_slice(&[if pipes { 2 } else { 1 }, 0]);
        let windows = matches!(self.server.product, Product::Windows { .. });
        body.put32(if pipes && windows { 0x30 } else { 0 });
        body.put32(0);
        body.put32(if pipes { 0x001f_01ff } else { self.access() });
        Reply { tree: Some(id), ..Answer::ok(body).into() }
    }

    /// Finds and reports the share that a path names; whether it is the one of pipes.
    pub(super) fn find_share(&self, session: u64, path: &[u8], out: &mut Outbox) -> Result<bool, u32> {
        let name = text(path);
        let name = name.trim_end_matches('\0').rsplit('\\').next().unwrap_or_default().to_owned();
        let share = self.share(&name, session);
        let said = match share {
            Share::Refused(status::ACCESS_DENIED) => "access denied",
            Share::Refused(_) => "no such share",
            _ => "connected",
        };
        let data =
            LogData::new().with("PATH", from_utf16(path)).with("STATUS", said).with("USERNAME", self.user_of(session));
        out.report(events::TREE, data);
        match share {
            Share::Pipes => Ok(true),
            Share::Disk => Ok(false),
            Share::Refused(status) => Err(status),
        }
    }

    /// Remembers a tree; `None` when the session has too many.
    pub(super) fn add_tree(&mut self, session: u64, pipes: bool) -> Option<u32> {
        let id = u32::try_from(self.count()).unwrap_or(u32::MAX);
        let session = self.sessions.iter_mut().find(|known| known.id == session)?;
        if session.trees.len() >= TREES {
            return None;
        }
        session.trees.push(TreeConnect { id, pipes });
        Some(id)
    }

    /// Answers TREE_DISCONNECT.
    pub(super) fn tree_disconnect(&mut self, header: &Header, out: &mut Outbox) -> Result<Answer, u32> {
        self.close_where(|open| open.session == header.session && open.tree == header.tree, out);
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == header.session) {
            session.trees.retain(|tree| tree.id != header.tree);
        }
        Ok(Answer::empty())
    }

    /// Closes what a session has.
    pub(super) fn log_off(&mut self, session: u64, out: &mut Outbox) {
        self.close_where(|open| open.session == session, out);
        if let Some(session) = self.sessions.iter_mut().find(|known| known.id == session) {
            session.trees.clear();
        }
    }
}
