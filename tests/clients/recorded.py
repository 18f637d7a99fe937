"""Recordings of real servers that lie beside the services, replayed against a running canary.

A recording holds for each probe, which has a connection of its own, `## name`, `> sent`, `< reply` and
`= open` or `= FIN`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from canary import connect

SERVICES = Path(__file__).parents[2] / "crates" / "services" / "src"


@dataclass
class Recorded:
    """A probe and what the real server did."""

    name: str
    sent: bytes
    reply: bytes
    closes: bool


def unescape(text: str) -> bytes:
    """`\\x00`, `\\r`, `\\n`, `\\t`, `\\\\`, and `{a*100}` for a hundred `a`."""
    text = re.sub(r"\{(\w)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def recordings(service: str, name: str, decode: Callable[[str], bytes] = unescape) -> Iterator[Recorded]:
    """Those of a file in the service's `fixtures/`."""
    lines = (SERVICES / service / "fixtures" / name).read_text().splitlines()
    for name_line, sent, reply, end in zip(*[iter(lines)] * 4, strict=True):
        marks = [line[:2] for line in (sent, reply, end)]
        assert name_line.startswith("## ") and marks == ["> ", "< ", "= "], name_line
        yield Recorded(name_line[3:], decode(sent[2:]), decode(reply[2:]), end.endswith("FIN"))


def ask(port: int, sent: bytes, closes: bool) -> tuple[bytes, bool]:
    """What comes, and whether the peer closed: waits long for a close only where one is expected."""
    data = b""
    with connect(port) as peer:
        peer.sendall(sent)
        peer.settimeout(3 if closes else 0.25)
        try:
            while chunk := peer.recv(65536):
                data += chunk
        except TimeoutError:
            return data, False
        except ConnectionResetError:
            pass
    return data, True


def replay(port: int, all_of_them: Iterator[Recorded], same: Callable[[Recorded, bytes], bool]) -> int:
    """Fails when any probe is answered otherwise; gives how many there were."""
    wrong, count = [], 0
    for one in all_of_them:
        count += 1
        got, closed = ask(port, one.sent, one.closes)
        if closed != one.closes or not same(one, got):
            wrong.append(f"{one.name}: {got[:600]!r}, closed: {closed}, instead of {one.reply[:600]!r}")
    assert not wrong, f"{len(wrong)} of {count} differ\n" + "\n".join(wrong[:4])
    return count
