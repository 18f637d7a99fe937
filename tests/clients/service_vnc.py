"""VNC by real clients: TigerVNC's viewer, vncdotool, guessers and scanners, and sockets.

What an event says of a login is checked with a DES, and a TLS, that are not ours.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from Cryptodome.Cipher import DES

from canary import LOOPBACK, Canary, Event, Skip, connect, needs, read_quiet, unverified_tls
from check_list import Checks
from client_programs import SCRATCH, run

SERVICES = ("vnc",)
# One source makes all these connections; the refusal of TigerVNC has its own check.
SETTINGS = {"vnc.blacklist": 0}
CHECKS = Checks()
check = CHECKS.add

ARTICLE_KEYS = {"VNC Client Response", "VNC Password", "VNC Server Challenge"}
UNKNOWN = "<Password was not in the common list>"
V8 = b"RFB 003.008\n"


def playing(canary: Canary, **settings: object) -> Canary:
    """Another canary with these settings of the service."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary has no such setting")
    host_name = settings.pop("host_name", "srv01")
    keys = {f"vnc.{key}": value for key, value in settings.items()}
    return Canary(canary.bin_dir, SETTINGS | {"aviary.host_name": host_name} | keys, services=SERVICES)


def encrypt(password: bytes, block: bytes) -> bytes:
    """DES under a password as VNC takes it: eight bytes, each with its bits reversed."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:8].ljust(8, b"\0"))
    return DES.new(key, DES.MODE_ECB).encrypt(block)


def exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = peer.recv(count - len(data))
        assert chunk, f"closed after {data!r}"
        data += chunk
    return data


def made_by(event: Event, password: str) -> None:
    """The event's challenge and response belong to the password."""
    data = event["logdata"]
    challenge, response = (bytes.fromhex(data[f"VNC {name}"]) for name in ("Server Challenge", "Client Response"))
    assert encrypt(password.encode(), challenge) == response, f"{data} was not made by {password!r}"


def cracks(event: Event, password: str) -> None:
    """John's line cracks to the password, by a DES of another make."""
    line = re.fullmatch(r"\$vnc\$\*([0-9A-F]{32})\*([0-9A-F]{32})", event["logdata"]["HASHCAT"])
    assert line, event["logdata"]
    challenge, response = (bytes.fromhex(part) for part in line.groups())
    assert encrypt(password.encode(), challenge) == response, f"{line[0]} is not of {password!r}"
    assert encrypt(b"another", challenge) != response


def login(canary: Canary, password: bytes, version: bytes = V8) -> bytes:
    """A login by sockets; gives the answer."""
    with connect(canary.ports["vnc"]) as peer:
        exactly(peer, 12)
        peer.sendall(version)
        if version == b"RFB 003.003\n":
            assert exactly(peer, 4) == b"\0\0\0\2"
        else:
            assert b"\2" in exactly(peer, exactly(peer, 1)[0])
            peer.sendall(b"\2")
        peer.sendall(encrypt(password, exactly(peer, 16)))
        return read_quiet(peer)


# -- TigerVNC's viewer ---------------------------------------------------------------------------


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """An X server without a screen; gives the display's name."""
    needs("Xvfb", "xtigervncviewer")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    try:
        with os.fdopen(read) as displays:
            yield f":{displays.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def viewer(canary: Canary, *options: str, environment: dict[str, str] | None = None) -> Iterator[Path]:
    """Runs the viewer until it is ended; it would show a window about the failed login and wait."""
    with screen() as display:
        home = SCRATCH / "viewer"
        (home / ".vnc").mkdir(parents=True, exist_ok=True)
        log = home / "output"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["xtigervncviewer", "-Log=*:stderr:100", *options, f"localhost::{canary.ports['vnc']}"],
                env=os.environ | {"DISPLAY": display, "HOME": str(home), "LC_ALL": "C"} | (environment or {}),
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            yield log
        finally:
            time.sleep(0.5)
            process.terminate()
            process.wait(10)


def says(log: Path, text: str) -> None:
    """The viewer reads the refusal in the end; a wrong password of PAM's takes two seconds."""
    deadline = time.monotonic() + 10
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def password_file(password: bytes) -> Path:
    """The file of `vncpasswd`: DES of the password under a key that everybody knows."""
    path = SCRATCH / "passwd"
    key = bytes([23, 82, 107, 6, 35, 78, 88, 7])
    path.write_bytes(encrypt(key, password[:8].ljust(8, b"\0")))
    return path


