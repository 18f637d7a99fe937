"""Runs the client programs of this host in a directory of their own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from canary import needs

SCRATCH = Path(tempfile.mkdtemp(prefix="clients-"))


def run(*command: str, stdin: str = "", timeout: float = 40, environment: dict[str, str] | None = None) -> str:
    """Runs a client in the scratch directory and returns what it printed, errors too."""
    needs(command[0])
    try:
        done = subprocess.run(
            command,
            input=stdin,
            cwd=SCRATCH,
            env=os.environ | {"HOME": str(SCRATCH), "LC_ALL": "C"} | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"`{' '.join(command)}` hung; it had printed {error.stdout!r}") from None
    return done.stdout
