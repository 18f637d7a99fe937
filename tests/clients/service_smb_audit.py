"""The audit log of a real Samba: the same lines through OpenCanary's own parser, rotation, and what cannot be read."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from canary import Canary, Event, Skip, free_ports
from check_list import Checks
from client_programs import SCRATCH

FILE = SCRATCH / "samba-audit.log"
SERVICES: list[str] = []
# The port is for the built-in server, which is tried elsewhere.
SETTINGS: dict[str, Any] = {"smb.enabled": True, "smb.auditfile": str(FILE), "smb.port": free_ports(1)[0]}
CHECKS = Checks()
check = CHECKS.add

PREFIX = "Nov 24 22:00:00 nas smbd_audit[4711]: {user}|192.0.2.7|192.0.2.1|ws7|share|nas|SMB3_11|Win2K|2026/11/24 22:00:00|CORP"
LINES = [
    PREFIX.format(user="alice") + "|flistxattr|ok|plans/2027.docx",
    PREFIX.format(user="") + "|unlinkat|fail (Permission denied)|/srv/share/Grüße.txt",
    PREFIX.format(user="bob") + "|renameat|ok|/srv/share/a|/srv/share/b",
    "Nov 24 22:00:01 nas sshd[7]: Accepted password for alice",
    PREFIX.format(user="carol") + "|mkdirat|ok|/srv/share/new folder",
]


def opencanarys(lines: list[str]) -> list[dict[str, Any]]:
    """What OpenCanary's parser makes of them."""
    from opencanary.modules.samba import SambaLogWatcher

    class Logger:
        LOG_SMB_FILE_OPEN = 5000

        def __init__(self) -> None:
            self.events: list[dict[str, Any]] = []

        def log(self, data: dict[str, Any]) -> None:
            self.events.append(data)

    logger = Logger()
    watcher = object.__new__(SambaLogWatcher)
    watcher.logger = logger
    watcher.handleLines(lines=lines)
    return logger.events


def append(text: str | bytes) -> None:
    with FILE.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def told(canary: Canary, since: int, count: int) -> list[Event]:
    def those() -> list[Event]:
        return [event for event in canary.events(since) if event["logtype"] == 5000]

    deadline = time.monotonic() + 8
    while len(those()) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.7)
    assert len(those()) == count, f"{len(those())} events instead of {count}: {those()}\n{canary.last_output()}"
    return those()


def following(canary: Canary) -> None:
    """Skips OpenCanary, and waits until the file has been looked for."""
    if canary.kind == "opencanary":
        raise Skip("its parser is compared with")
    time.sleep(0.7)


@check("smb audit: a file that appears later, the same lines as OpenCanary's parser reads")
def _(canary: Canary) -> None:
    following(canary)
    mark = canary.mark()
    append("\n".join(LINES) + "\n")
    expected = opencanarys(LINES)
    assert len(expected) == 4
    for event, theirs in zip(told(canary, mark, 4), expected, strict=True):
        assert {key: event[key] for key in theirs} == theirs, f"{event}\ninstead of\n{theirs}"


@check("smb audit: openat names the file, where OpenCanary names the flag")
def _(canary: Canary) -> None:
    following(canary)
    line = PREFIX.format(user="dora") + "|openat|ok|r|/srv/share/budget.xlsx"
    assert opencanarys([line])[0]["logdata"]["FILENAME"] == "r"
    mark = canary.mark()
    append(line + "\n")
    (event,) = told(canary, mark, 1)
    assert event["logdata"]["FILENAME"] == "/srv/share/budget.xlsx", event


@check("smb audit: half a line, rotation, cutting, and bytes that are not UTF-8")
def _(canary: Canary) -> None:
    following(canary)
    mark = canary.mark()
    append(LINES[0][:40])
    time.sleep(0.7)
    append(LINES[0][40:] + "\n")
    told(canary, mark, 1)
    FILE.rename(FILE.with_suffix(".1"))
    append(LINES[2] + "\n")
    told(canary, mark, 2)
    FILE.write_bytes(b"")
    time.sleep(0.7)
    append((LINES[4] + "\n").encode() + PREFIX.format(user="eve").encode() + b"|flistxattr|ok|caf\xe9\n")
    events = told(canary, mark, 4)
    assert events[-1]["logdata"]["FILENAME"] == "caf\\xe9", events[-1]
    append("x" * 300_000 + "\n" + LINES[0] + "\n")
    told(canary, mark, 5)


@check("smb audit: what was there at the start is not told again")
def _(canary: Canary) -> None:
    following(canary)
    append(LINES[0] + "\n")
    with Canary(canary.bin_dir, SETTINGS | {"smb.port": free_ports(1)[0]}, services=()) as late:
        time.sleep(1.5)
        append(LINES[4] + "\n")
        (event,) = told(late, 0, 1)
        assert event["logdata"]["USER"] == "carol", event


@check("smb audit: a file that may not be read is said, and read once it may")
def _(canary: Canary) -> None:
    following(canary)
    if os.geteuid() != 0:
        raise Skip("needs root to make a file that a canary without capabilities may not read")
    hidden = SCRATCH / "hidden-audit.log"
    hidden.write_text("")
    os.chown(hidden, 65534, 65534)
    hidden.chmod(0o600)
    settings = SETTINGS | {"smb.auditfile": str(hidden), "smb.port": free_ports(1)[0]}
    with Canary(canary.bin_dir, settings, services=()) as kept_out:
        time.sleep(1.5)
        assert "may not be read" in kept_out.last_output(), kept_out.last_output()
        assert kept_out.last_output(200).count("may not be read") == 1, kept_out.last_output(200)
        os.chown(hidden, 0, 0)
        time.sleep(0.7)
        hidden.write_text(LINES[0] + "\n")
        event = told(kept_out, 0, 1)[0]
        assert json.loads(json.dumps(event))["src_port"] == "-1", event
