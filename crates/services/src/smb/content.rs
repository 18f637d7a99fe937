//! What decoy files hold: the structure that their ending promises around bytes that mean nothing.
//!
//! Office files are archives whose parts have the right names, KeePass databases have a whole header,
//! and text is text. The rest is drawn from the installation's secret, addressed by offset, so that
//! a file of any size costs nothing until it is read and reads the same each time.

use sha2::{Digest as _, Sha256};

use super::codec::{Put as _, short};

/// How a file is made from its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A ZIP archive: its parts, and the share of 64 that each has of the whole.
    Zip(&'static [(&'static str, u64)]),
    Pdf,
    /// KeePass 2.
    Kdbx,
    /// A compound file: Office before 2007, Outlook, installers.
    Compound,
    Jpeg,
    Png,
    /// No structure.
    Opaque,
    /// Lines of text.
    Text,
    /// A table of payments.
    Table,
}

const DOCX: &[(&str, u64)] = &[("[Content_Types].xml", 1), ("_rels/.rels", 1), ("word/document.xml", 62)];
const XLSX: &[(&str, u64)] = &[("[Content_Types].xml", 1), ("_rels/.rels", 1), ("xl/workbook.xml", 62)];
const PPTX: &[(&str, u64)] = &[("[Content_Types].xml", 1), ("_rels/.rels", 1), ("ppt/presentation.xml", 62)];
const ZIP: &[(&str, u64)] = &[("backup.sql", 64)];

impl Form {
    /// The form of a file name.
    pub(super) fn of(name: &str) -> Self {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        match ending.as_str() {
            "docx" | "docm" => Self::Zip(DOCX),
            "xlsx" | "xlsm" => Self::Zip(XLSX),
            "pptx" => Self::Zip(PPTX),
            "zip" => Self::Zip(ZIP),
            "pdf" => Self::Pdf,
            "kdbx" => Self::Kdbx,
            "doc" | "xls" | "ppt" | "msg" | "msi" => Self::Compound,
            "jpg" | "jpeg" => Self::Jpeg,
            "png" => Self::Png,
            "csv" => Self::Table,
            "txt" | "log" | "ini" | "md" | "cfg" | "conf" => Self::Text,
            _ => Self::Opaque,
        }
    }

    /// Smallest and largest size that is drawn, in bytes.
    pub(super) const fn sizes(self) -> (u64, u64) {
        match self {
            Self::Zip([_]) => (210_000, 900_000),
            Self::Zip(_) => (14_000, 96_000),
            Self::Pdf => (60_000, 480_000),
            Self::Kdbx => (1_900, 9_000),
            Self::Compound => (26_000, 180_000),
            Self::Jpeg | Self::Png => (90_000, 700_000),
            Self::Opaque => (4_000, 60_000),
            Self::Text => (300, 2_500),
            Self::Table => (3_000, 24_000),
        }
    }
}

/// 32 bytes drawn from a secret for a purpose.
pub(super) fn draw(secret: &[u8], purpose: &str, number: u64) -> [u8; 32] {
    let hash = Sha256::new().chain_update(secret).chain_update(purpose).chain_update(number.to_le_bytes());
    hash.finalize().into()
}

/// A number in `low..=high`, drawn.
pub(super) fn draw_between(secret: &[u8], purpose: &str, low: u64, high: u64) -> u64 {
    let bytes = draw(secret, purpose, 0).first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let span = high.saturating_sub(low).saturating_add(1);
    low.saturating_add(bytes.checked_rem(span).unwrap_or(0))
}

/// Bytes of a made file from an offset, at most `length` and none beyond its size.
pub(super) fn read(form: Form, secret: &[u8; 32], size: u64, offset: u64, length: usize) -> Vec<u8> {
    let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
    let mut out = noise(secret, offset, length);
    let (head, tail) = ends(form, secret, size);
    for (at, piece) in head {
        overlay(&mut out, offset, at, &piece);
    }
    let at = size.saturating_sub(u64::try_from(tail.len()).unwrap_or(0));
    overlay(&mut out, offset, at, &tail);
    out
}

