"""Sends what an attacker, a scanner or a broken client sends, and looks whether the canary bears it.

After each input every service must still answer, and the log must tell of the connection. The
numbers T1, T3 ... are the robustness bugs that users met in other honeypots.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import sys

import hostile_inputs
import hostile_load
import hostile_not_utf8
import hostile_segments
from canary import Canary, Report, arguments, chosen_bin_dir

logging.getLogger("paramiko").setLevel(logging.CRITICAL)

CHECKS = [*hostile_not_utf8.CHECKS, *hostile_segments.CHECKS, *hostile_inputs.CHECKS, *hostile_load.CHECKS]


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="TEXT", help="only checks whose name contains the text")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    report = Report()
    chosen = [(name, body) for name, body in CHECKS if not options.only or options.only in name]
    if chosen:
        with Canary(bin_dir) as canary:
            for name, body in chosen:
                if not canary.alive():
                    report.fail(name, "the process had ended; it is started again")
                    canary.start()
                    continue
                report.check(name, lambda body=body: body(canary))  # type: ignore[misc]
            output = canary.output.read_text(errors="replace")
            if bin_dir:
                report.check("no panic in the output", lambda: no_panic(output))
    name = "open-file limit: 256 files, 400 connections to one service"
    if not options.only or options.only in name:
        report.check(name, lambda: hostile_load.open_file_limit(bin_dir))
    return report.finish()


def no_panic(output: str) -> None:
    found = re.search(r"(?m)^.*panicked.*(\n.*){0,3}", output)
    assert not found, found and found[0]


if __name__ == "__main__":
    sys.exit(main())
