"""Golden transcripts: what a real product answered, and the comparison with what answers here.

A file of `golden/` holds dialogues, each on a connection of its own:

    # vsFTPd 3.0.3 (Debian 12)
    ## name
    < b'220 (vsFTPd 3.0.3)\\r\\n'
    > b'QUIT\\r\\n'
    < b'221 Goodbye.\\r\\n'
    = FIN

`>` is a probe, `<` the reply before the next probe, `=` how the connection stands after the last
one: `open`, `FIN` or `RST`; after `shut` the client ends its side behind the next probe. Bytes are
Python literals, which `+` and `*` may join. What differs from run to run stands as a placeholder of
`PLACEHOLDERS`.
"""

from __future__ import annotations

import ast
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from canary import LOOPBACK

FOLDER = Path(__file__).parent.parent / "golden"
Close = Literal["open", "FIN", "RST"]

PATIENCE = 6.0
"""Seconds for a reply or a close that is expected; only a failed check waits that long."""
QUIET = 0.25
"""Seconds of silence that stand for "nothing comes"."""

DATE = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
PLACEHOLDERS: dict[bytes, bytes] = {
    b"{DATE}": DATE,
    b"{HOST}": rb"[A-Za-z0-9.-]+",
    b"{PORT}": rb"\d{1,5}",
    b"{LENGTH}": rb"\d{1,6}",
    b"{GZIP}": rb"\x1f\x8b\x08.*",
    b"{LISTING}": rb"<!DOCTYPE HTML .*Index of /css.*</html>\n",
}


@dataclass
class Step:
    """A probe and the reply to it; without a probe the server speaks first."""

    probe: bytes | None
    reply: bytes


@dataclass
class Dialogue:
    """What was said on one connection."""

    name: str
    steps: list[Step]
    close: Close
    halves: bool = False
    """Whether the client ends its side after the last probe."""


@dataclass
class Golden:
    """The dialogues with one product."""

    product: str
    dialogues: list[Dialogue]

    def __iter__(self) -> Iterator[Dialogue]:
        return iter(self.dialogues)

    def named(self, name: str) -> Dialogue:
        return next(d for d in self.dialogues if d.name == name)

    def only(self, *names: str) -> list[Dialogue]:
        return [self.named(name) for name in names]


def literal(text: str) -> bytes:
    """The value of bytes literals joined with `+` and `*`."""

    def value(node: ast.expr) -> bytes | int:
        match node:
            case ast.Constant(value=bytes() | int() as constant):
                return constant
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                one, two = value(left), value(right)
                assert isinstance(one, bytes) and isinstance(two, bytes)
                return one + two
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                one, times = value(left), value(right)
                assert isinstance(one, bytes) and isinstance(times, int)
                return one * times
        raise ValueError(f"no bytes: {text}")

    found = value(ast.parse(text, mode="eval").body)
    assert isinstance(found, bytes)
    return found


def read(name: str) -> Golden:
    """The file of that name in `golden/`."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    golden = Golden(lines[0].removeprefix("# "), [])
    for number, line in enumerate(lines, 1):
        mark, _, text = line.partition(" ")
        try:
            match mark:
                case "##":
                    golden.dialogues.append(Dialogue(text, [], "open"))
                case ">":
                    golden.dialogues[-1].steps.append(Step(literal(text), b""))
                case "<":
                    steps = golden.dialogues[-1].steps
                    if not steps:
                        steps.append(Step(None, b""))
                    steps[-1].reply = literal(text)
                case "shut":
                    golden.dialogues[-1].halves = True
                case "=":
                    assert text in ("open", "FIN", "RST")
                    golden.dialogues[-1].close = text  # type: ignore[assignment]
                case _:
                    assert mark == "#" or not line, "no such mark"
        except (AssertionError, ValueError, IndexError, SyntaxError) as error:
            raise ValueError(f"golden/{name}.txt:{number}: {error}: {line[:80]}") from error
    return golden


def pattern(reply: bytes) -> re.Pattern[bytes]:
    """What a reply with placeholders looks like."""
    parts = re.split(b"(" + b"|".join(re.escape(name) for name in PLACEHOLDERS) + b")", reply)
    return re.compile(b"".join(PLACEHOLDERS.get(part, re.escape(part)) for part in parts), re.DOTALL)


# -- a connection --------------------------------------------------------------------------------


class Seen:
    """Every byte that any service sent, for the check of forbidden words."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.replies: list[tuple[str, bytes]] = []

    def add(self, name: str, data: bytes) -> None:
        if data:
            with self.lock:
                self.replies.append((name, data))


SEEN = Seen()


