"""Credentials that must open nothing, and bodies that must cost little."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import random
import string
import time
from collections.abc import Iterator

import jwt

from loadtests.hostile.server import Attacked
from service.guard.credentials.key import ID_LENGTH, PREFIX, SECRET_LENGTH

_SYMBOLS = string.ascii_letters + string.digits
_ID_SYMBOLS = string.ascii_lowercase + "234567"


def keys(seed: int) -> Iterator[str]:
    """API keys that nobody was given, without end; every other has the form of the customer's."""
    chance = random.Random(seed)
    while True:
        yield f"{PREFIX}_{''.join(chance.choices(_ID_SYMBOLS, k=ID_LENGTH))}_{''.join(chance.choices(_SYMBOLS, k=SECRET_LENGTH))}"
        yield "".join(chance.choices(_SYMBOLS, k=chance.randrange(1, 64)))


def tokens(server: Attacked) -> list[str]:
    """JWTs that are wrong in one way each, and one that is empty."""
    now = int(time.time())
    claims = {"iss": "https://id.example", "aud": "tureen", "sub": "mallory", "scope": "infer admin", "exp": now + 3600}
    private = server.private

    def signed(payload: dict[str, object], headers: dict[str, object] | None = None, algorithm: str = "RS256") -> str:
        return jwt.encode(payload, private, algorithm, headers)

    def by_hand(header: dict[str, object], signature: bytes | None) -> str:
        parts = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        made = hmac.new(server.public_pem, parts.encode(), hashlib.sha256).digest() if signature is None else signature
        return f"{parts}.{_base64(made)}"

    good = signed(claims)
    return [
        by_hand({"alg": "none", "typ": "JWT"}, b""),
        by_hand({"alg": "None"}, b""),
        by_hand({"alg": "HS256", "typ": "JWT"}, None),
        by_hand({"alg": ["RS256", "HS256"]}, None),
        signed(claims, {"crit": ["exp"]}),
        signed(claims, {"kid": "../../../../dev/null"}) + "x",
        by_hand({"alg": "HS256", "kid": "../../../../dev/null"}, hmac.new(b"", b"", hashlib.sha256).digest()),
        by_hand({"alg": "RS256", "jku": "http://127.0.0.1:1/keys.json"}, b"signed"),
        signed(claims, algorithm="PS256"),
        signed({**claims, "exp": now - 3600}),
        signed({**claims, "aud": "elsewhere"}),
        signed({**claims, "iss": "https://evil.example"}),
        signed({name: value for name, value in claims.items() if name != "exp"}),
        signed({name: value for name, value in claims.items() if name != "aud"}),
        signed({**claims, "nbf": now + 3600}),
        good[:-4],
        good[:-8] + "AAAAAAAA",
        f"{good}.{good}",
        "." * 2,
        "A" * 7000,
    ]


def bomb(megabytes: int) -> bytes:
    """A gzip body that inflates a thousandfold."""
    return gzip.compress(b'{"inputs": [' + b" " * (megabytes << 20), 9)


def nested(levels: int) -> bytes:
    """JSON that is nested that deep."""
    return b'{"inputs": ' + b"[" * levels + b"]" * levels + b"}"


def malformed() -> list[bytes]:
    """Bytes that are no request, or are two at once for somebody else."""
    infer = b"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: a\r\n"
    return [
        b"\x00\xff" * 300,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        infer + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
        infer + b"Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
        infer + b"Content-Length: -1\r\n\r\n",
        infer + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        infer + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000,
        infer + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        infer + b"".join(b"X-%d: a\r\n" % number for number in range(5000)) + b"\r\n",
        infer + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAAA\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 64,
        b"GET /v2/models/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/models/%00 HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    ]


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
