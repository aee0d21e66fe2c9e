"""Servers of a test's own, which commands are pointed at."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answering(BaseHTTPRequestHandler):
    """Answers each path with its status and content, as it is or as JSON; 404 for any other."""

    answers: Mapping[str, tuple[int, object]]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers["content-length"] or 0))
        status, content = self.answers.get(self.path, (404, {"error": "there is nothing"}))
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], **told: object) -> Iterator[str]:
    """The address of a server that answers so, keeps connections open and writes no log; ``told``: what the handler has to know."""
    quiet = {"protocol_version": "HTTP/1.1", "log_message": lambda *_: None}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), quiet | told)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
