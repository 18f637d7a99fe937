"""Drives OpenCanary 0.9.10 and Aviary with the same clients, and compares their events field by field.

Every event that OpenCanary wrote must be in ours: same order per service, same keys, same values,
same JSON text form. What may differ is here and nowhere else: `normalised` (times, ports, session
numbers), and `EXPECTED_DIFFERENCES` (bugs and marks of OpenCanary that Aviary must not repeat).
"""

from __future__ import annotations

import copy
import difflib
import ftplib
import importlib.metadata
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import git
import paramiko
import redis
import requests
import urllib3
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from canary import (
    LIFECYCLE,
    LOOPBACK,
    OURS,
    Canary,
    Event,
    Report,
    TelnetClient,
    arguments,
    connect,
    git_environment,
    pkt_line,
    read_quiet,
    read_until,
)

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
urllib3.disable_warnings()

ZONE, OFFSET = "Asia/Kolkata", timedelta(hours=5, minutes=30)
"""A zone without whole hours, so that local and UTC time cannot be mistaken for each other."""

SETTINGS: dict[str, Any] = {
    "ftp.banner": "FTP server ready",
    "ftp.log_auth_attempt_initiated": True,
    "ftp.honeycreds": [{"username": "admin", "password": "admin1"}],
    "http.banner": "Apache/2.2.22 (Ubuntu)",
    "http.log_unimplemented_method_requests": True,
    "http.log_redirect_request": True,
    "ssh.version": "SSH-2.0-OpenSSH_5.1p1 Debian-4",
    "ssh.honeycreds": [
        # `honey-pbkdf2` and `honey-sha512crypt`
        {
            "username": "root",
            "password": "$pbkdf2-sha512$1000$/H8PQejd29sbw7g3hlAKAQ$"
            "stnCd7hRBUnOWWrfFQ1zBioG4assnVVpPG6i7c3i6ls8UgFvqr.WvHBioh4nxy9L73DxGnqmNhG9FEeHdXHilQ",
        },
        {
            "username": "backup",
            "password": "$6$rounds=1000$p6K7CBVVXxlUyrov$"
            "yVq0KkbuaLZT5d0PGhOs8WEl89wo4Qb27aSEsCliMhAKRGDMcifgonevBRpsPi0/qQrViVFQVmpd1cEwLg5qC.",
        },
    ],
    "telnet.banner": "",
    "telnet.log_tcp_connection": True,
    "telnet.honeycreds": [{"username": "admin", "password": "admin1"}],
}


# -- the dialogues ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One dialogue with one service; `name` starts with the service."""

    name: str
    service: str
    play: Callable[[Canary, int], None]


STEPS: list[Step] = []


def step(service: str, what: str) -> Callable[[Callable[[Canary, int], None]], Callable[[Canary, int], None]]:
    """Adds a dialogue. It gets the canary and the service's port."""

    def add(play: Callable[[Canary, int], None]) -> Callable[[Canary, int], None]:
        STEPS.append(Step(f"{service}: {what}", service, play))
        return play

    return add


def raw(port: int, *parts: bytes, wait: float = 0.3) -> bytes:
    """Sends the parts one after the other, reading what comes after each, and closes."""
    with connect(port) as peer:
        answer = b""
        for part in parts:
            peer.sendall(part)
            answer += read_quiet(peer, wait)
        return answer


# FTP


@step("ftp", "ftplib login")
def _(_canary: Canary, port: int) -> None:
    ftp_login(port, "alice", "wonderland")


@step("ftp", "decoy credential")
def _(_canary: Canary, port: int) -> None:
    ftp_login(port, "admin", "admin1")


@step("ftp", "anonymous login")
def _(_canary: Canary, port: int) -> None:
    ftp_login(port, "anonymous", "guest@example.org")


@step("ftp", "empty password")
def _(_canary: Canary, port: int) -> None:
    ftp_login(port, "bob", "")


@step("ftp", "spaces and quotes")
def _(_canary: Canary, port: int) -> None:
    ftp_login(port, 'bo b "x"', "p a\\ss 'w'")


@step("ftp", "user name in UTF-8")
def _(_canary: Canary, port: int) -> None:
    ftp_dialogue(port, "USER jörg".encode(), "PASS grün".encode())