/// The whole text of a file that is text, about as long as asked for.
pub(super) fn text(form: Form, secret: &[u8; 32], size: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let most = usize::try_from(size).unwrap_or(usize::MAX).min(64 * 1024);
    if form == Form::Table {
        out.extend_from_slice(b"Date;Document;Account;Amount;Currency\r\n");
    }
    let mut line = 0_u64;
    while out.len() < most {
        let drawn = draw(secret, "line", line);
        let number = |at: usize, most: u64| -> u64 {
            let bytes = drawn.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four));
            u64::from(bytes).checked_rem(most).unwrap_or(0)
        };
        if form == Form::Table {
            let (day, month) = (number(0, 28).saturating_add(1), line.checked_rem(12).unwrap_or(0).saturating_add(1));
            let (document, account) = (number(4, 90_000).saturating_add(10_000), number(8, 900).saturating_add(4100));
            let row = format!(
                "{day:02}.{month:02}.;RE-{document};{account};{}.{:02};EUR\r\n",
                number(12, 9000),
                number(16, 100)
            );
            out.extend_from_slice(row.as_bytes());
        } else {
            let pick = usize::try_from(number(0, 12)).unwrap_or(0);
            out.extend_from_slice(NOTES.get(pick).copied().unwrap_or("").as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        line = line.saturating_add(1);
    }
    out
}

/// Lines of a note that somebody left.
const NOTES: [&str; 12] = [
    "- ask IT for the new share before the audit",
    "- old contracts moved to the archive folder, do not delete",
    "- backup runs at 22:30, leave the server on",
    "- the printer on the second floor needs the other driver",
    "- send the signed version to purchasing",
    "- VPN: use the token, the password alone no longer works",
    "- monthly closing on the 3rd working day",
    "- the template is in the parent folder",
    "- holiday list goes to personnel by Friday",
    "- check the numbers with controlling first",
    "",
    "- open: who owns the test account?",
];

fn overlay(out: &mut [u8], offset: u64, at: u64, piece: &[u8]) {
    for (position, byte) in (at..).zip(piece) {
        let place = position.checked_sub(offset).and_then(|place| usize::try_from(place).ok());
        if let Some(slot) = place.and_then(|place| out.get_mut(place)) {
            *slot = *byte;
        }
    }
}

/// Bytes that look like compressed or encrypted ones.
fn noise(secret: &[u8; 32], offset: u64, length: usize) -> Vec<u8> {
    let skip = usize::try_from(offset.checked_rem(32).unwrap_or(0)).unwrap_or(0);
    let mut block = offset.checked_div(32).unwrap_or(0);
    let mut out = Vec::with_capacity(length.saturating_add(64));
    while out.len() < length.saturating_add(skip) {
        out.extend_from_slice(&draw(secret, "block", block));
        block = block.saturating_add(1);
    }
    out.drain(..skip);
    out.truncate(length);
    out
}

/// Pieces of structure with their offsets, and the file's end.
type Ends = (Vec<(u64, Vec<u8>)>, Vec<u8>);

