"""The hub's web console in Chromium: its main paths in English and Chinese, at 1280 and 360 pixels, dark and light.

It runs against a hub with fixed data (`console/mock`), so that every page has something to show. Captured text that
attacks the page must stay text: a script error, a dialog or a request to anywhere else fails the run, and so does a
serious finding of axe. A picture of each page is left in `console/artifacts/`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from canary import Report, Skip, arguments, needs

CONSOLE = Path(__file__).resolve().parents[2] / "console"
# Beside `dist`, which cargo may be building at the same time.
BUILT = CONSOLE / "artifacts/dist"
OLDEST = (20, 19)
PATIENCE = 200


def node(*words: str, patience: int = PATIENCE, **environment: str) -> str:
    """Runs a program of Node's in the console's folder; if it fails, what it says of failures is the reason."""
    ended = subprocess.run(
        words, cwd=CONSOLE, env={**os.environ, **environment}, capture_output=True, text=True, timeout=patience
    )
    said = ended.stdout + ended.stderr
    if ended.returncode:
        lines = [line for line in said.splitlines() if not line.startswith("ok ")]
        raise AssertionError("\n".join(lines[:30]))
    return ended.stdout


def ready() -> None:
    """Skips without a Node that is new enough; installs the packages of the lock file once."""
    needs("node", "npm")
    version = re.match(r"v(\d+)\.(\d+)", node("node", "--version"))
    assert version, "node tells no version"
    if tuple(map(int, version.groups())) < OLDEST:
        raise Skip(f"node {version[0]} is older than {OLDEST[0]}.{OLDEST[1]}")
    if not (CONSOLE / "node_modules/playwright-core").exists():
        node("npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts")


def main() -> int:
    arguments(__doc__ or "").parse_args()
    report = Report()

    def pure() -> None:
        ready()
        node("npm", "run", "--silent", "check")
        said = node("npx", "--no-install", "vitest", "run", "--reporter=dot")
        assert re.search(r"Tests\s+.*\d+ passed", said), said

    report.check("console: types, and the pieces without a browser", pure)

    def built() -> None:
        ready()
        node("npx", "--no-install", "vite", "build", "--outDir", str(BUILT), "--emptyOutDir")
        page = (BUILT / "index.html").read_text()
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)", page), "the page holds what a strict policy forbids"
        lock = (CONSOLE / "package-lock.json").read_text()
        assert '"resolved"' not in lock, "package-lock.json names a registry"

    report.check("console: builds, with nothing inline", built)

    def browser() -> None:
        ready()
        program = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
        if not program:
            raise Skip("`chromium` is not installed")
        said = node("node", "e2e/run.mjs", CHROMIUM=program, AVIARY_DIST=str(BUILT))
        for line in said.splitlines():
            if line.startswith("ok    "):
                report.ok(f"console: {line[6:]}")
        assert re.search(r"^[1-9]\d* passed, 0 failed$", said, re.MULTILINE), said

    report.check("console: every path in a browser", browser)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
