"""Every model and version of the server at once, some much more than others, while one model comes and goes.

Requests for the one that comes and goes may be refused as not ready, and in no other way; all others must not notice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import gevent
from locust.env import Environment

from loadtests.asks import Ask, Unasked, of_model
from loadtests.steady import Steady, Visitor
from loadtests.zipf import users
from service.commands.client import Client, Reply, Unreachable

COMES_AND_GOES, NOT_READY = "digits", "model_not_ready"
ALPHA, DISTINCT = 1.1, 32
#: How long it stays, and stays away (seconds).
TURN_S = 1.0
LOAD, UNLOAD = f"load {COMES_AND_GOES}", f"unload {COMES_AND_GOES}"


class Caller(Visitor):
    """Asks any of the models."""


def versions(client: Client) -> list[tuple[str, str]]:
    """What answers, the most asked first, the one that comes and goes last. Raises Unasked, and Unreachable."""
    reply = client.send("/v2/repository/index", b'{"ready": true}', {"Content-Type": "application/json"})
    found = reply.json()
    if reply.status != 200 or not isinstance(found, list):
        raise Unasked(f"the server does not say which models it has: {reply.error}")
    return sorted(((entry["name"], entry["version"]) for entry in found), key=lambda one: (one[0] == COMES_AND_GOES, one))


def asks(url: str) -> Sequence[Ask]:
    """Requests for the models by Zipf's law, each model's own in turns."""
    with Client(url) as client:
        served = versions(client)
        made = [
            of_model(client, model, version, ("oip",), DISTINCT, NOT_READY if model == COMES_AND_GOES else "")
            for model, version in served
        ]
    drawn = users(len(served), ALPHA, 1 << 14, seed=1)
    return [made[which][number % DISTINCT] for number, which in enumerate(drawn)]


def models(url: str) -> Sequence[str]:
    """Whose batches are told of; the counts of the one that comes and goes begin anew each time."""
    with Client(url) as client:
        try:
            return sorted({model for model, _ in versions(client)} - {COMES_AND_GOES})
        except (Unasked, Unreachable):
            return []


def come_and_go(environment: Environment) -> None:
    """Unloads the model and loads it again, in turns, and leaves it loaded where it is killed."""
    with Client(environment.host or "", 30.0) as client:
        try:
            while True:
                _fired(environment, UNLOAD, client)
                gevent.sleep(TURN_S)
                _fired(environment, LOAD, client)
                gevent.sleep(TURN_S)
        finally:
            with Client(environment.host or "", 30.0) as last:
                _moved(last, LOAD)


def _fired(environment: Environment, name: str, client: Client) -> None:
    begun = time.perf_counter()
    reply = _moved(client, name)
    problem = None if reply.status == 200 else RuntimeError(f"{reply.status}: {reply.error}")
    environment.events.request.fire(  # type: ignore[no-untyped-call]  # Locust is typed but for this
        request_type="POST",
        name=name,
        response_time=1e3 * (time.perf_counter() - begun),
        response_length=len(reply.body),
        exception=problem,
        context={},
    )


def _moved(client: Client, name: str) -> Reply:
    move, model = name.split(" ")
    return client.send(f"/v2/repository/models/{model}/{move}", b"{}", {"Content-Type": "application/json"})


steady = Steady("many_models", Caller, asks, models, come_and_go, frozenset({LOAD, UNLOAD}))