fn ends(form: Form, secret: &[u8; 32], size: u64) -> Ends {
    let start = |bytes: &[u8]| (vec![(0, bytes.to_vec())], Vec::new());
    match form {
        Form::Zip(parts) => zip(parts, secret, size),
        Form::Pdf => {
            let (mut head, _) = start(b"%PDF-1.7\r\n%\xb5\xb5\xb5\xb5\r\n1 0 obj\r\n<</Type/Catalog/Pages 2 0 R/Lang(en)>>\r\nendobj\r\n2 0 obj\r\n<</Type/Pages/Count 1/Kids[ 3 0 R]>>\r\nendobj\r\n4 0 obj\r\n<</Filter/FlateDecode>>\r\nstream\r\n");
            let tail = format!(
                "\r\nendstream\r\nendobj\r\ntrailer\r\n<</Size 24/Root 1 0 R>>\r\nstartxref\r\n{size}\r\n%%EOF"
            );
            head.truncate(1);
            (head, tail.into_bytes())
        }
        Form::Kdbx => (vec![(0, kdbx(secret))], Vec::new()),
        Form::Compound => {
            start(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x3e\0\x03\0\xfe\xff\x09\0")
        }
        Form::Jpeg => (
            vec![(0, b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\x01\0\x60\0\x60\0\0\xff\xdb\0\x43\0".to_vec())],
            vec![0xff, 0xd9],
        ),
        Form::Png => (
            vec![(0, b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x07\x80\0\0\x04\x38\x08\x02\0\0\0".to_vec())],
            b"\0\0\0\0IEND\xae\x42\x60\x82".to_vec(),
        ),
        Form::Opaque | Form::Text | Form::Table => (Vec::new(), Vec::new()),
    }
}

/// Local headers, central directory and its end, as Office writes them: version 2.0, deflated,
/// 1 January 1980.
fn zip(parts: &[(&str, u64)], secret: &[u8; 32], size: u64) -> Ends {
    let overhead = parts.iter().fold(22_u64, |sum, (name, _)| {
        sum.saturating_add(76).saturating_add(u64::try_from(name.len()).unwrap_or(0).saturating_mul(2))
    });
    let data = size.saturating_sub(overhead);
    let (mut head, mut central, mut at, mut left) = (Vec::new(), Vec::new(), 0_u64, data);
    for (number, (name, share)) in (0_u64..).zip(parts) {
        let last = u64::try_from(parts.len()).is_ok_and(|count| number.saturating_add(1) == count);
        let length = if last { left } else { data.saturating_mul(*share).checked_div(64).unwrap_or(0).min(left) };
        left = left.saturating_sub(length);
        let drawn = draw(secret, "crc", number);
        let mut fields = Vec::new();
        for value in [20_u16, 6, 8, 0, 0x21] {
            fields.put16(value);
        }
        fields.extend(drawn.iter().take(4));
        fields.put32(u32::try_from(length).unwrap_or(u32::MAX));
        fields.put32(u32::try_from(length.saturating_mul(5)).unwrap_or(u32::MAX));
        fields.put16(short(name.len()));
        fields.put16(0);
        let local = [b"PK\x03\x04".as_slice(), &fields, name.as_bytes()].concat();
        central.extend_from_slice(b"PK\x01\x02\x2d\0");
        central.extend_from_slice(&fields);
        central.extend_from_slice(&[0; 10]);
        central.put32(u32::try_from(at).unwrap_or(u32::MAX));
        central.extend_from_slice(name.as_bytes());
        let next = at.saturating_add(u64::try_from(local.len()).unwrap_or(0)).saturating_add(length);
        head.push((at, local));
        at = next;
    }
    let length = central.len();
    central.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    central.put16(short(parts.len()));
    central.put16(short(parts.len()));
    central.put_len(length);
    central.put32(u32::try_from(at).unwrap_or(u32::MAX));
    central.put16(0);
    (head, central)
}

/// The header of a KeePass 3.1 database: signatures, version, then fields of id (1 byte), length (2)
/// and value.
fn kdbx(secret: &[u8; 32]) -> Vec<u8> {
    let mut out = b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5\x01\0\x03\0".to_vec();
    let mut field = |id: u8, value: &[u8]| {
        out.push(id);
        out.put16(short(value.len()));
        out.extend_from_slice(value);
    };
    field(2, b"\x31\xc1\xf2\xe6\xbf\x71\x43\x50\xbe\x58\x05\x21\x6a\xfc\x5a\xff"); // AES-256
    field(3, &[1, 0, 0, 0]);
    field(4, &draw(secret, "kdbx", 4));
    field(5, &draw(secret, "kdbx", 5));
    field(6, &600_000_u64.to_le_bytes());
    field(7, draw(secret, "kdbx", 7).get(..16).unwrap_or_default());
    field(8, &draw(secret, "kdbx", 8));
    field(9, &draw(secret, "kdbx", 9));
    field(10, &[2, 0, 0, 0]);
    field(0, b"\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_file_are_the_file() {
        for name in ["a.docx", "b.pdf", "c.kdbx", "d.doc", "e.jpg", "f.png", "g.bin", "h.zip"] {
            let (form, secret) = (Form::of(name), [7; 32]);
            let whole = read(form, &secret, 5000, 0, 9999);
            assert_eq!(whole.len(), 5000, "{name}");
            let mut pieces = Vec::new();
            while pieces.len() < 5000 {
                pieces.extend(read(form, &secret, 5000, pieces.len().try_into().unwrap(), 333));
            }
            assert!(pieces == whole, "{name}");
        }
        assert_eq!(read(Form::Opaque, &[7; 32], 10, 10, 5), b"");
    }

    #[test]
    fn an_archive_ends_where_its_directory_says() {
        let whole = read(Form::of("x.docx"), &[1; 32], 20_000, 0, 20_000);
        assert!(whole.starts_with(b"PK\x03\x04\x14\0\x06\0\x08\0\0\0\x21\0"));
        let end = &whole[whole.len() - 22..];
        assert_eq!(&end[..4], b"PK\x05\x06");
        let at = usize::try_from(u32::from_le_bytes(end[16..20].try_into().unwrap())).unwrap();
        assert_eq!(&whole[at..at + 4], b"PK\x01\x02");
        let length = usize::try_from(u32::from_le_bytes(end[12..16].try_into().unwrap())).unwrap();
        assert_eq!(at + length + 22, whole.len());
    }

    #[test]
    fn text_is_text_and_of_the_installation() {
        let table = text(Form::of("x.csv"), &[1; 32], 4000);
        assert!(table.starts_with(b"Date;") && table.len() >= 4000 && table.len() < 4100);
        assert_ne!(text(Form::Text, &[1; 32], 500), text(Form::Text, &[2; 32], 500));
    }
}
