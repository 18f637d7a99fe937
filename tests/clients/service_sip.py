"""SIP by real clients over UDP and TCP: sipsak, sipp, nmap and its scripts, hydra, and raw messages."""

from __future__ import annotations

import hashlib
import re
import socket
import time

from canary import LOOPBACK, Canary, Event, connect, read_quiet, read_until
from check_list import Checks
from client_programs import SCRATCH, run

SERVICES = ["sip"]
SETTINGS: dict[str, object] = {"sip.honeycreds": [{"username": "4711", "password": "planted-Pw9"}]}
CHECKS = Checks()
check = CHECKS.add

CRLF = "\r\n"


def message(method: str, port: int, transport: str = "UDP", extra: str = "", user: str = "100", call: str = "") -> bytes:
    """A request as a scanner in Python sends it."""
    call = call or f"{time.time_ns()}@{LOOPBACK}"
    lines = [
        f"{method} sip:{user}@{LOOPBACK}:{port} SIP/2.0",
        f"Via: SIP/2.0/{transport} 127.0.1.1:5062;branch=z9hG4bK-{time.time_ns()};rport",
        "Max-Forwards: 70",
        f'To: "sipvicious"<sip:{user}@1.1.1.1>',
        f'From: "sipvicious"<sip:{user}@1.1.1.1>;tag=63306133363530313363340132303137',
        "User-Agent: friendly-scanner",
        f"Call-ID: {call}",
        f"Contact: sip:{user}@127.0.1.1:5062",
        f"CSeq: 1 {method}",
        "Accept: application/sdp",
    ]
    return (CRLF.join([*lines, *([extra] if extra else []), "Content-Length: 0"]) + CRLF * 2).encode()


def ask(port: int, request: bytes, timeout: float = 3.0) -> str:
    """Sends a datagram and reads one answer; none is an empty text."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(timeout)
        peer.sendto(request, (LOOPBACK, port))
        try:
            return peer.recv(65535).decode()
        except TimeoutError:
            return ""


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def cracks(line: str, password: str) -> bool:
    """What hashcat does in mode 11400, by another hand than Aviary's."""
    fields = line.removeprefix("$sip$*").split("*")
    assert len(fields) == 14, line
    _, _, user, realm, method, scheme, resource, suffix, nonce, cnonce, nc, qop, directive, response = fields
    assert directive == "MD5", line
    uri = ":".join(part for part in (scheme, resource, suffix) if part)
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return md5(f"{md5(f'{user}:{realm}:{password}')}:{middle}:{md5(f'{method}:{uri}')}") == response


def login(canary: Canary, mark: int, user: str, output: str = "") -> Event:
    event = canary.logged(mark, 31701, {"USERNAME": user, "HASHCAT_MODE": 11400}, output)  # type: ignore[dict-item]
    assert event["aviary"]["kind"] == "login", event
    return event


def authorization(method: str, user: str, password: str, challenge: str, uri: str) -> str:
    """The header that answers a challenge, without and with `qop` as it demands."""
    found = dict(re.findall(r'(realm|nonce|opaque|qop)="?([^",\r]+)', challenge))
    secret, request = md5(f"{user}:{found['realm']}:{password}"), md5(f"{method}:{uri}")
    middle = f"{found['nonce']}:00000001:0a4f113b:auth" if "qop" in found else found["nonce"]
    more = ', qop=auth, nc=00000001, cnonce="0a4f113b"' if "qop" in found else ""
    response = md5(f"{secret}:{middle}:{request}")
    return (
        f'Authorization: Digest username="{user}", realm="{found["realm"]}", nonce="{found["nonce"]}", '
        f'uri="{uri}", response="{response}", algorithm=MD5{more}'
    )


@check("sip: sipsak OPTIONS")
def _(canary: Canary) -> None:
    for transport in ("udp", "tcp"):
        mark = canary.mark()
        target = f"sip:100@{LOOPBACK}:{canary.ports['sip']}"
        output = run("sipsak", "-vvv", "-E", transport, "-s", target)
        assert "SIP/2.0 200 OK" in output, output
        assert "Server: FPBX-17" in output or transport == "udp", output
        canary.logged(mark, 31700, {"METHOD": "OPTIONS", "TRANSPORT": transport.upper()}, output)


@check("sip: sipsak REGISTER with a password, cracked")
def _(canary: Canary) -> None:
    mark = canary.mark()
    target = f"sip:100@{LOOPBACK}:{canary.ports['sip']}"
    output = run("sipsak", "-vvv", "-U", "-x", "3600", "-u", "100", "-a", "Sommer-2026x", "-s", target)
    assert "401" in output and "403" in output, output
    event = login(canary, mark, "100", output)
    assert cracks(event["logdata"]["HASHCAT"], "Sommer-2026x"), event
    assert "PASSWORD" not in event["logdata"], event


