"""``:classify``: encoded images in, labelled classes out.

    multipart/form-data, each file an image | {"images": [{"b64": …, "name": …}]} | the bytes of one image
    -> {"model_name", "model_version", "predictions": [prediction, …]}
    prediction: {"name", "width", "height", "status", "classes"} | {"name", "error", "code", "status"}

What the images say is looked at later, in a thread; here they are only told apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import numpy as np

from models.errors import Problem
from models.nearest import nearest
from models.signature import Signature
from models.tensor import Array
from models.vision.scores import Class, rank
from service.errors import BadRequest, NotFinite, UnsupportedMedia
from service.guard.input.content import DEFAULT, Content
from service.protocol import multipart
from service.protocol.charset import is_utf8
from service.protocol.infer import Encoded, Infer
from service.protocol.json_data import clip
from service.protocol.pictures import NAME, Picture, Refused, Upload, from_base64

OPTIONS: Final = ("top_k", "threshold")
#: What a raw image and JSON may both be sent as: clients send these by themselves, and the first byte tells.
EITHER: Final = frozenset(
    {b"", b"application/octet-stream", b"binary/octet-stream", b"application/x-www-form-urlencoded", b"text/plain"}
)
#: More classes no model has.
MOST_CLASSES: Final = 1_000_000
#: What the headers of an image's part take, with room for a long name (bytes).
_HEADERS: Final = 1024
_NAMELESS: Final = "image"
_QUERY: Final = 16
_NUMBER: Final = re.compile(r"-?([0-9]{1,310}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?")
_UNKNOWN: Final = re.compile(r"unknown field `(?P<key>.*)`", re.DOTALL)
_WHERE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", re.DOTALL)


class Form(msgspec.Struct, frozen=True, gc=False):
    """How the answer is to be written: the images' names in order, and how many classes of each; None: as the model has it."""

    names: tuple[str, ...]
    upload: Upload
    top_k: int | None = None
    threshold: float | None = None


class _Prediction(msgspec.Struct, gc=False):
    name: str
    width: int
    height: int
    status: int
    classes: list[Class]


class _Failed(msgspec.Struct, gc=False):
    name: str
    error: str
    code: str
    status: int


class _Answer(msgspec.Struct, gc=False):
    model_name: str
    model_version: str
    predictions: list[_Prediction | _Failed]


class _Image(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    b64: msgspec.Raw
    name: str | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    images: msgspec.Raw


_BODY: Final = msgspec.json.Decoder(_Body)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_IMAGE: Final = msgspec.json.Decoder(_Image)
_TEXT: Final = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def decode(
    body: bytes, signature: Signature, header_length: str | None = None, content: Content = DEFAULT, upload: Upload | None = None
) -> Infer:
    """The images of a request, whose rows are still to be made; ``upload``: None for a model that takes none.

    Raises BadRequest for what is not a form, JSON or an image, and where there is none, TooManyImages, TooManyRows, and
    UnsupportedMedia.
    """
    if upload is None:
        raise BadRequest(
            "The model does not say how it takes images: declare it in its model.toml with a section [image], "
            "or send tensors to :predict."
        )
    top_k, threshold = options(upload.query)
    found = _pictures(body, upload.content_type or b"", content)
    if len(found) > content.rows:
        raise content.too_many(len(found))
    form = Form(tuple([picture.name for picture in found]), upload, top_k, threshold)
    return Infer({}, len(found), (upload.recipe.output,), form=form, pictures=found, apart=len(found) > 1)


def encode(infer: Infer, outputs: Mapping[str, Array], model: str, version: str) -> Encoded:
    """The answer, a prediction for each image in order. Raises NotFinite, InferenceError."""
    form = infer.form
    if not isinstance(form, Form):
        raise TypeError("the request was decoded by another protocol")
    recipe = form.upload.recipe
    ranked: Iterator[list[Class]] = iter(())
    if infer.rows:
        scores = outputs[recipe.output]
        if not np.isfinite(scores).all():
            raise NotFinite(
                "The scores hold NaN or Infinity, which JSON cannot say; /v2/models/M/infer gives them in binary or as strings."
            )
        ranked = iter(rank(scores, recipe, form.top_k, form.threshold))
    predictions: list[_Prediction | _Failed] = []
    for name, seen in zip(form.names, infer.seen, strict=True):
        if isinstance(seen, Refused):
            predictions.append(_Failed(name, seen.error, seen.code, seen.status))
        else:
            predictions.append(_Prediction(name, seen.width, seen.height, 200, next(ranked)))
    return Encoded(_encode(_Answer(model, version, predictions)))


def options(query: bytes) -> tuple[int | None, float | None]:
    """``top_k`` and ``threshold`` as the query has them. Raises BadRequest."""
    if not query:
        return None, None
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="replace", max_num_fields=_QUERY)
    except ValueError:  # bytes past ASCII, or too many of them
        raise BadRequest(f"the query cannot be read; :classify takes {' and '.join(OPTIONS)}") from None
    given: dict[str, str] = {}
    for key, value in pairs:
        if key not in OPTIONS:
            problem = Problem(clip(key) or "query", "no such query parameter", nearest(key, OPTIONS) or "", clip(key))
            raise BadRequest(f":classify has no query parameter {clip(key)!r}; did you mean {nearest(key, OPTIONS)}?", problem)
        if key in given:
            raise BadRequest(f"the query parameter {key} is given twice", Problem(key, "given twice", "once"))
        given[key] = value
    return _top_k(given.get("top_k")), _threshold(given.get("threshold"))


