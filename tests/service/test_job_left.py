"""Clients that leave while the ledger makes their job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from service.app import create_app
from service.config import Config
from service.context import service_of
from service.jobs.desk import Desk
from service.jobs.record import Job
from tests.service.measured import repository

MAKE = "/v1/jobs?model=double"
HEADERS = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "mine"}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Quart]:
    app = create_app(Config(repository=repository(tmp_path)))
    async with app.test_app():
        loading = service_of(app).loading
        assert loading is not None
        await loading
        yield app


def desk_of(app: Quart) -> Desk:
    desk = service_of(app).jobs
    assert desk is not None
    return desk


class Held:
    """The ledger makes no job until it is let go."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self._create = desk.ledger.create
        monkeypatch.setattr(desk.ledger, "create", self.create)

    def create(self, *asked: Any, **more: Any) -> tuple[Job, bool]:
        self.begun.set()
        assert self.let_go.wait(30)
        return self._create(*asked, **more)


async def left(app: Quart, held: Held) -> None:
    """A client who leaves while his job is made; returns once the app is done with him."""
    async with app.test_client().request(MAKE, method="POST", headers=HEADERS) as connection:
        await asyncio.to_thread(held.begun.wait)
        await connection.disconnect()
        for _ in range(10):  # until the app has heard of it
            await asyncio.sleep(0)
        held.let_go.set()


async def test_a_job_that_is_made_for_a_client_who_has_left_is_abandoned_and_its_key_is_free(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left(app, Held(desk_of(app), monkeypatch))
    again = await app.test_client().post(MAKE, data=b"1\n2\n", headers=HEADERS)
    assert again.status_code == 202, await again.get_data()
