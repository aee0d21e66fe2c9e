"""``:classify`` as its callers know it, on both servers and both lanes: good images, bad ones, and the one beside the other."""

from __future__ import annotations

import gzip
import http.client
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from struct import pack
from typing import Any

import pytest
from image_files import animated, bomb, exif

from tests.e2e.conftest import SERVERS, Servers
from tests.e2e.error_replies import check, check_hidden
from tests.e2e.gallery import EDGE, build, files, form, plain
from tests.e2e.limited import count, limits_env
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Reply, Server
from tests.e2e.wire import chunked, post, wire

SHADE = "/v1/models/shade:classify"
INFER = "/v2/models/shade/infer"
BODY_BYTES = 1_000_000
LIMITS = {"image_pixels": 1_000_000, "image_frames": 5, "images": 64, "body_bytes": BODY_BYTES}
WHITE, BLACK = plain(255), plain(0)
TAKEN = "JPEG, PNG, WebP, GIF, BMP and TIFF are taken"


@pytest.fixture(scope="module")
def galleries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        repository = build(tmp_path_factory.mktemp("gallery") / "repository")
        yield Servers(repository, tmp_path_factory.mktemp("cwd"), stack, limits_env(LIMITS))


@pytest.fixture(scope="module", params=SERVERS, ids="-".join)
def server(galleries: Servers, request: pytest.FixtureRequest) -> Server:
    kind, lane = request.param
    return galleries(kind, lane)


def coded(*images: bytes) -> dict[str, object]:
    return {"images": [{"b64": b64encode(image).decode()} for image in images]}


def predictions(reply: Reply) -> list[Any]:
    assert reply.status == 200, reply.body
    found: list[Any] = reply.json()["predictions"]
    return found


def labels(reply: Reply) -> list[str]:
    """The best of each image, or its error's code."""
    return [each["classes"][0]["label"] if "classes" in each else each["code"] for each in predictions(reply)]


# -- good ones -------------------------------------------------------------------------------------------------------------


