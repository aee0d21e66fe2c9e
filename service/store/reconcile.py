"""What a worker has to do so that it has what is wanted, and what the others have done of it. Pure: nothing is loaded here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from models import Problem
from service.processes.board import Line, Phase
from service.store.wishes import Wanted, Wish

_FAILURE: Final = re.compile(r"(\d+)(\+?) (\S+) (.*)")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a worker starts from: models that it does not load, overrides of others, what is changed of any, and the wishes that
    this brings about; ``configured`` those for what is changed."""

    unloaded: frozenset[str]
    overrides: Mapping[str, str]
    have: Mapping[str, int]
    changed: Mapping[str, str] = field(default_factory=dict)
    configured: Mapping[str, int] = field(default_factory=dict)


def baseline(wishes: Iterable[Wish]) -> Baseline:
    """The settled wishes as a start."""
    settled = [wish for wish in wishes if wish.settled]
    return Baseline(
        frozenset(wish.model for wish in settled if wish.wanted is Wanted.UNLOADED),
        {wish.model: wish.config for wish in settled if wish.wanted is Wanted.LOADED and wish.config is not None},
        {wish.model: wish.generation for wish in settled if wish.wanted is not Wanted.CONFIGURED},
        {wish.model: wish.config for wish in settled if wish.wanted is Wanted.CONFIGURED and wish.config is not None},
        {wish.model: wish.generation for wish in settled if wish.wanted is Wanted.CONFIGURED},
    )


def due(wishes: Sequence[Wish], have: Mapping[str, int], configured: Mapping[str, int], failed: Collection[int]) -> list[Wish]:
    """What is to be done, in order, where models stand at the wishes of ``have`` and, of how they are served, ``configured``."""
    loads = [wish for wish in wishes if wish.wanted is not Wanted.CONFIGURED]
    changes = [wish for wish in wishes if wish.wanted is Wanted.CONFIGURED]
    both = steps(loads, have, failed) + steps(changes, configured, failed, Wanted.CONFIGURED)
    return sorted(both, key=lambda wish: (wish.generation, wish.model))


def steps(wishes: Sequence[Wish], have: Mapping[str, int], failed: Collection[int], origin: Wanted = Wanted.LOADED) -> list[Wish]:
    """What is to be done, in order. ``have``: the wish that each model stands at; ``failed``: those that were tried in vain.

    Each wish after the one that a model stands at is tried once. A model whose wish was withdrawn, with none after it, goes back to
    the one before; with none before, to what the repository says, which is generation 0 and what it ``origin``ally was.
    """
    of_model: dict[str, list[Wish]] = {model: [] for model in have}
    for wish in wishes:
        of_model.setdefault(wish.model, []).append(wish)
    due: list[Wish] = []
    for model, ours in of_model.items():
        stands_at = have.get(model, 0)
        latest = ours[-1].generation if ours else 0
        if latest < stands_at:
            due.append(ours[-1] if ours else Wish(0, model, origin))
        due += [wish for wish in ours if wish.generation > stands_at and wish.generation not in failed]
    return sorted(due, key=lambda wish: (wish.generation, wish.model))


@dataclass(frozen=True, slots=True)
class Failure:
    """A wish that a worker has tried in vain. ``settled``: others have not, so that it stays wanted."""

    generation: int
    model: str
    reason: str
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """The text of a worker's line: why it is not ready, empty where it is, and what it could not bring about."""

    unready: str = ""
    failures: tuple[Failure, ...] = ()

    def text(self) -> str:
        """As the line holds it, which has room for only so much: the newest failure first."""
        lines = [f"! {_one_line(self.unready)}"] if self.unready else []
        newest = sorted(self.failures, key=lambda failure: -failure.generation)
        lines += [f"{its.generation}{'+' * its.settled} {its.model} {_one_line(its.reason)}" for its in newest]
        return "\n".join(lines)

    @classmethod
    def parse(cls, text: str) -> Told:
        """What ``text`` has written."""
        unready = ""
        failures: list[Failure] = []
        for line in text.splitlines():
            if line.startswith("! "):
                unready = line[2:]
            elif match := _FAILURE.fullmatch(line):
                failures.append(Failure(int(match[1]), match[3], match[4], bool(match[2])))
        return cls(unready, tuple(failures))


class State(Enum):
    """How a worker stands to a wish."""

    DONE = "done"
    FAILED = "failed"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class Standing:
    """One worker and a wish."""

    slot: int
    pid: int
    state: State
    reason: str = ""


def standing(line: Line, wish: Wish) -> Standing:
    """How a worker stands to a wish. It writes its failures before it writes what it has followed."""
    if line.followed < wish.generation:
        return Standing(line.slot, line.pid, State.BEHIND, "it has not followed yet")
    for failure in Told.parse(line.text).failures:
        if failure.generation == wish.generation:
            return Standing(line.slot, line.pid, State.FAILED, failure.reason)
    return Standing(line.slot, line.pid, State.DONE)


def serving(lines: Iterable[Line]) -> list[Line]:
    """The workers that have to follow: one that starts does so by itself, and one that stops need not."""
    return [line for line in lines if line.phase is Phase.SERVING]


class Fate(Enum):
    """What becomes of a wish."""

    SETTLED = "settled"
    PARTLY = "partly"
    WITHDRAWN = "withdrawn"


def fate(standings: Sequence[Standing]) -> Fate:
    """Settled where all have brought it about; withdrawn where each has failed or is still behind one that has; else in part.

    A wish that some have brought about stays wanted: the others' neighbours serve it already.
    """
    states = {standing.state for standing in standings}
    if states <= {State.DONE}:
        return Fate.SETTLED
    return Fate.PARTLY if State.DONE in states else Fate.WITHDRAWN


def sentence(action: str, model: str, decided: Fate, others: Sequence[Standing]) -> str:
    """What who asked is told of a change that not every worker brought about."""
    who = "; ".join(f"{_name(its)}: {its.reason}" for its in others)
    then = f"it stays wanted: mend what is wrong there and {action} it again" if decided is Fate.PARTLY else "it was taken back"
    return f"the {action} of model {model!r} was not brought about by every worker ({who}); {then}"


def problem(its: Standing) -> Problem:
    """One worker's part in that."""
    return Problem(_name(its), its.reason)


def reasons(others: Sequence[Standing]) -> dict[str, object]:
    """The same for the audit."""
    return {"workers": {_name(its): its.reason for its in others}} if others else {}


def _name(its: Standing) -> str:
    return f"worker {its.slot} (pid {its.pid})"


def _one_line(text: str) -> str:
    return " ".join(text.split())
