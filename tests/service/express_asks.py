"""Requests for the differential test: those that both protocols take alike, and those that ours refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.service.express_oracle import BODY_BYTES, HEADER_BYTES, Send

INFER, PREDICT = "/v2/models/double/infer", "/v1/models/double:predict"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. ``refused``: the status that ours refuses it with, before an app hears of it; then nothing more is read."""

    data: bytes
    method: str = "POST"
    refused: int | None = None

    def __repr__(self) -> str:
        return repr(Send(self.data)).replace("Send", f"Ask {self.refused or ''}", 1)


def ask(line: str, body: bytes = b"", *headers: str, version: str = "1.1", host: str = "Host: tureen", sized: bool = True) -> Ask:
    """A request of that method and path."""
    length = [f"Content-Length: {len(body)}"] if sized and (body or line.startswith("POST")) else []
    head = "\r\n".join([f"{line} HTTP/{version}", *([host] if host else []), *length, *headers, "", ""])
    return Ask(head.encode("latin-1") + body, line.split()[0])


def refused(status: int, asked: Ask) -> Ask:
    """The same as one that ours refuses."""
    return Ask(asked.data, asked.method, status)


def chunks(*parts: bytes, trailer: bytes = b"") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b"")[: len(parts)]) + b"0\r\n" + trailer + b"\r\n"


def rows(*values: float) -> bytes:
    """A small JSON body."""
    return json.dumps({"inputs": [{"name": "x", "shape": [len(values)], "datatype": "FP64", "data": values}]}).encode()


def binary(count: int, *headers: str) -> Ask:
    """An inference with a binary tensor."""
    tensor = {"name": "x", "shape": [count], "datatype": "FP64", "parameters": {"binary_data_size": 8 * count}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = head + np.arange(count, dtype=np.float64).tobytes()
    return ask(f"POST {INFER}", body, f"Inference-Header-Content-Length: {len(head)}", *headers)


#: Inferences whose heads ours may know from before.
PLAIN: Final = (
    ask(f"POST {INFER}", rows(1, 2)),
    ask(f"POST {INFER}", rows(3, 4)),  # the same head
    ask(f"POST {INFER}", rows(5), "Content-Type: application/json", "User-Agent: a-spoon"),
    ask(f"POST {PREDICT}", b'{"instances":[7,8]}', "Accept-Encoding: gzip"),
    ask(f"POST {INFER}", rows(-1)),
    ask(f"POST {INFER}", b"[]"),
    ask("POST /v2/models/nobody/infer", rows(1)),
    binary(3),
)
CHUNKED = "Transfer-Encoding: chunked"
LIKE: Final = (
    *PLAIN,
    ask(f"POST {INFER}", b""),
    ask(f"POST {INFER}", rows(1), "X-Request-Id: a-bowl-7"),
    ask(f"POST {INFER}", rows(1), "Connection: close"),
    ask(f"POST {INFER}", rows(1), "Connection: keep-alive"),
    ask(f"POST {INFER}", rows(1), version="1.0"),
    ask(f"POST {INFER}", rows(1), "Connection: keep-alive", version="1.0"),
    ask(f"POST {INFER}", rows(1), "Origin: https://shop.example"),
    ask(f"POST {INFER}", rows(1), "Expect: 100-continue"),
    ask(f"POST {INFER}", chunks(rows(1)), "Expect: 100-continue", CHUNKED, sized=False),
    ask(f"POST {INFER}", chunks(rows(1)), CHUNKED, sized=False),
    ask(f"POST {INFER}", chunks(rows(1)[:9], rows(1)[9:], trailer=b"X-Spoon: 1\r\n"), CHUNKED, sized=False),
    ask(f"POST {INFER}", chunks(b"x" * BODY_BYTES, b"y"), CHUNKED, sized=False),
    ask(f"POST {INFER}?verbose=1", rows(2)),
    ask("POST /v2/models/dou%62le/infer", rows(2)),
    ask(f"POST {INFER}", rows(1), "Content-Type: text/html"),
    binary(9000),  # larger than what a protocol buffers
    binary(8100),
    ask(f"POST {INFER}", b" " * (BODY_BYTES + 1)),
    ask(f"POST {INFER}", b" " * (BODY_BYTES + 1), "Expect: 100-continue"),
    ask("POST /v2/models/double", b" " * 70_000),
    ask("GET /v2/health/live"),
    ask("GET /v2/health/ready"),
    ask("GET /v2/models/double"),
    ask("GET /v2/models/double", b"{}"),
    ask("GET /v2", b"", "Connection: close"),
    ask("GET /v2", version="1.0"),
    ask("GET /nowhere"),
    ask("HEAD /v2"),
    ask("HEAD /v2/health/live"),
    ask(f"HEAD {INFER}"),
    ask(f"GET {INFER}"),
    ask("OPTIONS /v2"),
    ask("DELETE /v2/models/double"),
    Ask(b"\r\n" + ask("GET /v2").data, "GET"),
)

#: What is refused before anything reads it, by RFC 9112 read strictly (docs/security.md): two servers could take it for different
#: requests, or it is over a limit of ours that uvicorn has not. uvicorn takes most of it, and says to the rest what is no JSON.
REFUSED: Final = {
    "no HTTP": refused(400, Ask(b"\x16\x03\x01 what?\r\n\r\n", "GET")),
    "no Host": refused(400, ask(f"POST {INFER}", rows(1), host="")),
    "two Hosts": refused(400, ask(f"POST {INFER}", rows(1), "Host: other")),
    "two lengths": refused(400, ask(f"POST {INFER}", rows(1), f"Content-Length: {len(rows(1))}")),
    "a length and chunks": refused(400, ask(f"POST {INFER}", chunks(rows(1)), CHUNKED)),
    "a length that is none": refused(400, ask(f"POST {INFER}", b"", "Content-Length: 0x1", sized=False)),
    "a coding that is none": refused(400, ask(f"POST {INFER}", b"", "Transfer-Encoding: identity", sized=False)),
    "a coding that we have not": refused(
        501, ask(f"POST {INFER}", chunks(rows(1)), "Transfer-Encoding: gzip, chunked", sized=False)
    ),
    "chunks in HTTP/1.0": refused(400, ask(f"POST {INFER}", chunks(rows(1)), CHUNKED, version="1.0", sized=False)),
    "a chunk with a sign": refused(400, ask(f"POST {INFER}", b"+1\r\n{\r\n0\r\n\r\n", CHUNKED, sized=False)),
    "a bare line feed": refused(400, Ask(ask("GET /v2").data.replace(b"\r\n", b"\n", 1), "GET")),
    "two empty lines": refused(400, Ask(b"\r\n\r\n" + ask("GET /v2").data, "GET")),
    "HTTP/2": refused(400, ask("GET /v2", version="2.0")),
    "a method in small letters": refused(400, Ask(b"get /v2 HTTP/1.1\r\nHost: tureen\r\n\r\n", "GET")),
    "a long head": refused(431, ask("GET /v2", b"", f"X-Soup: {'o' * HEADER_BYTES}")),
    "many headers": refused(431, ask("GET /v2", b"", *["A: b"] * 101)),
}
