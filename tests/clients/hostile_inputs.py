"""Hostile inputs that are cut off, too long, silent or garbage, for each service, and those made for one service."""

from __future__ import annotations

import base64
import random
import re
import socket
import time

import paramiko

from canary import LOOPBACK, Canary, connect, pkt_line, read_quiet
from check_list import Checks
from hostile_probes import GIT_REQUEST, HTTP_REQUEST, all_answer, client_hello, heard, http_form, say, send, ssh

CHECKS = Checks()
check = CHECKS.add


# -- cut off, too long, silent, garbage ----------------------------------------------------------

FIRST_WORDS: dict[str, bytes] = {
    "ftp": b"USER someone\r\nPASS secret\r\n",
    "http": http_form(b"username=cut&password=off"),
    "https": client_hello(),
    "ssh": b"SSH-2.0-x\r\n" + bytes.fromhex("0000001c0a14") + bytes(26),
    "telnet": b"someone\r\nsecret\r\n",
    "redis": b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n",
    "git": GIT_REQUEST,
    "tcpbanner_1": b"hello there\r\n",
    "tcpbanner_2": b"a SECRET-WORD\r\n",
    "tcpbanner_3": b"open-sesame\r\n",
}

TOO_LONG: dict[str, tuple[bytes, bytes]] = {
    "ftp": (b"USER ", b"\r\n"),
    "http": (b"GET /", b" HTTP/1.1\r\nHost: nas\r\n\r\n"),
    "https": (b"GET /", b" HTTP/1.1\r\nHost: nas\r\n\r\n"),
    "ssh": (b"SSH-2.0-", b"\r\n"),
    "telnet": (b"", b"\r\n"),
    "redis": (b"GET ", b"\r\n"),
    "git": (b"fff0git-upload-pack /", b"\0"),
    "tcpbanner_1": (b"", b"\r\n"),
    "tcpbanner_2": (b"SECRET-WORD", b"\r\n"),
    "tcpbanner_3": (b"", b"\r\n"),
}

GARBAGE: dict[str, bytes] = {
    "every byte": bytes(range(256)) * 4,
    "4,096 random bytes": random.Random(1).randbytes(4096),
    "zeros": bytes(2048),
    "a TLS hello": client_hello(),
    "an HTTP request": HTTP_REQUEST,
    "an SMB negotiation": bytes.fromhex("00000054ff534d4272000000001843c8000000000000000000000000fffe") + bytes(50),
    "an RDP request": bytes.fromhex(
        "0300002a25e00000000000436f6f6b69653a206d737473686173683d61646d696e0d0a0100080003000000"
    ),
    "control bytes and a line end": b"\x00\x01garbage\r\n\r\n",
    "telnet options": b"\xff\xfd\x01\xff\xfb\x18\xff\xfa\x18\x00xterm\xff\xf0\xff\xff\xff\xf4\r\n",
    "format strings and quotes": b"%s%n%x ${jndi:ldap://x/} '\"`;|$(id) \\x00 {{7*7}}\r\n",
}

