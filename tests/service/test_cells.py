"""Numbers in shared memory: nothing added is lost, nothing falls, and what finds no room hurts nobody."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.metrics.cells import CELLS, LONGEST, WIDEST, Cells, Directory, Key

KEYS = st.tuples(st.sampled_from(["requests", "rows"]), st.text(max_size=5))
ADDITIONS = st.lists(st.tuples(st.integers(0, 2), KEYS, st.integers(1, 1000)), max_size=40)


def sums(cells: Cells) -> dict[Key, float]:
    """What all regions hold, added up."""
    total: Counter[Key] = Counter()
    for slot in range(cells.slots):
        for key, (value,) in cells.read(slot):
            total[key] += int(value)
    return dict(total)


def add(cells: Cells, slot: int, key: Key, amount: float) -> None:
    region = cells.region(slot)
    region.cells[region.cell(key)] += amount


@settings(max_examples=50)
@given(ADDITIONS)
def test_the_sum_over_all_lines_is_what_was_added(additions: list[tuple[int, Key, int]]) -> None:
    cells = Cells.create(3)
    wanted: Counter[Key] = Counter()
    for slot, (name, label), amount in additions:
        add(cells, slot, (name, label), amount)
        wanted[name, label.replace("\0", "")] += amount
    assert sums(cells) == wanted


@settings(max_examples=25)
@given(ADDITIONS, ADDITIONS)
def test_who_takes_over_a_line_goes_on_where_the_last_one_was(
    first: list[tuple[int, Key, int]], then: list[tuple[int, Key, int]]
) -> None:
    before = Cells.create(3)
    after: Cells | None = None
    wanted: Counter[Key] = Counter()
    for number, (slot, (name, label), amount) in enumerate([*first, *then]):
        if number == len(first):
            after = Cells(before.memory, 3)
        add(after or before, slot, (name, label), amount)
        wanted[name, label.replace("\0", "")] += amount
    assert sums(before) == wanted


def test_another_process_adds_to_what_this_one_reads() -> None:
    cells = Cells.create(2)
    add(cells, 0, ("requests", "mine"), 1)
    program = (
        "import sys; from service.metrics.cells import Cells; region = Cells.attach(int(sys.argv[1]), 2).region(1)\n"
        "for key in ('mine', 'its'):\n    cell = region.cell(('requests', key))\n"
        "    for _ in range(1000): region.cells[cell] += 1"
    )
    subprocess.run([sys.executable, "-c", program, str(cells.fd)], pass_fds=[cells.fd], check=True, timeout=60)
    assert sums(cells) == {("requests", "mine"): 1001, ("requests", "its"): 1000}


def test_a_region_has_one_writer_however_often_it_is_asked_for() -> None:
    cells = Cells.create(1)
    assert cells.region(0) is cells.region(0)


def test_a_series_has_its_cells_for_itself() -> None:
    region = Cells.create(1).region(0)
    wide, next_to_it = region.cell(("wide",), 5), region.cell(("next",))
    assert next_to_it >= wide + 5
    assert region.cell(("wide",), 5) == wide


def test_the_same_key_with_another_width_is_another_series() -> None:
    cells = Cells.create(1)
    region = cells.region(0)
    assert region.cell(("one",), 3) != region.cell(("one",), 4)
    assert [len(values) for _, values in cells.read(0)] == [3, 4]


def test_what_finds_no_room_is_counted_and_changes_nothing_else() -> None:
    cells = Cells.create(1)
    region = cells.region(0)
    room = CELLS // WIDEST + 1
    starts = [region.cell(("series", str(number)), WIDEST) for number in range(room)]
    kept = len({start for start in starts if starts.count(start) == 1})
    for start in starts:
        region.cells[start] += 1
    assert cells.dropped() == room - sum(1 for _ in cells.read(0)) == room - kept > 0
    assert all(values[0] == 1 for _, values in cells.read(0))


def test_a_key_that_is_too_long_is_counted_as_dropped_once() -> None:
    cells = Cells.create(1)
    region = cells.region(0)
    for _ in range(3):
        region.cells[region.cell(("k" * (LONGEST + 1),))] += 1
    assert (cells.dropped(), list(cells.read(0))) == (1, [])


@pytest.mark.parametrize("width", [0, -1, WIDEST + 1])
def test_a_series_that_no_region_could_hold_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="1 to 64 cells"):
        Cells.create(1).region(0).cell(("key",), width)


def test_who_dies_in_the_middle_of_adding_a_series_has_added_nothing() -> None:
    cells = Cells.create(1)
    add(cells, 0, ("requests", "a"), 2)
    directory = Directory(cells.memory, 0)
    directory.series()
    at = directory.next[0]
    directory.octets[at : at + 8] = b"\xff" * 8  # an entry begun, never published
    add(Cells(cells.memory, 1), 0, ("requests", "b"), 3)
    assert sums(cells) == {("requests", "a"): 2, ("requests", "b"): 3}
