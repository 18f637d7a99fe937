"""Load from one source: a flood, thousands of idle connections, and more connections than files.

Whoever else asks must be answered meanwhile.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from pathlib import Path

from canary import LOOPBACK, OURS, Canary, Event, connect
from check_list import Checks
from hostile_probes import all_answer, probe

FLOODER, IDLER, HOARDER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Sources of the load, so that limits for each source do not hit the probes from 127.0.0.1."""

CHECKS = Checks()
check = CHECKS.add


def watch(canary: Canary, seconds: float, busy: str) -> tuple[dict[str, float], list[str]]:
    """Probes all services but the busy one, over and over, for that long: worst answer times, failures."""
    worst: dict[str, float] = {}
    failures: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for service in canary.ports:
            if service != busy:
                try:
                    worst[service] = max(worst.get(service, 0.0), probe(canary, service))
                except AssertionError as error:
                    failures.append(str(error))
        time.sleep(0.1)
    return worst, failures


@check("redis: 2,000 connections a second for 2 s from one source")
def _(canary: Canary) -> None:
    mark = canary.mark()
    sent = refused = 0

    def flood() -> None:
        nonlocal sent, refused
        start = time.monotonic()
        for n in range(4_000):
            time.sleep(max(0.0, start + n / 2_000 - time.monotonic()))
            try:
                with socket.create_connection((LOOPBACK, canary.ports["redis"]), 2, (FLOODER, 0)) as peer:
                    peer.sendall(b"PING\r\n")
                    sent += 1
            except OSError:
                refused += 1
        print(f"     4,000 connections in {time.monotonic() - start:.1f} s, {refused} refused", flush=True)

    thread = threading.Thread(target=flood)
    thread.start()
    worst, failures = watch(canary, 2.0, "redis")
    thread.join()
    assert not failures, "\n".join(failures[:5])
    slowest = max(worst, key=lambda service: worst[service])
    print(f"     slowest answer meanwhile: {slowest}, {worst[slowest] * 1000:.0f} ms", flush=True)
    all_answer(canary)
    deadline = time.monotonic() + 20
    while (told := pings(canary, mark)) < sent and time.monotonic() < deadline:
        time.sleep(0.2)
    print(f"     {told} of {sent} connections have an event of their own", flush=True)
    counted = limit_events(canary, mark, FLOODER)
    assert told == sent or (told < sent and counted), f"{told} events of {sent} connections, and no count of the rest"


def pings(canary: Canary, mark: int) -> int:
    """Commands of the flood that were logged; source ports are used again, so they are no measure."""
    return sum(e["logtype"] == 17001 and e["src_host"] == FLOODER for e in canary.events(mark))


def limit_events(canary: Canary, mark: int, source: str) -> list[Event]:
    """Events that count what was refused: of that source, ours, and about a limit."""
    return [
        e
        for e in canary.events(mark)
        if e["src_host"] == source
        and isinstance(e["logtype"], int)
        and e["logtype"] >= OURS
        and re.search(r"(?i)refus|limit|drop|evict", json.dumps([e["logdata"], e.get("aviary", {}).get("kind", "")]))
    ]


@check("telnet: 5,000 idle connections from one source")
def _(canary: Canary) -> None:
    before = canary.memory()
    peers: list[socket.socket] = []
    refused = 0
    try:
        for _ in range(5_000):
            try:
                peers.append(connect(canary.ports["telnet"], IDLER, timeout=1.0))
            except OSError:
                refused += 1
                if refused > 20:
                    break
        held = canary.memory() - before
        still = sum(map(is_open, peers))
        print(f"     {len(peers)} made, {refused} refused, {still} still open; memory grew by {held} KiB", flush=True)
        all_answer(canary)
        assert held < 64 * 1024, f"memory grew by {held} KiB"
    finally:
        for peer in peers:
            peer.close()
    all_answer(canary)


def is_open(peer: socket.socket) -> bool:
    """Whether the server has left the connection open; what it said is read away."""
    peer.setblocking(False)
    try:
        while peer.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def open_file_limit(bin_dir: Path | None) -> None:
    """A canary of its own that may open 256 files, and 400 connections to one service."""
    with Canary(bin_dir, open_files=256) as canary:
        peers: list[socket.socket] = []
        try:
            for _ in range(400):
                try:
                    peers.append(connect(canary.ports["redis"], HOARDER, timeout=0.5))
                except OSError:
                    break
            time.sleep(0.5)
            assert canary.alive(), f"the process ended:\n{canary.last_output()}"
            for service in canary.ports:
                if service != "redis":
                    probe(canary, service)
        finally:
            for peer in peers:
                peer.close()
        time.sleep(0.5)
        all_answer(canary)
        output = canary.output.read_text(errors="replace")
        assert len(output) < 200_000, f"{len(output)} bytes of complaints"
