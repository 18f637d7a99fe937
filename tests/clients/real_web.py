"""HTTP and HTTPS by real clients: curl, requests, openssl, and the headers of a browser."""

from __future__ import annotations

import base64
import http.client
import re

import requests

from canary import LOOPBACK, Canary, Skip, connect, read_quiet, unverified_tls
from check_list import Checks
from client_programs import SCRATCH, run

CHECKS = Checks()
check = CHECKS.add

BROWSER = {
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "sec-ch-ua": '"Chromium";v="142", "Not_A Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Windows"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.9",
    "Cookie": "id=4711; stay_login=1",
}


def demanding(canary: Canary, scheme: str) -> Canary:
    """A canary whose pages demand that authentication; OpenCanary has no such setting."""
    if canary.kind == "opencanary":
        raise Skip("OpenCanary demands none")
    return Canary(canary.bin_dir, {"http.auth": scheme}, services=("http", "https"))


def web(scheme: str) -> None:
    """The checks of both; only the scheme differs."""

    def url(canary: Canary, path: str = "/index.html") -> str:
        return f"{scheme}://{LOOPBACK}:{canary.ports[scheme]}{path}"

    def curl(canary: Canary, *options: str, path: str = "/index.html") -> str:
        return run("curl", "-q", "-sS", "-k", "-i", "--max-time", "20", *options, url(canary, path))

    # Apache answers a client that names only HTTP/1.0 in its ALPN by HTTP/1.1, and curl gives up.
    for version in (["--http1.0", "--no-alpn"], ["--http1.1"]):

        @check(f"{scheme}: curl {version[0]}")
        def _(canary: Canary, version: list[str] = version) -> None:
            mark = canary.mark()
            output = curl(canary, *version)
            assert re.match(r"HTTP/1\.[01] 200 ", output), f"curl says {output[:300]!r}"
            event = canary.logged(mark, 3000, {"PATH": "/index.html"}, output)
            assert event["logdata"]["USERAGENT"].startswith("curl/"), event["logdata"]

    @check(f"{scheme}: curl, form")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, "--data-urlencode", "username=curl user", "--data-urlencode", "password=p&w=1")
        canary.logged(mark, 3001, {"USERNAME": "curl user", "PASSWORD": "p&w=1"}, output)

    @check(f"{scheme}: curl, multipart form")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, "-F", "username=multi", "-F", "password=part pw")
        canary.logged(mark, 3001, {"USERNAME": "multi", "PASSWORD": "part pw"}, output)

    @check(f"{scheme}: curl, large form with Expect")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        filler = "x" * 2_000_000
        body = SCRATCH / "large-form"
        body.write_text(f"username=large&password=expected&filler={filler}")
        output = curl(canary, "-H", "Expect: 100-continue", "--data-binary", f"@{body}")
        assert re.search(r"HTTP/1\.1 (200|302|413)", output), f"curl says {output[:300]!r}"
        canary.logged(mark, None, {"USERNAME": "large", "PASSWORD": "expected"}, output[:500])

    @check(f"{scheme}: curl, two requests over one connection")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, url(canary))
        events = [e for e in canary.settle(mark, at_least=2) if e["logtype"] == 3000]
        assert len(events) == 2, f"{len(events)} events; curl says {output[:300]!r}"
        assert len({e["src_port"] for e in events}) == 1, "the connection was not kept"

    @check(f"{scheme}: curl, Basic")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        output = curl(canary, "--basic", "-u", "basic-user:basic:pw")
        canary.logged(mark, None, {"USERNAME": "basic-user", "PASSWORD": "basic:pw"}, output)

    @check(f"{scheme}: Digest that nobody demanded")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        header = (
            'Authorization: Digest username="digest-user", realm="NAS", nonce="abc", uri="/index.html", '
            'response="0123456789abcdef0123456789abcdef", qop=auth, nc=00000001, cnonce="xyz"'
        )
        output = curl(canary, "-H", header)
        canary.mentioned(mark, "digest-user", context=output)

    @check(f"{scheme}: NTLM that nobody demanded")
    def _(canary: Canary) -> None:
        # A client's first message names no user, so the third one is sent, as a client replays it.
        name = "ntlm-user".encode("utf-16-le")
        fields = b"".join(
            len(v).to_bytes(2, "little") * 2 + at.to_bytes(4, "little")
            for v, at in ((b"", 88), (b"\0" * 24, 88), (b"", 64), (name, 64), (b"", 64), (b"", 64))
        )
        token = b"NTLMSSP\0\3\0\0\0" + fields + b"\1\2\0\0" + name.ljust(24, b"\0") + bytes(24)
        mark = canary.mark()
        output = curl(canary, "-H", f"Authorization: NTLM {base64.b64encode(token).decode()}")
        canary.mentioned(mark, "ntlm-user", context=output)

    @check(f"{scheme}: curl, Basic that is demanded")
    def _(canary: Canary) -> None:
        with demanding(canary, "basic") as strict:
            output = curl(strict, "--anyauth", "-u", "asked:for basic")
            strict.logged(0, None, {"USERNAME": "asked", "PASSWORD": "for basic"}, output)

    @check(f"{scheme}: curl and requests, Digest that is demanded")
    def _(canary: Canary) -> None:
        with demanding(canary, "digest") as strict:
            output = curl(strict, "--digest", "-u", "digest-curl:pw")
            assert output.count("HTTP/1.1 401") == 2, f"curl says {output[:500]!r}"
            strict.mentioned(0, "digest-curl", context=output)
            with requests.Session() as session:
                session.trust_env = False
                digest = requests.auth.HTTPDigestAuth("digest-requests", "pw")
                session.get(url(strict), auth=digest, verify=False, timeout=20)
            strict.mentioned(0, "digest-requests")

    @check(f"{scheme}: curl, NTLM that is demanded")
    def _(canary: Canary) -> None:
        with demanding(canary, "ntlm") as strict:
            output = curl(strict, "--ntlm", "-u", "CORP\\ntlm-curl:pw")
            assert re.search(r"(?i)www-authenticate: ntlm \S", output), f"curl says {output[:500]!r}"
            strict.mentioned(0, "ntlm-curl", "CORP", context=output)

    @check(f"{scheme}: curl, methods")
    def _(canary: Canary) -> None:
        for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
            mark = canary.mark()
            flags = ["-I"] if method == "HEAD" else ["-X", method]
            output = curl(canary, *flags, path=f"/method-{method}")
            assert re.match(r"HTTP/1\.[01] \d{3}", output), f"{method}: {output[:300]!r}"
            canary.mentioned(mark, method, f"/method-{method}", context=output)

    @check(f"{scheme}: requests session, redirect and login")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        with requests.Session() as session:
            session.verify = False
            session.trust_env = False  # else a CA bundle of this host would be asked after all
            session.get(url(canary, "/"), timeout=20)
            answer = session.post(url(canary), data={"username": "session", "password": "kept alive"}, timeout=20)
        assert answer.status_code < 500, answer.status_code
        canary.logged(mark, 3001, {"USERNAME": "session", "PASSWORD": "kept alive"})

    @check(f"{scheme}: the headers of a browser")
    def _(canary: Canary) -> None:
        mark = canary.mark()
        port = canary.ports[scheme]
        client = (
            http.client.HTTPSConnection(LOOPBACK, port, timeout=20, context=unverified_tls())
            if scheme == "https"
            else http.client.HTTPConnection(LOOPBACK, port, timeout=20)
        )
        client.putrequest("GET", "/index.html", skip_accept_encoding=True)
        for name, value in BROWSER.items():
            client.putheader(name, value)
        client.endheaders()
        answer = client.getresponse()
        body = answer.read()
        client.close()
        assert answer.status == 200 and body, f"{answer.status}, {len(body)} bytes"
        canary.logged(mark, 3000, {"USERAGENT": BROWSER["User-Agent"]})


