"""Budgets' states in memory that the workers of one server share: for each line of the board a table that only its worker writes.

A table is set-associative: a budget's name, hashed with a key that nobody outside knows, leads to a set of eight places, and it is
kept in one of them. So a table never grows, and nobody can aim at another's set. What makes room is what tells least: of rates one
that is whole again, else the one closest to it; of counts those of a day gone by, else the smallest.

The state of a rate is the *latest* that the tables say, that of a quota their *sum*. Two workers that spend of one rate within the
same microsecond may count that as once; a count is never lost. What a killed worker has written stays, in its line.

A place is two numbers of eight aligned bytes, each written at once. Who finds the name in it before and after reading the value has
read that name's value.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, Generic, TypeVar

from service.errors import OverBudget
from service.guard.budgets.budget import Allowance, Bound, State, ahead
from service.processes.memory import SharedMemory

WAYS: Final = 8
#: How often it is looked which lines have a worker (seconds).
LOOK_S: Final = 0.02
_LAYOUT: Final = struct.Struct("=qq16s")
_SIGNS: Final = 64
_HEAD: Final = 8192
#: A count lies below its day, in one number.
_SHIFT: Final = 44
_COUNT: Final = (1 << _SHIFT) - 1


Number = TypeVar("Number", int, float)
#: What is raised where budgets in such states have not all that much left.
Refused = Callable[[Sequence[State], float], OverBudget]


class Places(Generic[Number]):
    """One line's places for rates or for counts. ``signs``: whether there is a worker, and how many names it has taken up; who
    takes them up counts in ``taken``, too."""

    __slots__ = ("names", "signs", "taken", "values")

    def __init__(self, names: memoryview, values: memoryview[Number], signs: memoryview) -> None:
        self.names = names.cast("Q")
        self.values: memoryview[Number] = values
        self.signs = signs.cast("q")
        self.taken = 0


class Tables:
    """All lines. ``table`` is the view that the worker of one line has of them."""

    def __init__(self, memory: SharedMemory) -> None:
        self.memory = memory
        lines, self.entries, self.key = _LAYOUT.unpack_from(memory.map, 0)
        whole, size = memoryview(memory.map), 8 * self.entries
        self.rates: list[Places[float]] = []
        self.counts: list[Places[int]] = []
        for slot in range(lines):
            start = _HEAD + slot * 4 * size
            parts = [whole[start + part * size : start + (part + 1) * size] for part in range(4)]
            signs = [whole[at : at + 16] for at in (_SIGNS + slot * 32, _SIGNS + slot * 32 + 16)]
            self.rates.append(Places(parts[0], parts[1].cast("d"), signs[0]))
            self.counts.append(Places(parts[2], parts[3].cast("Q"), signs[1]))

    @classmethod
    def create(cls, lines: int, entries: int) -> Tables:
        """New ones, all empty; each line has at least so many places for rates, and as many for counts."""
        most = (_HEAD - _SIGNS) // 32
        if not 0 < lines <= most:
            raise ValueError(f"there are 1 to {most} lines, not {lines}")
        entries = -(-entries // WAYS) * WAYS
        memory = SharedMemory.create(_HEAD + lines * 4 * 8 * entries)
        _LAYOUT.pack_into(memory.map, 0, lines, entries, os.urandom(16))
        return cls(memory)

    @classmethod
    def attach(cls, fd: int) -> Tables:
        """Those behind an inherited descriptor."""
        return cls(SharedMemory(fd, os.fstat(fd).st_size))

    @property
    def fd(self) -> int:
        """The descriptor to hand to a worker."""
        return self.memory.fd

    def table(self, slot: int, *, rates: bool = True) -> Table:
        """That of the worker of a line; without ``rates`` one that keeps counts alone, so that nobody looks for rates in it."""
        return Table(self, slot, rates)


class Entry:
    """Where one budget is: its set, its place in one's own line, and those in the others', as far as they were found."""

    __slots__ = ("bound", "found", "name", "others", "own", "start", "taken", "tat")

    def __init__(self, bound: Bound, name: int, start: int) -> None:
        self.bound = bound
        self.name = name
        self.start = self.own = start
        #: How many names one's own line had taken up when this one was last seen in its place.
        self.taken = -1
        #: What is about to be written there.
        self.tat = 0.0
        self.others: object = None
        #: For each of the others: the place, or -1 and below that how many names it had taken up when it was searched.
        self.found: list[int] = []


class Table:
    """A worker's own line, and the others to read. For one thread alone, its event loop's."""

    __slots__ = ("_counts", "_key", "_look_at", "_other_counts", "_other_rates", "_rates", "_sets", "_slot", "_tables")

    def __init__(self, tables: Tables, slot: int, rates: bool) -> None:
        self._tables, self._slot = tables, slot
        self._key, self._sets = tables.key, tables.entries // WAYS
        self._rates, self._counts = tables.rates[slot], tables.counts[slot]
        self._counts.signs[0] = 1
        if rates:
            self._rates.signs[0] = 1
        self._other_rates: list[Places[float]] = []
        self._other_counts: list[Places[int]] = []
        self._look_at = 0.0

    def entry(self, bound: Bound) -> Entry:
        """Where that budget is, or will be."""
        digest = hashlib.blake2b(bound.name.encode("utf-8", "replace"), digest_size=16, key=self._key).digest()
        place, name = struct.unpack("=QQ", digest)
        return Entry(bound, name or 1, place % self._sets * WAYS)

    def tat(self, entry: Entry, now: float) -> float:
        """A rate's theoretical arrival time; ``now`` is ``time.monotonic()``'s, which all processes share (seconds)."""
        if now > self._look_at:
            self._look(now)
        name, own = entry.name, self._rates
        latest = own.values[entry.own] if own.names[entry.own] == name or _refind(own, entry) else 0.0
        if self._other_rates:
            for value in _others(self._other_rates, entry):
                if value > latest:
                    latest = value
        return latest

    def spending(self, entries: Sequence[Entry], clock: Callable[[], float], refused: Refused) -> Callable[[float], Allowance]:
        """What spends of rates, of all or of none, as ``tat``, ``ahead``, ``conforms``, ``put_tat`` and ``allowance`` do one after
        the other: every request comes this way. ``refused`` is told the rates' states and the cost."""
        own, values = self._rates, self._rates.values
        rates = [(entry, entry.bound.every_s, entry.bound.depth_s, entry.bound.most_s) for entry in entries]

        def spend(cost: float) -> Allowance:
            now = clock()
            if now > self._look_at:
                self._look(now)
            others, least = self._other_rates, inf
            for entry, every_s, depth_s, most_s in rates:
                beyond = values[entry.own] - now if entry.taken == own.taken or _refind(own, entry) else 0.0
                if others:
                    for value in _others(others, entry):
                        if value - now > beyond:
                            beyond = value - now
                if beyond < 0.0:
                    beyond = 0.0
                elif beyond > depth_s:
                    beyond = depth_s
                beyond += cost * every_s
                if beyond > most_s:
                    raise refused([State(entry.bound, ahead(entry.bound, self.tat(entry, now), now)) for entry in entries], cost)
                entry.tat = now + beyond
                left = (depth_s - beyond) / every_s
                if left < least:
                    least, tightest, reset_s = left, entry.bound, beyond
            for entry in entries:
                if entry.taken == own.taken:
                    values[entry.own] = entry.tat
                else:
                    self.put_tat(entry, entry.tat)
            return Allowance(tightest, int(least + 1e-6) if least > 0.0 else 0, reset_s)

        return spend

    def put_tat(self, entry: Entry, tat: float) -> None:
        """Writes it."""
        own = self._rates
        if own.names[entry.own] == entry.name or _refind(own, entry):
            own.values[entry.own] = tat
        else:
            _take(own, entry, tat)

    def count(self, entry: Entry, day: int, now: float) -> int:
        """A quota's count of a day, which is that many since the epoch."""
        if now > self._look_at:
            self._look(now)
        total = self._own_count(entry, day)
        if self._other_counts:
            for value in _others(self._other_counts, entry):
                if value >> _SHIFT == day:
                    total += value & _COUNT
        return total

    def add(self, entry: Entry, day: int, units: int) -> None:
        """Adds to a quota's count."""
        own, value = self._counts, day << _SHIFT | max(0, min(self._own_count(entry, day) + units, _COUNT))
        if own.names[entry.own] == entry.name or _refind(own, entry):
            own.values[entry.own] = value
        else:
            _take(own, entry, value)

    def _own_count(self, entry: Entry, day: int) -> int:
        own = self._counts
        if own.names[entry.own] != entry.name and not _refind(own, entry):
            return 0
        value = own.values[entry.own]
        return value & _COUNT if value >> _SHIFT == day else 0

    def _look(self, now: float) -> None:
        """Which lines have, or had, a worker: those that never had one are not read, for what is not read takes no memory."""
        self._look_at = now + LOOK_S
        there = [places for places in self._tables.rates if places.signs[0] and places is not self._rates]
        if len(there) != len(self._other_rates):
            self._other_rates = there
        counted = [places for places in self._tables.counts if places.signs[0] and places is not self._counts]
        if len(counted) != len(self._other_counts):
            self._other_counts = counted


