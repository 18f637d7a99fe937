"""Kills the canary at random moments under load, and looks whether any event was lost.

A credential counts from the moment its answer came. Each must reach a webhook that is down half of
the time, the log file, and receivers of other kinds (`OTHERS`); after de-duplication by `aviary.id` exactly once,
and in the order of the journal.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from canary import (
    LIFECYCLE,
    LOOPBACK,
    Canary,
    Event,
    Report,
    Skip,
    arguments,
    chosen_bin_dir,
    connect,
    free_ports,
    read_until,
)

PAUSE = 0.01
"""Between two attempts of a thread, in seconds, so that the backlog stays small enough to drain."""

OTHERS = ("syslog over TCP", "Elasticsearch", "Redis", "hub over gRPC")
"""Rows of `chaos_rows.py` and `chaos_queues.py`: a receiver that never answers, one of batches, a queue, a stream of
answers."""


# -- the receiver --------------------------------------------------------------------------------


class Receiver:
    """A webhook that is up half of the time; in between it is closed, answers 503, or hangs up
    after it took the event, so that the sender cannot know."""

    MODES = ("up", "closed", "up", "503", "up", "hangs up")

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.events: list[Event] = []
        self.malformed: list[bytes] = []
        self.requests: Counter[str] = Counter()
        self.mode = "up"
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.server: ThreadingHTTPServer | None = None
        self._open()
        self.thread = threading.Thread(target=self._take_turns, daemon=True)
        self.thread.start()

    def _open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the sender was killed meanwhile
                    self.close_connection = True
                    return
                mode = receiver.mode
                receiver.requests[mode] += 1
                if mode in ("up", "hangs up"):
                    receiver.take(body)
                if mode in ("closed", "hangs up"):
                    self.close_connection = True
                    return
                self.send_response(200 if mode == "up" else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                pass  # the canary was killed in the middle of a request

        self.server = Server((LOOPBACK, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def _close(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def _take_turns(self) -> None:
        while True:
            for mode in self.MODES:
                self.mode = mode
                if mode == "closed":
                    self._close()
                elif self.server is None:
                    self._open()
                if self.done.wait(random.uniform(0.3, 0.9)):
                    self.mode = "up"
                    if self.server is None:
                        self._open()
                    return

    def take(self, body: bytes) -> None:
        try:
            event = json.loads(parse_qs(body.decode(), strict_parsing=True)["message"][0])
        except (ValueError, KeyError):
            self.malformed.append(body)
            return
        with self.lock:
            self.events.append(event)

    def stay_up(self) -> None:
        self.done.set()
        self.thread.join()


# -- the load ------------------------------------------------------------------------------------


class Load:
    """Threads that try unique credentials until the canary is gone, and note what was answered."""

    def __init__(self, ports: dict[str, int], round_: int, threads: int = 2) -> None:
        self.answered: list[tuple[str, str]] = []
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(attack, ports[service], f"{service[0]}{round_}-{n}"))
            for service, attack in (("ftp", ftp_attempts), ("redis", redis_attempts))
            for n in range(threads)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, attack: Any, port: int, prefix: str) -> None:
        count = 0
        while not self.stop.is_set():
            try:
                with connect(port, timeout=5) as peer:
                    count = attack(self, peer, prefix, count)
            except OSError:
                time.sleep(0.005)

    def end(self) -> list[tuple[str, str]]:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return self.answered


def ftp_attempts(load: Load, peer: socket.socket, prefix: str, count: int) -> int:
    """Logs in until the server hangs up; returns the number of the last attempt."""
    if not read_until(peer, b"\n").startswith(b"220"):
        return count
    while not load.stop.is_set():
        count += 1
        password = f"{prefix}-{count}"
        peer.sendall(f"USER {prefix}\r\n".encode())
        if not read_until(peer, b"\n").startswith(b"331"):
            return count
        peer.sendall(f"PASS {password}\r\n".encode())
        if not read_until(peer, b"\n").startswith(b"530"):
            return count
        load.answered.append(("ftp", password))
        time.sleep(PAUSE)
    return count


def redis_attempts(load: Load, peer: socket.socket, prefix: str, count: int) -> int:
    """Sends AUTH until the connection ends; returns the number of the last attempt."""
    while not load.stop.is_set():
        count += 1
        password = f"{prefix}-{count}"
        peer.sendall(f"*2\r\n$4\r\nAUTH\r\n${len(password)}\r\n{password}\r\n".encode())
        answer = read_until(peer, b"\n")
        if not (answer.startswith(b"-") and answer.endswith(b"\n")):
            return count
        load.answered.append(("redis", password))
        time.sleep(PAUSE)
    return count


# -- what became of it ---------------------------------------------------------------------------


def credential(event: Event) -> tuple[str, str] | None:
    """The credential in an event that OpenCanary has, too."""
    data = event["logdata"]
    match event["logtype"]:
        case 2000:
            return "ftp", data["PASSWORD"]
        case 17001 if data["CMD"] == "AUTH":
            return "redis", data["ARGS"]
    return None


def by_credential(events: list[Event]) -> dict[tuple[str, str], set[str]]:
    """The distinct ids under which each credential stands; a line without an id counts on its own."""
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for n, event in enumerate(events):
        key = credential(event)
        if key:
            ids[key].add(event.get("aviary", {}).get("id", f"line {n}"))
    return ids


def each_is_there(answered: list[tuple[str, str]], events: list[Event]) -> None:
    there = by_credential(events)
    lost = [key for key in answered if key not in there]
    assert not lost, f"{len(lost)} of {len(answered)} are lost: {lost[:10]}"


def each_has_one_id(events: list[Event]) -> None:
    without = sum("id" not in event.get("aviary", {}) for event in events if event["logtype"] != LIFECYCLE)
    assert not without, f"{without} events have no aviary.id"
    several = {key: ids for key, ids in by_credential(events).items() if len(ids) > 1}
    assert not several, f"{len(several)} credentials have several ids: {list(several.items())[:5]}"


def in_order(events: list[Event]) -> None:
    """De-duplicated, events come in the order of the journal."""
    seen: set[str] = set()
    last = 0
    for event in events:
        ours = event.get("aviary", {})
        if ours.get("id") not in seen:
            seen.add(ours.get("id"))
            assert ours["seq"] > last, f"seq {ours['seq']} came after {last}"
            last = ours["seq"]


def drained(receiver: Receiver, answered: list[tuple[str, str]], patience: float = 20.0, limit: float = 600.0) -> None:
    """Waits until all has arrived, or nothing more comes for `patience` seconds."""
    end = time.monotonic() + limit
    count, changed = -1, time.monotonic()
    wanted = set(answered)
    while time.monotonic() < end and time.monotonic() - changed < patience:
        with receiver.lock:
            events = list(receiver.events)
        if len(events) != count:
            count, changed = len(events), time.monotonic()
            if wanted <= by_credential(events).keys() and len(events) == count:
                wanted = set()
        if not wanted and time.monotonic() - changed > 2.0:
            return
        time.sleep(0.25)


def others(folder: Path) -> dict[str, Any]:
    """The other receivers, as far as they can be had here."""
    from chaos_queues import ROWS
    from outputs_receivers import certificate

    rows = {}
    certificate(folder)
    for name in OTHERS:
        try:
            rows[name] = ROWS[name](folder)
        except Skip as reason:
            print(f"     without {name}: {reason}")
    return rows


def wanted_ids(answered: list[tuple[str, str]], file_events: list[Event]) -> set[str]:
    """The ids of the answered credentials, as the file has them."""
    ids = by_credential(file_events)
    return {one for key in answered for one in ids.get(key, ())}


def stored(row: Any, answered: list[tuple[str, str]], file_events: list[Event]) -> None:
    """A receiver has the id of every answered credential, and no other ids than the file, in the file's order."""
    seqs = {event["aviary"]["id"]: event["aviary"]["seq"] for event in file_events if "aviary" in event}
    came = list(dict.fromkeys(row.ids()))
    missing = wanted_ids(answered, file_events) - set(came)
    assert not missing, f"{len(missing)} of {len(answered)} are lost"
    strange = [one for one in came if one not in seqs]
    assert not strange, f"ids that the file does not have: {strange[:5]}"
    order = [seqs[one] for one in came]
    late = next((pair for pair in zip(order, order[1:], strict=False) if pair[0] > pair[1]), None)
    assert late is None, f"seq {late[1]} came after {late[0]}" if late else ""


