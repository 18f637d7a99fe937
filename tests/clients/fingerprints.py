"""Fingerprints of real clients, next to what tshark and ja4plus make of the same packets.

A capture on the loopback interface runs while the clients do. JA3 and HASSH are compared with tshark's, JA4 and
JA4H with those that ja4plus computes from the captured bytes. What needs no capture is checked without root, too.
"""

from __future__ import annotations

import ftplib
import http.client
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
import pymysql
import requests
from impacket import tds
from scapy.all import IP, TCP, Raw
from scapy.utils import rdpcap

from canary import (
    LOOPBACK,
    Canary,
    Event,
    Report,
    Skip,
    arguments,
    chosen_bin_dir,
    connect,
    needs,
    read_quiet,
    read_until,
    unverified_tls,
)
from client_programs import SCRATCH, run
from real_ssh import SSH_OPTIONS
from service_mssql import Inside as InTds
from service_rdp import request as rdp_request
from service_vnc import vencrypt

SERVICES = ("https", "ftp", "mysql", "mssql", "rdp", "vnc", "http", "httpproxy", "ssh")
DISSECTORS = {"https": "tls", "ftp": "tls", "mysql": "mysql", "mssql": "tds", "rdp": "tls", "vnc": "tls", "ssh": "ssh"}
"""What tshark is to take each service's port for. It follows MySQL and TDS into TLS; the others begin it in a segment
of its own, where it needs to know nothing else."""

REQUESTS = {"http": 30200, "httpproxy": 31400}
"""The log types that stand for one request each."""

SETTINGS: dict[str, Any] = {
    "ftp.tls": True,
    "vnc.blacklist": 0,
    "vnc.security_types": "X509Plain,VncAuth",
    "vnc.login_delay": 0,
}

Drive = Callable[[Canary], None]
Peer = tuple[int, int]
"""The client's port and the service's."""

CLIENTS: list[tuple[str, str, Drive]] = []


def client(service: str, name: str) -> Callable[[Drive], Drive]:
    """Adds a client of that service."""

    def add(drive: Drive) -> Drive:
        CLIENTS.append((f"{service}: {name}", service, drive))
        return drive

    return add


# -- clients ---------------------------------------------------------------------------------------


def url(canary: Canary, service: str, path: str = "/") -> str:
    return f"{service}://{LOOPBACK}:{canary.ports[service]}{path}"


def curl(*options: str) -> None:
    run("curl", "-q", "-sS", "-k", "-m", "15", "--noproxy", "*", "-o", "/dev/null", *options)


def openssl(canary: Canary, service: str, *options: str) -> None:
    address = f"{LOOPBACK}:{canary.ports[service]}"
    run("openssl", "s_client", "-connect", address, *options, stdin="Q\n", timeout=15)


for _name, _options in {
    "curl": (),
    "curl, TLS 1.2 at most": ("--tls-max", "1.2"),
    "curl, TLS 1.3 alone": ("--tlsv1.3",),
    "curl without ALPN": ("--no-alpn",),
    "curl to a name": ("--resolve", "nas.example:{port}:127.0.0.1"),
}.items():

    @client("https", _name)
    def _(canary: Canary, options: tuple[str, ...] = _options) -> None:
        port = canary.ports["https"]
        named = f"https://nas.example:{port}/" if "--resolve" in options else url(canary, "https")
        curl(*(option.format(port=port) for option in options), named)


for _name, _options in {
    "openssl": ("-noservername",),
    "openssl, TLS 1.2 with ALPN": ("-tls1_2", "-alpn", "h2,http/1.1", "-servername", "nas.example"),
    "openssl, one cipher and one group": ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-curves", "P-256"),
    "openssl, a second hello": ("-groups", "P-521:X25519"),
    "openssl, TLS 1.0, which is refused": ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
    "openssl, no cipher in common": ("-tls1_2", "-cipher", "CAMELLIA:@SECLEVEL=0"),
}.items():

    @client("https", _name)
    def _(canary: Canary, options: tuple[str, ...] = _options) -> None:
        openssl(canary, "https", *options)


@client("https", "Python's ssl")
def _(canary: Canary) -> None:
    context = unverified_tls()
    context.set_alpn_protocols(["x", "http/1.1"])
    with context.wrap_socket(connect(canary.ports["https"]), server_hostname="nas.example") as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read_quiet(peer)


