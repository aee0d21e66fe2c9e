"""`tureen tune` as its users run it, with very little time."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from models.manifest import Manifest
from tests.e2e.patience import until
from tests.e2e.served import children, command, run


def test_it_tries_settings_and_gives_a_section_that_loads(kitchen: Path, tmp_path: Path) -> None:
    asked = ("tune", "affine", "--repository", kitchen, "--minutes", 0.06, "--rate", 100, "--p99-ms", 200, "--json")
    done = run(*asked, "--html", "tune.html", "--png", "tune.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Ctrl-C ends it" in done.stderr
    told = json.loads(done.stdout)
    advised = Manifest.parse(told["model_toml"], model="affine").batching
    assert {key: getattr(advised, key) for key in told["advised"]["batching"]} == told["advised"]["batching"]
    assert len(told["tried"]) > 1
    assert [one["batching"]["max_rows"] for one in told["tried"] if one["current"]] == [64]
    assert all(turn["requests"] > 10 and turn["rate"] == 100 for one in told["tried"] for turn in one["turns"])
    assert (tmp_path / "tune.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "tune.png").read_bytes().startswith(b"\x89PNG")
    assert not (kitchen / "affine" / "model.toml").exists()


def test_an_interrupt_tells_the_best_so_far_and_leaves_no_server(kitchen: Path, tmp_path: Path) -> None:
    asked = ("tune", "boost", "--repository", kitchen, "--minutes", 0.4, "--server", "uvicorn")
    with subprocess.Popen(
        command(*asked), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        started, planned = running.stderr.readline(), running.stderr.readline()
        assert "starting a server" in started
        assert "about 24 s" in planned
        servers = children(running.pid)
        assert len(servers) == 1
        shown = running.stderr.readline()
        while shown.split()[0] == "0%":  # of the search, whose first turn is over when it says more
            shown = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate()
    assert running.returncode == 0
    assert "[batching]" in out
    assert "interrupted after" in out
    until(lambda: not Path(f"/proc/{servers[0]}").exists(), "its server has ended")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("afine",), 2, "did you mean 'affine'"),
        (("affine", "--rate", 5, "--max"), 2, "leave one of them out"),
        (("affine", "--html", "nowhere/tune.html"), 2, "no directory nowhere"),
        (("affine", "--data", "wrong", "--protocol", "tfserving"), 1, "affine answers 400"),
        (("half",), 2, "use --protocol oip-binary"),
    ],
)
def test_where_there_is_nothing_to_try_it_says_what_to_do(
    arguments: tuple[object, ...], code: int, said: str, kitchen: Path, tmp_path: Path
) -> None:
    (tmp_path / "wrong").write_text('{"instances": [[1, 2]]}')
    done = run("tune", *arguments, "--repository", kitchen, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
