//! CREATE, CLOSE, READ, LOCK and CHANGE_NOTIFY on files, folders and pipes.

use std::sync::Arc;

use aviary_service::Outbox;
use aviary_wire::ntlm::from_utf16;

use super::codec::{Answer, ERROR, Header, Put as _, slice, text, u16_at, u32_at, u64_at};
use super::dialogue::{Reply, later};
use super::information::put_times;
use super::pipes::Pipe;
use super::state::{Connection, OPENS, Open, OpenFile, PENDING, PIPES, Pending, What};
use super::status;
use super::tree::{Content, Node, Place, Stamp};

/// Rights that change something: data, attributes, deletion, owner, all.
const CHANGING: u32 = 0x500d_0156;

/// CreateOptions: a folder, no folder, gone when it is closed.
const DIRECTORY_FILE: u32 = 0x1;
const NON_DIRECTORY_FILE: u32 = 0x40;
const DELETE_ON_CLOSE: u32 = 0x1000;

/// What a client asks for with CREATE.
struct Wish<'a> {
    access: u32,
    disposition: u32,
    options: u32,
    /// UTF-16.
    name: &'a [u8],
    contexts: Vec<[u8; 4]>,
}

impl<'a> Wish<'a> {
    /// Reads the request: access (4) at 24, disposition (4) at 36, options (4) at 40, name's offset and
    /// length (2 each) at 44, contexts' offset and length (4 each) at 48 of the body.
    fn read(message: &'a [u8]) -> Option<Self> {
        let length = u16_at(message, 110)?;
        let name = if length == 0 { &[][..] } else { slice(message, u16_at(message, 108)?, length)? };
        let (at, length) = (u32_at(message, 112)?, u32_at(message, 116)?);
        let listed = if length == 0 { &[][..] } else { slice(message, at, length)? };
        Some(Self {
            access: u32_at(message, 88)?,
            disposition: u32_at(message, 100)?,
            options: u32_at(message, 104)?,
            name,
            contexts: contexts(listed),
        })
    }
}

/// Names of create contexts: next (4), name's offset and length (2 each), then the rest.
fn contexts(mut rest: &[u8]) -> Vec<[u8; 4]> {
    let mut names = Vec::new();
    while names.len() < 16 {
        let name = || slice(rest, u16_at(rest, 4)?, u16_at(rest, 6)?)?.first_chunk().copied();
        let Some(name) = name() else { break };
        names.push(name);
        match u32_at(rest, 0).and_then(|next| usize::try_from(next).ok()).filter(|next| *next > 0) {
            Some(next) => rest = rest.get(next..).unwrap_or_default(),
            None => break,
        }
    }
    names
}

/// The response's create context: next, name's place, data's place, name, data.
fn put_context(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8], last: bool) {
    let begin = out.len();
    out.put32(0);
    out.put16(16);
    out.put16(4);
    out.put16(0);
    out.put16(24);
    out.put_len(data.len());
    out.extend_from_slice(name);
    out.put32(0);
    out.extend_from_slice(data);
    if !last {
        out.align(8);
        let next = u32::try_from(out.len().saturating_sub(begin)).unwrap_or(0).to_le_bytes();
        if let Some(field) = out.get_mut(begin..begin.saturating_add(4)) {
            field.copy_from_slice(&next);
        }
    }
}

impl Connection {
    /// Answers CREATE.
    pub(super) fn create(&mut self, header: &Header, message: &[u8], out: &mut Outbox) -> Reply {
        let Some(wish) = Wish::read(message) else { return Answer::fail(status::INVALID_PARAMETER).into() };
        if self.opens.len() >= OPENS {
            return Answer::fail(status::INSUFFICIENT_RESOURCES).into();
        }
        let pipes = self.connected(header).is_ok_and(|tree| tree.pipes);
        let opened = if pipes {
            self.open_pipe(header, wish.name, out).map(|pipe| (What::Pipe(pipe), 1))
        } else {
            self.open_file(header, &wish, out).map(|(file, action)| (What::File(file), action))
        };
        let (what, action) = match opened {
            Ok(opened) => opened,
            Err(status) => return Answer::fail(status).into(),
        };
        let id = self.count();
        let body = self.created(id, &what, action, &wish.contexts, out);
        self.opens.push(Open { id, session: header.session, tree: header.tree, what });
        Reply { open: Some(id), ..Answer::ok(body).into() }
    }

