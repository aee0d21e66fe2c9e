"""What is captured of an inference, what is not, and what happens where it cannot be written."""

from __future__ import annotations

import base64
import gzip
import json
import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.capture.capture import Capture
from service.capture.captured import LONGEST, path_of
from service.failures import Failure
from service.protocol.infer import Infer
from service.request import Request
from service.response import JSON, Response, explained, lines
from service.routing import Target, target
from service.sections import Log

PATIENCE_S = 20.0
SECRET = "5ec2e7"


@contextmanager
def capturing(path: Path, **config: object) -> Iterator[Capture]:
    made = Capture.of(Log.model_validate({"capture": path, "capture_sample": 1.0, **config}))
    assert made is not None
    yield made
    made.close(PATIENCE_S)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def found(path: str) -> Target:
    made = target(path)
    assert made is not None
    return made


def request(
    path: str, body: bytes, headers: Mapping[bytes, bytes] | None = None, *, inputs: tuple[str, ...] | None = ("x",)
) -> Request:
    made = Request(found(path), {b"x-request-id": b"r1", **(headers or {})}, body)
    if inputs is not None:
        made.infer = Infer({name: np.zeros(1) for name in inputs}, 1, ("y",))
    return made


def answer(body: bytes, *headers: tuple[bytes, bytes]) -> Response:
    return Response(200, body, lines((JSON, *headers)))


OIP, TFS = "/v2/models/m/infer", "/v1/models/m:predict"


def test_an_inference_is_a_line_that_has_all_to_send_it_again(tmp_path: Path) -> None:
    headers = {
        b"content-type": b"application/json",
        b"authorization": b"Bearer s",
        b"x-api-key": b"s",
        b"cookie": b"s",
        b"host": b"h",
    }
    with capturing(tmp_path / "c") as capture:
        capture.inference(request(OIP, b'{"inputs": []}', headers), answer(b'{"outputs":[]}', (b"set-cookie", b"s")), None, 0.0015)
    (entry,) = entries(tmp_path / "c")
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "request_id": "r1",
        "method": "POST",
        "path": OIP,
        "version": None,
        "headers": {"content-type": "application/json"},
        "body": '{"inputs": []}',
        "answer": {"status": 200, "headers": {"content-type": "application/json"}, "body": '{"outputs":[]}'},
        "total_ms": 1.5,
    }
    assert capture.written == 1


def test_bytes_that_are_no_text_are_base64(tmp_path: Path) -> None:
    with capturing(tmp_path / "c") as capture:
        capture.inference(request(OIP, b"\xff\x00", {b"inference-header-content-length": b"0"}), answer(b"\xfe"), None, 0.0)
    (entry,) = entries(tmp_path / "c")
    assert [base64.b64decode(part["body"]["base64"]) for part in (entry, entry["answer"])] == [b"\xff\x00", b"\xfe"]


def test_a_client_that_left_has_no_answer(tmp_path: Path) -> None:
    with capturing(tmp_path / "c") as capture:
        capture.inference(request(OIP, b"{}"), None, None, 0.0)
    assert entries(tmp_path / "c")[0]["answer"] == {"status": 499, "headers": {}, "body": None}


def test_a_body_that_is_too_large_is_left_out_with_the_reason(tmp_path: Path) -> None:
    with capturing(tmp_path / "c") as capture:
        capture.inference(request(OIP, b"x" * (LONGEST + 1)), answer(b"x" * (LONGEST + 1)), None, 0.0)
    (entry,) = entries(tmp_path / "c")
    for part in (entry, entry["answer"]):
        assert (part["body"], part["left_out"]) == (None, f"it has {LONGEST + 1} bytes, and at most {LONGEST} are kept")


def test_a_share_is_captured(tmp_path: Path) -> None:
    assert Capture.of(Log(capture=tmp_path / "c", capture_sample=0.0)) is None
    assert Capture.of(Log()) is None
    with capturing(tmp_path / "c", capture_sample=0.5) as capture:
        for _ in range(200):
            capture.inference(request(OIP, b"{}"), answer(b"{}"), None, 0.0)
    assert 50 < len(entries(tmp_path / "c")) < 150


def test_the_file_is_its_owners_alone_even_if_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("before\n")
    (tmp_path / "c").chmod(0o644)
    with capturing(tmp_path / "c") as capture:
        capture.inference(request(OIP, b"{}"), answer(b"{}"), None, 0.0)
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o600
    assert (tmp_path / "c").read_text().startswith("before\n{")


def test_several_append_to_one_file_line_by_line(tmp_path: Path) -> None:
    body = json.dumps({"inputs": ["x" * 20_000]}).encode()

    def fill(capture: Capture) -> None:
        for _ in range(100):
            capture.inference(request(OIP, body), answer(body), None, 0.0)

    with capturing(tmp_path / "c") as one, capturing(tmp_path / "c") as other, ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(fill, one), threads.submit(fill, other)]:
            done.result(PATIENCE_S)
    assert len(entries(tmp_path / "c")) == 200


