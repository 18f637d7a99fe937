//! Conversations over named pipes.

use aviary_testkit::Transcript;

use super::client::Client;
use super::codec::{Put as _, u16_at, u32_at, wide};
use super::status;
use super::tests::{browse, text};

/// A bind to an interface, then a call.
pub(super) fn rpc(
    client: &mut Client<'_>,
    pipe: &str,
    uuid: [u8; 16],
    version: u16,
    number: u16,
    stub: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let file = client.create(pipe, 0x0012_019f, 1, 0).file();
    let mut bind = b"\x05\0\x0b\x03\x10\0\0\0\x48\0\0\0\x01\0\0\0\xb8\x10\xb8\x10\0\0\0\0\x01\0\0\0\0\0\x01\0".to_vec();
    bind.extend_from_slice(&uuid);
    bind.put32(u32::from(version));
    bind.extend_from_slice(&super::interfaces::NDR);
    let bound = client.control(file, 0x0011_c017, &bind).control().to_vec();
    let mut call = b"\x05\0\0\x03\x10\0\0\0".to_vec();
    call.put16(u16::try_from(24 + stub.len()).unwrap());
    call.put16(0);
    call.put32(2);
    call.put_len(stub.len());
    call.put16(0);
    call.put16(number);
    call.extend_from_slice(stub);
    (bound, client.control(file, 0x0011_c017, &call).control().to_vec())
}

pub(super) const SRVSVC: [u8; 16] =
    [0xc8, 0x4f, 0x32, 0x4b, 0x70, 0x16, 0xd3, 0x01, 0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88];
const EFSRPC: [u8; 16] =
    [0x88, 0xd4, 0x81, 0xc6, 0x50, 0xd8, 0xd0, 0x11, 0x8c, 0x52, 0x00, 0xc0, 0x4f, 0xd9, 0x0f, 0x7e];
pub(super) const SVCCTL: [u8; 16] =
    [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03];

pub(super) fn on_pipes(talk: impl FnOnce(&mut Client<'_>)) -> Transcript {
    browse(&[], |client| {
        client.connect("IPC$");
        talk(client);
    })
}

#[test]
fn lists_shares_over_srvsvc() {
    let transcript = on_pipes(|client| {
        let stub = b"\0\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\x02\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0";
        let (bound, answer) = rpc(client, "srvsvc", SRVSVC, 3, 15, stub);
        assert_eq!((bound[2], answer[2]), (12, 2));
        for name in ["ADMIN$\0", "C$\0", "Finance\0", "IPC$\0", "Remote Admin\0"] {
            assert!(memchr::memmem::find(&answer, &wide(name)).is_some(), "{name}");
        }
        assert!(answer.ends_with(&[0; 8]));
    });
    let call = transcript.events_of(31104)[0];
    assert_eq!((text(call, "OPERATION"), text(call, "STATUS")), ("NetrShareEnum".to_owned(), "answered".to_owned()));
}

#[test]
fn denies_what_intruders_call_and_tells_of_it() {
    let transcript = on_pipes(|client| {
        // PetitPotam: EfsRpcOpenFileRaw of a file on a machine of the intruder's.
        let target = wide("\\\\203.0.113.5\\share\\x\0");
        let mut stub = Vec::new();
        for value in [target.len() / 2, 0, target.len() / 2] {
            stub.put_len(value);
        }
        stub.extend_from_slice(&target);
        let (bound, answer) = rpc(client, "lsarpc", EFSRPC, 1, 0, &stub);
        assert_eq!((bound[2], answer[2], u32_at(&answer, 24)), (12, 3, Some(5)));
        // PsExec: ROpenSCManagerW gives no handle.
        let (_, answer) = rpc(client, "svcctl", SVCCTL, 2, 15, &[0; 12]);
        assert_eq!((answer[2], &answer[24..]), (2, [&[0; 20], [5, 0, 0, 0].as_slice()].concat().as_slice()));
        // No such interface behind that pipe.
        let (bound, answer) = rpc(client, "srvsvc", SVCCTL, 2, 15, &[0; 12]);
        assert_eq!((u16_at(&bound, bound.len() - 24), answer[2]), (Some(2), 3));
        assert_eq!(client.create("nonesuch", 3, 1, 0).status(), status::OBJECT_NAME_NOT_FOUND);
    });
    let call = transcript.events_of(31104)[0];
    assert_eq!(
        (text(call, "OPERATION"), text(call, "INTERFACE")),
        ("EfsRpcOpenFileRaw".to_owned(), "efsrpc".to_owned())
    );
    assert!(format!("{:?}", call.get("TEXTS")).contains("203.0.113.5"));
    let bind = transcript.events_of(31103);
    assert_eq!(text(bind[1], "UUID"), "c681d488-d850-11d0-8c52-00c04fd90f7e");
    assert_eq!(text(bind.last().unwrap(), "STATUS"), "no such pipe");
}
