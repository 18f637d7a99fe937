"""TFTP by real clients: tftp-hpa's, curl, nmap, and sockets.

The canary's answers are held to what a source has sent: each check says what a stranger gets and what
one gets that has proven itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time

from canary import LOOPBACK, Canary, Skip, connect, needs
from check_list import Checks
from client_programs import SCRATCH, run

SERVICES = ("tftp",)
SETTINGS: dict[str, object] = {"aviary.host_name": "sw-core-1"}
CHECKS = Checks()
check = CHECKS.add

KEYS = {"FILENAME", "MODE", "OPCODE"}


def playing(canary: Canary, **settings: object) -> Canary:
    """Another canary, to which every source is a stranger, with these settings of the service."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary never answers")
    keys = {f"tftp.{key}": value for key, value in settings.items()}
    return Canary(canary.bin_dir, SETTINGS | keys, services=SERVICES)


def request(opcode: int, *words: bytes) -> bytes:
    return opcode.to_bytes(2, "big") + b"".join(word + b"\0" for word in words)


class Peer:
    """A socket that follows the server to its new port."""

    def __init__(self, canary: Canary) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.server = self.to = (LOOPBACK, canary.ports["tftp"])

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, datagram: bytes, wait: float = 2.0) -> bytes:
        """Sends, and gives the answer; empty when there is none."""
        self.socket.sendto(datagram, self.to)
        return self.hear(wait)

    def hear(self, wait: float) -> bytes:
        self.socket.settimeout(wait)
        try:
            answer, self.to = self.socket.recvfrom(70_000)
        except TimeoutError:
            return b""
        return answer


def quarantined(canary: Canary, name: str) -> bytes:
    """The file in the quarantine whose name ends so."""
    deadline = time.monotonic() + 5
    while True:
        found = [path for path in (canary.directory / "state/quarantine").glob("*") if path.name.endswith(name)]
        if found:
            return found[0].read_bytes()
        assert time.monotonic() < deadline, f"nothing kept as {name}"
        time.sleep(0.05)


# -- tftp-hpa's client -----------------------------------------------------------------------------


def tftp(canary: Canary, *command: str, mode: str = "octet") -> str:
    return run("tftp", "-m", mode, LOOPBACK, str(canary.ports["tftp"]), "-c", *command, timeout=60)


@check("tftp: tftp-hpa reads a decoy, a stranger without options")
def _(canary: Canary) -> None:
    needs("tftp")
    with playing(canary) as fresh:
        output = tftp(fresh, "get", "startup-config", "got-config")
        content = (SCRATCH / "got-config").read_text()
        assert "hostname sw-core-1\n" in content and content.endswith("\nend\n"), (output, content)
        event = fresh.logged(0, 10001, {"FILENAME": "startup-config", "MODE": "octet", "OPCODE": "READ"}, output)
        assert set(event["logdata"]) == KEYS, event
        done = fresh.logged(0, 31801, {"FILENAME": "startup-config"}, output)["logdata"]
        assert done["COMPLETE"] is True and done["BYTES"] == len(content), done


@check("tftp: tftp-hpa, netascii")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = tftp(canary, "get", "pxelinux.cfg/default", "got-menu", mode="netascii")
    assert (SCRATCH / "got-menu").read_text().startswith("DEFAULT vesamenu.c32\n"), output
    canary.logged(mark, 10001, {"FILENAME": "pxelinux.cfg/default", "MODE": "netascii"}, output)


@check("tftp: tftp-hpa, a file that is not there")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = tftp(canary, "get", "shadow.bak", "got-nothing")
    assert "File not found" in output, output
    canary.logged(mark, 10001, {"FILENAME": "shadow.bak", "OPCODE": "READ"}, output)