def start(canary: Canary, failed: list[str]) -> float:
    """Starts the canary, again if need be, and says how long the good start took."""
    for _ in range(20):
        begun = time.monotonic()
        try:
            canary.start()
            return time.monotonic() - begun
        except RuntimeError as error:
            failed.append(str(error))
            canary.kill()
            time.sleep(0.2)
    raise RuntimeError(failed[-1])


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=100, help="how often the canary is killed (default 100)")
    parser.add_argument("--seed", type=int, default=None, help="makes the moments repeatable")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    random.seed(options.seed)

    receiver = Receiver()
    webhook = {
        "class": "opencanary.logger.WebhookHandler",
        "url": f"http://{LOOPBACK}:{receiver.port}/",
        "method": "POST",
        "data": {"message": "%(message)s"},
        "status_code": 200,
    }
    # As the product does it, a wrong password would be answered only when the canary is dead already.
    settings = {"ftp.login_delay": 0}
    report = Report(may_skip=False)
    folder = Path(tempfile.mkdtemp(prefix="kill-"))
    rows = others(folder) if bin_dir else {}
    handlers = {"webhook": webhook} | {name: {"formatter": "plain"} | row.handler for name, row in rows.items()}
    canary = Canary(bin_dir, settings, handlers, services=("ftp", "redis"))
    answered: list[tuple[str, str]] = []
    starts: list[float] = []
    failed: list[str] = []
    try:
        for round_ in range(options.rounds):
            starts.append(start(canary, failed))
            load = Load(canary.ports, round_)
            time.sleep(random.uniform(0.05, 0.6))
            canary.kill()
            answered += load.end()
            if (round_ + 1) % 10 == 0:
                print(f"     {round_ + 1} kills, {len(answered)} answers, {len(receiver.events)} received", flush=True)
        start(canary, failed)
        receiver.stay_up()
        begun = time.monotonic()
        drained(receiver, answered)
        print(f"     the queue was drained for {time.monotonic() - begun:.0f} s", flush=True)
        file_events = list(canary.events())
        for row in rows.values():
            end = time.monotonic() + 30
            while not wanted_ids(answered, file_events) <= set(row.ids()) and time.monotonic() < end:
                time.sleep(0.5)
        canary.stop()
        file_events = list(canary.events())

        count = Counter(service for service, _ in answered)
        down = {mode: n for mode, n in receiver.requests.items() if mode != "up"}
        repeated = len(receiver.events) - len({e.get("aviary", {}).get("id") for e in receiver.events})
        print(f"     answers: {dict(count)}; requests while down: {down}; deliveries repeated: {repeated}")
        print(f"     slowest start: {max(starts) * 1000:.0f} ms; broken lines in the file: {len(canary.broken_lines)}")

        def load_was_real() -> None:
            assert count["ftp"] and count["redis"], f"answers: {dict(count)}"
            assert options.rounds < 20 or {"503", "hangs up"} <= down.keys(), f"the receiver was never down: {down}"

        def webhook_was_sound() -> None:
            assert not receiver.malformed, f"{len(receiver.malformed)} bodies are malformed: {receiver.malformed[0]!r}"

        def file_was_sound() -> None:
            # One line may be cut by each kill; it must not have swallowed the next one.
            cut = len(canary.broken_lines)
            assert cut <= options.rounds, f"{cut} lines are no JSON: {canary.broken_lines[0]!r}"

        def every_start_worked() -> None:
            assert not failed, f"{len(failed)} starts failed, the first with:\n{failed[0]}"

        report.check("every start worked, whatever the receiver did", every_start_worked)
        report.check("load on both services, receiver down at times", load_was_real)
        report.check("webhook: every body holds one event", webhook_was_sound)
        report.check("webhook: every answered credential arrived", lambda: each_is_there(answered, receiver.events))
        report.check("webhook: each exactly once by `aviary.id`", lambda: each_has_one_id(receiver.events))
        report.check("webhook: in the order of the journal", lambda: in_order(receiver.events))
        report.check("file: every answered credential is there", lambda: each_is_there(answered, file_events))
        report.check("file: each exactly once by `aviary.id`", lambda: each_has_one_id(file_events))
        report.check("file: lines are whole", file_was_sound)
        for name, row in rows.items():
            ids = list(row.ids())
            print(f"     {name}: {len(set(ids))} events, {len(ids) - len(set(ids))} repetitions")
            report.check(
                f"{name}: every answered credential, once by id, in order",
                lambda row=row: stored(row, answered, file_events),
            )
    finally:
        canary.stop()
        canary.clean()
        for row in rows.values():
            row.end()
        shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
