"""What the service itself refuses or fails at. `failures` says how HTTP tells of it.

ServiceError
├── BadRequest          400 malformed: not JSON, not the protocol, a header that lies
│   ├── NoHandshake     400 of a WebSocket that we could speak
│   └── TwoValues       400 of a header that has one
├── Unauthorized        401 no valid credential, and never a word of why
├── Forbidden           403 not for this scope or model
├── UnknownPath         404
├── UnknownJob          404
├── MethodNotAllowed    405
├── IdempotencyClash    409 the key was given with another request
├── Conflict            409 a change that clashes with another
├── RequestTimeout      408 the head or the body did not come in time
├── BodyTooLarge        413
├── TooManyRows         413 of one request
├── TensorTooLarge      413 in elements
├── TooManyImages       413 of one request
├── UnsupportedMedia    415 content type or encoding not taken
├── OverBudget          429 the caller's own budget is spent
├── TooManyFromAddress  429 as many connections of one address are open as may be
├── HeadersTooLarge     431 the request line and headers are longer than a server reads
├── NotFinite           500 a result holds NaN or Infinity, which JSON cannot say
├── NotSupported        501 the protocol has it, we do not
├── Draining            503 the server is about to stop
├── StoreError
│   ├── StoreUnavailable 503 the control store cannot be read or written
│   └── NotFollowed      503 not every worker has brought about what is wanted
├── JobsFull            503 as many jobs are kept as may be, or as many bytes of them
├── TooManyConnections  503 as many connections are open as may be
└── ConfigError         tureen.toml, environment or command line; never reaches HTTP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import Problem

if TYPE_CHECKING:
    from service.guard.budgets.budget import Allowance


class ServiceError(Exception):
    """A refusal or failure of the service. ``details`` point at what in the request was wrong, ``limit`` is the key of `[limits]`
    that the request is over."""

    def __init__(self, message: str, *details: Problem, limit: str = "") -> None:
        super().__init__(message)
        self.details = details
        self.limit = limit


class BadRequest(ServiceError):
    """The request is malformed."""


class NoHandshake(BadRequest):
    """A WebSocket's handshake lacks its key, or is of a version that we do not speak."""

    def __init__(self) -> None:
        super().__init__("a WebSocket handshake has one Sec-WebSocket-Key, and one Sec-WebSocket-Version, which is 13")


class TwoValues(BadRequest):
    """A header came twice and does not say the same."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the request has more than one {name}, and they differ; send one of them")


class Unauthorized(ServiceError):
    """No valid credential came. The same sentence whatever was wrong with it: ``why`` is for the log alone, and names no secret."""

    def __init__(self, why: str = "no credential") -> None:
        super().__init__("no valid credential came; send an API key or a token as 'Authorization: Bearer …' or 'X-API-Key: …'")
        self.why = why


class Forbidden(ServiceError):
    """The credential is valid, and not for this scope or model."""


class OverBudget(ServiceError):
    """The caller's own budget is spent; ``retry_after_s`` says when it has enough again, None where it never has. ``key`` is the
    configuration's word for what is spent, ``allowance`` what is left of it."""

    def __init__(
        self, message: str, retry_after_s: float | None, *details: Problem, key: str = "", allowance: Allowance | None = None
    ) -> None:
        super().__init__(message, *details)
        self.retry_after_s = retry_after_s
        self.key = key
        self.allowance = allowance


class UnknownPath(ServiceError):
    """There is nothing at that path."""


class UnknownJob(ServiceError):
    """There is no such job, or it is not the caller's."""


class IdempotencyClash(ServiceError):
    """The key was given with another request, or with one that has not arrived yet."""


class JobsFull(ServiceError):
    """As many jobs are kept as may be, or as many bytes of them; ``retry_after_s`` says when the oldest that is over goes."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MethodNotAllowed(ServiceError):
    """The path takes other methods: ``allow`` names them."""

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class Conflict(ServiceError):
    """What is asked for clashes with a change that was made before."""


class NotFinite(ServiceError):
    """A result holds NaN or Infinity, which JSON cannot say."""


class RequestTimeout(ServiceError):
    """The request's head or body did not come in time."""


class BodyTooLarge(ServiceError):
    """The body, inflated or not, is over its limit."""

    @classmethod
    def over(cls, limit: int, length: int | None = None) -> BodyTooLarge:
        """A body over that limit of bytes; its ``length`` where the request said it."""
        came = "is" if length is None else f"has {length} bytes,"
        return cls(f"the body {came} over the limit of {limit} bytes; send fewer rows a request", limit="body_bytes")


class TooManyRows(ServiceError):
    """The request has more rows than one may have."""


class TensorTooLarge(ServiceError):
    """A tensor has more elements than one may have."""


class TooManyImages(ServiceError):
    """The request has more images than one may have."""


class UnsupportedMedia(ServiceError):
    """The content type or encoding is not one that we take."""


class HeadersTooLarge(ServiceError):
    """The request line and headers are longer than a server reads."""


class Draining(ServiceError):
    """The server finishes what it has and takes no more."""


class TooManyConnections(ServiceError):
    """As many connections are open as may be."""


class TooManyFromAddress(ServiceError):
    """As many connections of one address are open as may be."""


class NotSupported(ServiceError):
    """The protocol has it, we do not."""


class StoreError(ServiceError):
    """What the workers keep together could not be used as asked."""


class StoreUnavailable(StoreError):
    """The control store cannot be read or written now."""


class NotFollowed(StoreError):
    """Not every worker has brought about what is wanted: ``details`` name those."""


class ConfigError(ServiceError):
    """The service's configuration is wrong."""


def in_lines(error: Exception) -> str:
    """What an error says to somebody at a terminal, each thing once: its details alone where its message is made of them."""
    message, details = str(error), [str(problem) for problem in getattr(error, "details", ())]
    return "\n  ".join(details if message == "; ".join(details) else [message, *details])
