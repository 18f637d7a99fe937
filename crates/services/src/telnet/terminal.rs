//! What a client tells about itself in subnegotiations: NAWS (RFC 1073), TSPEED (1079), TTYPE (1091),
//! XDISPLOC (1096), ENVIRON (1408) and NEW-ENVIRON (1572).

use aviary_event::{LogData, PeerBytes};

/// Binary transmission, RFC 856.
pub(super) const BINARY: u8 = 0;
/// Echo, RFC 857.
pub(super) const ECHO: u8 = 1;
/// Suppress go ahead, RFC 858.
pub(super) const SGA: u8 = 3;
/// Status, RFC 859.
pub(super) const STATUS: u8 = 5;
/// Timing mark, RFC 860.
pub(super) const TIMING_MARK: u8 = 6;
/// Terminal type.
pub(super) const TTYPE: u8 = 24;
/// Window size.
pub(super) const NAWS: u8 = 31;
/// Terminal speed.
pub(super) const TSPEED: u8 = 32;
/// Remote flow control, RFC 1372.
pub(super) const LFLOW: u8 = 33;
/// Line mode, RFC 1184.
pub(super) const LINEMODE: u8 = 34;
/// X display.
pub(super) const XDISPLOC: u8 = 35;
/// Environment, as RFC 1408 has it.
pub(super) const ENVIRON: u8 = 36;
/// Authentication, RFC 2941.
pub(super) const AUTHENTICATION: u8 = 37;
/// Encryption, RFC 2946.
pub(super) const ENCRYPTION: u8 = 38;
/// Environment, as RFC 1572 has it.
pub(super) const NEW_ENVIRON: u8 = 39;

const IS: u8 = 0;
const INFO: u8 = 2;
const VAR: u8 = 0;
const VALUE: u8 = 1;
const ESC: u8 = 2;
const USERVAR: u8 = 3;

/// Most subnegotiations that are kept as they came.
const KEPT: usize = 8;

/// The terminal so far.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    data: LogData,
    negotiated: Vec<PeerBytes>,
    news: bool,
}

/// An environment variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

impl Variable {
    /// Whether `login` would take the value for an argument: CVE-2026-24061.
    pub(super) fn is_exploit(&self) -> bool {
        self.name == b"USER" && self.value.trim_ascii_start().starts_with(b"-")
    }
}

impl Terminal {
    /// Takes a subnegotiation in. `None` when it is unknown; else the environment variables in it.
    pub(super) fn take(&mut self, option: u8, body: &[u8]) -> Option<Vec<Variable>> {
        let (key, value) = match (option, body.split_first()) {
            (NAWS, _) => {
                let [w1, w0, h1, h0] = *body else { return None };
                let size = format!("{}x{}", u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                self.learn("WINDOW", size);
                return Some(Vec::new());
            }
            (TTYPE, Some((&IS, text))) => ("TERMINAL", text),
            (TSPEED, Some((&IS, text))) => ("SPEED", text),
            (XDISPLOC, Some((&IS, text))) => ("DISPLAY", text),
            (ENVIRON | NEW_ENVIRON, Some((&(IS | INFO), list))) => {
                let variables = variables(option, list);
                let shown: Vec<PeerBytes> = variables
                    .iter()
                    .map(|v| PeerBytes::from([v.name.as_slice(), b"=", v.value.as_slice()].concat()))
                    .collect();
                if !shown.is_empty() {
                    self.learn("ENVIRON", shown);
                }
                return Some(variables);
            }
            (LINEMODE | AUTHENTICATION | ENCRYPTION, _) if self.negotiated.len() < KEPT => {
                self.negotiated.push(PeerBytes::from([&[option], body].concat()));
                let all = self.negotiated.clone();
                self.learn("NEGOTIATED", all);
                return Some(Vec::new());
            }
            _ => return None,
        };
        self.learn(key, value);
        Some(Vec::new())
    }

    fn learn(&mut self, key: &str, value: impl Into<aviary_event::Value>) {
        let value = value.into();
        if self.data.get(key) != Some(&value) {
            self.data.insert(key, value);
            self.news = true;
        }
    }

    /// Everything known, when something of it is new since the last call.
    pub(super) fn news(&mut self) -> Option<LogData> {
        std::mem::take(&mut self.news).then(|| self.data.clone())
    }
}

/// The variables of a list. Old clients swapped VAR and VALUE in ENVIRON; a list that begins with
/// VALUE is theirs.
fn variables(option: u8, list: &[u8]) -> Vec<Variable> {
    let swapped = option == ENVIRON && list.first() == Some(&VALUE);
    let (var, value) = if swapped { (VALUE, VAR) } else { (VAR, VALUE) };
    let mut found: Vec<Variable> = Vec::new();
    let mut in_value = false;
    let mut bytes = list.iter().copied();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b if b == var || b == USERVAR => {
                found.push(Variable { name: Vec::new(), value: Vec::new() });
                in_value = false;
                continue;
            }
            b if b == value => {
                in_value = true;
                continue;
            }
            ESC => bytes.next().unwrap_or(ESC),
            other => other,
        };
        if let Some(last) = found.last_mut() {
            if in_value { &mut last.value } else { &mut last.name }.push(byte);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use aviary_event::Value;

    #[test]
    fn learns_the_terminal() {
        let mut t = Terminal::default();
        assert!(t.news().is_none());
        assert!(t.take(NAWS, &[0, 80, 0, 24]).is_some());
        assert!(t.take(TTYPE, b"\0XTERM").is_some());
        assert!(t.take(TSPEED, b"\x0038400,38400").is_some());
        assert!(t.take(XDISPLOC, b"\0host:0").is_some());
        let data = t.news().unwrap();
        assert_eq!(data.get("WINDOW"), Some(&Value::Text("80x24".into())));
        assert_eq!(data.get("TERMINAL").unwrap().as_str(), Some("XTERM"));
        assert_eq!(data.iter().count(), 4);
        t.take(NAWS, &[0, 80, 0, 24]);
        assert!(t.news().is_none(), "the same again is no news");
    }

    #[test]
    fn rejects_wrong_fields() {
        let mut t = Terminal::default();
        for (option, body) in
            [(NAWS, &b"\0\x50\0"[..]), (TTYPE, b""), (TTYPE, b"\x01"), (NEW_ENVIRON, b"\x01"), (99, b"\0")]
        {
            assert!(t.take(option, body).is_none(), "{option}");
        }
        assert!(t.news().is_none());
    }

    #[test]
    fn reads_variables_with_escapes() {
        let list = variables(NEW_ENVIRON, b"\0USER\x01bob\x03A\x02\x01\x01\x02\x02x\0EMPTY\0");
        let pairs: Vec<_> = list.iter().map(|v| (v.name.as_slice(), v.value.as_slice())).collect();
        assert_eq!(pairs, [(&b"USER"[..], &b"bob"[..]), (b"A\x01", b"\x02x"), (b"EMPTY", b""), (b"", b"")]);
        let old = variables(ENVIRON, b"\x01USER\0bob");
        assert_eq!((old[0].name.as_slice(), old[0].value.as_slice()), (&b"USER"[..], &b"bob"[..]));
    }

    #[test]
    fn knows_the_exploit() {
        let mut t = Terminal::default();
        let found = t.take(NEW_ENVIRON, b"\0\x03USER\x01-f root").unwrap();
        assert!(found.iter().any(Variable::is_exploit));
        assert!(!Variable { name: b"USER".to_vec(), value: b"bob-f".to_vec() }.is_exploit());
        assert!(!Variable { name: b"TERM".to_vec(), value: b"-f".to_vec() }.is_exploit());
    }
}
