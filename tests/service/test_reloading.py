"""What a configuration that is read again may change."""

from __future__ import annotations

from pathlib import Path

from service.bind import Bind
from service.config import Config
from service.processes.reloading import settled
from service.sections import Limits, Store

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


def test_a_configuration_comes_through_to_a_worker_as_it_was() -> None:
    wanted = Config(repository=Path("models"), bind=Bind("::1", 80), app="shop.web:extend", store=Store(state_dir=Path("state")))
    assert Config.model_validate_json(wanted.model_dump_json()) == wanted
