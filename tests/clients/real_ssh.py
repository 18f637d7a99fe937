"""SSH by real clients: OpenSSH, asyncssh, paramiko, Dropbear and PuTTY, and each algorithm that the server offers."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import asyncssh
import paramiko

from canary import LOOPBACK, OURS, Canary, Report, Skip, connect, needs
from check_list import Checks
from client_programs import SCRATCH, run

CHECKS = Checks()
check = CHECKS.add

SSH_OPTIONS = [
    "-F", "none",
    "-o", "StrictHostKeyChecking=no",
    "-o", "UserKnownHostsFile=/dev/null",
    "-o", "GlobalKnownHostsFile=/dev/null",
    "-o", "NumberOfPasswordPrompts=1",
    "-o", "ConnectTimeout=15",
    "-o", "IdentityAgent=none",
]  # fmt: skip


def openssh(canary: Canary, user: str, *options: str, password: str | None = None) -> str:
    command = ["ssh", *SSH_OPTIONS, *options, "-p", str(canary.ports["ssh"]), f"{user}@{LOOPBACK}", "true"]
    if password is not None:
        needs("ssh")
        command = ["sshpass", "-p", password, *command]
    return run(*command)


def openssh_password(canary: Canary, user: str, password: str, *options: str) -> None:
    mark = canary.mark()
    output = openssh(
        canary,
        user,
        "-o", "PreferredAuthentications=password",
        "-o", "PubkeyAuthentication=no",
        *options,
        password=password,
    )  # fmt: skip
    assert "Permission denied" in output, f"ssh says {output!r}"
    event = canary.logged(mark, 4002, {"USERNAME": user, "PASSWORD": password}, output)
    assert event["logdata"]["REMOTEVERSION"].startswith("SSH-2.0-OpenSSH"), event["logdata"]


@check("ssh: OpenSSH, password")
def _(canary: Canary) -> None:
    openssh_password(canary, "root", "open ssh 1")


@check("ssh: OpenSSH, 20 logins in a row")
def _(canary: Canary) -> None:
    for n in range(20):
        openssh_password(canary, "admin", f"row-{n}")


@contextmanager
def keyboard_interactive(canary: Canary) -> Iterator[Canary]:
    """A canary that offers keyboard-interactive, which most clients then prefer; OpenCanary has no such setting."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary does not offer it")
    with Canary(canary.bin_dir, {"ssh.keyboard_interactive": True}, services=("ssh",)) as other:
        yield other


def answered(canary: Canary, user: str, password: str, context: str = "") -> None:
    """The answer to the one prompt is in the log, whatever the number of its event."""
    canary.mentioned(0, json.dumps(user), json.dumps(password), context=context)


@check("ssh: OpenSSH, keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        output = openssh(
            other,
            "kbd",
            "-o", "PreferredAuthentications=keyboard-interactive",
            "-o", "PubkeyAuthentication=no",
            password="interactive 1",
        )  # fmt: skip
        answered(other, "kbd", "interactive 1", output)


