"""The parts of the photographs' load test, and its client against a stand-in server."""

from __future__ import annotations

import argparse
import io
import os
import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from loadtests.classify import Names, Turns, cpu_s, kept_to, report
from loadtests.peers import photograph
from loadtests.photographs import photographs
from loadtests.uploads import Unexpected, Uploaded, request, upload


class Answering(BaseHTTPRequestHandler):
    """Says of each upload that its class is the number in its file's name."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[int] = 200
    files: ClassVar[set[bytes]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, boundary = self.headers["Content-Type"].split("boundary=")
        head, _, rest = body.partition(b"\r\n\r\n")
        self.files.add(rest.removesuffix(f"\r\n--{boundary}--\r\n".encode()))
        number = head.partition(b'filename="')[2].partition(b".")[0]
        answer = b'{"classes": [{"index": %s, "score": 0.5}]}' % number
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def answering(status: int = 200) -> Iterator[int]:
    handler = type("Handler", (Answering,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_photographs_are_jpegs_of_a_cameras_kind_no_two_alike() -> None:
    made = list(photographs(3))
    assert len(set(made)) == 3
    for data in made:
        assert 30_000 < len(data) < 120_000
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (640, 480))


def test_photographs_are_the_same_each_time() -> None:
    assert next(photographs(1)) == next(islice(photographs(5), 1))


def test_every_photograph_is_uploaded_whole_and_its_best_class_counted() -> None:
    files = [bytes([number]) * 100_000 for number in range(4)]
    with answering() as port:
        uploaded = upload(
            port, [request("/x", "file", file, number) for number, file in enumerate(files)], 2, 0.05, 0.3, lambda: 0.0
        )
    assert set(files) <= Answering.files
    assert len(uploaded.latencies) == uploaded.best.total() >= 4
    assert uploaded.agreement([0, 1, 2, 3]) == 1.0
    assert 0 < uploaded.agreement([0, 1, 2, 7]) < 1.0


def test_an_answer_that_is_none_ends_the_turn() -> None:
    with answering(503) as port, pytest.raises(Unexpected, match="expected 200, got 503"):
        upload(port, [request("/x", "file", b"", 0)], 1, 0.0, 0.3, lambda: 0.0)


def test_the_peers_preprocessing_is_torchvisions() -> None:
    wide = Image.new("RGB", (640, 480), (255, 0, 0))
    row = photograph.prepared(wide)
    assert row.shape == (3, 224, 224)
    assert row[:, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], rel=1e-5)


def test_classes_come_best_first_with_probabilities() -> None:
    ((first, second),) = photograph.best(np.log(np.array([[1.0, 7.0, 2.0]], np.float32)), 2)
    assert (first["index"], second["index"]) == (1, 2)
    assert (first["score"], second["score"]) == pytest.approx((0.7, 0.2), abs=1e-6)


def turns(*rates: float, served: bool = True) -> Turns:
    last = Uploaded(1.0, latencies=array("d", [0.1])) if served else None
    return Turns(list(rates), [1.0] * len(rates), last)


@pytest.mark.parametrize(("served", "peer", "code"), [(90.0, 45.0, 0), (89.0, 40.0, 1), (95.0, 48.0, 1)])
def test_the_server_has_to_come_near_the_faster_loop_and_leave_peers_behind(
    served: float, peer: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = {
        "offline, tureen": turns(100.0, 50.0, 100.0, served=False),
        "offline, pillow": turns(50.0, 100.0, 100.0, served=False),
        "uvicorn": turns(served, served, served),
        "litserve": turns(peer, peer, peer),
    }
    assert report(seen, ["uvicorn"], {"litserve": Path()}, [0]) == code
    assert capsys.readouterr().out.count("missed") == code


def test_an_unknown_server_is_named_with_the_known_ones() -> None:
    assert Names(("uvicorn", "hypercorn"))("hypercorn") == ["hypercorn"]
    with pytest.raises(argparse.ArgumentTypeError, match="'gunicorn' is unknown; expected some of uvicorn, hypercorn"):
        Names(("uvicorn", "hypercorn"))("uvicorn,gunicorn")


def test_cores_are_given_back() -> None:
    before = os.sched_getaffinity(0)
    with kept_to(frozenset({min(before)})):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_a_process_is_charged_with_what_it_spent() -> None:
    assert cpu_s(os.getpid()) > 0
