//! QUERY_INFO and SET_INFO: what files, volumes and rights are said to be ([MS-FSCC] 2.4 and 2.5).

use std::sync::Arc;

use aviary_event::LogData;
use aviary_service::Outbox;
use aviary_wire::ntlm::from_utf16;

use super::codec::{Answer, Header, Put as _, filetime, short, slice, text, u16_at, u32_at, u64_at, wide};
use super::events;
use super::files::slashes;
use super::state::{Connection, What};
use super::status;
use super::tree::{Node, Place, Stamp};
use super::upload::WRITING;

/// Bytes of the volume and how many of them are free, in clusters of 4096.
const CLUSTERS: u64 = 26_083_327;
const SPACE: u32 = 8;

/// Rights to delete, and to set attributes.
const DELETE: u32 = 0x1201_0000;

/// Times of creation, access, writing and change.
pub(super) fn put_times(out: &mut Vec<u8>, node: &Node, outbox: &Outbox) {
    let times = node.stamp.times(outbox.now().as_micros());
    for moment in [times.created, times.accessed, times.written, times.written] {
        out.put64(filetime(moment));
    }
}

impl Connection {
    /// Answers QUERY_INFO: size 9, offset, length, data.
    pub(super) fn query_info(
        &mut self,
        header: &Header,
        message: &[u8],
        related: Option<u64>,
        out: &mut Outbox,
    ) -> Result<Answer, u32> {
        let position = self.position(header, message, 88, related)?;
        let (Some(kind), Some(class)) = (message.get(66), message.get(67)) else {
            return Err(status::INVALID_PARAMETER);
        };
        let most = usize::try_from(u32_at(message, 68).unwrap_or(0)).unwrap_or(usize::MAX);
        let wanted = u32_at(message, 80).unwrap_or(0);
        let data = match (kind, self.opens.get(position).map(|open| &open.what)) {
            (1, Some(What::File(file))) => {
                let node = self.tree.node(file.place).ok_or(status::FILE_CLOSED)?;
                self.file_information(*class, file.place, node, file.access, file.delete_on_close, out)
            }
            (1, Some(What::Pipe(_))) => pipe_information(*class),
            (2, Some(_)) => self.volume_information(*class, out),
            (3, Some(_)) => Some(self.descriptor(wanted)),
            _ => return Err(status::NOT_SUPPORTED),
        };
        let mut data = data.ok_or(status::INVALID_INFO_CLASS)?;
        let mut answer = status::SUCCESS;
        if data.len() > most {
            // Names may be cut; what has a fixed size may not.
            match (kind, class) {
                (1, 9 | 18 | 22 | 48) | (2, 1 | 5) => {
                    data.truncate(most);
                    answer = status::BUFFER_OVERFLOW;
                }
                (3, _) => return Err(0xc000_0023), // buffer too small
                _ => return Err(status::INFO_LENGTH_MISMATCH),
            }
        }
        let mut body = Vec::with_capacity(data.len().saturating_add(8));
        body.put16(9);
        body.put16(72);
        body.put_len(data.len());
        body.extend_from_slice(&data);
        Ok(Answer { status: answer, body })
    }

