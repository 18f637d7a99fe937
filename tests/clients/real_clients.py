"""Drives each service with real clients of different make, as an intruder or a scanner would.

A check passes when the client got through its protocol and the credentials it tried stand in the
log. A tool that is not installed is a visible `SKIP`.
"""

from __future__ import annotations

import ftplib
import logging
import os
import re
import shutil
import socket
import sys
import warnings

import pexpect
import redis
import urllib3
from redis.backoff import NoBackoff
from redis.retry import Retry

import real_scanners
import real_ssh
import real_web
from canary import (
    LOOPBACK,
    Canary,
    Report,
    Skip,
    TelnetClient,
    arguments,
    chosen_bin_dir,
    connect,
    git_environment,
    needs,
    read_quiet,
    read_until,
    unverified_tls,
)
from check_list import Checks
from client_programs import SCRATCH, run

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
urllib3.disable_warnings()
warnings.filterwarnings("ignore", category=DeprecationWarning)

CHECKS = Checks()
"""FTP, Telnet, Redis, Git and TCP banner; the others stand in `real_ssh.py`, `real_web.py` and `real_scanners.py`."""

check = CHECKS.add


# -- FTP -----------------------------------------------------------------------------------------


@check("ftp: ftplib")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with ftplib.FTP(encoding="utf-8") as client:
        client.connect(LOOPBACK, canary.ports["ftp"], timeout=20)
        try:
            client.login("lib", "ftplib pw")
        except ftplib.error_perm:
            pass
        else:
            raise AssertionError("the login was accepted")
    canary.logged(mark, 2000, {"USERNAME": "lib", "PASSWORD": "ftplib pw"})


@check("ftp: curl")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run(
        "curl", "-q", "-sS", "-v", "--max-time", "20", "-u", "curl:ftp pw", f"ftp://{LOOPBACK}:{canary.ports['ftp']}/"
    )
    assert "530" in output, f"curl says {output!r}"
    canary.logged(mark, 2000, {"USERNAME": "curl", "PASSWORD": "ftp pw"}, output)


def lftp(canary: Canary, settings: str, user: str, password: str) -> str:
    script = (
        f"set net:max-retries 1; set net:timeout 15; set net:reconnect-interval-base 1; {settings}"
        f"open -u {user},'{password}' -p {canary.ports['ftp']} {LOOPBACK}; ls; exit"
    )
    return run("lftp", "-d", "-c", script)


@check("ftp: lftp")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = lftp(canary, "set ftp:ssl-allow no; ", "lftp", "l ftp pw")
    canary.logged(mark, 2000, {"USERNAME": "lftp", "PASSWORD": "l ftp pw"}, output)


@check("ftp: lftp that would like TLS")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = lftp(canary, "set ssl:verify-certificate no; ", "lftp", "perhaps tls")
    canary.logged(mark, 2000, {"USERNAME": "lftp", "PASSWORD": "perhaps tls"}, output)


@check("ftp: tnftp")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run("tnftp", "-n", "-d", LOOPBACK, str(canary.ports["ftp"]), stdin="user tn tnftp-pw\nquit\n")
    canary.logged(mark, 2000, {"USERNAME": "tn", "PASSWORD": "tnftp-pw"}, output)


def ftp_offers_tls(canary: Canary) -> None:
    with connect(canary.ports["ftp"]) as peer:
        read_until(peer, b"\r\n")
        peer.sendall(b"AUTH TLS\r\n")
        answer = read_until(peer, b"\r\n")
    if not answer.startswith(b"234"):
        raise Skip(f"the server answers AUTH TLS by {answer!r}")


@check("ftp: ftplib with TLS")
def _(canary: Canary) -> None:
    ftp_offers_tls(canary)
    mark = canary.mark()
    client = ftplib.FTP_TLS(context=unverified_tls(), encoding="utf-8")
    client.connect(LOOPBACK, canary.ports["ftp"], timeout=20)
    try:
        client.login("libtls", "ftplib tls")
    except ftplib.error_perm:
        pass
    client.close()
    canary.logged(mark, 2000, {"USERNAME": "libtls", "PASSWORD": "ftplib tls"})


@check("ftp: lftp with TLS")
def _(canary: Canary) -> None:
    ftp_offers_tls(canary)
    mark = canary.mark()
    output = lftp(canary, "set ftp:ssl-force yes; set ssl:verify-certificate no; ", "lftptls", "forced")
    canary.logged(mark, 2000, {"USERNAME": "lftptls", "PASSWORD": "forced"}, output)


@check("ftp: curl with TLS")
def _(canary: Canary) -> None:
    ftp_offers_tls(canary)
    mark = canary.mark()
    output = run(
        "curl", "-q", "-sS", "-k", "--ssl-reqd", "--max-time", "20", "-u", "curltls:curl tls",
        f"ftp://{LOOPBACK}:{canary.ports['ftp']}/",
    )  # fmt: skip
    canary.logged(mark, 2000, {"USERNAME": "curltls", "PASSWORD": "curl tls"}, output)


