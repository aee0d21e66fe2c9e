"""The answers of one loaded version: given again, computed once for all who ask at once, or computed.

    look -> hit: the answer at once
         -> somebody has it computed already: wait with him
         -> miss: have it computed, keep it

While a cache costs more than it saves it says so; where the model's ``[cache] auto`` is set it then rests, and is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Final

from batching import Answer
from batching.statistics import Tally
from models.manifest import Cache as Wanted
from models.tensor import Array
from service.cache.flight import Compute, Flight, Given
from service.cache.heart import LONGEST, Asked, Known
from service.cache.key import Keys
from service.cache.shelf import Shelf
from service.cache.value import Damaged, pack, unpack
from service.cache.worth import REST_S, Span
from service.protocol.infer import Encoded, Infer

log = logging.getLogger("tureen.cache")

#: From this size on an answer is made into a value in a thread (bytes).
LARGE = 128 * 1024
_NOTHING: Final[Mapping[str, Array]] = MappingProxyType({})


class Answers:
    """``shelf`` keeps the values, for all versions alike. ``costly``: whether it cost more than it saved when last judged."""

    def __init__(self, keys: Keys, wanted: Wanted, shelf: Shelf, name: str) -> None:
        self._keys = keys
        self._wanted = wanted
        self._shelf = shelf
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._flights: dict[bytes, Flight] = {}
        self._span = Span()
        self._rests_until = 0.0
        self.costly = False
        self.hit, self.miss, self.joined = Tally(), Tally(), Tally()
        self.damaged = 0

    @property
    def rests(self) -> bool:
        """Whether it is left alone for now."""
        return self._rests_until > 0 and self._loop.time() < self._rests_until

    def reconfigure(self, keys: Keys, wanted: Wanted) -> bool:
        """Goes by other settings from now on, and counts on; with ``ttl_s`` 0 it rests for good. Whether what was kept so far is to
        be dropped: it was to live for another time, and is not given again."""
        before, self._wanted = self._wanted, wanted
        if wanted == before:
            return False
        self._rests_until = 0.0 if wanted.ttl_s else math.inf
        self.costly, self._span = False, Span()
        if wanted.ttl_s == before.ttl_s:
            return False
        self._keys = keys
        return True

    def counts(self) -> dict[str, int]:
        """How many requests came by their answer in which way."""
        return {"hit": self.hit.count, "miss": self.miss.count, "joined": self.joined.count, "damaged": self.damaged}

    def key(self, infer: Infer) -> bytes:
        """What the request's answer is kept under."""
        begun = perf_counter()
        key = self._keys.key(infer.inputs, infer.outputs)
        self._span.own_s += perf_counter() - begun
        return key

    def submit(self, key: bytes, compute: Compute, timeout_s: float) -> asyncio.Future[Answer]:
        """The future of the answer. Raises what ``compute`` does; its future ends with what that of ``compute`` ends with."""
        begun = perf_counter()
        span = self._span
        span.lookups += 1
        flight = self._flights.get(key)
        if flight is not None:
            span.hits += 1
            self._took(self.joined, begun)
            return flight.join(timeout_s)
        if self._shelf.immediate:
            value = self._shelf.peek(key)
            outputs = self._opened(key, value)
            if value is not None and outputs is not None:
                return self._hit(Given(outputs, 0.0, 0.0, 0, "early", how="hit", key=key, value=value), begun)
            self._took(self.miss, begun)
            return self._fly(key, compute, timeout_s)
        return self._fly(key, partial(self._fetched, key, compute), timeout_s)

    def recall(self, asked: Asked) -> Known | None:
        """What is known by heart of such a request."""
        begun = perf_counter()
        known = self._shelf.recall((self._keys, asked))
        self._span.own_s += perf_counter() - begun
        return known

    def again(self, known: Known) -> asyncio.Future[Answer]:
        """The future of an answer that is known by heart."""
        begun = perf_counter()
        self._span.lookups += 1
        return self._hit(Given(_NOTHING, 0.0, 0.0, 0, "early", how="hit", encoded=known.encoded), begun)

    def learn(self, asked: Asked, infer: Infer, given: Given, encoded: Encoded) -> None:
        """An answer whose value is kept has been given in those words: the next who asks so is not read."""
        if len(encoded.body) <= LONGEST and self._wanted.ttl_s:
            known = Known(infer, given.key, given.value, encoded)
            self._shelf.learn((self._keys, asked), known, known.nbytes + len(asked.body), self._wanted.ttl_s, self)

    def end(self) -> None:
        """The version is being unloaded: nothing is looked up any more, nor kept of what is still computed, perhaps by what was
        loaded in its place."""
        self._wanted = self._wanted.model_copy(update={"ttl_s": 0.0})
        self._rests_until = math.inf

    async def drop(self) -> None:
        """Lets go of all that was kept."""
        await self._shelf.drop(self)

    # -- the ways to an answer ---------------------------------------------------------------------------------------------

    def _fly(self, key: bytes, compute: Compute, timeout_s: float) -> asyncio.Future[Answer]:
        flight = Flight(self._loop, partial(self._landed, key))
        future = flight.first(compute, timeout_s)
        self._flights[key] = flight
        return future

    def _hit(self, given: Given, begun: float) -> asyncio.Future[Answer]:
        self._span.hits += 1
        self._took(self.hit, begun)
        self._judge()
        future: asyncio.Future[Answer] = self._loop.create_future()
        future.set_result(given)
        return future

    def _took(self, tally: Tally, begun: float) -> None:
        own_s = perf_counter() - begun
        tally.add(own_s)
        self._span.own_s += own_s

    def _fetched(self, key: bytes, compute: Compute, timeout_s: float) -> asyncio.Future[Answer]:
        """From a shelf that has to be waited for."""
        return self._loop.create_task(self._fetch(key, compute, timeout_s))

    async def _fetch(self, key: bytes, compute: Compute, timeout_s: float) -> Answer:
        begun = perf_counter()
        outputs = self._opened(key, await self._shelf.get(key))
        looked_s = perf_counter() - begun  # most of it waiting, which costs nobody else anything
        if outputs is None:
            self.miss.add(looked_s)
            return await compute(timeout_s - looked_s)
        self.hit.add(looked_s)
        self._span.hits += 1
        return Given(outputs, 0.0, 0.0, 0, "early", how="hit")

    def _opened(self, key: bytes, value: bytes | None) -> dict[str, Array] | None:
        if value is None:
            return None
        try:
            return unpack(value)
        except Damaged as error:
            self.damaged += 1
            self._shelf.discard(key)
            log.warning("%s: a kept answer is damaged (%s); it is computed anew", self._name, error)
            return None

    # -- keeping -----------------------------------------------------------------------------------------------------------

    def _landed(self, key: bytes, answer: Answer | None) -> None:
        self._flights.pop(key, None)
        if answer is None or isinstance(answer, Given):  # nobody waits, or it came from the shelf
            return
        if not self._wanted.ttl_s:  # turned off or unloaded meanwhile
            return
        begun = perf_counter()
        span = self._span
        span.computed += 1
        span.computing_s += answer.call_s / max(1, answer.batch_rows)
        if answer.nbytes > LARGE:
            packing = self._loop.run_in_executor(None, pack, answer.outputs)
            packing.add_done_callback(partial(self._packed, key))
        else:
            self._shelf.put(key, pack(answer.outputs), self._wanted.ttl_s, self)
        span.own_s += perf_counter() - begun
        self._judge()

    def _packed(self, key: bytes, packing: asyncio.Future[bytes]) -> None:
        if not packing.cancelled() and packing.exception() is None and self._wanted.ttl_s:
            self._shelf.put(key, packing.result(), self._wanted.ttl_s, self)

    def _judge(self) -> None:
        span = self._span
        if not span.whole:
            return
        pays, self._span = span.pays(), Span()
        if pays == self.costly:
            said = "pays again" if pays else "costs more time than it saves" + (", and rests" if self._wanted.auto else "")
            log.info("%s: its cache %s (%d of %d were hits)", self._name, said, span.hits, span.lookups)
        self.costly = not pays
        if self.costly and self._wanted.auto:
            self._rests_until = self._loop.time() + REST_S
