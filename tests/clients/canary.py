"""Starts a canary (OpenCanary or Aviary) on free loopback ports, and reads what it logs.

Also what the test scripts share: the report with its summary line, and raw sockets.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

Event = dict[str, Any]

LOOPBACK = "127.0.0.1"
SERVICES = ("ftp", "http", "https", "ssh", "telnet", "redis", "git", "tcpbanner_1", "tcpbanner_2", "tcpbanner_3")
LIFECYCLE = 1001
OURS = 30000
"""Log types from here up are Aviary's own."""


# -- the configuration -------------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    """Ports that nobody holds, below the range from which the kernel picks source ports."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = random.sample(range(low - 12_000, low), 12_000)
    found: list[int] = []
    for port in candidates if count else []:
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    if not count:
        return found
    raise RuntimeError(f"no {count} free ports below {low}")


def service_config(directory: Path, ports: dict[str, int]) -> dict[str, Any]:
    """The services under test as OpenCanary spells them, without any product's banner."""
    config: dict[str, Any] = {
        "device.node_id": "canary-under-test",
        "device.listen_addr": LOOPBACK,
        "ssh.key_path": str(directory),
        "https.certificate": str(directory / "https.pem"),
        "https.key": str(directory / "https.key"),
        "http.skin": "nasLogin",
        "https.skin": "nasLogin",
        "tcpbanner.enabled": True,
        "tcpbanner_1.initbanner": "220 plain ready\\r\\n",
        "tcpbanner_1.datareceivedbanner": "500 what?\\r\\n",
        "tcpbanner_2.initbanner": "220 alert ready\\r\\n",
        "tcpbanner_2.datareceivedbanner": "501 no\\r\\n",
        "tcpbanner_2.alertstring.enabled": True,
        "tcpbanner_2.alertstring": "SECRET-WORD",
        "tcpbanner_3.initbanner": "220 keep-alive ready\\r\\n",
        "tcpbanner_3.datareceivedbanner": "502 more\\r\\n",
        "tcpbanner_3.keep_alive.enabled": True,
        "tcpbanner_3.keep_alive_secret": "open-sesame",
        "tcpbanner_3.keep_alive_probes": 11,
        "tcpbanner_3.keep_alive_interval": 300,
        "tcpbanner_3.keep_alive_idle": 300,
        "logger": {
            "class": "PyLogger",
            "kwargs": {
                "formatters": {"plain": {"format": "%(message)s"}},
                "handlers": {"file": {"class": "logging.FileHandler", "filename": str(directory / "canary.log")}},
            },
        },
    }
    for name, port in ports.items():
        config[f"{name}.enabled"] = True
        config[f"{name}.port"] = port
    return config


# -- a running canary --------------------------------------------------------------------------


