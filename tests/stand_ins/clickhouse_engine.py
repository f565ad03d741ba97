"""An embedded ClickHouse engine (chdb) behind a small HTTP stand-in, for tests against a current engine.

    clickhouse_engine.py FOLDER PORT

It speaks as much of the HTTP interface as the history's client uses: a statement in the URL, in the body, or begun in the
URL and carried on in the body (an INSERT with its rows); settings and a database in the URL; errors with their code. It is
no ClickHouse server: one statement at a time, no users, no compression.
"""

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

# What the URL says about the exchange itself; the rest are settings.
EXCHANGE = {"query", "database", "default_format", "user", "password", "compress", "decompress", "wait_end_of_query"}


class Engine:
    """Statements one after another, each with its own database and settings."""

    def __init__(self, folder):
        self.session = Session(folder)
        self.turn = threading.Lock()
        # Of the statement before: what stays the same need not be said again.
        self.database, self.settings = None, {}

    def run(self, statement, database, settings, form):
        with self.turn:
            self.use(database)
            self.set(settings)
            return bytes(self.session.query(statement, form).bytes() or b"")

    def use(self, database):
        if database != self.database:
            self.database = None
            self.session.query(f"USE `{database}`")
            self.database = database

    def set(self, settings):
        for name in self.settings.keys() - settings.keys():
            self.session.query(f"SET {name} = DEFAULT")
            del self.settings[name]
        for name, value in settings.items():
            if not re.fullmatch(r"\w+", name):
                raise ValueError(f"Code: 115. `{name}` is no setting")
            if self.settings.get(name) != value:
                quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                self.session.query(f"SET {name} = '{quoted}'")
                self.settings[name] = value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Answers are written whole; waiting for more to send only delays them.
    disable_nagle_algorithm = True

    def do_GET(self):
        self.answer_to(b"")

    def do_POST(self):
        self.answer_to(self.sent())

    def answer_to(self, body):
        url = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if urlsplit(self.path).path == "/ping" or not (body or url.get("query")):
            return self.reply(200, b"Ok.\n")
        begun = url.get("query", "").encode()
        statement = begun + b"\n" + body if begun else body
        settings = {name: value for name, value in url.items() if name not in EXCHANGE}
        form = url.get("default_format", "TabSeparated")
        try:
            self.reply(200, self.server.engine.run(statement, url.get("database", "default"), settings, form))
        except Exception as error:
            code = re.search(r"Code: (\d+)", str(error))
            headers = {"X-ClickHouse-Exception-Code": code[1]} if code else {}
            self.reply(500, str(error).encode(), headers)

    def sent(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def reply(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    folder, port = sys.argv[1], int(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.engine = Engine(folder)
    server.serve_forever()


main()
