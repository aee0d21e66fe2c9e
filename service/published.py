"""Content that is made once and asked for often: its bytes, their gzip, and what tells one state of it from another."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from service.protocol.coding import THRESHOLD

_GZIP = 31


@dataclass(frozen=True, slots=True)
class Published:
    """``gzipped`` is None where it is not worth it; ``etag`` is quoted, as its header has it."""

    body: bytes
    content_type: str
    etag: str
    gzipped: bytes | None


def published(body: bytes, content_type: str, level: int = 6) -> Published:
    """The content, compressed: some 30 ms for a megabyte, so not on the loop."""
    packed = zlib.compress(body, level, _GZIP) if len(body) >= THRESHOLD else None
    return Published(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"', packed)