# -- Telnet --------------------------------------------------------------------------------------


@check("telnet: telnet in a terminal, two logins")
def _(canary: Canary) -> None:
    needs("telnet")
    mark = canary.mark()
    client = pexpect.spawn("telnet", [LOOPBACK, str(canary.ports["telnet"])], timeout=15, cwd=str(SCRATCH))
    try:
        for user, password in (("inet", "utils pw"), ("again", "second pw")):
            client.expect("(sername|ogin): ?")
            client.sendline(user)
            client.expect("assword: ?")
            client.sendline(password)
        client.expect(["(sername|ogin): ?", pexpect.EOF])
    except (pexpect.TIMEOUT, pexpect.EOF) as error:
        raise AssertionError(f"{type(error).__name__} after {client.before!r}") from None
    finally:
        client.close(force=True)
    canary.logged(mark, 6001, {"USERNAME": "inet", "PASSWORD": "utils pw"})
    canary.logged(mark, 6001, {"USERNAME": "again", "PASSWORD": "second pw"})


@check("telnet: a client that answers each option")
def _(canary: Canary) -> None:
    mark = canary.mark()
    client = TelnetClient(canary.ports["telnet"])
    client.expect(b"sername:", b"ogin:")
    client.line(b"iac")
    client.expect(b"assword:")
    client.line(b"iac pw")
    client.expect(b"sername:", b"ogin:")
    client.socket.close()
    canary.logged(mark, 6001, {"USERNAME": "iac", "PASSWORD": "iac pw"})


@check("telnet: nc, which answers no option")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run("nc", "-w", "3", LOOPBACK, str(canary.ports["telnet"]), stdin="bot\r\nbot pw\r\n")
    canary.logged(mark, 6001, {"USERNAME": "bot", "PASSWORD": "bot pw"}, output)


@check("telnet: curl")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run(
        "curl", "-q", "-sS", "--max-time", "5", f"telnet://{LOOPBACK}:{canary.ports['telnet']}",
        stdin="curl\r\ncurl telnet\r\n",
    )  # fmt: skip
    canary.logged(mark, 6001, {"USERNAME": "curl", "PASSWORD": "curl telnet"}, output)


# -- Redis ---------------------------------------------------------------------------------------


def redis_cli(canary: Canary, *words: str, stdin: str = "") -> str:
    return run("redis-cli", "-h", LOOPBACK, "-p", str(canary.ports["redis"]), *words, stdin=stdin)


