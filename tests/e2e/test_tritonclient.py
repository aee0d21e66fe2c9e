"""Triton's own HTTP clients, unchanged, against every server and lane."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import tritonclient.http as blocking
import tritonclient.http.aio as asyncio_client
from tritonclient.utils import InferenceServerException

from models import Array
from tests.e2e.kitchen import Gate, affine
from tests.e2e.served import Server

# The asyncio client leaves the answers whose body it does not want to aiohttp's finalizer.
pytestmark = pytest.mark.filterwarnings("ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning")

ROWS = np.array([[1, 2, 3, 4], [0, -1, 0.5, 8]], np.float32)


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with blocking.InferenceServerClient(server.address, concurrency=4) as made:
        yield made


@pytest_asyncio.fixture
async def aio(server: Server) -> AsyncIterator[Any]:
    async with asyncio_client.InferenceServerClient(server.address) as made:
        yield made
    gc.collect()  # here, where its warnings are expected


def given(name: str, array: Array, datatype: str, *, binary: bool = True) -> Any:
    made = blocking.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def wanted(name: str, **how: Any) -> Any:
    return blocking.InferRequestedOutput(name, **how)


def test_what_the_server_and_its_models_say_of_themselves(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("boost", "2")
    assert not client.is_model_ready("boost", "3")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "tureen"
    metadata = client.get_model_metadata("pair")
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["sum", "difference"]
    assert client.get_model_metadata("boost", "1")["versions"] == ["1", "2"]
    config = client.get_model_config("affine")
    assert (config["max_batch_size"], config["input"][0]["data_type"], config["input"][0]["dims"]) == (64, "TYPE_FP32", [4])
    assert client.get_model_config("fixed")["max_batch_size"] == 0
    index = client.get_model_repository_index()
    assert {"name": "boost", "version": "2", "state": "READY", "reason": ""} in index


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_infer_in_json_and_in_binary_either_way(client: Any, binary_in: bool, binary_out: bool) -> None:
    result = client.infer("affine", [given("x", ROWS, "FP32", binary=binary_in)], outputs=[wanted("y", binary_data=binary_out)])
    np.testing.assert_array_equal(result.as_numpy("y"), affine(ROWS))
    assert result.get_response()["model_version"] == "1"


def test_without_requested_outputs_all_come_in_binary(client: Any) -> None:
    a, b = ROWS[:, :2], ROWS[:, 2:]
    result = client.infer("pair", [given("a", a, "FP32"), given("b", b, "FP32")])
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(result.as_numpy("difference"), a - b)
    assert all("binary_data_size" in output["parameters"] for output in result.get_response()["outputs"])


def test_inputs_and_outputs_may_mix_the_two_forms(client: Any) -> None:
    a, b = ROWS[:, :2], ROWS[:, 2:]
    inputs = [given("a", a, "FP32", binary=False), given("b", b, "FP32")]
    result = client.infer("pair", inputs, outputs=[wanted("difference", binary_data=False), wanted("sum")])
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(result.as_numpy("difference"), a - b)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["difference", "sum"]


@pytest.mark.parametrize("binary", [True, False])
def test_bytes_go_in_and_out(client: Any, binary: bool) -> None:
    names = np.array([["Ada"], ["Łukasiewicz"], [""]], np.object_)
    result = client.infer("greet", [given("name", names, "BYTES", binary=binary)], outputs=[wanted("greeting", binary_data=binary)])
    told = [value if isinstance(value, bytes) else value.encode() for value in result.as_numpy("greeting").ravel()]
    assert told == [f"hello, {name}".encode() for name in names.ravel()]


def test_halves_go_in_binary(client: Any) -> None:
    halves = np.array([[0.5, -65504.0]], np.float16)
    result = client.infer("half", [given("x", halves, "FP16")])
    np.testing.assert_array_equal(result.as_numpy("y"), halves)


def test_a_model_that_does_not_batch(client: Any) -> None:
    result = client.infer("fixed", [given("x", np.array([1, 2, 3], np.float32), "FP32")])
    np.testing.assert_array_equal(result.as_numpy("y"), np.array([2, 4, 6], np.float32))


def test_the_request_id_comes_back(client: Any) -> None:
    assert client.infer("affine", [given("x", ROWS, "FP32")], request_id="a bowl 7").get_response()["id"] == "a bowl 7"


def test_versions_answer_for_themselves(client: Any) -> None:
    row = given("input", ROWS.astype(np.float64), "FP64")
    first, second, newest = (client.infer("boost", [row], model_version=version) for version in ("1", "2", ""))
    assert (first.as_numpy("output") != second.as_numpy("output")).any()
    np.testing.assert_array_equal(second.as_numpy("output"), newest.as_numpy("output"))


def test_classification_gives_the_best_classes_of_each_row(client: Any) -> None:
    result = client.infer("affine", [given("x", ROWS, "FP32")], outputs=[wanted("y", class_count=1)])
    best = affine(ROWS).argmax(axis=1)
    told = [value.decode().split(":") for value in result.as_numpy("y").ravel()]
    assert [int(index) for _, index in told] == best.tolist()
    assert [float(value) for value, _ in told] == affine(ROWS).max(axis=1).tolist()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_of_requests_and_answers(client: Any, algorithm: str, binary: bool) -> None:
    rows = np.array([[0.5], [1], [2]], np.float32)
    result = client.infer(
        "wide",
        [given("x", rows, "FP32", binary=binary)],
        outputs=[wanted("y", binary_data=binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), rows * np.arange(8192, dtype=np.float32))


def test_several_requests_in_flight(client: Any) -> None:
    rows = [np.full((1, 4), number, np.float32) for number in range(8)]
    flights = [client.async_infer("affine", [given("x", row, "FP32")]) for row in rows]
    for row, flight in zip(rows, flights, strict=True):
        np.testing.assert_array_equal(flight.get_result().as_numpy("y"), affine(row))


def test_unload_and_load(client: Any) -> None:
    client.unload_model("pair")
    try:
        assert not client.is_model_ready("pair")
        entry = next(entry for entry in client.get_model_repository_index() if entry["name"] == "pair")
        assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "model 'pair' was unloaded")
    finally:
        client.load_model("pair")
    assert client.is_model_ready("pair")


def test_load_with_a_config_of_its_own(client: Any) -> None:
    client.load_model("half", config='{"batching": {"max_rows": 7}}')
    try:
        assert client.get_model_config("half")["max_batch_size"] == 7
    finally:
        client.load_model("half")
    assert client.get_model_config("half")["max_batch_size"] == 64


def test_statistics_count_rows_and_calls(client: Any) -> None:
    before = client.get_inference_statistics("affine")["model_stats"][0]
    client.infer("affine", [given("x", ROWS, "FP32")])
    after = client.get_inference_statistics("affine")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    assert {"affine", "boost"} <= {model["name"] for model in client.get_inference_statistics()["model_stats"]}


def test_a_timeout_in_microseconds_is_a_deadline(client: Any, gate: Gate) -> None:
    inputs = [given("x", np.ones(1), "FP64"), given("gate", np.array([gate.name], np.object_), "BYTES")]
    with pytest.raises(InferenceServerException, match="the deadline passed") as raised:
        client.infer("gate", inputs, timeout=50_000)
    assert raised.value.status() == "504"


@pytest.mark.parametrize(
    ("model", "version", "array", "status", "sentence"),
    [
        ("nobody", "", ROWS, "404", "there is no model 'nobody'"),
        ("affine", "9", ROWS, "404", "does not serve version 9; it serves 1"),
        ("affine", "x", ROWS, "404", "a version is a positive integer"),
        ("affine", "", ROWS[:, :3], "400", r"expected \[-1, 4\], got \[2, 3\]"),
        ("greet", "", ROWS, "400", "the model has no such input"),
    ],
)
def test_errors_tell_our_sentence(client: Any, model: str, version: str, array: Array, status: str, sentence: str) -> None:
    with pytest.raises(InferenceServerException, match=sentence) as raised:
        client.infer(model, [given("x", array, "FP32")], model_version=version)
    assert raised.value.status() == status


def test_an_unknown_model_cannot_be_loaded(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="did you mean 'affine'"):
        client.load_model("afine")


def test_shared_memory_is_refused_in_json(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="there is nothing at '/v2/systemsharedmemory/status'"):
        client.get_system_shared_memory_status()


async def test_asyncio_what_the_server_says(aio: Any) -> None:
    assert await aio.is_server_live()
    assert await aio.is_server_ready()
    assert await aio.is_model_ready("affine")
    assert not await aio.is_model_ready("nobody")
    assert (await aio.get_server_metadata())["name"] == "tureen"
    assert (await aio.get_model_metadata("greet"))["inputs"][0]["datatype"] == "BYTES"
    assert (await aio.get_model_config("greet"))["input"][0]["data_type"] == "TYPE_STRING"
    assert len(await aio.get_model_repository_index()) == 10
    assert (await aio.get_inference_statistics("greet"))["model_stats"][0]["name"] == "greet"


async def test_asyncio_unload_and_load(aio: Any) -> None:
    await aio.unload_model("pair")
    assert not await aio.is_model_ready("pair")
    await aio.load_model("pair")
    assert await aio.is_model_ready("pair")


@pytest.mark.parametrize("binary", [True, False])
async def test_asyncio_infer_in_json_and_in_binary(aio: Any, binary: bool) -> None:
    result = await aio.infer(
        "affine", [given("x", ROWS, "FP32", binary=binary)], outputs=[wanted("y", binary_data=binary)], request_id="7"
    )
    np.testing.assert_array_equal(result.as_numpy("y"), affine(ROWS))
    assert result.get_response()["id"] == "7"


async def test_asyncio_bytes(aio: Any) -> None:
    result = await aio.infer("greet", [given("name", np.array([["Ada"], ["\0"]], np.object_), "BYTES")])
    assert result.as_numpy("greeting").tolist() == [[b"hello, Ada"], [b"hello, \0"]]


async def test_bytes_that_are_not_text_are_refused_by_a_model_of_texts(aio: Any) -> None:
    with pytest.raises(InferenceServerException, match="element 0 is not UTF-8") as raised:
        await aio.infer("greet", [given("name", np.array([[b"\xff"]], np.object_), "BYTES")])
    assert raised.value.status() == "400"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
async def test_asyncio_compression(aio: Any, algorithm: str) -> None:
    rows = np.array([[3], [4]], np.float32)
    result = await aio.infer(
        "wide",
        [given("x", rows, "FP32")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), rows * np.arange(8192, dtype=np.float32))


async def test_asyncio_errors_tell_our_sentence(aio: Any) -> None:
    with pytest.raises(InferenceServerException, match="there is no model 'nobody'"):
        await aio.infer("nobody", [given("x", ROWS, "FP32")])
