"""The ways between a canary and its receivers, on which evil things happen.

A way passes on until it is told otherwise. Whatever it does to the canary, the receiver behind it stays sound:
what that one has stored is what has arrived.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from canary import LOOPBACK, free_ports

PASS = "pass"
KILLED = "killed"
"""Connections are reset, the port is closed."""
HANGS = "hangs after accept"
"""Reads nothing, says nothing, and is killed in the end."""
SWALLOWS = "reads and never answers"
GARBAGE = "answers garbage"
"""Random bytes as the first answer, or as the second, and so on; then the end. What is answered so is not passed on."""
PAGE = "is another server"
"""The page of some web server as the answer to whatever comes."""
CUTS = "closes mid-batch"
"""After so many bytes of the canary, which the receiver gets; by a reset or in good order."""
DEAF = "loses the answers"
"""The receiver gets all, the canary the first answers, or none; then a reset."""
FULL = "is full"
"""As that receiver says it; one that says nothing stops reading, and goes on in the end."""

EVILS = (KILLED, HANGS, SWALLOWS, GARBAGE, PAGE, CUTS, DEAF, FULL)

WEB_PAGE = b"<html><body>Please log in to use this network.</body></html>"
WEB_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(WEB_PAGE), WEB_PAGE)

CUT_AFTER = (0, 700, 1, 3000, 150, 1500, 40, 6000, 400, 2200)
"""Bytes, connection by connection: within headers, within the first event, between events."""

Answerer = Callable[["Peer"], Coroutine[Any, Any, None]]

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def now(work: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it in the loop of the ways."""
    return asyncio.run_coroutine_threadsafe(work, LOOP).result(10)


class Peer:
    """One end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end

    async def read(self) -> bytes:
        return await LOOP.sock_recv(self.end, 65536)

    async def send(self, data: bytes) -> None:
        await LOOP.sock_sendall(self.end, data)

    async def read_for(self, seconds: float) -> bytes:
        """What comes within that time, perhaps nothing."""
        try:
            return await asyncio.wait_for(self.read(), seconds)
        except TimeoutError:
            return b""

    async def request(self) -> bytes:
        """A whole HTTP request; nothing at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await self.read()
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while lengths and len(body) < int(lengths[0]):
            piece = await self.read()
            if not piece:
                return b""
            body += piece
        return head + b"\r\n\r\n" + body

    def reset(self) -> None:
        if self.end.fileno() < 0:
            return
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end.close()

    async def leave(self) -> None:
        """An end in good order: what the other still sends is read for a while."""
        self.end.shutdown(socket.SHUT_WR)
        for _ in range(50):
            if not await self.read_for(0.3):
                break
        self.end.close()


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def passed_on(source: Peer, target: Peer, gate: asyncio.Event) -> None:
    """Bytes and the end of them, while the gate is open."""
    while True:
        await gate.wait()
        data = await source.read()
        await gate.wait()
        if not data:
            target.end.shutdown(socket.SHUT_WR)
            return
        await target.send(data)