@step("ftp", "two logins in one connection")
def _(_canary: Canary, port: int) -> None:
    ftp_dialogue(port, b"USER one", b"PASS first", b"USER two", b"PASS second")


@step("ftp", "PASS before USER, then again after a login")
def _(_canary: Canary, port: int) -> None:
    ftp_dialogue(port, b"PASS early", b"USER carol", b"PASS good", b"PASS late")


@step("ftp", "lower case")
def _(_canary: Canary, port: int) -> None:
    ftp_dialogue(port, b"user dave", b"pass lower")


@step("ftp", "verbs without a login")
def _(_canary: Canary, port: int) -> None:
    ftp_dialogue(port, b"SYST", b"FEAT", b"NOOP", b"PWD", b"LIST", b"BOGUS", b"QUIT")


def ftp_login(port: int, user: str, password: str) -> None:
    client = ftplib.FTP(encoding="utf-8")
    client.connect(LOOPBACK, port, timeout=10)
    try:
        client.login(user, password)
    except ftplib.error_perm:
        pass
    else:
        raise AssertionError("the login was accepted")
    client.close()


def ftp_dialogue(port: int, *lines: bytes) -> None:
    with connect(port) as peer:
        read_until(peer, b"\r\n")
        for line in lines:
            peer.sendall(line + b"\r\n")
            read_until(peer, b"\r\n")
            read_quiet(peer, 0.05)


# HTTP and HTTPS


def web(scheme: str) -> None:
    """The dialogues of both; only the scheme differs."""

    def url(port: int, path: str) -> str:
        return f"{scheme}://{LOOPBACK}:{port}{path}"

    def ask(method: str, path: str, **more: Any) -> Callable[[Canary, int], None]:
        def play(_canary: Canary, port: int) -> None:
            fresh = {name: value() if callable(value) else value for name, value in more.items()}
            requests.request(method, url(port, path), verify=False, timeout=10, **fresh)

        return play

    form = {"username": "admin", "password": "hunter2"}
    step(scheme, "GET / and its redirect")(ask("GET", "/"))
    step(scheme, "GET /index.html")(ask("GET", "/index.html"))
    step(scheme, "GET with a query")(ask("GET", "/index.html?next=%2Fadmin"))
    step(scheme, "GET of a page that is not there")(ask("GET", "/nothing.html"))
    step(scheme, "GET, own user agent and host")(
        ask("GET", "/index.html", headers={"User-Agent": "Mozilla/5.0 (X11; Linux)", "Host": "nas.example:8080"})
    )
    step(scheme, "GET, user agent in UTF-8")(ask("GET", "/index.html", headers={"User-Agent": "tëst".encode()}))
    step(scheme, "GET, user agent not UTF-8")(ask("GET", "/index.html", headers={"User-Agent": b"t\xebst"}))
    step(scheme, "GET without a user agent")(
        ask("GET", "/index.html", headers={"User-Agent": urllib3.util.SKIP_HEADER})
    )
    step(scheme, "POST of a form")(ask("POST", "/index.html", data=form))
    step(scheme, "POST of a multipart form")(
        ask("POST", "/index.html", files={name: (None, value) for name, value in form.items()})
    )
    step(scheme, "POST in chunks")(
        ask(
            "POST",
            "/index.html",
            # Called anew for each canary: an iterator sends its chunks once.
            data=lambda: iter([b"username=chunky&", b"password=", b"piece%20by+piece"]),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
    )
    step(scheme, "POST with escapes and UTF-8")(
        ask("POST", "/index.html", data={"username": "jörg+1", "password": "a&b=c d%25\r\n"})
    )
    step(scheme, "POST with empty fields")(ask("POST", "/index.html", data={"username": "", "password": ""}))
    step(scheme, "POST without fields")(ask("POST", "/index.html", data={"other": "1"}))
    step(scheme, "POST with repeated fields")(
        ask("POST", "/index.html", data=[("username", "a"), ("username", "b"), ("password", "c")])
    )
    step(scheme, "POST of JSON")(ask("POST", "/index.html", json=form))
    step(scheme, "POST to /")(ask("POST", "/", data=form, allow_redirects=False))
    step(scheme, "POST that is not UTF-8")(
        ask(
            "POST",
            "/index.html",
            data=b"username=b%ff%fe&password=x",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
    )
    for method in ("HEAD", "PUT", "DELETE", "PATCH", "TRACE"):
        step(scheme, f"{method} /index.html")(ask(method, "/index.html"))
    step(scheme, "HEAD /")(ask("HEAD", "/"))

    @step(scheme, "two requests in one connection")
    def _(_canary: Canary, port: int) -> None:
        with requests.Session() as session:
            session.get(url(port, "/index.html"), verify=False, timeout=10)
            session.post(url(port, "/index.html"), data={"username": "k", "password": "eep"}, verify=False, timeout=10)


web("http")
web("https")


@step("http", "HTTP/1.0 without Host")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"GET /index.html HTTP/1.0\r\n\r\n")


@step("http", "escaped path")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"GET /%69ndex.html HTTP/1.1\r\nHost: nas\r\nUser-Agent: raw\r\n\r\n")