def test_an_image_is_answered_with_its_labels_its_size_and_the_model_that_saw_it(server: Server) -> None:
    reply = server.post(SHADE, plain(51, width=12, height=8), {"Content-Type": "image/png"})
    assert reply.json() == {
        "model_name": "shade",
        "model_version": "1",
        "predictions": [
            {
                "name": "image",
                "width": 12,
                "height": 8,
                "status": 200,
                "classes": [{"label": "dark", "index": 0, "score": 0.8}, {"label": "light", "index": 1, "score": 0.2}],
            }
        ],
    }
    assert reply.headers["x-model-version"] == "1"
    assert 'batch;desc="rows=1"' in reply.headers["server-timing"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_taken_whatever_it_is_called(server: Server, kind: str) -> None:
    body = form(("a", "picture.txt", plain(255, kind)), ("b", "picture.png", plain(0, kind)))
    assert labels(server.post(SHADE, body, EDGE)) == ["light", "dark"]


def test_the_three_bodies_say_the_same(server: Server) -> None:
    bodies: list[tuple[object, Mapping[str, str]]] = [
        (WHITE, {}),
        (WHITE, {"Content-Type": "image/jpeg"}),
        (WHITE, {"Content-Type": "application/octet-stream"}),
        (coded(WHITE), {"Content-Type": "application/json"}),
        (coded(WHITE), {}),
        (form(("anything", "a.png", WHITE)), EDGE),
        (form(("anything", None, WHITE)), EDGE),
    ]
    found = [predictions(server.post(SHADE, body, headers))[0]["classes"] for body, headers in bodies]
    assert found == [found[0]] * len(bodies)


def test_images_are_answered_in_order_under_their_names(server: Server) -> None:
    body = form(("a", "../é.png", WHITE), ("b", None, BLACK), ("a", "", WHITE))
    found = predictions(server.post(SHADE, body, EDGE))
    assert [each["name"] for each in found] == ["../é.png", "b", "a"]
    assert [each["classes"][0]["label"] for each in found] == ["light", "dark", "light"]
    named = {"images": [{"b64": b64encode(WHITE).decode(), "name": "A"}, {"b64": b64encode(BLACK).decode()}]}
    assert [each["name"] for each in predictions(server.post(SHADE, named))] == ["A", "images[1]"]


def test_the_query_is_this_requests_own(server: Server) -> None:
    def classes(query: str) -> list[str]:
        return [each["label"] for each in predictions(server.post(SHADE + query, plain(51)))[0]["classes"]]

    assert classes("") == classes("?top_k=9") == ["dark", "light"]
    assert classes("?top_k=1") == classes("?threshold=0.5") == ["dark"]
    assert classes("?threshold=0.9&top_k=2") == []
    assert classes("") == ["dark", "light"]


def test_an_image_is_looked_at_upright(server: Server) -> None:
    turned = plain(0, "JPEG", 12, 8)
    marked = turned[:2] + b"\xff\xe1" + pack(">H", 2 + len(exif(6))) + exif(6) + turned[2:]
    (seen,) = predictions(server.post(SHADE, marked))
    assert (seen["width"], seen["height"]) == (8, 12)


def test_versions_and_labels_are_asked_by_their_paths(server: Server) -> None:
    for path, version in (("pure", "2"), ("pure/versions/1", "1"), ("pure/labels/stable", "1")):
        assert server.post(f"/v1/models/{path}:classify?top_k=1", WHITE).json()["model_version"] == version
    assert server.post("/v1/models/pure/versions/9:classify", WHITE).json()["code"] == "unknown_version"
    assert server.post("/v1/models/nobody:classify", WHITE).json()["code"] == "unknown_model"
    assert server.get(SHADE).json()["code"] == "method_not_allowed"


def test_a_model_of_one_image_a_call_and_one_of_any_size_are_asked_alike(server: Server) -> None:
    assert labels(server.post("/v1/models/single:classify", files([WHITE, b"", BLACK]), EDGE)) == ["light", "bad_image", "dark"]
    alike = predictions(
        server.post("/v1/models/free:classify", files([plain(51, width=9, height=6), plain(102, width=9, height=6)]), EDGE)
    )
    assert [each["classes"] for each in alike] == [
        [{"label": "0", "index": 0, "score": pytest.approx(score)}] for score in (0.2, 0.4)
    ]
    apart = server.post("/v1/models/free:classify", files([plain(0, width=9, height=6), plain(0, width=6, height=9)]), EDGE)
    problem = "the model takes each image in its own size, and those of one request differ"
    check(apart, 400, "invalid_input", f"images: {problem} (expected images of one size, or one image a request, got 2 sizes)")


def test_a_body_in_chunks_or_packed_is_read_as_any_other(server: Server) -> None:
    with wire(server) as connection:
        connection.send(*chunked(f"{SHADE}?top_k=1", WHITE[:20], WHITE[20:]))
        assert labels(connection.reply()) == ["light"]
    packed = {"Content-Encoding": "gzip", **EDGE}
    assert labels(server.post(SHADE, gzip.compress(files([WHITE, BLACK])), packed)) == ["light", "dark"]


def test_a_large_body_is_read_in_a_thread_with_the_same_answer(server: Server) -> None:
    padded = plain(255, "BMP", 400, 400)
    assert len(padded) > 150_000
    assert labels(server.post(SHADE, padded)) == ["light"]
    assert labels(server.post(SHADE, files([padded, BLACK]), EDGE)) == ["light", "dark"]
    assert labels(server.post(SHADE, coded(padded, BLACK))) == ["light", "dark"]


# -- bad ones --------------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[bytes, int, str, str]] = {
    "zero bytes": (b"", 400, "bad_image", "the image is empty (0 bytes)"),
    "text": (b"hello, I am no image", 415, "unsupported_image", f"this looks like text: {TAKEN}"),
    "HTML": (b"<!DOCTYPE html><html></html>", 415, "unsupported_image", f"this looks like an HTML page: {TAKEN}"),
    "too many pixels": (
        plain(0, "PNG", 1200, 1000),
        413,
        "image_too_large",
        "the image has 1200 x 1000 pixels, which is 1,200,000: 1,000,000 may be",
    ),
    "a bomb": (bomb(), 413, "image_too_large", "the image has 50000 x 50000 pixels, which is 2,500,000,000: 1,000,000 may be"),
    "too many frames": (
        animated("GIF", 6),
        413,
        "image_too_large",
        "the image has more than 5 frames, which is the most that may be",
    ),
}
KINDS = {"SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>', "PDF": b"%PDF-1.7\n%", "ZIP": b"PK\x03\x04" + bytes(30)}


@pytest.mark.parametrize(("image", "status", "code", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_image_is_told_what_is_wrong_with_it(server: Server, image: bytes, status: int, code: str, sentence: str) -> None:
    check(server.post(SHADE, image, {"Content-Type": "image/png"}), status, code, sentence)
    check(server.post(SHADE, form(("a", "a.png", image)), EDGE), status, code, sentence)
    check(server.post(SHADE, coded(image)), status, code, f"images[0].b64: {sentence}")
    (beside, good) = predictions(server.post(SHADE, files([image, WHITE]), EDGE))
    assert beside == {"name": "0.png", "error": sentence, "code": code, "status": status}
    assert good["classes"][0]["label"] == "light"


@pytest.mark.parametrize("name", KINDS)
def test_a_refused_format_is_told_what_it_looks_like(server: Server, name: str) -> None:
    reply = server.post(SHADE, KINDS[name])
    assert (reply.status, reply.json()["code"]) == (415, "unsupported_image")
    assert name.lower() in reply.json()["error"].lower()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_an_image_that_is_cut_off_is_bad_wherever_that_is(server: Server, kind: str) -> None:
    whole = plain(128, kind, 32, 24)
    cuts = [whole[:end] for end in range(0, len(whole) - 1, max(1, len(whole) // 30))]
    found = predictions(server.post(SHADE, files(cuts[:60]), EDGE))
    assert {each["status"] for each in found} <= {200, 400, 415}  # what lies behind the last pixel may be missing
    assert found[0]["code"] == "bad_image"
    assert any(each["status"] == 400 for each in found[1:])


REQUESTS: dict[str, tuple[object, Mapping[str, str], int, str, str]] = {
    "no body": (
        b"", {}, 400, "bad_request", 'The body is empty; expected an image, a form with files, or {"images": [{"b64": …}]}.'
    ),
    "no file": (form(), EDGE, 400, "bad_request", "The form has no image: send each as a file, with any field name."),
    "a field of text": (form(("note", None, b"look")), EDGE, 415, "unsupported_image", f"this looks like text: {TAKEN}"),
    "an option for a field": (
        form(("a", "a.png", WHITE), ("top_k", None, b"3")), EDGE, 400, "bad_request",
        "the form has a field 'top_k', which goes into the query: :classify?top_k=…",
    ),
    "a form that is cut off": (
        files([WHITE])[:-8], EDGE, 400, "bad_request",
        "the form ends within part 0, before its last boundary: it was cut off, or has another boundary",
    ),
    "another key": ({"pictures": []}, {}, 400, "bad_request", "pictures: there is no such key; did you mean images?"),
    "no images": (
        {"images": []}, {}, 400, "bad_request", "images: there are no images (expected a list of at least 1, got an empty list)"
    ),
    "no base64": (
        {"images": [{"b64": "AAEC AAEC"}]}, {}, 400, "bad_request",
        "images[0].b64: white space is not base64 (expected base64 without spaces or line ends, got ' ' at character 4)",
    ),
    "a thousand files": (
        files([WHITE] * 1000), EDGE, 413, "too_many_images",
        "the request has more images than the limit of 64; send them in several",
    ),
    "another type": (
        WHITE, {"Content-Type": "video/mp4"}, 415, "unsupported_media",
        "content type 'video/mp4' is not taken here; send multipart/form-data, the bytes of one image as image/* "
        "or application/octet-stream, or application/json",
    ),
    "no boundary": (
        files([WHITE]), {"Content-Type": "multipart/form-data"}, 400, "bad_request",
        "Content-Type: multipart/form-data says no boundary that can be one; let your client make the header",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status", "code", "sentence"), REQUESTS.values(), ids=REQUESTS)
def test_a_bad_request_is_told_what_was_expected(
    server: Server, body: object, headers: Mapping[str, str], status: int, code: str, sentence: str
) -> None:
    check(server.post(SHADE, body, headers), status, code, sentence)
    assert labels(server.post(SHADE, WHITE)) == ["light"]


def test_a_body_of_too_many_bytes_is_refused_before_it_is_sent(server: Server) -> None:
    with wire(server) as connection:
        connection.send(f"POST {SHADE} HTTP/1.1\r\nHost: tureen\r\nContent-Length: {BODY_BYTES + 1}\r\n\r\n".encode())
        sentence = f"the body has {BODY_BYTES + 1} bytes, over the limit of {BODY_BYTES} bytes; send fewer rows a request"
        check(connection.reply(), 413, "body_too_large", sentence)


def test_base64_that_is_none_costs_no_other_image_anything(server: Server) -> None:
    body = coded(WHITE, BLACK)
    body["images"].insert(1, {"b64": "AAE", "name": "odd"})  # type: ignore[attr-defined]
    assert labels(server.post(SHADE, body)) == ["light", "bad_request", "dark"]


def test_a_bad_query_is_told_the_nearest(server: Server) -> None:
    check(server.post(SHADE + "?topk=3", WHITE), 400, "bad_request", ":classify has no query parameter 'topk'; did you mean top_k?")
    sentence = "the query parameter top_k is 'all'; expected a whole number of at least 1"
    check(server.post(SHADE + "?top_k=all", WHITE), 400, "bad_request", sentence)


def test_a_model_without_an_image_section_says_how_to_come_by_one(server: Server) -> None:
    sentence = (
        "The model does not say how it takes images: declare it in its model.toml with a section [image], "
        "or send tensors to :predict."
    )
    check(server.post("/v1/models/blind:classify", WHITE), 400, "bad_request", sentence)


def test_scores_that_json_cannot_say_are_an_error_of_the_request(server: Server) -> None:
    reply = server.post(SHADE, plain(77))
    assert (reply.status, reply.json()["code"]) == (500, "not_finite")
    check_hidden(reply)


def test_where_every_image_is_bad_the_model_is_not_asked(server: Server) -> None:
    before = server.statistics("shade")["execution_count"]
    reply = server.post(SHADE, files([b"", b"text", WHITE[:40]]), EDGE)
    assert [each["status"] for each in predictions(reply)] == [400, 415, 400]
    assert 'batch;desc="rows=0"' in reply.headers["server-timing"]
    assert server.statistics("shade")["execution_count"] == before


def test_a_deadline_that_cannot_be_met_is_told_so(server: Server) -> None:
    assert labels(server.post(SHADE, WHITE, {"X-Request-Timeout-Ms": "1e300"})) == ["light"]
    reply = server.post(SHADE, files([plain(255, "PNG", 900, 900)] * 8), {**EDGE, "X-Request-Timeout-Ms": "1"})
    assert (reply.status, reply.json()["code"]) == (504, "deadline_exceeded")
    check(server.post(SHADE, WHITE, {"X-Request-Timeout-Ms": "soon"}), 400, "bad_request",
          "X-Request-Timeout-Ms is 'soon'; expected a number of milliseconds above 0")  # fmt: skip


def test_what_goes_over_a_limit_is_counted_by_its_key(galleries: Servers) -> None:
    server = galleries("hypercorn", "express")
    for limit, body in (
        ("image_pixels", files([bomb(), WHITE])),
        ("image_pixels", files([bomb()])),
        ("image_frames", files([animated("GIF", 6)])),
        ("images", files([b""] * 65)),
    ):
        before = count(server, limit)
        server.post(SHADE, body, EDGE)
        until(lambda limit=limit, before=before: count(server, limit) == before + 1, f"{limit} is counted")  # type: ignore[misc]


# -- side by side ----------------------------------------------------------------------------------------------------------


def test_uploads_that_come_at_once_share_batches_and_bad_ones_harm_nobody(server: Server) -> None:
    bodies = [(b"no image" if index % 8 == 3 else plain(255 if index % 2 else 0)) for index in range(64)]
    before = server.statistics("slow")["execution_count"]

    def ask(body: bytes) -> str:
        reply = server.post("/v1/models/slow:classify?top_k=1", body)
        return labels(reply)[0] if reply.status == 200 else str(reply.json()["code"])

    with ThreadPoolExecutor(64) as callers:
        found = list(callers.map(ask, bodies))
    assert found == ["unsupported_image" if index % 8 == 3 else "light" if index % 2 else "dark" for index in range(64)]
    assert server.statistics("slow")["execution_count"] - before < 56


def test_clients_that_leave_while_their_images_are_looked_at_cost_the_others_nothing(server: Server) -> None:
    many = files([plain(255, "PNG", 900, 900)] * 64)
    for body in (many, WHITE):  # on each depth of the lane
        for _ in range(8):
            with wire(server) as connection:
                connection.send(
                    post(
                        SHADE,
                        body,
                        "Content-Type: multipart/form-data; boundary=edge" if body is many else "Content-Type: image/png",
                    )
                )
                connection.reset()
        assert labels(server.post(SHADE, WHITE)) == ["light"]


def test_a_connection_is_kept_over_good_and_bad_images(server: Server) -> None:
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE_S)) as connection:
        for image, status in ((WHITE, 200), (b"no image", 415), (WHITE, 200), (b"", 400), (BLACK, 200), (BLACK, 200)):
            connection.request("POST", SHADE, image)
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (status, True)


def test_requests_on_one_connection_are_each_answered_by_their_own_query(server: Server) -> None:
    with wire(server) as connection:
        for query, classes in (("", 2), ("?top_k=1", 1), ("", 2), ("?top_k=1", 1), ("?top=1", None), ("", 2)):
            connection.send(post(SHADE + query, WHITE))
            told = connection.reply().json()
            assert (len(told["predictions"][0]["classes"]) if classes else told["code"]) == (classes or "bad_request")


def test_kept_answers_are_of_pixels_and_a_requests_wishes_are_not_kept_with_them(server: Server) -> None:
    path = "/v1/models/kept:classify"
    grey = 10 + SERVERS.index((server.kind, server.lane))
    first = server.post(path + "?top_k=1", form(("a", "first.png", plain(grey))), EDGE)
    again = server.post(path + "?top_k=2", form(("a", "again.bmp", plain(grey, "BMP"))), EDGE)
    assert (first.headers["x-cache"], again.headers["x-cache"]) == ("miss", "hit")
    assert [(each["name"], len(each["classes"])) for each in (*predictions(first), *predictions(again))] == [
        ("first.png", 1), ("again.bmp", 2)
    ]  # fmt: skip
    by_oip = server.post("/v2/models/kept/infer", {**oip(plain(grey)), "outputs": [{"name": "scores"}]})
    assert by_oip.headers["x-cache"] == "hit"


# -- by the Open Inference Protocol ----------------------------------------------------------------------------------------


def oip(*images: bytes, **changed: object) -> dict[str, Any]:
    data = [b64encode(image).decode() for image in images]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": data, **changed}]}


def test_an_encoded_image_may_stand_where_its_tensor_does(server: Server) -> None:
    tensor = {"name": "image", "datatype": "FP32", "shape": [2, 1, 4, 4], "data": [1.0] * 16 + [0.0] * 16}
    expected = server.post(INFER, {"inputs": [tensor]}).json()
    assert expected["outputs"][0]["data"] == [0, 1, 1, 0]
    assert server.post(INFER, oip(WHITE, BLACK)).json() == expected
    assert server.post(INFER, oip(WHITE, BLACK, shape=[2, 1], parameters={"content_type": "base64"})).json() == expected
    data = b"".join([pack("<I", len(image)) + image for image in (WHITE, BLACK)])
    described = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [described]}).encode()
    assert server.post(INFER, head + data, {"Inference-Header-Content-Length": str(len(head))}).json() == expected


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [(b"", 400, "bad_image"), (b"no image", 415, "unsupported_image"), (bomb(), 413, "image_too_large")],
)
def test_a_bad_image_by_oip_is_told_where_it_stands(server: Server, image: bytes, status: int, code: str) -> None:
    reply = server.post(INFER, oip(WHITE, image))
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert [problem["path"] for problem in reply.json()["details"]] == ["inputs[0].data[1]"]


def test_tritonclient_sends_images_as_it_sends_any_bytes(galleries: Servers) -> None:
    import numpy as np
    import tritonclient.http as triton

    server = galleries("uvicorn", "express")
    with closing(triton.InferenceServerClient(server.address)) as client:
        image = triton.InferInput("image", [2], "BYTES")
        image.set_data_from_numpy(np.array([WHITE, BLACK], object))
        assert client.infer("shade", [image]).as_numpy("scores").tolist() == [[0, 1], [1, 0]]
