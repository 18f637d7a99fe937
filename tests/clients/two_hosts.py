"""Two network namespaces joined by a pair of interfaces: a canary in one, its visitor in the other."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from canary import Canary, Skip, needs
from client_programs import run

HERE, THERE = (f"aviary-{os.getpid()}-{end}" for end in ("here", "there"))
OURS, THEIRS = "10.213.77.1", "10.213.77.2"
OURS_V6, THEIRS_V6 = "fd77:213::1", "fd77:213::2"
OUR_MAC, THEIR_MAC = "02:00:00:77:00:01", "02:00:00:77:00:02"

There = Callable[..., str]
"""Runs a program as the visitor and gives what it printed."""


class ScannedCanary(Canary):
    """A canary in the first namespace."""

    def _command(self) -> list[str]:
        return ["ip", "netns", "exec", HERE, *super()._command()]

    def start(self, timeout: float = 30.0) -> None:
        # Ports in a namespace stand in no table that is read here; the start-up line says enough.
        ports, self.ports = self.ports, {}
        super().start(timeout)
        self.ports = ports
        deadline = time.monotonic() + timeout
        while not any(b"Canary running" in line for line in self.lines()) and time.monotonic() < deadline:
            time.sleep(0.02)

    def status(self) -> str:
        """What `aviary status --json` says."""
        assert self.bin_dir
        program = str(self.bin_dir / "aviary")
        return run(program, "status", "--json", "--state", str(self.directory / "state"), timeout=20)


@contextmanager
def two_hosts(more: tuple[str, ...] = ()) -> Iterator[There]:
    """Makes both, with `more` addresses for the canary, and removes them; skips where that is not permitted."""
    needs("ip")
    if os.geteuid() != 0:
        raise Skip("only root makes network namespaces")

    def ip(*words: str) -> bool:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0

    def there(*words: str, timeout: float = 120) -> str:
        return run("ip", "netns", "exec", THERE, *words, timeout=timeout)

    try:
        if not (ip("netns", "add", HERE) and ip("netns", "add", THERE)):
            raise Skip("network namespaces are not permitted here")
        ip("link", "add", "eth1", "netns", HERE, "type", "veth", "peer", "name", "eth1", "netns", THERE)
        ends = ((HERE, OURS, OURS_V6, OUR_MAC, more), (THERE, THEIRS, THEIRS_V6, THEIR_MAC, ()))
        for name, address, address_v6, mac, others in ends:
            ip("-n", name, "link", "set", "eth1", "address", mac)
            for one in (address, *others):
                ip("-n", name, "addr", "add", f"{one}/24", "dev", "eth1")
            # Without duplicate address detection, which takes a second or two.
            ip("-n", name, "addr", "add", f"{address_v6}/64", "dev", "eth1", "nodad")
            ip("-n", name, "link", "set", "eth1", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield there
    finally:
        ip("netns", "del", HERE)
        ip("netns", "del", THERE)