@check("redis: redis-cli without a password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "CONFIG", "GET", "dir")
    assert "NOAUTH" in output, f"redis-cli says {output!r}"
    canary.logged(mark, 17001, {"CMD": "CONFIG GET", "ARGS": "dir"}, output)


@check("redis: redis-cli, password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "--no-auth-warning", "-a", "cli-pw", "PING")
    assert "WRONGPASS" in output or "invalid password" in output, f"redis-cli says {output!r}"
    canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": "cli-pw"}, output)
    canary.logged(mark, None, {"PASSWORD": "cli-pw"}, output)


@check("redis: redis-cli, user and password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "--no-auth-warning", "--user", "ops", "--pass", "cli ops pw", "PING")
    canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": "ops cli ops pw"}, output)
    canary.logged(mark, None, {"USERNAME": "ops", "PASSWORD": "cli ops pw"}, output)


@check("redis: redis-cli -3")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, "-3", "--no-auth-warning", "-a", "resp3", "PING")
    canary.logged(mark, None, {"PASSWORD": "resp3"}, output)


@check("redis: redis-cli, many commands from standard input")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = redis_cli(canary, stdin="INFO\nKEYS *\nAUTH typed\nQUIT\n")
    canary.logged(mark, 17001, {"CMD": "INFO"}, output)
    canary.logged(mark, 17001, {"CMD": "KEYS", "ARGS": "*"}, output)
    canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": "typed"}, output)


for _protocol in (2, 3):

    @check(f"redis: redis-py, RESP{_protocol}")
    def _(canary: Canary, protocol: int = _protocol) -> None:
        mark = canary.mark()
        client = redis.Redis(
            LOOPBACK,
            canary.ports["redis"],
            username="py",
            password=f"redis-py {protocol}",
            protocol=protocol,
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            client.ping()
        except redis.AuthenticationError:
            pass
        else:
            raise AssertionError("the login was accepted")
        finally:
            client.close()
        canary.logged(mark, 17001, {"CMD": "HELLO" if protocol == 3 else "AUTH"})
        canary.logged(mark, None, {"USERNAME": "py", "PASSWORD": f"redis-py {protocol}"})


# -- Git -----------------------------------------------------------------------------------------


for _version_number in (0, 1, 2):

    @check(f"git: git ls-remote, protocol {_version_number}")
    def _(canary: Canary, version: int = _version_number) -> None:
        mark = canary.mark()
        port = canary.ports["git"]
        output = run(
            "git", "ls-remote", f"git://{LOOPBACK}:{port}/ls/v{version}.git", environment=git_environment(version)
        )
        assert "remote error" in output or "access denied" in output, f"git says {output!r}"
        canary.logged(mark, 16001, {"REPO": f"ls/v{version}.git", "HOST": f"{LOOPBACK}:{port}"}, output)


@check("git: git push")
def _(canary: Canary) -> None:
    needs("git")
    import git  # fails where there is no `git`

    repository = git.Repo.init(SCRATCH / "push")
    repository.index.commit("first", author=git.Actor("a", "a@example.org"), committer=git.Actor("a", "a@example.org"))
    mark = canary.mark()
    output = run(
        "git", "-C", str(SCRATCH / "push"), "push", f"git://{LOOPBACK}:{canary.ports['git']}/pushed.git", "HEAD:main"
    )
    canary.mentioned(mark, "pushed.git", "receive-pack", context=output)


@check("git: GitPython clone")
def _(canary: Canary) -> None:
    needs("git")
    import git

    mark = canary.mark()
    try:
        git.Repo.clone_from(
            f"git://{LOOPBACK}:{canary.ports['git']}/py/thon.git", SCRATCH / "clone", env=git_environment(2)
        )
    except git.GitCommandError:
        pass
    canary.logged(mark, 16001, {"REPO": "py/thon.git"})


@check("git: raw request")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with connect(canary.ports["git"]) as peer:
        peer.sendall(b"0033git-upload-pack /project.git\0host=myserver.com\0")
        answer = read_quiet(peer, 1.0)
    assert re.match(rb"[0-9a-f]{4}ERR ", answer) and int(answer[:4], 16) == len(answer), f"the answer is {answer!r}"
    canary.logged(mark, 16001, {"REPO": "project.git", "HOST": "myserver.com"})


# -- TCP banner ----------------------------------------------------------------------------------


@check("tcpbanner: nc, plain")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run("nc", "-w", "2", LOOPBACK, str(canary.ports["tcpbanner_1"]), stdin="hello\r\n")
    assert "220 plain ready" in output and "500 what?" in output, f"nc says {output!r}"
    canary.logged(mark, 18001, {"BANNER_ID": "1", "DATA": "b'220 plain ready\\r\\n'"})


@check("tcpbanner: nc, alert string")
def _(canary: Canary) -> None:
    mark = canary.mark()
    run("nc", "-w", "2", LOOPBACK, str(canary.ports["tcpbanner_2"]), stdin="xx SECRET-WORD xx\n")
    canary.logged(mark, 18005, {"BANNER_ID": "2", "ALERT_STRING": "SECRET-WORD", "DATA": "xx SECRET-WORD xx"})


@check("tcpbanner: curl, keep-alive and secret")
def _(canary: Canary) -> None:
    mark = canary.mark()
    run(
        "curl", "-q", "-sS", "--max-time", "3", f"telnet://{LOOPBACK}:{canary.ports['tcpbanner_3']}",
        stdin="this is open-sesame\n",
    )  # fmt: skip
    canary.logged(mark, 18002, {"BANNER_ID": "3"})
    canary.logged(mark, 18003, {"BANNER_ID": "3", "SECRET_STRING": "open-sesame"})


@check("tcpbanner: keep-alive is set on the socket")
def _(canary: Canary) -> None:
    needs("ss")
    with connect(canary.ports["tcpbanner_3"]) as peer:
        read_quiet(peer, 0.3)
        port = canary.ports["tcpbanner_3"]
        output = run("ss", "-tno", "state", "established", f"( sport = :{port} )")
    assert "keepalive" in output, f"ss says {output!r}"


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="NAME", default="", help="only checks whose name contains the text")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    report = Report()
    try:
        # TLS is off by default, but has clients of its own; OpenCanary does not know the key.
        with Canary(bin_dir, {"ftp.tls": True}) as canary:
            for name, body in (*real_ssh.CHECKS, *real_web.CHECKS, *CHECKS, *real_scanners.CHECKS):
                if options.only in name:
                    report.check(name, lambda body=body: body(canary))  # type: ignore[misc]
            real_ssh.ssh_algorithm_checks(canary, report, options.only)
            real_scanners.nmap_checks(canary, report, options.only)

            def still_there() -> None:
                assert canary.alive(), f"the process ended:\n{canary.last_output()}"
                with socket.create_connection((LOOPBACK, canary.ports["ftp"]), 5) as peer:
                    assert peer.recv(100), "FTP greets no more"

            if not options.only:
                report.check("the canary still answers", still_there)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