class Peer:
    """A client's connection that knows how it was closed."""

    def __init__(self, port: int, label: str = "", tls: Callable[[socket.socket], socket.socket] | None = None) -> None:
        plain = socket.create_connection((LOOPBACK, port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls(plain) if tls else plain
        self.label = label
        self.closed: Close = "open"
        self.everything = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        SEEN.add(self.label, self.everything)
        self.socket.close()

    def send(self, data: bytes, piecewise: bool = False) -> None:
        """Sends what the peer still takes: it may have hung up before the last byte."""
        try:
            if piecewise:
                for byte in data:
                    self.socket.sendall(bytes([byte]))
            else:
                self.socket.sendall(data)
        except OSError:
            pass

    def end(self) -> None:
        """Says that nothing more will be sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _receive(self, timeout: float) -> bytes | None:
        """Bytes, none at the end, or `None` when the time is up."""
        self.socket.settimeout(max(0.001, timeout))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return None
        except OSError as error:
            self.closed = "RST" if isinstance(error, ConnectionError) else "FIN"
            return b""
        if not data:
            self.closed = "FIN"
        self.everything += data
        return data

    def read(self, wanted: Callable[[bytes], bool], timeout: float = PATIENCE) -> bytes:
        """What comes until it is as wanted, the peer closes, or the time is up."""
        data = b""
        deadline = time.monotonic() + timeout
        while self.closed == "open" and not (data and wanted(data)) and time.monotonic() < deadline:
            piece = self._receive(deadline - time.monotonic())
            if not piece:
                break
            data += piece
        return data

    def exactly(self, length: int, timeout: float = PATIENCE) -> bytes:
        return self.read(lambda data: len(data) >= length, timeout)

    def quiet(self, quiet: float = QUIET) -> bytes:
        """What comes until nothing came for `quiet` seconds, or the peer closes."""
        data = b""
        while self.closed == "open":
            piece = self._receive(quiet)
            if not piece:
                break
            data += piece
        return data

    def ends(self, timeout: float = PATIENCE) -> bytes:
        """What comes until the peer closes; `closed` tells whether and how."""
        return self.read(lambda _: False, timeout)


# -- comparing -----------------------------------------------------------------------------------


@dataclass
class Difference:
    """What was not as in the golden transcript."""

    dialogue: str
    step: int
    probe: bytes | None
    reply: bytes
    golden: bytes
    close: str = ""

    def __str__(self) -> str:
        probe = "(connect)" if self.probe is None else repr(self.probe[:300])
        lines = [f"[{self.dialogue}] step {self.step}"]
        if self.close:
            lines.append(self.close)
        lines += [
            f"probe  {probe}",
            f"reply  {self.reply[:700]!r}",
            f"  hex  {self.reply[:200].hex()}",
            f"golden {self.golden[:700]!r}",
        ]
        return "\n".join(lines)


@dataclass
class Manner:
    """How a dialogue is played."""

    piecewise: bool = False
    """One byte a segment."""
    any_close: bool = False
    """FIN and RST are the same: which it is depends on what the kernel had when it closed."""
    tls: Callable[[socket.socket], socket.socket] | None = None
    normalise: Callable[[bytes], bytes] = bytes
    """Puts placeholders into a reply where a pattern cannot."""
    label: str = ""
    patience: float = PATIENCE


@dataclass
class Played:
    """What came of a dialogue: its replies as in the golden transcript where they match it."""

    replies: list[bytes] = field(default_factory=list)
    close: str = ""
    difference: Difference | None = None


def play(port: int, dialogue: Dialogue, manner: Manner | None = None) -> Played:
    """Plays a dialogue; the first difference ends it."""
    manner = manner or Manner()
    played = Played()
    with Peer(port, manner.label, manner.tls) as peer:
        for number, step in enumerate(dialogue.steps):
            last = number == len(dialogue.steps) - 1
            if step.probe is not None:
                peer.send(step.probe, manner.piecewise)
                if dialogue.halves and last:
                    peer.end()
            expected = pattern(step.reply)

            def complete(data: bytes, expected: re.Pattern[bytes] = expected) -> bool:
                return expected.fullmatch(manner.normalise(data)) is not None

            if step.reply:
                reply = peer.read(complete, manner.patience)
            elif last and dialogue.close != "open":
                reply = peer.ends(manner.patience)
            else:
                reply = peer.quiet()
            if step.reply and last:
                reply += peer.quiet() if dialogue.close == "open" else peer.ends(manner.patience)
            played.replies.append(step.reply if complete(reply) else reply)
            if not complete(reply):
                played.difference = Difference(dialogue.name, number, step.probe, reply, step.reply)
                break
            if not last and peer.closed != "open":
                why = f"closed ({peer.closed}) too early"
                played.difference = Difference(dialogue.name, number, step.probe, reply, step.reply, why)
                break
        played.close = peer.closed
        same = peer.closed == dialogue.close
        if manner.any_close or manner.tls:
            same = (peer.closed == "open") == (dialogue.close == "open")
        if not played.difference and not same:
            step = dialogue.steps[-1]
            why = f"close state {peer.closed}, golden {dialogue.close}"
            played.difference = Difference(
                dialogue.name, len(dialogue.steps) - 1, step.probe, played.replies[-1], step.reply, why
            )
    return played


def same(port: int, dialogues: list[Dialogue], manner: Manner | None = None) -> None:
    """Fails when any of the dialogues goes otherwise than recorded."""
    assert dialogues
    differences = [played.difference for d in dialogues if (played := play(port, d, manner)).difference]
    if differences:
        count = f"{len(differences)} of {len(dialogues)} dialogues differ"
        raise AssertionError("\n".join([count, *(str(d) for d in differences[:4])]))


def in_one_segment(dialogue: Dialogue) -> Dialogue:
    """The same dialogue with all its probes sent at once."""
    greeting = [step for step in dialogue.steps[:1] if step.probe is None]
    rest = dialogue.steps[len(greeting) :]
    all_at_once = Step(b"".join(step.probe or b"" for step in rest), b"".join(step.reply for step in rest))
    return replace(dialogue, steps=[*greeting, all_at_once])


def halved(dialogue: Dialogue, close: Close = "FIN") -> Dialogue:
    """The same dialogue, but the client ends its side after the last probe."""
    return replace(dialogue, close=close, halves=True)
