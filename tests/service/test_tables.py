"""Tables of budgets that workers share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.guard.budgets.budget import Bound
from service.guard.budgets.tables import LOOK_S, WAYS, Tables


def rate(name: str) -> Bound:
    return Bound(name, "requests_per_s", "requests", 10, 1.0)


def test_the_latest_time_that_any_worker_has_written_counts() -> None:
    tables = Tables.create(3, 64)
    one, two = tables.table(0), tables.table(1)
    first, second = one.entry(rate("a")), two.entry(rate("a"))
    one.put_tat(first, 50.0)
    assert two.tat(second, 1.0) == 50.0
    two.put_tat(second, 60.0)
    one.put_tat(first, 55.0)
    assert one.tat(first, 2.0) == two.tat(second, 2.0) == 60.0
    assert one.tat(one.entry(rate("b")), 3.0) == 0.0


def test_counts_of_all_workers_are_added_up_and_begin_anew_with_the_day() -> None:
    tables = Tables.create(3, 64)
    one, two = tables.table(0), tables.table(1)
    first, second = one.entry(rate("a")), two.entry(rate("a"))
    one.add(first, 20_000, 3)
    two.add(second, 20_000, 4)
    two.add(second, 20_000, 1)
    assert one.count(first, 20_000, 1.0) == two.count(second, 20_000, 1.0) == 8
    two.add(second, 20_001, 2)
    assert one.count(first, 20_001, 2.0) == 2
    assert one.count(first, 20_000, 2.0) == 3


def test_a_worker_that_comes_later_is_seen_soon() -> None:
    tables = Tables.create(2, 64)
    one = tables.table(0)
    entry = one.entry(rate("a"))
    assert one.tat(entry, 1.0) == 0.0
    two = tables.table(1)
    two.put_tat(two.entry(rate("a")), 9.0)
    assert one.tat(entry, 1.0 + 2 * LOOK_S) == 9.0


def test_what_a_process_that_is_gone_has_written_stays() -> None:
    tables = Tables.create(2, 64)
    os.set_inheritable(tables.fd, True)
    program = (
        "import os, sys\n"
        "from service.guard.budgets.budget import Bound\n"
        "from service.guard.budgets.tables import Tables\n"
        "table = Tables.attach(int(sys.argv[1])).table(1)\n"
        "bound = Bound('a', 'requests_per_s', 'requests', 10, 1.0)\n"
        "table.put_tat(table.entry(bound), 70.0)\n"
        "table.add(table.entry(bound), 20_000, 5)\n"
        "os._exit(9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tables.fd)], pass_fds=[tables.fd], check=False)
    assert ended.returncode == 9
    table = tables.table(0)
    entry = table.entry(rate("a"))
    assert table.tat(entry, 1.0) == 70.0
    assert table.count(entry, 20_000, 1.0) == 5
    successor = tables.table(1)
    assert successor.count(successor.entry(rate("a")), 20_000, 1.0) == 5


def test_who_is_furthest_ahead_is_evicted_last() -> None:
    tables = Tables.create(1, WAYS)  # one set: whoever comes is in it
    table = tables.table(0)
    entries = {name: table.entry(rate(str(name))) for name in range(WAYS + 1)}
    for name in range(WAYS):
        table.put_tat(entries[name], 100.0 + name)
    table.put_tat(entries[WAYS], 105.5)
    assert [table.tat(entries[name], 1.0) for name in (0, 1, WAYS - 1, WAYS)] == [0.0, 101.0, 107.0, 105.5]


def test_of_counts_the_day_gone_by_makes_room_before_the_smallest_does() -> None:
    table = Tables.create(1, WAYS).table(0)
    entries = [table.entry(rate(str(name))) for name in range(WAYS + 2)]
    table.add(entries[0], 19_999, 1_000_000)
    for name in range(1, WAYS):
        table.add(entries[name], 20_000, name)
    for late in (WAYS, WAYS + 1):
        table.add(entries[late], 20_000, 500)
    counts = [table.count(entry, 20_000, 1.0) for entry in entries]
    assert counts == [0, 0, *range(2, WAYS), 500, 500]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(1, 1e6)),
        max_size=40,
    )
)
def test_as_long_as_there_is_room_every_worker_reads_what_any_has_written(written: list[tuple[int, int, float]]) -> None:
    tables = Tables.create(3, 64 * WAYS)
    workers = [tables.table(slot) for slot in range(3)]
    known: dict[int, float] = {}
    entries = {(slot, name): workers[slot].entry(rate(str(name))) for slot in range(3) for name in range(6)}
    for now, (slot, name, more) in enumerate(written, 1):
        tat = known.get(name, 0.0) + more
        workers[slot].put_tat(entries[slot, name], tat)
        known[name] = tat
        for reader in range(3):
            assert workers[reader].tat(entries[reader, name], float(now)) == tat


def test_any_number_of_names_takes_no_more_memory_than_the_table_has() -> None:
    tables = Tables.create(2, 1024)
    table = tables.table(0)
    size = tables.memory.size
    for number in range(50_000):
        table.put_tat(table.entry(rate(str(number))), 100.0 + number)
    assert os.fstat(tables.fd).st_size == size
    assert sum(1 for name in tables.rates[0].names if name) == 1024


def test_sets_are_chosen_by_a_key_of_each_servers_own() -> None:
    starts = {Tables.create(1, 65_536).table(0).entry(rate("a")).start for _ in range(8)}
    assert len(starts) > 1


@pytest.mark.parametrize("lines", [0, 100_000])
def test_tables_without_lines_or_with_too_many_are_refused(lines: int) -> None:
    with pytest.raises(ValueError, match="lines"):
        Tables.create(lines, 64)
