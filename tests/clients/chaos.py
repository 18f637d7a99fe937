"""Every destination against every evil: no event may be lost, none may come in another order.

One canary sends to all receivers at once, each at the end of a way of its own (`chaos_ways.py`). One evil after the
other comes over all ways. Events are made before, while and after it lasts; what arrived is compared with the
canary's log file. Meanwhile the service and the file must not be slower, and `aviary status` must say what is wrong.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from canary import Canary, Report, Skip, arguments, chosen_bin_dir
from chaos_queues import ROWS, Row
from chaos_ways import CUTS, DEAF, EVILS, FULL, GARBAGE, HANGS, KILLED, PAGE, PASS, SWALLOWS
from outputs_receivers import certificate, logins, touch

BEFORE, DURING, AFTER = 5, 12, 5
"""Touches of the service."""

LASTING = {HANGS: 5.6, SWALLOWS: 5.6}
"""Seconds that an evil lasts at least: longer than five where an answer is waited for, which is TLS's limit."""

ELSE = 3.0
"""And all others. Time limits of the outputs are a second."""

PATIENCE = 30.0
"""Seconds until all has arrived when it is over."""

SLOW = 0.4
"""Seconds that the service's answers and the line in the file may take, in the middle of the touches. Who waits for an
output waits a second, which is its time limit, and at every touch; a busy machine is slow now and then."""

WORDS = {
    KILLED: "refused|reset|closed|ended|broke",
    HANGS: "no answer|within|time|nothing for",
    SWALLOWS: "no answer|within|time|nothing for",
    GARBAGE: r"\S",
    PAGE: r"\S",
    CUTS: r"\S",
    DEAF: r"\S",
    FULL: "429|503|507|busy|full|slow|no space|Memory|reserve|within|no answer",
}
"""What of it stands in the last error."""


