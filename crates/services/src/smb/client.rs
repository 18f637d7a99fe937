//! A client for tests: it builds requests by hand and reads what is needed of responses.

use aviary_service::Dialogue;
use aviary_testkit::{Talk, Transcript};
use aviary_wire::guess::nt_hash;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;

use super::codec::{Header, Put as _, command, framed, u16_at, u32_at, wide};

/// A response without its frame.
pub(super) struct Response(pub(super) Vec<u8>);

impl Response {
    pub(super) fn status(&self) -> u32 {
        u32_at(&self.0, 8).unwrap()
    }

    pub(super) fn header(&self) -> Header {
        Header::decode(&self.0).unwrap()
    }

    /// Output of QUERY_INFO, QUERY_DIRECTORY.
    pub(super) fn output(&self) -> &[u8] {
        let (at, length) = (u16_at(&self.0, 66).unwrap(), u32_at(&self.0, 68).unwrap());
        &self.0[usize::from(at)..][..usize::try_from(length).unwrap()]
    }

    /// Data of READ.
    pub(super) fn data(&self) -> &[u8] {
        &self.0[80..][..usize::try_from(u32_at(&self.0, 68).unwrap()).unwrap()]
    }

    /// Output of IOCTL.
    pub(super) fn control(&self) -> &[u8] {
        &self.0[112..][..usize::try_from(u32_at(&self.0, 100).unwrap()).unwrap()]
    }

    pub(super) fn file(&self) -> [u8; 16] {
        self.0[128..144].try_into().unwrap()
    }
}

/// A connection.
pub(super) struct Client<'a> {
    talk: Talk<'a>,
    message: u64,
    pub(super) session: u64,
    pub(super) tree: u32,
    /// What was sent, segment by segment.
    pub(super) sent: Vec<Vec<u8>>,
}

impl<'a> Client<'a> {
    pub(super) fn new(dialogue: &'a mut dyn Dialogue) -> Self {
        Self { talk: Talk::open(dialogue), message: 0, session: 0, tree: 0, sent: Vec::new() }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.sent.push(bytes.to_vec());
        self.talk.send(bytes)
    }

    pub(super) fn end(self) -> Transcript {
        self.talk.end()
    }

    pub(super) fn transcript(&self) -> &Transcript {
        self.talk.transcript()
    }

    /// A request as it goes over the wire, without its frame.
    pub(super) fn message(&mut self, command: u16, flags: u32, body: &[u8]) -> Vec<u8> {
        let header = Header {
            charge: 1,
            command,
            credits: 31,
            flags,
            message: self.message,
            process: 0xfeff,
            tree: self.tree,
            session: self.session,
            ..Header::default()
        };
        self.message += 1;
        let mut out = Vec::new();
        header.encode(&mut out);
        out.extend_from_slice(body);
        out
    }

    pub(super) fn ask(&mut self, command: u16, body: &[u8]) -> Response {
        let message = self.message(command, 0, body);
        Response(self.raw(&framed(&message)).get(4..).unwrap_or_default().to_vec())
    }

    pub(super) fn negotiate(&mut self, dialects: &[u16]) -> Response {
        let mut body = Vec::new();
        for value in [36, u16::try_from(dialects.len()).unwrap(), 1, 0] {
            body.put16(value);
        }
        body.put32(0x7f);
        body.extend_from_slice(&[0x11; 16]);
        let contexts = dialects.contains(&0x0311);
        let at = (100 + 2 * dialects.len()).next_multiple_of(8);
        body.put_len(if contexts { at } else { 0 });
        body.put16(if contexts { 3 } else { 0 });
        body.put16(0);
        for dialect in dialects {
            body.put16(*dialect);
        }
        if contexts {
            body.resize(at - 64, 0);
            body.extend_from_slice(b"\x01\0\x0a\0\0\0\0\0\x01\0\x04\0\x01\0salt\0\0\0\0\0\0");
            body.extend_from_slice(b"\x02\0\x06\0\0\0\0\0\x02\0\x01\0\x02\0\0\0");
            body.extend_from_slice(b"\x05\0\x0a\0\0\0\0\0s\0r\0v\x000\x001\0");
        }
        self.ask(command::NEGOTIATE, &body)
    }

    pub(super) fn setup(&mut self, token: &[u8]) -> Response {
        let mut body = vec![25, 0, 0, 1];
        body.extend_from_slice(&[0; 8]);
        body.put16(88);
        body.put16(u16::try_from(token.len()).unwrap());
        body.put64(0);
        body.extend_from_slice(token);
        let response = self.ask(command::SESSION_SETUP, &body);
        self.session = response.header().session;
        response
    }

