"""Forms: whatever a client puts into one comes out as it was, and nothing else comes out but a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import BadRequest
from service.protocol import multipart
from service.protocol.multipart import HEADERS, Part

BOUNDARY = b"edge"
TYPE = b"multipart/form-data; boundary=edge"
NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n%', min_codepoint=32), min_size=1, max_size=20).filter(
    str.strip
)
#: What content is most likely to be taken for a boundary.
PIECES = st.sampled_from([b"\r\n", b"--", b"edge", b"--edg", b"\r\n--edgeless", b"\n--edge\n", b"\x00\xff", b"GIF89a"])
CONTENT = st.lists(PIECES, max_size=6).map(b"".join).filter(lambda data: not ends_early(data))
PARTS = st.lists(st.builds(Part, NAMES, st.none() | NAMES, CONTENT), min_size=1, max_size=4)


def parts(body: bytes, content_type: bytes, most: int = 64 * 1024) -> list[Part]:
    return list(multipart.parts(body, content_type, most))


def ends_early(data: bytes) -> bool:
    """Whether the content has the boundary in it."""
    framed = b"\r\n" + data + b"\r\n"
    return any(mark in framed for mark in (b"\r\n--edge--", b"\r\n--edge\r\n"))


def form(fields: Sequence[Part], *, preamble: bytes = b"", epilogue: bytes = b"") -> bytes:
    """As browsers write it."""
    text = preamble
    for field in fields:
        file = "" if field.filename is None else f'; filename="{field.filename}"'
        text += f'--edge\r\nContent-Disposition: form-data; name="{field.name}"{file}\r\nContent-Type: image/png\r\n\r\n'.encode()
        text += field.data + b"\r\n"
    return text + b"--edge--" + epilogue


@given(PARTS, st.sampled_from([b"", b"\r\n", b"nobody reads this\r\n"]), st.sampled_from([b"", b"\r\n", b"\r\nnor this"]))
def test_every_field_comes_out_as_it_was_written(fields: list[Part], preamble: bytes, epilogue: bytes) -> None:
    assert parts(form(fields, preamble=preamble, epilogue=epilogue), TYPE) == fields


@given(
    st.lists(PIECES | st.sampled_from([b'Content-Disposition: form-data; name="a"', b": ", b"\r\n\r\n"]), max_size=12).map(b"".join)
)
@example(b"--edge")
@example(b"--edge\r\n\r\n")
@example(b"\r\n--edge--")
def test_whatever_comes_is_a_form_or_refused(body: bytes) -> None:
    with suppress(BadRequest):
        found = parts(body, TYPE)
        assert sum(len(part.data) for part in found) <= len(body)


@given(PARTS, st.data())
def test_a_form_that_is_cut_off_before_its_last_boundary_is_refused(fields: list[Part], data: st.DataObject) -> None:
    whole = form(fields)
    with pytest.raises(BadRequest):
        parts(whole[: data.draw(st.integers(0, len(whole) - 3))], TYPE)


HEAD = b'Content-Disposition: form-data; name="a"\r\n'
REFUSED = {
    "nothing": (b"", "the form has no part: its boundary, as Content-Type says it, is nowhere in the body"),
    "another boundary": (b"--other\r\n", "the form has no part: its boundary, as Content-Type says it, is nowhere in the body"),
    "no line end behind the first": (b"--edgeless", "part 0 of the form does not begin with a line of its own"),
    "no last boundary": (
        b"--edge\r\n" + HEAD + b"\r\ndata",
        "the form ends within part 0, before its last boundary: it was cut off, or has another boundary",
    ),
    "no headers": (b"--edge\r\n\r\ndata\r\n--edge--", "part 0 of the form has no headers; each has a Content-Disposition"),
    "no empty line": (
        b"--edge\r\n" + HEAD + b"--edge--",
        f"part 0 of the form has no empty line behind its headers, within {HEADERS} bytes",
    ),
    "headers that do not end": (
        b"--edge\r\n" + HEAD + b"\r\n--edge--",
        f"part 0 of the form has no empty line behind its headers, within {HEADERS} bytes",
    ),
    "headers without end": (
        b"--edge\r\nA: " + b"a" * HEADERS + b"\r\n\r\ndata\r\n--edge--",
        f"part 0 of the form has no empty line behind its headers, within {HEADERS} bytes",
    ),
    "no disposition": (
        b"--edge\r\nContent-Type: image/png\r\n\r\ndata\r\n--edge--",
        'part 0 of the form has no name; expected Content-Disposition: form-data; name="…"',
    ),
    "no name": (
        b"--edge\r\nContent-Disposition: form-data\r\n\r\ndata\r\n--edge--",
        'part 0 of the form has no name; expected Content-Disposition: form-data; name="…"',
    ),
    "coded": (
        b"--edge\r\n" + HEAD + b"Content-Transfer-Encoding: base64\r\n\r\nZGF0YQ==\r\n--edge--",
        "part 0 of the form is coded in base64; send its bytes as they are",
    ),
}


@pytest.mark.parametrize(("body", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_bad_form_is_told_what_is_wrong_with_which_part(body: bytes, sentence: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parts(body, TYPE)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=" + b"a" * 71,
        b'multipart/form-data; boundary="\xff"',
    ],
    ids=["none", "empty", "too long", "of other characters"],
)
def test_a_boundary_that_can_be_none_is_refused(content_type: bytes) -> None:
    with pytest.raises(BadRequest, match="says no boundary"):
        parts(b"--edge--", content_type)


def test_a_quoted_boundary_and_spaces_behind_it_are_read() -> None:
    body = form([Part("a", None, b"x")]).replace(b"--edge\r\n", b"--edge \t\r\n")
    assert parts(body, b'Multipart/Form-Data; charset=utf-8; boundary="edge"') == [Part("a", None, b"x")]


@pytest.mark.parametrize("empty", [Part("", "", b""), Part("a", None, b"")])
def test_parts_that_nobody_counts_may_have_no_more_headers_than_all(empty: Part) -> None:
    few, many = form([empty] * 10), form([empty] * 11)
    most = sum(len(part) for part in few.split(b"--edge\r\n")) - 10 * len(b"\r\n\r\n\r\n") - len(b"--edge--")
    assert len(parts(few, TYPE, most)) == 10
    with pytest.raises(BadRequest, match="too many parts: the headers of the first 11 take more than all may"):
        parts(many, TYPE, most)


def test_a_header_may_be_folded() -> None:
    body = form([Part("a", "b.png", b"x")]).replace(b"form-data; name", b"form-data;\r\n\tname")
    assert parts(body, TYPE) == [Part("a", "b.png", b"x")]


@pytest.mark.parametrize(
    ("written", "meant"), [(r"C:\pictures\a.png", r"C:\pictures\a.png"), (r"a\"b.png", 'a"b.png'), (r"a\\b.png", r"a\b.png")]
)
def test_a_backslash_is_one_where_it_escapes_nothing(written: str, meant: str) -> None:
    assert parts(form([Part("a", written, b"x")]), TYPE) == [Part("a", meant, b"x")]
