//! The replies of Microsoft ISA Server, as nmap's signatures and public captures have them: the reason
//! says it all, the page repeats it.
//!
//! LIMIT: not measured; the page is plainer than the server's own.

use aviary_event::Timestamp;

use super::request::Fault;
use super::{Proxy, Reply};
use crate::http::response::http_date;

const DENIED: &str =
    "The ISA Server requires authorization to fulfill the request. Access to the Web Proxy service is denied. ";
const UNKNOWN: &str = "The Uniform Resource Locator (URL) does not use a recognized protocol. Either the protocol is not \
    supported or the request was not typed correctly. Confirm that a valid protocol is in use (for example, HTTP for a \
    Web request). ";

/// The whole reply.
pub(super) fn write(proxy: &Proxy, reply: &Reply<'_>, now: Timestamp) -> Vec<u8> {
    let (status, reason, text, code) = match reply.fault {
        None => (407, "Proxy Authentication Required", DENIED, 12209),
        Some(Fault::Target | Fault::Unsupported) => (502, "Proxy Error", UNKNOWN, 12006),
        Some(Fault::TooLong(_)) => (414, "Request-URI Too Long", "The request is too long. ", 12217),
        Some(_) => (400, "Bad Request", "The data is invalid. ", 13),
    };
    let host = proxy.host_name.as_str();
    let date = http_date(now.as_seconds());
    let body = format!(
        "<HTML><HEAD><TITLE>Error Message</TITLE>\r\n\
         <META http-equiv=Content-Type content=\"text/html; charset=UTF-8\">\r\n</HEAD>\r\n<BODY>\r\n\
         <H1>Network Access Message: The page cannot be displayed</H1>\r\n\
         <UL>\r\n<LI>Error Code: {status} {reason}. {}({code})</LI>\r\n<LI>Date: {date}</LI>\r\n\
         <LI>Server: {host}</LI>\r\n<LI>Source: proxy</LI>\r\n</UL>\r\n</BODY></HTML>\r\n",
        text
    );
    let connection = if reply.keep { "Keep-Alive" } else { "close" };
    let mut head = format!("HTTP/1.1 {status} {reason} ( {text} )\r\nVia: 1.1 {host}\r\n");
    for offer in reply.offers {
        head.push_str(&format!("Proxy-Authenticate: {offer}\r\n"));
    }
    head.push_str(&format!(
        "Connection: {connection}\r\nProxy-Connection: {connection}\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
         Content-Type: text/html\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    let mut out = head.into_bytes();
    if !reply.request.is("HEAD") {
        out.extend_from_slice(body.as_bytes());
    }
    out
}
