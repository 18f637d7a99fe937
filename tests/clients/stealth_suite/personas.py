"""The products that the suite plays, each as a running canary with the configuration of that product."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canary import Canary

from .golden import PLACEHOLDERS, Golden, read

HOST = "srv01"
INDEX = (
    b"<!DOCTYPE html>\n<html><head><title>t</title></head><body>\n"
    + b"<p>line of text</p>\n" * 120
    + b"</body></html>\n"
)
"""The page that the recorded web servers had at `/index.html`."""
STYLE = b"body{}\n"
CHANGED = {"index.html": 0x660E3C65D81C0, "static/css/style.css": 0x660E3D324A220}
"""When the recorded files were changed last, in microseconds: ETags and dates come from it."""

PLACEHOLDERS |= {b"{INDEX}": re.escape(INDEX), b"{BOUNDARY}": rb"(?:[0-9a-f]{16}|\d{20})"}


@dataclass(frozen=True)
class OpenSsh:
    """A build of OpenSSH: what its KEXINIT lists and what it says in EXT_INFO."""

    banner: str
    kex: str
    host_keys: str
    ciphers: str
    hassh: str
    size: int
    """Bytes of the KEXINIT packet."""
    signatures: str
    """`server-sig-algs`."""
    extensions: tuple[str, ...]
    """Names of the other extensions."""

    @property
    def short(self) -> str:
        return self.banner.removeprefix("SSH-2.0-OpenSSH_").split()[0]


MACS = (
    "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
    "hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1"
)
COMPRESSION = "none,zlib@openssh.com"

_CURVES = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521"
_GROUPS = (
    "diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,"
    "diffie-hellman-group18-sha512,diffie-hellman-group14-sha256"
)
_SNTRUP_OLD, _SNTRUP = "sntrup761x25519-sha512@openssh.com", "sntrup761x25519-sha512"
_STRICT = "kex-strict-s-v00@openssh.com"
_RSA2, _EC = "rsa-sha2-512,rsa-sha2-256", "ecdsa-sha2-nistp256,ssh-ed25519"
_CHACHA = "chacha20-poly1305@openssh.com"
_CTR, _GCM = "aes128-ctr,aes192-ctr,aes256-ctr", "aes128-gcm@openssh.com,aes256-gcm@openssh.com"
_ECDSA = "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521"
_SK_ED, _SK_EC = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
_WEBAUTHN = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"
_SIGNATURES_82 = f"ssh-ed25519,{_SK_ED},ssh-rsa,rsa-sha2-256,rsa-sha2-512,ssh-dss,{_ECDSA},{_SK_EC}"
_SIGNATURES_96 = f"ssh-ed25519,{_ECDSA},{_SK_ED},{_SK_EC},{_RSA2}"
_BOUND = "publickey-hostbound@openssh.com"

SSH = (
    OpenSsh(
        "SSH-2.0-OpenSSH_8.2p1 Ubuntu-4",
        f"{_CURVES},{_GROUPS}",
        f"{_RSA2},ssh-rsa,{_EC}",
        f"{_CHACHA},{_CTR},{_GCM}",
        "3ccd1778a76049721c71ad7d2bf62bbc",
        1056,
        _SIGNATURES_82,
        (),
    ),
    OpenSsh(
        "SSH-2.0-OpenSSH_8.4p1 Debian-5+deb11u3",
        f"{_CURVES},{_GROUPS},{_STRICT}",
        f"{_RSA2},ssh-rsa,{_EC}",
        f"{_CHACHA},{_CTR},{_GCM}",
        "779664e66160bf75999f091fce5edb5a",
        1080,
        f"{_SIGNATURES_82},{_WEBAUTHN}",
        (),
    ),
    OpenSsh(
        "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.18",
        f"{_CURVES},{_SNTRUP_OLD},{_GROUPS},{_STRICT}",
        f"{_RSA2},{_EC}",
        f"{_CHACHA},{_CTR},{_GCM}",
        "41ff3ecd1458b0bf86e1b4891636213e",
        1112,
        f"{_SIGNATURES_82},{_WEBAUTHN}",
        (_BOUND,),
    ),
    OpenSsh(
        "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
        f"{_SNTRUP},{_SNTRUP_OLD},{_CURVES},{_GROUPS},{_STRICT}",
        f"{_RSA2},{_EC}",
        f"{_CHACHA},{_CTR},{_GCM}",
        "425d29fe50d8e4f5e37efb6e24bcf660",
        1136,
        f"ssh-ed25519,{_SK_ED},{_ECDSA},{_SK_EC},{_WEBAUTHN},ssh-dss,ssh-rsa,rsa-sha2-256,rsa-sha2-512",
        (_BOUND,),
    ),
    OpenSsh(
        "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.20",
        f"{_SNTRUP_OLD},{_CURVES},{_GROUPS},ext-info-s,{_STRICT}",
        f"{_RSA2},{_EC}",
        f"{_CHACHA},{_CTR},{_GCM}",
        "e42184b06d45385a906f0803d04c83da",
        1120,
        _SIGNATURES_96,
        (_BOUND, "ping@openssh.com"),
    ),
    OpenSsh(
        "SSH-2.0-OpenSSH_10.0p2 Debian-7+deb13u4",
        f"mlkem768x25519-sha256,{_SNTRUP},{_SNTRUP_OLD},{_CURVES},ext-info-s,{_STRICT}",
        f"{_RSA2},{_EC}",
        f"{_CHACHA},{_GCM},{_CTR}",
        "671c5858369db8e0a60108d866bbf8ec",
        1040,
        _SIGNATURES_96,
        (_BOUND, "ping@openssh.com"),
    ),
    OpenSsh(
        "SSH-2.0-OpenSSH_10.6p1 Debian-1",
        f"mlkem768x25519-sha256,{_SNTRUP},{_SNTRUP_OLD},{_CURVES},ext-info-s,{_STRICT}",
        # As on a machine that was upgraded to it: a new one has a key `ssh-mldsa44-ed25519`, too.
        f"{_RSA2},{_EC}",
        f"{_CHACHA},{_GCM},{_CTR}",
        "671c5858369db8e0a60108d866bbf8ec",
        1040,
        f"{_SIGNATURES_96},ssh-mldsa44-ed25519,{_WEBAUTHN}",
        (_BOUND, "ping@openssh.com", "agent-forward"),
    ),
)


@dataclass(frozen=True)
class Persona:
    """A canary of the suite: its services, and the golden transcript that each of them plays."""

    name: str
    settings: dict[str, Any]
    golden: dict[str, str] = field(default_factory=dict)
    """Name in `golden/` by service."""

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self.golden)


DEBIAN = Persona(
    "Debian 12 with nginx",
    {
        "ftp.banner": "(vsFTPd 3.0.3)",
        "ssh.version": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
        "telnet.persona": "linux",
        "http.banner": "nginx/1.22.1",
        "redis.version": "7.0.15",
    },
    {
        "ftp": "vsftpd-3.0.3",
        "ssh": "openssh-9.2p1",
        "telnet": "inetutils-telnetd-2.4",
        "http": "nginx-1.22.1",
        "https": "nginx-1.22.1",
        "redis": "redis-7.0.15",
        "git": "git-daemon-2.47.3",
    },
)
OTHER = Persona(
    "ProFTPD, Apache, IOS",
    {
        "ftp.banner": "ProFTPD Server (Debian)",
        "ssh.version": "SSH-2.0-OpenSSH_10.0p2 Debian-7+deb13u4",
        "telnet.persona": "ios",
        "http.banner": "Apache/2.4.71 (Debian)",
        "redis.version": "6.0.16",
        # The recorded Apache had no other name, and names itself in pages.
        "aviary.host_name": "localhost",
    },
    {
        "ftp": "proftpd-1.3.8",
        "ssh": "openssh-9.2p1",
        "telnet": "cisco-ios-15",
        "http": "apache-2.4.71",
        "https": "apache-2.4.71",
        "redis": "redis-6.0.16",
    },
)
FURTHER = [
    Persona(
        f"OpenSSH {build.short}",
        {"ssh.version": build.banner, "redis.version": "8.0.2"},
        {"ssh": "openssh-9.2p1", "redis": "redis-8.0.2"} if build.short == "8.2p1" else {"ssh": "openssh-9.2p1"},
    )
    for build in SSH
    if build.banner not in (DEBIAN.settings["ssh.version"], OTHER.settings["ssh.version"])
]


def web_folder(at: Path) -> Path:
    """The files that the recorded web servers had, in a skin folder."""
    for name, content in (("index.html", INDEX), ("static/css/style.css", STYLE)):
        path = at / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(0, CHANGED[name] * 1000))
    return at / "site"


@contextmanager
def running(bin_dir: Path | None, persona: Persona, folder: Path) -> Iterator[Canary]:
    """A canary that plays the persona."""
    # OpenCanary ignores keys of ours, and serves pages of its own.
    own = {"device.node_id": HOST, "aviary.host_name": HOST, "tcpbanner.enabled": False}
    skin = {"http.skindir": str(web_folder(folder))} if bin_dir and persona.golden.get("http") else {}
    with Canary(bin_dir, own | skin | persona.settings, services=persona.services) as canary:
        yield canary


@dataclass
class Running:
    """The canaries of a run."""

    bin_dir: Path | None
    folder: Path
    stack: ExitStack
    canaries: dict[str, Canary] = field(default_factory=dict)
    files: dict[str, Golden] = field(default_factory=dict)

    def start(self, persona: Persona) -> None:
        self.canaries[persona.name] = self.stack.enter_context(running(self.bin_dir, persona, self.folder))

    def port(self, persona: Persona, service: str) -> int:
        return self.canaries[persona.name].ports[service]

    def golden(self, persona: Persona, service: str) -> Golden:
        name = persona.golden[service]
        if name not in self.files:
            self.files[name] = read(name)
        return self.files[name]