@check("sip: a common password is named, a planted one marked")
def _(canary: Canary) -> None:
    for user, password, honeycred in (("100", "secret123", False), ("4711", "planted-Pw9", True)):
        mark = canary.mark()
        target = f"sip:{user}@{LOOPBACK}:{canary.ports['sip']}"
        output = run("sipsak", "-vvv", "-U", "-x", "3600", "-u", user, "-a", password, "-s", target)
        event = login(canary, mark, user, output)
        assert event["logdata"]["PASSWORD"] == password, event
        assert event["honeycred"] is honeycred, event


SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="try">
  <send retrans="500"><![CDATA[
    {method} sip:{target}@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:alice@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:{target}@[remote_ip]:[remote_port]>
    Call-ID: [call_id]
    CSeq: 1 {method}
    Contact: sip:alice@[local_ip]:[local_port]
    Max-Forwards: 70
    User-Agent: softphone
    Content-Length: 0
  ]]></send>
  <recv response="401" auth="true"></recv>
  <send retrans="500"><![CDATA[
    {method} sip:{target}@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:alice@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:{target}@[remote_ip]:[remote_port]>
    Call-ID: [call_id]
    CSeq: 2 {method}
    Contact: sip:alice@[local_ip]:[local_port]
    [authentication username=alice password=tr0mbone]
    Max-Forwards: 70
    User-Agent: softphone
    Content-Length: 0
  ]]></send>
  <recv response="403"></recv>
