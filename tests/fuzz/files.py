"""Files: configuration, model files, captures, and what a scrape of metrics reads."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import orjson

from models.errors import LoadError
from models.manifest import Manifest, read_manifest
from models.runtimes import onnx_file
from models.runtimes.lightgbm_native import library_path
from models.runtimes.lightgbm_text import ModelText, read_model_text
from models.runtimes.lightgbm_trial import try_model_text
from models.runtimes.onnx_file import OnnxFile
from service.bind import Bind
from service.capture.comparison import differences
from service.capture.redaction import REDACTED, Redaction
from service.capture.replay import Entry, Skipped, entries
from service.commands.exposition import Sample, quantile, samples
from service.config import Config
from service.connections.hypercorn_settings import read_hypercorn
from service.errors import ConfigError
from tests.fuzz.target import Broken, Target

_FOLDER = tempfile.TemporaryDirectory(prefix="tureen-fuzz-")


@cache
def _folder(name: str) -> Path:
    folder = Path(_FOLDER.name) / name
    folder.mkdir()
    return folder


def _written(name: str, data: bytes) -> Path:
    file = _folder(name) / name
    file.write_bytes(data)
    return file


def parse_manifest(data: bytes) -> Manifest:
    """A model.toml. What is taken says the same when it is written as JSON."""
    manifest = read_manifest(_written("model.toml", data).parent)
    again = Manifest.from_json_overrides(manifest.model_dump_json(), model="m")
    if again != manifest:
        raise Broken(f"{manifest} reads as {again}")
    return manifest


def parse_overrides(data: bytes) -> Manifest:
    """The JSON that a load gives in the place of model.toml."""
    manifest = Manifest.from_json_overrides(data.decode("utf-8", "replace"), model="m")
    if Manifest.from_json_overrides(manifest.model_dump_json(), model="m") != manifest:
        raise Broken(f"{manifest} does not read as itself")
    return manifest


def parse_config(data: bytes) -> Config:
    """A tureen.toml, a line `---`, and lines of environment."""
    toml, _, lines = data.partition(b"\n---\n")
    pairs = [line.partition("=") for line in lines.decode("utf-8", "surrogateescape").split("\n") if "=" in line]
    config = Config.resolve(_written("tureen.toml", toml), {name: value for name, _, value in pairs}, {})
    if not config.bind.loopback and not config.insecure and not config.auth.enabled:
        raise Broken(f"{config.bind} is open to everybody")
    return config


def parse_hypercorn(data: bytes) -> dict[str, object]:
    """A hypercorn.toml."""
    return read_hypercorn(_written("hypercorn.toml", data))


def parse_bind(data: bytes) -> Bind:
    """An address to listen on; what is taken is written as it would be taken."""
    bind = Bind.parse(data.decode("utf-8", "replace"))
    if Bind.parse(str(bind)) != bind or not 0 <= bind.port <= 65535:
        raise Broken(f"{bind!r} does not read as itself")
    return bind


def mended(text: bytes) -> bytes:
    """A model text whose `tree_sizes` are those of its trees: any change of a tree is refused by its size otherwise."""
    starts = [found.start() + 1 for found in re.finditer(rb"\nTree=", text)]
    end = text.find(b"end of trees")
    if not starts or end < starts[-1]:
        return text
    sizes = b" ".join(b"%d" % (after - before) for before, after in pairwise([*starts, end]))
    return re.sub(rb"^tree_sizes=.*$", b"tree_sizes=" + sizes, text, count=1, flags=re.MULTILINE)


def parse_lightgbm(data: bytes) -> ModelText:
    """The structure of a LightGBM model text, as it is, and with sizes that fit its trees."""
    with suppress(LoadError):
        read_model_text(data)
    model = read_model_text(mended(data))
    if model.classes < 1 or not model.features or model.trees % model.classes or model.leaves < model.trees:
        raise Broken(f"a model that cannot be: {asdict(model)}")
    return model


def try_lightgbm(data: bytes) -> None:
    """Lets LightGBM load what the check of its structure has taken, in a process of its own: it may refuse it, and not crash."""
    try:
        try_model_text(mended(data), library_path())
    except LoadError as error:
        if not str(error).startswith("LightGBM refuses it"):
            raise Broken(str(error)) from error


def parse_onnx(data: bytes) -> OnnxFile:
    """What an ONNX file says of itself. The one data file that lies beside it is `weights.bin`."""
    file = _written("model.onnx", data)
    beside = file.with_name("weights.bin")
    if not beside.exists():
        beside.write_bytes(b"\0")
    found = onnx_file.read(file)
    for location in found.data_files:
        if (file.parent / location).resolve().parent != file.parent.resolve():
            raise Broken(f"{location!r} lies outside the version's folder")
    return found


def parse_captured(data: bytes) -> list[Entry | Skipped]:
    """A capture: NDJSON. Each answer in it is equal to itself."""
    found = list(entries(data.decode("utf-8", "replace").splitlines(keepends=True)))
    for entry in found:
        if isinstance(entry, Entry):
            entry.request.read()
            if told := list(differences(entry.answer.read(), entry.answer.read(), 0.0)):
                raise Broken(f"an answer differs from itself: {told[0]}")
    return found


#: Looked for in what a redaction leaves; the inputs hold it as the value of what is to be left out.
SECRET: Final = "correct horse battery staple"


def parse_redacted(data: bytes) -> object:
    """A body of which `card` may not be kept: of an object's `card` nothing is left, nor of the tensor `card`."""
    redaction = Redaction(["card"])
    redaction.of_error(data)
    found = redaction.of(data, ("other",))
    if found is None:
        return None
    _look_for(orjson.loads(found.body))
    return found


def _look_for(value: object) -> None:
    match value:
        case {"card": kept} if kept != REDACTED:
            raise Broken(f"card is still {kept!r}")
        case {"name": "card", "data": kept} if kept != REDACTED:
            raise Broken(f"card's data is still {kept!r}")
        case dict():
            for inner in value.values():
                _look_for(inner)
        case list():
            for inner in value:
                _look_for(inner)


def parse_exposition(data: bytes) -> list[Sample]:
    """A scrape of metrics, and a quantile of all that it holds."""
    found = list(samples(data.decode("utf-8", "replace")))
    quantile(0.99, [(sample.value, sample.value) for sample in found])
    return found


MANIFEST = Target(
    "model_toml",
    parse_manifest,
    (LoadError,),
)
OVERRIDES = Target(
    "load_config",
    parse_overrides,
    (LoadError,),
)
CONFIG = Target(
    "tureen_toml",
    parse_config,
    (ConfigError,),
    http=False,
)
HYPERCORN = Target(
    "hypercorn_toml",
    parse_hypercorn,
    (ConfigError,),
    http=False,
)
BIND = Target(
    "bind",
    parse_bind,
    (ValueError,),
    longest=512,
    http=False,
)
LIGHTGBM = Target(
    "lightgbm_text",
    parse_lightgbm,
    (LoadError,),
    longest=8192,
    trial=try_lightgbm,
)
ONNX = Target(
    "onnx_file",
    parse_onnx,
    (LoadError,),
)


CAPTURED = Target(
    "captured",
    parse_captured,
    http=False,
    each=800,
)
REDACTED_BODY = Target(
    "redaction",
    parse_redacted,
)
EXPOSITION = Target(
    "exposition",
    parse_exposition,
    http=False,
)

TARGETS = (MANIFEST, OVERRIDES, CONFIG, HYPERCORN, BIND, LIGHTGBM, ONNX, CAPTURED, REDACTED_BODY, EXPOSITION)
