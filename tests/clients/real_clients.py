"""Drives each service with real clients of different make, as an intruder or a scanner would.

A check passes when the client got through its protocol and the credentials it tried stand in the
log. A tool that is not installed is a visible `SKIP`.
"""

from __future__ import annotations

import asyncio
import base64
import ftplib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pexpect
import redis
import requests
import urllib3
from redis.backoff import NoBackoff
from redis.retry import Retry

from canary import (
    LOOPBACK,
    OURS,
    Canary,
    Report,
    Skip,
    TelnetClient,
    arguments,
    chosen_bin_dir,
    connect,
    git_environment,
    needs,
    read_quiet,
    read_until,
    unverified_tls,
)

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
urllib3.disable_warnings()
warnings.filterwarnings("ignore", category=DeprecationWarning)

CHECKS: list[tuple[str, Callable[[Canary], None]]] = []
SCRATCH = Path(tempfile.mkdtemp(prefix="clients-"))


def check(name: str) -> Callable[[Callable[[Canary], None]], Callable[[Canary], None]]:
    def add(body: Callable[[Canary], None]) -> Callable[[Canary], None]:
        CHECKS.append((name, body))
        return body

    return add


def run(*command: str, stdin: str = "", timeout: float = 40, environment: dict[str, str] | None = None) -> str:
    """Runs a client in the scratch directory and returns what it printed, errors too."""
    needs(command[0])
    try:
        done = subprocess.run(
            command,
            input=stdin,
            cwd=SCRATCH,
            env=os.environ | {"HOME": str(SCRATCH), "LC_ALL": "C"} | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"`{' '.join(command)}` hung; it had printed {error.stdout!r}") from None
    return done.stdout


# -- SSH -----------------------------------------------------------------------------------------

SSH_OPTIONS = [
    "-F", "none",
    "-o", "StrictHostKeyChecking=no",
    "-o", "UserKnownHostsFile=/dev/null",
    "-o", "GlobalKnownHostsFile=/dev/null",
    "-o", "NumberOfPasswordPrompts=1",
    "-o", "ConnectTimeout=15",
    "-o", "IdentityAgent=none",
]  # fmt: skip


def openssh(canary: Canary, user: str, *options: str, password: str | None = None) -> str:
    command = ["ssh", *SSH_OPTIONS, *options, "-p", str(canary.ports["ssh"]), f"{user}@{LOOPBACK}", "true"]
    if password is not None:
        needs("ssh")
        command = ["sshpass", "-p", password, *command]
    return run(*command)


def openssh_password(canary: Canary, user: str, password: str, *options: str) -> None:
    mark = canary.mark()
    output = openssh(
        canary,
        user,
        "-o", "PreferredAuthentications=password",
        "-o", "PubkeyAuthentication=no",
        *options,
        password=password,
    )  # fmt: skip
    assert "Permission denied" in output, f"ssh says {output!r}"
    event = canary.logged(mark, 4002, {"USERNAME": user, "PASSWORD": password}, output)
    assert event["logdata"]["REMOTEVERSION"].startswith("SSH-2.0-OpenSSH"), event["logdata"]


@check("ssh: OpenSSH, password")
def _(canary: Canary) -> None:
    openssh_password(canary, "root", "open ssh 1")


@check("ssh: OpenSSH, 20 logins in a row")
def _(canary: Canary) -> None:
    for n in range(20):
        openssh_password(canary, "admin", f"row-{n}")