    fn file_information(
        &self,
        class: u8,
        place: Place,
        node: &Node,
        access: u32,
        deleted: bool,
        outbox: &Outbox,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let basic = |out: &mut Vec<u8>| {
            put_times(out, node, outbox);
            out.put32(node.attributes());
            out.put32(0);
        };
        let standard = |out: &mut Vec<u8>| {
            out.put64(node.allocated());
            out.put64(node.size);
            out.put32(1);
            out.extend_from_slice(&[deleted.into(), node.is_folder().into(), 0, 0]);
        };
        let name = |out: &mut Vec<u8>, prefix: &str| {
            let path = self.tree.path(place).replace('/', "\\");
            let path = if place == 0 { prefix.to_owned() } else { format!("{prefix}{path}") };
            let path = wide(&path);
            out.put_len(path.len());
            out.extend_from_slice(&path);
        };
        match class {
            4 => basic(&mut out),
            5 => standard(&mut out),
            6 => out.put64(self.index(place)),
            7 => out.put32(0),
            8 => out.put32(self.granted(access)),
            9 => name(&mut out, "\\"),
            14 => out.put64(0),
            16 => out.put32(0),
            17 => out.put32(0),
            18 => {
                basic(&mut out);
                standard(&mut out);
                out.put64(self.index(place));
                out.put32(0);
                out.put32(self.granted(access));
                out.put64(0);
                out.put32(0);
                out.put32(0);
                name(&mut out, "\\");
            }
            21 => return None,
            22 => {
                if !node.is_folder() {
                    let stream = wide("::$DATA");
                    out.put32(0);
                    out.put_len(stream.len());
                    out.put64(node.size);
                    out.put64(node.allocated());
                    out.extend_from_slice(&stream);
                }
            }
            28 => {
                out.put64(node.size);
                out.put64(0);
            }
            34 => {
                put_times(&mut out, node, outbox);
                out.put64(node.allocated());
                out.put64(node.size);
                out.put32(node.attributes());
                out.put32(0);
            }
            35 => {
                out.put32(node.attributes());
                out.put32(0);
            }
            48 => name(&mut out, ""),
            59 => {
                out.put64(u64::from(self.server.serial()));
                out.put64(self.index(place));
                out.put64(0);
            }
            _ => return None,
        }
        Some(out)
    }

    /// Rights that an open file has: those asked for, or all that there are.
    fn granted(&self, access: u32) -> u32 {
        if access & 0xf200_0000 == 0 { access } else { self.access() }
    }

