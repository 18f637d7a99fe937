"""The dialogues that OpenCanary and Aviary are both put through, service by service.

`differential.py` plays them in the order of `STEPS`.
"""

from __future__ import annotations

import ftplib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import git
import paramiko
import redis
import requests
import urllib3
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from canary import LOOPBACK, Canary, TelnetClient, connect, git_environment, pkt_line, read_quiet, read_until


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
