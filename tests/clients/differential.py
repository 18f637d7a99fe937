"""Drives OpenCanary 0.9.10 and Aviary with the same clients, and compares their events field by field.

Every event that OpenCanary wrote must be in ours: same order per service, same keys, same values,
same JSON text form. What may differ is here and nowhere else: `normalised` (times, ports, session
numbers), and `DIFFERENCES` (bugs and marks of OpenCanary that Aviary must not repeat).
"""

from __future__ import annotations

import copy
import difflib
import importlib
import importlib.metadata
import json
import logging
import os
import re
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import urllib3

from canary import LIFECYCLE, LOOPBACK, OURS, SERVICES, Canary, Event, Report, arguments
from differential_steps import STEPS, Step
from expected_differences import EXPECTED_DIFFERENCES, Difference

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
urllib3.disable_warnings()

ZONE, OFFSET = "Asia/Kolkata", timedelta(hours=5, minutes=30)
"""A zone without whole hours, so that local and UTC time cannot be mistaken for each other."""

SETTINGS: dict[str, Any] = {
    "ftp.banner": "FTP server ready",
    "ftp.log_auth_attempt_initiated": True,
    "ftp.honeycreds": [{"username": "admin", "password": "admin1"}],
    "http.banner": "Apache/2.2.22 (Ubuntu)",
    "http.log_unimplemented_method_requests": True,
    "http.log_redirect_request": True,
    "ssh.version": "SSH-2.0-OpenSSH_5.1p1 Debian-4",
    "ssh.honeycreds": [
        # `honey-pbkdf2` and `honey-sha512crypt`
        {
            "username": "root",
            "password": "$pbkdf2-sha512$1000$/H8PQejd29sbw7g3hlAKAQ$"
            "stnCd7hRBUnOWWrfFQ1zBioG4assnVVpPG6i7c3i6ls8UgFvqr.WvHBioh4nxy9L73DxGnqmNhG9FEeHdXHilQ",
        },
        {
            "username": "backup",
            "password": "$6$rounds=1000$p6K7CBVVXxlUyrov$"
            "yVq0KkbuaLZT5d0PGhOs8WEl89wo4Qb27aSEsCliMhAKRGDMcifgonevBRpsPi0/qQrViVFQVmpd1cEwLg5qC.",
        },
    ],
    "telnet.banner": "",
    "telnet.log_tcp_connection": True,
    "telnet.honeycreds": [{"username": "admin", "password": "admin1"}],
}

ALL_SERVICES: list[str] = list(SERVICES)
"""Names whose ports both canaries open; those that only `differential_NAME.py` needs are added below."""

DIFFERENCES: list[Difference] = list(EXPECTED_DIFFERENCES)

# `differential_NAME.py` adds a service: steps by `step`, `SETTINGS`, `SERVICES` and `DIFFERENCES`.
for _path in sorted(Path(__file__).parent.glob("differential_*.py")):
    if _path.stem != "differential_steps":
        _module = importlib.import_module(_path.stem)
        SETTINGS |= _module.SETTINGS
        ALL_SERVICES += _module.SERVICES
        DIFFERENCES += _module.DIFFERENCES


# -- making events comparable --------------------------------------------------------------------

STAMP = "%Y-%m-%d %H:%M:%S.%f"
STAMP_FORM = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")