@step("http", "pipelined")
def _(_canary: Canary, port: int) -> None:
    request = b"GET /index.html HTTP/1.1\r\nHost: pipe\r\nUser-Agent: %d\r\n\r\n"
    raw(port, request % 1 + request % 2 + request % 3)


# SSH


@step("ssh", "paramiko, two passwords")
def _(_canary: Canary, port: int) -> None:
    ssh_passwords(port, ("root", "toor"), ("root", "s3cr3t é"))


@step("ssh", "decoy credentials")
def _(_canary: Canary, port: int) -> None:
    ssh_passwords(port, ("root", "honey-pbkdf2"), ("backup", "honey-pbkdf2"))
    ssh_passwords(port, ("backup", "honey-sha512crypt"))


@step("ssh", "empty password, user name in UTF-8")
def _(_canary: Canary, port: int) -> None:
    ssh_passwords(port, ("jörg", ""))


@step("ssh", "password that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    ssh_passwords(port, ("root", b"p\xff\xfe"))


@step("ssh", "public key")
def _(_canary: Canary, port: int) -> None:
    with paramiko.Transport((LOOPBACK, port)) as transport:
        transport.start_client(timeout=10)
        try:
            transport.auth_publickey("root", paramiko.RSAKey.generate(2048))
        except paramiko.AuthenticationException:
            pass


@step("ssh", "method none")
def _(_canary: Canary, port: int) -> None:
    with paramiko.Transport((LOOPBACK, port)) as transport:
        transport.start_client(timeout=10)
        try:
            transport.auth_none("nobody")
        except paramiko.BadAuthenticationType:
            pass


@step("ssh", "version only")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"SSH-2.0-scanner\r\n")


@step("ssh", "connect and close")
def _(_canary: Canary, port: int) -> None:
    connect(port).close()


def ssh_passwords(port: int, *credentials: tuple[str, str | bytes]) -> None:
    with paramiko.Transport((LOOPBACK, port)) as transport:
        transport.start_client(timeout=10)
        for user, password in credentials:
            if not transport.is_active():
                break
            try:
                transport.auth_password(user, password)
            except paramiko.AuthenticationException:
                continue
            raise AssertionError("the login was accepted")


# Telnet


@step("telnet", "two logins of a terminal")
def _(_canary: Canary, port: int) -> None:
    client = TelnetClient(port)
    for user, password in ((b"admin", b"cisco"), (b"enable", b"pass word")):
        client.expect(b"sername:", b"ogin:")
        client.line(user)
        client.expect(b"assword:")
        client.line(password)
    client.expect(b"sername:", b"ogin:")
    client.socket.close()


@step("telnet", "two logins of a client that answers late")
def _(_canary: Canary, port: int) -> None:
    will, wont = b"\xff\xfd\x01", b"\xff\xfe\x01"
    raw(port, b"one\r\n", will + b"first\r\n", wont, b"two\r\n", will + b"second pass\r\n", wont)


@step("telnet", "decoy credential")
def _(_canary: Canary, port: int) -> None:
    client = TelnetClient(port)
    client.expect(b"sername:", b"ogin:")
    client.line(b"admin")
    client.expect(b"assword:")
    client.line(b"admin1")
    read_quiet(client.socket, 0.3)
    client.socket.close()


@step("telnet", "a client that knows no options")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"bot\r\n", b"botpass\r\n")


@step("telnet", "lines that end in CR NUL")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"charmode\r\0", b"charpass\r\0")


