//! PDUs to PDUs: what an agent answers to a read, a walk and a write.

use super::codec::{Pdu, dotted, pdu, pdu_bytes, push_variable, tag};
use super::mib::{Found, View};

/// Variables of one answer to GETBULK: net-snmp's own limit.
const BULK_VARIABLES: usize = 100;
/// Variables of a request that are looked up. LIMIT: the answer to more is too big, whatever its size.
const MOST_VARIABLES: usize = 1024;
/// Octets of an answer of version 1 or 2c besides its community and its variables: the headers of message,
/// PDU and list, and four integers.
const FRAME: usize = 32;

/// Error states (RFC 1157, section 4.1.1, and RFC 3416, section 3).
mod error {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const TOO_BIG: u8 = 1;
    pub(crate) const NO_SUCH_NAME: u8 = 2;
    pub(crate) const NO_ACCESS: u8 = 6;
    pub(crate) const AUTHORIZATION: u8 = 16;
    pub(crate) const NOT_WRITABLE: u8 = 17;
}

/// What a peer may do, and how much it may be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) is_v1: bool,
    /// Whether its community may write. Nothing can be written all the same.
    pub(super) may_write: bool,
    /// Most octets of the whole answer.
    pub(super) size: usize,
    /// Octets after which an answer to GETBULK adds no further variable.
    pub(super) bulk_size: usize,
    /// Octets of the community.
    pub(super) community: usize,
}

impl Grant {
    const fn frame(&self) -> usize {
        self.community.saturating_add(FRAME)
    }
}

/// The answer to a request; none to what is no request.
pub(super) fn respond(view: &View<'_>, request: &Pdu<'_>, grant: Grant) -> Option<Vec<u8>> {
    let answer = match request.tag {
        pdu::GET | pdu::GET_NEXT | pdu::GET_BULK if request.variables.len() > MOST_VARIABLES => {
            Err((error::TOO_BIG, 0))
        }
        pdu::GET => get(view, request, grant),
        pdu::GET_NEXT => next(view, request, grant),
        pdu::GET_BULK => bulk(view, request, grant),
        pdu::SET => Err(set(request, grant)),
        _ => return None,
    };
    let is_too_big = |variables: &Vec<u8>| variables.len().saturating_add(grant.frame()) > grant.size;
    Some(match answer {
        Ok(variables) if !is_too_big(&variables) => pdu_bytes(pdu::RESPONSE, request.id, error::NONE, 0, &variables),
        // Version 2c has no variables in such an answer (RFC 3416, section 4.2.1).
        Ok(_) | Err((error::TOO_BIG, _)) if !grant.is_v1 => {
            pdu_bytes(pdu::RESPONSE, request.id, error::TOO_BIG, 0, &[])
        }
        Ok(_) => echo(request, error::TOO_BIG, 0),
        Err((status, index)) => echo(request, status, index),
    })
}

/// What an agent answers to a user of version 3 who would have to authenticate first.
pub(super) fn refuse(request: &Pdu<'_>) -> Option<Vec<u8>> {
    let is_request = matches!(request.tag, pdu::GET | pdu::GET_NEXT | pdu::GET_BULK | pdu::SET);
    is_request.then(|| echo(request, error::AUTHORIZATION, 0))
}

/// The error status and the number of the variable, from 1.
type Failure = (u8, usize);

fn get(view: &View<'_>, request: &Pdu<'_>, grant: Grant) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    for (at, variable) in request.variables.iter().enumerate() {
        let value = match view.get(&variable.name, grant.is_v1) {
            Found::Value(value) => value,
            _ if grant.is_v1 => return Err((error::NO_SUCH_NAME, at.saturating_add(1))),
            Found::NoInstance => vec![tag::NO_SUCH_INSTANCE, 0],
            Found::NoObject => vec![tag::NO_SUCH_OBJECT, 0],
        };
        push_variable(&mut out, &variable.name, &value);
    }
    Ok(out)
}

fn next(view: &View<'_>, request: &Pdu<'_>, grant: Grant) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    for (at, variable) in request.variables.iter().enumerate() {
        match view.next(&variable.name, grant.is_v1) {
            Some((name, value)) => push_variable(&mut out, name, &value),
            None if grant.is_v1 => return Err((error::NO_SUCH_NAME, at.saturating_add(1))),
            None => push_variable(&mut out, &variable.name, &[tag::END_OF_MIB_VIEW, 0]),
        }
    }
    Ok(out)
}