    /// The response: size 89, oplock (none), flags, action, times, sizes, attributes, file id, contexts.
    fn created(&self, id: u64, what: &What, action: u32, contexts: &[[u8; 4]], out: &Outbox) -> Vec<u8> {
        let mut body = vec![89, 0, 0, 0];
        body.put32(action);
        let node = match what {
            What::File(file) => self.tree.node(file.place),
            What::Pipe(_) => None,
        };
        match node {
            Some(node) => {
                put_times(&mut body, node, out);
                body.put64(node.allocated());
                body.put64(node.size);
                body.put32(node.attributes());
            }
            None => {
                body.extend_from_slice(&[0; 32]);
                body.put64(4096);
                body.put64(0);
                body.put32(0x80);
            }
        }
        body.put32(0);
        body.extend_from_slice(&self.file_id(id));
        let mut listed = Vec::new();
        let known: Vec<&[u8; 4]> = contexts.iter().filter(|name| [b"MxAc", b"QFid"].contains(name)).collect();
        for (number, name) in known.iter().enumerate() {
            let last = number.saturating_add(1) == known.len();
            let mut data = Vec::new();
            if *name == b"MxAc" {
                data.put32(0);
                data.put32(self.access());
            } else {
                data.put64(self.index(match what {
                    What::File(file) => file.place,
                    What::Pipe(_) => 0,
                }));
                data.put64(u64::from(self.server.serial()));
                data.extend_from_slice(&[0; 16]);
            }
            put_context(&mut listed, name, &data, last);
        }
        body.put32(if listed.is_empty() { 0 } else { 152 });
        body.put_len(listed.len());
        body.extend_from_slice(&listed);
        body
    }

    /// The number of a file on its volume.
    pub(super) fn index(&self, place: Place) -> u64 {
        let place = u64::try_from(place).unwrap_or(0);
        // A sequence number above, as NTFS has.
        0x0001_0000_0000_0000 | u64::from(self.server.serial() & 0x000f_ffff).saturating_add(place)
    }

    /// Opens a file or folder, and reports it.
    fn open_file(&mut self, header: &Header, wish: &Wish<'_>, out: &mut Outbox) -> Result<(OpenFile, u32), u32> {
        let sent = from_utf16(wish.name);
        let result = self.look_up(wish, out);
        let path = match &result {
            Ok((place, _)) => self.tree.path(*place).into_bytes(),
            Err(_) => slashes(sent),
        };
        let made = result
            .as_ref()
            .is_ok_and(|(place, action)| *action == 2 && self.tree.node(*place).is_some_and(Node::is_folder));
        let status = result.as_ref().map_or_else(|status| *status, |_| status::SUCCESS);
        self.audit(header.session, if made { "mkdirat" } else { "openat" }, path, status, out);
        let (place, action) = result?;
        let file = OpenFile {
            place,
            access: wish.access,
            delete_on_close: wish.options & DELETE_ON_CLOSE != 0,
            read: false,
            listing: None,
            upload: None,
        };
        Ok((file, action))
    }

    /// Finds or makes what is wished for: its place, and what was done.
    fn look_up(&mut self, wish: &Wish<'_>, out: &Outbox) -> Result<(Place, u32), u32> {
        let name = text(wish.name);
        if name.starts_with('\\') {
            return Err(status::INVALID_PARAMETER);
        }
        // The main stream may be named; others there are none.
        let path = name.strip_suffix("::$DATA").unwrap_or(&name);
        if path.contains(':') {
            return Err(status::OBJECT_NAME_NOT_FOUND);
        }
        let writable = self.server.writable;
        if !writable && (wish.access & CHANGING != 0 || wish.options & DELETE_ON_CLOSE != 0) {
            return Err(status::ACCESS_DENIED);
        }
        match self.tree.find(path)? {
            Ok(place) => {
                let folder = self.tree.node(place).is_some_and(Node::is_folder);
                match wish.disposition {
                    2 => return Err(status::OBJECT_NAME_COLLISION),
                    6.. => return Err(status::INVALID_PARAMETER),
                    _ => {}
                }
                if folder && wish.options & NON_DIRECTORY_FILE != 0 {
                    return Err(status::FILE_IS_A_DIRECTORY);
                }
                if !folder && wish.options & DIRECTORY_FILE != 0 {
                    return Err(status::NOT_A_DIRECTORY);
                }
                if matches!(wish.disposition, 1 | 3) {
                    return Ok((place, 1));
                }
                if !writable || folder {
                    return Err(if folder { status::FILE_IS_A_DIRECTORY } else { status::ACCESS_DENIED });
                }
                let now = out.now().as_micros();
                if let Some(node) = Arc::make_mut(&mut self.tree).node_mut(place) {
                    node.content = Content::Written(Vec::new());
                    node.size = 0;
                    node.stamp = Stamp::At { created: node.stamp.times(now).created, written: now };
                }
                Ok((place, if wish.disposition == 0 { 0 } else { 3 }))
            }
            Err((parent, last)) => {
                if matches!(wish.disposition, 1 | 4) {
                    return Err(status::OBJECT_NAME_NOT_FOUND);
                }
                if wish.disposition > 5 || !self.tree.node(parent).is_some_and(Node::is_folder) {
                    return Err(status::INVALID_PARAMETER);
                }
                if !writable {
                    return Err(status::ACCESS_DENIED);
                }
                let now = out.now().as_micros();
                let folder = wish.options & DIRECTORY_FILE != 0;
                let node = Node {
                    parent,
                    name: last.into(),
                    size: 0,
                    stamp: Stamp::At { created: now, written: now },
                    content: if folder { Content::Folder } else { Content::Written(Vec::new()) },
                    gone: false,
                };
                let place = Arc::make_mut(&mut self.tree).add(node).ok_or(status::DISK_FULL)?;
                Ok((place, 2))
            }
        }
    }

