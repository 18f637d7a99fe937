"""NTP by real clients: ntpdate, ntpdig, ntpq, chronyd, nmap and its scripts, and packets of one's own."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import time
from typing import Any

from canary import LOOPBACK, Canary, Skip, listening_ports, needs
from check_list import Checks
from client_programs import SCRATCH, run
from datagram_messages import ask, ntp_query, tell

SERVICES = ["ntp"]
SETTINGS: dict[str, Any] = {"ntp.stratum": 3, "ntp.refid": "192.0.2.123"}
CHECKS = Checks()
check = CHECKS.add

EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970."""
ADDRESS = "127.0.0.123"
"""Where a canary listens on port 123, for clients that know no other."""
MONLIST = b"\x17\x00\x03\x2a" + bytes(4)


class StandardPort:
    """A canary on port 123 of an address that nobody else has."""

    def __init__(self, canary: Canary) -> None:
        if os.geteuid():
            raise Skip("port 123 takes root, and these clients know no other")
        settings = SETTINGS | {"ntp.enabled": True, "ntp.port": "123", "device.listen_addr": ADDRESS}
        self.canary = Canary(canary.bin_dir, settings, services=["ftp"])

    def __enter__(self) -> Canary:
        canary = self.canary.__enter__()
        deadline = time.monotonic() + 10
        while not ask_there():
            assert time.monotonic() < deadline and canary.alive(), canary.last_output()
        return canary

    def __exit__(self, *reason: object) -> None:
        self.canary.__exit__(*reason)