@check("vnc: TigerVNC's viewer, password file")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with viewer(canary, "-SecurityTypes=VncAuth", f"-PasswordFile={password_file(b'tiger-pw')}") as log:
        event = canary.logged(mark, 12001, {"VNC Password": UNKNOWN}, timeout=20)
        own = canary.logged(mark, 31201, {"SECURITY_TYPE": "VncAuth", "CLIENT_VERSION": "RFB 003.008"})
        says(log, "Authentication failure")
    assert set(event["logdata"]) == ARTICLE_KEYS, f"the article's line has {ARTICLE_KEYS}, ours {event['logdata']}"
    made_by(event, "tiger-pw")
    cracks(own, "tiger-pw")



@check("vnc: TigerVNC's viewer, X509Plain")
def _(canary: Canary) -> None:
    needs("xtigervncviewer")
    with playing(canary, security_types="X509Plain,VncAuth", host_name="localhost") as strict:
        # The viewer asks in a window about a certificate that it does not trust, or of another name.
        with vencrypt(strict, 262) as peer:
            certificate = SCRATCH / "vnc.pem"
            certificate.write_text(ssl.DER_cert_to_PEM_cert(peer.getpeercert(True) or b""))
        mark = strict.mark()
        login = {"VNC_USERNAME": "operator", "VNC_PASSWORD": "clear & pw"}
        with viewer(strict, "-SecurityTypes=X509Plain", f"-X509CA={certificate}", environment=login) as log:
            wanted = {"USERNAME": "operator", "PASSWORD": "clear & pw", "SECURITY_TYPE": "X509Plain"}
            strict.logged(mark, 31201, wanted, timeout=20)
            says(log, "invalid password")


# -- vncdotool -------------------------------------------------------------------------------------


def vncdo(canary: Canary, *options: str) -> str:
    program = Path(sys.executable).parent / "vncdo"
    if not program.exists():
        raise Skip("vncdotool is not installed")
    server = f"{LOOPBACK}::{canary.ports['vnc']}"
    return run(str(program), "-v", "-t", "10", "-s", server, *options, "key", "a")


@check("vnc: vncdotool")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = vncdo(canary, "-p", "dotool-secret")
    made_by(canary.logged(mark, 12001, {"VNC Password": UNKNOWN}, output), "dotool-secret")
    assert "Authentication failure" in output, output


@check("vnc: vncdotool, a common password")
def _(canary: Canary) -> None:
    for password in ("password", "admin123", "administrator"):
        mark = canary.mark()
        output = vncdo(canary, "-p", password)
        made_by(canary.logged(mark, 12001, {"VNC Password": password}, output), password)
        canary.logged(mark, 31201, {"PASSWORD": password}, output)


@check("vnc: vncdotool, Apple's login")
def _(canary: Canary) -> None:
    with playing(canary, server="macos") as mac:
        mark = mac.mark()
        output = vncdo(mac, "-u", "steve", "-p", "apple clear pw")
        wanted = {"USERNAME": "steve", "PASSWORD": "apple clear pw", "SECURITY_TYPE": "ARD"}
        mac.logged(mark, 31201, wanted, output)
        assert "Authentication failed" in output, output


# -- guessers and scanners -------------------------------------------------------------------------


def challenges(canary: Canary, mark: int) -> list[Event]:
    return [event for event in canary.settle(mark, at_least=1) if event["logtype"] == 12001]


@check("vnc: hydra")
def _(canary: Canary) -> None:
    passwords = ["hydra-1", "hydra-2", "letmein", "hydra-3"]
    (SCRATCH / "vnc-words").write_text("".join(f"{word}\n" for word in passwords))
    mark = canary.mark()
    output = run(
        "hydra", "-P", str(SCRATCH / "vnc-words"), "-t", "1", "-w", "10", "-I", "-s", str(canary.ports["vnc"]),
        LOOPBACK, "vnc", timeout=120,
    )  # fmt: skip
    assert "0 valid password" in output, f"hydra says {output[-500:]!r}"
    events = challenges(canary, mark)
    for password in passwords:
        assert any(is_of(event, password) for event in events), f"no event of {password}\n{output}"
    assert any(event["logdata"]["VNC Password"] == "letmein" for event in events)