@client("https", "requests")
def _(canary: Canary) -> None:
    requests.get(url(canary, "https"), verify=False, timeout=15)


@client("https", "a client that goes away behind its hello")
def _(canary: Canary) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = unverified_tls().wrap_bio(incoming, outgoing)
    with suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    with connect(canary.ports["https"]) as peer:
        peer.sendall(outgoing.read())
        peer.recv(5)


@client("ftp", "openssl")
def _(canary: Canary) -> None:
    openssl(canary, "ftp", "-starttls", "ftp", "-noservername")


@client("ftp", "ftplib")
def _(canary: Canary) -> None:
    with ftplib.FTP_TLS(context=unverified_tls()) as peer, suppress(ftplib.error_perm, EOFError):
        peer.connect(LOOPBACK, canary.ports["ftp"], 15)
        peer.login("user", "by ftplib")


@client("ftp", "curl")
def _(canary: Canary) -> None:
    curl("--ssl-reqd", "-u", "user:by curl", url(canary, "ftp"))


@client("mysql", "openssl")
def _(canary: Canary) -> None:
    openssl(canary, "mysql", "-starttls", "mysql", "-noservername")


@client("mysql", "mariadb")
def _(canary: Canary) -> None:
    port = str(canary.ports["mysql"])
    run("mariadb", "--ssl", "-h", LOOPBACK, "-P", port, "-u", "root", "-pby-mariadb", "-e", "SELECT 1")


@client("mysql", "PyMySQL")
def _(canary: Canary) -> None:
    with suppress(pymysql.err.OperationalError):
        pymysql.connect(
            host=LOOPBACK,
            port=canary.ports["mysql"],
            user="root",
            password="x",
            ssl=unverified_tls(),
            connect_timeout=15,
        )


@client("mssql", "tsql")
def _(canary: Canary) -> None:
    run("tsql", "-H", LOOPBACK, "-p", str(canary.ports["mssql"]), "-U", "sa", "-P", "by tsql", stdin="quit\n")


@client("mssql", "impacket")
def _(canary: Canary) -> None:
    peer = tds.MSSQL(LOOPBACK, canary.ports["mssql"])
    peer.connect()
    peer.login(None, "sa", "by impacket", "", None, False)
    peer.disconnect()


@client("mssql", "Python's ssl in TDS")
def _(canary: Canary) -> None:
    with connect(canary.ports["mssql"]) as peer:
        InTds(peer, 1)


@client("rdp", "Python's ssl")
def _(canary: Canary) -> None:
    with connect(canary.ports["rdp"]) as peer:
        peer.sendall(rdp_request(protocols=1))
        assert read_quiet(peer)[-4:] == struct.pack("<I", 1), "TLS is not taken"
        with unverified_tls().wrap_socket(peer):
            pass


@client("rdp", "xfreerdp")
def _(canary: Canary) -> None:
    needs("xfreerdp", "xvfb-run")
    address = f"/v:{LOOPBACK}:{canary.ports['rdp']}"
    run("xvfb-run", "-a", "xfreerdp", address, "/cert:ignore", "/sec:nla", "/u:x", "/d:", "/p:y", timeout=30)


@client("vnc", "Python's ssl in VeNCrypt")
def _(canary: Canary) -> None:
    with vencrypt(canary, 262) as peer:
        peer.sendall(struct.pack("!II", 4, 4) + b"userpass")
        read_quiet(peer)


COOKIES = "zz=1; a-b=2; a=3"

for _name, _options in {
    "curl": (),
    "curl, HTTP/1.0": ("-0",),
    "curl with cookies, languages and a referer": (
        "-b", COOKIES, "-H", "Accept-Language: de-CH, de;q=0.9", "-e", "http://nas.example/",
    ),
    "curl with a form": ("-d", "username=a&password=b"),
    "curl with a method of its own": ("-X", "propfind", "-H", "accept-language: fr;q=1", "-H", "Depth: 1"),
}.items():  # fmt: skip

    @client("http", _name)
    def _(canary: Canary, options: tuple[str, ...] = _options) -> None:
        curl(*options, url(canary, "http", "/index.html"))


@client("http", "two requests on one connection")
def _(canary: Canary) -> None:
    with requests.Session() as session:
        session.get(url(canary, "http"), timeout=15)
        session.get(url(canary, "http", "/a"), headers={"Cookie": "b=1; a=2", "Referer": "x"}, timeout=15)


