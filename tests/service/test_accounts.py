"""What is told of a request that Quart answered."""

from __future__ import annotations

import pytest
from quart import Quart

from batching import Answer
from service.account import PATH, Account, Plain
from service.blueprints.accounts import keep_accounts
from service.request import Request
from service.response import Response


class Told:
    """An observer that keeps what it is told of plain requests."""

    def __init__(self) -> None:
        self.plains: list[Plain] = []

    def inference(self, request: Request, response: Response | None, answer: Answer | None, total_s: float) -> None:
        """None comes this way."""

    def plain(self, plain: Plain) -> None:
        self.plains.append(plain)


async def told_of(asked: str) -> Plain:
    app, told = Quart(__name__), Told()

    @app.get("/models/<name>")
    async def model(name: str) -> str:
        return name

    keep_accounts(app, Account([told]))
    await app.test_client().get(asked)
    (plain,) = told.plains
    return plain


@pytest.mark.parametrize(("asked", "route"), [("/models/m", "/models/<name>"), ("/nobody/there", "")])
async def test_a_path_is_told_beside_its_route_also_where_it_has_none(asked: str, route: str) -> None:
    plain = await told_of(asked)
    assert (plain.route, plain.path) == (route, asked)


@pytest.mark.parametrize("asked", ["/models/m?api_key=secret", "/nobody?api_key=secret"])
async def test_a_query_is_not_told(asked: str) -> None:
    assert "secret" not in repr(await told_of(asked))


async def test_a_long_path_is_cut() -> None:
    assert (await told_of(f"/{'m' * 10_000}")).path == f"/{'m' * (PATH - 1)}"
