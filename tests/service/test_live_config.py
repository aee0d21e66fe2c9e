"""Changing a model while it serves: what a change is, and that every worker has it, whenever it starts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import LoadError
from models.live import SECTIONS, checked, clashes, differences, laid, overlaid, shown
from models.manifest import Manifest
from service.commands.models import changed, configured, listed, put_back
from service.store import ControlStore, Entry, Wanted, Wish, prepare
from service.store.connection import connect
from service.store.migrations import MIGRATIONS, migrate
from service.store.reconcile import Baseline, baseline, due
from tests.service.workers import LOAD, UNLOAD, Kitchen, Worker, until

CONFIG, SHOWN = "/v1/models/m/config", "/v2/models/m/config"
BASE = Manifest.parse("[batching]\nmax_rows = 32\n[limits]\nrows_per_s = 100\n", model="m")
VALUES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "batching": {
        "max_rows": st.integers(1, 512),
        "window_ms": st.floats(0, 100),
        "close": st.sampled_from(["early", "full"]),
        "instances": st.integers(1, 8),
    },
    "cache": {"ttl_s": st.floats(0, 100), "auto": st.booleans()},
    "limits": {"requests_per_s": st.floats(1, 100), "rows_burst": st.integers(1, 100)},
}
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        section: st.none() | st.fixed_dictionaries({}, optional={key: st.none() | value for key, value in keys.items()})
        for section, keys in VALUES.items()
    },
)


def judged(change: object, before: dict[str, dict[str, object]] | None = None) -> str:
    with pytest.raises(LoadError) as raised:
        checked(change, before or {}, BASE, model="m")
    return str(raised.value)


# -- what a change is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ([], "expected a JSON object such as"),
        (None, "expected a JSON object such as"),
        ({"batching": 5}, "batching: expected a section of keys, got 5"),
        ({"batching": {"max_rows": 0}}, "batching.max_rows: expected a number of at least 1, got 0"),
        ({"batching": {"max_rows": "8"}}, "batching.max_rows: expected a whole number, got '8'"),
        ({"batching": {"max_row": 8}}, "batching.max_row: unknown key; the nearest known one is batching.max_rows"),
        ({"batching": {"max_row": None}}, "batching.max_row: unknown key; the nearest known one is batching.max_rows"),
        ({"max_rows": 8}, "max_rows: unknown key; the nearest known one is batching.max_rows"),
        ({"bathing": {"max_rows": 8}}, "bathing: unknown section; the nearest known one is [batching]"),
        ({"bathing": None}, "bathing: unknown section; the nearest known one is [batching]"),
        ({"limits": {"requests_burst": 5}}, "requests_per_s beside requests_burst"),
        ({"runtime": {"threads": 4}}, "runtime.threads: cannot be changed without a load; change model.toml and load the model"),
        ({"versions": None, "warmup": {}}, "versions, warmup: cannot be changed without a load"),
    ],
)
def test_a_change_is_judged_in_the_words_that_model_toml_is(change: object, told: str) -> None:
    assert told in judged(change)


def test_null_puts_back_a_key_or_a_whole_section() -> None:
    before = {"batching": {"max_rows": 8, "window_ms": 5.0}, "cache": {"ttl_s": 3.0}}
    assert laid(before, {"batching": {"max_rows": None}, "cache": None}) == {"batching": {"window_ms": 5.0}}


def test_a_null_that_leaves_what_cannot_stand_alone_is_refused() -> None:
    before: dict[str, dict[str, object]] = {"limits": {"requests_per_s": 5.0, "requests_burst": 9}}
    assert "requests_per_s beside requests_burst" in judged({"limits": {"requests_per_s": None}}, before)


def test_what_is_shown_changes_nothing_when_it_is_sent_back() -> None:
    before = {"batching": {"window_ms": 5.0}}
    made = checked(shown(overlaid(BASE, before, model="m")), before, BASE, model="m")
    assert laid(before, made) == before


@given(st.lists(CHANGES, max_size=4))
def test_after_each_change_what_holds_is_what_it_says_and_else_what_held(changes: list[Any]) -> None:
    before: dict[str, dict[str, object]] = {}
    for change in changes:
        held = shown(overlaid(BASE, before, model="m"))
        try:
            made = checked(change, before, BASE, model="m")
        except LoadError:
            continue
        after = laid(before, made)
        for section in SECTIONS:
            keys = change.get(section, {})
            for key, value in shown(overlaid(BASE, after, model="m"))[section].items():
                back = keys is None or (key in keys and keys[key] is None)
                said = shown(BASE)[section][key] if back else (keys or {}).get(key, held[section][key])
                assert value == said
        before = after


@given(CHANGES, CHANGES)
def test_nothing_is_kept_that_was_put_back(first: Any, second: Any) -> None:
    after = laid(laid({}, first), second)
    assert laid(after, dict.fromkeys(SECTIONS)) == {}
    assert all(value is not None for keys in after.values() for value in keys.values())
    assert all(after.values())


def test_the_differences_name_each_key_with_what_it_was_and_is() -> None:
    after = overlaid(BASE, {"batching": {"max_rows": 64}, "cache": {"auto": False}}, model="m")
    assert differences(BASE, after) == {"batching.max_rows": (32, 64)}


@pytest.mark.parametrize("config", [None, "{", "[]", "[" * 100_000, '{"batching": 5}', '{"runtime": {"threads": 2}}'])
def test_a_load_that_says_nothing_of_what_was_changed_clashes_with_nothing(config: str | None) -> None:
    assert clashes(config, {"batching": {"max_rows": 8}}) == []


# -- what is wanted ----------------------------------------------------------------------------------------------------------


def asked(model: str = "m") -> Entry:
    return Entry("anonymous", "configure", model, "asked")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlStore]:
    prepare(tmp_path)
    made = ControlStore(tmp_path)
    yield made
    made.close()


def wanted(store: ControlStore) -> list[tuple[str, str, str | None]]:
    snapshot = store.look()
    assert snapshot is not None
    return [(wish.model, wish.wanted.value, wish.config) for wish in snapshot.wishes]


def test_a_wish_for_a_change_and_one_for_a_load_settle_each_for_itself(store: ControlStore) -> None:
    store.settle(store.change("m", {"batching": {"max_rows": 8}}, asked()), asked())
    store.settle(store.wish("m", Wanted.LOADED, "{}", asked()), asked())
    assert wanted(store) == [("m", "configured", '{"batching": {"max_rows": 8}}'), ("m", "loaded", "{}")]
    store.settle(store.change("m", {"cache": {"ttl_s": 1}}, asked()), asked())
    assert wanted(store) == [("m", "loaded", "{}"), ("m", "configured", '{"batching": {"max_rows": 8}, "cache": {"ttl_s": 1}}')]


def test_a_change_that_is_withdrawn_leaves_those_before_it(store: ControlStore) -> None:
    store.settle(store.change("m", {"batching": {"max_rows": 8}}, asked()), asked())
    store.withdraw(store.change("m", {"batching": None}, asked()), asked())
    assert wanted(store) == [("m", "configured", '{"batching": {"max_rows": 8}}')]


def test_changes_of_other_models_are_their_own_affair(store: ControlStore) -> None:
    store.change("n", {"batching": {"max_rows": 8}}, asked("n"))
    store.change("m", {"cache": {"ttl_s": 1}}, asked())
    assert [config for _, _, config in wanted(store)] == ['{"batching": {"max_rows": 8}}', '{"cache": {"ttl_s": 1}}']


def test_what_was_wanted_before_changes_could_be_is_wanted_after_the_step_that_lets_them(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "control.db", "rwc")) as connection:
        migrate(connection, MIGRATIONS[:5])
        connection.execute("INSERT INTO wanted VALUES (7, 'm', 'loaded', '{}', 1, 0)")
    prepare(tmp_path)
    store = ControlStore(tmp_path)
    assert wanted(store) == [("m", "loaded", "{}")]
    store.close()


def configured_as(generation: int, config: str | None = "{}", *, settled: bool = False) -> Wish:
    return Wish(generation, "m", Wanted.CONFIGURED, config, settled)


def test_a_worker_starts_from_the_settled_changes_beside_the_settled_loads() -> None:
    load = Wish(2, "m", Wanted.LOADED, "{}", settled=True)
    found = baseline([configured_as(1, '{"cache": {}}', settled=True), load, configured_as(3)])
    assert found == Baseline(frozenset(), {"m": "{}"}, {"m": 2}, {"m": '{"cache": {}}'}, {"m": 1})


def test_a_load_that_was_done_leaves_a_change_to_do_and_the_other_way_round() -> None:
    load, change = Wish(5, "m", Wanted.LOADED), configured_as(4)
    assert due([change, load], {"m": 5}, {}, ()) == [change]
    assert due([change, load], {}, {"m": 4}, ()) == [load]
    assert due([change, load], {}, {}, ()) == [change, load]


def test_a_change_that_was_withdrawn_with_none_before_it_is_undone() -> None:
    assert due([], {}, {"m": 4}, ()) == [configured_as(0, None)]


# -- in the workers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


@pytest.fixture
async def pair(kitchen: Kitchen) -> AsyncIterator[tuple[Worker, Worker]]:
    async with kitchen.pair() as two:
        yield two


async def patch(worker: Worker, change: object, path: str = CONFIG) -> tuple[int, Any]:
    response = await worker.app.test_client().patch(path, data=json.dumps(change))
    return response.status_code, await response.get_json()


async def rows(worker: Worker) -> object:
    status, body = await worker.ask("GET", SHOWN)
    return body["batching"]["max_rows"] if status == 200 else body["code"]


async def test_every_worker_has_a_change_when_it_is_answered(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    status, body = await patch(one, {"batching": {"max_rows": 128, "window_ms": 5, "close": "full", "instances": 2}})
    assert (status, body["changed"]["batching"]["max_rows"]) == (200, 128)
    for worker in pair:
        batcher = worker.service.engine.served("m").batcher
        assert (batcher.policy.max_rows, batcher.policy.close, batcher.policy.instances) == (128, "full", 2)
        assert (await worker.ask("GET", SHOWN))[1] == body
    assert (body["max_batch_size"], body["instance_group"][0]["count"]) == (128, 2)
    assert body["dynamic_batching"] == {"max_queue_delay_microseconds": 5000}
    assert (await patch(other, {"batching": {"max_rows": None}}))[1]["changed"]["batching"].keys() == {
        "window_ms", "close", "instances"
    }  # fmt: skip
    assert [await rows(worker) for worker in pair] == [64, 64]


async def test_a_change_makes_no_new_batcher_and_loads_nothing(pair: tuple[Worker, Worker]) -> None:
    one, _ = pair
    before = one.service.engine.served("m")
    await patch(one, {"batching": {"max_rows": 8}, "limits": {"rows_per_s": 1000.0}})
    after = one.service.engine.served("m")
    assert (after.batcher, after.loaded) == (before.batcher, before.loaded)


async def test_what_was_shown_may_be_sent_back_whole_and_changes_nothing(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    await patch(one, {"batching": {"max_rows": 8}})
    told = (await other.ask("GET", SHOWN))[1]
    assert await patch(other, told) == (200, told)
    told["batching"]["max_rows"] = 9
    assert (await patch(one, told))[0] == 200
    assert [await rows(worker) for worker in pair] == [9, 9]


async def test_what_is_told_beside_and_cannot_be_changed_is_refused_by_its_name(pair: tuple[Worker, Worker]) -> None:
    one, _ = pair
    status, body = await patch(one, {"max_batch_size": 4, "name": "m"})
    assert (status, body["code"], body["details"][0]["path"]) == (400, "bad_request", "max_batch_size")
    assert "change a key of the sections batching, cache, limits" in body["error"]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"batching": {"max_rows": 0}}, "bad_request"), ({"runtime": {"threads": 2}}, "bad_request"), ([], "bad_request")],
)
async def test_a_change_that_is_refused_changes_nothing_and_is_in_the_audit(
    kitchen: Kitchen, pair: tuple[Worker, Worker], change: object, code: str
) -> None:
    one, _ = pair
    assert (await patch(one, change))[1]["code"] == code
    assert [await rows(worker) for worker in pair] == [64, 64]
    store = ControlStore(kitchen.database.parent)
    await until(lambda: len(store.audit()) == 1)
    assert [(entry.action, entry.target, entry.outcome) for entry in store.audit()] == [("configure", "m", "failed")]


async def test_a_body_that_is_no_json_is_refused(pair: tuple[Worker, Worker]) -> None:
    for data in (b"", b"{", b'{"batching": {"max_rows": NaN}}', b"\xff", b"[" * 10_000):
        response = await pair[0].app.test_client().patch(CONFIG, data=data)
        assert (response.status_code, (await response.get_json())["code"]) == (400, "bad_request")


async def test_a_model_that_is_not_there_or_not_loaded_is_not_changed(pair: tuple[Worker, Worker]) -> None:
    one, _ = pair
    assert (await patch(one, {}, "/v1/models/n/config"))[1]["code"] == "unknown_model"
    await one.ask("POST", UNLOAD)
    assert (await patch(one, {}))[1]["code"] == "model_not_ready"


async def test_changes_asked_of_several_workers_at_once_all_hold(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    keys: list[tuple[str, object]] = [("max_rows", 7), ("window_ms", 3.0), ("instances", 3), ("queue_rows", 77), ("close", "full")]
    asking = [patch(worker, {"batching": {key: value}}) for worker, (key, value) in zip((one, other) * 3, keys, strict=False)]
    assert [status for status, _ in await asyncio.gather(*asking)] == [200] * 5
    for worker in pair:
        assert (await worker.ask("GET", SHOWN))[1]["changed"] == {"batching": dict(keys)}


async def test_a_change_outlives_reloads_and_the_model_being_unloaded(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    await patch(one, {"batching": {"max_rows": 9}})
    await other.ask("POST", LOAD)
    assert [await rows(worker) for worker in pair] == [9, 9]
    await one.ask("POST", UNLOAD)
    await other.ask("POST", LOAD)
    assert [await rows(worker) for worker in pair] == [9, 9]


async def test_workers_that_start_later_have_it_and_a_server_that_is_started_anew(kitchen: Kitchen) -> None:
    async with kitchen.worker(0) as one:
        await patch(one, {"batching": {"max_rows": 9}})
        async with kitchen.worker(1) as other:
            assert await rows(other) == 9
            assert (await patch(other, {"batching": {"window_ms": 1.5}}))[0] == 200
    async with kitchen.worker(0) as again:
        assert (await again.ask("GET", SHOWN))[1]["changed"] == {"batching": {"max_rows": 9, "window_ms": 1.5}}


async def test_a_change_says_in_the_audit_what_was_and_what_is(kitchen: Kitchen, pair: tuple[Worker, Worker]) -> None:
    await patch(pair[0], {"batching": {"max_rows": 9, "window_ms": 2}, "cache": None})
    done, begun = ControlStore(kitchen.database.parent).audit()
    assert (done.action, done.target, done.outcome) == ("configure", "m", "done")
    assert (begun.outcome, begun.detail) == ("asked", {"changed": {"batching.max_rows": [64, 9]}})


async def test_an_answer_is_kept_from_the_change_on_that_says_so_and_no_longer_than_it_says(pair: tuple[Worker, Worker]) -> None:
    one, _ = pair

    async def how() -> str | None:
        client = one.app.test_client()
        response = await client.post("/v1/models/m:predict", data='{"instances": [5]}')
        assert response.status_code == 200
        return response.headers.get("x-cache")

    assert await how() is None
    await patch(one, {"cache": {"ttl_s": 60}})
    assert [await how(), await how()] == ["miss", "hit"]
    await patch(one, {"batching": {"max_rows": 9}})
    assert await how() == "hit"
    await patch(one, {"cache": {"ttl_s": 30}})
    assert [await how(), await how()] == ["miss", "hit"]
    answers = one.service.engine.served("m").answers
    await patch(one, {"cache": None})
    assert [await how(), await how()] == [None, None]
    assert one.service.engine.shelf is not None
    await until(lambda: one.service.engine.shelf is not None and one.service.engine.shelf.standing.values == 0)
    await patch(one, {"cache": {"ttl_s": 30}})
    assert [await how(), await how()] == ["miss", "hit"]
    assert answers is not None
    assert answers.counts()["hit"] == 4


async def test_limits_hold_for_who_comes_after_the_change(pair: tuple[Worker, Worker]) -> None:
    one, _ = pair
    await patch(one, {"limits": {"requests_per_s": 0.001}})
    assert [await one.answer(), await one.answer()] == [3.0, "over_budget"]
    await patch(one, {"limits": None})
    assert await one.answer() == 3.0


# -- beside loads ------------------------------------------------------------------------------------------------------------


async def test_a_load_that_overrides_what_was_changed_is_a_conflict(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    await patch(one, {"batching": {"max_rows": 9}})
    status, body = await other.ask("POST", LOAD, {"parameters": {"config": '{"batching": {"max_rows": 7}}'}})
    assert (status, body["code"], body["details"][0]["path"]) == (409, "conflict", "batching.max_rows")
    assert [await rows(worker) for worker in pair] == [9, 9]
    assert (await other.ask("POST", LOAD, {"parameters": {"config": '{"batching": {"window_ms": 7}}'}}))[0] == 200
    assert (await patch(one, {"batching": {"max_rows": None}}))[1]["batching"]["window_ms"] == 7
    assert (await other.ask("POST", LOAD, {"parameters": {"config": '{"batching": {"max_rows": 7}}'}}))[0] == 200


async def test_a_change_goes_over_what_the_load_said_and_back_to_it(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    await other.ask("POST", LOAD, {"parameters": {"config": '{"batching": {"max_rows": 7}}'}})
    await patch(one, {"batching": {"max_rows": 9}})
    assert [await rows(worker) for worker in pair] == [9, 9]
    await patch(one, {"batching": {"max_rows": None}})
    assert [await rows(worker) for worker in pair] == [7, 7]


async def test_a_model_toml_that_a_change_does_not_go_with_is_served_alone_and_said(
    kitchen: Kitchen, pair: tuple[Worker, Worker], caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = pair
    manifest = kitchen.repository / "m" / "model.toml"
    manifest.write_text("[limits]\nrows_per_s = 50\n")
    await one.ask("POST", LOAD)
    assert (await patch(one, {"limits": {"rows_burst": 90}}))[0] == 200
    manifest.write_text("[batching]\nmax_rows = 5\n")
    assert (await one.ask("POST", LOAD))[0] == 200
    assert [await rows(worker) for worker in pair] == [5, 5]
    assert "rows_per_s beside rows_burst" in caplog.text
    assert (await patch(one, {"limits": None}))[0] == 200


async def test_without_a_store_a_worker_that_is_alone_changes_itself_and_one_of_several_refuses(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    async with Kitchen(tmp_path / "alone", slots=1, stored=False).worker(0) as one:
        assert (await patch(one, {"batching": {"max_rows": 9}}))[0] == 200
        await one.ask("POST", LOAD)
        assert await rows(one) == 9
    (tmp_path / "several").mkdir()
    async with Kitchen(tmp_path / "several", stored=False).worker(0) as one:
        assert (await patch(one, {"batching": {"max_rows": 9}}))[1]["code"] == "store_unavailable"
        assert await rows(one) == 64


async def test_a_worker_that_cannot_make_the_change_is_named_and_the_wish_stays(kitchen: Kitchen, tmp_path: Path) -> None:
    other_repository = tmp_path / "other"
    kitchen.put(1, (kitchen.repository / "m" / "1" / "model.py").read_text(), other_repository)
    (kitchen.repository / "m" / "model.toml").write_text("[limits]\nrows_per_s = 50\n")
    async with kitchen.worker(0) as one, kitchen.worker(1, other_repository) as other:
        status, body = await patch(one, {"limits": {"rows_burst": 90}})
        assert (status, body["code"]) == (503, "not_followed")
        assert body["error"].startswith("the change of model 'm' was not brought about by every worker (worker 1 (pid ")
        await until(lambda: "+" in kitchen.board[1].text)
        assert (await one.ask("GET", "/v2/models/m/ready"))[0] == 503
        assert (await patch(one, {"limits": None}))[0] == 200
        assert (await other.ask("GET", "/v2/models/m/ready"))[0] == 200


# -- the command -------------------------------------------------------------------------------------------------------------

TOLD = {
    "batching": {"max_rows": 64, "close": "early", "target_p99_ms": None},
    "cache": {"ttl_s": 0.0, "auto": False},
    "limits": {},
    "changed": {"batching": {"max_rows": 64}},
}


def test_a_key_finds_its_section_and_its_value_its_type() -> None:
    words = [
        "max_rows=128",
        "close=full",
        "ttl_s=2.5",
        "cache.auto=true",
        "target_p99_ms=null",
        "batching.max_row=3",
        "maxrow=4",
        "threads=2",
    ]
    assert changed(words, TOLD) == {
        "batching": {"max_rows": 128, "close": "full", "target_p99_ms": None, "max_row": 3, "maxrow": 4},
        "cache": {"ttl_s": 2.5, "auto": True},
        "threads": 2,
    }


def test_reset_puts_back_the_keys_that_are_named_or_everything() -> None:
    assert put_back(["max_rows", "cache.ttl_s"], TOLD) == {"batching": {"max_rows": None}, "cache": {"ttl_s": None}}
    assert put_back([], TOLD) == {"batching": None, "cache": None, "limits": None}


@pytest.mark.parametrize(("make", "word"), [(changed, "max_rows"), (changed, "=3"), (put_back, "max_rows=3")])
def test_a_word_that_says_nothing_is_refused(make: Any, word: str) -> None:
    with pytest.raises(ValueError, match=r"max_rows=128|--reset"):
        make([word], TOLD)


def test_what_was_changed_is_marked_and_stands_below_the_list_of_models() -> None:
    assert [line.split() for line in configured(TOLD).splitlines()][:3] == [
        ["key", "value"],
        ["batching.max_rows", "64", "changed"],
        ["batching.close", "early"],
    ]
    index = [{"name": "m", "version": str(number), "state": "READY", "reason": "", "changed": TOLD["changed"]} for number in (1, 2)]
    assert listed(index).splitlines()[3:] == ["  m: changed while it serves: batching.max_rows = 64"]
