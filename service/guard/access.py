"""What each route asks of its callers. Whatever does not stand here asks for a credential."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from service.errors import ConfigError
from service.guard.principal import Scope

View = TypeVar("View", bound=Callable[..., object])
#: What ``needs`` takes: a scope, or nothing at all.
Need = Literal["open", "infer", "admin", "metrics"]

_MARK: Final = "__tureen_access__"


@dataclass(frozen=True, slots=True)
class Access:
    """``scope``: None for open to all. ``model``: the view's argument that names a model, or where it stands ``in_query`` the
    query's, which may lack it. ``spends``: a request of the budget, and where it ``infers`` a row."""

    scope: Scope | None
    model: str | None = None
    spends: bool = True
    infers: bool = False
    in_query: bool = False


OPEN: Final = Access(None)
#: What orchestrators ask may never be refused.
PROBE: Final = Access(None, spends=False)
INFER: Final = Access(Scope.INFER)
MODEL: Final = Access(Scope.INFER, "name")
INFERENCE: Final = Access(Scope.INFER, "name", infers=True)
#: Its rows are paid for when they run.
JOB: Final = Access(Scope.INFER, "model", in_query=True)
ADMIN: Final = Access(Scope.ADMIN, "name")
METRICS: Final = Access(Scope.METRICS)

#: Every endpoint of ours.
TABLE: Final[Mapping[str, Access]] = MappingProxyType(
    {
        "configuration.configure": ADMIN,
        "documentation.document": INFER,
        "documentation.page": OPEN,
        "documentation.asset_of": OPEN,
        "health.alive": PROBE,
        "health.live": PROBE,
        "health.ready": PROBE,
        "health.healthz": PROBE,
        "images.classify": INFERENCE,
        "images.classify_version": INFERENCE,
        "images.classify_label": INFERENCE,
        "jobs.create": JOB,
        "jobs.every": INFER,
        "jobs.one": INFER,
        "jobs.end": INFER,
        "jobs.results": INFER,
        "metrics.scrape": METRICS,
        "oip.server": INFER,
        "oip.all_stats": INFER,
        "oip.model": MODEL,
        "oip.ready": MODEL,
        "oip.config": MODEL,
        "oip.stats": MODEL,
        "oip.infer": INFERENCE,
        "oip.infer_version": INFERENCE,
        "pages.page": OPEN,
        "pages.asset_of": OPEN,
        "pages.card_of": MODEL,
        "repository.index": INFER,
        "repository.load": ADMIN,
        "repository.unload": ADMIN,
        "tfserving.status": MODEL,
        "tfserving.metadata": MODEL,
        "tfserving.predict": INFERENCE,
        "tfserving.predict_version": INFERENCE,
        "tfserving.predict_label": INFERENCE,
    }
)


def access_of(endpoint: str, view: object) -> Access:
    """What a route asks for: by our table, by what its user said, else the scope infer."""
    known = TABLE.get(endpoint)
    if known is None:
        known = getattr(view, _MARK, None)
    return known if isinstance(known, Access) else INFER


def access(need: str, model: str | None = None) -> Access:
    """What such words ask for. Raises ConfigError."""
    if need == "open" and model is None:
        return OPEN
    if need not in tuple(Scope):
        raise ConfigError(f"a route cannot need {need!r}; expected open (without a model), infer, admin or metrics")
    return Access(Scope(need), model)


def needs(need: Need, *, model: str | None = None) -> Callable[[View], View]:
    """Says what a view of yours asks of its callers, below its route's decorator; without it, the scope infer.

    ``model``: the view's argument that names a model, which then has to be one of those that the credential is for.
    Raises ConfigError.
    """
    asked = access(need, model)

    def mark(view: View) -> View:
        setattr(view, _MARK, asked)
        return view

    return mark