@step("telnet", "user name in UTF-8")
def _(_canary: Canary, port: int) -> None:
    raw(port, "jörg\r\n".encode(), "grün\r\n".encode())


@step("telnet", "password that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"root\r\n", b"p\xfe\xfd\r\n")


@step("telnet", "endless subnegotiation")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"\xff\xfa\x18" + b"A" * 400 + b"\xff\xf0")


@step("telnet", "connect and close")
def _(_canary: Canary, port: int) -> None:
    connect(port).close()


# Redis


@step("redis", "redis-py AUTH")
def _(_canary: Canary, port: int) -> None:
    redis_commands(port, ("AUTH", "foobared"), ("AUTH", "default", "p4ss"))


@step("redis", "redis-py commands")
def _(_canary: Canary, port: int) -> None:
    redis_commands(
        port,
        ("GET", "key"),
        ("SET", "key", "value"),
        ("set", "k", "v", "EX", "10"),
        ("PING",),
        ("INFO", "server"),
        ("CONFIG", "GET", "*"),
        ("config", "set", "dir", "/var/spool/cron"),
        ("CLIENT", "LIST"),
        ("SLAVEOF", "192.0.2.1", "6379"),
        ("EVAL", "return 1", "0"),
        ("FLUSHALL",),
    )


@step("redis", "redis-py with a password")
def _(_canary: Canary, port: int) -> None:
    client = redis.Redis(LOOPBACK, port, username="ops", password="letmein", retry=Retry(NoBackoff(), 0))
    try:
        client.ping()
    except redis.RedisError:
        pass
    client.close()


@step("redis", "unknown command, wrong arity")
def _(_canary: Canary, port: int) -> None:
    redis_commands(port, ("FOO", "bar", "baz"), ("GET",), ("GET", "a", "b"), ("AUTH", "a", "b", "c"))


@step("redis", "arguments past 30 characters")
def _(_canary: Canary, port: int) -> None:
    redis_commands(port, ("SET", "k", "x" * 40), ("Y" * 40, "z" * 40), ("AUTH", "q" * 40))


@step("redis", "inline commands")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"PING\r\n", b"get key\n", b"SET \"a b\" 'c d'\r\n", b"AUTH inline\r\nINFO\r\n")


@step("redis", "inline, quotes not closed")
def _(_canary: Canary, port: int) -> None:
    raw(port, b'SET "a b\r\n')


@step("redis", "inline, empty line")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"\r\n", b"PING\r\n")


@step("redis", "array of no elements")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*0\r\n", b"PING\r\n")


@step("redis", "empty string as an argument")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n")


@step("redis", "argument that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*2\r\n$3\r\nGET\r\n$2\r\n\xff\xfe\r\n")


@step("redis", "line ends in an argument")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$9\r\n\n\n* * *\r\n\r\n")


@step("redis", "bulk length past the limit")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*1\r\n$1000000000\r\n")


@step("redis", "negative bulk length")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*1\r\n$-5\r\n")


@step("redis", "bulk without a dollar sign")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*1\r\nPING\r\n")


@step("redis", "array length that is no number")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*x\r\n")


@step("redis", "array of 11 elements")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"*11\r\n$4\r\nMSET\r\n" + b"".join(b"$2\r\na%d\r\n" % n for n in range(10)))


@step("redis", "inline of 70,000 bytes")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"A" * 70_000)


def redis_commands(port: int, *commands: tuple[str, ...]) -> None:
    """One connection, without redis-py's own greeting; errors are the answer that is expected."""
    nameless = DriverInfo("", lib_version="")
    client: Any = redis.connection.Connection(  # type: ignore[no-untyped-call]
        LOOPBACK, port, driver_info=nameless, retry=Retry(NoBackoff(), 0)
    )
    client.connect()
    for command in commands:
        client.send_command(*command)
        try:
            client.read_response()
        except redis.RedisError:
            pass
    client.disconnect()


@step("redis", "redis-py without a password")
def _(_canary: Canary, port: int) -> None:
    client = redis.Redis(LOOPBACK, port, retry=Retry(NoBackoff(), 0))
    try:
        client.get("key")
    except redis.RedisError:
        pass
    client.close()


# Git