    /// Answers CLOSE, and the requests that waited for changes there.
    pub(super) fn close(
        &mut self,
        header: &Header,
        message: &[u8],
        related: Option<u64>,
        out: &mut Outbox,
    ) -> (Answer, Vec<Vec<u8>>) {
        let position = match self.position(header, message, 72, related) {
            Ok(position) => position,
            Err(status) => return (Answer::fail(status), Vec::new()),
        };
        let wants = u16_at(message, 66).is_some_and(|flags| flags & 1 != 0);
        let open = self.opens.remove(position);
        let node = match &open.what {
            What::File(file) => self.tree.node(file.place),
            What::Pipe(_) => None,
        };
        // Size 60, flags, reserved, then what CREATE tells of times, sizes and attributes.
        let mut body = vec![60, 0];
        match node.filter(|_| wants) {
            Some(node) => {
                body.put16(1);
                body.put32(0);
                put_times(&mut body, node, out);
                body.put64(node.allocated());
                body.put64(node.size);
                body.put32(node.attributes());
            }
            None => body.resize(60, 0),
        }
        let notified = self.answer_pending(|pending| pending.open == open.id, status::NOTIFY_CLEANUP);
        self.closed(open, out);
        (Answer::ok(body), notified)
    }

    /// What closing does: an upload is told, a file to be deleted goes.
    fn closed(&mut self, open: Open, out: &mut Outbox) {
        let What::File(file) = open.what else { return };
        if let Some(upload) = file.upload {
            self.report_upload(open.session, file.place, upload, out);
        }
        if file.delete_on_close {
            self.delete(open.session, file.place, out);
        }
    }

    /// Closes what fits.
    pub(super) fn close_where(&mut self, fits: impl Fn(&Open) -> bool, out: &mut Outbox) {
        while let Some(position) = self.opens.iter().position(&fits) {
            let open = self.opens.remove(position);
            self.pending.retain(|pending| pending.open != open.id);
            self.closed(open, out);
        }
    }

    /// Closes all.
    pub(super) fn close_all(&mut self, out: &mut Outbox) {
        self.close_where(|_| true, out);
    }

    /// Answers READ: size 17, offset of the data, their length.
    pub(super) fn read(
        &mut self,
        header: &Header,
        message: &[u8],
        related: Option<u64>,
        out: &mut Outbox,
    ) -> Result<Answer, u32> {
        let position = self.position(header, message, 80, related)?;
        let (length, offset) = (u32_at(message, 68), u64_at(message, 72));
        let (Some(length), Some(offset)) = (length, offset) else { return Err(status::INVALID_PARAMETER) };
        let least = u32_at(message, 96).unwrap_or(0);
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(8 * 1024 * 1024);
        if let Some(What::Pipe(pipe)) = self.opens.get_mut(position).map(|open| &mut open.what) {
            let (bytes, more) = pipe.take(wanted).ok_or(status::PIPE_EMPTY)?;
            let mut answer = read_response(&bytes);
            if more {
                answer.status = status::BUFFER_OVERFLOW;
            }
            return Ok(answer);
        }
        let file = self.file(position).ok_or(status::FILE_CLOSED)?;
        let (place, first) = (file.place, !file.read);
        file.read = true;
        let readable = file.access & 0x9200_0001 != 0;
        let tree = Arc::clone(&self.tree);
        let node = tree.node(place).ok_or(status::FILE_CLOSED)?;
        let result = match () {
            () if node.is_folder() => Err(status::INVALID_DEVICE_REQUEST),
            () if !readable => Err(status::ACCESS_DENIED),
            () if offset >= node.size => Err(status::END_OF_FILE),
            () => {
                let rest = usize::try_from(node.size.saturating_sub(offset)).unwrap_or(usize::MAX);
                let least = usize::try_from(least).unwrap_or(usize::MAX);
                self.read_bytes(node, offset, wanted.min(rest), least, out)
            }
        };
        if first {
            let status = result.as_ref().map_or_else(|status| *status, |_| status::SUCCESS);
            let status = if status == status::END_OF_FILE { status::SUCCESS } else { status };
            self.audit(header.session, "pread", self.tree.path(place), status, out);
        }
        result
    }