    fn volume_information(&self, class: u8, outbox: &Outbox) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let serial = self.server.serial();
        let free = CLUSTERS.saturating_mul(u64::from(serial & 0xff)).checked_div(320).unwrap_or(0);
        match class {
            1 => {
                let label = wide(if self.server.is_windows() { "Data" } else { &self.server.share });
                let root = self.tree.node(0)?;
                out.put64(filetime(root.stamp.times(outbox.now().as_micros()).created));
                out.put32(serial);
                out.put_len(label.len());
                out.put16(0);
                out.extend_from_slice(&label);
            }
            3 => {
                out.put64(CLUSTERS);
                out.put64(free);
                out.put32(SPACE);
                out.put32(512);
            }
            // A disk that is mounted.
            4 => {
                out.put32(7);
                out.put32(0x20);
            }
            5 => {
                // Of NTFS, without what is not played: case, Unicode, rights, compression, named streams.
                out.put32(if self.server.is_windows() { 0x00c7_06ff } else { 0x0001_002f });
                out.put32(255);
                let name = wide("NTFS");
                out.put_len(name.len());
                out.extend_from_slice(&name);
            }
            6 => {
                out.extend_from_slice(&[0; 24]);
                out.extend_from_slice(&[0xff; 16]);
                out.put64(0);
            }
            7 => {
                out.put64(CLUSTERS);
                out.put64(free);
                out.put64(free);
                out.put32(SPACE);
                out.put32(512);
            }
            8 => {
                out.extend_from_slice(super::content::draw(self.server.seed.wait(), "object", 0).get(..16)?);
                out.extend_from_slice(&[0; 48]);
            }
            11 => {
                for value in [512_u32, 4096, 4096, 4096, 3, 0, 0] {
                    out.put32(value);
                }
            }
            _ => return None,
        }
        Some(out)
    }

    /// A security descriptor, self-relative: revision, control, offsets of owner, group, system and
    /// discretionary list; BUILTIN\Administrators owns, Everyone has what the share allows.
    fn descriptor(&self, wanted: u32) -> Vec<u8> {
        const ADMINISTRATORS: &[u8] = b"\x01\x02\0\0\0\0\0\x05\x20\0\0\0\x20\x02\0\0";
        const EVERYONE: &[u8] = b"\x01\x01\0\0\0\0\0\x01\0\0\0\0";
        let mut parts: [Vec<u8>; 3] = Default::default();
        let [owner, group, list] = &mut parts;
        if wanted & 1 != 0 {
            owner.extend_from_slice(ADMINISTRATORS);
        }
        if wanted & 2 != 0 {
            group.extend_from_slice(ADMINISTRATORS);
        }
        if wanted & 4 != 0 {
            // Revision 2, size, two entries: allowed, inherited by files and folders.
            list.extend_from_slice(&[2, 0]);
            list.put16(52);
            list.put32(2);
            for (sid, access) in [(ADMINISTRATORS, super::trees::ALL_ACCESS), (EVERYONE, self.access())] {
                list.extend_from_slice(&[0, 3]);
                list.put16(short(sid.len().saturating_add(8)));
                list.put32(access);
                list.extend_from_slice(sid);
            }
        }
        let mut out = vec![1, 0];
        out.put16(if wanted & 4 != 0 { 0x8004 } else { 0x8000 });
        let mut at = 20_usize;
        let mut offsets = Vec::new();
        for part in &parts {
            offsets.push(if part.is_empty() { 0 } else { at });
            at = at.saturating_add(part.len());
        }
        let [owner_at, group_at, list_at] = offsets.as_slice() else { return out };
        for offset in [owner_at, group_at, &0, list_at] {
            out.put_len(*offset);
        }
        out.extend_from_slice(&parts.concat());
        out
    }

    /// Answers SET_INFO: size 2.
    pub(super) fn set_info(
        &mut self,
        header: &Header,
        message: &[u8],
        related: Option<u64>,
        out: &mut Outbox,
    ) -> Result<Answer, u32> {
        let position = self.position(header, message, 80, related)?;
        let (Some(kind), Some(class)) = (message.get(66), message.get(67)) else {
            return Err(status::INVALID_PARAMETER);
        };
        let length = u32_at(message, 68).ok_or(status::INVALID_PARAMETER)?;
        let at = u16_at(message, 72).ok_or(status::INVALID_PARAMETER)?;
        let data = slice(message, at, length).ok_or(status::INVALID_PARAMETER)?;
        let Some(file) = self.file(position) else { return Err(status::INVALID_PARAMETER) };
        let (place, access) = (file.place, file.access);
        match (kind, class) {
            (1, _) if !self.server.writable => return Err(status::ACCESS_DENIED),
            (1, 4) => self.set_times(place, data, out),
            (1, 10) => self.rename(header.session, place, access, data, out)?,
            (1, 13 | 64) => {
                let wish = data.first().is_some_and(|byte| byte & 1 != 0);
                self.may_delete(place, access)?;
                if let Some(file) = self.file(position) {
                    file.delete_on_close = wish;
                }
            }
            (1, 20) => {
                let size = u64_at(data, 0).ok_or(status::INFO_LENGTH_MISMATCH)?;
                if access & WRITING == 0 {
                    return Err(status::ACCESS_DENIED);
                }
                self.fits(place, size)?;
                if let Some(node) = Arc::make_mut(&mut self.tree).node_mut(place).filter(|node| !node.is_folder()) {
                    node.size = size;
                }
            }
            // Position, mode, allocation: nothing that anybody sees.
            (1, 14 | 16 | 19) => {}
            (1, 11) => return Err(status::ACCESS_DENIED),
            (3, _) => return Err(status::ACCESS_DENIED),
            (1, _) => return Err(status::INVALID_INFO_CLASS),
            _ => return Err(status::NOT_SUPPORTED),
        }
        Ok(Answer::ok(vec![2, 0]))
    }

    /// Whether a file may become so long: no longer than the volume is, or than it is already.
    pub(super) fn fits(&self, place: Place, size: u64) -> Result<(), u32> {
        let most = self.tree.node(place).map_or(0, |node| node.size).max(CLUSTERS.saturating_mul(4096));
        if size > most { Err(status::DISK_FULL) } else { Ok(()) }
    }

    fn set_times(&mut self, place: Place, data: &[u8], out: &Outbox) {
        // Times of creation, access, writing, change (8 each); 0 and all ones leave one as it is.
        let moment = |at| {
            let time = u64_at(data, at).filter(|time| !matches!(*time, 0 | u64::MAX | 0xffff_ffff_ffff_fffe))?;
            i64::try_from(time.checked_div(10)?).ok()?.checked_sub(11_644_473_600_000_000)
        };
        let (created, written) = (moment(0), moment(16));
        if let Some(node) = Arc::make_mut(&mut self.tree).node_mut(place) {
            let now = node.stamp.times(out.now().as_micros());
            let (created, written) = (created.unwrap_or(now.created), written.unwrap_or(now.written));
            node.stamp = Stamp::At { created, written };
        }
    }

    /// FileRenameInformation: replace (1), reserved (7), root (8), length (4), name.
    fn rename(&mut self, session: u64, place: Place, access: u32, data: &[u8], out: &mut Outbox) -> Result<(), u32> {
        let replace = data.first().is_some_and(|byte| *byte != 0);
        let name = u32_at(data, 16).and_then(|length| slice(data, 20_usize, length));
        let name = name.ok_or(status::INVALID_PARAMETER)?;
        let old = self.tree.path(place);
        let result = self.moved(place, access, text(name).trim_start_matches('\\'), replace);
        let status = result.err().unwrap_or(status::SUCCESS);
        self.audit(session, "renameat", &old, status, out);
        let data = LogData::new()
            .with("ACTION", "rename")
            .with("FILENAME", old)
            .with("NEW_NAME", slashes(from_utf16(name)))
            .with("SHARENAME", self.server.share.as_str())
            .with("STATUS", status::audit(status))
            .with("USERNAME", self.user_of(session));
        out.report(events::CHANGE, data);
        result
    }

    fn moved(&mut self, place: Place, access: u32, path: &str, replace: bool) -> Result<(), u32> {
        if access & DELETE == 0 || place == 0 {
            return Err(status::ACCESS_DENIED);
        }
        let (parent, name) = match self.tree.find(path)? {
            Err(free) => free,
            Ok(there) if there == place => return Ok(()),
            Ok(there) => {
                let node = self.tree.node(there).filter(|node| replace && !node.is_folder());
                let parent = node.ok_or(status::OBJECT_NAME_COLLISION)?.parent;
                Arc::make_mut(&mut self.tree).remove(there);
                (parent, path.rsplit('\\').next().unwrap_or_default())
            }
        };
        if self.tree.lies_in(parent, place) || !self.tree.node(parent).is_some_and(Node::is_folder) {
            return Err(status::INVALID_PARAMETER);
        }
        Arc::make_mut(&mut self.tree).rename(place, parent, name);
        Ok(())
    }

    fn may_delete(&self, place: Place, access: u32) -> Result<(), u32> {
        if access & DELETE == 0 {
            return Err(status::ACCESS_DENIED);
        }
        if place == 0 {
            return Err(status::CANNOT_DELETE);
        }
        if self.tree.is_empty(place) { Ok(()) } else { Err(status::DIRECTORY_NOT_EMPTY) }
    }

    /// Deletes for this connection, and reports it.
    pub(super) fn delete(&mut self, session: u64, place: Place, out: &mut Outbox) {
        let path = self.tree.path(place);
        let status = self.may_delete(place, DELETE).err().unwrap_or(status::SUCCESS);
        if status == status::SUCCESS {
            Arc::make_mut(&mut self.tree).remove(place);
        }
        self.audit(session, "unlinkat", &path, status, out);
        let data = LogData::new()
            .with("ACTION", "delete")
            .with("FILENAME", path)
            .with("SHARENAME", self.server.share.as_str())
            .with("STATUS", status::audit(status))
            .with("USERNAME", self.user_of(session));
        out.report(events::CHANGE, data);
    }
}

/// What a pipe is: of FileStandardInformation, FilePipeInformation and FilePipeLocalInformation.
fn pipe_information(class: u8) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match class {
        5 => {
            out.put64(4096);
            out.put64(0);
            out.put32(1);
            out.put32(1);
        }
        23 => {
            out.put32(1);
            out.put32(1);
        }
        24 => {
            for value in [1_u32, 2, 0xffff_ffff, 1, 4280, 0, 4280, 4280, 3, 1] {
                out.put32(value);
            }
        }
        _ => return None,
    }
    Some(out)
}