def git_clone(version: int) -> Callable[[Canary, int], None]:
    def play(_canary: Canary, port: int) -> None:
        with tempfile.TemporaryDirectory() as target:
            try:
                url = f"git://{LOOPBACK}:{port}/projects/site.git"
                git.Repo.clone_from(url, target, env=git_environment(version))
            except git.GitCommandError:
                return
        raise AssertionError("the clone was accepted")

    return play


for _version in (0, 1, 2):
    step("git", f"GitPython clone, protocol {_version}")(git_clone(_version))


@step("git", "raw request")
def _(_canary: Canary, port: int) -> None:
    raw(port, pkt_line(b"git-upload-pack /project.git\0host=git.example.org\0"))


@step("git", "request in two pieces")
def _(_canary: Canary, port: int) -> None:
    request = pkt_line(b"git-upload-pack /two/pieces\0host=git.example.org:9418\0")
    raw(port, request[:9], request[9:])


@step("git", "path that contains the word host")
def _(_canary: Canary, port: int) -> None:
    raw(port, pkt_line(b"git-upload-pack /myhost/project.git\0host=git.example.org\0"))


@step("git", "path that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    raw(port, pkt_line(b"git-upload-pack /caf\xe9.git\0host=git.example.org\0"))


@step("git", "request without a host")
def _(_canary: Canary, port: int) -> None:
    raw(port, pkt_line(b"git-upload-pack /project.git\0"))


@step("git", "push")
def _(_canary: Canary, port: int) -> None:
    raw(port, pkt_line(b"git-receive-pack /project.git\0host=git.example.org\0"))


# TCP banner


@step("tcpbanner_1", "connect and send")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"", b"hello\r\n")


@step("tcpbanner_2", "data without, then with the alert string")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"nothing here\r\n", b"say SECRET-WORD now  \r\n")


@step("tcpbanner_2", "alert string among 300 bytes")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"SECRET-WORD" + b"x" * 289)


@step("tcpbanner_2", "alert string with bytes that are not UTF-8")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"\xff\xfe SECRET-WORD \x80\r\n")


@step("tcpbanner_3", "data, secret, data")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"first\r\n", b"then open-sesame\r\n", b"unheard\r\n")


@step("tcpbanner_3", "connect and close")
def _(_canary: Canary, port: int) -> None:
    connect(port).close()


