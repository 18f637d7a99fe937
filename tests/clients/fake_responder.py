"""A poisoner as Responder is one: answers whatever is asked over LLMNR, NetBIOS and mDNS.

Run in a network namespace: `fake_responder.py INTERFACE ADDRESS4 ADDRESS6`. Prints a JSON line for each
question that it hears. With `--silent` it answers nothing.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys
import time

GROUPS = {"LLMNR": ("224.0.0.252", "ff02::1:3", 5355), "mDNS": ("224.0.0.251", "ff02::fb", 5353)}
NETBIOS = 137
IP_RECVTTL, IPV6_RECVHOPLIMIT = 12, 51
"""Linux's numbers, which the module `socket` lacks in places."""


def open_socket(family: int, port: int, interface: str, group: str = "") -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    number = socket.if_nametoindex(interface)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
        opened.bind(("::", port))
        member = socket.inet_pton(family, group) + struct.pack("@I", number)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        return opened
    opened.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    opened.bind(("", port))
    if group:
        member = socket.inet_aton(group) + struct.pack("@4si", socket.inet_aton("0.0.0.0"), number)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    return opened


def labels(question: bytes) -> tuple[str, int]:
    """The name in a question's body, and its type."""
    at, found = 0, []
    while length := question[at]:
        found.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(found), int.from_bytes(question[at + 1 : at + 3], "big")


def answer(protocol: str, question: bytes, four: str, six: str) -> bytes:
    body = question[12:]
    _, kind = labels(body)
    if protocol == "NBT-NS":
        return question[:2] + b"\x85\0\0\0\0\x01\0\0\0\0" + body + b"\0\0\0\xa5\0\6\0\0" + socket.inet_aton(four)
    data = socket.inet_pton(socket.AF_INET6, six) if kind == 28 else socket.inet_aton(four)
    record = body + b"\0\0\0\x1e" + len(data).to_bytes(2, "big") + data
    if protocol == "mDNS":
        return b"\0\0\x84\0\0\0\0\x01\0\0\0\0" + record
    return question[:2] + b"\x80\0\0\1\0\1\0\0\0\0" + body + record


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("interface")
    parser.add_argument("four")
    parser.add_argument("six")
    parser.add_argument("--silent", action="store_true")
    options = parser.parse_args()
    sockets: dict[socket.socket, str] = {}
    for protocol, (group4, group6, port) in GROUPS.items():
        sockets[open_socket(socket.AF_INET, port, options.interface, group4)] = protocol
        sockets[open_socket(socket.AF_INET6, port, options.interface, group6)] = protocol
    sockets[open_socket(socket.AF_INET, NETBIOS, options.interface)] = "NBT-NS"
    print(json.dumps({"ready": True}), flush=True)
    while True:
        for opened in select.select(list(sockets), [], [])[0]:
            data, control, _, peer = opened.recvmsg(4096, 256)
            if len(data) < 17 or data[2] & 0x80 or peer[0] in (options.four, options.six):
                continue
            name, kind = labels(data[12:])
            hops = [int.from_bytes(value[:4], sys.byteorder) for _, _, value in control]
            said = {"protocol": sockets[opened], "name": name, "type": kind, "id": data[:2].hex()}
            said |= {"peer": peer[0].split("%")[0], "port": peer[1], "hops": hops[0] if hops else 0}
            print(json.dumps(said | {"at": time.monotonic()}), flush=True)
            if not options.silent:
                opened.sendto(answer(sockets[opened], data, options.four, options.six), peer)


if __name__ == "__main__":
    main()
