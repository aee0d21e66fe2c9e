"""What a configuration that is read again may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.bind import Bind
from service.config import Config
from service.errors import ConfigError
from service.processes.reloading import settled
from service.sections import Auth, Limits, Store

NOW = Config()


def test_what_can_change_while_the_server_runs_does() -> None:
    wanted = Config(server="uvicorn", workers=3, limits=Limits(body_bytes=5))
    assert settled(wanted, NOW, most=6) == (wanted, [])


def test_address_and_store_stay_as_they_are_and_it_is_said() -> None:
    wanted = Config(bind=Bind("127.0.0.1", 1), store=Store(state_dir=Path("elsewhere")), limits=Limits(body_bytes=5))
    config, said = settled(wanted, NOW, most=6)
    assert config == Config(limits=Limits(body_bytes=5))
    assert [line.split()[0] for line in said] == ["bind", "[store]"]


def test_no_more_workers_than_there_is_room_for() -> None:
    config, said = settled(Config(workers=9), NOW, most=6)
    assert (config.workers, said) == (6, ["workers = 9, and this server can grow to 6; start it again for more"])


def test_what_would_contradict_what_is_kept_is_refused() -> None:
    public = Config(bind=Bind("0.0.0.0", 80), auth=Auth(api_keys=True), store=Store(state_dir=Path("state")))
    with pytest.raises(ConfigError, match=r"nothing asks who they are"):
        settled(Config(store=public.store), public, most=6)
    with pytest.raises(ConfigError, match="API keys are kept in the state directory"):
        settled(Config(auth=public.auth, store=public.store), NOW, most=6)


def test_a_configuration_comes_through_to_a_worker_as_it_was() -> None:
    wanted = Config(repository=Path("models"), bind=Bind("::1", 80), app="shop.web:extend", store=Store(state_dir=Path("state")))
    assert Config.model_validate_json(wanted.model_dump_json()) == wanted


def test_the_memory_of_budgets_keeps_its_size() -> None:
    config, said = settled(Config(limits=Limits(budget_entries=2048, rows_per_s=5.0)), NOW, most=6)
    assert config == Config(limits=Limits(rows_per_s=5.0))
    assert [line.split(" is ")[0] for line in said] == ["[limits] budget_entries"]