# -- what may differ -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A place where Aviary must not do as OpenCanary does.

    `event` counts OpenCanary's events of the step; `key` is a key of `logdata`. With `missing`, the
    event must not be in ours. `adds` are events (log type and log data) that OpenCanary lost; they
    stand after its own.
    """

    step: str
    reason: str
    event: int = 0
    key: str = ""
    opencanary: Any = None
    aviary: Any = None
    missing: bool = False
    adds: tuple[tuple[int, dict[str, Any]], ...] = ()


def http_login(path: str, user: str, password: str, agent: str) -> tuple[int, dict[str, Any]]:
    return 3001, {
        "HOSTNAME": LOOPBACK,
        "PASSWORD": password,
        "PATH": path,
        "SKIN": "nasLogin",
        "USERAGENT": agent,
        "USERNAME": user,
    }


AGENT = requests.utils.default_user_agent()

EXPECTED_DIFFERENCES: list[Difference] = [
    Difference(
        "ftp: user name in UTF-8",
        "OpenCanary reads the bytes as Latin-1, so every name past ASCII is logged garbled",
        event=1,
        key="USERNAME",
        opencanary="jÃ¶rg",
        aviary="jörg",
    ),
    Difference("ftp: user name in UTF-8", "as above", event=1, key="PASSWORD", opencanary="grÃ¼n", aviary="grün"),
    *(
        difference
        for scheme in ("http", "https")
        for difference in (
            Difference(
                f"{scheme}: POST of JSON",
                "OpenCanary reads forms only and misses credentials in JSON",
                key="USERNAME",
                opencanary="<not supplied>",
                aviary="admin",
            ),
            Difference(
                f"{scheme}: POST of JSON", "as above", key="PASSWORD", opencanary="<not supplied>", aviary="hunter2"
            ),
            # The redirect to /index.html is a known mark of OpenCanary.
            Difference(
                f"{scheme}: GET / and its redirect",
                "Aviary serves the login page at `/` itself, so the event names what was asked for",
                event=1,
                key="PATH",
                opencanary="/index.html",
                aviary="/",
            ),
            Difference(f"{scheme}: HEAD /", "as above", event=1, key="PATH", opencanary="/index.html", aviary="/"),
            Difference(
                f"{scheme}: POST to /",
                "OpenCanary redirects and loses the credentials",
                adds=(http_login("/", "admin", "hunter2", AGENT),),
            ),
            Difference(
                f"{scheme}: GET, user agent not UTF-8",
                "OpenCanary fails to decode the header and loses the event",
                adds=(
                    (
                        3000,
                        {"HOSTNAME": LOOPBACK, "PATH": "/index.html", "SKIN": "nasLogin", "USERAGENT": "t\\xebst"},
                    ),
                ),
            ),
            Difference(
                f"{scheme}: POST that is not UTF-8",
                "OpenCanary answers 500 and loses the event",
                adds=(http_login("/index.html", "b\\xff\\xfe", "x", AGENT),),
            ),
        )
    ),
    Difference(
        "ssh: password that is not UTF-8",
        "OpenCanary fails to write the event and closes the connection",
        adds=(
            (
                4002,
                {
                    "LOCALVERSION": "<SSH-2.0->",
                    "PASSWORD": "p\\xff\\xfe",
                    "REMOTEVERSION": f"SSH-2.0-paramiko_{paramiko.__version__}",
                    "USERNAME": "root",
                },
            ),
        ),
    ),
    Difference(
        "telnet: two logins of a terminal",
        "OpenCanary contradicts its own offer of ECHO and then waits for an answer that has come already",
        adds=((6001, {"PASSWORD": "pass word", "USERNAME": "enable"}),),
    ),
    Difference(
        "telnet: password that is not UTF-8",
        "OpenCanary fails to write the event and closes the connection",
        adds=((6001, {"PASSWORD": "p\\xfe\\xfd", "USERNAME": "root"}),),
    ),
    Difference(
        "telnet: lines that end in CR NUL",
        "OpenCanary never sees the end of such a line, which is what a character-mode client sends",
        adds=((6001, {"PASSWORD": "charpass", "USERNAME": "charmode"}),),
    ),
    Difference(
        "redis: inline, empty line",
        "a real server ignores an empty line; OpenCanary calls it an error and closes",
        missing=True,
        adds=((17001, {"ARGS": "", "CMD": "PING"}),),
    ),
    Difference(
        "redis: array of no elements",
        "a real server ignores it; OpenCanary calls it an error and closes",
        missing=True,
        adds=((17001, {"ARGS": "", "CMD": "PING"}),),
    ),
    Difference(
        "redis: empty string as an argument",
        "OpenCanary takes the length 0 for an error and loses the command",
        missing=True,
        adds=((17001, {"ARGS": "k ", "CMD": "SET"}),),
    ),
    Difference(
        "redis: argument that is not UTF-8",
        "OpenCanary replaces the bytes and so loses them",
        key="ARGS",
        opencanary="\ufffd\ufffd",
        aviary="\\xff\\xfe",
    ),
    Difference(
        "redis: redis-py without a password",
        "Redis before 7.2 has no CLIENT SETINFO and says so before it asks for a login; so redis-py goes on",
        adds=(
            (17001, {"ARGS": f"SETINFO LIB-VER {redis.__version__}", "CMD": "CLIENT"}),
            (17001, {"ARGS": "key", "CMD": "GET"}),
        ),
    ),
    Difference(
        "git: GitPython clone, protocol 1",
        "OpenCanary takes the extra parameters for a part of the host",
        key="HOST",
        opencanary="127.0.0.1:<git>\0\0version=1",
        aviary="127.0.0.1:<git>",
    ),
    Difference(
        "git: GitPython clone, protocol 2",
        "OpenCanary takes the extra parameters for a part of the host",
        key="HOST",
        opencanary="127.0.0.1:<git>\0\0version=2",
        aviary="127.0.0.1:<git>",
    ),
    Difference(
        "git: path that contains the word host",
        "OpenCanary cuts the path at the first `host`",
        key="REPO",
        opencanary="m",
        aviary="myhost/project.git",
    ),
    Difference(
        "git: request without a host",
        "OpenCanary finds no `host=` and mixes the two up",
        key="HOST",
        opencanary="git-upload-pack /project.git",
        aviary="",
    ),
    Difference("git: request without a host", "as above", key="REPO", opencanary="", aviary="project.git"),
    Difference(
        "git: path that is not UTF-8",
        "OpenCanary fails to decode the path and loses the event",
        adds=((16001, {"HOST": "git.example.org", "REPO": "caf\\xe9.git"}),),
    ),
    Difference(
        "tcpbanner_2: alert string with bytes that are not UTF-8",
        "OpenCanary reads the bytes as Latin-1; the escapes are lossless",
        key="DATA",
        opencanary="ÿþ SECRET-WORD \x80",
        aviary="\\xff\\xfe SECRET-WORD \\x80",
    ),
]


# -- making events comparable --------------------------------------------------------------------

STAMP = "%Y-%m-%d %H:%M:%S.%f"
STAMP_FORM = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")


@dataclass
class Run:
    """What one canary logged: per step its comparable events, and complaints about its log as a whole."""

    steps: dict[str, list[Event]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def normalised(canary: Canary, event: Event, start: datetime, end: datetime) -> Event:
    """The event with everything replaced that differs between any two runs, and nothing else."""
    event = copy.deepcopy(event)
    event.pop("aviary", None)
    event["dst_port"] = canary.service_of(event)
    event["src_port"] = f"<{type(event.get('src_port')).__name__}>"
    for key, offset, name in (
        ("local_time", timedelta(), "UTC"),
        ("utc_time", timedelta(), "UTC"),
        ("local_time_adjusted", OFFSET, ZONE),
    ):
        text = event.get(key)
        if isinstance(text, str) and STAMP_FORM.fullmatch(text):
            when = datetime.strptime(text, STAMP) - offset
            if start - timedelta(seconds=1) <= when <= end + timedelta(seconds=1):
                event[key] = f"<time of the step, {name}>"
    data = event.get("logdata")
    if isinstance(data, dict):
        if re.fullmatch(r"\d+", str(data.get("SESSION", ""))) and isinstance(data["SESSION"], str):
            data["SESSION"] = "<number as text>"
        # The persona may choose another build than `ssh.version` names.
        if str(data.get("LOCALVERSION", "")).startswith("SSH-2.0-"):
            data["LOCALVERSION"] = "<SSH-2.0->"
        for key, value in data.items():
            if isinstance(value, str):
                data[key] = re.sub(
                    rf"({re.escape(LOOPBACK)}):(\d+)",
                    lambda m: f"{m[1]}:<{canary.service_of({'dst_port': int(m[2])})}>",
                    value,
                )
    return event


def comparable(event: Event) -> bool:
    """Whether OpenCanary could have written it: not the canary's own, not a log type of ours."""
    logtype = event.get("logtype")
    return logtype != LIFECYCLE and not (isinstance(logtype, int) and logtype >= OURS)