for _service in FIRST_WORDS:

    def _truncated(canary: Canary, service: str = _service) -> None:
        words = FIRST_WORDS[service]
        for length in (1, len(words) // 2, len(words) - 1):
            for abrupt in (False, True):
                mark = canary.mark()
                with connect(canary.ports[service]) as peer:
                    port = peer.getsockname()[1]
                    peer.sendall(words[:length])
                    time.sleep(0.05)
                    if abrupt:  # closing then sends a reset
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                try:
                    heard(canary, port, mark)
                except AssertionError as error:
                    end = "a reset" if abrupt else "closing"
                    raise AssertionError(f"{error}, which sent {words[:length]!r} before {end}") from None
        all_answer(canary)

    def _too_long(canary: Canary, service: str = _service) -> None:
        before = canary.memory()
        start, end = TOO_LONG[service]
        say(canary, service, start + b"A" * 1_000_000 + end, tls=service == "https")
        grown = canary.memory() - before
        assert grown < 16 * 1024, f"memory grew by {grown} KiB"

    def _silent(canary: Canary, service: str = _service) -> None:
        with connect(canary.ports[service]):
            time.sleep(0.5)
            all_answer(canary)

    check(f"{_service}: cut off, then closed or reset")(_truncated)
    check(f"{_service}: a line of 1 MB")(_too_long)
    check(f"{_service}: a silent peer")(_silent)
    for _what, _bytes in GARBAGE.items():

        def _garbage(canary: Canary, service: str = _service, data: bytes = _bytes) -> None:
            say(canary, service, data)

        check(f"{_service}: {_what}")(_garbage)


@check("https: garbage inside TLS")
def _(canary: Canary) -> None:
    for data in (b"\x00\x01garbage\r\n\r\n", bytes(range(256)), b"GET\r\n\r\n"):
        say(canary, "https", data, tls=True)


# -- one service each ----------------------------------------------------------------------------


@check("ftp: PASS without an argument (T3)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "ftp", b"USER t3\r\n", b"PASS\r\n")
    canary.logged(mark, 2000, {"USERNAME": "t3", "PASSWORD": ""})


@check("telnet: lines that end in CR NUL (T5)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "telnet", b"charmode\r\0", b"charpass\r\0")
    canary.logged(mark, 6001, {"USERNAME": "charmode", "PASSWORD": "charpass"})
    mark = canary.mark()
    say(canary, "telnet", b"together\r\0twopass\r\0")
    canary.logged(mark, 6001, {"USERNAME": "together", "PASSWORD": "twopass"})


@check("telnet: subnegotiation without an end")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "telnet", b"\xff\xfa\x18" + b"A" * 100_000)
    canary.logged(mark, 6001, {"ERROR": "Telnet subnegotiation buffer limit reached"})


@check("telnet: 10,000 option requests")
def _(canary: Canary) -> None:
    answer = say(canary, "telnet", b"\xff\xfd\x63\xff\xfb\x63" * 5_000)
    assert len(answer) < 100_000, f"{len(answer)} bytes of answer"


@check("ssh: truncated KEXINIT (T9)")
def _(canary: Canary) -> None:
    # A packet of 12 bytes: padding length 4, message 20, and 6 bytes of a cookie of 16.
    say(canary, "ssh", b"SSH-2.0-x\r\n" + bytes.fromhex("0000000c0414") + bytes(10))


@check("ssh: two KEXINITs (T13)")
def _(canary: Canary) -> None:
    names = (
        b"curve25519-sha256", b"ssh-ed25519", b"aes128-ctr", b"aes128-ctr",
        b"hmac-sha2-256", b"hmac-sha2-256", b"none", b"none", b"", b"",
    )  # fmt: skip
    payload = b"\x14" + bytes(16) + b"".join(len(n).to_bytes(4, "big") + n for n in names) + bytes(5)
    padding = 4 + (-(5 + len(payload) + 4)) % 8
    packet = (1 + len(payload) + padding).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)
    say(canary, "ssh", b"SSH-2.0-x\r\n" + packet + packet)


@check("ssh: packet length past every limit")
def _(canary: Canary) -> None:
    say(canary, "ssh", b"SSH-2.0-x\r\n\xff\xff\xff\xff" + bytes(64))


@check("ssh: truncated USERAUTH (T13)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with ssh(canary) as transport:
        port = transport.sock.getsockname()[1]
        request = paramiko.Message()
        request.add_byte(b"\x05")  # SSH_MSG_SERVICE_REQUEST
        request.add_string("ssh-userauth")
        transport._send_message(request)
        cut = paramiko.Message()
        cut.add_byte(b"\x32")  # SSH_MSG_USERAUTH_REQUEST, whose user name claims more than there is
        cut.add_int(1000)
        cut.add_bytes(b"root")
        transport._send_message(cut)
        transport.join(3)
    heard(canary, port, mark)
    all_answer(canary)


@check("ssh: client with ed25519 and curve25519 only (T11)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    transport = paramiko.Transport((LOOPBACK, canary.ports["ssh"]))
    options = transport.get_security_options()
    options.key_types = ("ssh-ed25519",)
    options.kex = ("curve25519-sha256@libssh.org",)
    try:
        transport.start_client(timeout=10)
        transport.auth_password("t11", "only ed25519")
    except paramiko.AuthenticationException:
        pass
    finally:
        transport.close()
    canary.logged(mark, 4002, {"USERNAME": "t11", "PASSWORD": "only ed25519"})


REDIS_REPLIES: dict[str, tuple[bytes, bytes, bool]] = {
    # name: request, reply, whether the server then closes; as every server since 6.0.16 does it
    "GET without arguments (T25)": (
        b"*1\r\n$3\r\nGET\r\n", b"-ERR wrong number of arguments for 'get' command\r\n", False,
    ),
    "QUIT (T25)": (b"*1\r\n$4\r\nQUIT\r\n", b"+OK\r\n", True),
    "*0 and then PING (T25)": (b"*0\r\nPING\r\n", b"-NOAUTH Authentication required.\r\n", False),
    "quotes not closed (T25)": (b'SET "a\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n", True),
    # 512 MB is the limit for all, 16 KiB for those who have not logged in.
    "bulk of 1 GB (T27)": (b"*1\r\n$1000000000\r\n", b"-ERR Protocol error: invalid bulk length\r\n", True),
    "bulk of 100 MB (T27)": (
        b"*1\r\n$100000000\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n", True,
    ),
    "negative bulk (T27)": (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n", True),
    "11 elements (T27)": (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n", True),
    "inline of 65 KB (T27)": (b"A" * 66_000, b"-ERR Protocol error: too big inline request\r\n", True),
    "no dollar sign": (b"*1\r\nPING\r\n", b"-ERR Protocol error: expected '$', got 'P'\r\n", True),
    "multibulk that is no number": (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", True),
}  # fmt: skip

for _what, (_request, _reply, _closes) in REDIS_REPLIES.items():

    def _redis(canary: Canary, request: bytes = _request, reply: bytes = _reply, closes: bool = _closes) -> None:
        mark = canary.mark()
        with connect(canary.ports["redis"]) as peer:
            port = peer.getsockname()[1]
            peer.sendall(request)
            answer = read_quiet(peer, 0.5)
            assert answer == reply, f"the answer is {answer!r}"
            send(peer, b"PING\r\n")
            after = read_quiet(peer, 0.5)
            assert (after == b"") == closes, f"a PING after it is answered by {after!r}"
        heard(canary, port, mark)
        all_answer(canary)

    check(f"redis: {_what}")(_redis)


HTTP_REQUESTS: dict[str, tuple[bytes, dict[str, str]]] = {
    "POST to /login.php (T31)": (
        http_form(b"username=u31&password=p31").replace(b"/index.html", b"/login.php"),
        {"USERNAME": "u31", "PASSWORD": "p31"},
    ),
    "POST of JSON (T31)": (
        http_form(b'{"username": "ju", "password": "jp31"}', b"application/json"),
        {"USERNAME": "ju", "PASSWORD": "jp31"},
    ),
    "multipart (T31)": (
        http_form(
            b'--X\r\nContent-Disposition: form-data; name="username"\r\n\r\nmu\r\n'
            b'--X\r\nContent-Disposition: form-data; name="password"\r\n\r\nmp31\r\n--X--\r\n',
            b"multipart/form-data; boundary=X",
        ),
        {"USERNAME": "mu", "PASSWORD": "mp31"},
    ),
    "Basic credentials (T31)": (
        b"GET /index.html HTTP/1.1\r\nHost: nas\r\nConnection: close\r\nAuthorization: Basic "
        + base64.b64encode(b"basicuser:basic:pass")
        + b"\r\n\r\n",
        {"USERNAME": "basicuser", "PASSWORD": "basic:pass"},
    ),
    "HEAD (T31)": (b"HEAD /index.html HTTP/1.0\r\n\r\n", {}),
    "PUT (T31)": (b"PUT /x HTTP/1.1\r\nHost: nas\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", {}),
    "PROPFIND (T31)": (b"PROPFIND / HTTP/1.1\r\nHost: nas\r\nDepth: 1\r\nConnection: close\r\n\r\n", {}),
    "OPTIONS": (b"OPTIONS * HTTP/1.1\r\nHost: nas\r\nConnection: close\r\n\r\n", {}),
    "traversal": (b"GET /../../etc/passwd HTTP/1.1\r\nHost: nas\r\nConnection: close\r\n\r\n", {}),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: nas\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", {}),
    "length and chunks": (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {},
    ),
    "chunk of 2^64 bytes": (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab",
        {},
    ),
    "length of 2^63": (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nContent-Length: 9223372036854775808\r\n\r\nusername=a",
        {},
    ),
    "10,000 headers": (b"GET / HTTP/1.1\r\nHost: nas\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n", {}),
    "header without a colon": (b"GET / HTTP/1.1\r\nHost nas\r\n\r\n", {}),
    "HTTP/9.9": (b"GET / HTTP/9.9\r\n\r\n", {}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {}),
}

for _scheme in ("http", "https"):
    for _what, (_request, _data) in HTTP_REQUESTS.items():

        def _http(
            canary: Canary, scheme: str = _scheme, request: bytes = _request, data: dict[str, str] = _data
        ) -> None:
            mark = canary.mark()
            answer = say(canary, scheme, request, tls=scheme == "https")
            assert answer, "no answer"
            if data:
                canary.logged(mark, None, data)

        check(f"{_scheme}: {_what}")(_http)


GIT_REQUESTS: dict[str, tuple[bytes, str]] = {
    "declared length one too long (T35)": (b"002f" + GIT_REQUEST[4:], ""),
    "declared length one too short (T35)": (b"%04x" % (len(GIT_REQUEST) - 1) + GIT_REQUEST[4:], ""),
    "push (T35)": (pkt_line(b"git-receive-pack /t35.git\0host=h\0"), "t35.git"),
    "archive": (pkt_line(b"git-upload-archive /t35a.git\0host=h\0"), "t35a.git"),
    "length 0, 1, 2, 3": (b"0000000100020003", ""),
    "length fff5": (b"fff5" + b"A" * 65_530, ""),
    "length that is no number": (b"zzzzgit-upload-pack /x\0", ""),
    "path of dots": (pkt_line(b"git-upload-pack /../../../etc/shadow\0host=h\0"), ""),
    "protocol 2 (T35)": (pkt_line(b"git-upload-pack /v2.git\0host=h.example\0\0version=2\0"), "v2.git"),
}

for _what, (_request, _repo) in GIT_REQUESTS.items():

    def _git(canary: Canary, request: bytes = _request, repo: str = _repo) -> None:
        mark = canary.mark()
        answer = say(canary, "git", request)
        assert b"\0" not in answer, f"the answer carries a NUL: {answer!r}"
        if repo:
            assert re.match(rb"[0-9a-f]{4}ERR .*%s" % re.escape(repo.encode()), answer), f"the answer is {answer!r}"
            canary.mentioned(mark, repo, request[4:].split()[0].decode())
        if b"upload-pack" in request and repo:
            event = canary.logged(mark, 16001, {"REPO": repo})
            assert "\0" not in event["logdata"]["HOST"], f"HOST is {event['logdata']['HOST']!r}"

    check(f"git: {_what}")(_git)


@check("git: request in two segments (T35)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "git", GIT_REQUEST[:20], GIT_REQUEST[20:])
    canary.logged(mark, 16001, {"REPO": "probe.git", "HOST": "git.example.org"})


@check("tcpbanner: data without any alert string (T51)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "tcpbanner_1", b"\x16\x03\x01plain data")
    event = canary.wait_for(lambda e: "plain data" in str(e["logdata"]), mark)
    assert event is not None, "no event tells of the data"
