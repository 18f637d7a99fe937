"""ClickHouse's HTTP interface in front of its engine, as chDB carries it.

usage: fake_clickhouse.py PORT FOLDER

As much of the interface as inserts and questions need: the query in the URL or the body, settings in the
URL, users in headers, exceptions with their code. The tables are in the folder and outlive the process.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chdb import session

LOGIN = ("canary", "secret")
INSERT = re.compile(r"INSERT INTO (?P<table>\S+) \((?P<columns>[^)]*)\) FORMAT JSONEachRow$")
ENGINE = session.Session(sys.argv[2])
LOCK = threading.Lock()
TOKENS: list[str] = []
"""Tokens of inserts, as they came; asked for at `/tokens`."""
ARRIVED: list[str] = []
"""Ids of rows in the order in which they were stored; asked for at `/arrived`."""


def insert(table: str, columns: str, rows: bytes) -> None:
    """Goes through a file, so that the engine reads the rows into the table's own types."""
    described = str(ENGINE.query(f"DESCRIBE TABLE {table}", "TabSeparatedRaw"))
    types = dict(line.split("\t")[:2] for line in described.splitlines())
    names = [name.strip() for name in columns.split(",")]
    structure = ", ".join(f"`{name}` {types[name]}" for name in names).replace("'", "\\'")
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(rows)
        file.flush()
        listed = ", ".join(f"`{name}`" for name in names)
        source = f"file('{file.name}', 'JSONEachRow', '{structure}')"
        ENGINE.query(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {source}")


def answer(query: str, settings: dict[str, str], body: bytes) -> bytes:
    matched = INSERT.match(query)
    if not matched:
        return bytes(ENGINE.query(query or body.decode(), "TabSeparatedRaw").bytes())
    if settings.get("async_insert") != "0":
        raise ValueError("Code: 1. an answer would say nothing of these rows")
    TOKENS.append(settings["insert_deduplication_token"])
    for name, value in settings.items():
        if name not in ("wait_end_of_query",):
            ENGINE.query(f"SET {name} = '{value}'")
    insert(matched["table"], matched["columns"], body)
    ARRIVED.extend(json.loads(row)["id"] for row in body.splitlines())
    return b""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        url = urlsplit(self.path)
        settings = dict(parse_qsl(url.query))
        if (self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")) != LOGIN:
            self.reply(403, b"Code: 516. DB::Exception: Authentication failed", "516")
            return
        try:
            with LOCK:
                if url.path == "/tokens":
                    found = "\n".join(TOKENS).encode()
                elif url.path == "/arrived":
                    found = "\n".join(ARRIVED).encode()
                else:
                    found = answer(settings.pop("query", ""), settings, body)
        except Exception as error:
            code = re.search(r"Code: (\d+)", str(error))
            self.reply(500, str(error).encode(), code[1] if code else "1002")
        else:
            self.reply(200, found)

    def reply(self, status: int, body: bytes, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        pass  # the sender went away in the middle


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(exist_ok=True)
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
