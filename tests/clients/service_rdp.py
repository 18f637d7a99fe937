"""Remote Desktop by real clients: xfreerdp, rdesktop, hydra, ncrack, impacket, nmap and openssl."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from Cryptodome.Hash import MD4

from canary import LOOPBACK, Canary, Skip, connect, needs, read_quiet, unverified_tls
from check_list import Checks
from client_programs import SCRATCH, run

SERVICES = ("rdp",)
SETTINGS: dict[str, Any] = {
    "rdp.version": "2019",
    "rdp.domain": "corp.example.com",
    "rdp.honeycreds": [{"username": "decoy", "password": "Zebra-Quartz-77"}],
}
CHECKS = Checks()
check = CHECKS.add


CONFIRM = bytes.fromhex("030000130ed00000123400")


def request(user: bytes = b"", protocols: int | None = None) -> bytes:
    """An X.224 connection request."""
    variable = b"Cookie: mstshash=" + user + b"\r\n" if user else b""
    if protocols is not None:
        variable += b"\x01\x00\x08\x00" + struct.pack("<I", protocols)
    return struct.pack(">BBHBB5x", 3, 0, len(variable) + 11, len(variable) + 6, 0xE0) + variable


def freerdp(canary: Canary, *options: str, timeout: float = 40) -> str:
    """What xfreerdp prints, on a screen that nobody sees."""
    needs("xfreerdp", "xvfb-run")
    return run(
        "xvfb-run", "-a", "xfreerdp", f"/v:{LOOPBACK}:{canary.ports['rdp']}", "/cert:ignore", *options, timeout=timeout
    )


def cracks(line: str, password: str) -> bool:
    """Whether a line of hashcat's mode 5600 was made with that password; by nothing of ours."""
    user, _, domain, challenge, proof, blob = line.split(":")
    nt_hash = MD4.new(password.encode("utf-16-le")).digest()
    key = hmac.new(nt_hash, (user.upper() + domain).encode("utf-16-le"), hashlib.md5).digest()
    answer = hmac.new(key, bytes.fromhex(challenge + blob), hashlib.md5).hexdigest()
    return answer == proof


