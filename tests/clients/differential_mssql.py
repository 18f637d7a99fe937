"""SQL Server's steps, and where Aviary must not do as OpenCanary does."""

from __future__ import annotations

from typing import Any

from canary import Canary
from differential_steps import raw, step
from expected_differences import Difference
from service_mssql import login, prelogin

SERVICES = ["mssql"]
SETTINGS: dict[str, Any] = {"mssql.version": "2012"}

ARTICLE = {
    "AppName": "SQLPro for MSSQL (hankinsoft.com)",
    "CltIntName": "DB-Library",
    "Database": "test",
    "HostName": "Piroguehost",
    "Language": "us_english",
    "Password": "sa123456",
    "ServerName": "172.18.200.58:1433",
    "UserName": "sa",
}

NTLM = b"NTLMSSP\0\1\0\0\0\x07\x82\x08\xa2"

_NO_PASSWORD = "a byte is taken for a character there, so no password was ever logged; its schema names the key"

DIFFERENCES: list[Difference] = [
    Difference("mssql: PRELOGIN and login", _NO_PASSWORD, key="Password", aviary="sa123456"),
    Difference("mssql: login alone", _NO_PASSWORD, key="Password", aviary="sa123456"),
    Difference("mssql: empty password", _NO_PASSWORD, key="Password", aviary=""),
    Difference(
        "mssql: PRELOGIN and login in one segment",
        "OpenCanary reads one packet a segment and loses the login",
        adds=((9001, ARTICLE),),
    ),
    Difference(
        "mssql: garbled user name",
        _NO_PASSWORD,
        key="Password",
        aviary="sa123456",
    ),
    Difference(
        "mssql: garbled user name",
        "a name that is no UTF-16 is left out there",
        key="UserName",
        aviary="\0\\xd8B\0",
    ),
]


@step("mssql", "PRELOGIN and login")
def _(_canary: Canary, port: int) -> None:
    raw(port, prelogin(2), login("sa", "sa123456"))


@step("mssql", "login alone")
def _(_canary: Canary, port: int) -> None:
    raw(port, login("sa", "sa123456", 0x71000001))


@step("mssql", "empty password")
def _(_canary: Canary, port: int) -> None:
    raw(port, prelogin(2), login("sa", ""))


@step("mssql", "PRELOGIN and login in one segment")
def _(_canary: Canary, port: int) -> None:
    raw(port, prelogin(2) + login("sa", "sa123456"))


@step("mssql", "garbled user name")
def _(_canary: Canary, port: int) -> None:
    raw(port, prelogin(2), login("AB", "sa123456").replace(b"A\0B\0", b"\x00\xd8B\0"))


@step("mssql", "Windows login")
def _(_canary: Canary, port: int) -> None:
    raw(port, prelogin(2), login("", "", 0x74000004, NTLM))
