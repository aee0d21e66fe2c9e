"""Files: configuration, model files, captures, and what a scrape of metrics reads."""

from __future__ import annotations

import re
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Final

import orjson

from models.errors import LoadError
from models.manifest import Manifest, read_manifest
from models.runtimes import onnx_file
from models.runtimes.lightgbm_text import ModelText, read_model_text
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


def parse_lightgbm(data: bytes) -> ModelText:
    """The structure of a LightGBM model text; LightGBM itself is not asked."""
    model = read_model_text(data)
    if model.classes < 1 or not model.features or model.trees % model.classes or model.leaves < model.trees:
        raise Broken(f"a model that cannot be: {asdict(model)}")
    return model


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


_TOML = (b"[", b"]", b"=", b"\n", b"'", b'"', b'"""', b"true", b"false", b"1e9", b"-1", b"0x7fffffffffffffff", b"inf", b"nan", b"{", b"}", b"[[")
_TOML += (b"1979-05-27T07:32:00Z", b"\\u00e9", b"# ", b".", b",", b"9" * 30, b"\xff")
_KEYS = sorted({word for word in re.findall(rb"[a-z_]{3,}", b" ".join(str(Manifest()).encode().split()))})

MANIFEST = Target(
    "model_toml",
    parse_manifest,
    (LoadError,),
    seeds=(
        b'[batching]\nmax_rows = 8\nwindow_ms = 1.5\nclose = "full"\ninstances = 2\nqueue_rows = 10\ntimeout_ms = 1\n',
        b'[versions]\npolicy = [3, 4]\nlabels = { stable = 3, canary = 4 }\n[cache]\nttl_s = 0\n',
        b'[versions]\npolicy = "latest"\nlatest = 2\n[runtime]\nthreads = 1\nproviders = ["CPUExecutionProvider"]\n[warmup]\ncalls = 3\n',
        b"batching.max_rows = 8\nbatching.close = 'early'\n",
    ),
    tokens=(*_TOML, *_KEYS),
)
OVERRIDES = Target(
    "load_config",
    parse_overrides,
    (LoadError,),
    seeds=(b'{"batching": {"max_rows": 8}, "versions": {"policy": [1], "labels": {"a": 1}}}', b'{"warmup": {"calls": 0}}', b"{}"),
    tokens=(*(b'"%b"' % key for key in _KEYS), b"null", b"1e400", b"NaN", b'"\\ud800"', b"[" * 9, b"{}", b"9" * 30),
)
CONFIG = Target(
    "tureen_toml",
    parse_config,
    (ConfigError,),
    seeds=(
        b'bind = "127.0.0.1:8000"\nworkers = 2\n[limits]\nbody_bytes = 1000\ntrusted_proxies = ["10.0.0.0/8"]\n---\nTUREEN_SERVER=uvicorn\nTUREEN_LIMITS__ROWS=7\n',
        b'server = "hypercorn"\n[auth]\napi_keys = true\n[cors]\nallow_origins = ["https://shop.example"]\n[log]\nlevel = "debug"\nsample = 0.5\n',
        b'[tracing]\nendpoint = "http://127.0.0.1:4318"\n[store]\nstate_dir = "state"\n[drain]\ndelay_s = 1.5\n[admin]\nbind = "[::1]:9000"\n',
        b"\n---\nTUREEN_INSECURE=yes\nTUREEN_BIND=0.0.0.0:80\nTUREEN_CORS__ALLOW_ORIGINS=https://a.example, http://[::1]:81\nTUREEN_PORT=tcp://1.2.3.4:80\n",
        b'[limits]\nrequests_per_s = 5.0\nredis_url = "redis://127.0.0.1:6379/0"\nredis_password_file = "/run/password"\n---\nTUREEN_LOG__CAPTURE_REDACT=a,b\n',
    ),
    tokens=(*_TOML, b"\n---\n", b"TUREEN_", b"__", b"[limits]", b"[auth]", b"[admin]", b"[cors]", b"[log]", b"bind = ", b"TUREEN_BIND=", b"0.0.0.0:1", b"[::]:1"),
    http=False,
)
HYPERCORN = Target(
    "hypercorn_toml",
    parse_hypercorn,
    (ConfigError,),
    seeds=(b"backlog = 100\nkeep_alive_timeout = 5.5\ninclude_server_header = true\n", b'certfile = "c.pem"\nverify_mode = 2\nalpn_protocols = ["h2"]\n'),
    tokens=(*_TOML, b"verify_mode", b"verify_flags", b"read_timeout", b"ssl_handshake_timeout", b"access_log_format", b"root_path"),
    http=False,
)
BIND = Target(
    "bind",
    parse_bind,
    (ValueError,),
    seeds=(b"127.0.0.1:8000", b"[::1]:0", b"localhost:65535", b"a-b.example:80", b"[fe80::1%eth0]:80", b"unix:/x", b"[::ffff:127.0.0.1]:1"),
    tokens=(b":", b"[", b"]", b"::", b"0", b"65536", b"%", b".", b"-", b"\xd9\xa0"),
    longest=512,
    http=False,
)
LIGHTGBM = Target(
    "lightgbm_text",
    parse_lightgbm,
    (LoadError,),
    tokens=(
        *(b"Tree=", b"num_leaves=", b"num_cat=", b"split_feature=", b"threshold=", b"decision_type=", b"left_child=", b"right_child="),
        *(b"leaf_value=", b"cat_boundaries=", b"cat_threshold=", b"is_linear=", b"leaf_features=", b"leaf_coeff=", b"num_features="),
        *(b"tree_sizes=", b"max_feature_idx=", b"end of trees\n", b"parameters:\n", b"pandas_categorical:", b"average_output", b"shrinkage="),
        *(b"-1", b"nan", b"inf", b"1e999", b"\n\n", b"4294967296", b"-2147483648", b"0", b" ", b"version=v2", b"num_tree_per_iteration="),
    ),
    longest=8192,
)
ONNX = Target(
    "onnx_file",
    parse_onnx,
    (LoadError,),
    seeds=(b"", b"\x3a\x00", b"\x3a\x02\x0a\x00", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    tokens=(b"location", b"weights.bin", b"../weights.bin", b"/etc/passwd", b"\x70\x01", b"\x6a", b"\x3a", b"\x0a", b"\xff" * 10, b"\x80\x01"),
)
_CAPTURED = (
    b'{"time": "t", "request_id": "r", "method": "POST", "path": "/v2/models/m/infer", "version": "1", "headers": {}, "body": "{}", '
    b'"answer": {"status": 200, "headers": {"inference-header-content-length": "76"}, "body": {"base64": "%b"}}, "total_ms": 1.0}\n'
)
_BINARY_ANSWER = (
    b"eyJvdXRwdXRzIjpbeyJkYXRhdHlwZSI6IkZQMzIiLCJwYXJhbWV0ZXJzIjp7ImJpbmFyeV9kYXRhX3NpemUiOjR9fV19ICAgICAgICAgICAgAAAAAA=="
)
CAPTURED = Target(
    "captured",
    parse_captured,
    seeds=(
        _CAPTURED % _BINARY_ANSWER,
        _CAPTURED.replace(b'{"base64": "%b"}', b'"{\\"outputs\\": [1.5, true, null]}"').replace(b"200", b"400"),
        _CAPTURED.replace(b'"body": "{}"', b'"body": null, "left_out": "long"') % b"",
    ),
    tokens=(b'"status": 1e400', b"Infinity", b"NaN", b'"redacted": true', b"base64", b"content-encoding", b"gzip", b"\\ud800", b"[" * 60, b"\n", b"null"),
    http=False,
    each=800,
)
REDACTED_BODY = Target(
    "redaction",
    parse_redacted,
    seeds=(
        b'{"inputs": [{"name": "card", "shape": [1], "datatype": "BYTES", "data": ["4111"]}, {"name": "x", "data": [1]}]}',
        b'{"instances": [{"card": "4111", "x": {"card": 1}}]}',
        b'{"error": "card 4111", "code": "bad_request", "request_id": "r"}',
    ),
    tokens=(b'"card"', b'"name"', b'"data"', b'"inputs"', b'"instances"', b"[" * 20, b'"\\u0063ard"', b"{", b"}", b"null"),
)
EXPOSITION = Target(
    "exposition",
    parse_exposition,
    seeds=(b'# TYPE a counter\na_total{model="m\\"\\n",code="200"} 7 1700000000\nb_bucket{le="+Inf"} NaN\nc 1e400\n',),
    tokens=(b"{", b"}", b'="', b'",', b"\\", b"NaN", b"+Inf", b"-Inf", b"1_0", b"\n", b"# ", b"\xe2\x80\xa8"),
    http=False,
)

TARGETS = (MANIFEST, OVERRIDES, CONFIG, HYPERCORN, BIND, LIGHTGBM, ONNX, CAPTURED, REDACTED_BODY, EXPOSITION)
