"""The one credential that a request's headers may bring, in either of two forms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from service.errors import Unauthorized

#: The longest key or token that is taken (bytes); what is longer is never looked into.
LONGEST: Final = 8192

# RFC 6750's form of a bearer token. API keys are of it too, so one pattern holds for both headers, and a list, a quoted string or a
# line that a proxy has folded is of neither.
_CREDENTIAL: Final = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
_BEARER: Final = b"bearer "


def credential(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """What stands in ``Authorization: Bearer …`` or ``X-API-Key: …``; None where neither header is there. Names are lower case.

    Raises Unauthorized for more than one, even if equal: a proxy in front may have judged another one than we would; and for one
    that is malformed.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            brought = _bearer(value)
        elif name == b"x-api-key":
            brought = value
        else:
            continue
        if found is not None:
            raise Unauthorized("more than one credential")
        if len(brought) > LONGEST:
            raise Unauthorized("the credential is too long")
        if _CREDENTIAL.fullmatch(brought) is None:
            raise Unauthorized("the credential is malformed")
        found = brought
    return found


def _bearer(value: bytes) -> bytes:
    if value[: len(_BEARER)].lower() != _BEARER:
        raise Unauthorized("the authorization is not of the scheme Bearer")
    return value[len(_BEARER) :].lstrip(b" ")
