"""HTTP and HTTPS beyond the golden requests: certificate, login, served files, keep-alive."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from canary import Canary, connect, unverified_tls

from .golden import DATE, Peer
from .personas import HOST
from .plays import over_tls

OPENCANARY_FILES = {
    "c31dbb2bb5540c80": "basicLogin/index.html",
    "5cde18e46c79c3d5": "nasLogin/index.html",
    "b0ff2b3ef615b083": "nasLogin/redirect.html",
    "a5c402fa795aa7b3": "nasLogin/400.html",
    "249ce86d4a054298": "403.html",
    "373adcbeb93202f2": "404.html",
    "6b8bdbbaaa1c79cb": "favicon.ico",
    "bac2844ae538d0e5": "css/style.css",
    "485528db926bff92": "css/desktop.css",
    "936cf15865b589f3": "css/ux-all.css",
    "612a3c10fc9ed5ce": "css/xtheme-gray.css",
    "997086cbfb6ae16b": "css/ext-all.css",
    "f89379febbc84ac4": "js/misc.js",
}
"""Beginning of the SHA-256 of the pages, styles and scripts of OpenCanary 0.9.10's skins."""

FORM = b"username=bob&password=secret-word"


def page(port: int, path: str, secure: bool = False, request: bytes = b"") -> bytes:
    """The whole reply to one request on a connection of its own."""
    request = request or f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    with Peer(port, f"web {path}", over_tls if secure else None) as peer:
        peer.send(request)
        return peer.ends(8)


def body_of(reply: bytes) -> bytes:
    return reply.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in reply else b""


def login(path: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    return f"{head}Content-Length: {len(FORM)}\r\nConnection: close\r\n\r\n".encode() + FORM


def failed_login(canary: Canary, service: str, logtype: int) -> None:
    """A login is refused as a product refuses it, and logged as OpenCanary logs it."""
    secure = service == "https"
    port = canary.ports[service]
    clean = body_of(page(port, "/index.html", secure))
    assert b"<form" in clean, f"no form: {clean[:300]!r}"
    since = canary.mark()
    reply = page(port, "/index.html", secure, login("/index.html"))
    canary.logged(since, logtype, {"USERNAME": "bob", "PASSWORD": "secret-word", "PATH": "/index.html"})
    status = reply.split(b"\r\n", 1)[0]
    assert status in (b"HTTP/1.1 200 OK", b"HTTP/1.1 401 Unauthorized"), f"reply {reply[:300]!r}"
    refused = body_of(reply)
    assert refused and refused != clean, "the page says nothing of the failed login"
    assert len(refused) - len(clean) != 53, "53 bytes more: OpenCanary's error line"
    lengths = re.findall(rb"Content-Length: (\d+)", reply)
    assert lengths == [str(len(refused)).encode()], f"Content-Length {lengths}, body of {len(refused)} bytes"


def served_files(port: int, secure: bool) -> None:
    """No file is one that OpenCanary serves."""
    front = page(port, "/index.html", secure).decode("latin-1")
    links = set(re.findall(r"(?:href|src)=[\"']?(/?[\w./-]+)", front))
    paths = {"/", "/index.html", "/favicon.ico", "/robots.txt", "/nonexist"} | {
        f"/{link.lstrip('/')}" for link in links
    }
    for path in sorted(paths):
        reply = page(port, path, secure)
        assert reply.startswith(b"HTTP/1.1 "), f"{path}: {reply[:100]!r}"
        digest = hashlib.sha256(body_of(reply)).hexdigest()
        assert digest[:16] not in OPENCANARY_FILES, f"{path} is a file of OpenCanary: {digest}"
        for word in (b"synology", b"rackstation", b"network storage v", b"demosite"):
            assert word not in reply.lower(), f"{path} says {word!r}"


def certificate(port: int) -> x509.Certificate:
    with unverified_tls().wrap_socket(connect(port)) as secured:
        data = secured.getpeercert(binary_form=True)
    assert data
    return x509.load_der_x509_certificate(data)


def right_certificate(port: int) -> None:
    """What Debian's `make-ssl-cert` makes: own name and alternative name, ten years, RSA 2048."""
    found = certificate(port)
    text = found.subject.rfc4514_string() + found.issuer.rfc4514_string()
    for word in ("Synology", "OpenCanary", "localhost", "rcgen", "self signed", "San Francisco"):
        assert word.lower() not in text.lower(), f"certificate of {text}"
    key = found.public_key()
    assert isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048, f"key {key}"
    validity = found.not_valid_after_utc - found.not_valid_before_utc
    assert validity != timedelta(days=365), "valid for exactly 365 days"
    assert found.serial_number.bit_length() > 64, f"serial number of {found.serial_number.bit_length()} bits"
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName), "no subject alternative name"
    common = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert common and common[0].value in names.get_values_for_type(x509.DNSName), f"{common}, {names}"
    assert found.issuer == found.subject, f"issuer {found.issuer}, subject {found.subject}"