    /// Logs in with NTLMv2; `user` empty is anonymous.
    pub(super) fn login(&mut self, user: &str, password: &str) -> Response {
        let first = self.setup(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2");
        let challenge = &first.0[72 + 24..72 + 32];
        let token = authenticate(user, password, challenge);
        self.setup(&token)
    }

    pub(super) fn connect(&mut self, share: &str) -> Response {
        let path = wide(&format!("\\\\srv01\\{share}"));
        let mut body = vec![9, 0, 0, 0, 72, 0];
        body.put16(u16::try_from(path.len()).unwrap());
        body.extend_from_slice(&path);
        let response = self.ask(command::TREE_CONNECT, &body);
        self.tree = response.header().tree;
        response
    }

    pub(super) fn create(&mut self, name: &str, access: u32, disposition: u32, options: u32) -> Response {
        let body = create(name, access, disposition, options);
        self.ask(command::CREATE, &body)
    }

    pub(super) fn close(&mut self, file: [u8; 16]) -> Response {
        self.ask(command::CLOSE, &[&[24, 0, 1, 0, 0, 0, 0, 0], file.as_slice()].concat())
    }

    pub(super) fn read(&mut self, file: [u8; 16], offset: u64, length: u32) -> Response {
        let body = read(file, offset, length);
        self.ask(command::READ, &body)
    }

    /// A compound of requests that do not belong together, with its frame.
    pub(super) fn compound(&mut self, requests: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (number, (command, body)) in requests.iter().enumerate() {
            let mut part = self.message(*command, 0, body);
            if number + 1 < requests.len() {
                part.align(8);
                let next = u32::try_from(part.len()).unwrap().to_le_bytes();
                part[20..24].copy_from_slice(&next);
            }
            all.extend(part);
        }
        framed(&all)
    }

    pub(super) fn write(&mut self, file: [u8; 16], offset: u64, data: &[u8]) -> Response {
        let body = write(file, offset, data);
        self.ask(command::WRITE, &body)
    }

    pub(super) fn list(&mut self, file: [u8; 16], class: u8, flags: u8, pattern: &str, room: u32) -> Response {
        let pattern = wide(pattern);
        let mut body = vec![33, 0, class, flags, 0, 0, 0, 0];
        body.extend_from_slice(&file);
        body.put16(96);
        body.put16(u16::try_from(pattern.len()).unwrap());
        body.put32(room);
        body.extend_from_slice(&pattern);
        self.ask(command::QUERY_DIRECTORY, &body)
    }

    pub(super) fn info(&mut self, file: [u8; 16], kind: u8, class: u8, room: u32) -> Response {
        let mut body = vec![41, 0, kind, class];
        body.put32(room);
        body.extend_from_slice(&[0; 8]);
        body.put32(7);
        body.put32(0);
        body.extend_from_slice(&file);
        self.ask(command::QUERY_INFO, &body)
    }

    pub(super) fn set(&mut self, file: [u8; 16], class: u8, data: &[u8]) -> Response {
        let mut body = vec![33, 0, 1, class];
        body.put_len(data.len());
        body.put16(96);
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&file);
        body.extend_from_slice(data);
        self.ask(command::SET_INFO, &body)
    }

    pub(super) fn control(&mut self, file: [u8; 16], code: u32, input: &[u8]) -> Response {
        let mut body = vec![57, 0, 0, 0];
        body.put32(code);
        body.extend_from_slice(&file);
        body.put32(120);
        body.put_len(input.len());
        for value in [0, 0, 0, 4280, 1, 0] {
            body.put32(value);
        }
        body.extend_from_slice(input);
        self.ask(command::IOCTL, &body)
    }
}

pub(super) fn create(name: &str, access: u32, disposition: u32, options: u32) -> Vec<u8> {
    let name = wide(name);
    let mut body = vec![57, 0, 0, 0, 2, 0, 0, 0];
    body.extend_from_slice(&[0; 16]);
    for value in [access, 0, 7, disposition, options] {
        body.put32(value);
    }
    body.put16(120);
    body.put16(u16::try_from(name.len()).unwrap());
    body.put64(0);
    body.extend_from_slice(&name);
    if name.is_empty() {
        body.push(0);
    }
    body
}

/// The responses to a compound.
pub(super) fn parts(reply: &[u8]) -> Vec<Response> {
    let (mut rest, mut parts) = (&reply[4..], Vec::new());
    loop {
        let next = usize::try_from(u32_at(rest, 20).unwrap()).unwrap();
        let end = if next == 0 { rest.len() } else { next };
        parts.push(Response(rest[..end].to_vec()));
        if next == 0 {
            return parts;
        }
        rest = &rest[next..];
    }
}

pub(super) fn read(file: [u8; 16], offset: u64, length: u32) -> Vec<u8> {
    let mut body = vec![49, 0, 80, 0];
    body.put32(length);
    body.put64(offset);
    body.extend_from_slice(&file);
    body.extend_from_slice(&[0; 17]);
    body
}

pub(super) fn write(file: [u8; 16], offset: u64, data: &[u8]) -> Vec<u8> {
    let mut body = vec![49, 0, 112, 0];
    body.put_len(data.len());
    body.put64(offset);
    body.extend_from_slice(&file);
    body.extend_from_slice(&[0; 16]);
    body.extend_from_slice(data);
    body
}

/// An AUTHENTICATE_MESSAGE with an NTLMv2 response.
pub(super) fn authenticate(user: &str, password: &str, challenge: &[u8]) -> Vec<u8> {
    let hmac = |key: &[u8], parts: &[&[u8]]| -> Vec<u8> {
        let mut mac = Hmac::<Md5>::new_from_slice(key).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    };
    let blob = [&[1, 1, 0, 0, 0, 0, 0, 0], [7; 8].as_slice(), &[9; 8], &[0; 8]].concat();
    let own = hmac(&nt_hash(password.as_bytes()), &[&wide(&user.to_uppercase()), &wide("CORP")]);
    let nt = if user.is_empty() { Vec::new() } else { [hmac(&own, &[challenge, &blob]), blob.clone()].concat() };
    let fields = [vec![0; 24], nt, wide("CORP"), wide(user), wide("WKS7"), Vec::new()];
    let mut out = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut at = 72;
    for field in &fields {
        out.put16(u16::try_from(field.len()).unwrap());
        out.put16(u16::try_from(field.len()).unwrap());
        out.put_len(at);
        at += field.len();
    }
    out.put32(0x0208_8201);
    out.extend_from_slice(&[10, 0, 0x63, 0x45, 0, 0, 0, 15]);
    out.extend_from_slice(&fields.concat());
    out
}