@dataclass
class Run:
    """What one canary logged: per step its comparable events, and complaints about its log as a whole."""

    steps: dict[str, list[Event]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def normalised(canary: Canary, event: Event, start: datetime, end: datetime) -> Event:
    """The event with everything replaced that differs between any two runs, and nothing else."""
    event = copy.deepcopy(event)
    event.pop("aviary", None)
    event["dst_port"] = canary.service_of(event)
    event["src_port"] = f"<{type(event.get('src_port')).__name__}>"
    for key, offset, name in (
        ("local_time", timedelta(), "UTC"),
        ("utc_time", timedelta(), "UTC"),
        ("local_time_adjusted", OFFSET, ZONE),
    ):
        text = event.get(key)
        if isinstance(text, str) and STAMP_FORM.fullmatch(text):
            when = datetime.strptime(text, STAMP) - offset
            if start - timedelta(seconds=1) <= when <= end + timedelta(seconds=1):
                event[key] = f"<time of the step, {name}>"
    data = event.get("logdata")
    if isinstance(data, dict):
        if re.fullmatch(r"\d+", str(data.get("SESSION", ""))) and isinstance(data["SESSION"], str):
            data["SESSION"] = "<number as text>"
        # The persona may choose another build than `ssh.version` names.
        if str(data.get("LOCALVERSION", "")).startswith("SSH-2.0-"):
            data["LOCALVERSION"] = "<SSH-2.0->"
        # Every challenge of VNC is another one, and so is the response of the same password.
        for key in ("VNC Server Challenge", "VNC Client Response"):
            if re.fullmatch(r"[0-9a-f]{32}", str(data.get(key, ""))):
                data[key] = "<16 bytes in hex>"
        for key, value in data.items():
            if isinstance(value, str):
                data[key] = re.sub(
                    rf"({re.escape(LOOPBACK)}):(\d+)",
                    lambda m: f"{m[1]}:<{canary.service_of({'dst_port': int(m[2])})}>",
                    value,
                )
    return event


def comparable(event: Event) -> bool:
    """Whether OpenCanary could have written it: not the canary's own, not a log type of ours."""
    logtype = event.get("logtype")
    return logtype != LIFECYCLE and not (isinstance(logtype, int) and logtype >= OURS)


def collect(canary: Canary, steps: list[Step], expected: dict[str, list[Event]] | None = None) -> Run:
    """Plays every step; `expected` says how many events to wait for."""
    run = Run()
    for each in steps:
        # OpenCanary drops an SSH client whose version line and KEXINIT arrive in one segment, which
        # is a matter of luck (it looks for `libssh` in the segment and then sends KEXINIT twice).
        tries = 5 if canary.kind == "opencanary" and each.service == "ssh" else 1
        while tries:
            tries -= 1
            mark = canary.mark()
            start = datetime.now(UTC).replace(tzinfo=None)
            try:
                each.play(canary, canary.ports[each.service])
                break
            except Exception as error:  # the events decide, not how the client took it
                print(f"     {canary.kind}, {each.name}: {type(error).__name__}: {error}", file=sys.stderr)
                canary.settle(mark)
        wanted = len(expected[each.name]) if expected else 0
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline and sum(map(comparable, canary.events(mark))) < wanted:
            time.sleep(0.02)
        events = canary.settle(mark)
        end = datetime.now(UTC).replace(tzinfo=None)
        run.steps[each.name] = [normalised(canary, event, start, end) for event in events if comparable(event)]
    for line in canary.lines():
        try:
            again = json.dumps(json.loads(line), sort_keys=True)
        except ValueError:
            run.complaints.append(f"no JSON: {line[:200]!r}")
            continue
        if again.encode() != line:
            run.complaints.append(f"not in OpenCanary's text form:\n{line.decode(errors='replace')}\n{again}")
    if not canary.alive():
        run.complaints.append(f"the process ended:\n{canary.last_output()}")
    return run


def expectations(theirs: dict[str, list[Event]]) -> tuple[dict[str, list[Event]], dict[str, str]]:
    """OpenCanary's events with the expected differences applied, and what is wrong with their table."""
    # An event a service, one with `honeycred` if there is any, lends its other keys to those that
    # OpenCanary lost.
    patterns: dict[str, Event] = {}
    for sample in (event for events in theirs.values() for event in events):
        if sample["dst_port"] not in patterns or "honeycred" in sample:
            patterns[sample["dst_port"]] = sample
    expected: dict[str, list[Event]] = {}
    stale: dict[str, str] = {}
    for name, events in theirs.items():
        result: list[Event | None] = list(copy.deepcopy(events))
        for entry in (entry for entry in DIFFERENCES if entry.step == name):
            event = result[entry.event] if entry.event < len(result) else None
            if (entry.key or entry.missing) and event is None:
                stale[name] = f"OpenCanary wrote no event {entry.event}"
                continue
            if entry.key and event:
                if event["logdata"].get(entry.key) != entry.opencanary:
                    stale[name] = f"OpenCanary wrote {entry.key} {event['logdata'].get(entry.key)!r}"
                event["logdata"][entry.key] = entry.aviary
            if entry.missing:
                result[entry.event] = None
            for logtype, data in entry.adds:
                added = copy.deepcopy(patterns[name.split(":")[0]])
                if "honeycred" in added:
                    added["honeycred"] = False
                result.append(added | {"logtype": logtype, "logdata": data})
        expected[name] = [event for event in result if event is not None]
    return expected, stale


def compare(report: Report, expected: dict[str, list[Event]], stale: dict[str, str], ours: Run | None) -> None:
    """Without ours, only looks for stale entries among the expected differences."""
    for name, events in expected.items():

        def body(name: str = name, events: list[Event] = events) -> None:
            assert name not in stale, f"stale entry among the expected differences: {stale[name]}"
            left = pretty(events)
            right = pretty(ours.steps[name]) if ours else left
            text = "\n".join(difflib.unified_diff(left, right, "OpenCanary 0.9.10", "Aviary", lineterm=""))
            assert not text, f"events differ\n{text}"

        report.check(name, body)
    if ours is None:
        return
    for reason in ours.complaints:
        report.fail("log file", reason)
    if not ours.complaints:
        report.ok("log file: every line in OpenCanary's text form, the process alive")


def pretty(events: list[Event]) -> list[str]:
    return [line for event in events for line in json.dumps(event, indent=1, sort_keys=True).splitlines()]


PAGE = Path(__file__).parents[2] / "docs/differences.md"

HEAD = """# Where Aviary does not do as OpenCanary does

Every event that OpenCanary 0.9.10 writes, Aviary writes with the same number, keys, values and text, but for
what stands here. The differential test puts both through the same dialogues and fails for any other
difference, and for a row that no longer holds. `python tests/clients/differential.py --table` writes this page.

| dialogue | OpenCanary 0.9.10 | Aviary | why |
|---|---|---|---|
"""


def cell(value: Any) -> str:
    """A value as it stands in a table, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    text = text if len(text) <= 60 else text[:57] + "..."
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`" if text else "empty"


def page() -> str:
    """The table of all differences, reasons written out."""
    rows = []
    reason = ""
    for each in DIFFERENCES:
        reason = reason if each.reason == "as above" else each.reason
        if each.adds:
            theirs, ours = "no event", ", ".join(f"{logtype}" for logtype, _ in each.adds)
        elif each.missing:
            theirs, ours = f"event {each.event + 1} of the dialogue", "no such event"
        else:
            key = f"`{each.key}` "
            theirs = key + (cell(each.opencanary) if each.opencanary is not None else "absent or null")
            ours = key + (cell(each.aviary) if each.aviary is not None else "absent or null")
        rows.append(f"| {each.step} | {theirs} | {ours} | {reason} |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--record", type=Path, metavar="FILE", help="save OpenCanary's events")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with saved events; run no OpenCanary")
    parser.add_argument("--only", metavar="TEXT", help="only steps whose name contains the text")
    parser.add_argument("--table", action="store_true", help="write the page of differences and end")
    options = parser.parse_args()
    if options.table:
        PAGE.write_text(page())
        return 0
    if not options.bin_dir and not options.record and not options.opencanary:
        parser.error("give --bin-dir DIR, --record FILE or both")
    steps = [each for each in STEPS if not options.only or options.only in each.name]
    # Whatever proxy this host uses, the clients talk to loopback only.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"

    if options.against:
        saved = json.loads(options.against.read_text())
        theirs = {name: saved["steps"][name] for name in (s.name for s in steps) if name in saved["steps"]}
        steps = [each for each in steps if each.name in theirs]
    else:
        version = importlib.metadata.version("opencanary")
        assert version == "0.9.10", f"OpenCanary {version} is installed, not 0.9.10"
        with Canary(None, SETTINGS, services=ALL_SERVICES, timezone=ZONE) as canary:
            run = collect(canary, steps)
        for complaint in run.complaints:
            print(f"     OpenCanary: {complaint}", file=sys.stderr)
        theirs = run.steps
    if options.record:
        saved = {"opencanary": "0.9.10", "steps": theirs}
        options.record.write_text(json.dumps(saved, indent=1, sort_keys=False) + "\n")
        print(f"recorded {sum(map(len, theirs.values()))} events of {len(theirs)} steps in {options.record}")

    report = Report(may_skip=False)

    def page_is_current() -> None:
        assert PAGE.read_text() == page(), f"{PAGE.name} is stale: run this script with --table"

    report.check("the page of differences", page_is_current)
    expected, stale = expectations(theirs)
    ours = None
    if options.bin_dir or options.opencanary:
        with Canary(options.bin_dir, SETTINGS, services=ALL_SERVICES, timezone=ZONE) as canary:
            ours = collect(canary, steps, expected if options.bin_dir else None)
    compare(report, expected, stale, ours)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
