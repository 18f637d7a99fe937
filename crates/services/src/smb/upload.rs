//! WRITE: what comes goes to quarantine, is hashed, and is told when the file is closed.

use std::sync::Arc;

use aviary_event::LogData;
use aviary_service::Outbox;
use sha2::{Digest as _, Sha256};

use super::codec::{Answer, HEADER, Header, Put as _, slice, u16_at, u32_at, u64_at};
use super::events;
use super::state::{Connection, Upload, What};
use super::status;
use super::tree::Place;

/// Rights to write: data, append, generic write, all, and what is allowed at most.
pub(super) const WRITING: u32 = 0x5200_0006;

/// A WRITE whose data come in pieces.
#[derive(Debug)]
pub(super) struct Stream {
    header: Header,
    /// Number of the open file, or the status that its end will be answered with.
    open: Result<u64, u32>,
    /// Bytes before the data, of data, and behind them that are still to come.
    before: usize,
    data: usize,
    after: usize,
    offset: u64,
    length: usize,
    begun: bool,
}

impl Stream {
    /// Whether all came.
    pub(super) const fn is_done(&self) -> bool {
        self.before == 0 && self.data == 0 && self.after == 0
    }
}

impl Connection {
    /// Answers WRITE: size 17, reserved, count, remaining, channel.
    pub(super) fn write(
        &mut self,
        header: &Header,
        message: &[u8],
        related: Option<u64>,
        out: &mut Outbox,
    ) -> Result<Answer, u32> {
        let position = self.position(header, message, 80, related)?;
        let fields = || Some((u16_at(message, 66)?, u32_at(message, 68)?, u64_at(message, 72)?));
        let (at, length, offset) = fields().ok_or(status::INVALID_PARAMETER)?;
        let data = slice(message, at, length).ok_or(status::INVALID_PARAMETER)?;
        if let Some(What::Pipe(_)) = self.opens.get(position).map(|open| &open.what) {
            self.pipe_input(header.session, position, data, out)?;
        } else {
            self.may_write(header.session, position, (offset, data.len()), out)?;
            self.take(position, offset, data, out);
        }
        Ok(written(data.len()))
    }

    /// Whether an open file may be written to; the first time this is an event.
    fn may_write(
        &mut self,
        session: u64,
        position: usize,
        (offset, length): (u64, usize),
        out: &mut Outbox,
    ) -> Result<(), u32> {
        let file = self.file(position).ok_or(status::INVALID_PARAMETER)?;
        let (place, access, first) = (file.place, file.access, file.upload.is_none());
        let folder = self.tree.node(place).is_none_or(super::tree::Node::is_folder);
        let result = match access & WRITING {
            _ if folder => Err(status::INVALID_DEVICE_REQUEST),
            0 => Err(status::ACCESS_DENIED),
            // Behind the end, which has no place yet.
            _ if offset == u64::MAX => Ok(()),
            _ => self.fits(place, offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX))),
        };
        if first {
            self.audit(session, "pwrite", self.tree.path(place), result.err().unwrap_or(status::SUCCESS), out);
            let number = self.count();
            if let (Ok(()), Some(file)) = (result, self.file(position)) {
                let name = format!("smb-{number}");
                file.upload = Some(Upload { name, hash: Sha256::new(), size: 0 });
            }
        }
        result
    }

    /// Takes written bytes.
    fn take(&mut self, position: usize, offset: u64, data: &[u8], out: &mut Outbox) {
        let Some(file) = self.file(position) else { return };
        let place = file.place;
        if let Some(upload) = &mut file.upload {
            upload.hash.update(data);
            upload.size = upload.size.saturating_add(u64::try_from(data.len()).unwrap_or(0));
            if !data.is_empty() {
                out.keep(&upload.name, data);
            }
        }
        let now = out.now().as_micros();
        Arc::make_mut(&mut self.tree).write(place, offset, data, now);
    }

    /// A WRITE too long to be held begins: `length` bytes of message, of which `head` are here.
    pub(super) fn stream_begin(&mut self, head: &[u8], length: usize) -> Option<Stream> {
        let header = Header::decode(head).filter(|_| u16_at(head, HEADER) == Some(49))?;
        self.dialect?;
        let at = usize::from(u16_at(head, 66)?);
        let data = usize::try_from(u32_at(head, 68)?).ok()?;
        let before = at.checked_sub(head.len())?;
        let after = length.checked_sub(at)?.checked_sub(data)?;
        let found = self.position(&header, head, 80, None);
        let open = match found.map(|position| self.opens.get(position)) {
            Ok(Some(open)) if matches!(open.what, What::File(_)) => Ok(open.id),
            Ok(_) => Err(status::INVALID_PARAMETER),
            Err(status) => Err(status),
        };
        Some(Stream { header, open, before, data, after, offset: u64_at(head, 72)?, length: data, begun: false })
    }

    /// More of it; how much was used.
    pub(super) fn stream(&mut self, stream: &mut Stream, input: &[u8], out: &mut Outbox) -> usize {
        let skipped = stream.before.min(input.len());
        stream.before = stream.before.saturating_sub(skipped);
        let rest = input.get(skipped..).unwrap_or_default();
        let piece = rest.get(..rest.len().min(stream.data)).unwrap_or_default();
        if let (Ok(id), false) = (stream.open, piece.is_empty()) {
            let position = self.opens.iter().position(|open| open.id == id);
            let allowed = match position {
                Some(_) if stream.begun => Ok(()),
                Some(position) => self.may_write(stream.header.session, position, (stream.offset, stream.data), out),
                None => Err(status::FILE_CLOSED),
            };
            stream.begun = true;
            match (allowed, position) {
                (Ok(()), Some(position)) => self.take(position, stream.offset, piece, out),
                (Err(status), _) => stream.open = Err(status),
                _ => {}
            }
        }
        stream.data = stream.data.saturating_sub(piece.len());
        stream.offset = stream.offset.saturating_add(u64::try_from(piece.len()).unwrap_or(0));
        let rest = rest.get(piece.len()..).unwrap_or_default();
        let passed = if stream.data == 0 { stream.after.min(rest.len()) } else { 0 };
        stream.after = stream.after.saturating_sub(passed);
        skipped.saturating_add(piece.len()).saturating_add(passed)
    }

    /// The response, when all came.
    pub(super) fn stream_done(&mut self, stream: &Stream) -> Vec<u8> {
        let answer = stream.open.map_or_else(Answer::fail, |_| written(stream.length));
        let mut header = stream.header.answer(answer.status);
        if self.session(header.session).is_some_and(|session| session.signing.is_some()) {
            header.flags |= super::codec::SIGNED;
        }
        let mut response = Vec::new();
        header.encode(&mut response);
        response.extend_from_slice(&answer.body);
        response
    }

    /// Tells what was written to a file.
    pub(super) fn report_upload(&self, session: u64, place: Place, upload: Upload, out: &mut Outbox) {
        let hash: String = upload.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let data = LogData::new()
            .with("FILENAME", self.tree.path(place))
            .with("SHARENAME", self.server.share.as_str())
            .with("USERNAME", self.user_of(session))
            .with("SHA256", hash)
            .with("SIZE", i64::try_from(upload.size).unwrap_or(i64::MAX))
            .with("QUARANTINE", upload.name);
        out.report(events::UPLOAD, data);
    }
}

fn written(length: usize) -> Answer {
    let mut body = Vec::with_capacity(17);
    body.put16(17);
    body.put16(0);
    body.put_len(length);
    body.extend_from_slice(&[0; 9]);
    body.truncate(16);
    Answer::ok(body)
}
