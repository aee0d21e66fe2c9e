"""What is asked of ``:classify``: bodies to encoded images, the query to options, and the sentences where they are neither."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import COLOURS

from models import Problem, Signature, TensorSpec
from service.errors import BadRequest, TooManyImages, TooManyRows, UnsupportedMedia
from service.guard.input.content import DEFAULT, Content
from service.protocol.images import Form, decode, options
from service.protocol.infer import Infer
from service.protocol.pictures import NAME, Upload, from_base64

SIGNATURE = Signature((COLOURS.spec,), (TensorSpec("scores", "FP32", [-1, 10]),))
FORM = b"multipart/form-data; boundary=edge"


def asked(body: bytes, content_type: bytes | None = None, query: bytes = b"", content: Content = DEFAULT) -> Infer:
    return decode(body, SIGNATURE, None, content, Upload(COLOURS, content_type, query))


def images(body: bytes, content_type: bytes | None = None) -> list[tuple[str, bytes]]:
    """Names and bytes."""
    return [(picture.name, picture.data) for picture in asked(body, content_type).pictures]


def form(*fields: str) -> bytes:
    """Each field as its disposition and its content, divided by a bar."""
    text = ""
    for field in fields:
        disposition, _, data = field.partition("|")
        text += f"--edge\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{data}\r\n"
    return f"{text}--edge--\r\n".encode()


def of(*items: object) -> bytes:
    return json.dumps({"images": items}).encode()


def refusal(body: bytes, content_type: bytes | None = None, query: bytes = b"") -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        asked(body, content_type, query)
    return caught.value


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"image/png",
        b"IMAGE/x-odd; a=b",
        b"application/octet-stream",
        b"binary/octet-stream",
        b"application/x-www-form-urlencoded",
        b"text/plain",
    ],
)
def test_a_raw_body_is_one_image_whatever_type_it_is_said_to_be(content_type: bytes | None) -> None:
    assert images(b"\x89PNG", content_type) == [("image", b"\x89PNG")]


@pytest.mark.parametrize(
    "content_type", [None, b"application/json", b"application/json; charset=UTF-8", b"application/x-www-form-urlencoded"]
)
def test_json_is_taken_as_what_clients_send_it_as(content_type: bytes | None) -> None:
    assert images(b" " + of({"b64": "AAEC"}), content_type) == [("images[0]", b"\0\1\2")]


def test_json_that_says_it_is_an_image_is_looked_at_as_one() -> None:
    assert images(b'{"images": []}', b"image/png") == [("image", b'{"images": []}')]


def test_every_file_of_a_form_is_an_image_whatever_its_field_is_called() -> None:
    body = form('name="file"; filename="a.png"|A', 'name="file"; filename="b.png"|B', 'name="x[]"|C', 'name=""; filename=""|D')
    assert images(body, FORM) == [("a.png", b"A"), ("b.png", b"B"), ("x[]", b"C"), ("image", b"D")]


def test_a_file_that_was_not_chosen_is_passed_over() -> None:
    assert images(form('name="a"; filename=""|', 'name="b"; filename="b"|B'), FORM) == [("b", b"B")]


def test_an_empty_file_is_an_image_for_others_to_judge() -> None:
    assert images(form('name="a"; filename="a.png"|'), FORM) == [("a.png", b"")]


def test_names_come_back_as_they_came_but_for_their_length() -> None:
    long = "é" * (NAME + 1)
    body = of({"b64": "", "name": '../a"b\n'}, {"b64": "", "name": long}, {"b64": "", "name": None}, {"b64": "", "name": ""})
    assert [name for name, _ in images(body)] == ['../a"b\n', long[:NAME], "images[2]", ""]


def test_one_image_stands_for_its_request_and_several_each_for_itself() -> None:
    assert not asked(of({"b64": ""})).apart
    assert asked(of({"b64": ""}, {"b64": ""})).apart


def test_a_request_asks_for_one_output_and_has_a_row_an_image() -> None:
    infer = asked(of({"b64": ""}, {"b64": ""}))
    assert (infer.inputs, infer.rows, infer.outputs) == ({}, 2, ("scores",))


@given(st.binary(max_size=40))
def test_base64_comes_out_as_what_went_in(data: bytes) -> None:
    picture = from_base64(base64.b64encode(data), "a", "images[0].b64")
    assert (picture.data, picture.problem) == (data, None)


@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_what_is_no_base64_has_a_problem_and_no_bytes(text: str) -> None:
    picture = from_base64(text.encode(), "a", "p")
    if picture.problem is None:
        assert base64.b64decode(text, validate=True) == picture.data
    else:
        assert (picture.data, picture.problem.path) == (b"", "p")


NOT_BASE64 = {
    "data:image/png;base64,AAEC": Problem(
        "p", "a data: URL is not base64", "what stands behind its comma", "data:image/png;base64,AAEC"
    ),
    "AAEC\nAAEC": Problem("p", "white space is not base64", "base64 without spaces or line ends", "'\\n' at character 4"),
    "AAE=\n": Problem("p", "white space is not base64", "base64 without spaces or line ends", "'\\n' at character 4"),
    "AA==\r\n": Problem("p", "white space is not base64", "base64 without spaces or line ends", "'\\r' at character 4"),
    " AAEC": Problem("p", "white space is not base64", "base64 without spaces or line ends", "' ' at character 0"),
    "AA-C": Problem("p", "not base64 as it is taken here", "the alphabet with + and /, not that of URLs", "'-' at character 2"),
    "AAéC": Problem("p", "not base64", "A to Z, a to z, 0 to 9, + and /, then = to pad", "'é' at character 2"),
    "AA=C": Problem("p", "not base64", "A to Z, a to z, 0 to 9, + and /, then = to pad", "'=' at character 2"),
    "AAE": Problem("p", "the base64 lacks its padding, or was cut off", "a multiple of 4 characters", "3 characters"),
    "AAEC====": Problem("p", "the base64 does not end as it should", "at most two = and no bits left over", "===="),
}


@pytest.mark.parametrize(("text", "problem"), NOT_BASE64.items())
def test_what_is_no_base64_is_told_where_and_why(text: str, problem: Problem) -> None:
    assert from_base64(text.encode(), "a", "p").problem == problem


BODIES = {
    "nothing": (b"", None, 'The body is empty; expected an image, a form with files, or {"images": [{"b64": …}]}.', ""),
    "no file": (form('name="a"; filename=""|'), FORM, "The form has no image: send each as a file, with any field name.", ""),
    "an empty form": (b"--edge--", FORM, "The form has no image: send each as a file, with any field name.", ""),
    "an option in the form": (
        form('name="top_k"|3'),
        FORM,
        "the form has a field 'top_k', which goes into the query: :classify?top_k=…",
        "",
    ),
    "not JSON": (
        b"{nothing}",
        None,
        'The body is not JSON in UTF-8: object keys must be strings (byte 1); expected {"images": [{"b64": "…"}]}.',
        "",
    ),
    "cut off": (
        b'{"images": [',
        None,
        'The body is not JSON in UTF-8: Input data was truncated; expected {"images": [{"b64": "…"}]}.',
        "",
    ),
    "another key": (b'{"image": []}', None, "image: there is no such key; did you mean images?", "image"),
    "no key": (b"{}", None, "body: a key is missing (expected images).", "body"),
    "no list": (b'{"images": "AAEC"}', None, "images: not what is expected here (expected array, got str).", "images"),
    "an empty list": (of(), None, "images: there are no images (expected a list of at least 1, got an empty list)", "images"),
    "a text for an image": (of("AAEC"), None, "images[0]: not what is expected here (expected object, got str).", "images[0]"),
    "an image's other key": (
        of({"b64": ""}, {"b46": ""}),
        None,
        "images[1].b46: there is no such key; did you mean b64?",
        "images[1].b46",
    ),
    "an image without bytes": (of({"name": "a"}), None, "images[0]: a key is missing (expected b64).", "images[0]"),
    "a number for base64": (
        of({"b64": 7}),
        None,
        "images[0].b64: not what is expected here (expected str, got int).",
        "images[0].b64",
    ),
    "a number for a name": (
        of({"b64": "", "name": 7}),
        None,
        "images[0].name: not what is expected here (expected str | null, got int).",
        "images[0].name",
    ),
    "too deep": (
        b'{"images": ' + b"[" * 99,
        None,
        "the body's JSON is nested too deep, over the limit of 64 levels; send it flatter",
        "",
    ),
    "not UTF-8": (b'{"images": [{"b64": "\xff"}]}', None, None, ""),
}


@pytest.mark.parametrize(("body", "content_type", "sentence", "path"), BODIES.values(), ids=BODIES)
def test_a_bad_body_is_told_what_was_expected_and_what_came(
    body: bytes, content_type: bytes | None, sentence: str | None, path: str
) -> None:
    error = refusal(body, content_type)
    assert sentence is None or str(error) == sentence
    assert [problem.path for problem in error.details] == [path] * bool(path)


@given(st.binary(max_size=60), st.sampled_from([None, FORM, b"application/json"]))
def test_whatever_comes_is_images_or_refused(body: bytes, content_type: bytes | None) -> None:
    with suppress(BadRequest):
        assert asked(body, content_type).pictures


@pytest.mark.parametrize("content_type", [b"text/html", b"multipart/mixed; boundary=edge", b"video/mp4", b"application/pdf"])
def test_a_type_that_is_not_taken_is_told_those_that_are(content_type: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="send multipart/form-data, the bytes of one image as image/"):
        asked(b"AA", content_type)


@pytest.mark.parametrize("charset", [b"latin-1", b"utf-16", b"utf-16; x=utf-8", b"utf-8; charset=utf-16"])
def test_json_in_another_charset_is_refused(charset: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="send JSON as UTF-8"):
        asked(of({"b64": ""}), b"application/json; charset=" + charset)


@pytest.mark.parametrize("images", [1001, 65])
def test_more_images_than_may_be_are_refused_before_any_is_looked_at(images: int) -> None:
    bodies: list[tuple[bytes, bytes | None]] = [
        (of(*[{"b64": "AAEC"}] * images), None),
        (b'{"images":[' + b"0," * images + b"0]}", None),
    ]
    bodies.append((form(*['name="a"; filename="a"|A'] * images), FORM))
    for body, content_type in bodies:
        with pytest.raises(TooManyImages) as caught:
            asked(body, content_type)
        assert str(caught.value) == "the request has more images than the limit of 64; send them in several"
        assert caught.value.limit == "images"
    assert len(asked(of(*[{"b64": "AAEC"}] * 64)).pictures) == 64


def test_images_are_rows_too() -> None:
    with pytest.raises(TooManyRows):
        asked(of({"b64": ""}, {"b64": ""}), content=replace(DEFAULT, rows=1))


def test_a_model_without_an_image_section_says_how_to_come_by_one() -> None:
    with pytest.raises(BadRequest, match=r"declare it in its model.toml with a section \[image\], or send tensors to :predict"):
        decode(b"AA", SIGNATURE, None, DEFAULT, None)


# -- the query -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", (None, None)),
        (b"top_k=3", (3, None)),
        (b"threshold=0.25&top_k=007", (7, 0.25)),
        (b"threshold=1e-3", (None, 1e-3)),
        (b"threshold=0", (None, 0.0)),
        (b"threshold=.5", (None, 0.5)),
        (b"threshold=-.5e1", (None, -5.0)),
        (b"threshold=5.", (None, 5.0)),
        (b"top_k=" + b"9" * 5000, (1_000_000, None)),
        (b"top_k=" + b"0" * 5000 + b"12", (12, None)),
        (b"threshold=1" + b"0" * 300, (None, 1e300)),
        (b"t%6Fp_k=1", (1, None)),
    ],
)
def test_the_query_says_how_many_classes_and_from_which_score(query: bytes, found: tuple[int | None, float | None]) -> None:
    assert options(query) == found
    form = asked(b"AA", None, query).form
    assert isinstance(form, Form)
    assert (form.top_k, form.threshold) == found


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (b"top=3", ":classify has no query parameter 'top'; did you mean top_k?"),
        (b"treshold=3", ":classify has no query parameter 'treshold'; did you mean threshold?"),
        (b"x", ":classify has no query parameter 'x'; did you mean top_k?"),
        (b"top_k", "the query parameter top_k is ''; expected a whole number of at least 1"),
        (b"top_k=0", "the query parameter top_k is '0'; expected a whole number of at least 1"),
        (b"top_k=-1", "the query parameter top_k is '-1'; expected a whole number of at least 1"),
        (b"top_k=1.0", "the query parameter top_k is '1.0'; expected a whole number of at least 1"),
        (b"top_k=%C2%B2", "the query parameter top_k is '²'; expected a whole number of at least 1"),
        (b"threshold=--1", "the query parameter threshold is '--1'; expected a number, such as 0.5"),
        (b"threshold=.", "the query parameter threshold is '.'; expected a number, such as 0.5"),
        (b"threshold=nan", "the query parameter threshold is 'nan'; expected a number, such as 0.5"),
        (b"threshold=1e999", "the query parameter threshold is '1e999'; expected a number, such as 0.5"),
        (b"top_k=1&top_k=2", "the query parameter top_k is given twice"),
        (b"&".join([b"top_k=1"] * 17), "the query cannot be read; :classify takes top_k and threshold"),
        (b"top_k=\xff", "the query cannot be read; :classify takes top_k and threshold"),
    ],
)
def test_a_bad_query_is_told_what_was_expected(query: bytes, sentence: str) -> None:
    assert str(refusal(b"AA", None, query)) == sentence