HARMFUL = re.compile(r"[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What must not get to a terminal."""


class Clock:
    """How long the service and the file took, touch by touch."""

    def __init__(self, canary: Canary) -> None:
        self.canary = canary
        self.times: list[float] = []
        self.number = 0

    def touches(self, count: int) -> None:
        for _ in range(count):
            begun = time.monotonic()
            touch(self.canary, f"user-{self.number}")
            self.times.append(time.monotonic() - begun)
            self.number += 1


def asked(canary: Canary, *words: str) -> str:
    assert canary.bin_dir
    command = [str(canary.bin_dir / "aviary"), *words]
    environment = os.environ | {"HOME": str(canary.directory), "AVIARY_STATE_DIR": str(canary.directory / "state")}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert said.returncode in (0, 1) and not said.stderr, f"{words}: {said.stdout} {said.stderr}"
    return said.stdout


class Trial:
    """One evil on all ways."""

    def __init__(self, canary: Canary, rows: dict[str, Row], clock: Clock, excused: dict[str, set[str]]) -> None:
        self.canary, self.rows, self.clock, self.excused = canary, rows, clock, excused
        self.errors: dict[str, set[str]] = {name: set() for name in rows}
        self.refused: dict[str, int] = {}
        self.median = self.slowest = 0.0

    def run(self, evil: str) -> None:
        self.clock.touches(BEFORE)
        self.arrived(PATIENCE)
        before = set(logins(self.canary))
        self.clock.times.clear()
        for row in self.rows.values():
            row.way.set(evil)
        begun = time.monotonic()
        for _ in range(DURING):
            self.clock.touches(1)
            self.look()
            time.sleep(0.05)
        while time.monotonic() - begun < LASTING.get(evil, ELSE):
            self.look()
            time.sleep(0.1)
        self.median, self.slowest = sorted(self.clock.times)[DURING // 2], max(self.clock.times)
        for name, row in self.rows.items():
            if evil in row.loses:
                self.excused[name] |= set(logins(self.canary)) - before
            row.way.set(PASS)
        self.clock.touches(AFTER)
        self.arrived(PATIENCE)

    def look(self) -> None:
        """Notes what is said of the outputs, and has the waiting ones try again."""
        for output in json.loads(asked(self.canary, "status", "--json"))["outputs"]:
            name = output["output"]
            if name in self.rows:
                self.refused[name] = output["refused"]
                if output["state"] == "failing":
                    self.errors[name].add(output["last_error"])
        asked(self.canary, "outputs", "retry")

    def arrived(self, limit: float) -> None:
        """Waits until all is everywhere, or the time is up."""
        end = time.monotonic() + limit
        wanted = set(logins(self.canary))
        late = set(self.rows)
        while late and time.monotonic() < end:
            late = {name for name in late if wanted - self.excused[name] - set(self.rows[name].ids())}
            if late:
                asked(self.canary, "outputs", "retry")
                time.sleep(0.05)

    def holds(self, name: str, evil: str) -> None:
        """What the cell of the table says."""
        row, users = self.rows[name], logins(self.canary)
        wanted = list(users)
        got = [one for one in row.ids() if one in users]
        first = list(dict.fromkeys(got))
        missing = [users[one] for one in wanted if one not in first and one not in self.excused[name]]
        assert not missing, f"lost: {missing}\nsaid: {sorted(self.errors[name])}\n{self.canary.last_output(8)}"
        order = [one for one in wanted if one in first]
        assert first == order, f"another order: {[users[one] for one in first]}"
        known = {event["aviary"]["id"] for event in self.canary.events()}
        strange = set(row.ids()) - known
        assert not strange, f"ids that no event has: {strange}"
        assert not self.refused.get(name), f"{self.refused[name]} events were taken as refused: {self.errors[name]}"
        if evil in row.silent:
            return
        pattern = row.words.get(evil, WORDS[evil])
        said = [text for text in self.errors[name] if re.search(pattern, text)]
        assert said, f"`aviary status` says {sorted(self.errors[name])}, nothing like `{pattern}`"
        harmful = [text for text in self.errors[name] if HARMFUL.search(text)]
        assert not harmful, f"not fit for a terminal: {harmful}"


def judge(report: Report, trial: Trial, evil: str) -> None:
    """A check for each row, and one for what all this must not touch."""
    for name in trial.rows:
        report.check(f"chaos: {name} {evil}", lambda name=name: trial.holds(name, evil))

    def not_delayed() -> None:
        assert trial.median < SLOW, f"{trial.median:.2f} s until the service's line was in the file"

    report.check(f"chaos: service and file, while all else {evil}", not_delayed)


def chaos(report: Report, canary: Canary, rows: dict[str, Row], evils: list[str]) -> None:
    clock, excused = Clock(canary), {name: set() for name in rows}
    for evil in evils:
        there = {name: row for name, row in rows.items() if evil not in row.skips}
        for name in rows.keys() - there.keys():
            print(f"     not tried: {name} {evil}: {rows[name].skips[evil]}")
        trial = Trial(canary, there, clock, excused)
        begun = time.monotonic()
        trial.run(evil)
        took = time.monotonic() - begun
        print(
            f"     {evil}: {took:.0f} s, touches {trial.median * 1000:.0f} ms, slowest {trial.slowest * 1000:.0f} ms",
            flush=True,
        )
        judge(report, trial, evil)
        for name, row in there.items():
            # What was lost is lost, and not the next evil's fault.
            excused[name] |= set(logins(canary)) - set(row.ids())
        if os.environ.get("SAID"):
            for name, said in trial.errors.items():
                print(f"     {name}: {sorted(said)}")
    for name, row in rows.items():
        ids = list(row.ids())
        again = len(ids) - len(set(ids))
        print(f"     {name}: {len(set(ids))} events, {again} repetitions, {len(excused[name])} excused")


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--evil", default="", help="evils whose name has this in it")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    if bin_dir is None:
        parser.error("OpenCanary loses what this script looks for")
    # aiosmtpd warns of what is tried here.
    logging.getLogger("mail").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    report = Report()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    rows: dict[str, Row] = {}
    try:
        certificate(folder)
        for name, make in ROWS.items():
            if options.only not in name:
                continue
            try:
                rows[name] = make(folder)
            except Skip as reason:
                report.skip(f"chaos: {name}", str(reason))
        handlers: dict[str, Any] = {
            name: {"formatter": "plain", "when": {"kinds": "login"}} | row.handler for name, row in rows.items()
        }
        with Canary(bin_dir, {}, handlers, ["ftp"]) as canary:
            chaos(report, canary, rows, [evil for evil in EVILS if options.evil in evil])
    finally:
        for row in rows.values():
            row.end()
        shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