@contextmanager
def keyboard_interactive(canary: Canary) -> Iterator[Canary]:
    """A canary that offers keyboard-interactive, which most clients then prefer; OpenCanary has no such setting."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary does not offer it")
    with Canary(canary.bin_dir, {"ssh.keyboard_interactive": True}, services=("ssh",)) as other:
        yield other


def answered(canary: Canary, user: str, password: str, context: str = "") -> None:
    """The answer to the one prompt is in the log, whatever the number of its event."""
    canary.mentioned(0, json.dumps(user), json.dumps(password), context=context)


@check("ssh: OpenSSH, keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        output = openssh(
            other,
            "kbd",
            "-o", "PreferredAuthentications=keyboard-interactive",
            "-o", "PubkeyAuthentication=no",
            password="interactive 1",
        )  # fmt: skip
        answered(other, "kbd", "interactive 1", output)


@check("ssh: asyncssh, keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        asyncssh_attempt(other, "async", "asyncssh kbd", preferred_auth="keyboard-interactive")
        answered(other, "async", "asyncssh kbd")


@check("ssh: paramiko, keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        with paramiko.Transport((LOOPBACK, other.ports["ssh"])) as transport:
            transport.start_client(timeout=15)
            try:
                transport.auth_interactive("miko", lambda _t, _i, prompts: ["paramiko kbd" for _ in prompts])
            except paramiko.AuthenticationException:
                pass
        answered(other, "miko", "paramiko kbd")


@check("ssh: dbclient (Dropbear), keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        answered(other, "bear", "drop kbd", dbclient(other, "bear", "drop kbd"))


for _type, _bits in (("ed25519", ""), ("rsa", "3072"), ("ecdsa", "256")):

    def _public_key(canary: Canary, kind: str = _type, bits: str = _bits) -> None:
        key = SCRATCH / f"id_{kind}"
        run("ssh-keygen", "-q", "-t", kind, *(["-b", bits] if bits else []), "-N", "", "-C", "", "-f", str(key))
        fingerprint = run("ssh-keygen", "-lf", f"{key}.pub").split()[1]
        mark = canary.mark()
        output = openssh(
            canary,
            f"key-{kind}",
            "-o", "PreferredAuthentications=publickey",
            "-o", "IdentitiesOnly=yes",
            "-i", str(key),
        )  # fmt: skip
        assert "Permission denied" in output, f"ssh says {output!r}"
        event = canary.mentioned(mark, fingerprint, f"key-{kind}", context=output)
        assert event["logtype"] >= OURS, f"log type {event['logtype']}"

    check(f"ssh: OpenSSH, {_type} key")(_public_key)


@check("ssh: OpenSSH, connection shared by three keys and a password")
def _(canary: Canary) -> None:
    keys = [option for kind in ("ed25519", "rsa", "ecdsa") for option in ("-i", str(SCRATCH / f"id_{kind}"))]
    mark = canary.mark()
    output = openssh(canary, "mixed", "-o", "IdentitiesOnly=yes", *keys, password="after keys")
    canary.logged(mark, 4002, {"USERNAME": "mixed", "PASSWORD": "after keys"}, output)


@check("ssh: ssh-keyscan")
def _(canary: Canary) -> None:
    output = run("ssh-keyscan", "-p", str(canary.ports["ssh"]), LOOPBACK)
    assert re.search(r"ssh-|ecdsa-", output), f"no host key: {output!r}"


def ssh_offer(canary: Canary) -> dict[str, list[str]]:
    """The algorithm lists of the server's KEXINIT (RFC 4253, 7.1)."""
    with connect(canary.ports["ssh"]) as peer:
        stream = peer.makefile("rb")
        version = stream.readline()
        peer.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n")
        if not version.startswith(b"SSH-2.0-"):
            raise AssertionError(f"no SSH server: {version!r}")
        length = int.from_bytes(stream.read(4), "big")
        packet = stream.read(length)
    assert packet[1] == 20, f"message {packet[1]} instead of KEXINIT"
    lists: list[list[str]] = []
    at = 1 + 1 + 16  # padding length, message number, cookie
    for _ in range(10):
        size = int.from_bytes(packet[at : at + 4], "big")
        names = packet[at + 4 : at + 4 + size].decode("ascii")
        lists.append(names.split(",") if names else [])
        at += 4 + size
    keys = ("kex", "host key", "cipher", "cipher back", "mac", "mac back")
    return dict(zip(keys, lists, strict=False))


SSH_LISTS = {
    # list: what `ssh -Q` calls it, the option that picks one, and its name for asyncssh
    "kex": ("kex", "KexAlgorithms", "kex_algs"),
    "host key": ("HostKeyAlgorithms", "HostKeyAlgorithms", "server_host_key_algs"),
    "cipher": ("cipher", "Ciphers", "encryption_algs"),
    "mac": ("mac", "MACs", "mac_algs"),
}
NOT_ALGORITHMS = re.compile(r"ext-info-.*|kex-strict-.*")


@cache
def ssh_supports(what: str) -> frozenset[str]:
    return frozenset(run("ssh", "-Q", what).split())


def ssh_algorithm_checks(canary: Canary, report: Report, only: str) -> None:
    """A login with each algorithm that the server offers: OpenSSH, else asyncssh, else a skip."""
    try:
        offer = ssh_offer(canary)
    except (AssertionError, OSError, IndexError) as error:
        report.fail("ssh: the server's KEXINIT", str(error))
        return
    for what in SSH_LISTS:
        for algorithm in dict.fromkeys(offer[what]):
            name = f"ssh: {what} {algorithm}"
            if only in name and not NOT_ALGORITHMS.fullmatch(algorithm):
                report.check(name, partial(ssh_algorithm_login, canary, offer["cipher"], what, algorithm))


def ssh_algorithm_login(canary: Canary, ciphers: list[str], what: str, algorithm: str) -> None:
    query, option, keyword = SSH_LISTS[what]
    password = f"{what} {algorithm}"[:60]
    openssh_options = ["-o", f"{option}={algorithm}"]
    asyncssh_options: dict[str, Any] = {keyword: [algorithm]}
    if what == "mac":  # is used only with a cipher that does not authenticate by itself
        plain = next((cipher for cipher in ciphers if cipher.endswith("-ctr")), None)
        if not plain:
            raise Skip("the server offers no cipher that needs a MAC")
        openssh_options += ["-o", f"Ciphers={plain}"]
        asyncssh_options["encryption_algs"] = [plain]
    if shutil.which("ssh") and algorithm in ssh_supports(query):
        openssh_password(canary, "algo", password, *openssh_options)
        return
    try:
        asyncssh_login(canary, "algo", password, **asyncssh_options)
    except ValueError as error:
        raise Skip(f"neither OpenSSH nor asyncssh here has it ({error})") from None


