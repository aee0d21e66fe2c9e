"""The systemd unit: verified by systemd itself where it is there, and its times fit the server's."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from service.cli import main
from service.config import PREFIX, Config
from service.processes.crew import CLOSING_S
from service.processes.restarts import REFUSED

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "tureen.service"


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    """The keys of [Service], each with its values in order."""
    section = UNIT.read_text().partition("[Service]\n")[2].partition("\n[Install]")[0]
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name  # only the program is not where it will be
    unit.write_text(UNIT.read_text().replace("/opt/tureen/bin/tureen", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_calls_it_well_confined() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_the_command_is_one_that_tureen_has(service: dict[str, list[str]]) -> None:
    program, name, *arguments = shlex.split(service["ExecStart"][0])
    assert program == "/opt/tureen/bin/tureen"
    command = main.commands[name]
    assert command.make_context(name, arguments).params["file"] == Path("/etc/tureen/tureen.toml")
    assert isinstance(command, click.Command)


def test_its_variables_are_a_configuration(service: dict[str, list[str]]) -> None:
    pairs = dict(pair.split("=", 1) for line in service["Environment"] for pair in line.split())
    config = Config.resolve(None, {name: value for name, value in pairs.items() if name.startswith(PREFIX)}, {})
    assert str(config.store.state_dir) == f"%S/{service['StateDirectory'][0]}"


def test_the_supervisor_alone_is_told_to_stop_and_has_the_time_to_drain(service: dict[str, list[str]]) -> None:
    assert service["KillMode"] == ["mixed"]
    assert service["KillSignal"] == ["SIGTERM"]
    drain = Config().drain
    assert int(service["TimeoutStopSec"][0]) >= drain.delay_s + drain.timeout_s + CLOSING_S


def test_a_reload_is_the_signal_that_reloads(service: dict[str, list[str]]) -> None:
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_a_refused_configuration_is_not_tried_again(service: dict[str, list[str]]) -> None:
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == [str(REFUSED)]


def test_files_are_enough_for_all_connections(service: dict[str, list[str]]) -> None:
    assert int(service["LimitNOFILE"][0]) > 2 * Config().limits.connections