class Stream:
    """A way over TCP. `full` answers when the receiver is full, or `fill` makes it full and empties it again; without
    either nothing more is read then."""

    def __init__(self, target: int, full: Answerer | None = None, fill: Callable[[bool], None] | None = None) -> None:
        self.target, self.full, self.fill = target, full, fill
        self.port = free_ports(1)[0]
        self.mode = self.asked = PASS
        self.count = 0
        """Connections since the mode was set."""
        self.tasks: dict[asyncio.Task[None], list[Peer]] = {}
        self.listener: socket.socket | None = None
        self.accepting: asyncio.Task[None] | None = None
        now(self._set(PASS))

    def set(self, mode: str) -> None:
        if self.fill and FULL in (mode, self.asked):
            self.fill(mode == FULL)
        self.asked = mode
        now(self._set(PASS if self.fill and mode == FULL else mode))

    async def _set(self, mode: str) -> None:
        if not hasattr(self, "gate"):
            self.gate = asyncio.Event()
        stalls = self.full is None and FULL in (mode, self.mode)
        self.mode, self.count = mode, 0
        if not stalls:
            await self._kill()
        if mode == FULL and self.full is None:
            self.gate.clear()
        else:
            self.gate.set()
        if mode == KILLED and self.accepting and self.listener:
            await cancelled(self.accepting)
            self.listener.close()
            self.listener = None
        if mode != KILLED and self.listener is None:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Little, so that a receiver that does not read is soon noticed.
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.listener.bind((LOOPBACK, self.port))
            self.listener.listen(64)
            self.listener.setblocking(False)
            self.accepting = LOOP.create_task(self._accept(self.listener))

    async def _kill(self) -> None:
        ended, self.tasks = self.tasks, {}
        # A socket may only be closed when nobody waits for it any more.
        await cancelled(*ended)
        for peers in ended.values():
            for peer in peers:
                peer.reset()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            end, _ = await LOOP.sock_accept(listener)
            client = Peer(end)
            number, self.count = self.count, self.count + 1
            peers = [client]
            task = LOOP.create_task(self._serve(client, peers, number))
            self.tasks[task] = peers

    async def _serve(self, client: Peer, peers: list[Peer], number: int) -> None:
        try:
            await self._play(client, peers, number)
        except (OSError, ExceptionGroup):
            pass  # one of both went away
        finally:
            task = asyncio.current_task()
            if task in self.tasks:
                del self.tasks[task]
                for peer in peers:
                    peer.reset()

    async def _reach(self, peers: list[Peer]) -> Peer:
        end = socket.socket()
        peers.append(Peer(end))
        await LOOP.sock_connect(end, (LOOPBACK, self.target))
        return peers[-1]

    async def _play(self, client: Peer, peers: list[Peer], number: int) -> None:
        match self.mode:
            case mode if mode == PASS or (mode == FULL and self.full is None):
                server = await self._reach(peers)
                async with asyncio.TaskGroup() as both:
                    both.create_task(passed_on(client, server, self.gate))
                    both.create_task(passed_on(server, client, self.gate))
            case mode if mode == HANGS:
                await asyncio.Event().wait()
            case mode if mode == SWALLOWS:
                while await client.read():
                    pass
            case mode if mode == GARBAGE:
                await self._talk(client, peers, number % 8)
                await client.send(random.randbytes(random.choice((1, 7, 60, 900))))
                await client.leave()
            case mode if mode == PAGE:
                await client.read_for(0.2)
                await client.send(WEB_ANSWER)
                await client.leave()
            case mode if mode == CUTS:
                await self._cut(client, peers, number)
            case mode if mode == DEAF:
                server = await self._reach(peers)
                back = LOOP.create_task(self._few(server, client, number % 8))
                try:
                    while data := await client.read_for(0.4):
                        await server.send(data)
                finally:
                    await cancelled(back)
                    # What the receiver has got it may keep.
                    server.end.shutdown(socket.SHUT_WR)
                    peers.remove(server)
                    server.end.close()
            case _:
                assert self.full is not None
                await self.full(client)
                await client.leave()

    async def _few(self, server: Peer, client: Peer, answers: int) -> None:
        """The first answers; the others are read and forgotten."""
        while data := await server.read():
            if answers:
                answers -= 1
                await client.send(data)

    async def _talk(self, client: Peer, peers: list[Peer], answers: int) -> None:
        """Passes on until so many answers came, and reads what comes next."""
        if answers:
            server = await self._reach(peers)
            reading = LOOP.create_task(client.read())
            hearing = LOOP.create_task(server.read())
            try:
                while answers:
                    limit = 0.6
                    done, _ = await asyncio.wait((reading, hearing), timeout=limit, return_when="FIRST_COMPLETED")
                    if not done:
                        return
                    if hearing in done:
                        answers -= 1
                        await client.send(hearing.result())
                        hearing = LOOP.create_task(server.read())
                    # What comes after the last answer is not passed on.
                    if reading in done and answers:
                        await server.send(reading.result())
                        reading = LOOP.create_task(client.read())
                await asyncio.wait((reading,), timeout=0.3)
            finally:
                await cancelled(reading, hearing)
        else:
            await client.read_for(0.2)

    async def _cut(self, client: Peer, peers: list[Peer], number: int) -> None:
        left = CUT_AFTER[number % len(CUT_AFTER)]
        server = await self._reach(peers)
        back = LOOP.create_task(self._few(server, client, sys.maxsize))
        try:
            while left > 0:
                data = await client.read_for(1.0)
                if not data:
                    break
                await server.send(data[:left])
                left -= len(data)
        finally:
            await cancelled(back)
        if number % 2 and self.mode == CUTS:
            client.end.close()
        # The receiver reads what it got before it hears of the end.
        server.end.shutdown(socket.SHUT_WR)
        peers.remove(server)
        server.end.close()