def collect(canary: Canary, steps: list[Step], expected: dict[str, list[Event]] | None = None) -> Run:
    """Plays every step; `expected` says how many events to wait for."""
    run = Run()
    for each in steps:
        # OpenCanary drops an SSH client whose version line and KEXINIT arrive in one segment, which
        # is a matter of luck (it looks for `libssh` in the segment and then sends KEXINIT twice).
        tries = 5 if canary.kind == "opencanary" and each.service == "ssh" else 1
        while tries:
            tries -= 1
            mark = canary.mark()
            start = datetime.now(UTC).replace(tzinfo=None)
            try:
                each.play(canary, canary.ports[each.service])
                break
            except Exception as error:  # the events decide, not how the client took it
                print(f"     {canary.kind}, {each.name}: {type(error).__name__}: {error}", file=sys.stderr)
                canary.settle(mark)
        wanted = len(expected[each.name]) if expected else 0
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline and sum(map(comparable, canary.events(mark))) < wanted:
            time.sleep(0.02)
        events = canary.settle(mark)
        end = datetime.now(UTC).replace(tzinfo=None)
        run.steps[each.name] = [normalised(canary, event, start, end) for event in events if comparable(event)]
    for line in canary.lines():
        try:
            again = json.dumps(json.loads(line), sort_keys=True)
        except ValueError:
            run.complaints.append(f"no JSON: {line[:200]!r}")
            continue
        if again.encode() != line:
            run.complaints.append(f"not in OpenCanary's text form:\n{line.decode(errors='replace')}\n{again}")
    if not canary.alive():
        run.complaints.append(f"the process ended:\n{canary.last_output()}")
    return run


