"""Drives databases, Windows services and devices with real clients, each service in a canary of its own.

Every file `service_NAME.py` beside this one is taken in: it has `SERVICES` (names whose ports the canary
opens), `SETTINGS` (further keys) and `CHECKS`. A check passes when the client got through its
protocol and what it tried stands in the log. A tool that is not installed is a visible `SKIP`.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

from canary import Canary, Report, arguments, chosen_bin_dir
from client_programs import SCRATCH

HERE = Path(__file__).parent


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="NAME", default="", help="only checks whose name contains the text")
    parser.add_argument("--part", type=int, choices=(1, 2), help="only every second service, from the first or the second")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    report = Report()
    try:
        paths = sorted(HERE.glob("service_*.py"))
        for path in paths[options.part - 1 :: 2] if options.part else paths:
            module = importlib.import_module(path.stem)
            chosen = [(name, body) for name, body in module.CHECKS if options.only in name]
            if not chosen:
                continue
            with Canary(bin_dir, module.SETTINGS, services=module.SERVICES) as canary:
                for name, body in chosen:
                    # What the clients of the last check still say as they leave is not the next one's.
                    canary.settle(quiet=0.25)
                    report.check(name, lambda body=body, canary=canary: body(canary))  # type: ignore[misc]

                def still_there(canary: Canary = canary) -> None:
                    assert canary.alive(), f"the process ended:\n{canary.last_output()}"

                report.check(f"{path.stem.removeprefix('service_')}: the canary is still there", still_there)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
