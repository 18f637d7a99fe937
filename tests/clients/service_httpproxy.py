"""The HTTP proxy by real clients: curl, Python requests, hydra, nmap, and raw bytes."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from Cryptodome.Hash import MD4

from canary import LOOPBACK, Canary, Skip, connect, read_quiet
from check_list import Checks
from client_programs import run
from recorded import SERVICES as SOURCES
from recorded import Recorded, recordings, replay

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES = ("httpproxy",)
SETTINGS: dict[str, Any] = {"httpproxy.honeycreds": [{"username": "squidadmin", "password": "passsquid"}]}
CHECKS = Checks()
check = CHECKS.add

TARGET = "http://intranet.invalid:8080/page?secret=1"
ALLOW = {"NO_PROXY": "", "no_proxy": ""}
"""The environment of the scripts keeps clients away from proxies; these go through one."""


def curl(canary: Canary, *options: str, url: str = TARGET) -> str:
    proxy = f"http://{LOOPBACK}:{canary.ports['httpproxy']}"
    command = ("curl", "-q", "-sS", "-i", "--max-time", "20", "--noproxy", "", "-x", proxy, *options, url)
    return run(*command, environment=ALLOW)


def cracked(line: str, password: str) -> bool:
    """Whether a NetNTLMv2 line for hashcat (mode 5600) is that of the password, by [MS-NLMP] 3.3.2."""
    user, _, domain, challenge, proof, blob = line.split(":")
    key = hmac.digest(MD4.new(password.encode("utf-16-le")).digest(), (user.upper() + domain).encode("utf-16-le"), hashlib.md5)
    return hmac.digest(key, bytes.fromhex(challenge) + bytes.fromhex(blob), hashlib.md5).hex() == proof


@contextmanager
def listener() -> Iterator[tuple[int, list[Any]]]:
    """A port that somebody might be made to connect to, and who did."""
    visitors: list[Any] = []
    with socket.create_server((LOOPBACK, 0)) as server:

        def accept() -> None:
            while True:
                try:
                    visitors.append(server.accept()[1])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], visitors


@check("httpproxy: curl, no credentials")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = curl(canary, "-A", "no credentials")
    assert output.startswith("HTTP/1.1 407 Proxy Authentication Required\n"), output[:300]
    order = re.findall(r"^([A-Za-z-]+): ", output.split("\n\n")[0], re.M)
    assert order == [
        "Server", "Mime-Version", "Date", "Content-Type", "Content-Length", "X-Squid-Error", "Vary", "Content-Language",
        "Proxy-Authenticate", "Proxy-Authenticate", "Proxy-Authenticate", "X-Cache", "X-Cache-Lookup", "Via", "Connection",
    ], order  # fmt: skip
    assert "localhost" not in output and "secret" not in output, output
    event = canary.logged(mark, 31400, {"TARGET": TARGET, "HOST": "intranet.invalid", "USERAGENT": "no credentials"})
    assert event["logdata"]["PORT"] == 8080 and event["aviary"]["kind"] == "command", event
    assert not [e for e in canary.events(mark) if e["logtype"] == 7001], "a login without credentials"


@check("httpproxy: curl, Basic as the article's sample; keys are OpenCanary's")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = curl(canary, "--proxy-basic", "-U", "squidadmin:passsquid")
    event = canary.logged(mark, 7001, {"USERNAME": "squidadmin", "PASSWORD": "passsquid"}, output)
    assert set(event["logdata"]) == {"PASSWORD", "USERNAME"}, event
    assert event["aviary"]["kind"] == "login" and event["honeycred"] is True, event


def by_ntlm(canary: Canary, option: str) -> None:
    mark = canary.mark()
    output = curl(canary, option, "-U", "CORP\\alice:A long p&ss")
    assert output.count("HTTP/1.1 407") >= 2, output[:500]
    data = canary.logged(mark, 31401, {"USERNAME": "alice", "SCHEME": "NTLM", "DOMAIN": "CORP"}, output)["logdata"]
    assert data["HASHCAT_MODE"] == 5600 and "PASSWORD" not in data, data
    assert cracked(data["HASHCAT"], "A long p&ss") and not cracked(data["HASHCAT"], "another"), data
    canary.logged(mark, 7001, {"USERNAME": "alice", "PASSWORD": ""})


@check("httpproxy: curl --proxy-ntlm: the line is cracked back")
def _(canary: Canary) -> None:
    by_ntlm(canary, "--proxy-ntlm")


@check("httpproxy: curl --proxy-anyauth takes the NTLM that is offered: the line is cracked back")
def _(canary: Canary) -> None:
    # Where Negotiate is offered, a curl with GSS-API tries that alone, and has no ticket.
    with Canary(canary.bin_dir, {"httpproxy.auth": "ntlm"}, services=SERVICES) as other:
        by_ntlm(other, "--proxy-anyauth")


@check("httpproxy: curl --proxy-ntlm, a common password is told in clear")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = curl(canary, "--proxy-ntlm", "-U", "squidadmin:Summer2026!")
    canary.logged(mark, 7001, {"USERNAME": "squidadmin", "PASSWORD": "Summer2026!"}, output)
    canary.logged(mark, 31401, {"USERNAME": "squidadmin", "PASSWORD": "Summer2026!"}, output)


@check("httpproxy: curl --proxy-ntlm, a planted password is told in clear and marked")
def _(canary: Canary) -> None:
    planted = [{"username": "alice", "password": "Zebra-Quartz-77"}]
    with Canary(canary.bin_dir, {"httpproxy.honeycreds": planted}, services=SERVICES) as other:
        for password, marked in (("Zebra-Quartz-77", True), ("Zebra-Quartz-78", False)):
            mark = other.mark()
            output = curl(other, "--proxy-ntlm", "-U", f"CORP\\alice:{password}")
            for number in (7001, 31401):
                event = other.logged(mark, number, {"USERNAME": "alice"}, output)
                assert event["honeycred"] is marked, event
                assert (event["logdata"].get("PASSWORD") == password) is marked, event


@check("httpproxy: curl --proxy-ntlm, CONNECT for https")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = curl(canary, "--proxy-ntlm", "-U", "bob:tunnel pw", url="https://bank.invalid/")
    canary.logged(mark, 31400, {"METHOD": "CONNECT", "TARGET": "bank.invalid:443", "HOST": "bank.invalid"}, output)
    data = canary.logged(mark, 31401, {"USERNAME": "bob", "METHOD": "CONNECT"}, output)["logdata"]
    assert cracked(data["HASHCAT"], "tunnel pw"), data


@check("httpproxy: curl --proxy-negotiate")
def _(canary: Canary) -> None:
    if "GSS-API" not in run("curl", "-V") and "SPNEGO" not in run("curl", "-V"):
        raise Skip("this curl has no SPNEGO")
    mark = canary.mark()
    output = curl(canary, "--proxy-negotiate", "-U", ":")
    # Without a Kerberos ticket it has nothing to send.
    assert "HTTP/1.1 407" in output, output[:300]
    canary.logged(mark, 31400, {"TARGET": TARGET}, output)


@check("httpproxy: curl, a form through the proxy")
def _(canary: Canary) -> None:
    mark = canary.mark()
    curl(canary, "--data", "username=web&password=seen", url="http://intranet.invalid/login")
    canary.logged(mark, 31403, {"BODY": "username=web&password=seen", "TARGET": "http://intranet.invalid/login"})


@check("httpproxy: requests, http and https")
def _(canary: Canary) -> None:
    mark = canary.mark()
    proxy = f"http://req%20user:p%40ss@{LOOPBACK}:{canary.ports['httpproxy']}"
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy, "https": proxy}
        answer = session.get("http://files.invalid/", timeout=20)
        assert answer.status_code == 407 and "Cache Access Denied" in answer.text, answer.text[:300]
        try:
            session.get("https://files.invalid/", timeout=20)
        except requests.exceptions.ProxyError as error:
            assert "407 Proxy Authentication Required" in str(error), error
        else:
            raise AssertionError("the tunnel was opened")
    events = [e for e in canary.settle(mark, at_least=4) if e["logtype"] == 7001]
    assert [e["logdata"] for e in events] == [{"USERNAME": "req user", "PASSWORD": "p@ss"}] * 2, events
    canary.logged(mark, 31400, {"METHOD": "CONNECT", "TARGET": "files.invalid:443"})


@check("httpproxy: nothing is ever connected to")
def _(canary: Canary) -> None:
    with listener() as (port, visitors):
        for sent in (
            f"GET http://{LOOPBACK}:{port}/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
            f"CONNECT {LOOPBACK}:{port} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
            f"GET ftp://{LOOPBACK}:{port}/ HTTP/1.0\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\n\r\n",
        ):
            with connect(canary.ports["httpproxy"]) as peer:
                peer.sendall(sent.encode())
                assert read_quiet(peer, 0.5).startswith(b"HTTP/1.1 4"), sent
        curl(canary, "--proxy-ntlm", "-U", "a:b", url=f"http://{LOOPBACK}:{port}/")
        with connect(port):
            pass  # the listener itself does listen
        canary.settle()
        assert len(visitors) == 1, visitors


@check("httpproxy: hydra")
def _(canary: Canary) -> None:
    mark = canary.mark()
    port = str(canary.ports["httpproxy"])
    output = run("hydra", "-l", "hydra", "-p", "many heads", "-t", "1", "-I", "-s", port, LOOPBACK, "http-proxy")
    assert "0 valid password" in output, output
    canary.logged(mark, 7001, {"USERNAME": "hydra", "PASSWORD": "many heads"}, output)


@check("httpproxy: nmap -sV names Squid 5.7")
def _(canary: Canary) -> None:
    port = canary.ports["httpproxy"]
    output = run("nmap", "-n", "-Pn", "-sV", "-p", str(port), LOOPBACK, timeout=120)
    assert re.search(r"open +http-proxy +Squid http proxy 5\.7", output), output


@check("httpproxy: nmap's default scripts and http-open-proxy find no open one")
def _(canary: Canary) -> None:
    mark = canary.mark()
    port = canary.ports["httpproxy"]
    output = run(
        "nmap", "-n", "-Pn", "-sV", "-sC", "--script", "+http-open-proxy,default", "-p", str(port), LOOPBACK, timeout=240
    )
    assert "squid/5.7" in output and "The requested URL could not be retrieved" in output, output
    assert "Potentially OPEN proxy" not in output, output
    canary.mentioned(mark, "CONNECT", context=output)


@check("httpproxy: the Windows skin is named by nmap and asks curl for NTLM")
def _(canary: Canary) -> None:
    with Canary(canary.bin_dir, {"httpproxy.skin": "ms-isa"}, services=SERVICES) as isa:
        output = curl(isa, "--proxy-ntlm", "-U", "CORP\\eve:isa pw")
        assert "407 Proxy Authentication Required ( The ISA Server requires authorization" in output, output[:300]
        data = isa.logged(0, 31401, {"USERNAME": "eve"}, output)["logdata"]
        assert cracked(data["HASHCAT"], "isa pw"), data
        output = run("nmap", "-n", "-Pn", "-sV", "-p", str(isa.ports["httpproxy"]), LOOPBACK, timeout=120)
        assert "Microsoft ISA Server" in output, output


# -- bytes ---------------------------------------------------------------------------------------

REQUEST = b"GET http://h.invalid/ HTTP/1.1\r\nHost: h.invalid\r\nProxy-Authorization: Basic dTpw\r\n\r\n"


@check("httpproxy: byte by byte, and many in a segment")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with connect(canary.ports["httpproxy"]) as peer:
        for byte in REQUEST:
            peer.sendall(bytes([byte]))
        one = read_quiet(peer)
        peer.sendall(REQUEST * 10)
        many = read_quiet(peer)
    assert len(many) == 10 * len(one) and many.count(b"HTTP/1.1 407 ") == 10, (len(one), len(many))
    events = [e for e in canary.settle(mark, at_least=22) if e["logtype"] == 7001]
    assert [e["logdata"] for e in events] == [{"USERNAME": "u", "PASSWORD": "p"}] * 11, events


@check("httpproxy: garbage, long heads, and what is no UTF-8")
def _(canary: Canary) -> None:
    for sent, wanted in (
        (b"\0\1\2\3\r\n\r\n", b"HTTP/1.1 400 "),
        (b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 "),
        (b"GET http://h/ HTTP/2.0\r\n\r\n", b"HTTP/1.1 505 "),
        (b"GET http://h/ HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", b"HTTP/1.1 431 "),
        (b"GET http://h/\xff\xfe HTTP/1.1\r\nHost: \xff\r\n\r\n", b"HTTP/1.1 407 "),
    ):
        mark = canary.mark()
        with connect(canary.ports["httpproxy"]) as peer:
            peer.sendall(sent)
            got = read_quiet(peer, 0.5)
        assert got.startswith(wanted), f"{sent[:40]!r}: {got[:100]!r}"
        assert canary.wait_for(lambda e: e["logtype"] in (31400, 31402), mark), sent[:40]
    assert not canary.broken_lines, canary.broken_lines


@check("httpproxy: markup in a target is escaped and the length is right")
def _(canary: Canary) -> None:
    with connect(canary.ports["httpproxy"]) as peer:
        peer.sendall(b"GET http://h/\"><script>alert(1)</script>\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n")
        head, _, body = read_quiet(peer).partition(b"\r\n\r\n")
    assert b"<script>alert" not in body, body
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length and int(length[1]) == len(body), (length, len(body))


# -- Squid's own answers ---------------------------------------------------------------------------

MARKS = {
    b"{date}": rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT",
    b"{host}": rb"[\w.-]+",
    b"{port}": rb"\d+",
    b"{token}": rb"[\w+/=]+",
}


def as_squid(one: Recorded, got: bytes) -> bool:
    """Byte for byte, but for date, name, port, challenge, and the length that the name's length makes."""
    style = (SOURCES / "httpproxy" / "pages" / "errorpage.css").read_bytes()
    wanted = re.escape(one.reply.replace(b"{style}", style))
    for mark, pattern in MARKS.items():
        wanted = wanted.replace(re.escape(mark), pattern)
    wanted = re.sub(rb"Content\\-Length:\\ \d+", rb"Content\\-Length:\\ \\d+", wanted)
    return re.fullmatch(wanted, got, re.DOTALL) is not None


@check("httpproxy: P01 answers as the recorded Squid did")
def _(canary: Canary) -> None:
    offering = replay(canary.ports["httpproxy"], recordings("httpproxy", "squid-5.7-negotiate.txt"), as_squid)
    with Canary(canary.bin_dir, {"httpproxy.auth": "basic"}, services=SERVICES) as basic:
        count = replay(basic.ports["httpproxy"], recordings("httpproxy", "squid-5.7.txt"), as_squid)
    assert (offering, count) == (8, 76), (offering, count)
