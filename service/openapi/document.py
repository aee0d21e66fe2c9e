"""The whole document, from routes and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.openapi import answers, errors, headers, paths, security
from service.openapi.facts import ANYBODY, Asked, Offer, Route
from service.openapi.inference import JSON, OCTETS, RAW, Exchange
from service.openapi.operations import OPERATIONS, TAGS, Answer, Operation
from service.openapi.schema import BINARY, TEXT, Json, ref, said
from service.routing import NAME

_ABOUT = """Serves ONNX, LightGBM and Python models, batched.

Below are the paths of this server as it is now; each loaded model has its own, with the types of its tensors, and examples that
work as they stand. Bodies of requests may be coded in `gzip` or `deflate` (Content-Encoding), and long answers are where
Accept-Encoding takes it. `GET` paths answer `HEAD` too.

Every error, on every path, is the JSON `{"error", "code", "request_id"}`, with `details` where a place in the request can be named:

"""


def document(routes: Iterable[Route], offers: Sequence[Offer], version: str, asked: Asked = ANYBODY) -> dict[str, Any]:
    """OpenAPI 3.1 of an app with those routes, while those versions of models answer; ``version`` is the server's own."""
    return _Draft(offers, version, asked).of(paths.sorted_routes(routes))


class _Draft:
    """One document while it is put together."""

    def __init__(self, offers: Sequence[Offer], version: str, asked: Asked) -> None:
        self.offers, self.version, self.asked = offers, version, asked
        self.names = paths.Names()
        self.paths: dict[str, Json] = {}
        self.schemas: dict[str, Json] = {**errors.schemas(), **answers.SCHEMAS}
        self.tags: dict[str, str] = {}

    def of(self, routes: Sequence[Route]) -> Json:
        for route in routes:
            described = OPERATIONS.get(route.endpoint) if route.ours else None
            if described is not None and described.exchange is not None:
                self._add_models(route, described)
        for route in routes:
            described = OPERATIONS.get(route.endpoint) if route.ours else None
            for method in paths.methods(route):
                self._add(route, method, described)
        known = [tag for tag in TAGS if tag in self.tags]
        models = [tag for offer in self.offers if offer.newest and (tag := _tag(offer)) in self.tags]
        tags = dict.fromkeys([*models, *known, *sorted(self.tags)])
        return {
            "openapi": "3.1.0",
            "info": {"title": "Tureen", "version": self.version, "description": _ABOUT + errors.table()},
            "servers": [{"url": "./", "description": "This server"}],
            "tags": [{"name": tag, "description": self.tags[tag]} for tag in tags],
            "paths": self.paths,
            "components": {
                "schemas": self.schemas,
                "responses": errors.responses(),
                "parameters": {**headers.REQUEST, **self._path_parameters()},
                "headers": headers.components(),
                **security.components(self.asked),
            },
        }

    # -- paths that say what they are asked for by name ---------------------------------------------------------------------

    def _add(self, route: Route, method: str, described: Operation | None) -> None:
        path = paths.template(route.rule)
        item = self.paths.setdefault(path, {})
        if method in item:  # the first rule of two that match the same answers
            return
        parameters = [self._variable(name, kind, described) for name, kind in paths.variables(route.rule).items()]
        name = self.names.of(method, path)
        if described is None:
            made = self._plain(route, method, name, parameters)
        else:
            self.tags.setdefault(described.tag, TAGS.get(described.tag, ""))
            made = _operation(described, name, parameters)
        item[method] = security.guarded(made, route.access, self.asked)

    def _variable(self, name: str, converter: str, described: Operation | None) -> Json:
        if described is None:
            return paths.parameter(name, converter)
        known = _VARIABLES.get(name)
        if known is None:
            return paths.parameter(name, converter)
        return {"$ref": f"#/components/parameters/{known}{'' if described.guide else 'ToChoose'}"}

    def _plain(self, route: Route, method: str, name: str, parameters: list[Json]) -> Json:
        """A route that nobody has described: what its handler says of itself."""
        blueprint = route.endpoint.rpartition(".")[0] or "app"
        summary, _, more = route.words.strip().partition("\n")
        self.tags.setdefault(blueprint, "" if route.ours else "Added to this server by those who run it.")
        made: Json = {"tags": [blueprint], "operationId": name, "summary": summary or f"{method.upper()} {route.rule}"}
        if more.strip():
            made["description"] = more.strip()
        if parameters:
            made["parameters"] = parameters
        if method in ("post", "put", "patch") and not route.websocket:
            made["requestBody"] = {"content": {"*/*": {"schema": {}}}}
        success = (
            {"101": {"description": "A WebSocket opens."}} if route.websocket else {"200": {"description": "As the route answers."}}
        )
        failure = {"description": "An error.", "content": {JSON: {"schema": ref("Error")}}}
        return {**made, "responses": {**success, "default": failure}}

    def _path_parameters(self) -> dict[str, Json]:
        newest = [offer for offer in self.offers if offer.newest]
        models = {offer.model: {"value": offer.model} for offer in newest}
        versions = {offer.version: {"value": offer.version} for offer in newest[:1]}
        labels = {label: {"value": label} for offer in self.offers for label in offer.labels}
        made: dict[str, Json] = {}
        for name, component, schema, words, examples in (
            ("name", "Model", MODEL, "A model's name.", models),
            ("version", "Version", TEXT, "A version: a whole number above 0.", versions),
            ("label", "Label", TEXT, "A label, which stands for a version.", labels),
        ):
            plain: Json = {"name": name, "in": "path", "required": True, "description": words, "schema": schema}
            made[component + "ToChoose"] = plain
            made[component] = {**plain, "examples": examples} if examples else plain
        return made

    # -- paths of models ----------------------------------------------------------------------------------------------------

    def _add_models(self, route: Route, described: Operation) -> None:
        """The route once for each model, version or label that answers there."""
        variables = paths.variables(route.rule)
        for offer in self.offers:
            if described.images and offer.images is None:
                continue
            if "version" in variables:
                self._add_model(route, described, offer, {"version": offer.version}, f"version {offer.version}")
            elif "label" in variables:
                for label in offer.labels:
                    self._add_model(route, described, offer, {"label": label}, label)
            elif offer.newest:
                self._add_model(route, described, offer, {}, "the newest version")

    def _add_model(self, route: Route, described: Operation, offer: Offer, values: Mapping[str, str], which: str) -> None:
        if described.exchange is None:
            return
        path = paths.filled(route.rule, {"name": offer.model, **values})
        # All paths to a version have their schemas in common.
        exchange = described.exchange(offer.signature, offer.model, offer.version)
        stem = f"{offer.model}.{offer.version}.{route.endpoint.partition('.')[0]}"
        item = self.paths.setdefault(path, {})
        tag = _tag(offer)
        self.tags.setdefault(tag, "")
        for method in paths.methods(route):
            made = _operation(described, self.names.of(method, path), [])
            made |= {"tags": [tag], "summary": f"Ask {offer.model}, {which}", "description": _tensors(offer)}
            made["requestBody"] = self._typed_request(exchange, stem, described.others)
            self._type_answer(made, described, exchange, stem)
            item[method] = security.guarded(made, route.access, self.asked)

    def _typed_request(self, exchange: Exchange, stem: str, others: Mapping[str, Json]) -> Json:
        content: dict[str, Json] = {}
        if exchange.request is not None:
            body: Json = {"schema": self._component(f"{stem}.request", exchange.request)}
            if exchange.requests:
                body["examples"] = {name: {"value": value} for name, value in exchange.requests.items()}
            content[JSON] = body
        if exchange.binary:
            content[OCTETS] = {"schema": RAW}
        content |= {kind: {"schema": schema} for kind, schema in others.items()}
        return {"required": True, "content": content}

    def _type_answer(self, made: Json, described: Operation, exchange: Exchange, stem: str) -> None:
        if exchange.answer is None:
            return
        body: Json = {"schema": self._component(f"{stem}.answer", exchange.answer)}
        if exchange.answers:
            body["examples"] = {name: {"value": value} for name, value in exchange.answers.items()}
        content = {JSON: body, OCTETS: {"schema": BINARY}} if exchange.binary else {JSON: body}
        answer = described.answers[200]
        told = {"description": answer.description, "headers": _told(answer), "content": content}
        responses = made["responses"]
        if isinstance(responses, dict):
            made["responses"] = {**responses, "200": told}

    def _component(self, name: str, schema: Json) -> Json:
        self.schemas.setdefault(name, schema)
        return ref(name)


