"""The KServe SDK's REST client, unchanged, against every server and lane, in both of its protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from models import Array
from tests.e2e.kitchen import affine
from tests.e2e.served import Server

ROWS = np.array([[1, 2, 3, 4], [0, -1, 0.5, 8]], np.float32)


@pytest_asyncio.fixture
async def v2() -> AsyncIterator[Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    yield client
    await client.close()


@pytest_asyncio.fixture
async def v1() -> AsyncIterator[Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    yield client
    await client.close()


def given(name: str, array: Array, datatype: str, *, binary: bool) -> Any:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


async def test_health(server: Server, v2: Any) -> None:
    assert await v2.is_server_live(server.url)
    assert await v2.is_server_ready(server.url)
    assert await v2.is_model_ready(server.url, "affine")
    assert not await v2.is_model_ready(server.url, "nobody")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
async def test_infer_in_json_and_in_binary(server: Server, v2: Any, binary_in: bool, binary_out: bool) -> None:
    request = InferRequest(
        "affine",
        [given("x", ROWS, "FP32", binary=binary_in)],
        request_id="a bowl",
        parameters={"binary_data_output": binary_out},
    )
    response = await v2.infer(server.url, request, "affine")
    np.testing.assert_array_equal(response.outputs[0].as_numpy(), affine(ROWS))
    assert (response.model_name, response.id) == ("affine", "a bowl")


async def test_requested_outputs(server: Server, v2: Any) -> None:
    a, b = ROWS[:, :2], ROWS[:, 2:]
    inputs = [given("a", a, "FP32", binary=False), given("b", b, "FP32", binary=True)]
    response = await v2.infer(server.url, InferRequest("pair", inputs, request_outputs=[RequestedOutput("sum")]), "pair")
    assert [output.name for output in response.outputs] == ["sum"]
    np.testing.assert_array_equal(response.outputs[0].as_numpy(), a + b)


@pytest.mark.parametrize("binary", [True, False])
async def test_bytes(server: Server, v2: Any, binary: bool) -> None:
    names = np.array([["Ada"], ["Łukasiewicz"]], np.object_)
    request = InferRequest("greet", [given("name", names, "BYTES", binary=binary)])
    response = await v2.infer(server.url, request, "greet")
    assert response.outputs[0].data == ["hello, Ada", "hello, Łukasiewicz"]


async def test_a_request_as_a_dictionary(server: Server, v2: Any) -> None:
    request = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": ROWS.tolist()}]}
    response = await v2.infer(server.url, request, "affine")
    np.testing.assert_array_equal(response.outputs[0].as_numpy(), affine(ROWS))


async def test_errors_carry_status_and_sentence(server: Server, v2: Any) -> None:
    request = InferRequest("affine", [given("x", ROWS[:, :3], "FP32", binary=False)])
    with pytest.raises(httpx.HTTPStatusError, match=r"expected \[-1, 4\], got \[2, 3\]") as raised:
        await v2.infer(server.url, request, "affine")
    assert raised.value.response.status_code == 400
    with pytest.raises(httpx.HTTPStatusError, match="there is no model 'nobody'") as raised:
        await v2.infer(server.url, request, "nobody")
    assert raised.value.response.status_code == 404


async def test_v1_health(server: Server, v1: Any) -> None:
    assert await v1.is_server_live(server.url)
    assert await v1.is_model_ready(server.url, "affine")
    with pytest.raises(httpx.HTTPStatusError, match="there is no model 'nobody'"):
        await v1.is_model_ready(server.url, "nobody")


async def test_v1_predict(server: Server, v1: Any) -> None:
    assert await v1.infer(server.url, {"instances": ROWS.tolist()}, "affine") == {"predictions": affine(ROWS).tolist()}
    assert await v1.infer(server.url, {"inputs": ROWS.tolist()}, "affine") == {"outputs": affine(ROWS).tolist()}


async def test_v1_errors_carry_status_and_sentence(server: Server, v1: Any) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="neither instances nor inputs") as raised:
        await v1.infer(server.url, {}, "affine")
    assert raised.value.response.status_code == 400
