//! Messages to events.

use aviary_event::{LogData, Value};
use aviary_service::Outbox;
use aviary_wire::ber::{self, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING};

use super::agent::{names, pdu_name};
use super::codec::{Community, Malformed, Pdu, Secure, Variable, dotted, pdu, tag};
use super::events::{COMMAND, MALFORMED, REQUEST, V3_LOGIN, V3_MESSAGE};
use super::usm::{Capture, hex};

/// Variables that an event tells; a count tells how many there were.
const TOLD: usize = 64;
/// Octets of a datagram that an event holds.
const KEPT: usize = 4096;
/// Octets of a context's name and of a digest that an event holds; no longer ones are defined.
const SHORT: usize = 255;

/// A message of version 1 or 2c.
pub(super) fn community(message: &Community<'_>, accepted: bool, out: &mut Outbox) {
    let mut requests = names(&message.pdu);
    requests.truncate(TOLD);
    out.report(COMMAND, LogData::new().with("COMMUNITY_STRING", message.community).with("REQUESTS", requests));
    let mut data = LogData::new()
        .with("ACCEPTED", accepted)
        .with("COMMUNITY", message.community)
        .with("VERSION", if message.version == 0 { "1" } else { "2c" });
    request(&mut data, &message.pdu);
    if let Some(trap) = &message.pdu.trap {
        data.insert("ENTERPRISE", dotted(&trap.enterprise));
        data.insert("GENERIC_TRAP", trap.generic);
        data.insert("SPECIFIC_TRAP", trap.specific);
        data.insert("AGENT", address(trap.agent));
    } else {
        data.insert("REQUEST_ID", message.pdu.id);
    }
    if message.pdu.tag == pdu::GET_BULK {
        data.insert("NON_REPEATERS", message.pdu.second);
        data.insert("MAX_REPETITIONS", message.pdu.third);
    }
    out.report(REQUEST, data);
}

/// A message of version 3 that is not authenticated.
pub(super) fn secure(message: &Secure<'_>, is_known: bool, out: &mut Outbox) {
    out.report(V3_MESSAGE, secure_data(message, is_known));
}

/// One that is.
pub(super) fn login(message: &Secure<'_>, capture: Option<Capture>, is_known: bool, out: &mut Outbox) {
    let mut data = secure_data(message, is_known);
    data.insert("DIGEST", hex(short(message.digest)));
    if let Some(Capture { line, mode, password }) = capture {
        data.insert("HASHCAT", line);
        if let Some(mode) = mode {
            data.insert("HASHCAT_MODE", mode);
        }
        if let Some(password) = password {
            data.insert("PASSWORD", password);
        }
    }
    out.report(V3_LOGIN, data);
}

/// What is no message.
pub(super) fn malformed(error: &Malformed, bytes: &[u8], out: &mut Outbox) {
    let data = LogData::new().with("REASON", error.to_string()).with("DATA", bytes.get(..KEPT).unwrap_or(bytes));
    out.report(MALFORMED, data);
}

fn secure_data(message: &Secure<'_>, is_known: bool) -> LogData {
    let mut data = LogData::new()
        .with("ENCRYPTED", message.is_encrypted())
        .with("ENGINE_BOOTS", message.boots)
        .with("ENGINE_ID", hex(message.engine))
        .with("ENGINE_TIME", message.time)
        .with("MESSAGE_ID", message.id);
    if !message.user.is_empty() {
        data.insert("USERNAME", message.user);
        data.insert("KNOWN_USER", is_known);
    }
    if let Some(scoped) = &message.scoped {
        request(&mut data, &scoped.pdu);
        if !scoped.context.is_empty() {
            data.insert("CONTEXT", short(scoped.context));
        }
    }
    data
}

fn request(data: &mut LogData, request: &Pdu<'_>) {
    data.insert("PDU", pdu_name(request.tag));
    data.insert("VARIABLE_COUNT", request.variables.len());
    let variables: Vec<LogData> = request.variables.iter().take(TOLD).map(variable).collect();
    data.insert("VARIABLES", variables);
}

/// Name, and type and value where there is one.
fn variable(variable: &Variable<'_>) -> LogData {
    let data = LogData::new().with("OID", dotted(&variable.name));
    let number = || ber::integer(variable.value).map(Value::from);
    let unsigned = || ber::integer(&[&[0], variable.value].concat()).map(Value::from);
    let (kind, value) = match variable.tag {
        ber::NULL | 0x80..=0x82 => return data,
        INTEGER => ("INTEGER", number()),
        OCTET_STRING => ("OCTET STRING", Ok(Value::from(variable.value))),
        OBJECT_IDENTIFIER => {
            ("OBJECT IDENTIFIER", ber::object_identifier(variable.value).map(|oid| dotted(&oid).into()))
        }
        tag::IP_ADDRESS => ("IpAddress", Ok(address(variable.value))),
        tag::COUNTER => ("Counter32", unsigned()),
        tag::GAUGE => ("Gauge32", unsigned()),
        tag::TICKS => ("TimeTicks", unsigned()),
        tag::COUNTER64 => ("Counter64", unsigned()),
        tag::UNSIGNED => ("Unsigned32", unsigned()),
        tag::OPAQUE => ("Opaque", Ok(Value::from(variable.value))),
        _ => ("other", Ok(Value::from(variable.value))),
    };
    // What does not fit its type is told as it came.
    data.with("TYPE", kind).with("VALUE", value.unwrap_or_else(|_| Value::from(variable.value)))
}

fn short(bytes: &[u8]) -> &[u8] {
    bytes.get(..SHORT).unwrap_or(bytes)
}

fn address(octets: &[u8]) -> Value {
    match octets {
        [a, b, c, d] => format!("{a}.{b}.{c}.{d}").into(),
        other => other.into(),
    }
}
