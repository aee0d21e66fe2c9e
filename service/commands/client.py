"""A running server, as a command on the same or another machine asks it: the standard library's HTTP, one connection."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

#: Bytes: no honest answer comes near.
LARGEST = 64 * 1024**2

DEFAULT_URL = "http://127.0.0.1:8000"


class Unreachable(Exception):
    """No answer that a server of ours could have given: a sentence with what to do."""


class Refused(Exception):
    """The server answers, and not this caller, or not so often: a sentence with what to do."""


#: Who is answered with one of these has to ask as somebody else, or later.
REFUSALS = frozenset({401, 403, 429})


@dataclass(frozen=True, slots=True)
class Reply:
    """A response whose body was read whole; header names are lower case. ``keyed``: the request showed a key."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    keyed: bool = False

    def json(self) -> Any:
        """The body parsed, None where it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def error(self) -> str:
        """What went wrong: the server's sentence, or that of the status where it has none; who asks for a key hears of ours."""
        if self.status == 401:
            return _WRONG_KEY if self.keyed else _NO_KEY
        after = self.headers.get("retry-after", "") if self.status == 429 else ""
        return f"{self._told}; try again in {after} s" if after.isdigit() else self._told

    @property
    def _told(self) -> str:
        content = self.json()
        if isinstance(content, dict) and isinstance(content.get("error"), str):
            return str(content["error"])
        return f"the server answered {self.status} {http.client.responses.get(self.status, '')}".rstrip()


_NO_KEY = "the server asks for a key; put one into the variable TUREEN_API_KEY, or name a file that holds it with --key-file"
_WRONG_KEY = "the server does not know the key: it is another server's, has expired, or was revoked; ask for a new one"


class Client:
    """Asks the server at ``url``: scheme, host, port, and a path in front of its own where a proxy adds one.

    A connection is opened when first needed and again when the server has closed it. ``key``: shown with every request; no
    redirection is ever followed, so that nobody else sees it. Raises ValueError for what is no such URL.
    """

    def __init__(self, url: str = DEFAULT_URL, timeout_s: float = 5.0, key: str | None = None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url[:200]!r} is no URL: {error}; write it as {DEFAULT_URL}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(f"{url[:200]!r} is no server's address; write scheme, host and port, as in {DEFAULT_URL}")
        self.url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._own = {"accept": "*/*"} if key is None else {"accept": "*/*", "authorization": f"Bearer {key}"}
        self._keyed = key is not None
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def get(self, path: str) -> Reply:
        """A GET. Raises Unreachable."""
        return self._ask("GET", path, None)

    def post(self, path: str, content: object = None) -> Reply:
        """A POST of JSON, or of nothing. Raises Unreachable."""
        return self._ask("POST", path, b"" if content is None else json.dumps(content).encode())

    def patch(self, path: str, content: object) -> Reply:
        """A PATCH of JSON. Raises Unreachable."""
        return self._ask("PATCH", path, json.dumps(content).encode())

    def send(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """A POST of these bytes. Raises Unreachable."""
        return self._ask("POST", path, body, headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> Reply:
        idle = self._connection.sock is not None
        try:
            return self._once(method, path, body, headers or {})
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            # What the server closed between two requests says nothing about whether it is there; asking twice does no harm.
            if not idle:
                raise Unreachable(f"{self.url} closed the connection without an answer; its log may say why") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self._why(error)) from error
        try:
            return self._once(method, path, body, headers or {})
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self._why(error)) from error

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        try:
            self._connection.request(method, self._prefix + path, body, {**self._own, **headers})
            response = self._connection.getresponse()
            read = response.read(LARGEST + 1)
        except BaseException:
            self._connection.close()
            raise
        if len(read) > LARGEST:
            self._connection.close()
            raise http.client.HTTPException(f"more than {LARGEST} bytes")
        told = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, read, told, self._keyed)

    def _why(self, error: Exception) -> str:
        match error:
            case ConnectionRefusedError():
                return f"nothing listens at {self.url}; start a server with `tureen serve`, or name its address with --url"
            case TimeoutError():
                return f"{self.url} gave no answer within {self._timeout_s:g} s; see its log, or wait longer with --timeout"
            case socket.gaierror():
                return f"the host of {self.url} cannot be found; check --url"
            case ssl.SSLError():
                return f"{self.url} cannot be reached by TLS: {error.reason or error}; check --url's scheme, and the certificate"
            case http.client.HTTPException():
                return f"what listens at {self.url} gave no HTTP answer that can be read; check --url"
            case OSError():
                return f"{self.url} cannot be reached: {error.strerror or error}; check --url"
            case _:
                return f"{self.url} cannot be reached; check --url"
