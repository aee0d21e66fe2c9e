"""What the service itself refuses or fails at, and the one table from every package's errors to HTTP.

ServiceError
├── BadRequest          400 malformed: not JSON, not the protocol, a header that lies
├── UnknownPath         404
├── MethodNotAllowed    405
├── BodyTooLarge        413
├── UnsupportedMedia    415 content type or encoding not taken
├── NotFinite           500 a result holds NaN or Infinity, which JSON cannot say
├── NotSupported        501 the protocol has it, we do not
├── Draining            503 the server is about to stop
└── ConfigError         tureen.toml, environment or command line; never reaches HTTP
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import batching
import models
from models import Problem


class ServiceError(Exception):
    """A refusal or failure of the service. ``details`` point at what in the request was wrong."""

    def __init__(self, message: str, *details: Problem) -> None:
        super().__init__(message)
        self.details = details


class BadRequest(ServiceError):
    """The request is malformed."""


class UnknownPath(ServiceError):
    """There is nothing at that path."""


class MethodNotAllowed(ServiceError):
    """The path takes other methods: ``allow`` names them."""

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class NotFinite(ServiceError):
    """A result holds NaN or Infinity, which JSON cannot say."""


class BodyTooLarge(ServiceError):
    """The body, inflated or not, is over its limit."""


class UnsupportedMedia(ServiceError):
    """The content type or encoding is not one that we take."""


class Draining(ServiceError):
    """The server finishes what it has and takes no more."""


class NotSupported(ServiceError):
    """The protocol has it, we do not."""


class ConfigError(ServiceError):
    """The service's configuration is wrong."""


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
        models.LoadError: (400, "load_failed"),
        UnknownPath: (404, "not_found"),
        models.UnknownModel: (404, "unknown_model"),
        models.UnknownVersion: (404, "unknown_version"),
        MethodNotAllowed: (405, "method_not_allowed"),
        BodyTooLarge: (413, "body_too_large"),
        batching.TooManyRows: (413, "too_many_rows"),
        UnsupportedMedia: (415, "unsupported_media"),
        models.InferenceError: (500, "model_failed"),
        batching.RowsMismatch: (500, "model_failed"),
        NotFinite: (500, "not_finite"),
        NotSupported: (501, "not_supported"),
        batching.QueueFull: (503, "queue_full"),
        batching.Closed: (503, "model_not_ready"),
        models.NotReady: (503, "model_not_ready"),
        Draining: (503, "draining"),
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
        case models.InvalidInput():
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
        case batching.Refused():
            return ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))),)
        case _:
            return ((b"retry-after", b"1"),) if status == 503 else ()