@check("tftp: tftp-hpa uploads")
def _(canary: Canary) -> None:
    payload = os.urandom(3000)
    (SCRATCH / "implant").write_bytes(payload)
    mark = canary.mark()
    output = tftp(canary, "put", "implant", "implant.bin")
    canary.logged(mark, 10001, {"FILENAME": "implant.bin", "MODE": "octet", "OPCODE": "WRITE"}, output)
    done = canary.logged(mark, 31802, {"FILENAME": "implant.bin"}, output)["logdata"]
    assert done["SHA256"] == hashlib.sha256(payload).hexdigest() and done["COMPLETE"] is True, done
    assert quarantined(canary, f"-{done['QUARANTINE']}") == payload


# -- curl ------------------------------------------------------------------------------------------


def curl(canary: Canary, *options: str, path: str) -> str:
    url = f"tftp://{LOOPBACK}:{canary.ports['tftp']}/{path}"
    return run("curl", "-q", "-sS", "-v", "--max-time", "20", *options, url, timeout=60)


@check("tftp: curl reads a decoy, a stranger with options")
def _(canary: Canary) -> None:
    with playing(canary) as fresh:
        output = curl(fresh, "-o", str(SCRATCH / "curl-config"), "--tftp-blksize", "1428", path="running-config")
        assert "hostname sw-core-1\n" in (SCRATCH / "curl-config").read_text(), output
        fresh.logged(0, 10001, {"FILENAME": "running-config", "OPCODE": "READ"}, output)
        options = fresh.logged(0, 31800, {"FILENAME": "running-config"}, output)["logdata"]["OPTIONS"]
        assert "blksize=1428" in options and "tsize=0" in options, options
        assert fresh.logged(0, 31801, {})["logdata"]["COMPLETE"] is True


@check("tftp: curl, a file that is not there")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = curl(canary, path="no/such-file")
    assert "File Not Found" in output or "not found" in output.lower(), output
    canary.logged(mark, 10001, {"FILENAME": "no/such-file", "MODE": "octet", "OPCODE": "READ"}, output)


@check("tftp: curl uploads")
def _(canary: Canary) -> None:
    payload = b"#!/bin/sh\n" + os.urandom(20_000)
    (SCRATCH / "script.sh").write_bytes(payload)
    mark = canary.mark()
    output = curl(canary, "-T", str(SCRATCH / "script.sh"), path="cgi-bin/script.sh")
    done = canary.logged(mark, 31802, {"FILENAME": "cgi-bin/script.sh"}, output)["logdata"]
    assert done["SHA256"] == hashlib.sha256(payload).hexdigest() and done["BYTES"] == len(payload), done
    assert quarantined(canary, f"-{done['QUARANTINE']}") == payload


@check("tftp: curl uploads too much")
def _(canary: Canary) -> None:
    with playing(canary, max_upload_kb=4) as small:
        (SCRATCH / "large").write_bytes(b"x" * 10_000)
        output = curl(small, "-T", str(SCRATCH / "large"), path="large")
        done = small.logged(0, 31802, {"FILENAME": "large", "REASON": "too large"}, output)["logdata"]
        assert done["COMPLETE"] is False, done
        assert len(quarantined(small, f"-{done['QUARANTINE']}")) == 4096
        assert "isk full" in output, output


@check("tftp: no uploads")
def _(canary: Canary) -> None:
    with playing(canary, uploads=False) as closed:
        (SCRATCH / "script.sh").write_bytes(b"#!/bin/sh\n")
        output = curl(closed, "-T", str(SCRATCH / "script.sh"), path="x/script.sh")
        closed.logged(0, 10001, {"FILENAME": "x/script.sh", "OPCODE": "WRITE"}, output)
        assert "not found" in output.lower(), output
        assert not list((closed.directory / "state").glob("quarantine/*"))


# -- nmap ------------------------------------------------------------------------------------------


def nmap(canary: Canary, *options: str) -> str:
    needs("nmap")
    if os.geteuid():
        raise Skip("nmap scans UDP as root only")
    return run("nmap", "-sU", "-Pn", "-n", "-p", str(canary.ports["tftp"]), *options, LOOPBACK, timeout=180)


@check("tftp: nmap sees what it sees of tftpd-hpa")
def _(canary: Canary) -> None:
    output = nmap(canary, "-sV", "--version-intensity", "3")
    assert re.search(r"udp +open\|filtered", output), output
    assert "unrecognized" not in output, output