def asyncssh_login(canary: Canary, user: str, password: str, **options: Any) -> None:
    mark = canary.mark()
    asyncssh_attempt(canary, user, password, **options)
    canary.logged(mark, 4002, {"USERNAME": user, "PASSWORD": password})


def asyncssh_attempt(canary: Canary, user: str, password: str, **options: Any) -> None:
    async def attempt() -> None:
        try:
            async with asyncssh.connect(
                LOOPBACK,
                canary.ports["ssh"],
                username=user,
                password=password,
                known_hosts=None,
                client_keys=None,
                agent_path=None,
                config=None,
                login_timeout=20,
                **options,
            ):
                raise AssertionError("the login was accepted")
        except asyncssh.PermissionDenied:
            pass

    asyncio.run(attempt())


@check("ssh: asyncssh, password")
def _(canary: Canary) -> None:
    asyncssh_login(canary, "async", "asyncssh pw", preferred_auth="password")


@check("ssh: asyncssh, compression")
def _(canary: Canary) -> None:
    asyncssh_login(canary, "async", "squeezed", compression_algs=["zlib@openssh.com", "none"])


@check("ssh: paramiko, three passwords in one connection")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with paramiko.Transport((LOOPBACK, canary.ports["ssh"])) as transport:
        transport.start_client(timeout=15)
        for n in range(3):
            try:
                transport.auth_password("miko", f"paramiko {n}")
            except paramiko.AuthenticationException:
                continue
            raise AssertionError("the login was accepted")
    for n in range(3):
        canary.logged(mark, 4002, {"USERNAME": "miko", "PASSWORD": f"paramiko {n}"})


def dbclient(canary: Canary, user: str, password: str) -> str:
    return run(
        "dbclient", "-y", "-y", "-p", str(canary.ports["ssh"]), f"{user}@{LOOPBACK}", "true",
        environment={"DROPBEAR_PASSWORD": password},
    )  # fmt: skip