@pytest.mark.parametrize("what", ["a directory", "a link", "a pipe without a reader", "nowhere"])
def test_what_cannot_be_opened_captures_nothing_and_the_log_says_so(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    match what:
        case "a directory":
            path.mkdir()
        case "a link":
            path.symlink_to(tmp_path / "elsewhere")
        case "a pipe without a reader":
            os.mkfifo(path)
        case _:
            path = tmp_path / "none" / "c"
    with capturing(path) as capture:
        capture.inference(request(OIP, b"{}"), answer(b"{}"), None, 0.0)
        assert capture.written == 0
    assert "nothing is captured" in caplog.text
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_ends_it_with_one_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with capturing(Path("/dev/full")) as capture:
        for _ in range(20):
            capture.inference(request(OIP, b"{}"), answer(b"{}"), None, 0.0)
    assert caplog.text.count("nothing is captured any more") == 1
    assert "No space left on device" in caplog.text
    assert (capture.written, capture.dropped) == (0, 20)


def test_what_waits_to_be_written_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.capture.capture.HELD", 1000)
    with capturing(tmp_path / "c") as capture:
        for _ in range(100):
            capture.inference(request(OIP, b"x" * 600), answer(b""), None, 0.0)
    assert capture.dropped > 50
    assert capture.written + capture.dropped == 100


# -- redaction ---------------------------------------------------------------------------------------------------------------


def captured(path: Path, asked: Request, answered: Response | None, *redacted: str) -> tuple[str, dict[str, Any]]:
    """The whole line, with what is base64 in it decoded beside it, and its fields."""
    with capturing(path, capture_redact=list(redacted)) as capture:
        capture.inference(asked, answered, None, 0.0)
    text = path.read_text()
    entry = json.loads(text)
    path.unlink()
    hidden = [part["body"]["base64"] for part in (entry, entry["answer"]) if isinstance(part["body"], dict)]
    return text + "".join(base64.b64decode(part).decode("latin-1") for part in hidden), entry


def oip(name: str, value: object, key: str) -> bytes:
    return json.dumps({key: [{"name": name, "datatype": "BYTES", "shape": [1], "data": [value]}]}).encode()


@settings(deadline=None)
@given(
    st.sampled_from([SECRET, [SECRET], {"b64": SECRET}, f"\n\u2028{SECRET}\x00"]),
    st.sampled_from(["oip", "rows", "columns", "bare rows", "bare columns"]),
    st.sampled_from([None, b"gzip", b"deflate", b"identity", b"br", b"gzip, gzip"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_nothing_of_a_redacted_value_is_left(
    tmp_path_factory: pytest.TempPathFactory,
    value: object,
    form: str,
    encoding: bytes | None,
    read: bool,
    refused: bool,
    binary: bool,
) -> None:
    contents = {
        "oip": (oip("x", value, "inputs"), oip("y", value, "outputs")),
        "rows": ({"instances": [{"x": value}]}, {"predictions": [{"y": value}]}),
        "columns": ({"inputs": {"x": [value]}}, {"outputs": {"y": [value]}}),
        "bare rows": ({"instances": [value]}, {"predictions": [value]}),
        "bare columns": ({"inputs": [value]}, {"outputs": [value]}),
    }
    asked, given_back = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in contents[form])
    headers = {}
    if encoding is not None:
        headers[b"content-encoding"] = encoding
        asked, given_back = (gzip.compress(part) if encoding == b"gzip" else part for part in (asked, given_back))
    if binary:
        headers[b"inference-header-content-length"] = b"%d" % len(asked)
        asked += SECRET.encode()
    response = answer(given_back, *headers.items())
    if refused:
        response = explained(Failure(400, "invalid_input", f"got {SECRET}"), "r1")
    path = OIP if form == "oip" else TFS
    made = request(path, asked, headers, inputs=("x",) if read else None)
    text, entry = captured(tmp_path_factory.mktemp("redacted") / "c", made, response, "x", "y")
    assert SECRET not in text
    assert entry["redacted"]


def test_what_is_not_redacted_is_kept(tmp_path: Path) -> None:
    body = json.dumps({"instances": [{"x": 1, "z": 2}]}).encode()
    _, entry = captured(tmp_path / "c", request(TFS, body, inputs=("x", "z")), answer(b'{"predictions": [3]}'), "x")
    assert json.loads(entry["body"]) == {"instances": [{"x": "[redacted]", "z": 2}]}
    assert (entry["redacted"], "redacted" in entry["answer"], json.loads(entry["answer"]["body"])) == (
        True,
        False,
        {"predictions": [3]},
    )


def test_of_an_error_its_code_is_kept(tmp_path: Path) -> None:
    response = explained(Failure(400, "invalid_input", f"got {SECRET}"), "r1")
    _, entry = captured(tmp_path / "c", request(OIP, b"{}", inputs=None), response, "x")
    assert json.loads(entry["answer"]["body"]) == {"code": "invalid_input", "request_id": "r1"}
    assert (entry["body"], entry["left_out"]) == (None, "it is not JSON that could be redacted")


@pytest.mark.parametrize(
    "path",
    [
        OIP,
        TFS,
        "/v2/models/m/versions/3/infer",
        "/v1/models/m/versions/3:predict",
        "/v1/models/m/labels/a%b c:predict",
        "/v1/models/m/labels/a:classify",
    ],
)
def test_the_path_is_the_one_that_was_asked(path: str) -> None:
    assert path_of(found(path)) == path.replace("%", "%25").replace(" ", "%20")
    assert path_of(found(path), b"top_k=3") == path_of(found(path)) + "?top_k=3"


def test_an_image_is_kept_with_its_query_and_left_out_where_anything_is_to_be_redacted(tmp_path: Path) -> None:
    asked = Request(found("/v1/models/m:classify"), {b"content-type": b"image/png"}, b"\x89PNG", b"top_k=3")
    answer = Response(200, b'{"predictions":[]}', lines((JSON,)))
    _, whole = captured(tmp_path / "whole", asked, answer)
    assert (whole["path"], whole["body"]) == ("/v1/models/m:classify?top_k=3", {"base64": base64.b64encode(b"\x89PNG").decode()})
    assert whole["headers"] == {"content-type": "image/png"}
    _, redacted = captured(tmp_path / "redacted", asked, answer, "x")
    assert (redacted["body"], redacted["answer"]["body"]) == (None, None)
