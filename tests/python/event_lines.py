"""Writes event lines as OpenCanary does, with the values that they were made of.

Prints one JSON array a line: the event in a neutral spelling, and the text that Python's
`json.dumps(event, sort_keys=True)` gives. The same seed gives the same lines on every machine.
`crates/event/tests/contract.rs` builds each event from the neutral spelling and compares;
`crates/event/fixtures/python-lines.jsonl` holds the output for the default arguments.

The neutral spelling: `["n"]`, `["b", 0 or 1]`, `["i", "digits"]`, `["f", "bits in hex"]`,
`["s", [code points]]`, `["l", [values]]`, `["m", [[[code points], value], ...]]`.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
from typing import Any

EDGES = [0, 8, 9, 10, 12, 13, 31, 32, 34, 47, 60, 92, 126, 127, 128, 255, 0x2028, 0x2029]
EDGES += [0xD7FF, 0xE000, 0xFEFF, 0xFFFD, 0xFFFF, 0x10000, 0x1F600, 0x10FFFF]
FLOATS = [0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 123456789012345680.0, 1e-4, 9.999e-5, 5e-324, 1.7976931348623157e308]
FLOATS += [float("inf"), float("-inf"), float("nan")]
INTS = [0, -1, 1, 255, 65535, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)]
LOGTYPES = [1001, 2000, 3000, 3001, 4002, 5001, 6001, 8001, 9001, 12001, 13001, 15001, 17001, 20001, 30000, None]


def text(draw: random.Random) -> str:
    """Text of one of several alphabets, surrogates never among them."""
    length = draw.choice([0, 1, 2, 5, 13, 40])
    style = draw.randrange(4)
    if style == 0:
        return "".join(chr(draw.randrange(32, 127)) for _ in range(length))
    if style == 1:
        return "".join(chr(draw.choice(EDGES)) for _ in range(length))
    if style == 2:
        return "".join(chr(draw.randrange(0x20)) for _ in range(length))
    points = (draw.randrange(0x110000) for _ in range(length))
    return "".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF)


def value(draw: random.Random, depth: int) -> Any:
    kind = draw.randrange(9 if depth else 7)
    if kind == 0:
        return None
    if kind == 1:
        return draw.random() < 0.5
    if kind == 2:
        return draw.choice(INTS) if draw.random() < 0.5 else draw.randrange(-(10**9), 10**9)
    if kind == 3:
        if draw.random() < 0.3:
            return draw.choice(FLOATS)
        return struct.unpack(">d", struct.pack(">Q", draw.getrandbits(64)))[0]
    if kind in (4, 5, 6):
        return text(draw)
    if kind == 7:
        return [value(draw, depth - 1) for _ in range(draw.randrange(4))]
    return {text(draw): value(draw, depth - 1) for _ in range(draw.randrange(5))}


def event(draw: random.Random) -> dict[str, Any]:
    """The ten keys of every OpenCanary event, and `honeycred` now and then."""
    stamp = f"20{draw.randrange(100):02}-0{draw.randrange(1, 10)}-1{draw.randrange(10)} 12:00:00.{draw.randrange(10**6):06}"
    port: Any = draw.choice([-1, 22, 65535, "-1", "21"])
    made = {
        "dst_host": draw.choice(["", "192.0.2.1", "2001:db8::1"]),
        "dst_port": port,
        "local_time": stamp,
        "local_time_adjusted": stamp,
        "logdata": {text(draw): value(draw, 3) for _ in range(draw.randrange(6))},
        "logtype": draw.choice(LOGTYPES),
        "node_id": text(draw),
        "src_host": draw.choice(["", "192.0.2.7", "::1"]),
        "src_port": draw.choice([-1, 40000, "40000"]),
        "utc_time": stamp,
    }
    if draw.random() < 0.3:
        made["honeycred"] = draw.random() < 0.5
    return made


def neutral(item: Any) -> list[Any]:
    if item is None:
        return ["n"]
    if isinstance(item, bool):
        return ["b", int(item)]
    if isinstance(item, int):
        return ["i", str(item)]
    if isinstance(item, float):
        return ["f", struct.pack(">d", item).hex()]
    if isinstance(item, str):
        return ["s", [ord(c) for c in item]]
    if isinstance(item, list):
        return ["l", [neutral(member) for member in item]]
    return ["m", [[[ord(c) for c in key], neutral(member)] for key, member in item.items()]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    for _ in range(options.count):
        made = event(draw)
        print(json.dumps([neutral(made), json.dumps(made, sort_keys=True)], separators=(",", ":")))


if __name__ == "__main__":
    main()
