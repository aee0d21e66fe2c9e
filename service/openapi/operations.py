"""What each route is for, what it takes and what it answers.

A new route of ours needs one entry in OPERATIONS, under its endpoint; until it has one it is in the document all the same, by its
docstring. A route that asks a model something gives ``exchange``: then each loaded model has a path of its own, typed by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.signature import Signature
from service.openapi import images
from service.openapi.errors import content
from service.openapi.inference import JSON, Exchange, oip, predict
from service.openapi.schema import BINARY, BOOLEAN, COUNT, TEXT, Json, array, either, record, ref

INFERENCE, JOBS, MODELS, REPOSITORY, HEALTH, SERVER, DOCUMENTATION = (
    "Inference", "Jobs", "Models", "Repository", "Health", "Server", "Documentation"
)  # fmt: skip
TAGS: Mapping[str, str] = {
    INFERENCE: "Ask a model. Every request is checked whole before it may wait beside others, and shares a batch with them.",
    JOBS: "Many rows for one model, taken now and answered later, at low priority.",
    MODELS: "What the models are, and how they do.",
    REPOSITORY: "What there is to load; loading and unloading while serving.",
    HEALTH: "What orchestrators' probes ask.",
    SERVER: "What serves.",
    DOCUMENTATION: "This document, and pages to read it and to try models out.",
}

#: The errors that every inference may end in.
_INFERENCE_ERRORS = (400, 404, 408, 413, 415, 500, 501, 503, 504)
_INFERENCE_HEADERS = ("X-Request-Timeout-Ms", "X-Priority", "X-Explain")
_TOLD = ("X-Model-Version", "X-Cache", "Server-Timing", "X-Explain")


@dataclass(frozen=True, slots=True)
class Answer:
    """A body by its content types; none at all where there are none."""

    description: str
    content: Mapping[str, Json] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. ``request`` is the JSON that its body may be, ``others`` what else, by content type; ``errors`` the
    statuses from the table of errors, ``headers`` the request's own beside X-Request-Id, ``query`` its parameters. ``guide``: known
    models are named as examples in the path. ``images``: it is of models that take encoded images alone."""

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    errors: tuple[int, ...] = (500,)
    description: str = ""
    request: Json | None = None
    required: bool = False
    headers: tuple[str, ...] = ()
    guide: bool = True
    exchange: Callable[[Signature, str, str], Exchange] | None = None
    others: Mapping[str, Json] = field(default_factory=dict)
    query: tuple[Json, ...] = ()
    images: bool = False


def _gives(schema: str, description: str = "As said.") -> Mapping[int, Answer]:
    return {200: Answer(description, {JSON: ref(schema)})}


def _ready(schema: str) -> Mapping[int, Answer]:
    not_ready = {JSON: either(ref(schema), content(503))}
    return {200: Answer("Ready.", {JSON: ref(schema)}), 503: Answer("Not ready.", not_ready)}


def _infer(summary: str) -> Operation:
    return Operation(
        INFERENCE,
        summary,
        {200: Answer("The outputs.", {JSON: ref("InferAnswer"), "application/octet-stream": BINARY}, _TOLD)},
        _INFERENCE_ERRORS,
        "The Open Inference Protocol. Any model, also one that is loaded later; each loaded model has a typed path of its own.",
        ref("InferRequest"),
        True,
        (*_INFERENCE_HEADERS, "Inference-Header-Content-Length"),
        False,
        oip,
    )


def _classify(summary: str) -> Operation:
    return Operation(
        INFERENCE,
        summary,
        {
            200: Answer(
                "A prediction for each image, in order; of several, also for those that are bad.",
                {JSON: ref("ClassifyAnswer")},
                _TOLD,
            )
        },
        _INFERENCE_ERRORS,
        "Encoded images, of any model whose model.toml has a section [image]; each loaded one has a path of its own.",
        ref("ClassifyRequest"),
        True,
        _INFERENCE_HEADERS,
        False,
        images.classify,
        images.OTHERS,
        images.OPTIONS,
        images=True,
    )