class Datagrams:
    """A way over UDP: what is lost on it nobody tells, but for a port that is closed."""

    def __init__(self, target: int) -> None:
        self.target = (LOOPBACK, target)
        self.port = free_ports(1)[0]
        self.mode = PASS
        self.end: socket.socket | None = None
        self.set(PASS)

    def set(self, mode: str) -> None:
        self.mode = mode
        if mode == KILLED and self.end:
            end, self.end = self.end, None
            self.thread.join()
            end.close()
        elif mode != KILLED and self.end is None:
            self.end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.end.bind((LOOPBACK, self.port))
            self.end.settimeout(0.05)
            self.thread = threading.Thread(target=self._run, args=(self.end,), daemon=True)
            self.thread.start()

    def _run(self, end: socket.socket) -> None:
        onward = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while self.end is end:
            try:
                data, peer = end.recvfrom(65536)
            except TimeoutError:
                continue
            if self.mode in (PASS, GARBAGE, PAGE, DEAF):
                onward.sendto(data, self.target)
            if self.mode == GARBAGE:
                end.sendto(random.randbytes(100), peer)
            elif self.mode == PAGE:
                end.sendto(WEB_ANSWER, peer)


class Program:
    """A program at the end of a pipe, which misbehaves by itself."""

    SOURCE = """
import os, sys, time
got, mode = sys.argv[1:]
with open(got + ".pid", "w") as pid:
    pid.write(str(os.getpid()))
number = 0
def now():
    with open(mode) as file:
        return file.read()
if now() == "killed":
    sys.exit("not today")
for line in iter(sys.stdin.readline, ""):
    number += 1
    match now():
        case "hangs after accept":
            time.sleep(1000)
        case "reads and never answers":
            continue
        case "answers garbage":
            os.write(1, os.urandom(40) + b"\\n")
            continue
        case "is another server":
            print("HTTP/1.1 200 OK\\r\\n\\r", flush=True)
            continue
        case "closes mid-batch" if number > 1:
            sys.exit(3)
        case "is full":
            print("later: no space left", flush=True)
            continue
        case how:
            with open(got, "a") as file:
                file.write(line)
            if how == "loses the answers":
                sys.exit("no answer today")
            print("ok", flush=True)
"""

    def __init__(self, folder: Path) -> None:
        self.got, self.mode = folder / "program.got", folder / "program.mode"
        source = folder / "program.py"
        source.write_text(self.SOURCE)
        self.set(PASS)
        self.command = [sys.executable, str(source), str(self.got), str(self.mode)]

    def set(self, mode: str) -> None:
        fresh = self.mode.with_suffix(".new")
        fresh.write_text(mode)
        fresh.rename(self.mode)
        if mode == KILLED:
            try:
                os.kill(int(Path(f"{self.got}.pid").read_text()), signal.SIGKILL)
            except (OSError, ValueError):
                pass


# -- how receivers say that they are full ----------------------------------------------------------


def web(*answers: tuple[int, str, str]) -> Answerer:
    """Answers of an HTTP receiver, one after the other: status, headers, body."""
    turn = iter(range(sys.maxsize))

    async def answer(client: Peer) -> None:
        while await client.request():
            status, headers, body = answers[next(turn) % len(answers)]
            head = f"HTTP/1.1 {status} no\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
            await client.send(head.encode() + body.encode())

    return answer


async def mail(client: Peer) -> None:
    """A mail server without room (RFC 5321, section 4.2.3)."""
    await client.send(b"220 full.example ESMTP\r\n")
    while line := await client.read():
        word = line[:4].upper()
        answer = b"452 4.3.1 Insufficient system storage" if word == b"MAIL" else b"250 full.example"
        await client.send((b"221 bye" if word == b"QUIT" else answer) + b"\r\n")
