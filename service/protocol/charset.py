"""What a Content-Type says of how text is coded."""

from __future__ import annotations

from typing import Final

_UTF8: Final = frozenset({b"utf-8", b"utf8", b'"utf-8"', b'"utf8"'})


def is_utf8(content_type: bytes) -> bool:
    """Whether each charset that it names is UTF-8; most name none."""
    if b"charset" not in content_type.lower():
        return True
    pairs = [parameter.partition(b"=") for parameter in content_type.lower().split(b";")[1:]]
    return all(value.strip() in _UTF8 for name, _, value in pairs if b"charset" in name)