def is_of(event: Event, password: str) -> bool:
    try:
        made_by(event, password)
    except AssertionError:
        return False
    return True


@check("vnc: ncrack")
def _(canary: Canary) -> None:
    needs("ncrack")
    mark = canary.mark()
    output = run(
        "ncrack", "-v", "--pass", "ncrack-1,ncrack-2", "--user", "", f"vnc://{LOOPBACK}:{canary.ports['vnc']}",
        timeout=120,
    )  # fmt: skip
    events = challenges(canary, mark)
    for password in ("ncrack-1", "ncrack-2"):
        assert any(is_of(event, password) for event in events), f"no event of {password}\n{output}"


def nmap(canary: Canary, *options: str) -> str:
    return run("nmap", "-Pn", "-n", "-p", str(canary.ports["vnc"]), *options, LOOPBACK, timeout=180)


@check("vnc: nmap names it")
def _(canary: Canary) -> None:
    output = nmap(canary, "-sV", "--script", "vnc-info,realvnc-auth-bypass,vnc-title")
    assert re.search(r"open +vnc +VNC \(protocol 3\.8\)", output), output
    assert re.search(r"Protocol version: 3\.8\n\| +Security types: \n\|_ +VNC Authentication \(2\)", output), output
    assert "VULNERABLE" not in output and "1 service unrecognized" not in output, output


@check("vnc: nmap, a scan by default scripts")
def _(canary: Canary) -> None:
    output = nmap(canary, "-sV", "-sC")
    assert "vnc-info" in output and "1 service unrecognized" not in output, output


@check("vnc: nmap names the other products")
def _(canary: Canary) -> None:
    for server, pattern in (
        ("macos", r"Apple remote desktop vnc"),
        ("realvnc", r"RealVNC Enterprise 5\.3 or later \(protocol 5\.0\)"),
        ("tightvnc", r"VNC \(protocol 3\.8\)"),
    ):
        with playing(canary, server=server) as other:
            output = nmap(other, "-sV", "--script", "vnc-info")
            assert re.search(pattern, output), f"{server}: {output}"
            if server == "macos":
                assert "Apple Remote Desktop (30)" in output, output
    with playing(canary, security_types="X509Plain,X509Vnc,Plain,VncAuth") as strict:
        output = nmap(strict, "-sV", "--script", "vnc-info")
        assert "VeNCrypt (19)" in output and "Plain, Server-authenticated TLS (262)" in output, output


# -- sockets ---------------------------------------------------------------------------------------


@check("vnc: each version fails in its own form")
def _(canary: Canary) -> None:
    for version, reply in (
        (b"RFB 003.003\n", b"\0\0\0\1"),
        (b"RFB 003.007\n", b"\0\0\0\1"),
        (V8, b"\0\0\0\1\0\0\0\x16Authentication failure"),
        (b"RFB 003.889\n", b"\0\0\0\1\0\0\0\x16Authentication failure"),
    ):
        mark = canary.mark()
        answer = login(canary, b"by hand", version)
        assert answer == reply, f"{version!r}: {answer!r}"
        cracks(canary.logged(mark, 31201, {"CLIENT_VERSION": version.decode().strip()}), "by hand")


def vencrypt(canary: Canary, subtype: int) -> ssl.SSLSocket:
    """A connection up to the TLS of a VeNCrypt subtype."""
    peer = connect(canary.ports["vnc"])
    exactly(peer, 12)
    peer.sendall(V8)
    assert b"\x13" in exactly(peer, exactly(peer, 1)[0])
    peer.sendall(b"\x13")
    assert exactly(peer, 2) == b"\0\2"
    peer.sendall(b"\0\2")
    assert exactly(peer, 1) == b"\0"
    count = exactly(peer, 1)[0]
    offered = struct.unpack(f"!{count}I", exactly(peer, 4 * count))
    assert subtype in offered, offered
    peer.sendall(struct.pack("!I", subtype))
    assert exactly(peer, 1) == b"\1"
    return unverified_tls().wrap_socket(peer)


