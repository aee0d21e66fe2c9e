"""Large images wait for each other, and nobody waits for them; nor is anybody kept by others past his time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from io import BytesIO
from pathlib import Path

import pytest
from image_files import encoded, picture
from PIL import Image
from quart import Quart, Response

from models.vision.prepare import LARGE
from service.app import create_app
from service.config import Config
from service.context import service_of
from service.threads import DECODERS

SMALL = encoded(picture(8, 8), "PNG")


def large() -> bytes:
    side = round(LARGE**0.5) + 1
    file = BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
async def app(demo: Path) -> AsyncIterator[Quart]:
    app = create_app(Config(repository=demo))
    async with app.test_app():
        loading = service_of(app).loading
        assert loading is not None
        await loading
        yield app


@pytest.fixture
def held(app: Quart) -> threading.Event:
    """The thread of the large images is busy until this is set."""
    held = threading.Event()
    service_of(app).engine.threads.decoding_large.submit(held.wait)
    return held


def asked(app: Quart, image: bytes, timeout_ms: int = 60_000) -> Awaitable[Response]:
    headers = {"Content-Type": "image/png", "X-Request-Timeout-Ms": str(timeout_ms)}
    return app.test_client().post("/v1/models/digits:classify", data=image, headers=headers)


async def test_small_images_are_answered_while_large_ones_wait(app: Quart, held: threading.Event) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(as_task(asked(app, large()))) for _ in range(DECODERS + 1)]
        try:
            for _ in range(10):
                assert (await asked(app, SMALL)).status_code == 200
            assert not any(each.done() for each in waiting)
        finally:
            held.set()
    assert [each.result().status_code for each in waiting] == [200] * len(waiting)


async def test_a_large_image_whose_time_passes_while_it_waits_is_not_decoded(app: Quart, held: threading.Event) -> None:
    try:
        reply = await asked(app, large(), timeout_ms=300)
        assert (reply.status_code, (await reply.get_json())["code"]) == (504, "deadline_exceeded")
    finally:
        held.set()
    assert (await asked(app, large())).status_code == 200


async def as_task(reply: Awaitable[Response]) -> Response:
    return await reply


async def test_a_large_body_is_not_waited_for_past_the_time_that_its_sender_gave(app: Quart) -> None:
    held = threading.Event()
    decoding = service_of(app).engine.threads.decoding
    busy = [decoding.submit(held.wait) for _ in range(DECODERS)]
    rows = {"instances": [[[[0.5] * 8] * 8]] * 1024}
    asking = app.test_client().post("/v1/models/digits:predict", json=rows, headers={"X-Request-Timeout-Ms": "200"})
    try:
        reply = await asking
        assert (reply.status_code, (await reply.get_json())["code"]) == (504, "deadline_exceeded")
        assert "the deadline passed before the request's body was read" in (await reply.get_json())["error"]
    finally:
        held.set()
    assert all(each.result() for each in busy)