</scenario>
"""


def sipp(canary: Canary, transport: str, method: str, target: str) -> str:
    scenario = SCRATCH / f"{method}-{transport}.xml"
    scenario.write_text(SCENARIO.format(method=method, target=target))
    command = ("sipp", "-sf", str(scenario), "-t", transport, "-m", "1", "-nostdin", "-timeout", "15", "-i", LOOPBACK)
    return run(*command, f"{LOOPBACK}:{canary.ports['sip']}", environment={"TERM": "xterm"})


@check("sip: sipp REGISTER and INVITE over UDP and TCP, cracked")
def _(canary: Canary) -> None:
    for transport in ("u1", "t1"):
        for method, target in (("REGISTER", "alice"), ("INVITE", "900442071234567")):
            mark = canary.mark()
            output = sipp(canary, transport, method, target)
            assert re.search(r"Successful call\s+\|\s+0\s+\|\s+1", output), output[-3000:]
            event = login(canary, mark, "alice", output[-1500:])
            assert cracks(event["logdata"]["HASHCAT"], "tr0mbone"), event
            wanted = {"METHOD": method, "TRANSPORT": "UDP" if transport == "u1" else "TCP"}
            call = canary.logged(mark, 31700, wanted, output[-1500:])
            if method == "INVITE":
                assert call["logdata"]["DIALLED"] == target, call


@check("sip: nmap names the product over UDP and TCP")
def _(canary: Canary) -> None:
    port = canary.ports["sip"]
    for options in (("-sU",), ("-sT",)):
        output = run("nmap", *options, "-sV", "-Pn", "-n", "-p", str(port), LOOPBACK, timeout=240)
        assert re.search(r"open +sip-proxy +FreePBX 17\.[\d.]+ \(Asterisk 22\.[\d.]+\)", output), output


@check("sip: nmap's scripts")
def _(canary: Canary) -> None:
    port = canary.ports["sip"]
    mark = canary.mark()
    script = "--script=+sip-methods,+sip-enum-users"
    output = run("nmap", "-sU", "-Pn", "-n", script, "-p", str(port), LOOPBACK, timeout=120)
    assert re.search(r"sip-methods: .*INVITE", output), output
    # The script takes one answer of whoever exists for another than of whoever does not.
    canary.logged(mark, 31700, {"METHOD": "REGISTER", "TRANSPORT": "UDP"}, output)
    assert "sip-enum-users" not in output, output
    output = run("nmap", "-sT", "-Pn", "-n", "--script=+sip-methods", "-p", str(port), LOOPBACK, timeout=120)
    assert re.search(r"sip-methods: .*INVITE", output), output


@check("sip: hydra")
def _(canary: Canary) -> None:
    mark = canary.mark()
    port = str(canary.ports["sip"])
    output = run("hydra", "-I", "-l", "2001", "-p", "hydra-pw1", "-s", port, LOOPBACK, "sip", timeout=60)
    assert "0 valid password" in output, output
    event = login(canary, mark, "2001", output)
    # hydra names the realm in `uri` and computes with the target of its request.
    assert cracks(event["logdata"]["HASHCAT_TARGET"], "hydra-pw1"), event


@check("sip: the scanner's messages, and a fresh nonce each time")
def _(canary: Canary) -> None:
    port = canary.ports["sip"]
    answer = ask(port, message("OPTIONS", port))
    assert answer.startswith("SIP/2.0 200 OK\r\n") and "Server: FPBX-17" in answer, answer
    nonces = set()
    for method in ("INVITE", "REGISTER", "INVITE"):
        request = message(method, port)
        answer = ask(port, request)
        assert answer.startswith("SIP/2.0 401 Unauthorized\r\n"), answer
        assert len(answer) <= len(request), f"{len(answer)} bytes for {len(request)}"
        nonces |= set(re.findall(r'nonce="([^"]+)"', answer))
    assert len(nonces) == 3, nonces
    refused = ask(port, message("INVITE", port, extra=authorization("INVITE", "100", "x", answer, f"sip:100@{LOOPBACK}")))
    assert refused.startswith("SIP/2.0 403 Forbidden\r\n"), refused


@check("sip: nobody is sent more than it sent until it has proven its address")
def _(canary: Canary) -> None:
    port = canary.ports["sip"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.77", 0))
        peer.settimeout(0.3)
        sent = got = 0
        for at in range(40):
            # Short and long ones, with and without a nonce that is not ours.
            lie = 'Authorization: Digest username="1", realm="asterisk", nonce="1795384800/00", uri="sip:a", response="0"'
            request = message("REGISTER" if at % 2 else "OPTIONS", port, extra=lie if at % 3 else "")
            request = request if at % 5 else b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nf: a\r\nt: a\r\ni: a\r\nCSeq: 1 OPTIONS\r\n\r\n"
            peer.sendto(request, (LOOPBACK, port))
            sent += len(request)
            try:
                got += len(peer.recv(65535))
            except TimeoutError:
                pass
            assert got <= sent, f"{got} bytes for {sent}"
        assert got > 0


@check("sip: the article's line")
def _(canary: Canary) -> None:
    mark = canary.mark()
    request = (
        "REGISTER sip:192.168.1.7 SIP/2.0\r\nCall-ID: 1337@192.168.1.7\r\nCSeq: 1 REGISTER\r\n"
        "From: <sip:adminsip@192.168.1.7>\r\nTo: <sip:adminsip@192.168.1.7>\r\n"
        "Via: SIP/2.0/UDP 10.0.2.15:46759\r\nContent-Length: 0\r\n\r\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 46759))
        peer.sendto(request.encode(), (LOOPBACK, canary.ports["sip"]))
        event = canary.logged(mark, 15001, {}, from_port=46759)
    assert event["logdata"] == {
        "HEADERS": {
            "call-id": ["1337@192.168.1.7"],
            "content-length": ["0"],
            "cseq": ["1 REGISTER"],
            "from": ["<sip:adminsip@192.168.1.7>"],
            "to": ["<sip:adminsip@192.168.1.7>"],
            "via": [f"SIP/2.0/UDP 10.0.2.15:46759;received={LOOPBACK}"],
        }
    }, event


@check("sip: split per byte, and several at once over TCP")
def _(canary: Canary) -> None:
    port = canary.ports["sip"]
    one = message("OPTIONS", port, "TCP")
    with connect(port) as peer:
        for at in range(len(one)):
            peer.sendall(one[at : at + 1])
        assert read_until(peer, b"\r\n\r\n").startswith(b"SIP/2.0 200 OK"), "split per byte"
        peer.sendall(b"\r\n\r\n" + one + message("REGISTER", port, "TCP") + one)
        answers = read_quiet(peer, 0.5)
    assert re.findall(rb"(?m)^SIP/2.0 (\d+)", answers) == [b"200", b"401", b"200"], answers


@check("sip: garbage, bytes that are not UTF-8, and too much")
def _(canary: Canary) -> None:
    port = canary.ports["sip"]
    mark = canary.mark()
    assert ask(port, b"\0" * 20, 0.3) == ""
    canary.logged(mark, 31702, {"ERROR": "unfinished message", "TRANSPORT": "UDP"})
    mark = canary.mark()
    ask(port, message("OPTIONS", port, extra="X-Name: ").replace(b"X-Name: ", b"X-Name: caf\xe9"), 1)
    event = canary.mentioned(mark, "15001", "x-name")
    assert event["logdata"]["HEADERS"]["x-name"] == ["caf\\xe9"], event
    for bad, error in (
        (b"A" * 20_000, "head too long"),
        (b"INVITE sip:a SIP/2.0\r\nContent-Length: 99999999\r\n\r\n", "body too long"),
        (b"GET / HTTP/1.1\r\n\r\n", "no first line of a message"),
        (b"OPTIONS sip:a SIP/2.0\r\nVia", "unfinished message"),
    ):
        mark = canary.mark()
        with connect(port) as peer:
            peer.sendall(bad)
            peer.shutdown(socket.SHUT_WR)
            assert read_quiet(peer, 0.3) == b"", bad
        canary.logged(mark, 31702, {"ERROR": error, "TRANSPORT": "TCP"})