@check("vnc: VeNCrypt by Python")
def _(canary: Canary) -> None:
    with playing(canary, security_types="X509Plain,X509Vnc,Plain,VncAuth", login_delay=0) as strict:
        mark = strict.mark()
        with vencrypt(strict, 262) as peer:
            peer.sendall(struct.pack("!II", 4, 5) + b"userpa\xffss")
            assert b"invalid password or username" in read_quiet(peer)
        event = strict.logged(mark, 31201, {"USERNAME": "user", "PASSWORD": "pa\\xffss"})
        assert event["aviary"]["raw"]["PASSWORD"] == base64.b64encode(b"pa\xffss").decode(), event
        mark = strict.mark()
        with vencrypt(strict, 261) as peer:
            peer.sendall(encrypt(b"in TLS", exactly(peer, 16)))
            assert read_quiet(peer).endswith(b"Authentication failure")
        cracks(strict.logged(mark, 31201, {"SECURITY_TYPE": "X509Vnc"}), "in TLS")


@check("vnc: refuses the sixth connection")
def _(canary: Canary) -> None:
    with playing(canary, blacklist=5) as strict:
        for _ in range(5):
            with connect(strict.ports["vnc"]) as peer:
                assert exactly(peer, 12) == V8
        with connect(strict.ports["vnc"]) as peer:
            answer = read_quiet(peer)
        assert answer == b"RFB 003.003\n\0\0\0\0\0\0\0\x1aToo many security failures", answer
        strict.logged(0, 31202, {"SERVER": "tigervnc"})


@check("vnc: pieces make no difference")
def _(canary: Canary) -> None:
    with connect(canary.ports["vnc"]) as peer:
        exactly(peer, 12)
        for byte in V8 + b"\2":
            peer.sendall(bytes([byte]))
            time.sleep(0.01)
        assert exactly(peer, 2) == b"\1\2"
        mark = canary.mark()
        for byte in encrypt(b"bytewise", exactly(peer, 16)):
            peer.sendall(bytes([byte]))
            time.sleep(0.01)
        assert read_quiet(peer).endswith(b"Authentication failure")
    made_by(canary.logged(mark, 12001, {}), "bytewise")
    mark = canary.mark()
    with connect(canary.ports["vnc"]) as peer:
        peer.sendall(V8 + b"\2" + b"A" * 16 + b"more")
        assert read_quiet(peer).endswith(b"Authentication failure")
    canary.logged(mark, 12001, {"VNC Client Response": "41" * 16})


@check("vnc: whatever is no VNC is told")
def _(canary: Canary) -> None:
    for sent, reason in (
        (b"", "left before its version"),
        (b"RFB", "left inside its version"),
        (b"GET / HTTP/1.0\r\n\r\n", "no RFB version"),
        (os.urandom(5000), "no RFB version"),
        (b"RFB 004.000\n", "version"),
        (V8 + b"\1", "security type that was not offered"),
        (V8 + b"\2half", "left inside its response"),
    ):
        mark = canary.mark()
        with connect(canary.ports["vnc"]) as peer:
            exactly(peer, 12)
            peer.sendall(sent)
            read_quiet(peer, 0.1)
        canary.logged(mark, None, {"REASON": reason})


@check("vnc: the operator's words")
def _(canary: Canary) -> None:
    words = SCRATCH / "operators-words"
    words.write_bytes(b"our-old-password\nM\xc3\xbcller1\n")
    with playing(canary, wordlist=str(words)) as own:
        for password, named in ((b"our-old-password", "our-old-password"), ("Müller1".encode(), "Müller1")):
            mark = own.mark()
            login(own, password)
            own.logged(mark, 12001, {"VNC Password": named})


@check("vnc: a planted password is marked")
def _(canary: Canary) -> None:
    with playing(canary, honeycreds=[{"username": "", "password": "letmein"}], login_delay=0) as planted:
        for password, marked in ((b"letmein", True), (b"other", False)):
            mark = planted.mark()
            login(planted, password)
            event = planted.logged(mark, 31201, {"SECURITY_TYPE": "VncAuth"})
            if marked:
                assert event["honeycred"] is True, event
            else:
                assert not event.get("honeycred"), event