@client("http", "http.client with a header twice")
def _(canary: Canary) -> None:
    peer = http.client.HTTPConnection(LOOPBACK, canary.ports["http"], timeout=15)
    peer.putrequest("OPTIONS", "/")
    for name, value in (("X-y", "1"), ("x-Y", "2"), ("ACCEPT-LANGUAGE", "en-us")):
        peer.putheader(name, value)
    peer.endheaders()
    peer.getresponse().read()
    peer.close()


@client("httpproxy", "curl")
def _(canary: Canary) -> None:
    proxy = f"http://{LOOPBACK}:{canary.ports['httpproxy']}"
    for target in ("http://example.test/", "https://example.test/"):
        run("curl", "-q", "-sS", "-m", "15", "--noproxy", "", "-x", proxy, "-U", "user:pass", target)


@client("ssh", "OpenSSH")
def _(canary: Canary) -> None:
    run("ssh", *SSH_OPTIONS, "-o", "BatchMode=yes", "-p", str(canary.ports["ssh"]), f"root@{LOOPBACK}", "true")


@client("ssh", "OpenSSH with one cipher")
def _(canary: Canary) -> None:
    options = ("-o", "BatchMode=yes", "-c", "aes256-ctr", "-m", "hmac-sha2-512", "-o", "Compression=yes")
    run("ssh", *SSH_OPTIONS, *options, "-p", str(canary.ports["ssh"]), f"root@{LOOPBACK}", "true")


@client("ssh", "paramiko")
def _(canary: Canary) -> None:
    with paramiko.SSHClient() as peer, suppress(paramiko.SSHException):
        peer.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        peer.connect(LOOPBACK, canary.ports["ssh"], "root", "x", allow_agent=False, look_for_keys=False, timeout=15)


# -- the capture -----------------------------------------------------------------------------------


@dataclass
class Captured:
    """What others make of the packets, by connection."""

    ja3: dict[Peer, str]
    hassh: dict[Peer, str]
    streams: dict[Peer, bytes]
    """What each client sent."""


