//! HASSH: the fingerprint of an SSH implementation by the lists in its KEXINIT.
//!
//! MD5 over `kex;encryption;mac;compression` in the order as sent, of the direction in which the
//! fingerprinted side writes: <https://github.com/salesforce/hassh>.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::negotiation::{KexInit, List};

/// The text under the hash, for a client.
pub(crate) fn client_text(init: &KexInit) -> Vec<u8> {
    text(init, [List::Kex, List::CipherIn, List::MacIn, List::CompressionIn])
}

/// The text under the hash, for a server.
#[cfg(test)]
pub(crate) fn server_text(init: &KexInit) -> Vec<u8> {
    text(init, [List::Kex, List::CipherOut, List::MacOut, List::CompressionOut])
}

/// The fingerprint of such a text: 32 hex digits.
pub(crate) fn digest(text: &[u8]) -> String {
    hex(&Md5::digest(text))
}

/// Lowercase hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn text(init: &KexInit, lists: [List; 4]) -> Vec<u8> {
    let mut text = Vec::new();
    for (n, list) in lists.into_iter().enumerate() {
        if n > 0 {
            text.push(b';');
        }
        text.extend_from_slice(init.list(list));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::codec::{Writer, message};
    use crate::ssh::negotiation::LISTS;

    /// A client's KEXINIT with these algorithms from client to server, and others in the other direction.
    fn client(algorithms: &str) -> KexInit {
        let parts: Vec<&str> = algorithms.split(';').collect();
        let mut writer = Writer::message(message::KEXINIT).bytes([7; 16]);
        for (list, _) in LISTS {
            writer = writer.string(match list {
                List::Kex => parts[0],
                List::CipherIn => parts[1],
                List::MacIn => parts[2],
                List::CompressionIn => parts[3],
                _ => "other",
            });
        }
        KexInit::parse(&writer.u8(0).u32(0).done()).expect("a whole message")
    }

    /// From the list of its authors, `python/hasshGen/hassh_fingerprints.csv`.
    #[test]
    fn is_that_of_its_authors_list() {
        for (name, hassh, algorithms) in [
            (
                "dropbear_2018.76",
                "e22efe3cde8b396b874c3f13fdb6c61a",
                "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp521,ecdh-sha2-nistp384,\
                 ecdh-sha2-nistp256,diffie-hellman-group14-sha256,diffie-hellman-group14-sha1,\
                 diffie-hellman-group1-sha1,kexguess2@matt.ucc.asn.au;\
                 aes128-ctr,aes256-ctr,aes128-cbc,aes256-cbc,3des-ctr,3des-cbc;\
                 hmac-sha1-96,hmac-sha1,hmac-sha2-256;zlib@openssh.com,zlib,none",
            ),
            (
                "paramiko_2.4.1",
                "b5752e36ba6c5979a575e43178908adf",
                "ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
                 diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha1,diffie-hellman-group1-sha1;\
                 aes128-ctr,aes192-ctr,aes256-ctr,aes128-cbc,aes192-cbc,aes256-cbc,blowfish-cbc,3des-cbc;\
                 hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-md5,hmac-sha1-96,hmac-md5-96;none",
            ),
            (
                "OpenSSH_7.4",
                "ec9ea89c70f5fc71cf61061bff5e4740",
                "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
                 ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,\
                 diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha256,\
                 diffie-hellman-group14-sha1,diffie-hellman-group1-sha1,ext-info-c;\
                 chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,\
                 aes256-gcm@openssh.com,aes128-cbc,aes192-cbc,aes256-cbc;\
                 umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
                 hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,\
                 hmac-sha2-256,hmac-sha2-512,hmac-sha1;none,zlib@openssh.com,zlib",
            ),
        ] {
            let init = client(algorithms);
            assert_eq!(client_text(&init), algorithms.as_bytes(), "{name}");
            assert_eq!(digest(&client_text(&init)), hassh, "{name}");
        }
    }
}