def _others(others: list[Places[Number]], entry: Entry) -> list[Number]:
    """What the others' lines say of it, where they do."""
    if entry.others is not others:
        entry.others, entry.found = others, [-1] * len(others)
    name, found = entry.name, entry.found
    said: list[Number] = []
    for index, places in enumerate(others):
        at = found[index]
        if at < 0 or places.names[at] != name:
            taken = places.signs[1]
            if at == -2 - taken:
                continue  # it has taken up nothing since it was searched
            names = places.names[entry.start : entry.start + WAYS].tolist()
            at = found[index] = entry.start + names.index(name) if name in names else -2 - taken
            if at < 0:
                continue
        value = places.values[at]
        if places.names[at] == name:
            said.append(value)
    return said


def _refind(own: Places[Number], entry: Entry) -> bool:
    names = own.names[entry.start : entry.start + WAYS].tolist()
    if entry.name not in names:
        return False
    entry.own = entry.start + names.index(entry.name)
    entry.taken = own.taken
    return True


def _take(own: Places[Number], entry: Entry, value: Number) -> None:
    """A place for it: a free one, for its value is 0, or that of what tells least."""
    values = own.values[entry.start : entry.start + WAYS].tolist()
    at = entry.own = entry.start + values.index(min(values))
    own.names[at] = 0  # nobody is to read one's value under the other's name
    own.values[at] = value
    own.names[at] = entry.name
    own.signs[1] += 1
    own.taken += 1
    entry.taken = own.taken
