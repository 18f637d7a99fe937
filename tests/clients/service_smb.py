"""SMB by real clients: smbclient and rpcclient, impacket, nmap and hydra; and what breaks the protocol."""

from __future__ import annotations

import hashlib
import hmac
import socket
import struct
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from Cryptodome.Cipher import DES
from Cryptodome.Hash import MD4
from impacket import ntlm, smb, smb3structs
from impacket.dcerpc.v5 import epm, lsad, lsat, samr, scmr, srvs, transport, wkst
from impacket.smbconnection import SessionError, SMBConnection

from canary import LOOPBACK, Canary, Event, connect, read_quiet
from check_list import Checks
from client_programs import SCRATCH, run

SERVICES = ("smb",)
PLANTED = {"username": "svc_backup", "password": "Tape-2026!"}
SETTINGS: dict[str, Any] = {
    "smb.share": "Finance",
    "smb.files": ["Budget.xlsx", "IT/Passwords.kdbx", "IT/VPN access.docx", {"name": "notes.txt", "size": 700}],
    "smb.honeycreds": [PLANTED],
}
CHECKS = Checks()
check = CHECKS.add

KEYS = "AUDITACTION DOMAIN FILENAME LOCALNAME REMOTENAME SHARENAME SMBARCH SMBVER STATUS USER".split()
NEGOTIATE, LOGIN, TREE, BIND, CALL, UPLOAD, CHANGE, VIOLATION = range(31100, 31108)


def smbclient(canary: Canary, *arguments: str, share: str = "Finance", user: str = "alice%wonderland") -> str:
    target = (f"//{LOOPBACK}/{share}",) if share else ()
    return run("smbclient", *target, "-p", str(canary.ports["smb"]), "-U", user, *arguments)


def told(canary: Canary, mark: int, logtype: int, **wanted: Any) -> Event:
    """The first event of that type whose log data have these values."""

    def fits(event: Event) -> bool:
        data = event["logdata"]
        return event["logtype"] == logtype and all(data.get(key) == value for key, value in wanted.items())

    event = canary.wait_for(fits, mark)
    assert event, f"no {logtype} with {wanted}, but {[e for e in canary.events(mark) if e['logtype'] == logtype]}"
    return event


def files(canary: Canary, mark: int) -> list[tuple[str, str, str]]:
    """Action, file and status of OpenCanary's events."""
    found = [event["logdata"] for event in canary.settle(mark) if event["logtype"] == 5000]
    return [(data["AUDITACTION"], data["FILENAME"], data["STATUS"]) for data in found]


# -- cracking back, without any code of ours -------------------------------------------------------


def nt_hash(password: str) -> bytes:
    return MD4.new(password.encode("utf-16le")).digest()


def cracked(line: str, password: str) -> bool:
    """Whether that password makes the line: hashcat's modes 5600 and 5500."""
    user, _, domain, *fields = line.split(":")
    if len(fields) == 3 and len(fields[0]) == 16:
        challenge, proof, blob = (bytes.fromhex(field) for field in fields)
        identity = (user.upper() + domain).encode("utf-16le")
        key = hmac.new(nt_hash(password), identity, hashlib.md5).digest()
        return hmac.new(key, challenge + blob, hashlib.md5).digest() == proof
    lm, nt, challenge = (bytes.fromhex(field) for field in fields)
    if lm.endswith(bytes(16)) and any(lm):
        challenge = hashlib.md5(challenge + lm[:8]).digest()[:8]
    key = nt_hash(password) + bytes(5)

    def des(seven: bytes) -> bytes:
        bits = int.from_bytes(seven, "big")
        eight = bytes(((bits >> (49 - 7 * n)) & 0x7F) << 1 for n in range(8))
        return DES.new(eight, DES.MODE_ECB).encrypt(challenge)

    return b"".join(des(key[at : at + 7]) for at in (0, 7, 14)) == nt


# -- smbclient ------------------------------------------------------------------------------------


