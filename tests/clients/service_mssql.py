"""SQL Server by real clients: FreeTDS, python-tds, impacket, nmap, hydra; TLS inside TDS; SQL Browser."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import socket
import ssl
import struct
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import pytds
from Cryptodome.Hash import MD4
from impacket import ntlm, tds

from canary import LOOPBACK, Canary, Skip, connect, free_ports, read_quiet
from check_list import Checks
from client_programs import SCRATCH, run

SERVICES = ("mssql",)
BROWSER = free_ports(1)[0]
SETTINGS: dict[str, Any] = {
    "mssql.browser": True,
    "mssql.browser_port": BROWSER,
    "mssql.honeycreds": [{"username": "backup", "password": "planted!"}],
    "aviary.host_name": "sql01.corp.example",
}

CHECKS = Checks()
check = CHECKS.add

KEYS = ["AppName", "CltIntName", "Database", "HostName", "Language", "Password", "ServerName", "UserName"]
REFUSAL = "Login failed for user 'sa'."
PASSWORD = "Sömmer-2026!"


# -- what a client sends, by hand ------------------------------------------------------------------


def packet(kind: int, payload: bytes, last: bool = True) -> bytes:
    return struct.pack(">BBHHBB", kind, last, len(payload) + 8, 0, 1, 0) + payload


def prelogin(encryption: int, instance: bytes = b"MSSQLServer\0") -> bytes:
    values = [b"\x10\0\x10\x95\0\0", bytes([encryption]), instance, b"\0\0\x12\x67", b"\0", bytes(range(36))]
    offset, table = 5 * len(values) + 1, b""
    for number, value in enumerate(values):
        table += struct.pack(">BHH", number, offset, len(value))
        offset += len(value)
    return packet(0x12, table + b"\xff" + b"".join(values))


def login(user: str, password: str, tds: int = 0x74000004, sspi: bytes = b"") -> bytes:
    """LOGIN7 as the article's client sends it."""
    wide = lambda text: text.encode("utf-16-le")  # noqa: E731
    obscured = bytes((byte << 4 & 0xF0 | byte >> 4) ^ 0xA5 for byte in wide(password))
    texts = {
        36: wide("Piroguehost"),
        40: wide(user),
        44: obscured,
        48: wide("SQLPro for MSSQL (hankinsoft.com)"),
        52: wide("172.18.200.58:1433"),
        60: wide("DB-Library"),
        64: wide("us_english"),
        68: wide("test"),
    }
    message = bytearray(94)
    struct.pack_into("<IIIII", message, 4, tds, 4096, 7, 4711, 0)
    message[24:28] = bytes([0xE0, 0x83 if sspi else 3, 0, 0])
    message[72:78] = b"\2\x42\xac\x11\0\2"
    for at, value in texts.items():
        struct.pack_into("<HH", message, at, len(message), len(value) // 2)
        message += value
    struct.pack_into("<HH", message, 78, len(message), len(sspi))
    message += sspi
    struct.pack_into("<I", message, 0, len(message))
    return packet(0x10, bytes(message))


def packets(data: bytes) -> list[bytes]:
    """The packets of an answer; each must have the length that it says."""
    found = []
    while data:
        length = int.from_bytes(data[2:4], "big")
        assert len(data) >= length >= 8, f"a packet of {length} bytes in {data!r}"
        found.append(data[:length])
        data = data[length:]
    return found


def answers(canary: Canary, *parts: bytes) -> list[bytes]:
    with connect(canary.ports["mssql"]) as peer:
        for part in parts:
            peer.sendall(part)
        return packets(read_quiet(peer, 0.5))


def read_packet(peer: socket.socket) -> bytes:
    head = peer.recv(8, socket.MSG_WAITALL)
    return head + peer.recv(int.from_bytes(head[2:4], "big") - 8, socket.MSG_WAITALL)


class Inside:
    """TLS inside TDS: the handshake in PRELOGIN packets, then bare records."""

    def __init__(self, peer: socket.socket, encryption: int) -> None:
        self.peer = peer
        peer.sendall(prelogin(encryption))
        self.prelogin = read_packet(peer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                break
            self.peer.sendall(packet(0x12, self.outgoing.read()))
            answer = read_packet(peer)
            assert answer[0] == 0x12, f"the handshake is answered in a packet of type {answer[0]:#x}"
            self.incoming.write(answer[8:])
        rest = self.outgoing.read()
        if rest:
            self.peer.sendall(packet(0x12, rest))

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.peer.sendall(self.outgoing.read())

    def read(self) -> bytes:
        self.incoming.write(read_quiet(self.peer, 0.5))
        return self.tls.read(65536)


def certificate(canary: Canary) -> Path:
    with connect(canary.ports["mssql"]) as peer:
        der = Inside(peer, 1).tls.getpeercert(binary_form=True)
    assert der
    path = SCRATCH / "mssql.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(der))
    return path


def crack(line: str, guess: str) -> bool:
    """Whether a hashcat line of mode 5600 is of that password ([MS-NLMP] 3.3.2)."""
    user, _, domain, challenge, proof, blob = line.split(":")
    nt = MD4.new(guess.encode("utf-16-le")).digest()
    key = hmac.new(nt, (user.upper() + domain).encode("utf-16-le"), hashlib.md5).digest()
    return hmac.new(key, bytes.fromhex(challenge + blob), hashlib.md5).hexdigest() == proof


def strict(canary: Canary) -> Canary:
    """A canary that plays 2022, which takes TLS before everything; OpenCanary does not."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary has no TLS here")
    return Canary(canary.bin_dir, {"mssql.version": "2022", "aviary.host_name": "sql01"}, services=SERVICES)


# -- FreeTDS ---------------------------------------------------------------------------------------


def tsql(canary: Canary, version: str, encryption: str, program: str = "tsql", *options: str) -> str:
    config = SCRATCH / f"freetds-{version}-{encryption}.conf"
    config.write_text(
        f"[global]\ntds version = {version}\nencryption = {encryption}\nclient charset = UTF-8\n"
        f"[172.18.200.58:1433]\nhost = {LOOPBACK}\nport = {canary.ports['mssql']}\n"
    )
    return run(
        program, "-S", "172.18.200.58:1433", "-U", "sa", "-P", PASSWORD, "-D", "test", *options,
        stdin="select 1\n", environment={"FREETDSCONF": str(config), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


for _version in ("7.0", "7.1", "7.2", "7.3", "7.4"):
    for _encryption in ("off", "request", "require"):
        # FreeTDS sends its login of TDS 7.0 plainly whatever it was told.
        if _version == "7.0" and _encryption != "off":
            continue

        @check(f"mssql: tsql, TDS {_version}, encryption {_encryption}")
        def _(canary: Canary, version: str = _version, encryption: str = _encryption) -> None:
            mark = canary.mark()
            output = tsql(canary, version, encryption)
            assert "Msg 18456 (severity 14, state 1) from SQL01 Line 1:" in output, output
            assert f'"{REFUSAL}"' in output, output
            event = canary.logged(mark, 9001, {"UserName": "sa", "Password": PASSWORD, "Database": "test"}, output)
            assert sorted(event["logdata"]) == KEYS, event["logdata"]
            told = canary.logged(mark, 30900, {"LIBRARY": "TDS-Library"}, output)["logdata"]
            assert told["TDS_VERSION"].startswith(version), told
            scope = {"off": None, "request": "login", "require": "connection"}[encryption]
            assert told.get("TLS_SCOPE") == scope, told


@check("mssql: tsql, TDS 4.2")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = tsql(canary, "4.2", "off")
    assert "Unexpected EOF from the server" in output, output
    canary.logged(mark, 9001, {"UserName": "sa", "Password": PASSWORD}, output)


@check("mssql: bsqldb, the DB-Library of the article's client")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = tsql(canary, "7.1", "request", "bsqldb", "-H", "Piroguehost")
    assert f"\t{REFUSAL}" in output, output
    event = canary.logged(mark, 9001, {"CltIntName": "DB-Library"}, output)
    assert event["logdata"] == {
        "AppName": "bsqldb",
        "CltIntName": "DB-Library",
        "Database": "test",
        "HostName": "Piroguehost",
        "Language": "us_english",
        "Password": PASSWORD,
        "ServerName": "172.18.200.58:1433",
        "UserName": "sa",
    }, event["logdata"]


@check("mssql: the article's line")
def _(canary: Canary) -> None:
    mark = canary.mark()
    answers(canary, prelogin(2), login("sa", "sa123456", 0x71000001))
    event = canary.logged(mark, 9001, {})
    assert event["logdata"] == {
        "AppName": "SQLPro for MSSQL (hankinsoft.com)",
        "CltIntName": "DB-Library",
        "Database": "test",
        "HostName": "Piroguehost",
        "Language": "us_english",
        "Password": "sa123456",
        "ServerName": "172.18.200.58:1433",
        "UserName": "sa",
    }, event["logdata"]


# -- python-tds ------------------------------------------------------------------------------------


class Ntlm:
    """NTLM for python-tds, whose own needs a package that is not kept up."""

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = user, password
        self.first = ntlm.getNTLMSSPType1("", "", True)

    def create_packet(self) -> bytes:
        return bytes(self.first.getData())

    def handle_next(self, packet: bytes) -> bytes:
        last, _ = ntlm.getNTLMSSPType3(self.first, packet, self.user, self.password, "CORP", use_ntlmv2=True)
        return bytes(last.getData())

    def close(self) -> None:
        pass


def connect_pytds(canary: Canary, **options: Any) -> str:
    """What python-tds says to a login of `sa`."""
    given = {"user": "sa", "password": PASSWORD, "database": "test", "appname": "SQLPro"} | options
    try:
        pytds.connect(
            LOOPBACK, port=canary.ports["mssql"], login_timeout=10, disable_connect_retry=True,
            validate_host=False, **given,
        )  # fmt: skip
    except pytds.Error as error:
        return str(error)
    raise AssertionError("the login was let in")


@check("mssql: python-tds, without TLS")
def _(canary: Canary) -> None:
    mark = canary.mark()
    said = connect_pytds(canary)
    assert REFUSAL in said, said
    event = canary.logged(mark, 9001, {"UserName": "sa", "Password": PASSWORD, "AppName": "SQLPro"}, said)
    assert event["logdata"]["CltIntName"] == "Python TDS Library", event["logdata"]


for _only in (True, False):

    @check(f"mssql: python-tds, TLS for {'the login' if _only else 'everything'}")
    def _(canary: Canary, only: bool = _only) -> None:
        mark = canary.mark()
        said = connect_pytds(canary, cafile=str(certificate(canary)), enc_login_only=only)
        assert REFUSAL in said, said
        canary.logged(mark, 9001, {"UserName": "sa", "Password": PASSWORD}, said)
        told = canary.logged(mark, 30900, {"LIBRARY": "Python TDS Library"}, said)["logdata"]
        assert told["TLS_SCOPE"] == ("login" if only else "connection"), told


@check("mssql: python-tds, NTLM that is cracked back")
def _(canary: Canary) -> None:
    for password, guessed in (("kein-Wort-der-Liste", ""), ("Summer2026!", "Summer2026!")):
        mark = canary.mark()
        said = connect_pytds(canary, user=None, password=None, auth=Ntlm("eve", password))
        assert "from an untrusted domain and cannot be used with Integrated authentication." in said, said
        event = canary.logged(mark, 9002, {}, said)
        assert event["logdata"] == {"PASSWORD": guessed, "USERNAME": "eve"}, event["logdata"]
        told = canary.logged(mark, 30901, {"USERNAME": "eve", "DOMAIN": "CORP"}, said)["logdata"]
        assert told["HASHCAT_MODE"] == 5600, told
        assert crack(told["HASHCAT"], password) and not crack(told["HASHCAT"], "another"), told
        assert told.get("PASSWORD", "") == guessed, told


# -- impacket --------------------------------------------------------------------------------------


def mssqlclient(canary: Canary, *options: str) -> str:
    script = Path(sys.executable).parent / "mssqlclient.py"
    return run(sys.executable, str(script), "-port", str(canary.ports["mssql"]), *options)


@check("mssql: impacket's mssqlclient, SQL login")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = mssqlclient(canary, f"sa:impacket-secret@{LOOPBACK}")
    assert f"ERROR(SQL01): Line 1: {REFUSAL}" in output, output
    canary.logged(mark, 9001, {"UserName": "sa", "Password": "impacket-secret"}, output)
    canary.logged(mark, 30900, {"TLS_SCOPE": "login"}, output)


@check("mssql: impacket's mssqlclient, -windows-auth, cracked back")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = mssqlclient(canary, "-windows-auth", f"CORP/mallory:not-in-the-list@{LOOPBACK}")
    assert "Login failed. The login is from an untrusted domain" in output, output
    canary.logged(mark, 9002, {"USERNAME": "mallory", "PASSWORD": ""}, output)
    told = canary.logged(mark, 30901, {"USERNAME": "mallory"}, output)["logdata"]
    assert crack(told["HASHCAT"], "not-in-the-list"), told


@check("mssql: impacket, TDS 8 (TLS before everything)")
def _(canary: Canary) -> None:
    with strict(canary) as server:
        client = tds.MSSQL(LOOPBACK, server.ports["mssql"])
        client.connect()
        # It begins so once a plain PRELOGIN was refused, as by a server that demands it.
        client._setup_tds8()
        client._negotiate_encryption = client.preLogin
        assert not client.login(None, "sa", "strict-secret", "", None, False)
        client.printReplies()
        client.disconnect()
        server.logged(0, 9001, {"UserName": "sa", "Password": "strict-secret"})
        told = server.logged(0, 30900, {"TLS_SCOPE": "strict"})["logdata"]
        assert told["TDS_VERSION"] == "7.4", told


# -- nmap and hydra --------------------------------------------------------------------------------


@check("mssql: nmap -sV names product and version, of SQL Browser too")
def _(canary: Canary) -> None:
    port = canary.ports["mssql"]
    # Datagrams need root. The scan over TCP shows the canary that the source is real.
    both = ["-sT", "-sU"] if os.geteuid() == 0 else ["-sT"]
    wanted = f"T:{port},U:{BROWSER}" if len(both) == 2 else str(port)
    output = run(
        "nmap", *both, "-sV", "--version-all", "-Pn", "-n", "-p", wanted, "-oX", "-", LOOPBACK, timeout=300
    )
    services = xml.fromstring(output[output.index("<?xml") :]).iter("service")
    seen = [(s.attrib.get("product"), s.attrib.get("version"), s.attrib.get("extrainfo")) for s in services]
    expected: list[tuple[str, str, str | None]] = [("Microsoft SQL Server 2019", "15.00.4430", None)]
    if len(both) == 2:
        expected.append(("Microsoft SQL Server", "15.0.4430.1", f"ServerName: SQL01; TCPPort: {port}"))
    assert seen == expected, seen


def script(canary: Canary, names: str, *arguments: str) -> str:
    """nmap's scripts against the port. Version 7.93 prints nothing of theirs, and fails where it has
    scanned the port itself, so they are sent as to an instance of the host, and what they take it for
    is read from nmap's debugging."""
    given = ",".join([f"mssql.instance-port={canary.ports['mssql']}", *arguments])
    return run("nmap", "-d", "-Pn", "-n", "-p", "1", "--script", names, "--script-args", given, LOOPBACK)


@check("mssql: nmap's ms-sql-info and ms-sql-ntlm-info")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = script(canary, "ms-sql-info,ms-sql-empty-password")
    assert "brandedVersion: 2019" in output and "Retrieved SSNetLib version" in output, output
    canary.logged(mark, 9001, {"UserName": "sa", "Password": "", "AppName": "Nmap NSE"}, output)
    # ms-sql-ntlm-info has no rule for hosts: what it sends is sent here, and what it reads is read.
    first = ntlm.getNTLMSSPType1("", "", True)
    reply = answers(canary, login("", "", 0x71000001, bytes(first.getData())))[0]
    assert reply[8] == 0xED, reply
    challenge = ntlm.NTLMAuthChallenge(reply[11:])
    names = ntlm.AV_PAIRS(challenge["TargetInfoFields"])
    told = {key: names[key][1].decode("utf-16-le") for key in (1, 2, 3, 4)}
    assert told == {1: "SQL01", 2: "SQL01", 3: "sql01.corp.example", 4: "corp.example"}, told
    assert challenge["Version"][:4] == struct.pack("<BBH", 10, 0, 17763), challenge["Version"]
    event = canary.logged(mark, 9002, {})
    assert event["logdata"] == {"PASSWORD": "", "USERNAME": ""}, event["logdata"]


@check("mssql: nmap's ms-sql-brute")
def _(canary: Canary) -> None:
    mark = canary.mark()
    (SCRATCH / "mssql-users").write_text("sa\n")
    words = [f"brute-{n}" for n in range(4)]
    (SCRATCH / "mssql-words").write_text("".join(f"{word}\n" for word in words))
    output = script(
        canary, "ms-sql-brute", f"userdb={SCRATCH / 'mssql-users'}", f"passdb={SCRATCH / 'mssql-words'}"
    )
    for word in words:
        canary.logged(mark, 9001, {"UserName": "sa", "Password": word}, output)


@check("mssql: hydra, which speaks TDS 4.2")
def _(canary: Canary) -> None:
    mark = canary.mark()
    words = SCRATCH / "mssql-hydra"
    words.write_text("hydra-secret\n")
    output = run(
        "hydra", "-l", "sa", "-P", str(words), "-t", "1", "-I", "-s", str(canary.ports["mssql"]), LOOPBACK, "mssql",
        timeout=120,
    )  # fmt: skip
    assert "0 valid password" in output, output
    canary.logged(mark, 9001, {"UserName": "sa", "Password": "hydra-secret"}, output)


# -- by hand ---------------------------------------------------------------------------------------


@check("mssql: Q01 to Q03, PRELOGIN mirrors what is asked and names the version")
def _(canary: Canary) -> None:
    for asked, answered in ((0, 0), (1, 1), (2, 2), (3, 1)):
        (answer,) = answers(canary, prelogin(asked))
        table = {answer[8 + n * 5]: answer[9 + n * 5 : 13 + n * 5] for n in range(6)}
        assert set(table) == set(range(6)), table
        value = {
            number: answer[8 + int.from_bytes(place[:2], "big") :][: int.from_bytes(place[2:], "big")]
            for number, place in table.items()
        }
        expected = {0: b"\x0f\0\x11\x4e\0\0", 1: bytes([answered]), 2: b"\0", 3: b"", 4: b"\0", 5: b""}
        assert value == expected, value


@check("mssql: Q04, TLS inside TDS and the certificate of an installation")
def _(canary: Canary) -> None:
    mark = canary.mark()
    text = run("openssl", "x509", "-in", str(certificate(canary)), "-noout", "-subject", "-issuer", "-text")
    assert "subject=CN = SSL_Self_Signed_Fallback" in text and "issuer=CN = SSL_Self_Signed_Fallback" in text, text
    assert "Public-Key: (2048 bit)" in text, text
    with connect(canary.ports["mssql"]) as peer:
        inside = Inside(peer, 1)
        assert inside.tls.version() == "TLSv1.2", inside.tls.version()
        inside.send(login("sa", "inside"))
        reply = packets(inside.read())[0]
        assert REFUSAL.encode("utf-16-le") in reply, reply
    with connect(canary.ports["mssql"]) as peer:
        inside = Inside(peer, 0)
        inside.send(login("sa", "login alone"))
        reply = packets(read_quiet(peer, 0.5))[0]
        assert REFUSAL.encode("utf-16-le") in reply, "the refusal is in the clear"
    for password in ("inside", "login alone"):
        canary.logged(mark, 9001, {"Password": password})


@check("mssql: Q05, error 18456 with its fields, another session each time, then the end")
def _(canary: Canary) -> None:
    sessions = set()
    for _ in range(12):
        with connect(canary.ports["mssql"]) as peer:
            peer.sendall(prelogin(2))
            read_packet(peer)
            peer.sendall(login("sa", "x"))
            reply = read_packet(peer)
            assert peer.recv(1) == b"", "the connection stays open"
        sessions.add(int.from_bytes(reply[4:6], "big"))
        tokens = reply[8:]
        length = int.from_bytes(tokens[1:3], "little")
        assert tokens[0] == 0xAA and tokens[3:9] == struct.pack("<IBB", 18456, 1, 14), tokens
        text = tokens[11 : 11 + 2 * int.from_bytes(tokens[9:11], "little")]
        assert text.decode("utf-16-le") == REFUSAL, text
        rest = tokens[11 + len(text) : 3 + length]
        assert rest == b"\x05" + "SQL01".encode("utf-16-le") + b"\0" + b"\1\0\0\0", rest
        assert tokens[3 + length :] == b"\xfd\x02\0\0\0" + bytes(8), tokens
    assert len(sessions) > 1 and min(sessions) >= 51, sessions


@check("mssql: Q06, a login or batch without PRELOGIN is closed without a word, and told")
def _(canary: Canary) -> None:
    mark = canary.mark()
    assert answers(canary, login("sa", "too early")) == []
    canary.logged(mark, 9001, {"Password": "too early"})
    assert answers(canary, packet(1, "select 1".encode("utf-16-le"))) == []
    canary.logged(mark, 30903, {"REASON": "SQL batch out of order"})


@check("mssql: PRELOGIN and LOGIN7 in one segment, and byte by byte")
def _(canary: Canary) -> None:
    mark = canary.mark()
    both = prelogin(2) + login("sa", "coalesced")
    assert len(answers(canary, both)) == 2
    canary.logged(mark, 9001, {"Password": "coalesced"})
    with connect(canary.ports["mssql"]) as peer:
        for byte in prelogin(2) + login("sa", "split"):
            peer.sendall(bytes([byte]))
        assert len(packets(read_quiet(peer, 0.5))) == 2
    canary.logged(mark, 9001, {"Password": "split"})


@check("mssql: what no client sends is told and ends nothing")
def _(canary: Canary) -> None:
    wrong = bytearray(login("sa", "lost?"))
    wrong[8 + 44 : 8 + 46] = b"\xff\xff"
    noise = random.Random(7).randbytes(3000)
    lone = login("AB", "lone").replace(b"A\0B\0", b"\x00\xd8B\0")
    told: list[tuple[bytes, str]] = [
        (prelogin(2) + bytes(wrong), "a field of LOGIN7 points outside the message"),
        (prelogin(2) + packet(0x10, b"short"), "LOGIN7 ends inside its fixed part"),
        (prelogin(2) + prelogin(2), "PRELOGIN out of order"),
        (packet(0x12, b"\1\0\6\0\1\xff\0"), "PRELOGIN does not begin with a version"),
        (packet(0x12, b"\0" * 50), "PRELOGIN does not begin with a version"),
        (b"\x12\x01\xff\xff" + bytes(4), "packet length out of bounds"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no packet type of a client"),
        (b"\xff" + noise, "no packet type of a client"),
        (prelogin(2) + packet(0x10, bytes(30_000), last=False) * 5, "message too long"),
        (prelogin(2) + b"\x10\x01\x01\0half", "ended by the client"),
    ]
    for sent, reason in told:
        mark = canary.mark()
        with connect(canary.ports["mssql"]) as peer:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            read_quiet(peer, 0.3)
        event = canary.wait_for(lambda e: e["logdata"].get("REASON") == reason, mark)  # noqa: B023
        assert event is not None, f"{reason}: {canary.events(mark)}"
    mark = canary.mark()
    assert len(answers(canary, prelogin(2), lone)) == 2
    kept = canary.logged(mark, 9001, {"Password": "lone"})["logdata"]["UserName"]
    assert kept == "\0\\xd8B\0", f"bytes that are no text are kept: {kept!r}"
    assert canary.alive()


@check("mssql: a broken handshake and a plain login where TLS was agreed")
def _(canary: Canary) -> None:
    mark = canary.mark()
    answers(canary, prelogin(1), packet(0x12, b"\x16\x03\x01\0\x05hello"))
    told = canary.wait_for(lambda e: e["logtype"] == 30001, mark)
    assert told is not None, canary.events(mark)
    canary.logged(mark, 30902, {"ENCRYPTION": "on"})
    mark = canary.mark()
    assert len(answers(canary, prelogin(1), login("sa", "plain all the same"))) == 1
    canary.logged(mark, 9001, {"Password": "plain all the same"})


@check("mssql: planted credentials are marked")
def _(canary: Canary) -> None:
    mark = canary.mark()
    for user, planted in (("backup", True), ("sa", False)):
        answers(canary, prelogin(2), login(user, "planted!"))
        assert canary.logged(mark, 9001, {"UserName": user})["honeycred"] is planted


# -- inside, by a planted credential ----------------------------------------------------------------


@check("mssql: tsql gets into an empty instance by a planted credential")
def _(canary: Canary) -> None:
    for version, encryption in (("7.1", "off"), ("7.4", "request"), ("7.4", "require")):
        mark = canary.mark()
        config = SCRATCH / "freetds-planted.conf"
        config.write_text(
            f"[global]\ntds version = {version}\nencryption = {encryption}\nclient charset = UTF-8\n"
            f"[planted]\nhost = {LOOPBACK}\nport = {canary.ports['mssql']}\n"
        )
        words = (
            "select @@version as v\ngo\nselect name from sys.databases\ngo\nexec xp_cmdshell 'whoami'\ngo\n"
            "use msdb\ngo\nselect db_name() as d, system_user as u, 41 + 1 as n\ngo\nselect * from customers\ngo\nexit\n"
        )
        output = run(
            "tsql", "-S", "planted", "-U", "backup", "-P", "planted!", "-o", "q", stdin=words,
            environment={"FREETDSCONF": str(config), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert "Microsoft SQL Server 2019 - 15.0.4430.1 (X64)" in output, output
        assert all(f"{name}\n" in output for name in ("master", "tempdb", "model", "msdb")), output
        assert "Msg 229 (severity 14, state 5) from SQL01" in output, output
        assert "msdb\tbackup\t42" in output and "Invalid object name 'customers'." in output, output
        canary.logged(mark, 9001, {"UserName": "backup", "Password": "planted!"}, output)
        for query in ("select @@version as v", "exec xp_cmdshell 'whoami'"):
            event = canary.wait_for(lambda e: e["logdata"].get("QUERY", "").strip() == query, mark)  # noqa: B023
            assert event is not None and event["logdata"]["USERNAME"] == "backup", f"{query}\n{output}"


@check("mssql: python-tds in a transaction by a planted credential")
def _(canary: Canary) -> None:
    mark = canary.mark()
    options = {"user": "backup", "password": "planted!", "port": canary.ports["mssql"], "login_timeout": 10}
    with pytds.connect(LOOPBACK, **options) as connection, connection.cursor() as cursor:
        cursor.execute("select name, database_id from master..sysdatabases")
        assert cursor.fetchall() == [("master", 1), ("tempdb", 2), ("model", 3), ("msdb", 4)]
        cursor.execute("select %s as a, %s as b", ("it's", 42))
        assert cursor.fetchall() == [("it's", 42)]
        try:
            cursor.execute("exec sp_configure 'show advanced options', 1; reconfigure")
        except pytds.Error as error:
            assert "User does not have permission to perform this action." in str(error), error
        else:
            raise AssertionError("the configuration was changed")
        connection.rollback()
    canary.logged(mark, 30905, {"REQUEST": "rollback", "USERNAME": "backup"})


@check("mssql: impacket's mssqlclient looks around by a planted credential")
def _(canary: Canary) -> None:
    mark = canary.mark()
    commands = SCRATCH / "mssql-commands"
    commands.write_text("enum_db\nselect @@servername\nenable_xp_cmdshell\nxp_cmdshell whoami\n")
    output = mssqlclient(canary, "-file", str(commands), f"backup:planted!@{LOOPBACK}")
    assert "Microsoft SQL Server" in output and "SQL01" in output, output
    assert "The EXECUTE permission was denied on the object 'xp_cmdshell'" in output, output
    event = canary.wait_for(lambda e: "xp_cmdshell 'whoami'" in e["logdata"].get("QUERY", ""), mark)
    assert event is not None, output


# -- SQL Browser -----------------------------------------------------------------------------------


def ask(question: bytes, timeout: float = 1.0) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(timeout)
        peer.sendto(question, (LOOPBACK, BROWSER))
        try:
            return peer.recv(4096)
        except TimeoutError:
            return b""


@check("mssql: SQL Browser tells whoever is no stranger, and no stranger more than was sent")
def _(canary: Canary) -> None:
    mark = canary.mark()
    answers(canary, prelogin(2))  # a TCP connection shows that this source is real
    version = f"IsClustered;No;Version;15.0.4430.1;tcp;{canary.ports['mssql']}"
    expected = f"ServerName;SQL01;InstanceName;MSSQLSERVER;{version};;"
    for question in (b"\x03", b"\x02", b"\x04MSSQLServer\0"):
        reply = ask(question)
        assert reply[:1] == b"\5" and reply[3:].decode() == expected, reply
        assert int.from_bytes(reply[1:3], "little") == len(reply) - 3, reply
    tds.SQLR_PORT = BROWSER
    (found,) = tds.MSSQL(LOOPBACK).getInstances(2)
    assert (found["InstanceName"], found["tcp"]) == ("MSSQLSERVER", str(canary.ports["mssql"])), found
    assert ask(b"\x04OTHER\0", 0.3) == b"" and ask(b"junk", 0.3) == b""
    canary.logged(mark, 30904, {"REQUEST": "instances"})
    canary.logged(mark, 30904, {"REQUEST": "instance", "INSTANCE": "OTHER"})
    canary.logged(mark, 30904, {"REQUEST": "unknown", "DATA": "junk"})
    with Canary(canary.bin_dir, SETTINGS | {"mssql.browser_port": free_ports(1)[0]}, services=SERVICES) as another:
        port = another.config["mssql.browser_port"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(0.5)
            peer.sendto(b"\x03", (LOOPBACK, port))
            try:
                stranger = peer.recv(4096)
            except TimeoutError:
                stranger = b""
        assert stranger == b"", stranger
        another.logged(0, 30904, {"REQUEST": "instances"})