    /// Reads what may be answered; nothing is made for a reply that will be none.
    fn read_bytes(
        &mut self,
        node: &Node,
        offset: u64,
        wanted: usize,
        least: usize,
        out: &Outbox,
    ) -> Result<Answer, u32> {
        let allowed = self.allow(wanted, out);
        let bytes = if least > allowed { Some(Vec::new()) } else { node.read(offset, allowed) };
        self.give_back(allowed.saturating_sub(bytes.as_ref().map_or(0, Vec::len)));
        // What was written and not kept is gone, as if a scanner had locked it.
        let bytes = bytes.ok_or(status::ACCESS_DENIED)?;
        if least > bytes.len() { Err(status::END_OF_FILE) } else { Ok(read_response(&bytes)) }
    }

    /// Answers LOCK: nobody else has locks here.
    pub(super) fn lock(&mut self, header: &Header, message: &[u8], related: Option<u64>) -> Result<Answer, u32> {
        let position = self.position(header, message, 72, related)?;
        self.file(position).ok_or(status::INVALID_PARAMETER)?;
        match u16_at(message, 66) {
            Some(1..) => Ok(Answer::empty()),
            _ => Err(status::INVALID_PARAMETER),
        }
    }

    /// Answers CHANGE_NOTIFY: nothing ever changes, so it waits.
    pub(super) fn change_notify(&mut self, header: &Header, message: &[u8], related: Option<u64>) -> Reply {
        let position = match self.position(header, message, 72, related) {
            Ok(position) => position,
            Err(status) => return Answer::fail(status).into(),
        };
        let folder = self.file(position).map(|file| file.place);
        if !folder.and_then(|place| self.tree.node(place)).is_some_and(Node::is_folder) {
            return Answer::fail(status::INVALID_PARAMETER).into();
        }
        if self.pending.len() >= PENDING {
            return Answer::fail(status::INSUFFICIENT_RESOURCES).into();
        }
        let id = self.count();
        let open = self.opens.get(position).map_or(0, |open| open.id);
        self.pending.push(Pending { header: header.clone(), id, open });
        let answer = Answer { status: status::PENDING, body: ERROR.to_vec() };
        Reply { later: Some(id), ..answer.into() }
    }

    /// CANCEL: the response to what is cancelled, if it still waits.
    pub(super) fn cancel(&mut self, header: &Header) -> Option<Vec<u8>> {
        let asynchronous = header.flags & super::codec::ASYNC != 0;
        let fits = |pending: &Pending| {
            if asynchronous {
                pending.id == u64::from(header.process)
            } else {
                pending.header.message == header.message
            }
        };
        self.answer_pending(fits, status::CANCELLED).pop()
    }

    fn answer_pending(&mut self, fits: impl Fn(&Pending) -> bool, status: u32) -> Vec<Vec<u8>> {
        let mut responses = Vec::new();
        while let Some(at) = self.pending.iter().position(&fits) {
            let pending = self.pending.remove(at);
            responses.push(later(&pending.header, pending.id, status));
        }
        responses
    }

    fn open_pipe(&mut self, header: &Header, name: &[u8], out: &mut Outbox) -> Result<Pipe, u32> {
        let pipes = self.opens.iter().filter(|open| matches!(open.what, What::Pipe(_))).count();
        let anonymous = self.session(header.session).is_some_and(|session| session.anonymous);
        let strict = anonymous && self.server.is_windows() && !self.server.guest;
        let opened = match pipes {
            PIPES.. => Err(status::INSUFFICIENT_RESOURCES),
            _ => Pipe::open(&text(name), strict, self.server.is_windows()),
        };
        self.report_pipe(header.session, name, opened.as_ref().err().copied(), out);
        opened
    }
}

/// A path of Windows as Samba writes it.
pub(super) fn slashes(mut path: Vec<u8>) -> Vec<u8> {
    for byte in &mut path {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    if path.is_empty() { b".".to_vec() } else { path }
}

fn read_response(bytes: &[u8]) -> Answer {
    let mut body = Vec::with_capacity(bytes.len().saturating_add(16));
    body.put16(17);
    body.put16(80);
    body.put_len(bytes.len());
    body.put64(0);
    body.extend_from_slice(bytes);
    if bytes.is_empty() {
        body.push(0);
    }
    Answer::ok(body)
}
