"""The image's rules, read from its Dockerfile: what a linter would say, and what running without rights needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from service.config import Config
from tests.e2e.served import Server

ROOT = Path(__file__).parents[2]
INSTRUCTIONS = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


class Instruction(NamedTuple):
    """One instruction, its continued lines joined."""

    name: str
    text: str


@pytest.fixture(scope="module")
def stages() -> list[list[Instruction]]:
    """The instructions of each stage; those before the first FROM are the first list."""
    lines = [line for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    found: list[list[Instruction]] = [[]]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, text = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, text))
    return found


def texts(stage: list[Instruction], name: str) -> list[str]:
    return [instruction.text for instruction in stage if instruction.name == name]


def environment(stage: list[Instruction]) -> dict[str, str]:
    return dict(pair.split("=", 1) for text in texts(stage, "ENV") for pair in text.split())


def test_every_instruction_is_one_that_docker_knows(stages: list[list[Instruction]]) -> None:
    assert {instruction.name for stage in stages for instruction in stage} <= INSTRUCTIONS


def test_both_stages_come_from_one_pinned_slim_base(stages: list[list[Instruction]]) -> None:
    assert texts(stages[0], "ARG") == ["BASE=python:3.11-slim-bookworm"]
    assert [texts(stage, "FROM") for stage in stages[1:]] == [["${BASE} AS build"], ["${BASE}"]]


def test_packages_are_the_tested_ones_and_never_compiled(stages: list[list[Instruction]]) -> None:
    (run,) = texts(stages[1], "RUN")
    installs = [part for part in run.split(" && ") if " install " in part and "--no-index" not in part]
    assert all("--only-binary :all: --require-hashes --requirement requirements/" in part for part in installs)
    assert "--no-deps --no-build-isolation" in run


def test_the_final_image_has_no_build_tools_and_no_caches(stages: list[list[Instruction]]) -> None:
    (run,) = texts(stages[2], "RUN")
    assert re.search(r"apt-get install --yes --no-install-recommends libgomp1 ", run)
    assert "rm -rf /var/lib/apt/lists/*" in run
    assert "uninstall --yes pip" in run
    assert texts(stages[2], "COPY") == ["--from=build /opt/tureen /opt/tureen"]


def test_it_is_not_root_by_number(stages: list[list[Instruction]]) -> None:
    (user,) = texts(stages[2], "USER")
    uid, _, gid = user.partition(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    assert f"useradd --uid {uid} --gid {gid} " in texts(stages[2], "RUN")[0]


def test_signals_reach_the_supervisor_because_no_shell_is_between(stages: list[list[Instruction]]) -> None:
    assert json.loads(texts(stages[2], "ENTRYPOINT")[0]) == ["tureen"]
    assert json.loads(texts(stages[2], "CMD")[0]) == ["serve"]
    assert texts(stages[2], "STOPSIGNAL") == ["SIGTERM"]


def test_its_variables_are_a_configuration(stages: list[list[Instruction]]) -> None:
    config = Config.resolve(None, environment(stages[2]), {})
    assert str(config.bind) == f"0.0.0.0:{texts(stages[2], 'EXPOSE')[0]}"
    assert config.repository == Path("/models")


def test_whatever_is_copied_is_let_in_by_dockerignore(stages: list[list[Instruction]]) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = {name for text in texts(stages[1], "COPY") for name in text.split()[:-1]}
    assert "*" in ignore
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def healthcheck(stages: list[list[Instruction]], port: int) -> int:
    """The exit code of the health check against that port."""
    (check,) = texts(stages[2], "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == "python"
    environ = {"TUREEN_BIND": f"0.0.0.0:{port}", "PATH": ""}
    return subprocess.run([sys.executable, *command[1:]], env=environ, capture_output=True, timeout=30, check=False).returncode


def test_the_health_check_passes_where_a_server_lives(stages: list[list[Instruction]], alone: Server) -> None:
    assert healthcheck(stages, alone.port) == 0


def test_the_health_check_fails_where_nothing_listens(stages: list[list[Instruction]]) -> None:
    assert healthcheck(stages, 1) == 1