@check("ssh: dbclient (Dropbear), password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = dbclient(canary, "bear", "drop bear")
    canary.logged(mark, 4002, {"USERNAME": "bear", "PASSWORD": "drop bear"}, output)


@check("ssh: plink (PuTTY), password")
def _(canary: Canary) -> None:
    needs("plink", "ssh-keyscan", "ssh-keygen")
    keys = run("ssh-keyscan", "-p", str(canary.ports["ssh"]), LOOPBACK)
    found = re.findall(r"SHA256:\S+", run("ssh-keygen", "-lf", "-", stdin=keys))
    mark = canary.mark()
    output = run(
        "plink", "-ssh", "-batch", "-P", str(canary.ports["ssh"]), "-l", "putty", "-pw", "plink pw",
        *(option for fingerprint in found for option in ("-hostkey", fingerprint)),
        LOOPBACK, "true",
    )  # fmt: skip
    canary.logged(mark, 4002, {"USERNAME": "putty", "PASSWORD": "plink pw"}, output)


# -- HTTP and HTTPS ------------------------------------------------------------------------------

BROWSER = {
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "sec-ch-ua": '"Chromium";v="142", "Not_A Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Windows"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.9",
    "Cookie": "id=4711; stay_login=1",
}


def demanding(canary: Canary, scheme: str) -> Canary:
    """A canary whose pages demand that authentication; OpenCanary has no such setting."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary demands none")
    return Canary(canary.bin_dir, {"http.auth": scheme}, services=("http", "https"))


def web(scheme: str) -> None:
    """The checks of both; only the scheme differs."""

    def url(canary: Canary, path: str = "/index.html") -> str:
        return f"{scheme}://{LOOPBACK}:{canary.ports[scheme]}{path}"

    def curl(canary: Canary, *options: str, path: str = "/index.html") -> str:
        return run("curl", "-q", "-sS", "-k", "-i", "--max-time", "20", *options, url(canary, path))

    # Apache answers a client that names only HTTP/1.0 in its ALPN by HTTP/1.1, and curl gives up.
    for version in (["--http1.0", "--no-alpn"], ["--http1.1"]):

        @check(f"{scheme}: curl {version[0]}")
        def _(canary: Canary, version: list[str] = version) -> None:
            mark = canary.mark()
            output = curl(canary, *version)
            assert re.match(r"HTTP/1\.[01] 200 ", output), f"curl says {output[:300]!r}"
            event = canary.logged(mark, 3000, {"PATH": "/index.html"}, output)
            assert event["logdata"]["USERAGENT"].startswith("curl/"), event["logdata"]

    @check(f"{scheme}: curl, form")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, "--data-urlencode", "username=curl user", "--data-urlencode", "password=p&w=1")
        canary.logged(mark, 3001, {"USERNAME": "curl user", "PASSWORD": "p&w=1"}, output)

    @check(f"{scheme}: curl, multipart form")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, "-F", "username=multi", "-F", "password=part pw")
        canary.logged(mark, 3001, {"USERNAME": "multi", "PASSWORD": "part pw"}, output)

    @check(f"{scheme}: curl, large form with Expect")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        filler = "x" * 2_000_000
        body = SCRATCH / "large-form"
        body.write_text(f"username=large&password=expected&filler={filler}")
        output = curl(canary, "-H", "Expect: 100-continue", "--data-binary", f"@{body}")
        assert re.search(r"HTTP/1\.1 (200|302|413)", output), f"curl says {output[:300]!r}"
        canary.logged(mark, None, {"USERNAME": "large", "PASSWORD": "expected"}, output[:500])

    @check(f"{scheme}: curl, two requests over one connection")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, url(canary))
        events = [e for e in canary.settle(mark, at_least=2) if e["logtype"] == 3000]
        assert len(events) == 2, f"{len(events)} events; curl says {output[:300]!r}"
        assert len({e["src_port"] for e in events}) == 1, "the connection was not kept"

    @check(f"{scheme}: curl, Basic")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, "--basic", "-u", "basic-user:basic:pw")
        canary.logged(mark, None, {"USERNAME": "basic-user", "PASSWORD": "basic:pw"}, output)

    @check(f"{scheme}: Digest that nobody demanded")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        header = (
            'Authorization: Digest username="digest-user", realm="NAS", nonce="abc", uri="/index.html", '
            'response="0123456789abcdef0123456789abcdef", qop=auth, nc=00000001, cnonce="xyz"'
        )
        output = curl(canary, "-H", header)
        canary.mentioned(mark, "digest-user", context=output)

    @check(f"{scheme}: NTLM that nobody demanded")
    def _(canary: Canary) -> None:
        # A client's first message names no user, so the third one is sent, as a client replays it.
        name = "ntlm-user".encode("utf-16-le")
        fields = b"".join(
            len(v).to_bytes(2, "little") * 2 + at.to_bytes(4, "little")
            for v, at in ((b"", 88), (b"\0" * 24, 88), (b"", 64), (name, 64), (b"", 64), (b"", 64))
        )
        token = b"NTLMSSP\0\3\0\0\0" + fields + b"\1\2\0\0" + name.ljust(24, b"\0") + bytes(24)
        mark = canary.mark()
        output = curl(canary, "-H", f"Authorization: NTLM {base64.b64encode(token).decode()}")
        canary.mentioned(mark, "ntlm-user", context=output)

    @check(f"{scheme}: curl, Basic that is demanded")
    def _(canary: Canary) -> None:
        with demanding(canary, "basic") as strict:
            output = curl(strict, "--anyauth", "-u", "asked:for basic")
            strict.logged(0, None, {"USERNAME": "asked", "PASSWORD": "for basic"}, output)

    @check(f"{scheme}: curl and requests, Digest that is demanded")
    def _(canary: Canary) -> None:
        with demanding(canary, "digest") as strict:
            output = curl(strict, "--digest", "-u", "digest-curl:pw")
            assert output.count("HTTP/1.1 401") == 2, f"curl says {output[:500]!r}"
            strict.mentioned(0, "digest-curl", context=output)
            with requests.Session() as session:
                session.trust_env = False
                digest = requests.auth.HTTPDigestAuth("digest-requests", "pw")
                session.get(url(strict), auth=digest, verify=False, timeout=20)
            strict.mentioned(0, "digest-requests")

    @check(f"{scheme}: curl, NTLM that is demanded")
    def _(canary: Canary) -> None:
        with demanding(canary, "ntlm") as strict:
            output = curl(strict, "--ntlm", "-u", "CORP\\ntlm-curl:pw")
            assert re.search(r"(?i)www-authenticate: ntlm \S", output), f"curl says {output[:500]!r}"
            strict.mentioned(0, "ntlm-curl", "CORP", context=output)

    @check(f"{scheme}: curl, methods")
    def _(canary: Canary) -> None:
        for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
            mark = canary.mark()
            flags = ["-I"] if method == "HEAD" else ["-X", method]
            output = curl(canary, *flags, path=f"/method-{method}")
            assert re.match(r"HTTP/1\.[01] \d{3}", output), f"{method}: {output[:300]!r}"
            canary.mentioned(mark, method, f"/method-{method}", context=output)

    @check(f"{scheme}: requests session, redirect and login")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        with requests.Session() as session:
            session.verify = False
            session.trust_env = False  # else a CA bundle of this host would be asked after all
            session.get(url(canary, "/"), timeout=20)
            answer = session.post(url(canary), data={"username": "session", "password": "kept alive"}, timeout=20)
        assert answer.status_code < 500, answer.status_code
        canary.logged(mark, 3001, {"USERNAME": "session", "PASSWORD": "kept alive"})

    @check(f"{scheme}: the headers of a browser")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        port = canary.ports[scheme]
        client = (
            http.client.HTTPSConnection(LOOPBACK, port, timeout=20, context=unverified_tls())
            if scheme == "https"
            else http.client.HTTPConnection(LOOPBACK, port, timeout=20)
        )
        client.putrequest("GET", "/index.html", skip_accept_encoding=True)
        for name, value in BROWSER.items():
            client.putheader(name, value)
        client.endheaders()
        answer = client.getresponse()
        body = answer.read()
        client.close()
        assert answer.status == 200 and body, f"{answer.status}, {len(body)} bytes"
        canary.logged(mark, 3000, {"USERAGENT": BROWSER["User-Agent"]})


web("http")
web("https")


@check("http: pipelining")
def _(canary: Canary) -> None:
    request = "GET /index.html HTTP/1.1\r\nHost: pipe\r\nUser-Agent: pipe-{}\r\n{}\r\n"
    text = "".join(request.format(n, "Connection: close\r\n" if n == 5 else "") for n in range(1, 6))
    mark = canary.mark()
    with connect(canary.ports["http"]) as peer:
        peer.sendall(text.encode())
        answer = read_quiet(peer, 2.0)
    statuses = answer.count(b"HTTP/1.1 200 ")
    assert statuses == 5, f"{statuses} answers in {answer[:500]!r}"
    for n in range(1, 6):
        canary.logged(mark, 3000, {"USERAGENT": f"pipe-{n}"})


for _version in ("1.2", "1.3"):

    @check(f"https: curl, TLS {_version} only")
    def _(canary: Canary, version: str = _version) -> None:
        mark = canary.mark()
        port = canary.ports["https"]
        output = run(
            "curl", "-q", "-sS", "-k", "-i", f"--tlsv{version}", "--tls-max", version, "--max-time", "20",
            "-A", f"tls {version}", f"https://{LOOPBACK}:{port}/index.html",
        )  # fmt: skip
        canary.logged(mark, 3000, {"USERAGENT": f"tls {version}"}, output)


@check("https: curl, HTTP/2 offered")
def _(canary: Canary) -> None:
    mark = canary.mark()
    port = canary.ports["https"]
    output = run(
        "curl", "-q", "-sS", "-k", "-i", "--http2", "--max-time", "20", "-A", "offers-h2",
        "--resolve", f"nas.example:{port}:{LOOPBACK}", f"https://nas.example:{port}/index.html",
    )  # fmt: skip
    canary.logged(mark, 3000, {"USERAGENT": "offers-h2", "HOSTNAME": "nas.example"}, output)


@check("https: openssl s_client")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run(
        "openssl", "s_client", "-connect", f"{LOOPBACK}:{canary.ports['https']}", "-servername", "nas.example",
        "-quiet", stdin="GET /index.html HTTP/1.0\r\nUser-Agent: s_client\r\n\r\n",
    )  # fmt: skip
    canary.logged(mark, 3000, {"USERAGENT": "s_client"}, output)


# -- FTP -----------------------------------------------------------------------------------------


@check("ftp: ftplib")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with ftplib.FTP(encoding="utf-8") as client:
        client.connect(LOOPBACK, canary.ports["ftp"], timeout=20)
        try:
            client.login("lib", "ftplib pw")
        except ftplib.error_perm:
            pass
        else:
            raise AssertionError("the login was accepted")
    canary.logged(mark, 2000, {"USERNAME": "lib", "PASSWORD": "ftplib pw"})


@check("ftp: curl")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run(
        "curl", "-q", "-sS", "-v", "--max-time", "20", "-u", "curl:ftp pw", f"ftp://{LOOPBACK}:{canary.ports['ftp']}/"
    )
    assert "530" in output, f"curl says {output!r}"
    canary.logged(mark, 2000, {"USERNAME": "curl", "PASSWORD": "ftp pw"}, output)


def lftp(canary: Canary, settings: str, user: str, password: str) -> str:
    script = (
        f"set net:max-retries 1; set net:timeout 15; set net:reconnect-interval-base 1; {settings}"
        f"open -u {user},'{password}' -p {canary.ports['ftp']} {LOOPBACK}; ls; exit"
    )
    return run("lftp", "-d", "-c", script)


@check("ftp: lftp")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = lftp(canary, "set ftp:ssl-allow no; ", "lftp", "l ftp pw")
    canary.logged(mark, 2000, {"USERNAME": "lftp", "PASSWORD": "l ftp pw"}, output)


@check("ftp: lftp that would like TLS")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = lftp(canary, "set ssl:verify-certificate no; ", "lftp", "perhaps tls")
    canary.logged(mark, 2000, {"USERNAME": "lftp", "PASSWORD": "perhaps tls"}, output)


@check("ftp: tnftp")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run("tnftp", "-n", "-d", LOOPBACK, str(canary.ports["ftp"]), stdin="user tn tnftp-pw\nquit\n")
    canary.logged(mark, 2000, {"USERNAME": "tn", "PASSWORD": "tnftp-pw"}, output)


def ftp_offers_tls(canary: Canary) -> None:
    with connect(canary.ports["ftp"]) as peer:
        read_until(peer, b"\r\n")
        peer.sendall(b"AUTH TLS\r\n")
        answer = read_until(peer, b"\r\n")
    if not answer.startswith(b"234"):
        raise Skip(f"the server answers AUTH TLS by {answer!r}")


@check("ftp: ftplib with TLS")
def _(canary: Canary) -> None:
    ftp_offers_tls(canary)
    mark = canary.mark()
    client = ftplib.FTP_TLS(context=unverified_tls(), encoding="utf-8")
    client.connect(LOOPBACK, canary.ports["ftp"], timeout=20)
    try:
        client.login("libtls", "ftplib tls")
    except ftplib.error_perm:
        pass
    client.close()
    canary.logged(mark, 2000, {"USERNAME": "libtls", "PASSWORD": "ftplib tls"})


@check("ftp: lftp with TLS")
def _(canary: Canary) -> None:
    ftp_offers_tls(canary)
    mark = canary.mark()
    output = lftp(canary, "set ftp:ssl-force yes; set ssl:verify-certificate no; ", "lftptls", "forced")
    canary.logged(mark, 2000, {"USERNAME": "lftptls", "PASSWORD": "forced"}, output)


@check("ftp: curl with TLS")
def _(canary: Canary) -> None:
    ftp_offers_tls(canary)
    mark = canary.mark()
    output = run(
        "curl", "-q", "-sS", "-k", "--ssl-reqd", "--max-time", "20", "-u", "curltls:curl tls",
        f"ftp://{LOOPBACK}:{canary.ports['ftp']}/",
    )  # fmt: skip
    canary.logged(mark, 2000, {"USERNAME": "curltls", "PASSWORD": "curl tls"}, output)


# -- Telnet --------------------------------------------------------------------------------------


@check("telnet: telnet in a terminal, two logins")
def _(canary: Canary) -> None:
    needs("telnet")
    mark = canary.mark()
    client = pexpect.spawn("telnet", [LOOPBACK, str(canary.ports["telnet"])], timeout=15, cwd=str(SCRATCH))
    try:
        for user, password in (("inet", "utils pw"), ("again", "second pw")):
            client.expect("(sername|ogin): ?")
            client.sendline(user)
            client.expect("assword: ?")
            client.sendline(password)
        client.expect(["(sername|ogin): ?", pexpect.EOF])
    except (pexpect.TIMEOUT, pexpect.EOF) as error:
        raise AssertionError(f"{type(error).__name__} after {client.before!r}") from None
    finally:
        client.close(force=True)
    canary.logged(mark, 6001, {"USERNAME": "inet", "PASSWORD": "utils pw"})
    canary.logged(mark, 6001, {"USERNAME": "again", "PASSWORD": "second pw"})


@check("telnet: a client that answers each option")
def _(canary: Canary) -> None:
    mark = canary.mark()
    client = TelnetClient(canary.ports["telnet"])
    client.expect(b"sername:", b"ogin:")
    client.line(b"iac")
    client.expect(b"assword:")
    client.line(b"iac pw")
    client.expect(b"sername:", b"ogin:")
    client.socket.close()
    canary.logged(mark, 6001, {"USERNAME": "iac", "PASSWORD": "iac pw"})


@check("telnet: nc, which answers no option")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run("nc", "-w", "3", LOOPBACK, str(canary.ports["telnet"]), stdin="bot\r\nbot pw\r\n")
    canary.logged(mark, 6001, {"USERNAME": "bot", "PASSWORD": "bot pw"}, output)


@check("telnet: curl")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run(
        "curl", "-q", "-sS", "--max-time", "5", f"telnet://{LOOPBACK}:{canary.ports['telnet']}",
        stdin="curl\r\ncurl telnet\r\n",
    )  # fmt: skip
    canary.logged(mark, 6001, {"USERNAME": "curl", "PASSWORD": "curl telnet"}, output)


# -- Redis ---------------------------------------------------------------------------------------


def redis_cli(canary: Canary, *words: str, stdin: str = "") -> str:
    return run("redis-cli", "-h", LOOPBACK, "-p", str(canary.ports["redis"]), *words, stdin=stdin)


@check("redis: redis-cli without a password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "CONFIG", "GET", "dir")
    assert "NOAUTH" in output, f"redis-cli says {output!r}"
    canary.logged(mark, 17001, {"CMD": "CONFIG GET", "ARGS": "dir"}, output)


@check("redis: redis-cli, password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "--no-auth-warning", "-a", "cli-pw", "PING")
    assert "WRONGPASS" in output or "invalid password" in output, f"redis-cli says {output!r}"
    canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": "cli-pw"}, output)
    canary.logged(mark, None, {"PASSWORD": "cli-pw"}, output)


@check("redis: redis-cli, user and password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "--no-auth-warning", "--user", "ops", "--pass", "cli ops pw", "PING")
    canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": "ops cli ops pw"}, output)
    canary.logged(mark, None, {"USERNAME": "ops", "PASSWORD": "cli ops pw"}, output)


@check("redis: redis-cli -3")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "-3", "--no-auth-warning", "-a", "resp3", "PING")
    canary.logged(mark, None, {"PASSWORD": "resp3"}, output)


@check("redis: redis-cli, many commands from standard input")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, stdin="INFO\nKEYS *\nAUTH typed\nQUIT\n")
    canary.logged(mark, 17001, {"CMD": "INFO"}, output)
    canary.logged(mark, 17001, {"CMD": "KEYS", "ARGS": "*"}, output)
    canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": "typed"}, output)


for _protocol in (2, 3):

    @check(f"redis: redis-py, RESP{_protocol}")
    def _(canary: Canary, protocol: int = _protocol) -> None:
        mark = canary.mark()
        client = redis.Redis(
            LOOPBACK,
            canary.ports["redis"],
            username="py",
            password=f"redis-py {protocol}",
            protocol=protocol,
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            client.ping()
        except redis.AuthenticationError:
            pass
        else:
            raise AssertionError("the login was accepted")
        finally:
            client.close()
        canary.logged(mark, 17001, {"CMD": "HELLO" if protocol == 3 else "AUTH"})
        canary.logged(mark, None, {"USERNAME": "py", "PASSWORD": f"redis-py {protocol}"})


# -- Git -----------------------------------------------------------------------------------------


for _version_number in (0, 1, 2):

    @check(f"git: git ls-remote, protocol {_version_number}")
    def _(canary: Canary, version: int = _version_number) -> None:
        mark = canary.mark()
        port = canary.ports["git"]
        output = run(
            "git", "ls-remote", f"git://{LOOPBACK}:{port}/ls/v{version}.git", environment=git_environment(version)
        )
        assert "remote error" in output or "access denied" in output, f"git says {output!r}"
        canary.logged(mark, 16001, {"REPO": f"ls/v{version}.git", "HOST": f"{LOOPBACK}:{port}"}, output)


@check("git: git push")
def _(canary: Canary) -> None:
    needs("git")
    import git  # fails where there is no `git`

    repository = git.Repo.init(SCRATCH / "push")
    repository.index.commit("first", author=git.Actor("a", "a@example.org"), committer=git.Actor("a", "a@example.org"))
    mark = canary.mark()
    output = run(
        "git", "-C", str(SCRATCH / "push"), "push", f"git://{LOOPBACK}:{canary.ports['git']}/pushed.git", "HEAD:main"
    )
    canary.mentioned(mark, "pushed.git", "receive-pack", context=output)


@check("git: GitPython clone")
def _(canary: Canary) -> None:
    needs("git")
    import git

    mark = canary.mark()
    try:
        git.Repo.clone_from(
            f"git://{LOOPBACK}:{canary.ports['git']}/py/thon.git", SCRATCH / "clone", env=git_environment(2)
        )
    except git.GitCommandError:
        pass
    canary.logged(mark, 16001, {"REPO": "py/thon.git"})


@check("git: raw request")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with connect(canary.ports["git"]) as peer:
        peer.sendall(b"0033git-upload-pack /project.git\0host=myserver.com\0")
        answer = read_quiet(peer, 1.0)
    assert re.match(rb"[0-9a-f]{4}ERR ", answer) and int(answer[:4], 16) == len(answer), f"the answer is {answer!r}"
    canary.logged(mark, 16001, {"REPO": "project.git", "HOST": "myserver.com"})


# -- TCP banner ----------------------------------------------------------------------------------


@check("tcpbanner: nc, plain")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run("nc", "-w", "2", LOOPBACK, str(canary.ports["tcpbanner_1"]), stdin="hello\r\n")
    assert "220 plain ready" in output and "500 what?" in output, f"nc says {output!r}"
    canary.logged(mark, 18001, {"BANNER_ID": "1", "DATA": "b'220 plain ready\\r\\n'"})


@check("tcpbanner: nc, alert string")
def _(canary: Canary) -> None:
    mark = canary.mark()
    run("nc", "-w", "2", LOOPBACK, str(canary.ports["tcpbanner_2"]), stdin="xx SECRET-WORD xx\n")
    canary.logged(mark, 18005, {"BANNER_ID": "2", "ALERT_STRING": "SECRET-WORD", "DATA": "xx SECRET-WORD xx"})


@check("tcpbanner: curl, keep-alive and secret")
def _(canary: Canary) -> None:
    mark = canary.mark()
    run(
        "curl", "-q", "-sS", "--max-time", "3", f"telnet://{LOOPBACK}:{canary.ports['tcpbanner_3']}",
        stdin="this is open-sesame\n",
    )  # fmt: skip
    canary.logged(mark, 18002, {"BANNER_ID": "3"})
    canary.logged(mark, 18003, {"BANNER_ID": "3", "SECRET_STRING": "open-sesame"})


@check("tcpbanner: keep-alive is set on the socket")
def _(canary: Canary) -> None:
    needs("ss")
    with connect(canary.ports["tcpbanner_3"]) as peer:
        read_quiet(peer, 0.3)
        port = canary.ports["tcpbanner_3"]
        output = run("ss", "-tno", "state", "established", f"( sport = :{port} )")
    assert "keepalive" in output, f"ss says {output!r}"


# -- scanners and guessers -----------------------------------------------------------------------

PRODUCTS = {
    "ftp": r"vsftpd",
    "ssh": r"OpenSSH",
    "http": r"Apache|nginx",
    "https": r"Apache|nginx",
    "redis": r"Redis",
}


def nmap_checks(canary: Canary, report: Report, only: str) -> None:
    """One scan for all services, and a check for each."""
    names = {service: f"nmap: names {service}" for service in PRODUCTS}
    wanted = [service for service, name in names.items() if only in name]
    if not wanted:
        return
    try:
        ports = ",".join(str(canary.ports[service]) for service in wanted)
        output = run("nmap", "-sT", "-sV", "-Pn", "-n", "-p", ports, "-oX", "-", LOOPBACK, timeout=300)
        found = {
            int(port.attrib["portid"]): element.attrib
            for port in xml.fromstring(output[output.index("<?xml") :]).iter("port")
            if (element := port.find("service")) is not None
        }
    except Skip as reason:
        for service in wanted:
            report.skip(names[service], str(reason))
        return
    except (AssertionError, ValueError, xml.ParseError) as error:
        report.fail("nmap", str(error))
        return
    for service in wanted:

        def body(service: str = service) -> None:
            seen = found.get(canary.ports[service], {})
            product = seen.get("product", "")
            assert "servicefp" not in seen, f"unrecognized despite returning data:\n{seen['servicefp']}"
            assert re.search(PRODUCTS[service], product), f"nmap sees {seen}"
            # No word of TLS: Apache's 400 to plain HTTP on a TLS port is enough for nmap.
            print(f"     {service}: {product} {seen.get('version', '')} {seen.get('extrainfo', '')}".rstrip())

        report.check(names[service], body)


def hydra(module: str, service: str, logtype: int, *target: str) -> None:
    """A check that each password of hydra's list is in the log, and that hydra believes in none."""

    @check(f"hydra: {service}")
    def _(canary: Canary) -> None:
        needs("hydra")
        passwords = [f"hydra-{service}-{n}" for n in range(5)]
        words = SCRATCH / f"words-{service}"
        words.write_text("".join(f"{p}\n" for p in passwords))
        user = [] if service == "redis" else ["-l", "hydra"]
        mark = canary.mark()
        output = run(
            "hydra", *user, "-P", str(words), "-t", "2", "-w", "15", "-I", "-s", str(canary.ports[service]),
            LOOPBACK, module, *target, timeout=120,
        )  # fmt: skip
        for password in passwords:
            data = {"CMD": "AUTH", "ARGS": password} if service == "redis" else {"PASSWORD": password}
            canary.logged(mark, logtype, data, output)
        assert "0 valid password" in output, f"hydra says {output[-500:]!r}"


hydra("ftp", "ftp", 2000)
hydra("ssh", "ssh", 4002)
hydra("telnet", "telnet", 6001)
hydra("redis", "redis", 17001)
hydra("http-post-form", "http", 3001, "/index.html:username=^USER^&password=^PASS^:S=never-in-the-page")


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="NAME", default="", help="only checks whose name contains the text")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    report = Report()
    try:
        # TLS is off by default, but has clients of its own; OpenCanary does not know the key.
        with Canary(bin_dir, {"ftp.tls": True}) as canary:
            for name, body in CHECKS:
                if options.only in name:
                    report.check(name, lambda body=body: body(canary))  # type: ignore[misc]
            ssh_algorithm_checks(canary, report, options.only)
            nmap_checks(canary, report, options.only)

            def still_there() -> None:
                assert canary.alive(), f"the process ended:\n{canary.last_output()}"
                with socket.create_connection((LOOPBACK, canary.ports["ftp"]), 5) as peer:
                    assert peer.recv(100), "FTP greets no more"

            if not options.only:
                report.check("the canary still answers", still_there)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
