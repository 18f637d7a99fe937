"""Hostile inputs that are not UTF-8, where a user name, a password or a path is expected.

The log must keep each byte.
"""

from __future__ import annotations

import paramiko

from canary import Canary, pkt_line
from check_list import Checks
from hostile_probes import all_answer, http_form, kept_whole, say, ssh

CHECKS = Checks()
check = CHECKS.add


def escaped(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


@check("ftp: credentials that are not UTF-8 (T1, T3)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "ftp", b"USER a\xff\r\n", b"PASS \xfe\xc3 x\r\n")
    event = canary.logged(mark, 2000, {"USERNAME": escaped(b"a\xff")})
    kept_whole(event, "USERNAME", b"a\xff")
    kept_whole(event, "PASSWORD", b"\xfe\xc3 x")


for _scheme in ("http", "https"):

    def _form(canary: Canary, scheme: str = _scheme) -> None:
        mark = canary.mark()
        tls = scheme == "https"
        say(canary, scheme, http_form(b"username=b%ff%fe%00&password=%80x"), tls=tls)
        event = canary.logged(mark, 3001, {"USERNAME": escaped(b"b\xff\xfe\x00")})
        kept_whole(event, "USERNAME", b"b\xff\xfe\x00")
        kept_whole(event, "PASSWORD", b"\x80x")

    def _agent(canary: Canary, scheme: str = _scheme) -> None:
        mark = canary.mark()
        tls = scheme == "https"
        say(canary, scheme, b"GET /index.html HTTP/1.0\r\nUser-Agent: \xff\xfeagent\r\n\r\n", tls=tls)
        kept_whole(canary.logged(mark, 3000, {"USERAGENT": escaped(b"\xff\xfeagent")}), "USERAGENT", b"\xff\xfeagent")

    check(f"{_scheme}: form that is not UTF-8 (T1, T29)")(_form)
    check(f"{_scheme}: user agent that is not UTF-8 (T1)")(_agent)


@check("ssh: user name and password that are not UTF-8 (T1, T13)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    user, password = b"r\xffot", b"\xff\xfe\x00 pw"
    with ssh(canary) as transport:
        try:
            transport.auth_password(user, password)
        except paramiko.AuthenticationException:
            pass
    event = canary.logged(mark, 4002, {"USERNAME": escaped(user)})
    kept_whole(event, "USERNAME", user)
    kept_whole(event, "PASSWORD", password)
    all_answer(canary)


@check("ssh: version line that is not UTF-8 (T1)")
def _(canary: Canary) -> None:
    say(canary, "ssh", b"SSH-2.0-\xff\xfeclient\r\n")


@check("telnet: credentials that are not UTF-8 (T1)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    # IAC stands for itself when it is doubled.
    say(canary, "telnet", b"us\xff\xffer\r\n", b"p\xfe\xfdw\r\n")
    event = canary.logged(mark, 6001, {"USERNAME": escaped(b"us\xffer")})
    kept_whole(event, "USERNAME", b"us\xffer")
    kept_whole(event, "PASSWORD", b"p\xfe\xfdw")


@check("redis: password that is not UTF-8 (T1, T25)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    secret = b"\xff\xfe\x00pw"
    say(canary, "redis", b"*2\r\n$4\r\nAUTH\r\n$5\r\n" + secret + b"\r\n")
    kept_whole(canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": escaped(secret)}), "ARGS", secret)


@check("git: path and host that are not UTF-8 (T1, T35)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "git", pkt_line(b"git-upload-pack /caf\xe9.git\0host=h\xff\0"))
    event = canary.logged(mark, 16001, {"REPO": escaped(b"caf\xe9.git")})
    kept_whole(event, "REPO", b"caf\xe9.git")
    kept_whole(event, "HOST", b"h\xff")


@check("tcpbanner: data that is not UTF-8 (T1, T51)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    data = b"\xff\xfe\x00 SECRET-WORD"
    say(canary, "tcpbanner_2", data)
    kept_whole(canary.logged(mark, 18005, {"DATA": escaped(data)}), "DATA", data)
    mark = canary.mark()
    say(canary, "tcpbanner_3", b"\x80\x81keep")
    kept_whole(canary.logged(mark, 18004, {"DATA": escaped(b"\x80\x81keep")}), "DATA", b"\x80\x81keep")
