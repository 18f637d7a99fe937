"""Where Aviary must not do as OpenCanary does: its bugs, and the marks by which it is known.

`differential.py` applies `EXPECTED_DIFFERENCES` to OpenCanary's events and demands the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paramiko
import redis
import requests

from canary import LOOPBACK


@dataclass(frozen=True)
class Difference:
    """A place where Aviary must not do as OpenCanary does.

    `event` counts OpenCanary's events of the step; `key` is a key of `logdata`, which OpenCanary may
    lack. With `missing`, the event must not be in ours. `adds` are events (log type and log data) that OpenCanary lost; they
    stand after its own.
    """

    step: str
    reason: str
    event: int = 0
    key: str = ""
    opencanary: Any = None
    aviary: Any = None
    missing: bool = False
    adds: tuple[tuple[int, dict[str, Any]], ...] = ()


def http_login(path: str, user: str, password: str, agent: str) -> tuple[int, dict[str, Any]]:
    return 3001, {
        "HOSTNAME": LOOPBACK,
        "PASSWORD": password,
        "PATH": path,
        "SKIN": "nasLogin",
        "USERAGENT": agent,
        "USERNAME": user,
    }


AGENT = requests.utils.default_user_agent()

EXPECTED_DIFFERENCES: list[Difference] = [
    Difference(
        "ftp: user name in UTF-8",
        "OpenCanary reads the bytes as Latin-1, so every name past ASCII is logged garbled",
        event=1,
        key="USERNAME",
        opencanary="jÃ¶rg",
        aviary="jörg",
    ),
    Difference("ftp: user name in UTF-8", "as above", event=1, key="PASSWORD", opencanary="grÃ¼n", aviary="grün"),
    *(
        difference
        for scheme in ("http", "https")
        for difference in (
            Difference(
                f"{scheme}: POST of JSON",
                "OpenCanary reads forms only and misses credentials in JSON",
                key="USERNAME",
                opencanary="<not supplied>",
                aviary="admin",
            ),
            Difference(
                f"{scheme}: POST of JSON", "as above", key="PASSWORD", opencanary="<not supplied>", aviary="hunter2"
            ),
            # The redirect to /index.html is a known mark of OpenCanary.
            Difference(
                f"{scheme}: GET / and its redirect",
                "Aviary serves the login page at `/` itself, so the event names what was asked for",
                event=1,
                key="PATH",
                opencanary="/index.html",
                aviary="/",
            ),
            Difference(f"{scheme}: HEAD /", "as above", event=1, key="PATH", opencanary="/index.html", aviary="/"),
            Difference(
                f"{scheme}: POST to /",
                "OpenCanary redirects and loses the credentials",
                adds=(http_login("/", "admin", "hunter2", AGENT),),
            ),
            Difference(
                f"{scheme}: GET, user agent not UTF-8",
                "OpenCanary fails to decode the header and loses the event",
                adds=(
                    (
                        3000,
                        {"HOSTNAME": LOOPBACK, "PATH": "/index.html", "SKIN": "nasLogin", "USERAGENT": "t\\xebst"},
                    ),
                ),
            ),
            Difference(
                f"{scheme}: POST that is not UTF-8",
                "OpenCanary answers 500 and loses the event",
                adds=(http_login("/index.html", "b\\xff\\xfe", "x", AGENT),),
            ),
        )
    ),
    Difference(
        "ssh: password that is not UTF-8",
        "OpenCanary fails to write the event and closes the connection",
        adds=(
            (
                4002,
                {
                    "LOCALVERSION": "<SSH-2.0->",
                    "PASSWORD": "p\\xff\\xfe",
                    "REMOTEVERSION": f"SSH-2.0-paramiko_{paramiko.__version__}",
                    "USERNAME": "root",
                },
            ),
        ),
    ),
    Difference(
        "telnet: two logins of a terminal",
        "OpenCanary contradicts its own offer of ECHO and then waits for an answer that has come already",
        adds=((6001, {"PASSWORD": "pass word", "USERNAME": "enable"}),),
    ),
    Difference(
        "telnet: password that is not UTF-8",
        "OpenCanary fails to write the event and closes the connection",
        adds=((6001, {"PASSWORD": "p\\xfe\\xfd", "USERNAME": "root"}),),
    ),
    Difference(
        "telnet: lines that end in CR NUL",
        "OpenCanary never sees the end of such a line, which is what a character-mode client sends",
        adds=((6001, {"PASSWORD": "charpass", "USERNAME": "charmode"}),),
    ),
    Difference(
        "redis: inline, empty line",
        "a real server ignores an empty line; OpenCanary calls it an error and closes",
        missing=True,
        adds=((17001, {"ARGS": "", "CMD": "PING"}),),
    ),
    Difference(
        "redis: array of no elements",
        "a real server ignores it; OpenCanary calls it an error and closes",
        missing=True,
        adds=((17001, {"ARGS": "", "CMD": "PING"}),),
    ),
    Difference(
        "redis: empty string as an argument",
        "OpenCanary takes the length 0 for an error and loses the command",
        missing=True,
        adds=((17001, {"ARGS": "k ", "CMD": "SET"}),),
    ),
    Difference(
        "redis: argument that is not UTF-8",
        "OpenCanary replaces the bytes and so loses them",
        key="ARGS",
        opencanary="\ufffd\ufffd",
        aviary="\\xff\\xfe",
    ),
    Difference(
        "redis: redis-py without a password",
        "Redis before 7.2 has no CLIENT SETINFO and says so before it asks for a login; so redis-py goes on",
        adds=(
            (17001, {"ARGS": f"SETINFO LIB-VER {redis.__version__}", "CMD": "CLIENT"}),
            (17001, {"ARGS": "key", "CMD": "GET"}),
        ),
    ),
    Difference(
        "git: GitPython clone, protocol 1",
        "OpenCanary takes the extra parameters for a part of the host",
        key="HOST",
        opencanary="127.0.0.1:<git>\0\0version=1",
        aviary="127.0.0.1:<git>",
    ),
    Difference(
        "git: GitPython clone, protocol 2",
        "OpenCanary takes the extra parameters for a part of the host",
        key="HOST",
        opencanary="127.0.0.1:<git>\0\0version=2",
        aviary="127.0.0.1:<git>",
    ),
    Difference(
        "git: path that contains the word host",
        "OpenCanary cuts the path at the first `host`",
        key="REPO",
        opencanary="m",
        aviary="myhost/project.git",
    ),
    Difference(
        "git: request without a host",
        "OpenCanary finds no `host=` and mixes the two up",
        key="HOST",
        opencanary="git-upload-pack /project.git",
        aviary="",
    ),
    Difference("git: request without a host", "as above", key="REPO", opencanary="", aviary="project.git"),
    Difference(
        "git: path that is not UTF-8",
        "OpenCanary fails to decode the path and loses the event",
        adds=((16001, {"HOST": "git.example.org", "REPO": "caf\\xe9.git"}),),
    ),
    Difference(
        "tcpbanner_2: alert string with bytes that are not UTF-8",
        "OpenCanary reads the bytes as Latin-1; the escapes are lossless",
        key="DATA",
        opencanary="ÿþ SECRET-WORD \x80",
        aviary="\\xff\\xfe SECRET-WORD \\x80",
    ),
]