def _predict(summary: str) -> Operation:
    return Operation(
        INFERENCE,
        summary,
        {200: Answer("The predictions, in the request's form.", {JSON: ref("PredictAnswer")}, _TOLD)},
        _INFERENCE_ERRORS,
        "TensorFlow Serving's form. Any model, also one that is loaded later; each loaded model has a typed path of its own.",
        ref("PredictRequest"),
        True,
        _INFERENCE_HEADERS,
        False,
        predict,
    )


_MODEL_ERRORS = (404, 500, 503)
_HTML = Answer("A page.", {"text/html": TEXT}, ("ETag",))
_FILE = Answer("A part of the page.", {"text/css": TEXT, "text/javascript": TEXT, "image/png": BINARY}, ("ETag",))
_PART = Answer("A part of the page.", {"text/css": TEXT, "text/javascript": TEXT, "image/svg+xml": TEXT}, ("ETag",))
_SAME = Answer("Not changed since the answer whose ETag was sent in If-None-Match.", {}, ("ETag",))

_LINES = "application/x-ndjson"
_JOB_LINES: Json = {**TEXT, "examples": ["[57.2, 0, 1, 3, 48.1, 12, 50.3, 60, 49.9, 4, 0.0, 30, 0.2, 121, 0.1]\n"]}
_JOB_TABLE: Json = {**TEXT, "examples": ["user_id,k\n3,5\n4,5\n"]}
_JOB_RESULTS: Json = {**TEXT, "examples": ['{"row":0,"prediction":0.0295}\n{"row":1,"error":"…","code":"invalid_input"}\n']}
#: A job of the caller's.
_JOB_ERRORS = (400, 404, 500, 503)


