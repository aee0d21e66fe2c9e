"""A server of tune's own, to be driven and reconfigured as it likes: on a free port of loopback, with one worker.

It is what `tureen serve` would be, without what keeps callers out or is kept: keys, budgets, captures, traces, a state directory.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from models.repository import ModelEntry, Repository, unknown_model
from service.config import PREFIX, Config

_ADDRESS = re.compile(rb"Tureen serves .* on (http://127\.0\.0\.1:[0-9]+) \(")
#: Of what the server writes so much is kept, to say why it ended (lines).
_KEPT = 40
#: How long it may take to stop (seconds).
_STOP_S = 10.0
#: Ends it with the process that started it, however that ends: 1 is PR_SET_PDEATHSIG, 15 SIGTERM; Python has no names for them.
_LEASHED = """
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
from service.cli import main
main()
"""
#: Of `[limits]` what bounds a request rather than its caller; and of `[log]` what costs time on a request's way.
_LIMITS = {"body_bytes", "inflated_bytes", "header_bytes", "header_count", "json_depth", "tensor_elements", "rows"}
_LOG = {"level", "format", "requests", "sample", "most_per_s"}


class NotServed(Exception):
    """There is no model to be tuned: a sentence with what to do."""


def served_alone(path: Path, name: str | None, model: str) -> tuple[ModelEntry, Path]:
    """The model, and what to serve: its own directory or file, or the whole repository where it may call others.

    ``path`` and ``name`` are a server's. Raises NotServed, and LoadError where there is no repository.
    """
    repository = Repository.single_file(path, name) if path.is_file() else Repository(path, name)
    entries = {entry.name: entry for entry in repository.scan()}
    entry = entries.get(model)
    if entry is None:
        there = ", ".join(list(entries)[:_KEPT]) or "none at all"
        raise NotServed(f"{unknown_model(model, entries)}; the repository has {there}")
    if entry.problem is not None:
        raise NotServed(entry.problem)
    newest = next((version.source for version in reversed(entry.versions) if version.source is not None), None)
    if newest is None:
        raise NotServed(next(iter(entry.problems), f"model {model!r} has no version"))
    whole = path.is_file() or len(entries) == 1 or newest.platform == "python"
    return entry, path if whole else repository.root / model


def configuration(config: Config) -> str:
    """The `tureen.toml` of the server."""
    kept = {
        "limits": config.limits.model_dump(include=_LIMITS),
        "log": config.log.model_dump(include=_LOG),
        "metrics": config.metrics.model_dump(),
    }
    lines = []
    for section, keys in kept.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())]
    return "\n".join([*lines, ""])


@contextmanager
def serving(what: Path, model: str, config: Config, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """The server's URL once it answers; it has stopped when the ``with`` ends. Raises NotServed where it does not start."""
    with tempfile.TemporaryDirectory(prefix="tureen-tune-") as private:
        file = Path(private) / "tureen.toml"
        file.write_text(configuration(config), encoding="utf-8")
        options = ["--config", str(file), "--bind", "127.0.0.1:0", "--server", config.server, "--workers", "1", "--name", model]
        options += [] if config.app is None else ["--app", config.app]
        process = subprocess.Popen(
            [sys.executable, "-c", _LEASHED, "serve", str(what), *options],
            env={name: value for name, value in environ.items() if not name.startswith(PREFIX)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # an interrupt of the terminal is for the client alone, which then stops the server
        )
        told = _Told(process)
        try:
            yield told.address()
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            told.close()


class _Told:
    """Reads what the server writes, since it would wait for a reader: some thousand lines a second, of which the last are kept."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._last: deque[bytes] = deque(maxlen=_KEPT)
        self._found = b""
        self._up = threading.Event()
        pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
        self._readers = [threading.Thread(target=self._read, args=(pipe,), daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def address(self) -> str:
        """Waits for the line that has it. Raises NotServed where the server ends instead."""
        while not self._up.wait(0.1):
            if self._process.poll() is not None:
                self.close()
                said = b"\n".join(self._last).decode("utf-8", "replace").strip()
                raise NotServed(f"the server did not start (exit code {self._process.returncode}):\n{said}")
        return self._found.decode("ascii")

    def close(self) -> None:
        """Waits for the rest. Call once the process has ended."""
        for reader in self._readers:
            reader.join(_STOP_S)

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe, suppress(ValueError):
            for line in pipe:
                if not self._up.is_set() and (match := _ADDRESS.search(line)):
                    self._found = match[1]
                    self._up.set()
                self._last.append(line.rstrip())
