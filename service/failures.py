"""The one table from every package's errors to HTTP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import batching
import models
from models import Problem
from service.errors import (
    BadRequest,
    BodyTooLarge,
    Conflict,
    Draining,
    Forbidden,
    HeadersTooLarge,
    IdempotencyClash,
    JobsFull,
    MethodNotAllowed,
    NoHandshake,
    NotFinite,
    NotFollowed,
    NotSupported,
    OverBudget,
    RequestTimeout,
    ServiceError,
    StoreUnavailable,
    TensorTooLarge,
    TooManyConnections,
    TooManyFromAddress,
    TooManyImages,
    TooManyRows,
    Unauthorized,
    UnknownJob,
    UnknownPath,
    UnsupportedMedia,
)
from service.guard.budgets.budget import allowance_headers


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as HTTP tells it. ``defect``: ours or the model's, so the log has to have its traceback."""

    status: int
    code: str
    message: str
    details: tuple[Problem, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    defect: bool = False


#: The most particular class of an error that stands here decides.
TABLE: Mapping[type[Exception], tuple[int, str]] = MappingProxyType(
    {
        BadRequest: (400, "bad_request"),
        models.InvalidInput: (400, "invalid_input"),
        models.BadImage: (400, "bad_image"),
        models.LoadError: (400, "load_failed"),
        Unauthorized: (401, "unauthorized"),
        Forbidden: (403, "forbidden"),
        UnknownPath: (404, "not_found"),
        models.UnknownModel: (404, "unknown_model"),
        models.UnknownVersion: (404, "unknown_version"),
        UnknownJob: (404, "unknown_job"),
        MethodNotAllowed: (405, "method_not_allowed"),
        RequestTimeout: (408, "request_timeout"),
        Conflict: (409, "conflict"),
        IdempotencyClash: (409, "idempotency_clash"),
        BodyTooLarge: (413, "body_too_large"),
        batching.TooManyRows: (413, "too_many_rows"),
        TooManyRows: (413, "too_many_rows"),
        TensorTooLarge: (413, "tensor_too_large"),
        TooManyImages: (413, "too_many_images"),
        models.ImageTooLarge: (413, "image_too_large"),
        UnsupportedMedia: (415, "unsupported_media"),
        models.NotAnImage: (415, "unsupported_image"),
        OverBudget: (429, "over_budget"),
        TooManyFromAddress: (429, "too_many_from_address"),
        HeadersTooLarge: (431, "headers_too_large"),
        models.InferenceError: (500, "model_failed"),
        batching.RowsMismatch: (500, "model_failed"),
        NotFinite: (500, "not_finite"),
        NotSupported: (501, "not_supported"),
        batching.QueueFull: (503, "queue_full"),
        JobsFull: (503, "jobs_full"),
        batching.Closed: (503, "model_not_ready"),
        models.NotReady: (503, "model_not_ready"),
        Draining: (503, "draining"),
        StoreUnavailable: (503, "store_unavailable"),
        NotFollowed: (503, "not_followed"),
        TooManyConnections: (503, "too_many_connections"),
        batching.DeadlineExceeded: (504, "deadline_exceeded"),
    }
)

HIDDEN = "the server failed to answer; its log has the reason under this request's id"


def failure(error: BaseException) -> Failure:
    """How HTTP tells of an error: the table's status and code, or 500 without a word of what was inside."""
    for kind in type(error).__mro__:
        known = TABLE.get(kind)
        if known is not None:
            status, code = known
            return Failure(status, code, str(error), _details(error), _headers(error, status), status == 500)
    return Failure(500, "internal", HIDDEN, defect=True)


def _details(error: BaseException) -> tuple[Problem, ...]:
    match error:
        case models.InvalidInput() | models.ImageError():
            return error.problems
        case ServiceError():
            return error.details
        case batching.QueueFull():
            waiting = Problem("queue", "the queue is full", f"at most {error.limit} rows waiting", f"{error.queued} rows waiting")
            return (waiting,)
        case _:
            return ()


def _headers(error: BaseException, status: int) -> tuple[tuple[bytes, bytes], ...]:
    match error:
        case MethodNotAllowed():
            return ((b"allow", error.allow.encode()),)
        case NoHandshake():
            return ((b"sec-websocket-version", b"13"),)  # which RFC 6455, 4.2.2, wants said
        case Unauthorized():
            return ((b"www-authenticate", b'Bearer realm="tureen"'),)
        case OverBudget():
            left = () if error.allowance is None else allowance_headers(error.allowance)
            if error.retry_after_s is None:
                return left
            return ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))), *left)
        case TooManyFromAddress():
            return ((b"retry-after", b"1"),)
        case batching.Refused() | JobsFull():
            return ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))),)
        case _:
            return ((b"retry-after", b"1"),) if status == 503 else ()
