"""A parser under fuzz: what it is fed, what it may refuse with, and what else must hold of whatever comes.

``judge`` is the one rule for all of them, for the corpus, for Hypothesis and for atheris alike: an input is taken or refused by an
error of ours, its refusal can be told over HTTP in a bounded answer, and it costs time and memory in proportion to its length.
"""

from __future__ import annotations

import re
import tracemalloc
from ast import literal_eval
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import thread_time
from typing import Final

from service.failures import failure
from service.response import code_of, explained

CORPUS: Final = Path(__file__).with_name("corpus")
DICTIONARIES: Final = Path(__file__).with_name("dictionaries")
#: CPU seconds that an input may cost: far above what any does, far below what a hang or a quadratic step would.
MOST_S: Final = 1.0
#: What an answer that refuses may be long (bytes).
MOST_TOLD: Final = 16 * 1024
#: Of memory, whatever the input's length (bytes).
FLOOR: Final = 2 * 1024**2

_PARTS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[\d.]+|[^\x20-\x7e]+")


class Broken(AssertionError):
    """A rule that does not hold of an input."""


@dataclass(frozen=True, slots=True)
class Target:
    """``parse`` takes any bytes, and raises ``refusals`` or Broken alone. ``longest`` is the longest input that is made (bytes);
    ``each`` the bytes that a byte of it may allocate, above ``floor``. ``http``: its refusals are told to a client. ``trial``: what
    is done with some of what is taken, too slow to do it with all."""

    name: str
    parse: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()
    longest: int = 4096
    each: int = 400
    floor: int = FLOOR
    http: bool = True
    trial: Callable[[bytes], None] | None = None

    @property
    def corpus(self) -> Path:
        """Where its kept inputs lie."""
        return CORPUS / self.name

    @property
    def dictionary(self) -> Path:
        """What its inputs are made of, as libFuzzer reads it: a word in quotes a line."""
        return DICTIONARIES / f"{self.name}.dict"

    def kept(self) -> list[bytes]:
        """Every input that is kept: what broke it once, what ends in a way of its own, and good ones to begin with."""
        return [file.read_bytes() for file in sorted(self.corpus.iterdir())] if self.corpus.is_dir() else []

    def words(self) -> list[bytes]:
        """The dictionary's."""
        return [bytes(literal_eval(f"b{line}")) for line in self.dictionary.read_text(encoding="ascii").splitlines()]


def judge(target: Target, data: bytes, *, memory: bool = False) -> str:
    """What became of the input, alike for inputs that end alike. Raises Broken; ``memory`` measures that too, which is slow."""
    if memory:
        tracemalloc.start()
    begun = thread_time()
    try:
        outcome = _outcome(target, data)
        spent = thread_time() - begun
        if memory and (peak := tracemalloc.get_traced_memory()[1]) > target.floor + target.each * len(data):
            raise Broken(f"{len(data)} bytes allocated {peak} bytes")
    finally:
        if memory:
            tracemalloc.stop()
    if spent > MOST_S:
        raise Broken(f"{len(data)} bytes took {spent:.1f} s of CPU time")
    return outcome


def _outcome(target: Target, data: bytes) -> str:
    try:
        found = target.parse(data)
    except target.refusals as error:
        if target.http:
            _check_told(error)
        return f"{type(error).__name__}: {_PARTS.sub('…', str(error))[:200]}"
    return f"taken: {type(found).__name__}"


def _check_told(error: Exception) -> None:
    """Any refusal can be written as an answer that blames the client, names a code and is short."""
    told = failure(error)
    if not 400 <= told.status < 500:
        raise Broken(f"{type(error).__name__} is answered with {told.status}: {error}")
    response = explained(told, "fuzz")
    if code_of(response.body) != told.code:
        raise Broken(f"the answer does not name {told.code}: {response.body[:200]!r}")
    if len(response.body) > MOST_TOLD:
        raise Broken(f"the answer to a refusal has {len(response.body)} bytes")