class Canary:
    """One canary process in a directory of its own; `with` starts and stops it."""

    def __init__(
        self,
        bin_dir: Path | None,
        settings: dict[str, Any] | None = None,
        handlers: dict[str, Any] | None = None,
        services: Iterable[str] = SERVICES,
        open_files: int | None = None,
        timezone: str = "UTC",
    ) -> None:
        """`bin_dir` holds Aviary's `opencanaryd`; without it OpenCanary of this Python runs."""
        self.kind: Literal["opencanary", "aviary"] = "aviary" if bin_dir else "opencanary"
        self.bin_dir = bin_dir.resolve() if bin_dir else None
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.kind}-"))
        self.log = self.directory / "canary.log"
        self.output = self.directory / "output.txt"
        names = tuple(services)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.config = service_config(self.directory, self.ports) | (settings or {})
        self.config["logger"]["kwargs"]["handlers"].update(handlers or {})
        self.open_files = open_files
        self.timezone = timezone
        self.process: subprocess.Popen[bytes] | None = None
        self._consumed = 0
        self._events: list[Event] = []
        self.broken_lines: list[bytes] = []
        (self.directory / ".opencanary.conf").write_text(json.dumps(self.config, indent=2))
        (self.directory / "cwd").mkdir()
        (self.directory / "state").mkdir()

    def __enter__(self) -> Canary:
        try:
            self.start()
        except BaseException:
            self.stop()
            self.clean()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.clean()

    def _command(self) -> list[str]:
        if self.bin_dir:
            return [str(self.bin_dir / "opencanaryd"), "--dev"]
        scripts = Path(sysconfig.get_path("scripts"))
        pid_file = self.directory / "twistd.pid"
        return [str(scripts / "twistd"), "-noy", str(scripts / "opencanary.tac"), "--pidfile", str(pid_file)]

    def start(self, timeout: float = 30.0) -> None:
        """Starts the process and returns when every port listens; connects to none of them."""
        first_place = Path("/etc/opencanaryd/opencanary.conf")
        if first_place.exists():
            raise RuntimeError(f"{first_place} would be read instead of the test's own config")
        limit = self.open_files

        def set_limit() -> None:
            if limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self._command(),
                cwd=self.directory / "cwd",
                env=os.environ
                | {
                    "HOME": str(self.directory),
                    "AVIARY_STATE_DIR": str(self.directory / "state"),
                    "TZ": self.timezone,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=set_limit,
            )
        deadline = time.monotonic() + timeout
        wanted = set(self.ports.values())
        while not wanted <= listening_ports():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.kind} ended with {self.process.returncode}:\n{self.last_output()}")
            if time.monotonic() > deadline:
                missing = sorted(n for n, p in self.ports.items() if p not in listening_ports())
                raise RuntimeError(f"{self.kind}: {', '.join(missing)} not listening:\n{self.last_output()}")
            time.sleep(0.005 if self.bin_dir else 0.05)

    def stop(self) -> None:
        """Asks the process to end, and ends it when it does not."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """`kill -9`, as a power cut would do it."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def clean(self) -> None:
        """Removes the directory, unless `KEEP` is set in the environment."""
        if os.environ.get("KEEP"):
            print(f"kept {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_output(self, lines: int = 20) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def memory(self) -> int:
        """Resident memory in KiB; 0 when the process is gone."""
        if not self.process:
            return 0
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)

    # -- what it logged --

    def lines(self) -> list[bytes]:
        """Every whole line of the log file, as bytes."""
        return self.log.read_bytes().split(b"\n")[:-1] if self.log.exists() else []

    def events(self, since: int = 0) -> list[Event]:
        """Events in file order, from the given position on; lines that are no JSON are set aside."""
        if self.log.exists():
            with self.log.open("rb") as log:
                log.seek(self._consumed)
                fresh = log.read()
            whole = fresh.rfind(b"\n") + 1
            self._consumed += whole
            for line in fresh[:whole].splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    self.broken_lines.append(line)
                else:
                    self._events.append(event)
        return self._events[since:]

    def mark(self) -> int:
        """A position for `events` and `wait_for`."""
        return len(self.events())

    def wait_for(self, wanted: Callable[[Event], bool], since: int = 0, timeout: float = 5.0) -> Event | None:
        """The first event that is wanted, or nothing when none came in time."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events(since):
                if wanted(event):
                    return event
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)

    def logged(
        self,
        since: int,
        logtype: int | None,
        data: dict[str, str],
        context: str = "",
        timeout: float = 5.0,
        from_port: int | None = None,
    ) -> Event:
        """The event of that type (any if none) with that log data; its absence is a failure.

        `context` is what the client printed, for the message. `from_port` keeps out what an earlier client sent
        and the canary is still working on, as may be over UDP.
        """
        event = self.wait_for(
            lambda e: (
                logtype in (None, e["logtype"])
                and from_port in (None, e["src_port"])
                and isinstance(e["logdata"], dict)
                and data.items() <= e["logdata"].items()
            ),
            since,
            timeout,
        )
        if event is None:
            kind = f"event {logtype}" if logtype else "event"
            raise AssertionError(f"no {kind} with {data}; there are {self._seen(since)}\n{context[-1500:]}")
        return event

    def mentioned(self, since: int, *words: str, context: str = "") -> Event:
        """An event whose text holds all the words; its absence is a failure."""
        event = self.wait_for(lambda e: all(word in json.dumps(e, ensure_ascii=False) for word in words), since)
        if event is None:
            raise AssertionError(f"no event mentions {words}; there are {self._seen(since)}\n{context[-1500:]}")
        return event

    def _seen(self, since: int) -> str:
        return json.dumps([(e["logtype"], e["logdata"]) for e in self.events(since)])[:1500]

    def settle(self, since: int = 0, at_least: int = 0, quiet: float = 0.4, timeout: float = 5.0) -> list[Event]:
        """Events since `since`, once `at_least` came (or the time is up) and then none for `quiet`."""
        deadline = time.monotonic() + timeout
        seen, changed = -1, time.monotonic()
        while True:
            events = self.events(since)
            now = time.monotonic()
            if len(events) != seen:
                seen, changed = len(events), now
            enough = len(events) >= at_least or now > deadline
            if enough and now - changed >= quiet:
                return events
            time.sleep(0.02)

    def service_of(self, event: Event) -> str:
        """The name of the service whose port the event names; `canary` for the canary itself."""
        names = {port: name for name, port in self.ports.items()}
        return names.get(event.get("dst_port", -1), "canary")


def listening_ports() -> set[int]:
    """Ports on which any process of this host listens, over TCP or UDP."""
    ports: set[int] = set()
    # 0A is a listening socket; 07 one of UDP that is not connected.
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        try:
            rows = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == state:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


# -- raw sockets -------------------------------------------------------------------------------


def connect(port: int, source: str | None = None, timeout: float = 5.0) -> socket.socket:
    """A TCP connection to the canary, without Nagle's delay; `source` is a loopback address."""
    peer = socket.create_connection((LOOPBACK, port), timeout, (source, 0) if source else None)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def read_until(peer: socket.socket, end: bytes, timeout: float = 5.0) -> bytes:
    """What the peer sends up to and including `end`, or until it closes or the time is up."""
    data = b""
    deadline = time.monotonic() + timeout
    while end not in data:
        peer.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            chunk = peer.recv(65536)
        except OSError:
            break
        if not chunk:
            break
        data += chunk
    return data