web("http")
web("https")


@check("http: pipelining")
def _(canary: Canary) -> None:
    request = "GET /index.html HTTP/1.1\r\nHost: pipe\r\nUser-Agent: pipe-{}\r\n{}\r\n"
    text = "".join(request.format(n, "Connection: close\r\n" if n == 5 else "") for n in range(1, 6))
    mark = canary.mark()
    with connect(canary.ports["http"]) as peer:
        peer.sendall(text.encode())
        answer = read_quiet(peer, 2.0)
    statuses = answer.count(b"HTTP/1.1 200 ")
    assert statuses == 5, f"{statuses} answers in {answer[:500]!r}"
    for n in range(1, 6):
        canary.logged(mark, 3000, {"USERAGENT": f"pipe-{n}"})


for _version in ("1.2", "1.3"):

    @check(f"https: curl, TLS {_version} only")
    def _(canary: Canary, version: str = _version) -> None:
        mark = canary.mark()
        port = canary.ports["https"]
        output = run(
            "curl", "-q", "-sS", "-k", "-i", f"--tlsv{version}", "--tls-max", version, "--max-time", "20",
            "-A", f"tls {version}", f"https://{LOOPBACK}:{port}/index.html",
        )  # fmt: skip
        canary.logged(mark, 3000, {"USERAGENT": f"tls {version}"}, output)


@check("https: curl, HTTP/2 offered")
def _(canary: Canary) -> None:
    mark = canary.mark()
    port = canary.ports["https"]
    output = run(
        "curl", "-q", "-sS", "-k", "-i", "--http2", "--max-time", "20", "-A", "offers-h2",
        "--resolve", f"nas.example:{port}:{LOOPBACK}", f"https://nas.example:{port}/index.html",
    )  # fmt: skip
    canary.logged(mark, 3000, {"USERAGENT": "offers-h2", "HOSTNAME": "nas.example"}, output)


@check("https: openssl s_client")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run(
        "openssl", "s_client", "-connect", f"{LOOPBACK}:{canary.ports['https']}", "-servername", "nas.example",
        "-quiet", stdin="GET /index.html HTTP/1.0\r\nUser-Agent: s_client\r\n\r\n",
    )  # fmt: skip
    canary.logged(mark, 3000, {"USERAGENT": "s_client"}, output)
