"""OpenCanary's and Python's handler classes against receivers that others wrote.

A broker of hpfeeds, aiosmtpd in clear, with STARTTLS and with TLS, Python's socketserver and http.server, and programs
at the end of a pipe. Each is killed and started again while events come.
"""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import json
import logging
import os
import re
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from canary import (
    LOOPBACK,
    Canary,
    Event,
    Report,
    Skip,
    arguments,
    chosen_bin_dir,
    connect,
    free_ports,
    listening_ports,
    needs,
    read_until,
)

PASSWORD = b"<b>x</b>\xff&'\x01"
"""What a peer would send who wants to be seen in mails."""


def touch(canary: Canary, name: bytes) -> list[Event]:
    """A login over FTP; the events that it makes."""
    mark = canary.mark()
    with connect(canary.ports["ftp"]) as peer:
        read_until(peer, b"\r\n")
        peer.sendall(b"USER " + name + b"\r\n")
        read_until(peer, b"\r\n")
        peer.sendall(b"PASS " + PASSWORD + b"\r\n")
        canary.logged(mark, 2000, {"USERNAME": name.decode()})
    return canary.settle(mark, 1)


def ids(canary: Canary) -> list[str]:
    return [event["aviary"]["id"] for event in canary.events()]


def differs(receiver: Receiver, canary: Canary) -> str:
    came, logged = receiver.came(), ids(canary)
    missing, doubled = set(logged) - set(came), len(came) - len(set(came))
    return f"{len(logged)} events, of which {len(missing)} did not come and {doubled} came twice"


