"""The checks by their ids: which golden dialogues, which persona, which look of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from canary import Canary, Skip

from . import host, secure_shell, web
from .golden import Dialogue, Manner, Peer, Step, in_one_segment, play
from .personas import DEBIAN, FURTHER, OTHER, Persona, Running
from .plays import Plays, build_of, told

Body = Callable[[], None]

HALF = "half: "
MALFORMED = re.compile(
    r"bad|long|line of|lines of|odd|garbage|one word|NUL|8 LF|zeros|ff|GET|without end|HTTP/|tls port"
)
"""Dialogues whose probes no client of the protocol would send."""

NOT_COVERED = {
    "G01": "the signature list is no part of the project",
    "G02": "the signature list is no part of the project",
    "G03": "`--expect-detect` runs OpenCanary itself instead of its recorded replies",
    "G04": "the golden transcripts are real captures, compared byte for byte",
    "G11": "the time-outs of the products take minutes: unit tests hold them, T06 checks a short one",
    "G12": "limits of connections: hostile.py",
    "G15": "latency cannot be judged on a loaded machine",
    "S01 10.6p1": "without the host key `ssh-mldsa44-ed25519`, as on a machine that was upgraded",
    "S14": "120 s of login grace are too long here; it is a constant of the ssh service",
    "H11": "JARM depends on the TLS library: rustls does not offer what OpenSSL does",
    "H01 login page": "POST to the login page: the recorded servers had no form there; H12 checks it instead",
    "D06 60 s": "12 s are waited here, which OpenCanary does not reach",
    "Z02": "`aviary config check`: tests of the config crate",
    "Z03": "`aviary config check`: tests of the config crate",
    "Z05": "closed ports are the kernel's",
}


@dataclass
class Checks:
    """Every check as a name and a body."""

    suite: Running
    plays: Plays
    bin_dir: Path | None
    fresh: list[Canary]
    """Two installations with the configuration that we ship."""
    scans: Future[dict[str, tuple[str, str]]] | None = None
    all: list[tuple[str, Body]] = field(default_factory=list)
    last: list[tuple[str, Body]] = field(default_factory=list)
    """What runs when all others are done."""

    def add(self, name: str, body: Body) -> None:
        self.all.append((name, body))

    def names(self, persona: Persona, service: str, wanted: str = "", unwanted: str = HALF) -> list[str]:
        """Names of dialogues that match one pattern and not the other."""
        every = [dialogue.name for dialogue in self.plays.dialogues(persona, service)]
        return [n for n in every if re.search(wanted, n) and not (unwanted and re.search(unwanted, n))]

    def golden(self, name: str, persona: Persona, service: str, wanted: str = "", unwanted: str = HALF) -> None:
        """A check of the dialogues whose names match."""

        def body() -> None:
            self.plays.same(persona, service, self.names(persona, service, wanted, unwanted))

        self.add(f"{name} ({self.suite.golden(persona, service).product})", body)

    def collect(self) -> None:
        self.generic()
        self.ssh()
        self.ftp_and_telnet()
        self.http()
        self.redis_and_git()
        self.whole_host()

    # -- G --

    def generic(self) -> None:
        for persona in (DEBIAN, OTHER):
            for service in persona.services:
                if service == "https":
                    continue
                label = f"{service} of {persona.name}"
                self.add(
                    f"G06 answers to malformed input are as many as recorded: {label}", self.variety(persona, service)
                )
                self.add(f"G10 close kind: {label}", self.close_kind(persona, service))
                self.add(f"G07 one byte a segment: {label}", self.byte_by_byte(persona, service))
        self.pipelined()
        for persona, services in ((DEBIAN, ("ftp", "ssh", "http", "redis", "git")), (OTHER, ("http",))):
            for service in services:
                self.golden(f"G09 half close: {service}", persona, service, f"^{HALF}", "")
        self.add("G13 two installations share nothing", lambda: host.installations_differ(*self.fresh))
        self.last.append(("G14 a restart keeps host keys and certificate", lambda: host.restart_keeps(self.fresh[1])))
        for persona in (DEBIAN, OTHER):
            self.last.append((f"G16 random inputs: {persona.name}", self.random_inputs(persona)))
        self.last.append(("G05 forbidden words", host.no_forbidden_words))

    def variety(self, persona: Persona, service: str) -> Body:
        def body() -> None:
            dialogues = self.plays.dialogues(persona, service)
            malformed = [d for d in dialogues if MALFORMED.search(d.name) and HALF not in d.name] or dialogues
            golden = {(tuple(s.reply for s in d.steps), d.close) for d in malformed}
            played = [self.plays.result(persona, service, d.name) for d in malformed]
            seen = {(tuple(p.replies), p.close) for p in played}
            count = f"{len(seen)} different answers to {len(malformed)} inputs, golden {len(golden)}"
            assert len(seen) == len(golden), "\n".join([count, *map(str, list(seen - golden)[:4])])

        return body

    def close_kind(self, persona: Persona, service: str) -> Body:
        def body() -> None:
            states = self.plays.close(persona, service)
            wrong = [f"{name}: {seen}, golden {wanted}" for name, wanted, seen in states if seen != wanted]
            assert not wrong, "\n".join([f"{len(wrong)} of {len(states)} connections end otherwise", *wrong[:8]])

        return body

    def byte_by_byte(self, persona: Persona, service: str) -> Body:
        def short(dialogue: Dialogue) -> bool:
            size = sum(len(step.probe or b"") for step in dialogue.steps)
            return 0 < size <= 400 and HALF not in dialogue.name and "three wrong" not in dialogue.name

        chosen = [d for d in self.plays.dialogues(persona, service) if short(d)]
        # Redis and the web have many alike.
        chosen = chosen[:: max(1, len(chosen) // 25)]
        futures = [self.plays.submit(persona, service, d, piecewise=True) for d in chosen]
        return lambda: told([future.result() for future in futures])

    def pipelined(self) -> None:
        def at_once(persona: Persona, service: str, dialogue: Dialogue) -> Body:
            future = self.plays.submit(persona, service, in_one_segment(dialogue))
            return lambda: told([future.result()])

        for persona, service, name in ((DEBIAN, "ftp", "before login"), (DEBIAN, "ssh", "no common kex")):
            dialogue = next(d for d in self.plays.dialogues(persona, service) if d.name == name)
            self.add(f"G08 all in one segment: {service}, {name}", at_once(persona, service, dialogue))
        for persona in (DEBIAN, OTHER):
            recorded = self.plays.dialogues(persona, "redis")
            steps = [d.steps[0] for d in recorded if d.close == "open" and d.steps[0].reply and HALF not in d.name]
            # Inside a transaction or after a reset the replies are others.
            whole = Dialogue("all commands", [s for s in steps if s.probe], "open")
            label = self.suite.golden(persona, "redis").product
            self.add(f"G08 all in one segment: {label}", at_once(persona, "redis", whole))
            self.golden("G08 pipelined requests: http", persona, "http", "^pipeline")
            self.golden("G08 pipelined login: ftp", persona, "ftp", "^pipelined")

    def random_inputs(self, persona: Persona) -> Body:
        def body() -> None:
            host.random_inputs(self.suite, persona)
            again = []
            for service in persona.services:
                first = self.plays.dialogues(persona, service)[0]
                again.append(self.plays.submit(persona, service, first).result())
            told(again)

        return body

    # -- S --

    def ssh(self) -> None:
        for persona in (DEBIAN, OTHER, *FURTHER):
            build = build_of(persona)
            port = self.suite.port(persona, "ssh")
            version = f"OpenSSH {build.short}"
            own: list[tuple[str, Body]] = [
                ("S01 KEXINIT", partial(secure_shell.lists_as_in_build, port, build)),
                ("S02 hasshServer", partial(secure_shell.fingerprint, port, build)),
                ("S03 KEXINIT comes unasked", partial(secure_shell.comes_unasked, port)),
                ("S04 padding is zero", partial(secure_shell.zero_padding, port)),
                ("S05 no duplicates", partial(secure_shell.no_duplicates, port)),
                ("S11 EXT_INFO", partial(secure_shell.extensions, port, build)),
                ("S12 methods", partial(secure_shell.methods, port)),
                ("S16 strict key exchange", partial(secure_shell.strict_exchange, port, build)),
            ]
            for name, body in own:
                self.add(f"{name}: {version}", body)
            for name, wanted in (
                ("S06 versions", r"^bad version|^version"),
                ("S07 no version at all", r"^8 |^GET|^QUIT|zeros|^ff|^9000|^slash|^packet first"),
                ("S08 more behind the version", r"^two versions|^spacer|^five versions"),
                ("S09 nothing in common, bad length", r"^no common|^packet length"),
                ("S10 unknown message", "^message 200"),
            ):
                self.add(f"{name}: {version}", self.dialogues(persona, "ssh", wanted))
        for persona in (DEBIAN, OTHER):
            port = self.suite.port(persona, "ssh")
            version = f"OpenSSH {build_of(persona).short}"
            self.add(f"S13 six attempts: {version}", partial(secure_shell.attempts, port))
            self.add(f"S13 delay of a user: {version}", partial(secure_shell.delay_of_a_user_is_stable, port))
            self.add(f"S15 host keys: {version}", partial(secure_shell.right_host_keys, port))
        self.add("S16 strict key exchange takes nothing else: OpenSSH 9.2p1", self.dialogues(DEBIAN, "ssh", "strict"))

    def dialogues(self, persona: Persona, service: str, wanted: str) -> Body:
        return lambda: self.plays.same(persona, service, self.names(persona, service, wanted))

    # -- F, T --

    def ftp_and_telnet(self) -> None:
        for persona in (DEBIAN, OTHER):
            self.golden("F01 golden transcript", persona, "ftp")
            self.add(f"F02 FEAT: {self.suite.golden(persona, 'ftp').product}", self.features(persona))
            self.golden("F03 three wrong passwords", persona, "ftp", "three wrong|many fails")
            self.golden("F04 odd bytes and long lines", persona, "ftp", "LF only|NUL|line|without end")
            self.golden("F05 HTTP request", persona, "ftp", "HTTP request")
        for name, wanted in (
            ("T01 greeting", "greet"),
            ("T02 agrees to every offer", "agrees"),
            ("T03 client that never negotiates", "never negotiates|greet|empty user"),
            ("T04 AYT, window size, option 99", "AYT|window|unknown option|iac probe|terminal|TTYPE"),
            ("T05 ends of lines", "^CR|^LF"),
        ):
            for persona in (DEBIAN, OTHER):
                self.golden(name, persona, "telnet", wanted)
        self.golden("T03 whole logins", DEBIAN, "telnet", "refuses|not answered|line mode")
        self.add("T06 time-out at the prompt (Cisco IOS)", self.telnet_timeout)

    def features(self, persona: Persona) -> Body:
        def body() -> None:
            golden = self.suite.golden(persona, "ftp")
            first = next(d for d in golden if any(s.probe == b"FEAT\r\n" for s in d.steps))
            played = play(
                self.suite.port(persona, "ftp"), Dialogue("FEAT", first.steps[:2], "open"), Manner(label="FEAT")
            )
            told([played])
            assert b"TYPE A;I" not in played.replies[1] and b"\r\n FEAT\r\n" not in played.replies[1]

        return body

    def telnet_timeout(self) -> None:
        greeting = self.suite.golden(OTHER, "telnet").named("greeting").steps[0]
        with Peer(self.fresh[0].ports["telnet"], "telnet time-out") as peer:
            start = peer.exactly(len(greeting.reply))
            assert start == greeting.reply, f"{start!r}"
            rest = peer.ends(8)
        assert rest == b"\r\n% Username:  timeout expired!\r\n" and peer.closed == "FIN", f"{rest!r} {peer.closed}"

    # -- H --

    def http(self) -> None:
        subsets = (
            ("H02 Host", "nohost|two hosts|bad host|space hdr"),
            ("H03 methods", "HEAD|OPTIONS|TRACE|PUT|DELETE|PROPFIND|FOOBAR|AAAA|lowercase|CONNECT"),
            ("H04 versions", "HTTP/|1.0|noversion|garbage|one word"),
            ("H05 files", "css|range|inm|ims|If-Mod|gzip|Range"),
            ("H06 error pages", "nonexist|traversal|css dir|dir|long hdr"),
            ("H07 keep-alive", "conn close|keep-alive|pipeline|1.0|1.1"),
            ("H08 framing", "chunk|te.cl|long hdr|101 headers|no cl"),
        )
        for persona in (DEBIAN, OTHER):
            product = self.suite.golden(persona, "http").product
            for service in ("http", "https"):
                self.golden(f"H01 golden requests: {service}", persona, service, "", f"{HALF}|^tls port")
                for name, wanted in subsets:
                    self.add(f"{name}: {service} ({product})", self.dialogues_but(persona, service, wanted))
            port = self.suite.port(persona, "http")
            self.golden("H09 plain HTTP to the TLS port", persona, "https", "^tls port")
            apache = "Apache" in product
            self.add(f"H07 hundred requests ({product})", partial(web.hundred_requests, port, apache))
            self.add(f"H07 Date ({product})", partial(web.date_is_now, port))
        for canary in self.fresh[:1]:
            secure = canary.ports["https"]
            self.add("H10 certificate", partial(web.right_certificate, secure))
            self.add("H10 TLS versions and ALPN", partial(web.versions_of_tls, secure))
            for service in ("http", "https"):
                skin = canary.config[f"{service}.skin"]
                port = canary.ports[service]
                self.add(f"H05 validators of a file: {service}", partial(web.file_lives, port, service == "https"))
                self.add(f"H12 login: {skin}", partial(web.failed_login, canary, service, 3001))
                self.add(f"H13 files: {skin}", partial(web.served_files, port, service == "https"))

    def dialogues_but(self, persona: Persona, service: str, wanted: str) -> Body:
        return lambda: self.plays.same(persona, service, self.names(persona, service, wanted, f"{HALF}|^tls port"))

    # -- D, I --

    def redis_and_git(self) -> None:
        eight = next(persona for persona in FURTHER if "redis" in persona.golden)
        for persona in (DEBIAN, OTHER, eight):
            self.golden("D01 golden commands", persona, "redis")
            self.golden("D03 AUTH, HELLO, RESET, EXEC, QUIT", persona, "redis", "AUTH|HELLO|RESET|EXEC|QUIT")
            self.golden("D04 nothing is asked", persona, "redis", r"^\*0|^\*-1|^\* 1|^odd")
            self.golden("D05 HTTP", persona, "redis", "^GET HTTP|^POST|^Host|HTTP")
        port = self.suite.port(DEBIAN, "redis")
        self.add("D02 binary arguments come back as sent", self.binary_arguments(port))
        self.add("D06 idle connection stays open", lambda: host.idle(port, 12))
        probes = [d.steps[0].probe or b"" for d in self.suite.golden(DEBIAN, "redis") if HALF not in d.name]
        self.add("D01 side by side with redis-server", lambda: host.beside_redis(port, probes + FURTHER_COMMANDS))
        self.golden("I01 requests", DEBIAN, "git", "git upload-pack|git-upload-pack|project")
        self.golden("I02 receive-pack and upload-archive", DEBIAN, "git", "receive|archive")
        self.golden("I03 what is no request", DEBIAN, "git", "", f"{HALF}|git-upload-pack|receive|archive")

    def binary_arguments(self, port: int) -> Body:
        def body() -> None:
            name = bytes(range(0x80, 0x90)) + b"\xff\xfe"
            probe = b"*2\r\n$%d\r\n%b\r\n$2\r\n\xc3\x28\r\n" % (len(name), name)
            reply = b"-ERR unknown command '%b', with args beginning with: '\xc3\x28' \r\n" % name
            told([play(port, Dialogue("binary", [Step(probe, reply)], "open"), Manner(label="redis binary"))])

        return body

    # -- Z --

    def whole_host(self) -> None:
        for persona in (DEBIAN, OTHER):
            for service, product in PRODUCTS[persona.name].items():
                name = f"Z01 nmap names {service} of {persona.name}"
                self.last.append((name, partial(self.named, persona, service, product)))
        for canary in (*self.suite.canaries.values(), *self.fresh):
            services = ", ".join(canary.ports)
            self.add(f"Z04 listen_addr: {services}", partial(host.bound_addresses, canary))
        self.add("Z06 OpenCanary's sample configuration", lambda: host.sample_configuration(self.bin_dir))

    def named(self, persona: Persona, service: str, product: str) -> None:
        if self.scans is None:
            raise Skip("no scan")
        name, seen = self.scans.result()[f"{persona.name} {service}"]
        assert re.fullmatch(product, f"{name}: {seen}"), f"nmap says {name}: {seen}, golden {product}"


PRODUCTS: dict[str, dict[str, str]] = {
    DEBIAN.name: {
        "ftp": r"ftp: vsftpd 3\.0\.3",
        "ssh": r"ssh: OpenSSH 9\.2p1 Debian 2\+deb12u10 protocol 2\.0",
        # inetutils says nothing that nmap knows.
        "telnet": r"telnet: ",
        "http": r"http: nginx 1\.22\.1",
        "https": r"http: nginx 1\.22\.1",
        "redis": r"redis: Redis key-value store",
        "git": r"(git|unknown|): ",
    },
    OTHER.name: {
        # nmap takes the real ProFTPD at such a port for Nagios, too.
        "ftp": r"(nagios-nsca: Nagios NSCA|ftp: ProFTPD.*)",
        "ssh": r"ssh: OpenSSH 10\.0p2 Debian 7\+deb13u4 protocol 2\.0",
        "telnet": r"telnet: Cisco (router|IOS )?telnetd",
        "http": r"http: Apache httpd 2\.4\.71 \(Debian\)",
        # Over TLS it tells less of the real one, too.
        "https": r"http: Apache httpd 2\.4\.71",
        "redis": r"redis: Redis key-value store",
    },
}
"""Name and product as nmap told them of the real servers."""


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


FURTHER_COMMANDS: list[bytes] = [
    *(
        _command(name)
        for name in (b"info", b"Quit", b"reset", b"COMMAND", b"SHUTDOWN", b"MONITOR", b"SUBSCRIBE", b"WAIT")
    ),
    *(_command(name) for name in (b"", b" ", b"\0", b"PSYNC", b"SYNC", b"REPLCONF", b"FLUSHALL", b"DISCARD", b"WATCH")),
    _command(b"AUTH"),
    _command(b"AUTH", b""),
    _command(b"AUTH", b"default", b"x"),
    _command(b"AUTH", b"x" * 2000),
    _command(b"HELLO", b"2"),
    _command(b"HELLO", b"9"),
    _command(b"HELLO", b"x"),
    _command(b"HELLO", b"3", b"AUTH", b"a", b"b"),
    _command(b"HELLO", b"3", b"SETNAME", b"n"),
    _command(b"HELLO", b"2", b"AUTH", b"a"),
    _command(b"HELLO", b"3", b"FOO"),
    _command(b"CONFIG", b"SET"),
    _command(b"CONFIG", b"SET", b"dir", b"/root/.ssh"),
    _command(b"CONFIG", b"FOO"),
    _command(b"CLIENT"),
    _command(b"CLIENT", b"SETNAME", b"a b"),
    _command(b"SLAVEOF", b"NO", b"ONE"),
    _command(b"MODULE", b"LOAD", b"/tmp/x.so"),
    _command(b"EVAL", b"return 1"),
    _command(b"EVAL", b"return 1", b"0"),
    _command(b"GET", b"a", b"b"),
    _command(b"SET", b"a"),
    _command(b"FOO", b"\xff\x00\r\n\t", b"'"),
    *(
        b"EVAL 'return 1' 0\r\n",
        b"FOO \"a\\x41\" 'b'\r\n",
        b'FOO "a"b\r\n',
        b"  PING  \r\n",
        b"PING\r\n\r\nPING\r\n",
        b"\n",
    ),
    *(
        b"*2\r\n$4\r\nAUTH\r\n$99999999\r\n",
        b"*11\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$16385\r\n",
        b"*\r\n",
        b"$4\r\n",
        b"*1\r\n\r\n",
    ),
    *(
        b"POST\r\n",
        b"post / HTTP/1.0\r\n",
        b"Host:\r\n",
        b"host: x\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n",
        b"-1\r\n",
    ),
]
"""What the recordings do not hold, for the comparison with a running redis-server."""


def parallel(checks: Iterable[tuple[str, Body]]) -> list[tuple[str, Future[None]]]:
    """Starts every check; the slow ones wait for their dialogues in threads of their own."""
    pool = ThreadPoolExecutor(16)
    return [(name, pool.submit(body)) for name, body in checks]