@check("ssh: asyncssh, keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        asyncssh_attempt(other, "async", "asyncssh kbd", preferred_auth="keyboard-interactive")
        answered(other, "async", "asyncssh kbd")


@check("ssh: paramiko, keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        with paramiko.Transport((LOOPBACK, other.ports["ssh"])) as transport:
            transport.start_client(timeout=15)
            try:
                transport.auth_interactive("miko", lambda _t, _i, prompts: ["paramiko kbd" for _ in prompts])
            except paramiko.AuthenticationException:
                pass
        answered(other, "miko", "paramiko kbd")


@check("ssh: dbclient (Dropbear), keyboard-interactive")
def _(canary: Canary) -> None:
    with keyboard_interactive(canary) as other:
        answered(other, "bear", "drop kbd", dbclient(other, "bear", "drop kbd"))


for _type, _bits in (("ed25519", ""), ("rsa", "3072"), ("ecdsa", "256")):

    def _public_key(canary: Canary, kind: str = _type, bits: str = _bits) -> None:
        key = SCRATCH / f"id_{kind}"
        run("ssh-keygen", "-q", "-t", kind, *(["-b", bits] if bits else []), "-N", "", "-C", "", "-f", str(key))
        fingerprint = run("ssh-keygen", "-lf", f"{key}.pub").split()[1]
        mark = canary.mark()
        output = openssh(
            canary,
            f"key-{kind}",
            "-o", "PreferredAuthentications=publickey",
            "-o", "IdentitiesOnly=yes",
            "-i", str(key),
        )  # fmt: skip
        assert "Permission denied" in output, f"ssh says {output!r}"
        event = canary.mentioned(mark, fingerprint, f"key-{kind}", context=output)
        assert event["logtype"] >= OURS, f"log type {event['logtype']}"

    check(f"ssh: OpenSSH, {_type} key")(_public_key)


@check("ssh: OpenSSH, connection shared by three keys and a password")
def _(canary: Canary) -> None:
    keys = [option for kind in ("ed25519", "rsa", "ecdsa") for option in ("-i", str(SCRATCH / f"id_{kind}"))]
    mark = canary.mark()
    output = openssh(canary, "mixed", "-o", "IdentitiesOnly=yes", *keys, password="after keys")
    canary.logged(mark, 4002, {"USERNAME": "mixed", "PASSWORD": "after keys"}, output)


@check("ssh: ssh-keyscan")
def _(canary: Canary) -> None:
    output = run("ssh-keyscan", "-p", str(canary.ports["ssh"]), LOOPBACK)
    assert re.search(r"ssh-|ecdsa-", output), f"no host key: {output!r}"


def ssh_offer(canary: Canary) -> dict[str, list[str]]:
    """The algorithm lists of the server's KEXINIT (RFC 4253, 7.1)."""
    with connect(canary.ports["ssh"]) as peer:
        stream = peer.makefile("rb")
        version = stream.readline()
        peer.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n")
        if not version.startswith(b"SSH-2.0-"):
            raise AssertionError(f"no SSH server: {version!r}")
        length = int.from_bytes(stream.read(4), "big")
        packet = stream.read(length)
    assert packet[1] == 20, f"message {packet[1]} instead of KEXINIT"
    lists: list[list[str]] = []
    at = 1 + 1 + 16  # padding length, message number, cookie
    for _ in range(10):
        size = int.from_bytes(packet[at : at + 4], "big")
        names = packet[at + 4 : at + 4 + size].decode("ascii")
        lists.append(names.split(",") if names else [])
        at += 4 + size
    keys = ("kex", "host key", "cipher", "cipher back", "mac", "mac back")
    return dict(zip(keys, lists, strict=False))


SSH_LISTS = {
    # list: what `ssh -Q` calls it, the option that picks one, and its name for asyncssh
    "kex": ("kex", "KexAlgorithms", "kex_algs"),
    "host key": ("HostKeyAlgorithms", "HostKeyAlgorithms", "server_host_key_algs"),
    "cipher": ("cipher", "Ciphers", "encryption_algs"),
    "mac": ("mac", "MACs", "mac_algs"),
}
NOT_ALGORITHMS = re.compile(r"ext-info-.*|kex-strict-.*")


@cache
def ssh_supports(what: str) -> frozenset[str]:
    return frozenset(run("ssh", "-Q", what).split())


def ssh_algorithm_checks(canary: Canary, report: Report, only: str) -> None:
    """A login with each algorithm that the server offers: OpenSSH, else asyncssh, else a skip."""
    try:
        offer = ssh_offer(canary)
    except (AssertionError, OSError, IndexError) as error:
        report.fail("ssh: the server's KEXINIT", str(error))
        return
    for what in SSH_LISTS:
        for algorithm in dict.fromkeys(offer[what]):
            name = f"ssh: {what} {algorithm}"
            if only in name and not NOT_ALGORITHMS.fullmatch(algorithm):
                report.check(name, partial(ssh_algorithm_login, canary, offer["cipher"], what, algorithm))


def ssh_algorithm_login(canary: Canary, ciphers: list[str], what: str, algorithm: str) -> None:
    query, option, keyword = SSH_LISTS[what]
    password = f"{what} {algorithm}"[:60]
    openssh_options = ["-o", f"{option}={algorithm}"]
    asyncssh_options: dict[str, Any] = {keyword: [algorithm]}
    if what == "mac":  # is used only with a cipher that does not authenticate by itself
        plain = next((cipher for cipher in ciphers if cipher.endswith("-ctr")), None)
        if not plain:
            raise Skip("the server offers no cipher that needs a MAC")
        openssh_options += ["-o", f"Ciphers={plain}"]
        asyncssh_options["encryption_algs"] = [plain]
    if shutil.which("ssh") and algorithm in ssh_supports(query):
        openssh_password(canary, "algo", password, *openssh_options)
        return
    try:
        asyncssh_login(canary, "algo", password, **asyncssh_options)
    except ValueError as error:
        raise Skip(f"neither OpenSSH nor asyncssh here has it ({error})") from None


def asyncssh_login(canary: Canary, user: str, password: str, **options: Any) -> None:
    mark = canary.mark()
    asyncssh_attempt(canary, user, password, **options)
    canary.logged(mark, 4002, {"USERNAME": user, "PASSWORD": password})


def asyncssh_attempt(canary: Canary, user: str, password: str, **options: Any) -> None:
    async def attempt() -> None:
        try:
            async with asyncssh.connect(
                LOOPBACK,
                canary.ports["ssh"],
                username=user,
                password=password,
                known_hosts=None,
                client_keys=None,
                agent_path=None,
                config=None,
                login_timeout=20,
                **options,
            ):
                raise AssertionError("the login was accepted")
        except asyncssh.PermissionDenied:
            pass

    asyncio.run(attempt())


@check("ssh: asyncssh, password")
def _(canary: Canary) -> None:
    asyncssh_login(canary, "async", "asyncssh pw", preferred_auth="password")


@check("ssh: asyncssh, compression")
def _(canary: Canary) -> None:
    asyncssh_login(canary, "async", "squeezed", compression_algs=["zlib@openssh.com", "none"])


@check("ssh: paramiko, three passwords in one connection")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with paramiko.Transport((LOOPBACK, canary.ports["ssh"])) as transport:
        transport.start_client(timeout=15)
        for n in range(3):
            try:
                transport.auth_password("miko", f"paramiko {n}")
            except paramiko.AuthenticationException:
                continue
            raise AssertionError("the login was accepted")
    for n in range(3):
        canary.logged(mark, 4002, {"USERNAME": "miko", "PASSWORD": f"paramiko {n}"})


def dbclient(canary: Canary, user: str, password: str) -> str:
    return run(
        "dbclient", "-y", "-y", "-p", str(canary.ports["ssh"]), f"{user}@{LOOPBACK}", "true",
        environment={"DROPBEAR_PASSWORD": password},
    )  # fmt: skip


@check("ssh: dbclient (Dropbear), password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = dbclient(canary, "bear", "drop bear")
    canary.logged(mark, 4002, {"USERNAME": "bear", "PASSWORD": "drop bear"}, output)


@check("ssh: plink (PuTTY), password")
def _(canary: Canary) -> None:
    needs("plink", "ssh-keyscan", "ssh-keygen")
    keys = run("ssh-keyscan", "-p", str(canary.ports["ssh"]), LOOPBACK)
    found = re.findall(r"SHA256:\S+", run("ssh-keygen", "-lf", "-", stdin=keys))
    mark = canary.mark()
    output = run(
        "plink", "-ssh", "-batch", "-P", str(canary.ports["ssh"]), "-l", "putty", "-pw", "plink pw",
        *(option for fingerprint in found for option in ("-hostkey", fingerprint)),
        LOOPBACK, "true",
    )  # fmt: skip
    canary.logged(mark, 4002, {"USERNAME": "putty", "PASSWORD": "plink pw"}, output)