def eventually(what: str, holds: Callable[[], bool], seen: Callable[[], object], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"{what}; there is {str(seen())[:1500]}"
        time.sleep(0.02)


class Receiver:
    """Something that takes events on a port of its own, can be killed, and can come back."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.got: list[str] = []
        """Lines as they came."""

    def start(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError

    def came(self) -> list[str]:
        """Ids of the events that came, in order."""
        return [json.loads(line)["aviary"]["id"] for line in list(self.got)]

    def clear(self) -> None:
        self.got.clear()


class Served(Receiver):
    """A receiver of Python's socketserver."""

    server: socketserver.BaseServer | None = None

    def serve(self, server: socketserver.BaseServer) -> None:
        self.server = server
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class Threading(socketserver.ThreadingTCPServer):
    """Whose connections end with it, as those of a killed process do."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, *given: Any) -> None:
        self.open: list[socket.socket] = []
        super().__init__(*given)

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        self.open.append(request)
        return request, address

    def server_close(self) -> None:
        super().server_close()
        for request in self.open:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        # That the canary went away is no fault of the receiver's.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Lines(Served):
    def start(self) -> None:
        got = self.got

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    assert line.endswith(b"\n"), line
                    got.append(line.decode())

        self.serve(Threading((LOOPBACK, self.port), Handler))


class Datagrams(Served):
    def start(self) -> None:
        got = self.got

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                got.append(self.request[0].decode())

        self.serve(socketserver.UDPServer((LOOPBACK, self.port), Handler))


class Forms(Served):
    """A web server that reads what Python's HTTPHandler sends."""

    headers: list[str]

    def start(self) -> None:
        got, headers = self.got, []
        self.headers = headers

        class Handler(BaseHTTPRequestHandler):
            def answer(self, form: str) -> None:
                fields = parse_qs(form, strict_parsing=True, keep_blank_values=True)
                assert fields["levelname"] == ["WARNING"] and fields["args"] == ["()"], fields
                assert abs(float(fields["created"][0]) - time.time()) < 60
                got.append(fields["msg"][0])
                headers.append(str(self.headers))
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                self.answer(urlsplit(self.path).query)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"] or 0)
                body = self.rfile.read(length)
                # The sender may have gone away in the middle.
                if length and len(body) == length:
                    self.answer(body.decode())

            def log_message(self, *_: object) -> None:
                pass

        class Server(Threading, ThreadingHTTPServer):
            pass

        self.serve(Server((LOOPBACK, self.port), Handler))


class Broker(Receiver):
    """The broker of the package `hpfeeds`, a subscriber, and a way to the broker that opens when that one listens.

    Without it the canary might publish before somebody listens, and brokers keep nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inner = 0
        """Its own port; another at each start."""
        self.process: subprocess.Popen[bytes] | None = None
        self.way: Threading | None = None

    def start(self) -> None:
        program = Path(sys.executable).with_name("hpfeeds-broker")
        if not program.exists():
            raise Skip("the package `hpfeeds[broker]` is not installed")
        environment = os.environ | {
            "HPFEEDS_CANARY_SECRET": "s3cret",
            "HPFEEDS_CANARY_PUBCHANS": "one,two",
            "HPFEEDS_READER_SECRET": "r",
            "HPFEEDS_READER_SUBCHANS": "one,two",
        }
        self.process = self.broker(program, environment)
        listening = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.subscribe(listening)), daemon=True).start()
        assert listening.wait(60), "nobody subscribed"

        inner = self.inner

        class Way(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((LOOPBACK, inner)) as broker:
                    back = threading.Thread(target=pass_on, args=(broker, self.request))
                    back.start()
                    pass_on(self.request, broker)
                    back.join()

        self.way = Threading((LOOPBACK, self.port), Way)
        threading.Thread(target=self.way.serve_forever, args=(0.05,), daemon=True).start()

    def broker(self, program: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """A broker that listens. One that ends at once, its port taken by somebody else meanwhile, is started again."""
        for _ in range(3):
            (self.inner,) = free_ports(1)
            command = [str(program), "--bind", f"{LOOPBACK}:{self.inner}", "--auth", "env"]
            said = tempfile.TemporaryFile()
            process = subprocess.Popen(command, env=environment, stderr=said, stdout=said)
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                if self.inner in listening_ports():
                    return process
                time.sleep(0.05)
            process.kill()
            process.wait()
            said.seek(0)
            last = said.read().decode(errors="replace")
        raise AssertionError(f"the broker does not listen; it said: {last[-1500:]}")

    async def subscribe(self, listening: threading.Event) -> None:
        from hpfeeds.protocol import OP_PUBLISH, Unpacker, msgauth, msgsubscribe, readinfo, readpublish

        reader, writer = await asyncio.open_connection(LOOPBACK, self.inner)
        unpacker = Unpacker()
        while data := await reader.read(65536):
            unpacker.feed(data)
            for opcode, message in unpacker:
                if opcode == OP_PUBLISH:
                    ident, channel, payload = readpublish(message)
                    assert ident == "canary", ident
                    self.got.append(f"{channel} {bytes(payload).decode()}")
                    continue
                _, nonce = readinfo(message)
                writer.write(msgauth(nonce, "reader", "r"))
                writer.write(msgsubscribe("reader", "one") + msgsubscribe("reader", "two"))
                await writer.drain()
                # The broker answers nothing; a moment later it has read it.
                await asyncio.sleep(0.3)
                listening.set()

    def came(self) -> list[str]:
        both = {}
        for channel in ("one", "two"):
            lines = [line.split(" ", 1)[1] for line in list(self.got) if line.startswith(channel)]
            both[channel] = [json.loads(line)["aviary"]["id"] for line in lines]
        return both["one"] if both["one"] == both["two"] else [str(both)]

    def kill(self) -> None:
        if self.way:
            self.way.shutdown()
            self.way.server_close()
        if self.process:
            self.process.kill()
            self.process.wait()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Bytes, and the end of them."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Mailbox(Receiver):
    """aiosmtpd: in clear, with STARTTLS and a login, or in TLS and a login."""

    def __init__(self, way: str, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.way, self.context = way, context
        self.controller: Any = None
        self.logins: list[tuple[str, bytes, bool]] = []

    def start(self) -> None:
        try:
            from aiosmtpd.controller import Controller
            from aiosmtpd.smtp import AuthResult, LoginPassword
        except ImportError:
            raise Skip("the package `aiosmtpd` is not installed") from None
        mailbox = self

        class Handler:
            async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
                assert envelope.mail_from == "canary@example.org", envelope.mail_from
                assert (mailbox.way != "plain") == bool(session.authenticated), session.authenticated
                mailbox.got.append(envelope.content.decode("ascii"))
                return "250 taken"

        def authenticate(_server: Any, session: Any, _envelope: Any, mechanism: str, data: Any) -> Any:
            assert isinstance(data, LoginPassword)
            mailbox.logins.append((mechanism, data.password, session.ssl is not None or mailbox.way == "tls"))
            good = (data.login, data.password) == (b"canary", b"pass word")
            return AuthResult(success=good, handled=False)

        extra: dict[str, Any] = {}
        if self.way != "plain":
            extra = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": self.way == "starttls"}
        if self.way == "starttls":
            extra |= {"tls_context": self.context, "require_starttls": True}
        if self.way == "tls":
            extra |= {"ssl_context": self.context}
        # The controller looks whether it listens by connecting to it, which TLS may not take: so a name that it has.
        self.controller = Controller(Handler(), hostname=LOOPBACK, port=self.port, **extra)
        self.controller.start()

    def kill(self) -> None:
        if self.controller:
            self.controller.stop()
            self.controller = None

    def came(self) -> list[str]:
        return [re.search(r"(?m)^Message-ID: <(.*)@aviary>", mail).group(1) for mail in list(self.got)]  # type: ignore[union-attr]


class Program(Receiver):
    """A program that writes what it gets to a file; it is killed, and the canary starts another."""

    SOURCE = """
import os, sys
with open(sys.argv[1] + ".pid", "w") as pid:
    pid.write(str(os.getpid()))
if os.path.exists(sys.argv[1] + ".no"):
    sys.exit("not today")
for line in iter(sys.stdin.readline, ""):
    with open(sys.argv[1], "a") as got:
        got.write(line)
    if len(sys.argv) > 2:
        print("ok", flush=True)
"""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__()
        self.path = directory / name
        (directory / "program.py").write_text(self.SOURCE)
        self.command = [sys.executable, str(directory / "program.py"), str(self.path)]

    def start(self) -> None:
        self.path.with_suffix(".no").unlink(missing_ok=True)

    def kill(self) -> None:
        self.path.with_suffix(".no").touch()
        try:
            os.kill(int(self.path.with_suffix(".pid").read_text()), signal.SIGKILL)
        except (OSError, ValueError):
            pass

    def came(self) -> list[str]:
        self.got = self.path.read_text().splitlines() if self.path.exists() else []
        return super().came()

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


def certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    needs("openssl")
    key, pem = directory / "key.pem", directory / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(pem)]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context, pem


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    if bin_dir is None:
        parser.error("OpenCanary loses what this script looks for")
    # aiosmtpd warns of what is tried here.
    logging.getLogger("mail").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        context, pem = certificate(Path(scratch))
        mail = {
            "class": "logging.handlers.SMTPHandler",
            "fromaddr": "Canary <canary@example.org>",
            "toaddrs": ["admin@example.org", "second@example.org"],
        }
        login = {"credentials": ["canary", "pass word"], "verify": str(pem)}
        receivers: dict[str, tuple[Receiver, dict[str, Any]]] = {}

        def add(name: str, receiver: Receiver, handler: dict[str, Any]) -> None:
            receivers[name] = (receiver, {"formatter": "plain"} | handler)

        lines = Lines()
        add(
            "SocketJSONHandler",
            lines,
            {
                "class": "opencanary.logger.SocketJSONHandler",
                "host": LOOPBACK,
                "port": lines.port,
            },
        )
        pickles = Lines()
        add(
            "SocketHandler",
            pickles,
            {
                "class": "logging.handlers.SocketHandler",
                "host": LOOPBACK,
                "port": pickles.port,
            },
        )
        datagrams = Datagrams()
        add(
            "DatagramHandler",
            datagrams,
            {
                "class": "logging.handlers.DatagramHandler",
                "host": LOOPBACK,
                "port": datagrams.port,
            },
        )
        broker = Broker()
        add(
            "HpfeedsHandler",
            broker,
            {
                "class": "opencanary.logger.HpfeedsHandler",
                "host": LOOPBACK,
                "port": broker.port,
                "ident": "canary",
                "secret": "s3cret",
                "channels": ["one", "two"],
            },
        )
        clear = Mailbox("plain")
        add(
            "SMTPHandler in clear",
            clear,
            mail
            | {
                "mailhost": [LOOPBACK, clear.port],
                "html": True,
                "lifecycle": True,
                "subject": "Canary: %(username)s on %(service)s",
            },
        )
        starttls = Mailbox("starttls", context)
        add(
            "SMTPHandler with STARTTLS",
            starttls,
            mail
            | login
            | {
                "mailhost": f"localhost:{starttls.port}",
                "secure": [],
                "auth": "login",
                "lifecycle": True,
            },
        )
        tls = Mailbox("tls", context)
        add(
            "SMTPHandler with TLS",
            tls,
            mail
            | login
            | {
                "mailhost": ["localhost", tls.port],
                "tls": "tls",
                "lifecycle": True,
            },
        )
        for method in ("GET", "POST"):
            forms = Forms()
            add(
                f"HTTPHandler with {method}",
                forms,
                {
                    "class": "logging.handlers.HTTPHandler",
                    "host": f"{LOOPBACK}:{forms.port}",
                    "url": "/log",
                    "method": method,
                    "credentials": ["u", "p"],
                },
            )
        for name, extra in (("exec", []), ("exec with answers", ["answers"])):
            program = Program(Path(scratch), name.replace(" ", "-"))
            add(
                name,
                program,
                {
                    "class": "aviary.exec",
                    "command": program.command + extra,
                    "acknowledge": bool(extra),
                },
            )
        missing = set()
        for name, (receiver, _) in receivers.items():
            try:
                receiver.start()
            except Skip as reason:
                report.skip(name, str(reason))
                missing.add(name)
        for name in missing:
            del receivers[name]
        handlers = {name: handler for name, (_, handler) in receivers.items()}
        if "HpfeedsHandler" in handlers:
            handlers["wrong secret"] = handlers["HpfeedsHandler"] | {"secret": "s3cret-of-yesterday"}
        handlers["nowhere"] = {"class": "logging.NullHandler"}
        try:
            with Canary(bin_dir, {}, handlers, ["ftp"]) as canary:
                look(report, canary, receivers)
        finally:
            for receiver, _ in receivers.values():
                receiver.kill()
    return report.finish()


def look(report: Report, canary: Canary, receivers: dict[str, tuple[Receiver, dict[str, Any]]]) -> None:
    first = touch(canary, b"first")

    for name, (receiver, _) in receivers.items():

        def comes(receiver: Receiver = receiver) -> None:
            eventually("not all", lambda: receiver.came() == ids(canary), lambda: differs(receiver, canary))

        report.check(f"{name}: each event comes once, in order", comes)

    lines = canary.lines()

    def same_lines() -> None:
        for name in ("SocketJSONHandler", "SocketHandler", "DatagramHandler", "HTTPHandler with GET", "exec"):
            if name in receivers:
                got = [line.rstrip("\n").encode() for line in receivers[name][0].got]
                assert got == lines, f"{name}: {got[-1:]} instead of {lines[-1:]}"

    report.check("all: the line is the file's line, byte for byte", same_lines)

    def mails() -> None:
        if "SMTPHandler in clear" not in receivers:
            raise Skip("the package `aiosmtpd` is not installed")
        clear = receivers["SMTPHandler in clear"][0]
        wanted = next(event for event in first if event["logtype"] == 2000)
        text = next(mail for mail in clear.got if wanted["aviary"]["id"] in mail)
        parsed = email.message_from_string(text, policy=email.policy.default)
        assert parsed["Subject"] == "Canary: first on ftp", parsed["Subject"]
        assert parsed["To"] == "admin@example.org, second@example.org"
        plain, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
        assert plain is not None and html is not None
        assert json.loads(plain.get_content()) == wanted
        page = html.get_content()
        assert "&lt;b&gt;x&lt;/b&gt;" in page and "<b>" not in page, page
        starttls, tls = (receivers[f"SMTPHandler with {way}"][0] for way in ("STARTTLS", "TLS"))
        assert isinstance(starttls, Mailbox) and isinstance(tls, Mailbox)
        assert {login[:1] + login[2:] for login in starttls.logins} == {("LOGIN", True)}, starttls.logins
        assert {login[:1] + login[2:] for login in tls.logins} == {("PLAIN", True)}, tls.logins

    report.check("SMTPHandler: subject, text, table and login are as asked for", mails)

    def forms() -> None:
        for method in ("GET", "POST"):
            server = receivers[f"HTTPHandler with {method}"][0]
            assert isinstance(server, Forms)
            wanted = "Authorization: Basic " + base64.b64encode(b"u:p").decode()
            assert all(wanted.lower() in headers.lower() for headers in server.headers), server.headers

    report.check("HTTPHandler: the fields are Python's, with a login", forms)

    def own_words() -> None:
        if "HpfeedsHandler" not in receivers:
            raise Skip("the package `hpfeeds[broker]` is not installed")
        canary.mentioned(0, "wrong secret", "it said: Authentication failed for canary")

    report.check("HpfeedsHandler: what the broker has against it is an event in its own words", own_words)

    for receiver, _ in receivers.values():
        receiver.kill()

    def answers() -> None:
        for number in range(5):
            began = time.monotonic()
            touch(canary, b"second-%d" % number)
            took = time.monotonic() - began
            assert took < 3, f"{took:.1f} s"

    report.check("all dead: the services answer as ever", answers)
    for receiver, _ in receivers.values():
        receiver.start()
    touch(canary, b"third")
    # The canary itself has something to say of its outputs, now and when they work again.
    for name, (receiver, _) in receivers.items():
        if name == "DatagramHandler":

            def all_datagrams(receiver: Receiver = receiver) -> None:
                there = lambda: set(ids(canary)) <= set(receiver.came())  # noqa: E731
                eventually("not all", there, lambda: differs(receiver, canary))

            report.check(f"{name}: killed and started again, nothing is lost that the machine told of", all_datagrams)
            continue

        if name in ("SocketJSONHandler", "SocketHandler"):

            def first_sights(receiver: Receiver = receiver) -> None:
                # It gives no answer: what it read just before it died comes again.
                all_there = lambda: list(dict.fromkeys(receiver.came())) == ids(canary)  # noqa: E731
                eventually("not all", all_there, lambda: differs(receiver, canary))

            report.check(f"{name}: killed and started again, nothing is lost, the order kept", first_sights)
            continue

        def nothing_lost(receiver: Receiver = receiver) -> None:
            eventually("not all", lambda: receiver.came() == ids(canary), lambda: differs(receiver, canary))

        report.check(f"{name}: killed and started again, nothing is lost, nothing comes twice", nothing_lost)

    def asked(*words: str, codes: tuple[int, ...] = (0,)) -> str:
        assert canary.bin_dir
        command = [str(canary.bin_dir / "aviary"), *words]
        environment = os.environ | {"HOME": str(canary.directory), "AVIARY_STATE_DIR": str(canary.directory / "state")}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        assert said.returncode in codes, f"{words}: {said.stdout} {said.stderr}"
        return said.stdout + said.stderr

    def tested() -> None:
        for name, (receiver, _) in receivers.items():
            before = len(receiver.came())
            asked("outputs", "test", name)
            came = lambda: len(receiver.came()) > before  # noqa: B023, E731
            eventually(f"{name}: the test did not come", came, lambda: "nothing")

    report.check("all: `aviary outputs test` sends an event, and it comes", tested)

    def status() -> None:
        # 1, since an output fails: the one with the wrong secret.
        text = asked("status", codes=(0, 1))
        assert "SocketJSONHandler" in text, text
        for secret in ("s3cret", "pass word", "cGFzcyB3b3Jk"):
            assert secret not in text and secret not in canary.output.read_text(errors="replace"), secret

    report.check("all: no secret stands in the log or in the status", status)


if __name__ == "__main__":
    sys.exit(main())