@contextmanager
def other(canary: Canary, **settings: str) -> Iterator[Canary]:
    """A canary with other settings; OpenCanary has none."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary has no such setting")
    with Canary(canary.bin_dir, {f"rdp.{key}": value for key, value in settings.items()}, services=SERVICES) as strict:
        yield strict


USUAL = "127.0.0.89"
"""Where the service has its usual port, which decides how nmap looks at it."""


@contextmanager
def usual_port(canary: Canary) -> Iterator[None]:
    """Hands connections to port 3389 of another loopback address on to the canary."""

    def hand_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                service = connect(canary.ports["rdp"], timeout=60)
                for ends in ((peer, service), (service, peer)):
                    threading.Thread(target=hand_on, args=ends, daemon=True).start()

    try:
        listener = socket.create_server((USUAL, 3389))
    except OSError as error:
        raise Skip(f"port 3389: {error}") from None
    with listener:
        threading.Thread(target=serve, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


# Clients.


@check("rdp: the article's line, by xfreerdp over TLS")
def _(canary: Canary) -> None:
    expected = {"DOMAIN": "", "HOSTNAME": "HelloHost", "PASSWORD": "helloword", "USERNAME": "administrator1"}
    mark = canary.mark()
    output = freerdp(canary, "/sec:tls", "/u:administrator1", "/p:helloword", "/client-hostname:HelloHost")
    event = canary.logged(mark, 14001, {"USERNAME": "administrator1"}, output)
    assert event["logdata"] == expected, event["logdata"]
    assert "ERRINFO_SERVER_DENIED_CONNECTION" in output, output[-500:]
    client = canary.logged(mark, 31001, {"HOSTNAME": "HelloHost"}, output)["logdata"]
    assert client["KEYBOARD"] == "0x00000409" and "cliprdr" in client["CHANNELS"], client
    info = canary.logged(mark, 31004, {}, output)["logdata"]
    assert info["CLIENT_ADDRESS"] == LOOPBACK, info


@check("rdp: xfreerdp with NLA, and the hash is cracked back")
def _(canary: Canary) -> None:
    for user, domain, password in (("administrator", "CORP", "Tr0ub4dor&3"), ("jörg", "", "grüße 😀")):
        mark = canary.mark()
        output = freerdp(canary, "/sec:nla", f"/u:{user}", f"/d:{domain}", f"/p:{password}")
        assert "STATUS_LOGON_FAILURE" in output, output[-500:]
        login = canary.logged(mark, 14001, {"USERNAME": user, "DOMAIN": domain}, output)["logdata"]
        assert login.keys() == {"DOMAIN", "HOSTNAME", "USERNAME"}, login
        data = canary.logged(mark, 31002, {"USERNAME": user}, output)["logdata"]
        assert data["HASHCAT_MODE"] == 5600 and cracks(data["HASHCAT"], password), data
        assert not cracks(data["HASHCAT"], password + "x")


@check("rdp: xfreerdp with NLA and a common password, which is guessed")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = freerdp(canary, "/sec:nla", "/u:bob", "/p:Welcome1")
    canary.logged(mark, 14001, {"USERNAME": "bob", "PASSWORD": "Welcome1"}, output)
    canary.logged(mark, 31002, {"GUESSED": "Welcome1"}, output)


@check("rdp: xfreerdp with NLA and a planted password, which is marked")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = freerdp(canary, "/sec:nla", "/u:decoy", "/p:Zebra-Quartz-77")
    event = canary.logged(mark, 14001, {"USERNAME": "decoy", "PASSWORD": "Zebra-Quartz-77"}, output)
    assert event["honeycred"] is True, event


for bits in ("40", "56", "128", "40,56,128", "FIPS"):

    @check(f"rdp: xfreerdp with RDP's own encryption, {bits}")
    def _(canary: Canary, bits: str = bits) -> None:
        mark = canary.mark()
        output = freerdp(
            canary, "/sec:rdp", f"/encryption-methods:{bits}", "/u:old", "/d:DOM", f"/p:pass {bits}",
        )  # fmt: skip
        event = canary.logged(mark, 14001, {"USERNAME": "old"}, output)["logdata"]
        assert event["PASSWORD"] == f"pass {bits}" and event["DOMAIN"] == "DOM", event
        assert "ERRINFO_SERVER_DENIED_CONNECTION" in output, output[-500:]


@check("rdp: xfreerdp that only authenticates believes in no password")
def _(canary: Canary) -> None:
    for security in ("nla", "tls", "rdp"):
        output = freerdp(canary, f"/sec:{security}", "+auth-only", "/u:probe", "/p:probe")
        assert "Authentication only, exit status 1" in output, (security, output[-500:])


@check("rdp: xfreerdp that negotiates by itself")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = freerdp(canary, "/u:CORP\\negotiator", "/p:pw")
    event = canary.logged(mark, 14001, {"USERNAME": "negotiator"}, output)["logdata"]
    assert event["DOMAIN"] == "CORP", event
    requested = canary.logged(mark, 31000, {}, output)["logdata"]
    assert requested["REQUESTED"].startswith("SSL|HYBRID") and requested["SELECTED"].startswith("HYBRID"), requested


@check("rdp: rdesktop, which has no ticket for NLA and takes TLS")
def _(canary: Canary) -> None:
    needs("rdesktop", "xvfb-run")
    mark = canary.mark()
    output = run(
        "xvfb-run", "-a", "rdesktop", "-u", "rdesk", "-d", "DOM", "-n", "HelloHost", "-p", "two words",
        f"{LOOPBACK}:{canary.ports['rdp']}", stdin="yes\n",
    )  # fmt: skip
    event = canary.logged(mark, 14001, {"USERNAME": "rdesk", "PASSWORD": "two words"}, output)["logdata"]
    assert event["DOMAIN"] == "DOM" and event["HOSTNAME"] == "HelloHost", event
    assert "Connection established using SSL" in output, output[-500:]


@check("rdp: hydra")
def _(canary: Canary) -> None:
    passwords = ["hydra-rdp-1", "hydra-rdp-2", "password123"]
    words = SCRATCH / "words-rdp"
    words.write_text("".join(f"{word}\n" for word in passwords))
    mark = canary.mark()
    output = run(
        "hydra", "-I", "-t", "1", "-l", "hydra", "-P", str(words), f"rdp://{LOOPBACK}:{canary.ports['rdp']}",
        timeout=120,
    )  # fmt: skip
    assert "0 valid password" in output, output[-500:]
    lines = [e["logdata"]["HASHCAT"] for e in canary.settle(mark, at_least=9) if e["logtype"] == 31002]
    for password in passwords:
        assert any(cracks(line, password) for line in lines), (password, lines)
    canary.logged(mark, 14001, {"USERNAME": "hydra", "PASSWORD": "password123"}, output)


@check("rdp: ncrack")
def _(canary: Canary) -> None:
    needs("ncrack")
    mark = canary.mark()
    # It knows a failed login by what Windows XP drew, and tries again for ever when nothing is drawn.
    command = ("ncrack", "-v", "--user", "ncrack", "--pass", "n crack", f"rdp://{LOOPBACK}:{canary.ports['rdp']}")
    with subprocess.Popen(command, cwd=SCRATCH, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as ncrack:
        try:
            canary.logged(mark, 14001, {"USERNAME": "ncrack", "PASSWORD": "n crack", "HOSTNAME": "NCRACK"}, timeout=30)
        finally:
            ncrack.terminate()
            output, _ = ncrack.communicate(timeout=10)
    assert "Discovered credentials" not in output, output


@check("rdp: impacket's rdp_check")
def _(canary: Canary) -> None:
    script = Path(sys.executable).with_name("rdp_check.py")
    if not script.exists():
        raise Skip("impacket's examples are not installed")
    # The port is fixed in it.
    copy = SCRATCH / "rdp_check.py"
    copy.write_text(script.read_text().replace("3389, ipv6", f"{canary.ports['rdp']}, ipv6"))
    mark = canary.mark()
    output = run(sys.executable, str(copy), f"CORP/impacket:imp pw@{LOOPBACK}")
    assert "Access Granted" not in output, output
    data = canary.logged(mark, 31002, {"USERNAME": "impacket", "DOMAIN": "CORP"}, output)["logdata"]
    assert data["CREDSSP_VERSION"] == 2 and cracks(data["HASHCAT"], "imp pw"), data


@check("rdp: nmap names the product, and its scripts see a Windows")
def _(canary: Canary) -> None:
    with usual_port(canary):
        output = run(
            "nmap", "-Pn", "-n", "-sV", "-p", "3389", "--script", "rdp-ntlm-info,rdp-enum-encryption,ssl-cert", USUAL,
            timeout=180,
        )  # fmt: skip
    host = socket.gethostname().split(".")[0][:15].upper()
    for wanted in (
        r"3389/tcp open +ms-wbt-server +Microsoft Terminal Services\n",
        r"Target_Name: CORP\n",
        r"NetBIOS_Domain_Name: CORP\n",
        rf"NetBIOS_Computer_Name: {host}\n",
        r"DNS_Domain_Name: corp\.example\.com\n",
        rf"DNS_Computer_Name: {host}\.corp\.example\.com\n",
        r"DNS_Tree_Name: corp\.example\.com\n",
        r"Product_Version: 10\.0\.17763\n",
        r"CredSSP \(NLA\): SUCCESS",
        r"CredSSP with Early User Auth: SUCCESS",
        r"Native RDP: SUCCESS",
        r"RDP Encryption level: Client Compatible",
        r"40-bit RC4: SUCCESS",
        r"56-bit RC4: SUCCESS",
        r"128-bit RC4: SUCCESS",
        r"FIPS 140-1: SUCCESS",
        r"RDP Protocol Version: +RDP 10\.6 server",
        rf"Subject: commonName={host}\.corp\.example\.com",
    ):
        assert re.search(wanted, output), f"no {wanted}:\n{output}"


@check("rdp: nmap's default scripts")
def _(canary: Canary) -> None:
    with usual_port(canary):
        output = run("nmap", "-Pn", "-n", "-sV", "-sC", "-p", "3389", USUAL, timeout=180)
    assert "Product_Version: 10.0.17763" in output and "Microsoft Terminal Services" in output, output
    assert "unrecognized despite returning data" not in output, output


@check("rdp: the certificate is that of a Windows, over TLS at once")
def _(canary: Canary) -> None:
    shown = run("openssl", "s_client", "-connect", f"{LOOPBACK}:{canary.ports['rdp']}", "-showcerts", stdin="")
    text = run("openssl", "x509", "-noout", "-text", stdin=shown)
    host = socket.gethostname().split(".")[0][:15].upper()
    name = f"{host}.corp.example.com"
    assert f"Subject: CN = {name}\n" in text and f"Issuer: CN = {name}\n" in text, text
    assert re.search(r"Extended Key Usage:[^\n]*\n\s+TLS Web Server Authentication\n", text), text
    assert re.search(r"Key Usage:[^\n]*\n\s+Key Encipherment, Data Encipherment\n", text), text
    assert "Subject Alternative Name" not in text and "Public-Key: (2048 bit)" in text, text
    days = (_date(text, "Not After") - _date(text, "Not Before")) / 86400
    assert 180 <= days <= 184, days


def _date(text: str, name: str) -> float:
    found = re.search(name + r" ?: (.*)", text)
    assert found, text
    return float(ssl.cert_time_to_seconds(found[1].strip()))


# What the product answers, byte for byte.


@check("rdp: each set of requested protocols has its answer")
def _(canary: Canary) -> None:
    for protocols, selected in ((0, 0), (1, 1), (2, 2), (3, 2), (8, 8), (11, 8)):
        with connect(canary.ports["rdp"]) as peer:
            peer.sendall(request(b"", protocols))
            expected = CONFIRM + struct.pack("<BBHI", 2, 0x1F, 8, selected)
            assert read_quiet(peer) == expected, (protocols, expected)
    with connect(canary.ports["rdp"]) as peer:
        peer.sendall(request())
        assert read_quiet(peer) == bytes.fromhex("0300000b06d00000123400")


@check("rdp: a client that offers no CredSSP is turned away where it is required")
def _(canary: Canary) -> None:
    with other(canary, nla="required", version="2012R2") as strict:
        for protocols, answer in ((1, (3, 0, 8, 5)), (0, (3, 0, 8, 5)), (3, (2, 0x0F, 8, 2))):
            with connect(strict.ports["rdp"]) as peer:
                peer.sendall(request(b"eve", protocols))
                assert read_quiet(peer) == CONFIRM + struct.pack("<BBHI", *answer), protocols
        output = freerdp(strict, "/sec:tls", "/u:eve", "/p:x")
        assert "HYBRID_REQUIRED_BY_SERVER" in output or "NLA" in output, output[-800:]
        strict.logged(0, 14001, {"USERNAME": "eve"})


@check("rdp: a client that negotiates gives its password in clear text where NLA is off")
def _(canary: Canary) -> None:
    with other(canary, nla="off") as strict:
        output = freerdp(strict, "/u:carol", "/p:in the clear")
        strict.logged(0, 14001, {"USERNAME": "carol", "PASSWORD": "in the clear"}, output)


@check("rdp: a cookie alone is a login, whole")
def _(canary: Canary) -> None:
    for cookie, name in ((b"adm\\user.x", "adm\\user.x"), ("DOM\\ü".encode(), "DOM\\ü")):
        mark = canary.mark()
        with connect(canary.ports["rdp"]) as peer:
            peer.sendall(request(cookie, 3))
            read_quiet(peer)
        event = canary.logged(mark, 14001, {"USERNAME": name})
        assert event["logdata"] == {"USERNAME": name}, event
    mark = canary.mark()
    with connect(canary.ports["rdp"]) as peer:
        peer.sendall(request(protocols=3))
        read_quiet(peer)
    assert canary.wait_for(lambda e: e["logtype"] == 14001 and e["logdata"] == {"USERNAME": None}, mark)


# Hostile input.

NEGOTIATE = bytes.fromhex(
    "3037a003020160a130302e302ca02a04284e544c4d5353500001000000b78208e20000000000000000000000000000000"
    "00a0063450000000f"
)


@check("rdp: cut at every byte, or in one piece, the answers are the same")
def _(canary: Canary) -> None:
    answers = set()
    for size in (1, 3, 1000):
        with connect(canary.ports["rdp"]) as peer:
            for piece in pieces(request(b"slow", 3), size):
                peer.sendall(piece)
            answer = read_quiet(peer)
            peer.settimeout(10)
            with unverified_tls().wrap_socket(peer) as inside:
                for piece in pieces(NEGOTIATE, size):
                    inside.sendall(piece)
                challenge = inside.recv(4096)
        # The challenge itself and the time differ.
        answers.add((answer, len(challenge), challenge[:44]))
    assert len(answers) == 1, answers


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@check("rdp: settings and what follows in one segment")
def _(canary: Canary) -> None:
    fixture = Path(__file__).parents[2] / "crates/services/src/rdp/fixtures/connect-initial-nmap.bin"
    mark = canary.mark()
    with connect(canary.ports["rdp"]) as peer:
        rest = bytes.fromhex("0300000c02f08004010001000300000802f08028")
        peer.sendall(request(b"all", 0) + fixture.read_bytes() + rest)
        answer = read_quiet(peer, 1.0)
    assert answer.startswith(CONFIRM) and answer.endswith(bytes.fromhex("0300000b02f0802e000006")), answer.hex()
    canary.logged(mark, 31001, {"HOSTNAME": "EMP-LAP-0014"})


@check("rdp: what is no RDP is told and gets no answer")
def _(canary: Canary) -> None:
    oversize = b"\x03\x00\xff\xff" + b"A" * 65_531
    for data in (b"GET / HTTP/1.0\r\n\r\n", bytes.fromhex("0300000500"), b"\xff" * 70_000, oversize):
        mark = canary.mark()
        answer = b""
        with connect(canary.ports["rdp"]) as peer:
            try:
                peer.sendall(data)
                answer = read_quiet(peer)
            except ConnectionError:
                pass
        assert answer == b"", answer
        canary.logged(mark, 31003, {"STAGE": "request"}, repr(data[:40]))
    with connect(canary.ports["rdp"]) as peer:
        peer.sendall(b"\x03")
        assert read_quiet(peer) == b""


@check("rdp: garbage instead of TLS, and instead of CredSSP")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with connect(canary.ports["rdp"]) as peer:
        peer.sendall(request(b"notls", 3))
        read_quiet(peer)
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read_quiet(peer)
    canary.logged(mark, 14001, {"USERNAME": "notls"})
    mark = canary.mark()
    with connect(canary.ports["rdp"]) as peer:
        peer.sendall(request(b"nossp", 3))
        read_quiet(peer)
        peer.settimeout(10)
        with unverified_tls().wrap_socket(peer) as inside:
            inside.sendall(b"\x30\x82\xff\xff" + b"A" * 2000)
            assert inside.recv(100) == b""
    canary.logged(mark, 31003, {"STAGE": "credssp"})
    canary.logged(mark, 14001, {"USERNAME": "nossp"})


@check("rdp: nothing that was seen is no JSON")
def _(canary: Canary) -> None:
    assert not canary.broken_lines
    assert all(isinstance(json.dumps(event), str) for event in canary.events())
    logins = [event["logdata"] for event in canary.events() if event["logtype"] == 14001]
    assert logins and all("USERNAME" in data for data in logins)
    assert all(data.keys() <= {"DOMAIN", "HOSTNAME", "PASSWORD", "USERNAME"} for data in logins)