/// The first variables once, the others again and again (RFC 3416, section 4.2.3). The answer may have
/// less than was asked for; net-snmp takes GETBULK in version 1, too.
fn bulk(view: &View<'_>, request: &Pdu<'_>, grant: Grant) -> Result<Vec<u8>, Failure> {
    let once = usize::try_from(request.second).unwrap_or(0).min(request.variables.len());
    let (first, repeated) = request.variables.split_at_checked(once).unwrap_or((&request.variables, &[]));
    let mut out = Vec::new();
    for (at, variable) in first.iter().enumerate() {
        match view.next(&variable.name, grant.is_v1) {
            Some((name, value)) => push_variable(&mut out, name, &value),
            None if grant.is_v1 => return Err((error::NO_SUCH_NAME, at.saturating_add(1))),
            None => push_variable(&mut out, &variable.name, &[tag::END_OF_MIB_VIEW, 0]),
        }
    }
    let room = BULK_VARIABLES.saturating_sub(once);
    let most = room.checked_div(repeated.len()).unwrap_or(0);
    let repetitions = usize::try_from(request.third).unwrap_or(0).min(most);
    let mut names: Vec<Vec<u32>> = repeated.iter().map(|variable| variable.name.clone()).collect();
    for repetition in 0..repetitions {
        let mut ended = 0_usize;
        for (at, name) in names.iter_mut().enumerate() {
            let mut variable = Vec::new();
            match view.next(name, grant.is_v1) {
                Some((next, value)) => {
                    push_variable(&mut variable, next, &value);
                    next.clone_into(name);
                }
                None if grant.is_v1 && repetition == 0 => {
                    return Err((error::NO_SUCH_NAME, once.saturating_add(at).saturating_add(1)));
                }
                None => {
                    push_variable(&mut variable, name, &[tag::END_OF_MIB_VIEW, 0]);
                    ended = ended.saturating_add(1);
                }
            }
            let size = out.len().saturating_add(variable.len()).saturating_add(grant.frame());
            if size > grant.size.min(grant.bulk_size) && !out.is_empty() {
                return Ok(out);
            }
            out.extend(variable);
        }
        if ended == names.len() {
            break;
        }
    }
    Ok(out)
}

/// Nothing can be written: there is no access for who may only read, and nothing writable for the others.
fn set(request: &Pdu<'_>, grant: Grant) -> Failure {
    match (request.variables.is_empty(), grant.is_v1, grant.may_write) {
        (true, ..) => (error::NONE, 0),
        (_, true, _) => (error::NO_SUCH_NAME, 1),
        (_, _, true) => (error::NOT_WRITABLE, 1),
        (_, _, false) => (error::NO_ACCESS, 1),
    }
}

/// An answer with the variables as they came.
fn echo(request: &Pdu<'_>, status: u8, index: usize) -> Vec<u8> {
    let mut variables = Vec::new();
    for variable in &request.variables {
        push_variable(&mut variables, &variable.name, &aviary_wire::ber::element(variable.tag, variable.value));
    }
    pdu_bytes(pdu::RESPONSE, request.id, status, index, &variables)
}

/// A PDU's name in RFC 3416.
pub(super) fn pdu_name(tag: u8) -> String {
    match tag {
        pdu::GET => "GetRequest".to_owned(),
        pdu::GET_NEXT => "GetNextRequest".to_owned(),
        pdu::RESPONSE => "Response".to_owned(),
        pdu::SET => "SetRequest".to_owned(),
        pdu::TRAP => "Trap".to_owned(),
        pdu::GET_BULK => "GetBulkRequest".to_owned(),
        pdu::INFORM => "InformRequest".to_owned(),
        pdu::TRAP_V2 => "SNMPv2-Trap".to_owned(),
        pdu::REPORT => "Report".to_owned(),
        other => format!("{other:#04x}"),
    }
}

/// Dotted names of all variables, as OpenCanary writes them.
pub(super) fn names(request: &Pdu<'_>) -> Vec<String> {
    request.variables.iter().map(|variable| dotted(&variable.name)).collect()
}
