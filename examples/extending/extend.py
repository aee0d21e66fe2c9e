"""What one team adds to the server of `examples/python_model`: a route in its own JSON, a hook, an error, and its old Flask app.

tureen serve examples/python_model --app examples.extending.extend:extend
"""

from __future__ import annotations

import numpy as np
import quart
from flask import Flask, url_for
from quart import Blueprint, Quart, request

from models import InvalidInput, Problem
from service import mount, service_of
from service.protocol.infer import Infer

# -- a route of one's own -----------------------------------------------------------------------------------------------------

shop = Blueprint("shop", __name__, url_prefix="/shop")


@shop.post("/total")
async def total() -> dict[str, object]:
    """`{"lines": [{"item": "tea", "count": 3}]}` -> `{"lines": [13.5], "total": 13.5}`, by the model `cart`."""
    asked = await request.get_json(force=True)
    try:
        items = np.array([line["item"].encode() for line in asked["lines"]], object)
        counts = np.array([line["count"] for line in asked["lines"]], np.int64)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InvalidInput(Problem("lines", "not a list of items", '[{"item": "tea", "count": 3}]')) from None
    engine = service_of().engine
    served = engine.served("cart")
    inputs = {"item": items, "count": counts}
    rows = served.signature.check(inputs)  # before the request may share a batch with others
    answer = await engine.submit(served, Infer(inputs, rows, served.signature.output_names))
    amounts = answer.outputs["total"].tolist()
    return {"lines": amounts, "total": sum(amounts)}


# -- a hook, and an error with a shape of the team's --------------------------------------------------------------------------


class NoTeam(Exception):
    """The caller does not say which team it is."""


async def ask_for_team() -> None:
    """Runs before every request, also those for an inference; probes may stay anonymous."""
    if request.method == "POST" and not request.headers.get("X-Team"):
        raise NoTeam


async def explain_team(error: NoTeam) -> tuple[dict[str, str], int]:
    """The team's own JSON for its own error."""
    return {"message": "say who asks: send the header X-Team"}, 403


async def thank(response: quart.Response) -> quart.Response:
    """Runs after every request."""
    response.headers["X-Shop"] = "open"
    return response


# -- a Flask app that is there already ----------------------------------------------------------------------------------------

legacy = Flask("legacy", static_folder=None)


@legacy.get("/")
def index() -> str:
    """The links are right wherever the app is mounted."""
    return f'<a href="{url_for("invoice", number=7)}">invoice 7</a>'


@legacy.get("/invoices/<int:number>")
def invoice(number: int) -> dict[str, object]:
    """An invoice as it has always been."""
    return {"invoice": number, "paid": number % 2 == 1}


def extend(app: Quart) -> None:
    """Called once with Tureen's Quart app, before it is served."""
    app.register_blueprint(shop)
    app.before_request(ask_for_team)
    app.after_request(thank)
    app.register_error_handler(NoTeam, explain_team)
    mount(app, "/legacy", legacy)
