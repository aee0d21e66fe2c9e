"""The lines to paste in the documentation, pasted: each gets the answer that stands below it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.zoo.trained import Progress, Trained
from tests.e2e.served import Server, serving

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8000"
#: A page's lines that begin with curl, and the line below each.
PASTED = re.compile(r"^ {4}(curl .*)\n {4}(.+)$", re.MULTILINE)


def pasted(page: str) -> list[tuple[str, str]]:
    """Command and answer, in the page's order."""
    return PASTED.findall((ROOT / page).read_text())


@pytest.fixture(scope="module")
def demo_server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(demo, cwd=tmp_path_factory.mktemp("cwd")) as server:
        yield server


def answer(server: Server, command: str) -> str:
    """What the server says to that curl line."""
    method, path, body, headers = "", "", None, {}
    words = iter(shlex.split(command)[1:])
    for word in words:
        if word == "-d":
            body = next(words).encode()
        elif word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word != "-s":
            assert word.startswith(ADDRESS + "/")
            path = word.removeprefix(ADDRESS)
    return server.request(method or ("GET" if body is None else "POST"), path, body, headers).body.decode().rstrip()


def legible(answer: str) -> str:
    """An answer whose single-precision numbers are cut where processors begin to differ."""
    return re.sub(r"\b\d\.\d{6,9}\b", lambda number: f"{float(number[0]):.5f}", answer)


@pytest.mark.parametrize("page", ["docs/http.md", "docs/models.md"])
def test_what_is_pasted_against_the_demo_is_answered_as_written(demo_server: Server, page: str) -> None:
    commands = [(command, expected) for command, expected in pasted(page) if "models/cart" not in command]
    assert len(commands) >= 5
    for command, expected in commands:
        assert legible(answer(demo_server, command)) == legible(expected), command
    assert answer(demo_server, f"curl -X POST {ADDRESS}/v2/repository/models/fraud/load") == "{}"


def test_what_is_pasted_against_the_examples_is_answered_as_written(tmp_path: Path) -> None:
    shop = ROOT / "examples" / "python_model"
    with serving(shop, "--app", "examples.extending.extend:extend", cwd=ROOT) as server:
        commands = pasted("docs/extending.md")
        assert len(commands) == 2
        for command, expected in commands:
            assert answer(server, command) == expected, command
    with serving(shop, cwd=tmp_path) as server:
        for command, expected in [each for each in pasted("docs/models.md") if "models/cart" in each[0]]:
            assert answer(server, command) == expected, command


def test_the_figures_of_the_demo_are_those_that_it_prints(demo_making: tuple[Path, list[Trained], list[Progress]]) -> None:
    told = (ROOT / "docs" / "models.md").read_text()
    for model in demo_making[1]:
        for number in re.findall(r"\d\.\d{3}", " ".join(map(str, model.metrics))):
            assert number in told