@check("smb: smbclient lists the shares, and its login is cracked back")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = smbclient(canary, "-L", LOOPBACK, share="", user="CORP/alice%correct horse")
    for share in ("ADMIN$", "C$", "Finance", "IPC$"):
        assert share in output, output
    login = told(canary, mark, LOGIN, USERNAME="alice", DOMAIN="CORP", HASHCAT_MODE=5600, RESULT="guest")
    assert cracked(login["logdata"]["HASHCAT"], "correct horse"), login
    assert not cracked(login["logdata"]["HASHCAT"], "wrong horse")
    assert "PASSWORD" not in login["logdata"]
    assert told(canary, mark, NEGOTIATE)["logdata"]["CHOSEN"] == "3.1.1"
    told(canary, mark, CALL, INTERFACE="srvsvc", OPNUM=15, OPERATION="NetrShareEnum")


@check("smb: a common password stands in the event")
def _(canary: Canary) -> None:
    mark = canary.mark()
    smbclient(canary, "-c", "ls", user="bob%Summer2026!")
    assert told(canary, mark, LOGIN, USERNAME="bob")["logdata"]["PASSWORD"] == "Summer2026!"


for level, version in (
    ("SMB2_02", "SMB2_02"),
    ("SMB2_10", "SMB2_10"),
    ("SMB3_00", "SMB3_00"),
    ("SMB3_02", "SMB3_02"),
    ("SMB3_11", "SMB3_11"),
):

    @check(f"smb: smbclient browses and reads with {level}")
    def _(canary: Canary, level: str = level, version: str = version) -> None:
        mark = canary.mark()
        output = smbclient(canary, "-m", level, "-c", "ls; cd IT; ls; get Passwords.kdbx; volume; allinfo Passwords.kdbx")
        assert "Budget.xlsx" in output and "VPN access.docx" in output, output
        assert (SCRATCH / "Passwords.kdbx").read_bytes().startswith(bytes.fromhex("03d9a29a67fb4bb5"))
        seen = told(canary, mark, 5000, AUDITACTION="pread", FILENAME="IT/Passwords.kdbx")
        data = seen["logdata"]
        assert sorted(data) == KEYS, data
        assert data["SMBVER"] == version and data["USER"] == "alice" and data["SHARENAME"] == "Finance"
        assert data["STATUS"] == "ok" and data["SMBARCH"] == "Samba"
        assert isinstance(seen["src_port"], int) and seen["src_port"] > 0 and seen["src_host"] == LOOPBACK
        assert ("openat", ".", "ok") in files(canary, mark) and ("fdopendir", "IT", "ok") in files(canary, mark)


@check("smb: every file reads the same each time, and recursion finds all")
def _(canary: Canary) -> None:
    sums = []
    for _ in range(2):
        output = smbclient(canary, "-c", "recurse; prompt; mget *")
        assert "Passwords.kdbx" in output, output
        found = sorted(path for path in SCRATCH.rglob("*") if path.name in ("Budget.xlsx", "notes.txt", "VPN access.docx"))
        assert len(found) == 3, found
        sums.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in found])
    assert sums[0] == sums[1]
    assert (SCRATCH / "Budget.xlsx").read_bytes().startswith(b"PK\x03\x04")


@check("smb: smbclient without a name is told as anonymous")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = smbclient(canary, "-N", "-c", "ls", user="%")
    assert "Budget.xlsx" in output, output
    told(canary, mark, LOGIN, RESULT="anonymous", USERNAME="")
    told(canary, mark, 5000, USER="anonymous")


