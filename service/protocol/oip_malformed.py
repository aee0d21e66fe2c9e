"""The refusal of a body that is no request of the Open Inference Protocol: what was expected, what came, and how to mend it."""

from __future__ import annotations

import re

import msgspec

from models.errors import Problem
from service.errors import BadRequest
from service.protocol.json_data import clip, found_at

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", re.DOTALL)
_EXPECTED = re.compile(r"^Expected (?P<expected>.*?)(?:, got (?P<got>.*))?$", re.DOTALL)
_BYTE = re.compile(r"\(byte (\d+)\)")
_NON_FINITE = re.compile(rb"NaN|nan|Inf|inf")


def malformed(error: Exception, body: bytes, cut: bool) -> BadRequest:
    """What a decoder said of a body; ``cut``: binary data follow it."""
    if not body.strip():
        return BadRequest('The body is empty; expected a JSON object with "inputs".')
    if isinstance(error, RecursionError):
        return BadRequest("The body's JSON is nested too deep.")
    if isinstance(error, UnicodeDecodeError):
        return BadRequest(f"The body is not UTF-8: {clip(error.reason)}.")
    if isinstance(error, msgspec.ValidationError):
        return _misshapen(str(error), body)
    at = _BYTE.search(str(error))
    # A parser that stops inside the word points past its sign.
    if at and _NON_FINITE.search(body[max(0, int(at[1]) - 1) : int(at[1]) + 3]):
        return BadRequest(
            f"The body is not JSON, which has no NaN or Infinity (byte {at[1]}): send the input as binary data, "
            'or as the string "NaN" with the request\'s parameter "non_finite" set to "string".'
        )
    reason = str(error).removeprefix("JSON is malformed: ")
    if reason.endswith("truncated"):
        reason += f" after {len(body)} bytes" + ", where Inference-Header-Content-Length says that it ends" * cut
    hint = "; Inference-Header-Content-Length says where binary data begins" if reason.startswith("trailing") else ""
    return BadRequest(f"The body is not JSON: {reason}{hint}.")


def _misshapen(message: str, body: bytes) -> BadRequest:
    """What a typed decoder said of valid JSON, in the form of our own problems."""
    found = _WHERE.match(message)
    what, where = (found["what"], found["where"] or "") if found else (message, "")
    what = what.replace("`", "")
    sides = _EXPECTED.match(what)
    missing = what.removeprefix("Object missing required field ")
    if missing != what:
        problem = Problem(where or "body", "a field is missing", missing, found_at(body, where))
    elif sides is None:
        problem = Problem(where or "body", clip(what[:1].lower() + what[1:]))
    else:
        problem = Problem(
            where or "body", "not what the protocol has here", sides["expected"], sides["got"] or found_at(body, where)
        )
    return BadRequest(f"The request is not the protocol's: {problem}.", problem)