def versions_of_tls(port: int) -> None:
    """TLS 1.2 and 1.3, the server's order of ciphers, HTTP/1.1 by ALPN."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = unverified_tls()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["http/1.1"])
        with context.wrap_socket(connect(port)) as secured:
            assert secured.selected_alpn_protocol() == "http/1.1", f"ALPN {secured.selected_alpn_protocol()}"


def hundred_requests(port: int, apache: bool) -> None:
    """Keep-alive: Apache closes after its hundredth further request, nginx goes on."""
    request = b"GET /nonexist HTTP/1.1\r\nHost: x\r\n\r\n"
    with Peer(port, "hundred requests") as peer:
        for number in range(1, 104):
            peer.send(request)
            reply = peer.read(lambda data: data.rstrip().endswith(b"</html>"))
            last = b"Connection: close" in reply
            assert reply.startswith(b"HTTP/1.1 404 "), f"request {number}: {reply[:200]!r}"
            assert last == (apache and number == 101), f"request {number}: {reply[:300]!r}"
            if last:
                peer.ends(4)
                break
        assert (peer.closed == "open") != apache, peer.closed


def date_is_now(port: int) -> None:
    """`Date` is the present, in the form of RFC 9110."""
    reply = page(port, "/nonexist")
    found = re.search(rb"\r\nDate: (" + DATE + rb")\r\n", reply)
    assert found, f"{reply[:300]!r}"
    stamp = time.mktime(time.strptime(found.group(1).decode(), "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
    assert abs(stamp - time.time()) < 5, f"{found.group(1)!r}"


def file_lives(port: int, secure: bool) -> None:
    """ETag, conditions, range and HEAD of a served file agree with each other."""
    reply = page(port, "/robots.txt", secure)
    tag = re.search(rb"\r\nETag: (\"[^\"]+\")\r\n", reply)
    assert tag and b"\r\nLast-Modified: " in reply, f"{reply[:400]!r}"
    condition = (
        b"GET /robots.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: " + tag.group(1) + b"\r\nConnection: close\r\n\r\n"
    )
    same = page(port, "/robots.txt", secure, condition)
    assert same.startswith(b"HTTP/1.1 304 Not Modified\r\n"), f"{same[:300]!r}"
    assert b"Content-Length" not in same and b"Content-Type" not in same, f"{same!r}"


def ntlm_challenge(port: int) -> bytes:
    """The eight bytes that the server draws for an NTLM login."""
    opening = base64.b64encode(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2")
    request = b"GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: NTLM " + opening + b"\r\nConnection: close\r\n\r\n"
    reply = page(port, "/x", request=request)
    found = re.search(rb"WWW-Authenticate: NTLM (\S+)", reply)
    assert found, f"{reply[:300]!r}"
    return base64.b64decode(found.group(1))[24:32]


def tls_randoms(port: int) -> bytes:
    """The server's random bytes of a TLS 1.2 handshake."""
    outgoing = ssl.MemoryBIO()
    context = unverified_tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.sendall(outgoing.read())
        data = peer.recv(4096)
    assert data[:1] == b"\x16" and data[5:6] == b"\x02", data[:20].hex()
    return data[11:43]