@check("smb: uploads go to quarantine, with their digest")
def _(canary: Canary) -> None:
    for size in (5, 70_000, 3_000_000):
        mark = canary.mark()
        content = bytes(n * 7 % 251 for n in range(1000)) * (size // 1000 + 1)
        content = content[:size]
        (SCRATCH / "tool.exe").write_bytes(content)
        output = smbclient(canary, "-c", "put tool.exe; ls tool.exe")
        assert "putting file tool.exe" in output and str(size) in output, output
        data = told(canary, mark, UPLOAD, FILENAME="tool.exe")["logdata"]
        assert data["SIZE"] == size, data
        assert data["SHA256"] == hashlib.sha256(content).hexdigest(), data
        kept = list((canary.directory / "state" / "quarantine").glob(f"*{data['QUARANTINE']}"))
        assert any(path.read_bytes() == content for path in kept), (kept, data)
        assert ("pwrite", "tool.exe", "ok") in files(canary, mark)


@check("smb: renames, folders and deletions seem to work, and the next connection sees none")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = smbclient(canary, "-c", "rename Budget.xlsx Old.xlsx; mkdir new; ls; del Old.xlsx; rmdir new; ls")
    assert "NT_STATUS" not in output, output
    first, second = output.split("blocks available")[:2]
    assert "Old.xlsx" in first and "new" in first and "Old.xlsx" not in second and "new" not in second, output
    told(canary, mark, CHANGE, ACTION="rename", FILENAME="Budget.xlsx", NEW_NAME="Old.xlsx")
    told(canary, mark, CHANGE, ACTION="delete", FILENAME="Old.xlsx")
    done = files(canary, mark)
    assert ("renameat", "Budget.xlsx", "ok") in done and ("mkdirat", "new", "ok") in done, done
    assert ("unlinkat", "Old.xlsx", "ok") in done, done
    assert "Budget.xlsx" in smbclient(canary, "-c", "ls")


@check("smb: shares and files that are not there are told")
def _(canary: Canary) -> None:
    mark = canary.mark()
    assert "NT_STATUS_BAD_NETWORK_NAME" in smbclient(canary, "-c", "ls", share="Backup")
    assert "NT_STATUS_ACCESS_DENIED" in smbclient(canary, "-c", "ls", share="C$")
    assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in smbclient(canary, "-c", "get secrets.txt")
    told(canary, mark, TREE, PATH=f"\\\\{LOOPBACK}\\Backup", STATUS="no such share")
    told(canary, mark, TREE, PATH=f"\\\\{LOOPBACK}\\C$", STATUS="access denied")
    told(canary, mark, 5000, FILENAME="secrets.txt", STATUS="fail (No such file or directory)")


@check("smb: a guest who demands signatures or encryption is refused by his own client, and told")
def _(canary: Canary) -> None:
    for protection in ("sign", "encrypt"):
        mark = canary.mark()
        assert "NT_STATUS" in smbclient(canary, f"--client-protection={protection}", "-c", "ls")
        login = told(canary, mark, LOGIN, USERNAME="alice")["logdata"]
        assert cracked(login["HASHCAT"], "wonderland")


for level in ("SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"):

    @check(f"smb: a planted login is accepted and signed with {level}")
    def _(canary: Canary, level: str = level) -> None:
        mark = canary.mark()
        user = f"CORP/{PLANTED['username']}%{PLANTED['password']}"
        output = smbclient(canary, "-m", level, "--client-protection=sign", "-c", "ls", user=user)
        assert "Budget.xlsx" in output and "NT_STATUS" not in output, output
        login = told(canary, mark, LOGIN, USERNAME="svc_backup", RESULT="accepted")
        assert login["honeycred"] is True and login["logdata"]["PASSWORD"] == PLANTED["password"], login


for level in ("SMB3_00", "SMB3_02", "SMB3_11"):

    @check(f"smb: a planted login encrypts with {level}")
    def _(canary: Canary, level: str = level) -> None:
        mark = canary.mark()
        (SCRATCH / "sealed.bin").write_bytes(b"sealed" * 50_000)
        user = f"CORP/{PLANTED['username']}%{PLANTED['password']}"
        asked = "ls; get notes.txt; put sealed.bin"
        output = smbclient(canary, "-m", level, "--client-protection=encrypt", "-c", asked, user=user)
        assert "Budget.xlsx" in output and "NT_STATUS" not in output, output
        data = told(canary, mark, UPLOAD, FILENAME="sealed.bin", SIZE=300_000)["logdata"]
        assert data["SHA256"] == hashlib.sha256(b"sealed" * 50_000).hexdigest()


@check("smb: rpcclient asks the server what it is, and is denied the rest")
def _(canary: Canary) -> None:
    mark = canary.mark()
    user = f"{PLANTED['username']}%{PLANTED['password']}"
    commands = "srvinfo;netshareenumall 1;wkssvc_wkstagetinfo;lsaquery;enumdomusers;netremotetod"
    output = run("rpcclient", LOOPBACK, "-p", str(canary.ports["smb"]), "-U", user, "-c", commands)
    assert "platform_id     :\t500" in output and "netname: Finance" in output, output
    assert "NT_STATUS_ACCESS_DENIED" in output, output
    told(canary, mark, CALL, INTERFACE="srvsvc", OPNUM=21, STATUS="answered")
    told(canary, mark, CALL, INTERFACE="lsarpc", OPNUM=6, STATUS="access denied")
    told(canary, mark, CALL, INTERFACE="samr", STATUS="access denied")


# -- impacket -------------------------------------------------------------------------------------


def impacket(canary: Canary, dialect: int | None = None, user: str = "eve", password: str = "tr0ub4dor") -> SMBConnection:
    connection = SMBConnection(LOOPBACK, LOOPBACK, sess_port=canary.ports["smb"], preferredDialect=dialect)
    connection.login(user, password, "CORP")
    return connection


for dialect in (0x0202, 0x0210, 0x0300, 0x0311):

    @check(f"smb: impacket lists, gets and puts with {dialect:#06x}")
    def _(canary: Canary, dialect: int = dialect) -> None:
        mark = canary.mark()
        connection = impacket(canary, dialect)
        assert connection.getDialect() == dialect and connection.isGuestSession()
        shares = [share["shi1_netname"][:-1] for share in connection.listShares()]
        assert shares == ["ADMIN$", "C$", "Finance", "IPC$"], shares
        names = {entry.get_longname(): entry.get_filesize() for entry in connection.listPath("Finance", "*")}
        assert set(names) == {".", "..", "Budget.xlsx", "IT", "notes.txt"}, names
        got = BytesIO()
        connection.getFile("Finance", "Budget.xlsx", got.write)
        assert len(got.getvalue()) == names["Budget.xlsx"] and got.getvalue().startswith(b"PK")
        connection.putFile("Finance", "up.bin", BytesIO(b"x" * 20_000).read)
        connection.deleteFile("Finance", "up.bin")
        connection.createDirectory("Finance", "loot")
        connection.deleteDirectory("Finance", "loot")
        connection.logoff()
        login = told(canary, mark, LOGIN, USERNAME="eve", WORKSTATION="")["logdata"]
        assert cracked(login["HASHCAT"], "tr0ub4dor")
        told(canary, mark, UPLOAD, FILENAME="up.bin", SIZE=20_000)


@check("smb: impacket's planted login with every dialect")
def _(canary: Canary) -> None:
    for dialect in (0x0202, 0x0210, 0x0300, 0x0311):
        connection = impacket(canary, dialect, PLANTED["username"], PLANTED["password"])
        assert not connection.isGuestSession()
        assert len(connection.listShares()) == 4 and len(connection.listPath("Finance", "*")) == 5
        connection.logoff()


def on_pipe(canary: Canary, pipe: str, uuid: Any, ask: Callable[[Any], Any]) -> str:
    """What a call comes to: its answer, or the error as text."""
    over = transport.SMBTransport(LOOPBACK, canary.ports["smb"], pipe, smb_connection=impacket(canary))
    rpc = over.get_dce_rpc()
    try:
        rpc.connect()
        rpc.bind(uuid)
        return str(ask(rpc))
    except Exception as error:
        return f"error: {error}"


@check("smb: impacket's calls over pipes: psexec, lookupsid, samrdump, rpcdump, sessions")
def _(canary: Canary) -> None:
    mark = canary.mark()
    name = on_pipe(canary, r"\wkssvc", wkst.MSRPC_UUID_WKST, lambda rpc: wkst.hNetrWkstaGetInfo(rpc, 100)["WkstaInfo"]["WkstaInfo100"]["wki100_computername"])
    assert name == socket.gethostname().split(".")[0][:15].upper() + "\0", name
    year = on_pipe(canary, r"\srvsvc", srvs.MSRPC_UUID_SRVS, lambda rpc: srvs.hNetrRemoteTOD(rpc)["BufferPtr"]["tod_year"])
    assert year == str(time.gmtime().tm_year), year
    version = on_pipe(canary, r"\srvsvc", srvs.MSRPC_UUID_SRVS, lambda rpc: srvs.hNetrServerGetInfo(rpc, 101)["InfoStruct"]["ServerInfo101"]["sv101_version_major"])
    assert version == "10", version
    for pipe, uuid, ask, word, wanted in (
        (r"\svcctl", scmr.MSRPC_UUID_SCMR, scmr.hROpenSCManagerW, "denied", ("svcctl", 15, "ROpenSCManagerW")),
        (r"\samr", samr.MSRPC_UUID_SAMR, samr.hSamrConnect, "DENIED", ("samr", 0, "SamrConnect")),
        (r"\lsarpc", lsat.MSRPC_UUID_LSAT, lsad.hLsarOpenPolicy2, "DENIED", ("lsarpc", 44, "LsarOpenPolicy2")),
        (r"\epmapper", epm.MSRPC_UUID_PORTMAP, lambda rpc: epm.hept_lookup(None, dce=rpc), "denied", ("epmapper", 2, "ept_lookup")),
        (r"\srvsvc", srvs.MSRPC_UUID_SRVS, lambda rpc: srvs.hNetrSessionEnum(rpc, "\0", "\0", 10), "denied", ("srvsvc", 12, "NetrSessionEnum")),
    ):
        said = on_pipe(canary, pipe, uuid, ask)
        assert word in said, said
        interface, number, operation = wanted
        told(canary, mark, CALL, INTERFACE=interface, OPNUM=number, OPERATION=operation)
    assert "abstract_syntax_not_supported" in on_pipe(canary, r"\lsarpc", scmr.MSRPC_UUID_SCMR, str)
    told(canary, mark, BIND, PIPE="lsarpc", INTERFACE="svcctl", STATUS="no such interface")
    assert "NOT_FOUND" in on_pipe(canary, r"\RemCom_communicaton", scmr.MSRPC_UUID_SCMR, str)
    told(canary, mark, BIND, PIPE="RemCom_communicaton", STATUS="no such pipe")


@check("smb: a login inside a pipe's bind is cracked back")
def _(canary: Canary) -> None:
    mark = canary.mark()
    over = transport.SMBTransport(LOOPBACK, canary.ports["smb"], r"\lsarpc", smb_connection=impacket(canary))
    over.set_credentials("mallory", "in the middle", "CORP")
    rpc = over.get_dce_rpc()
    rpc.set_auth_level(6)
    rpc.connect()
    try:
        rpc.bind(lsat.MSRPC_UUID_LSAT)
        lsad.hLsarOpenPolicy2(rpc)
    except Exception as error:
        assert "denied" in str(error) or "unpack" in str(error), error
    login = told(canary, mark, LOGIN, USERNAME="mallory")["logdata"]
    assert cracked(login["HASHCAT"], "in the middle"), login


# -- scanners and brute forcers ---------------------------------------------------------------------


def nmap(canary: Canary, *arguments: str) -> str:
    port = str(canary.ports["smb"])
    return run("nmap", "-Pn", "-n", "-p", port, *arguments, "--script-args", f"smbport={port}", LOOPBACK, timeout=120)


@check("smb: nmap's scripts take it for a Windows without SMB1")
def _(canary: Canary) -> None:
    output = nmap(canary, "--script", "smb2-security-mode,smb-protocols,smb2-time,smb2-capabilities,smb-os-discovery")
    assert "Message signing enabled but not required" in output, output
    assert "start_date: N/A" in output and time.strftime("%Y-%m-%d", time.gmtime()) in output, output
    dialects = output.split("smb-protocols:")[1]
    assert all(f"{dialect}" in dialects for dialect in (202, 210, 300, 302, 311)) and "SMBv1" not in dialects, output
    assert "Multi-credit operations" in output, output


def other(canary: Canary, settings: dict[str, Any]) -> Canary:
    """A canary with other settings."""
    return Canary(canary.bin_dir, SETTINGS | settings, services=SERVICES)


@check("smb: nmap names Windows with SMB1, and its probe for MS17-010 is told")
def _(canary: Canary) -> None:
    with other(canary, {"smb.smb1": True, "smb.server": "windows", "smb.version": "10.0.17763"}) as old:
        mark = old.mark()
        output = nmap(old, "-sV", "--script", "smb-os-discovery,smb-security-mode,smb-enum-shares,smb-vuln-ms17-010")
        assert "Microsoft Windows Server 2008 R2 - 2012 microsoft-ds" in output and "WORKGROUP" in output, output
        assert "VULNERABLE" not in output, output
        told(old, mark, VIOLATION, REASON="a probe for MS17-010")


@check("smb: nmap names Samba as Samba")
def _(canary: Canary) -> None:
    with other(canary, {"smb.server": "samba"}) as samba:
        output = nmap(samba, "-sV")
        assert "Samba smbd" in output, output
        output = smbclient(samba, "-L", LOOPBACK, share="")
        assert "IPC Service" in output and "Samba 4.17.12-Debian" in output and "ADMIN$" not in output, output


@check("smb: hydra guesses over SMB1, and its answer is cracked back")
def _(canary: Canary) -> None:
    with other(canary, {"smb.smb1": True, "smb.guest": False}) as old:
        mark = old.mark()
        output = run("hydra", "-l", "admin", "-p", "hunter22", "-s", str(old.ports["smb"]), LOOPBACK, "smb")
        assert "0 valid password" in output, output
        login = told(old, mark, LOGIN, USERNAME="admin", HASHCAT_MODE=5500, RESULT="refused")["logdata"]
        assert cracked(login["HASHCAT"], "hunter22"), login


@check("smb: SMB1 of smbclient and impacket leaves lines that are cracked back")
def _(canary: Canary) -> None:
    with other(canary, {"smb.smb1": True, "smb.guest": False}) as old:
        mark = old.mark()
        nt1 = ("-m", "NT1", "--option=client min protocol=NT1")
        assert "NT_STATUS_LOGON_FAILURE" in smbclient(old, *nt1, "-c", "ls", user="old%timer")
        login = told(old, mark, LOGIN, USERNAME="old")["logdata"]
        assert cracked(login["HASHCAT"], "timer") and login["NATIVE_OS"], login
        connection = SMBConnection(LOOPBACK, LOOPBACK, sess_port=old.ports["smb"], preferredDialect=smb.SMB_DIALECT)
        assert "Windows" in connection.getServerOS() or connection.getServerOS() == "", connection.getServerOS()
        try:
            connection.login("older", "timer2", "CORP")
        except SessionError as error:
            assert "LOGON_FAILURE" in str(error), error
        assert cracked(told(old, mark, LOGIN, USERNAME="older")["logdata"]["HASHCAT"], "timer2")


@check("smb: without guests every login fails and is told")
def _(canary: Canary) -> None:
    with other(canary, {"smb.guest": False}) as strict:
        mark = strict.mark()
        assert "NT_STATUS_LOGON_FAILURE" in smbclient(strict, "-c", "ls")
        assert cracked(told(strict, mark, LOGIN, RESULT="refused")["logdata"]["HASHCAT"], "wonderland")
        output = smbclient(strict, "-N", "-L", LOOPBACK, share="", user="%")
        assert "Finance" not in output, output
        told(strict, mark, BIND, PIPE="srvsvc", STATUS="access denied")


def half_ascii(name: str) -> str:
    """A NetBIOS name of 16 bytes, two letters for each."""
    return "".join(chr(65 + (byte >> 4)) + chr(65 + (byte & 15)) for byte in f"{name:<15}\0".encode())


def negotiation() -> bytes:
    """A frame that offers 2.1."""
    packet, body = smb3structs.SMB2Packet(), smb3structs.SMB2Negotiate()
    body["Dialects"] = [0x0210]
    body["DialectCount"] = 1
    body["SecurityMode"] = 1
    packet["Command"] = 0
    packet["CreditRequestResponse"] = 1
    packet["Data"] = body
    data: bytes = packet.getData()
    return struct.pack(">I", len(data)) + data


@check("smb: the operator's own folder is the share, behind the NetBIOS port too")
def _(canary: Canary) -> None:
    folder = SCRATCH / "own"
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    (folder / "sub" / "plan.txt").write_text("the plan")
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    settings = {"smb.files": [{"path": str(folder)}], "smb.share": "Plans", "smb.netbios_port": port}
    with other(canary, settings) as own:
        output = smbclient(own, "-c", "cd sub; get plan.txt", share="Plans")
        assert (SCRATCH / "plan.txt").read_text() == "the plan", output
        mark = own.mark()
        called, calling = (b" " + name.encode() + b"\0" for name in (half_ascii("*SMBSERVER"), half_ascii("PC17")))
        with connect(port) as peer:
            peer.sendall(b"\x81\0\0\x44" + called + calling)
            assert read_quiet(peer, 0.2) == b"\x82\0\0\0"
            peer.sendall(negotiation())
            assert read_quiet(peer, 0.3)[4:8] == b"\xfeSMB"
        told(own, mark, NEGOTIATE, NETBIOS_CALLED="*SMBSERVER", NETBIOS_CALLING="PC17")
        connection = SMBConnection(LOOPBACK, LOOPBACK, sess_port=port)
        connection.login("eve", "x")
        assert connection.isGuestSession()


# -- what breaks the protocol ---------------------------------------------------------------------


@check("smb: garbage, halves and lengths that lie are survived and told")
def _(canary: Canary) -> None:
    inputs = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(600),
        b"\xff" * 600,
        b"\0\xff\xff\xff\xfeSMB" + bytes(200),
        b"\0\0\0\x40\xfdSMB" + bytes(60),
        b"\0\0\0\x40\xfeSMB" + bytes(60),
        b"\0\0\x10\0\xffSMBr" + b"A" * 4091,
        b"\0\0\0\x44\xfeSMB\x40\0" + bytes(62),
    ]
    for data in inputs:
        mark = canary.mark()
        with connect(canary.ports["smb"]) as peer:
            peer.sendall(data)
            read_quiet(peer, 0.1)
        assert canary.wait_for(lambda event: event["logtype"] in (VIOLATION, NEGOTIATE), mark), data
    assert "Budget.xlsx" in smbclient(canary, "-c", "ls")


@check("smb: a negotiation byte by byte, and two requests in one segment")
def _(canary: Canary) -> None:
    frame = negotiation()
    with connect(canary.ports["smb"]) as peer:
        for byte in frame:
            peer.sendall(bytes([byte]))
        one = read_quiet(peer, 0.3)
    assert one[4:8] == b"\xfeSMB", one
    token = ntlm.getNTLMSSPType1("", "").getData()
    setup = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ16s", 64, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0, b"")
    setup += struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, len(token), 0) + token
    with connect(canary.ports["smb"]) as peer:
        peer.sendall(frame + struct.pack(">I", len(setup)) + setup)
        both = read_quiet(peer, 0.3)
    assert both[: len(one)][4:8] == b"\xfeSMB" and b"NTLMSSP\0\x02" in both, both


@check("smb: two connections get two challenges")
def _(canary: Canary) -> None:
    mark = canary.mark()
    for _ in range(2):
        smbclient(canary, "-c", "ls", user="twice%same")
    logins = [event["logdata"]["HASHCAT"] for event in canary.settle(mark) if event["logtype"] == LOGIN]
    assert len({line.split(":")[3] for line in logins}) == 2, logins

