"""How many rows a request says it has, at a glance: when callers are too many, most are refused, and to read a body is dear.

What is seen is what the body claims, and is never what it is answered by: who claims more rows than he has is refused sooner.
"""

from __future__ import annotations

import re
from typing import Final

#: How far into a body is looked (bytes): a client writes a tensor's shape before its data.
FAR: Final = 256

_ROWS: Final = re.compile(rb'"shape"\s*:\s*\[\s*([1-9]\d{0,6})\s*[,\]]')


def claimed_rows(body: bytes, most: int) -> int:
    """The first dim of the first tensor of the Open Inference Protocol; 1 where that is not seen at once, or is more than ``most``:
    such a request is read, and told what is wrong with it."""
    found = _ROWS.search(body, 0, FAR)
    rows = 1 if found is None else int(found[1])
    return rows if rows <= most else 1