def expectations(theirs: dict[str, list[Event]]) -> tuple[dict[str, list[Event]], dict[str, str]]:
    """OpenCanary's events with the expected differences applied, and what is wrong with their table."""
    # An event a service, one with `honeycred` if there is any, lends its other keys to those that
    # OpenCanary lost.
    patterns: dict[str, Event] = {}
    for sample in (event for events in theirs.values() for event in events):
        if sample["dst_port"] not in patterns or "honeycred" in sample:
            patterns[sample["dst_port"]] = sample
    expected: dict[str, list[Event]] = {}
    stale: dict[str, str] = {}
    for name, events in theirs.items():
        result: list[Event | None] = list(copy.deepcopy(events))
        for entry in (entry for entry in EXPECTED_DIFFERENCES if entry.step == name):
            event = result[entry.event] if entry.event < len(result) else None
            if (entry.key or entry.missing) and event is None:
                stale[name] = f"OpenCanary wrote no event {entry.event}"
                continue
            if entry.key and event:
                if event["logdata"][entry.key] != entry.opencanary:
                    stale[name] = f"OpenCanary wrote {entry.key} {event['logdata'][entry.key]!r}"
                event["logdata"][entry.key] = entry.aviary
            if entry.missing:
                result[entry.event] = None
            for logtype, data in entry.adds:
                added = copy.deepcopy(patterns[name.split(":")[0]])
                if "honeycred" in added:
                    added["honeycred"] = False
                result.append(added | {"logtype": logtype, "logdata": data})
        expected[name] = [event for event in result if event is not None]
    return expected, stale


def compare(report: Report, expected: dict[str, list[Event]], stale: dict[str, str], ours: Run | None) -> None:
    """Without ours, only looks for stale entries among the expected differences."""
    for name, events in expected.items():

        def body(name: str = name, events: list[Event] = events) -> None:
            assert name not in stale, f"stale entry in EXPECTED_DIFFERENCES: {stale[name]}"
            left = pretty(events)
            right = pretty(ours.steps[name]) if ours else left
            text = "\n".join(difflib.unified_diff(left, right, "OpenCanary 0.9.10", "Aviary", lineterm=""))
            assert not text, f"events differ\n{text}"

        report.check(name, body)
    if ours is None:
        return
    for reason in ours.complaints:
        report.fail("log file", reason)
    if not ours.complaints:
        report.ok("log file: every line in OpenCanary's text form, the process alive")


def pretty(events: list[Event]) -> list[str]:
    return [line for event in events for line in json.dumps(event, indent=1, sort_keys=True).splitlines()]


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--record", type=Path, metavar="FILE", help="save OpenCanary's events")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with saved events; run no OpenCanary")
    parser.add_argument("--only", metavar="TEXT", help="only steps whose name contains the text")
    options = parser.parse_args()
    if not options.bin_dir and not options.record and not options.opencanary:
        parser.error("give --bin-dir DIR, --record FILE or both")
    steps = [each for each in STEPS if not options.only or options.only in each.name]
    # Whatever proxy this host uses, the clients talk to loopback only.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"

    if options.against:
        saved = json.loads(options.against.read_text())
        theirs = {name: saved["steps"][name] for name in (s.name for s in steps) if name in saved["steps"]}
        steps = [each for each in steps if each.name in theirs]
    else:
        version = importlib.metadata.version("opencanary")
        assert version == "0.9.10", f"OpenCanary {version} is installed, not 0.9.10"
        with Canary(None, SETTINGS, timezone=ZONE) as canary:
            run = collect(canary, steps)
        for complaint in run.complaints:
            print(f"     OpenCanary: {complaint}", file=sys.stderr)
        theirs = run.steps
    if options.record:
        saved = {"opencanary": "0.9.10", "steps": theirs}
        options.record.write_text(json.dumps(saved, indent=1, sort_keys=False) + "\n")
        print(f"recorded {sum(map(len, theirs.values()))} events of {len(theirs)} steps in {options.record}")

    report = Report(may_skip=False)
    expected, stale = expectations(theirs)
    ours = None
    if options.bin_dir or options.opencanary:
        with Canary(options.bin_dir, SETTINGS, timezone=ZONE) as canary:
            ours = collect(canary, steps, expected if options.bin_dir else None)
    compare(report, expected, stale, ours)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