@check("tftp: nmap, tftp-enum")
def _(canary: Canary) -> None:
    # The script closes its socket before it listens again at the same port, so over the loopback most
    # answers come too early, tftpd-hpa's too; then it asks for no name but its first, a random one.
    words = SCRATCH / "tftp-names"
    words.write_text("startup-config\nno-such-file.cfg\n")
    mark = canary.mark()
    output = nmap(canary, "--script", "+tftp-enum", "--script-args", f"tftp-enum.filelist={words}")
    event = canary.logged(mark, 10001, {"MODE": "octet", "OPCODE": "READ"}, output)
    assert re.fullmatch(r"\w{8}", event["logdata"]["FILENAME"]), event


# -- sockets ---------------------------------------------------------------------------------------


@check("tftp: errors come from a new port, and no larger than what was sent")
def _(canary: Canary) -> None:
    with playing(canary) as fresh, Peer(fresh) as peer:
        assert peer.say(request(1, b"a", b"octet")) == b"\0\5\0\1\0", "the text would be more than was sent"
        peer.to = peer.server
        answer = peer.say(request(1, b"nofile.bin", b"octet"))
        assert answer == b"\0\5\0\1File not found\0", answer
        peer.to = peer.server
        answer = peer.say(request(1, b"name-that-is-long-enough", b"netbios"))
        assert answer == b"\0\5\0\4Unknown mode\0", answer
        assert peer.to[1] != fresh.ports["tftp"], "the answer came from the port that was asked"


@check("tftp: a stranger who never answers gets less than it sent")
def _(canary: Canary) -> None:
    with playing(canary) as fresh, Peer(fresh) as peer:
        sent = got = 0
        for _ in range(5):
            for ask in (
                request(1, b"startup-config", b"octet"),
                request(1, b"startup-config", b"octet", b"tsize", b"0", b"blksize", b"65464"),
                request(2, b"upload", b"octet"),
                b"\0\1x\0",
            ):
                peer.to = peer.server
                answer = peer.say(ask, 0.1)
                sent += len(ask)
                while answer:
                    got += len(answer)
                    answer = peer.hear(0.05)
        assert 0 < got <= sent, f"{got} bytes for {sent}"


@check("tftp: a source that is known from TCP gets its first block at once")
def _(canary: Canary) -> None:
    if canary.kind == "opencanary":
        raise Skip("OpenCanary never answers")
    with Canary(canary.bin_dir, SETTINGS, services=("tftp", "redis")) as both, Peer(both) as peer:
        with connect(both.ports["redis"]) as other:
            other.sendall(b"PING\r\n")
            assert other.recv(100)
        answer = peer.say(request(1, b"startup-config", b"octet"))
        assert len(answer) == 516 and answer[:4] == b"\0\3\0\1", answer[:20]


@check("tftp: lost packets are sent again")
def _(canary: Canary) -> None:
    with Peer(canary) as peer:
        oack = peer.say(request(1, b"startup-config", b"octet", b"blksize", b"512"))
        assert oack == b"\0\6blksize\x00512\0", oack
        first = peer.say(b"\0\4\0\0")
        assert peer.say(b"\0\4\0\0") == first and first[:4] == b"\0\3\0\1"
        assert peer.say(b"\0\4\0\1")[:4] == b"\0\3\0\2"
        assert peer.say(b"\0\4\0\5", 0.3) == b""


@check("tftp: whatever is no request is told")
def _(canary: Canary) -> None:
    for datagram in (b"\0", b"\0\x09x\0", b"\0\1noterm", os.urandom(40), b"\xff" * 9000, b"\0\4\0\1"):
        mark = canary.mark()
        with Peer(canary) as peer:
            peer.say(datagram, 0.1)
        canary.logged(mark, 31803, {})
    mark = canary.mark()
    with Peer(canary) as peer:
        peer.say(request(1, b"caf\xe9", b"octet"), 0.2)
    canary.logged(mark, 10001, {"FILENAME": "caf\\xe9"})