#: A name in a path that is described the same wherever it stands, and its component.
_VARIABLES: Mapping[str, str] = {"name": "Model", "version": "Version", "label": "Label"}
#: The router's pattern without its look-ahead, which some readers of patterns do not know.
MODEL: Json = said({"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"}, f"As the router has it: `{NAME}`.")


def _operation(described: Operation, name: str, parameters: list[Json]) -> Json:
    made: Json = {"tags": [described.tag], "operationId": name, "summary": described.summary}
    if described.description:
        made["description"] = described.description
    made["parameters"] = [*parameters, *described.query, *headers.parameter_refs(("X-Request-Id", *described.headers))]
    if described.request is not None:
        bodies = {JSON: described.request, **described.others}
        made["requestBody"] = {"required": described.required, "content": {kind: {"schema": body} for kind, body in bodies.items()}}
    responses: dict[str, Json] = {str(status): _answer(answer) for status, answer in described.answers.items()}
    for status in described.errors:
        responses[str(status)] = {"$ref": f"#/components/responses/{errors.response_name(status)}"}
    return {**made, "responses": responses}


def _tag(offer: Offer) -> str:
    return f"model {offer.model}"


def _answer(answer: Answer) -> Json:
    made: Json = {"description": answer.description, "headers": _told(answer)}
    if answer.content:
        made["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    return made


def _told(answer: Answer) -> Json:
    return headers.header_refs(("X-Request-Id", *answer.headers))


def _tensors(offer: Offer) -> str:
    """The model's tensors as a table in Markdown."""
    signature = offer.signature
    rows = [
        f"| {kind} | `{spec.name}` | {spec.datatype} | `{list(spec.shape)}` | {'optional' if spec.optional else ''} |"
        for kind, specs in (("input", signature.inputs), ("output", signature.outputs))
        for spec in specs
    ]
    rowed = "Rows come first: a dim of -1 is free." if signature.batched else "One request at a time: no dim counts rows."
    encoded = (
        ""
        if offer.images is None
        else (f" Encoded images are taken too, for `{offer.images}`: as `BYTES` `[n]`, in JSON in base64, in binary as they are.")
    )
    return "\n".join(["| | name | datatype | shape | |", "|---|---|---|---|---|", *rows, "", rowed + encoded])