def ask_there() -> bytes:
    """An answer from port 123, if anybody answers there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(0.2)
        try:
            peer.connect((ADDRESS, 123))
            peer.send(ntp_query())
            return peer.recv(100)
        except OSError:
            return b""


def unix(stamp: bytes) -> float:
    seconds, fraction = struct.unpack(">II", stamp)
    return float(seconds - EPOCH) + fraction / 2**32


@check("ntp: a monlist as in OpenCanary's example line")
def _(canary: Canary) -> None:
    mark = canary.mark()
    assert ask(canary.ports["ntp"], MONLIST, timeout=0.5) == b""
    event = canary.logged(mark, 11001, {})
    assert event["logdata"] == {"NTP CMD": "monlist"}, event
    canary.logged(mark, 31602, {"IMPLEMENTATION": "XNTPD", "REQUEST": "MON_GETLIST_1"})


@check("ntp: the answer to a raw query is right in every field")
def _(canary: Canary) -> None:
    for version in (1, 2, 3, 4):
        transmit = os.urandom(8)
        before = time.time()
        answer = ask(canary.ports["ntp"], ntp_query(version << 3 | 3, transmit))
        after = time.time()
        assert len(answer) == 48, answer
        first, stratum, _poll, precision = struct.unpack(">BBbb", answer[:4])
        assert (first, stratum, precision) == (version << 3 | 4, 3, -25), answer[:4]
        delay, dispersion = struct.unpack(">II", answer[4:12])
        assert 0 < delay < 65536 and 0 < dispersion < 65536, answer[4:12]
        assert answer[12:16] == bytes([192, 0, 2, 123]) and answer[24:32] == transmit
        reference, received, sent = unix(answer[16:24]), unix(answer[32:40]), unix(answer[40:48])
        assert before - 1025 < reference <= received < sent, (reference, received, sent)
        assert before - 0.001 < received and sent < after + 0.001, (before, received, sent, after)


@check("ntp: ntpdate asks and believes")
def _(canary: Canary) -> None:
    needs("ntpdate")
    with StandardPort(canary) as server:
        said = run("ntpdate", "-q", ADDRESS)
        found = re.search(r"([+-]\d+\.\d+) \+/- (\d+\.\d+) 127\.0\.0\.123 s3", said)
        assert found and abs(float(found[1])) < 0.05, said
        server.logged(0, 31600, {}, said)


@check("ntp: ntpdig asks four times and reports what it got")
def _(canary: Canary) -> None:
    needs("ntpdig")
    with StandardPort(canary) as server:
        said = run("ntpdig", "-j", "-p", "4", ADDRESS)
        assert '"stratum":3' in said and f'"ip":"{ADDRESS}"' in said, said
        assert len(server.settle(at_least=5)) >= 5, said


@check("ntp: ntpq gets no answer and is reported")
def _(canary: Canary) -> None:
    needs("ntpq")
    with StandardPort(canary) as server:
        said = run("ntpq", "-c", "rv", ADDRESS, timeout=60)
        assert "timed out" in said.lower(), said
        server.logged(0, 31601, {"OPERATION": "read variables"}, said)


@check("ntp: chronyd synchronises")
def _(canary: Canary) -> None:
    needs("chronyd")
    said = run(
        "chronyd", "-d", "-x", "-u", "root", "-Q", "-t", "15", "-f", "/dev/null",
        f"server {LOOPBACK} port {canary.ports['ntp']} iburst", "bindcmdaddress /", "cmdport 0",
        f"pidfile {SCRATCH}/chronyd.pid", timeout=30,
    )  # fmt: skip
    found = re.search(r"System clock wrong by (-?\d+\.\d+) seconds", said)
    assert found and abs(float(found[1])) < 0.02, said


@check("ntp: nmap names it as it names chrony, and reads the time")
def _(canary: Canary) -> None:
    mark = canary.mark()
    said = run(
        "nmap", "-sU", "-sV", "-Pn", "-n", "-p", str(canary.ports["ntp"]), "--script", "ntp-info,ntp-monlist",
        LOOPBACK, timeout=200,
    )  # fmt: skip
    assert re.search(r"open +ntp +NTP v4 \(secondary server\)", said) and "receive time stamp" in said, said
    # Both scripts try the control messages and the monlist.
    canary.logged(mark, 31601, {"OPERATION": "read variables"}, said)
    canary.logged(mark, 11001, {"NTP CMD": "monlist"}, said)


@check("ntp: control and private messages are reported and not answered")
def _(canary: Canary) -> None:
    port = canary.ports["ntp"]
    mark = canary.mark()
    for message in (
        b"\x16\x02\x00\x01" + bytes(8),
        b"\x16\x08\x00\x01\x00\x00\x00\x00\x00\x00\x00\x10" + b"server 192.0.2.1",
        b"\x16\x0a\x00\x01" + bytes(8),
        b"\x17\x00\x02\x14" + bytes(44),
        b"\x17\x00\x03\x10" + bytes(4),
        b"\x97\x00\x03\x2a" + bytes(4),
    ):
        assert ask(port, message, timeout=0.2) == b"", message
    canary.logged(mark, 31601, {"OPERATION": "configure", "DATA": "server 192.0.2.1"})
    canary.logged(mark, 31601, {"OPERATION": "read MRU list"})
    canary.logged(mark, 31602, {"IMPLEMENTATION": "XNTPD_OLD", "REQUEST": "MON_GETLIST"})
    canary.logged(mark, 31602, {"REQUEST": "GET_RESTRICT"})


@check("ntp: no answer is longer than its request")
def _(canary: Canary) -> None:
    port = canary.ports["ntp"]
    draw = random.Random(123)
    for number in range(120):
        size = draw.choice([1, 4, 8, 12, 47, 48, 49, 52, 68, 72, 76, 500])
        packet = bytes([draw.randrange(256)]) + draw.randbytes(size - 1)
        if number % 3 == 0:
            packet = ntp_query(draw.randrange(256)) + draw.randbytes(size % 64)
        answer = ask(port, packet, f"127.0.0.{30 + number % 10}", timeout=0.05)
        assert len(answer) in (0, 48) and len(answer) <= len(packet), (packet, answer)


@check("ntp: hostile datagrams")
def _(canary: Canary) -> None:
    port = canary.ports["ntp"]
    mark = canary.mark()
    tell(port, b"", b"x", b"\xc2\x97\x00*", bytes(65_000), b"\x23" + bytes(47) + b"\xfa\xfa\xff\xff" + bytes(40), b"\xff" * 1400)
    assert canary.wait_for(lambda e: e["logtype"] == 31603 and e["logdata"].get("DATA") == "x", mark)
    canary.logged(mark, 11001, {"NTP CMD": "monlist"})
    assert ask(port, ntp_query(), timeout=5), "no answer any more"
    assert port in listening_ports()
