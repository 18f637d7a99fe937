"""The stealth suite: does the canary answer as the products that it plays?

Golden transcripts of real products (`golden/`) are played against the real binary, and what products
do not repeat word for word is checked by rules. Each check has the id of the list that the design
names; what cannot be checked here stands in `NOT_COVERED`, with the reason.

`--expect-detect` plays the suite against OpenCanary 0.9.10 and passes when most checks fail there:
the suite is able to tell a decoy from a product.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from canary import Report, arguments, chosen_bin_dir
from stealth_suite import host
from stealth_suite.checks import NOT_COVERED, Checks, parallel
from stealth_suite.personas import DEBIAN, FURTHER, OTHER, Persona, Running, running
from stealth_suite.plays import Plays

FRESH = Persona(
    "as shipped",
    {"http.skin": "nasLogin", "https.skin": "basicLogin", "redis.mode": "open", "telnet.timeout": 3},
    dict.fromkeys(("ftp", "ssh", "telnet", "http", "https", "redis", "git"), ""),
)
"""No persona is chosen: the defaults."""

DETECTED = 0.5
"""Part of the checks that must fail against OpenCanary."""


def main() -> int:
    parser = arguments("Plays golden transcripts of real products against the canary.")
    parser.add_argument("--only", default="", help="checks whose name matches this pattern")
    parser.add_argument("--expect-detect", action="store_true", help="OpenCanary must fail most checks")
    parser.add_argument("--no-nmap", action="store_true", help="leave out the scans, which take most of the time")
    options = parser.parse_args()
    bin_dir = None if options.expect_detect else chosen_bin_dir(parser, options)
    report = Report()
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stealth-")))
        suite = Running(bin_dir, folder, stack)
        started = [DEBIAN, OTHER, *FURTHER]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(suite.start, started))
        fresh = [stack.enter_context(running(bin_dir, FRESH, folder)) for _ in range(2)]
        plays = Plays(suite)
        checks = Checks(suite, plays, bin_dir, fresh)
        scanner = ThreadPoolExecutor(1)
        if not options.no_nmap:
            ports = {f"{p.name} {s}": suite.port(p, s) for p in (DEBIAN, OTHER) for s in p.services}
            checks.scans = scanner.submit(host.scan, ports)
        for persona in started:
            plays.start(persona)
        checks.collect()
        for batch in (checks.all, checks.last):
            chosen = [(name, body) for name, body in batch if re.search(options.only, name)]
            if batch is checks.last:
                # These disturb what runs beside them, or look back at all of it.
                for name, body in chosen:
                    report.check(name, body)
                continue
            for name, future in parallel(chosen):
                report.check(name, future.result)
    for name, why in NOT_COVERED.items():
        print(f"XFAIL {name}: {why}")
    print(f"{time.monotonic() - began:.0f} s")
    if options.expect_detect:
        total = report.passed + report.failed
        print(f"OpenCanary fails {report.failed} of {total} checks")
        return 0 if report.failed >= DETECTED * total else 1
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
