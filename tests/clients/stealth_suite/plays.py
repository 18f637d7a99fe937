"""Plays every golden dialogue once, and lets the checks look at what came of it."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from canary import unverified_tls

from .golden import Close, Dialogue, Manner, Played, Step, play
from .personas import SSH, OpenSsh, Persona, Running

THREADS = 20


def over_tls(plain: socket.socket) -> socket.socket:
    return unverified_tls().wrap_socket(plain)


def ssh_placeholders(data: bytes) -> bytes:
    """Puts `{BANNER}` and `{KEXINIT}` where these are: checks of their own look at them."""
    data = re.sub(rb"\ASSH-2\.0-[ -~]+\r\n", b"{BANNER}", data)
    start = len(b"{BANNER}") if data.startswith(b"{BANNER}") else 0
    if re.match(rb"\x00\x00..[\x04-\xff]\x14", data[start:], re.DOTALL):
        (length,) = struct.unpack(">I", data[start : start + 4])
        whole = data[start : start + 4 + length]
        if len(whole) == 4 + length:
            data = data[:start] + b"{KEXINIT}" + data[start + 4 + length :]
    return data


def build_of(persona: Persona) -> OpenSsh:
    """The OpenSSH that the persona plays."""
    return next(build for build in SSH if build.banner == persona.settings["ssh.version"])


def expected(persona: Persona, service: str, dialogue: Dialogue) -> Dialogue:
    """A recorded dialogue as this persona plays it on this service."""
    if service == "https":
        # Only redirects name the scheme; Apache's page holds the link, too.
        def secure(reply: bytes) -> bytes:
            moved = reply.replace(b"http://x:{PORT}/css/", b"https://x:{PORT}/css/")
            return moved.replace(b"Content-Length: 337", b"Content-Length: 338") if moved != reply else reply

        return replace(dialogue, steps=[Step(s.probe, secure(s.reply)) for s in dialogue.steps])
    if service == "ssh" and dialogue.name == "message 200" and build_of(persona).short.split(".")[0] in ("9", "10"):
        if build_of(persona).short != "9.2p1":
            # Seen with 9.6 and 10.0: closed without a word.
            steps = [*dialogue.steps[:-1], Step(dialogue.steps[-1].probe, b"")]
            return replace(dialogue, steps=steps)
    return dialogue


def applies(persona: Persona, service: str, dialogue: Dialogue) -> bool:
    """Whether a recording holds for this persona on this service."""
    if dialogue.name.startswith("tls port"):
        return service == "https"
    if service == "ssh" and "strict" in dialogue.name:
        # Texts were recorded with 9.2 alone.
        return build_of(persona).short == "9.2p1"
    return True


@dataclass
class Plays:
    """Every golden dialogue with every persona, each played once."""

    suite: Running
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))
    results: dict[tuple[str, str, str], Future[Played]] = field(default_factory=dict)

    def dialogues(self, persona: Persona, service: str) -> list[Dialogue]:
        recorded = self.suite.golden(persona, service)
        return [expected(persona, service, d) for d in recorded if applies(persona, service, d)]

    def start(self, persona: Persona) -> None:
        for service in persona.services:
            for dialogue in self.dialogues(persona, service):
                key = (persona.name, service, dialogue.name)
                self.results[key] = self.submit(persona, service, dialogue)

    def submit(self, persona: Persona, service: str, dialogue: Dialogue, piecewise: bool = False) -> Future[Played]:
        """Plays a dialogue as soon as a thread is free."""
        secured = service == "https" and not dialogue.name.startswith("tls port")
        manner = Manner(
            piecewise=piecewise,
            # What is unread when the product closes depends on what has arrived by then.
            any_close=piecewise,
            tls=over_tls if secured else None,
            label=f"{persona.name} {service} {dialogue.name}",
        )
        if service == "ssh":
            manner.normalise = ssh_placeholders
        return self.pool.submit(play, self.suite.port(persona, service), dialogue, manner)

    def result(self, persona: Persona, service: str, name: str) -> Played:
        return self.results[persona.name, service, name].result()

    def same(self, persona: Persona, service: str, names: Iterable[str]) -> None:
        """Fails when any of the dialogues went otherwise than recorded."""
        told([self.result(persona, service, name) for name in names])

    def close(self, persona: Persona, service: str) -> list[tuple[str, Close, str]]:
        """Name, recorded and seen close state of each dialogue."""
        found = []
        for d in self.dialogues(persona, service):
            played = self.result(persona, service, d.name)
            if not (played.difference and len(played.replies) < len(d.steps)):
                found.append((d.name, d.close, played.close))
        return found


def told(played: list[Played]) -> None:
    """Fails, and tells the first differences, when there are any."""
    assert played, "no dialogue"
    differences = [p.difference for p in played if p.difference]
    if differences:
        count = f"{len(differences)} of {len(played)} dialogues differ"
        raise AssertionError("\n".join([count, *(str(d) for d in differences[:5])]))