def _top_k(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.lstrip("0")
    if digits.isascii() and digits.isdigit():
        return min(int(digits[:10]), MOST_CLASSES)
    raise _bad_option("top_k", "a whole number of at least 1", text)


def _threshold(text: str | None) -> float | None:
    if text is None:
        return None
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    if math.isfinite(value):
        return value
    raise _bad_option("threshold", "a number, such as 0.5", text)


def _bad_option(name: str, expected: str, got: str) -> BadRequest:
    problem = Problem(name, "not a value of it", expected, clip(got))
    return BadRequest(f"the query parameter {name} is {clip(got)!r}; expected {expected}", problem)


def _pictures(body: bytes, content_type: bytes, content: Content) -> tuple[Picture, ...]:
    essence = content_type.partition(b";")[0].strip().lower()
    if essence == b"multipart/form-data":
        return _of_form(body, content_type, content)
    if essence == b"application/json" or essence.endswith(b"+json") or (essence in EITHER and body.lstrip()[:1] == b"{"):
        if not is_utf8(content_type):
            raise UnsupportedMedia("the charset is not taken; send JSON as UTF-8")
        return _of_json(body, content)
    if essence in EITHER or essence.startswith(b"image/"):
        if not body and essence in EITHER:
            raise BadRequest('The body is empty; expected an image, a form with files, or {"images": [{"b64": …}]}.')
        return (Picture(_NAMELESS, body),)
    shown = clip(essence.decode("latin-1"))
    raise UnsupportedMedia(
        f"content type {shown!r} is not taken here; send multipart/form-data, the bytes of one image as image/* "
        "or application/octet-stream, or application/json"
    )


def _of_form(body: bytes, content_type: bytes, content: Content) -> tuple[Picture, ...]:
    found: list[Picture] = []
    for part in multipart.parts(body, content_type, multipart.HEADERS + _HEADERS * content.images):
        if part.filename is None and part.name in OPTIONS:
            raise BadRequest(f"the form has a field {part.name!r}, which goes into the query: :classify?{part.name}=…")
        if not part.filename and part.filename is not None and not part.data:
            continue  # a browser's form whose file was not chosen
        if len(found) == content.images:
            raise content.too_many_images(None)
        name = (part.filename or part.name or _NAMELESS)[:NAME]
        found.append(Picture(name, part.data))
    if not found:
        raise BadRequest("The form has no image: send each as a file, with any field name.")
    return tuple(found)


def _of_json(body: bytes, content: Content) -> tuple[Picture, ...]:
    content.check_json(body)
    try:
        raw = _BODY.decode(body).images
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(error, "", ("images",)) from None
    content.check_images(raw)
    try:
        items = _LIST.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(error, "images", ()) from None
    if not items:
        problem = Problem("images", "there are no images", "a list of at least 1", "an empty list")
        raise BadRequest(str(problem), problem)
    return tuple([_of_item(item, f"images[{index}]") for index, item in enumerate(items)])


def _of_item(item: msgspec.Raw, path: str) -> Picture:
    try:
        image = _IMAGE.decode(item)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(error, path, _IMAGE_KEYS) from None
    try:
        text = _TEXT.decode(image.b64)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(error, f"{path}.b64", ()) from None
    return from_base64(text.encode(), path if image.name is None else image.name[:NAME], f"{path}.b64")


_IMAGE_KEYS: Final = ("b64", "name")


def _refusal(error: Exception, path: str, keys: tuple[str, ...]) -> BadRequest:
    """What a typed decoder said of the JSON at that path, in the form of our own problems."""
    if isinstance(error, RecursionError):
        return BadRequest("The body's JSON is nested too deep.")
    if not isinstance(error, msgspec.ValidationError):
        reason = str(error).removeprefix("JSON is malformed: ")
        return BadRequest(f'The body is not JSON in UTF-8: {clip(reason)}; expected {{"images": [{{"b64": "…"}}]}}.')
    found: Any = _WHERE.match(str(error))
    what, where = found["what"], found["where"] or ""
    path = ".".join([part for part in (path, where) if part]) if not where.startswith("[") else path + where
    if unknown := _UNKNOWN.search(what):
        key = unknown["key"]
        place = f"{path}.{clip(key)}" if path else clip(key)
        problem = Problem(place, "there is no such key", nearest(key, keys) or "", clip(key))
        return BadRequest(f"{place}: there is no such key; did you mean {nearest(key, keys)}?", problem)
    what = what.replace("`", "")
    if (missing := what.removeprefix("Object missing required field ")) != what:
        problem = Problem(path or "body", "a key is missing", missing)
    else:
        expected, _, got = what.removeprefix("Expected ").partition(", got ")
        problem = Problem(path or "body", "not what is expected here", expected, got)
    return BadRequest(f"{problem}.", problem)
