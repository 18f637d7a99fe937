//! The conversation: one request, one refusal, the end.

use aviary_event::{LogData, PeerBytes};
use aviary_service::{Dialogue, Outbox};

use super::codec::{self, Frame, NoRequest, Request};
use super::events;

/// One connection to the daemon.
#[derive(Debug)]
pub(super) struct GitDaemon;

impl Dialogue for GitDaemon {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        // The daemon reads no further than the packet or the length that it dies of; the kernel resets
        // a connection that is closed with bytes unread.
        let read = match codec::frame(input) {
            Frame::Incomplete => return 0,
            Frame::BadLength => {
                violation(input, "bad line length", out);
                4
            }
            Frame::Packet { body, used } => {
                let rest = input.get(used..).unwrap_or_default();
                match Request::parse(body) {
                    Ok(request) => {
                        report(&request, out);
                        if !rest.is_empty() {
                            violation(rest, "data after the request", out);
                        }
                        out.reply(codec::refusal(request.path));
                    }
                    Err(NoRequest::Invalid) => violation(input, "invalid request", out),
                    Err(NoRequest::UnknownService) => violation(input, "unknown service", out),
                }
                used
            }
        };
        if input.len() > read {
            out.reset();
        } else {
            out.close();
        }
        input.len()
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        if !rest.is_empty() {
            violation(rest, "unfinished packet", out);
        }
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.ended(rest, out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        violation(input, "unfinished packet", out);
    }
}

fn report(request: &Request<'_>, out: &mut Outbox) {
    let host = request.host.unwrap_or_default();
    if request.service == "git-upload-pack" {
        out.report(events::CLONE_REQUEST, LogData::new().with("HOST", host).with("REPO", request.repo()));
    }
    let mut data = LogData::new()
        .with("HOST", host)
        .with("PATH", request.path)
        .with("SERVICE", request.service)
        .with("VERSION", request.version().unwrap_or(b"0"));
    let extra: Vec<PeerBytes> = request.extra.iter().map(|argument| PeerBytes::from(*argument)).collect();
    if !extra.is_empty() {
        data.insert("EXTRA", extra);
    }
    out.report(events::REQUEST, data);
}

fn violation(data: &[u8], error: &str, out: &mut Outbox) {
    out.report(events::VIOLATION, LogData::new().with("DATA", data).with("ERROR", error));
}