def _asks(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


OPERATIONS: Mapping[str, Operation] = {
    "oip.infer": _infer("Ask the newest version"),
    "oip.infer_version": _infer("Ask one version"),
    "tfserving.predict": _predict("Ask the newest version"),
    "tfserving.predict_version": _predict("Ask one version"),
    "tfserving.predict_label": _predict("Ask the version with a label"),
    "images.classify": _classify("Classify images by the newest version"),
    "images.classify_version": _classify("Classify images by one version"),
    "images.classify_label": _classify("Classify images by the version with a label"),
    "jobs.create": Operation(
        JOBS,
        "Have many rows answered later",
        {202: Answer("It is taken, whole, and survives a restart.", {JSON: ref("Job")}, ("Location",))},
        (400, 404, 408, 409, 413, 415, 500, 503),
        "The body is read while it arrives, and may be far larger than that of another request; its rows are instances of "
        "TensorFlow Serving's form, of which a bad one costs no other anything.",
        either(array({}, least=1), record({"instances": array({}, least=1)}, closed=True)),
        True,
        ("Idempotency-Key",),
        others={_LINES: _JOB_LINES, "text/csv": _JOB_TABLE},
        query=(
            _asks("model", {**TEXT, "minLength": 1}, "The model to ask.", required=True),
            _asks("version", TEXT, "One version of it; without it the newest."),
            _asks("label", TEXT, "The version with that label; not together with `version`."),
            _asks("callback", TEXT, "Where the job is POSTed once it is over: a URL of one of `[jobs] callback_hosts`."),
        ),
    ),
    "jobs.every": Operation(
        JOBS, "Your jobs, the newest first; everybody's, for the scope admin", _gives("Jobs"), (400, 404, 500, 503)
    ),
    "jobs.one": Operation(JOBS, "What has become of a job", _gives("Job"), _JOB_ERRORS),
    "jobs.end": Operation(
        JOBS,
        "Cancel a job, or forget one that is over",
        {200: Answer("It is cancelled, and keeps the results that it has.", {JSON: ref("Job")}), 204: Answer("It is forgotten.")},
        _JOB_ERRORS,
    ),
    "jobs.results": Operation(
        JOBS,
        "The results, also while they come",
        {200: Answer("A line for each row, in their order; without a `row`, why there are no more.", {_LINES: _JOB_RESULTS})},
        _JOB_ERRORS,
        query=(
            _asks("from", COUNT, "The first row to tell of."),
            _asks("follow", BOOLEAN, "Whether to go on until the job is over: true unless said."),
        ),
    ),
    "oip.server": Operation(SERVER, "Name, version and the protocol's extensions that work here", _gives("Server")),
    "oip.model": Operation(MODELS, "Tensors, platform, and the versions that answer", _gives("Model"), _MODEL_ERRORS),
    "oip.ready": Operation(MODELS, "Whether it would answer", _ready("ModelReady"), (404, 500)),
    "oip.config": Operation(MODELS, "How it is batched and versioned", _gives("ModelConfig"), _MODEL_ERRORS),
    "configuration.configure": Operation(
        MODELS,
        "Change how it is served, while it serves",
        _gives("ModelConfig", "Every worker has it; as `GET /v2/models/M/config` tells it."),
        (400, 404, 408, 413, 500, 503),
        "Keys of the sections batching, cache and limits, for all its versions, without a load and without a request refused. "
        "null puts a key or a section back to what model.toml says; keys that are not named stay as they are.",
        ref("ConfigChange"),
        True,
        guide=False,
    ),
    "oip.all_stats": Operation(MODELS, "Statistics of all models", _gives("Statistics")),
    "oip.stats": Operation(
        MODELS, "Statistics: requests, rows, calls, times and batches since it was loaded", _gives("Statistics"), _MODEL_ERRORS
    ),
    "tfserving.status": Operation(
        MODELS, "Versions and their states, in TensorFlow Serving's form", _gives("ModelStatus"), _MODEL_ERRORS
    ),
    "tfserving.metadata": Operation(MODELS, "The signature, in TensorFlow Serving's form", _gives("ModelMetadata"), _MODEL_ERRORS),
    "repository.index": Operation(
        REPOSITORY,
        "Every model and version with its state, and why where it does not answer",
        _gives("Index"),
        (400, 408, 413, 500),
        request=ref("IndexRequest"),
    ),
    "repository.load": Operation(
        REPOSITORY,
        "Load a model, or load it again",
        _gives("Nothing", "It answers."),
        (400, 404, 408, 409, 413, 500, 503),
        "The old serves until the new is warm.",
        ref("LoadRequest"),
        guide=False,
    ),
    "repository.unload": Operation(
        REPOSITORY,
        "Take a model out of service",
        _gives("Nothing", "It answers no more."),
        (400, 404, 408, 413, 500, 503),
        "What it has taken is answered first.",
        ref("UnloadRequest"),
        guide=False,
    ),
    "health.live": Operation(HEALTH, "Whether the process answers", _gives("Live")),
    "health.ready": Operation(HEALTH, "Whether all that is wanted is loaded and warm", _ready("Ready")),
    "health.healthz": Operation(HEALTH, "Whether the process answers, by another name", _gives("Status")),
    "health.alive": Operation(
        HEALTH,
        "Whether the process answers, as KServe's V1 asks it; for a browser a page of the models",
        {
            200: Answer("As said, or a page where `Accept` would have that sooner.", {JSON: ref("Status"), "text/html": TEXT}),
            304: _SAME,
        },
    ),
    "metrics.scrape": Operation(
        SERVER,
        "The metrics of all workers, as Prometheus scrapes them",
        {200: Answer("Metrics.", {"text/plain": TEXT, "application/openmetrics-text": TEXT})},
        (404, 500),
        "404 where nothing is counted.",
    ),
    "documentation.document": Operation(
        DOCUMENTATION,
        "This document",
        {200: Answer("OpenAPI 3.1.", {JSON: ref("OpenApi")}, ("ETag",)), 304: _SAME},
    ),
    "documentation.page": Operation(DOCUMENTATION, "This document as a page, to try things out", {200: _HTML, 304: _SAME}),
    "documentation.asset_of": Operation(DOCUMENTATION, "A part of that page", {200: _FILE, 304: _SAME}, (404, 500)),
    "pages.page": Operation(
        DOCUMENTATION,
        "A model's page, to try it out: the same for every model, as it asks for its card",
        {200: _HTML, 304: _SAME},
        (404, 500),
    ),
    "pages.card_of": Operation(
        DOCUMENTATION, "What a model's page shows: versions, tensors, requests, images", _gives("Card"), (404, 500)
    ),
    "pages.asset_of": Operation(DOCUMENTATION, "A part of the models' pages", {200: _PART, 304: _SAME}, (404, 500)),
}
