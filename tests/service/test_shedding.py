"""Refusals of a model that has more to do than it can, said without reading what was asked."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import Batcher, Policy, QueueFull
from batching.entry import Arrays
from service.failures import failure
from service.request import Request
from service.response import Template, failed
from service.routing import Target
from service.routing import target as target_of
from service.shedding import Shedding

ROW = {"x": np.zeros((1, 1))}


def target() -> Target:
    found = target_of("/v2/models/fraud/infer")
    assert found is not None
    return found


def asking(headers: Mapping[bytes, bytes] | None = None) -> Request:
    return Request(target(), headers or {}, b"")


@asynccontextmanager
async def crowded() -> AsyncIterator[Batcher]:
    """A batcher with a row in a call and the two that may wait; when it ends, they are answered."""
    started, go = threading.Event(), threading.Event()

    def wait(inputs: Arrays, outputs: tuple[str, ...]) -> Arrays:
        started.set()
        go.wait()
        return dict(inputs)

    with ThreadPoolExecutor(1) as pool:
        batcher = Batcher(wait, Policy(max_rows=1, queue_rows=2, timeout_ms=60_000), pool)
        entries = [batcher.submit(ROW, 1)]
        await asyncio.to_thread(started.wait)
        entries += [batcher.submit(ROW, 1) for _ in range(2)]
        try:
            yield batcher
        finally:
            go.set()
            await asyncio.gather(*entries)
            await batcher.close()


async def test_each_refusal_has_its_own_requests_id() -> None:
    shedding = Shedding()
    async with crowded() as batcher:
        for headers in ({b"x-request-id": b"one"}, {b"x-request-id": b'"two"'}, {}):
            request = asking(headers)
            response = shedding.refused(request, batcher, 1, None)
            assert response is not None
            assert (response.status, json.loads(response.body)["code"]) == (503, "queue_full")
            assert json.loads(response.body)["request_id"] == request.id
            assert dict(response.headers)[b"x-request-id"] == request.id.encode()
            assert dict(response.headers)[b"content-length"] == b"%d" % len(response.body)
            assert int(dict(response.headers)[b"retry-after"]) >= 1


async def test_who_can_be_answered_is_not_refused() -> None:
    with ThreadPoolExecutor(1) as pool:
        batcher = Batcher(lambda inputs, outputs: dict(inputs), Policy(), pool)
        assert Shedding().refused(asking(), batcher, 1, None) is None
        await batcher.close()


async def test_what_is_said_of_one_model_is_not_said_of_another() -> None:
    shedding = Shedding()
    async with crowded() as full, crowded() as late:
        asked = ((full, None), (late, -1.0), (full, None))
        said = [shedding.refused(asking(), batcher, 1, timeout_s) for batcher, timeout_s in asked]
        assert [response.status for response in said if response is not None] == [503, 504, 503]


async def test_words_do_not_keep_a_model_that_was_unloaded() -> None:
    shedding = Shedding()
    async with crowded() as batcher:
        assert shedding.refused(asking(), batcher, 1, None) is not None
        left = weakref.ref(batcher)
    del batcher
    gc.collect()
    assert left() is None


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128))
def test_words_made_once_are_those_that_are_made_each_time(name: str) -> None:
    error = QueueFull(1, 2, 2, 1.5)
    assert Template.of(failure(error)).response(name) == failed(error, name)


@pytest.mark.parametrize("name", ["plain", '"', "\\", "~"])
def test_the_id_of_a_refusal_is_whole_whatever_is_in_it(name: str) -> None:
    told = json.loads(failed(QueueFull(1, 2, 2, 1.5), name).body)
    assert list(told) == ["error", "code", "request_id", "details"]
    assert told["request_id"] == name