@contextmanager
def capturing(ports: Iterable[int], file: Path) -> Iterator[None]:
    """Writes the packets of these ports on the loopback interface into a file."""
    words = " or ".join(f"port {port}" for port in ports)
    command = ["dumpcap", "-q", "-i", "lo", "-f", f"tcp and ({words})", "-w", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as dumpcap:
        assert dumpcap.stderr
        said = ""
        # It names the file once packets are coming in.
        while "File:" not in said:
            line = dumpcap.stderr.readline()
            if not line:
                raise Skip(f"there is no capture: {said.strip()}")
            said += line
        try:
            yield
            time.sleep(0.5)
        finally:
            dumpcap.send_signal(signal.SIGINT)
            dumpcap.communicate(timeout=15)


def tshark(canary: Canary, file: Path, filter: str, field: str) -> dict[Peer, str]:
    """The first value of a field in each connection."""
    decode = [word for name, kind in DISSECTORS.items() for word in ("-d", f"tcp.port=={canary.ports[name]},{kind}")]
    fields = ("-T", "fields", "-E", "occurrence=f", "-e", "tcp.srcport", "-e", "tcp.dstport", "-e", field)
    done = subprocess.run(
        ["tshark", "-r", str(file), *decode, "-Y", filter, *fields],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[Peer, str] = {}
    for line in done.stdout.splitlines():
        source, target, value = line.split("\t")
        if int(target) in canary.ports.values():
            found.setdefault((int(source), int(target)), value)
    return found


def client_streams(file: Path, ports: set[int]) -> dict[Peer, bytes]:
    """What each client sent; segments that came again are taken once."""
    pieces: dict[Peer, dict[int, bytes]] = {}
    begins: dict[Peer, int] = {}
    for packet in rdpcap(str(file)):
        tcp = packet[TCP]
        peer = (tcp.sport, tcp.dport)
        if tcp.dport not in ports:
            continue
        if tcp.flags.S:
            begins[peer] = tcp.seq + 1
        payload = bytes(tcp.payload)
        if payload and peer in begins:
            pieces.setdefault(peer, {})[(tcp.seq - begins[peer]) % 2**32] = payload
    streams = {}
    for peer, parts in pieces.items():
        data = b""
        for place, part in sorted(parts.items()):
            assert place <= len(data), f"the capture has a gap at byte {len(data)} of {peer}"
            data = data[:place] + part
        streams[peer] = data
    return streams


def ja4(stream: bytes) -> str | None:
    """JA4 of the first hello in what a client sent, by ja4plus."""
    from ja4plus.fingerprinters.ja4 import generate_ja4
    from ja4plus.utils.tls_utils import parse_tls_handshake

    at = stream.find(b"\x16\x03")
    while at >= 0 and stream[at + 5 : at + 6] != b"\1":
        at = stream.find(b"\x16\x03", at + 1)
    hello = parse_tls_handshake(stream[at:]) if at >= 0 else None
    value: str | None = generate_ja4(hello) if hello else None
    return value


def ja4h(stream: bytes) -> list[str]:
    """JA4H of each request in what a client sent, by ja4plus."""
    from ja4plus.fingerprinters.ja4h import JA4HFingerprinter

    heads = [head + b"\r\n\r\n" for head in stream.split(b"\r\n\r\n") if head]
    packets = (IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=1, dport=80) / Raw(head) for head in heads)
    prints = (JA4HFingerprinter().process_packet(packet) for packet in packets)
    return [value for value in prints if value]


# -- comparison ------------------------------------------------------------------------------------


def fingerprint(event: Event) -> dict[str, Any]:
    value: dict[str, Any] = event.get("aviary", {}).get("fingerprint", {})
    return value


def peer_of(event: Event) -> Peer:
    return (event.get("src_port", -1), event.get("dst_port", -1))


def compare_tls(captured: Captured, peer: Peer, events: list[Event]) -> None:
    """Every event of the connection since its hello has both fingerprints."""
    prints = {(fingerprint(event).get("ja3"), fingerprint(event).get("ja4")) for event in events}
    prints.discard((None, None))
    wanted = ja4(captured.streams[peer])
    assert len(prints) == 1, f"{prints} in {[event['logtype'] for event in events]}, where ja4plus has {wanted}"
    ours = prints.pop()
    assert ours[1] == wanted, f"JA4 {ours[1]}, ja4plus {wanted}"
    assert ours[0] == captured.ja3.get(peer), f"JA3 {ours[0]}, tshark {captured.ja3.get(peer)}"
    last = fingerprint(events[-1])
    assert "ja4" in last, f"the last event has no fingerprint: {events[-1]}"


def compare_http(captured: Captured, peer: Peer, events: list[Event], logtype: int) -> None:
    wanted = ja4h(captured.streams[peer])
    ours = [fingerprint(event).get("ja4h") for event in events if event["logtype"] == logtype]
    assert wanted and ours == wanted, f"JA4H {ours}, ja4plus {wanted}"


def compare_ssh(captured: Captured, peer: Peer, events: list[Event]) -> None:
    ours = {fingerprint(event).get("hassh") for event in events if event["logtype"] != 4000}
    assert ours == {captured.hassh[peer]}, f"HASSH {ours}, tshark {captured.hassh[peer]}"


def compare(canary: Canary, captured: Captured, service: str, peers: set[Peer]) -> None:
    """All connections of a client."""
    port = canary.ports[service]
    assert peers, f"no event names port {port}"
    compared = 0
    for peer in sorted(peers):
        own = [event for event in canary.events() if peer_of(event) == peer]
        assert peer in captured.streams, f"{peer} is not in the capture"
        if service in REQUESTS:
            compare_http(captured, peer, own, REQUESTS[service])
        elif service == "ssh":
            compare_ssh(captured, peer, own)
        elif ja4(captured.streams[peer]):
            compare_tls(captured, peer, own)
        else:
            assert not any("ja4" in fingerprint(event) for event in own), own
            continue
        compared += 1
    assert compared, "no connection had a hello"


def drive(canary: Canary, chosen: list[tuple[str, str, Drive]]) -> tuple[dict[str, set[Peer]], dict[str, str]]:
    """Runs the clients; the connections that each brought, and why one did not run."""
    seen: dict[str, set[Peer]] = {}
    known: set[Peer] = set()
    skipped: dict[str, str] = {}
    for name, service, body in chosen:
        mark = canary.mark()
        try:
            body(canary)
        except Skip as reason:
            skipped[name] = str(reason)
            continue
        except Exception as error:
            # What it sent until then is compared all the same, and the message tells why nothing was.
            print(f"note: {name}: {type(error).__name__}: {error}", flush=True)
        port = canary.ports[service]
        new = lambda event, port=port: event.get("dst_port") == port and peer_of(event) not in known  # noqa: E731
        canary.wait_for(new, mark)
        seen[name] = {peer_of(event) for event in canary.settle(mark, quiet=0.25) if new(event)}
        known.update(seen[name])
    # Connections of before may still be told of.
    canary.settle(quiet=0.5)
    return seen, skipped


def with_capture(canary: Canary, report: Report, only: str) -> None:
    """Each client next to what others make of its packets."""
    chosen = [one for one in CLIENTS if only in one[0]]
    file = SCRATCH / "lo.pcapng"
    try:
        needs("tshark", "dumpcap")
        if os.geteuid() != 0:
            raise Skip("only root captures packets")
        with capturing(canary.ports.values(), file):
            seen, skipped = drive(canary, chosen)
    except Skip as reason:
        for name, _, _ in chosen:
            report.skip(name, str(reason))
        return
    hellos = "tls.handshake.type == 1"
    captured = Captured(
        tshark(canary, file, hellos, "tls.handshake.ja3"),
        tshark(canary, file, "ssh.kex.hassh", "ssh.kex.hassh"),
        client_streams(file, set(canary.ports.values())),
    )
    for name, service, _ in chosen:
        if name in skipped:
            report.skip(name, skipped[name])
        else:
            report.check(name, lambda name=name, service=service: compare(canary, captured, service, seen[name]))  # type: ignore[misc]
    if not only:
        report.check("every hello that tshark found is in an event", lambda: every_hello(canary, captured))


def every_hello(canary: Canary, captured: Captured) -> None:
    told = {(peer_of(event), fingerprint(event).get("ja3")) for event in canary.events()}
    missing = [one for one in captured.ja3.items() if one not in told]
    assert captured.ja3 and not missing, missing


# -- without a capture -----------------------------------------------------------------------------


def prints_of(canary: Canary, port: int, body: Callable[[], None], key: str) -> str:
    """The fingerprint that events of one client carry."""
    mark = canary.mark()
    body()
    event = canary.wait_for(lambda e: e.get("dst_port") == port and key in fingerprint(e), mark)
    assert event, f"no event with {key}; there are {[e['logtype'] for e in canary.events(mark)]}"
    value: str = fingerprint(event)[key]
    return value


def one_client_one_fingerprint(canary: Canary) -> None:
    """OpenSSL says the same hello inside each protocol."""
    found = {}
    for service, *options in (("https",), ("ftp", "-starttls", "ftp"), ("mysql", "-starttls", "mysql")):
        for key in ("ja3", "ja4"):
            body = lambda service=service, options=options: openssl(canary, service, "-noservername", *options)  # noqa: E731
            found[service, key] = prints_of(canary, canary.ports[service], body, key)
    assert len(set(found.values())) == 2, found


def one_request_one_fingerprint(canary: Canary) -> None:
    """curl asks with the same head inside TLS and outside."""
    found = [
        prints_of(
            canary, canary.ports[service], lambda service=service: curl("-b", "a=b", url(canary, service)), "ja4h"
        )
        for service in ("http", "https")
    ]
    assert found[0] == found[1] and found[0].startswith("ge11cn03"), found


def no_hello_no_fingerprint(canary: Canary) -> None:
    """SSL 2, a plain request and an alert on the TLS port."""
    for sent in (
        b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + bytes(37),
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x15\x03\x01\0\2\1\0",
    ):
        mark = canary.mark()
        with connect(canary.ports["https"]) as peer:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            read_until(peer, b"never")
        events = canary.settle(mark, at_least=1)
        assert events and not any({"ja3", "ja4"} & fingerprint(event).keys() for event in events), events


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="NAME", default="", help="only checks whose name contains the text")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    if not bin_dir:
        parser.error("OpenCanary makes no fingerprints")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]
    report = Report()
    try:
        with Canary(bin_dir, SETTINGS, services=SERVICES) as canary:
            with_capture(canary, report, options.only)
            for body in (one_client_one_fingerprint, one_request_one_fingerprint, no_hello_no_fingerprint):
                name = body.__name__.replace("_", " ")
                if options.only in name:
                    report.check(name, lambda body=body: body(canary))  # type: ignore[misc]
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
