"""The HTTP proxy's steps."""

from __future__ import annotations

from typing import Any

from canary import LOOPBACK, Canary
from client_programs import run
from differential_steps import raw, step
from expected_differences import Difference

SERVICES = ["httpproxy"]
SETTINGS: dict[str, Any] = {"httpproxy.skin": "squid"}

HEAD = b"GET http://example.invalid/ HTTP/1.1\r\nHost: example.invalid\r\n"
OPENING = b"TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAKAGFKAAAADw=="


@step("httpproxy", "curl, Basic")
def _(_canary: Canary, port: int) -> None:
    proxy = f"http://{LOOPBACK}:{port}"
    run("curl", "-q", "-sS", "--noproxy", "", "-x", proxy, "-U", "squidadmin:pass:squid", "http://example.invalid/")


@step("httpproxy", "no credentials")
def _(_canary: Canary, port: int) -> None:
    raw(port, HEAD + b"\r\n", b"CONNECT example.invalid:443 HTTP/1.1\r\nHost: example.invalid:443\r\n\r\n")


@step("httpproxy", "Basic, several in a connection")
def _(_canary: Canary, port: int) -> None:
    raw(
        port,
        HEAD + b"Proxy-Authorization: Basic YWRtaW46cGFzcw==\r\n\r\n",
        HEAD + "Proxy-Authorization: Basic asO2cmc6Z3LDvG4=\r\n\r\n".encode(),
        HEAD + b"Proxy-Authorization: Basic YQ==\r\n\r\n",
        HEAD + b"Proxy-Authorization: Basic !!\r\n\r\n",
        HEAD + b"Proxy-Authorization: Bearer abc\r\n\r\n",
    )


@step("httpproxy", "NTLM opens")
def _(_canary: Canary, port: int) -> None:
    raw(port, HEAD + b"Proxy-Authorization: NTLM " + OPENING + b"\r\n\r\n")


@step("httpproxy", "lower case")
def _(_canary: Canary, port: int) -> None:
    raw(port, HEAD + b"Proxy-Authorization: basic YWRtaW46cGFzcw==\r\n\r\n")


DIFFERENCES = [
    Difference(
        "httpproxy: NTLM opens",
        "the first message of NTLM names nobody; the login follows with the third",
        event=0,
        missing=True,
    ),
    Difference(
        "httpproxy: lower case",
        "schemes have no case, so the pair is read",
        event=0,
        key="USERNAME",
        opencanary="Invalid auth-token submitted",
        aviary="admin",
    ),
    Difference(
        "httpproxy: lower case",
        "as above",
        event=0,
        key="PASSWORD",
        opencanary="",
        aviary="pass",
    ),
]