def unverified_tls() -> ssl.SSLContext:
    """For a client that believes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def pkt_line(data: bytes) -> bytes:
    """Git's frame: four hexadecimal digits of length, themselves included."""
    return b"%04x" % (len(data) + 4) + data


def git_environment(version: int) -> dict[str, str]:
    """Makes git speak that protocol version, and ask nobody."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.version",
        "GIT_CONFIG_VALUE_0": str(version),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }


def read_quiet(peer: socket.socket, quiet: float = 0.3, timeout: float = 5.0) -> bytes:
    """What the peer sends until it is silent for `quiet` or closes."""
    data = b""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        peer.settimeout(quiet)
        try:
            chunk = peer.recv(65536)
        except OSError:
            break
        if not chunk:
            break
        data += chunk
    return data


class TelnetClient:
    """A client that answers options as a plain terminal does: server echo yes, all else no."""

    IAC, DONT, DO, WONT, WILL, SB, SE, ECHO, SGA = 255, 254, 253, 252, 251, 250, 240, 1, 3

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self.text = b""
        self.pending = b""
        self.on: set[int] = set()

    def expect(self, *wanted: bytes, timeout: float = 8.0) -> bytes:
        """Text up to one of the wanted words; options are answered on the way."""
        deadline = time.monotonic() + timeout
        while not any(word in self.text for word in wanted):
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                chunk = self.socket.recv(4096)
            except TimeoutError:
                raise AssertionError(f"telnet: none of {wanted} came, but {self.text!r}") from None
            if not chunk:
                raise AssertionError(f"telnet: closed before {wanted}, after {self.text!r}")
            self._take(chunk)
        text, self.text = self.text, b""
        return text

    def line(self, text: bytes) -> None:
        self.socket.sendall(text + b"\r\n")

    def _take(self, chunk: bytes) -> None:
        self.pending += chunk
        answers = b""
        while self.pending:
            match self.pending[0]:
                case self.IAC:
                    if len(self.pending) < 2 or (self.pending[1] >= self.WILL and len(self.pending) < 3):
                        break
                    if self.pending[1] < self.SB:
                        self.pending = self.pending[2:]
                        continue
                    if self.pending[1] == self.SB:
                        end = self.pending.find(bytes([self.IAC, self.SE]))
                        if end < 0:
                            break
                        self.pending = self.pending[end + 2 :]
                        continue
                    answers += self._answer(self.pending[1], self.pending[2])
                    self.pending = self.pending[3:]
                case _:
                    self.text += self.pending[:1]
                    self.pending = self.pending[1:]
        if answers:
            self.socket.sendall(answers)

    def _answer(self, verb: int, option: int) -> bytes:
        match verb:
            case self.WILL if option in (self.ECHO, self.SGA) and option not in self.on:
                self.on.add(option)
                return bytes([self.IAC, self.DO, option])
            case self.WILL if option not in self.on:
                return bytes([self.IAC, self.DONT, option])
            case self.WONT if option in self.on:
                self.on.discard(option)
                return bytes([self.IAC, self.DONT, option])
            case self.DO:
                return bytes([self.IAC, self.WONT, option])
        return b""


# -- telling how it went -----------------------------------------------------------------------


class Skip(Exception):
    """A check cannot be made here; the message says why."""


class Report:
    """Counts checks, prints a line for each, and ends with the summary line."""

    def __init__(self, may_skip: bool = True) -> None:
        self.passed = self.failed = self.skipped = 0
        self.may_skip = may_skip

    def ok(self, name: str) -> None:
        self.passed += 1
        print(f"PASS {name}", flush=True)

    def fail(self, name: str, why: str) -> None:
        self.failed += 1
        first, *rest = why.splitlines() or [""]
        print(f"FAIL {name}: {first}", *(f"     {line}" for line in rest), sep="\n", flush=True)

    def skip(self, name: str, why: str) -> None:
        self.skipped += 1
        print(f"SKIP {name}: {why}", flush=True)

    def check(self, name: str, body: Callable[[], None]) -> None:
        """Runs one check: it passes, raises `Skip`, or fails with what it raised."""
        try:
            body()
        except Skip as reason:
            self.skip(name, str(reason))
        except AssertionError as error:
            self.fail(name, str(error) or traceback.format_exc(limit=-1))
        except Exception:
            self.fail(name, traceback.format_exc(limit=-3))
        else:
            self.ok(name)

    def finish(self) -> int:
        """Prints the summary; the exit code is 1 when a check failed or none was made."""
        skipped = f", {self.skipped} skipped" if self.may_skip else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}")
        return 1 if self.failed or not self.passed else 0


def needs(*programs: str) -> None:
    """Skips the check when a program is not installed."""
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"`{program}` is not installed")


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all scripts have: whose canary is tried."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bin-dir", type=Path, help="directory that holds Aviary's `opencanaryd`")
    parser.add_argument(
        "--opencanary", action="store_true", help="try OpenCanary instead, to see how the checks see it"
    )
    return parser


def chosen_bin_dir(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path | None:
    """The directory given, `None` for OpenCanary; ends the script when neither is."""
    if options.opencanary:
        return None
    if not options.bin_dir or not (options.bin_dir / "opencanaryd").exists():
        parser.error(f"--bin-dir: no `opencanaryd` in `{options.bin_dir}`")
    path: Path = options.bin_dir
    return path


if __name__ == "__main__":
    sys.exit("canary.py is a library; run one of the scripts beside it")
