"""The command `tureen`."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from models.errors import LoadError
from service.errors import ConfigError, StoreUnavailable, in_lines

if TYPE_CHECKING:
    from service.config import Config
    from service.processes.spawning import Spawned

log = logging.getLogger("tureen.supervisor")

CONFIG = Path("tureen.toml")
#: Commands with a module of their own in ``service.commands``, each called as its module is.
ELSEWHERE: Final = ("audit", "bench", "keys", "models", "replay", "status", "tune")


class Commands(click.Group):
    """Imports a command of ``ELSEWHERE`` once it is asked for: `serve` needs none, and is to spawn its first worker at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, in the order in which help shows them."""
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(f"service.commands.{cmd_name}"), cmd_name)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tureen")
def main() -> None:
    """Serves ONNX and LightGBM models over HTTP, batched."""


@main.command()
@click.argument("repository", required=False, type=click.Path(path_type=Path))
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file.  [default: tureen.toml, if there]")
@click.option("--name", help="What the model is called, where one is served.  [default: as its file or directory]")
@click.option("--bind", help="Address to listen on.  [default: 127.0.0.1:8000]")
@click.option("--server", type=click.Choice(["hypercorn", "uvicorn"]), help="HTTP server.  [default: hypercorn]")
@click.option("--workers", type=int, help="Processes that serve, 1 to 64.  [default: 1]")
@click.option("--app", help="module:function, called with the Quart app to add routes and hooks of your own.")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond loopback without authentication.")
def serve(**options: object) -> None:
    """Serve REPOSITORY: a directory of models, or one model's file."""
    from service.processes.spawning import spawn

    begun = time.monotonic()
    first = spawn()  # it imports what it needs while the configuration is read here
    try:
        code = _supervise(options, first, begun)
    except ConfigError as error:
        _stop(error)
    finally:
        first.discard()
    sys.exit(code)


def _supervise(options: dict[str, object], first: Spawned, begun: float) -> int:
    """Serves until told to stop; the exit code. Raises ConfigError."""
    import asyncio

    from service import logs
    from service.exposed import exposed
    from service.processes.chronicle import Chronicle
    from service.processes.listening import doors
    from service.processes.state_directory import state_directory
    from service.processes.supervisor import Supervisor
    from service.store import prepare

    def resolve() -> Config:
        config = _resolved(options)
        if config.server == "hypercorn":
            from service.connections.hypercorn_settings import hypercorn_settings

            hypercorn_settings()  # a mistake in them is told before anything is loaded
        return config

    config = resolve()
    logs.start(config.log, None)
    for line in exposed(config):
        log.warning(line)
    sockets = doors(config.bind, config.admin.bind)
    with state_directory(config.store.state_dir) as state:
        if state is None and config.auth.api_keys:
            raise ConfigError("[auth] api_keys: the state directory that keys are kept in cannot be used; the line before says why")
        if state is not None:
            with contextlib.suppress(StoreUnavailable):  # the workers say so, and try again
                prepare(state)
        chronicle = Chronicle(state)
        chronicle.started(config)
        supervisor = Supervisor(
            config, sockets, state, resolve=resolve, refuse=_complain, chronicle=chronicle, begun=begun, first=first
        )
        code = 1
        try:
            code = asyncio.run(supervisor.run())
        finally:
            chronicle.stopped(supervisor.config, code)
        return code


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
def demo(directory: Path) -> None:
    """Train the demo models into DIRECTORY: digits, ranker, recommender, fraud."""
    # On more threads BLAS sums in another order, and each machine would have other models. NumPy has to find it at its import.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from models.zoo.demo import DemoError, build
    from service.progress import Bar

    try:
        with Bar(sys.stderr) as bar:
            trained = build(directory, lambda progress: bar.show(progress.done, f"{progress.model}: {progress.step}"))
    except DemoError as error:
        _stop(error)
    for model in trained:
        versions = ", ".join(map(str, model.versions))
        click.echo(f"  {model.name:12} {model.summary}; version {versions}; {', '.join(map(str, model.metrics))}")
    click.echo(f"  The demo models are in {directory}; serve them: tureen serve {directory}")


@main.command()
@click.argument("repository", required=False, type=click.Path(path_type=Path))
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file.  [default: tureen.toml, if there]")
def check(**options: object) -> None:
    """Validate the configuration and load every model of REPOSITORY, without serving. Exits 1 when something is wrong."""
    from models.loader import Defect
    from models.registry import Registry
    from models.shelf import State
    from service.app import open_repository
    from service.connections.hypercorn_settings import read_hypercorn

    logging.getLogger().addHandler(logging.NullHandler())  # what is wrong is printed below
    logging.captureWarnings(True)
    problems: list[str] = []
    config = _configured(options)
    try:
        if Path("hypercorn.toml").is_file():
            read_hypercorn(Path("hypercorn.toml"))
    except ConfigError as error:
        problems.append(str(error))
    if config.auth.jwt_keys is not None:
        from service.guard.credentials.tokens import Tokens

        try:
            Tokens.open(config.auth)
        except ConfigError as error:
            problems.append(str(error))
    registry: Registry | None = None
    try:
        registry = Registry(open_repository(config))
    except LoadError as error:
        problems.append(str(error))
    entries = registry.load_all() if registry is not None else []
    notes = {} if registry is None else {(loaded.name, loaded.version): loaded.notes for loaded in registry.ready_versions()}
    if registry is not None and not entries:
        problems.append(
            f"the repository {registry.repository.root.name!r} has no model; expected a directory laid out as NAME/1/model.onnx"
        )
    for entry in entries:
        label = f"{entry.name}/{entry.version}" if entry.version is not None else entry.name
        told = notes.get((entry.name, entry.version or 0), ())
        defects = [f"{label}: {note}" for note in told if isinstance(note, Defect)]
        if entry.state is State.READY and not entry.reason and not defects:
            click.echo(f"  ok       {label}")
        for note in told:
            if not isinstance(note, Defect):
                click.echo(f"  note     {label}: {note}")
        problems += [f"{label}: {entry.reason}"] * bool(entry.reason or entry.state is not State.READY) + defects
    if registry is not None:
        registry.close()
    for problem in problems:
        click.echo(f"  PROBLEM  {problem}")
    sys.exit(1 if problems else 0)


def _configured(options: dict[str, object]) -> Config:
    try:
        return _resolved(options)
    except ConfigError as error:
        _stop(error)


def _resolved(options: dict[str, object]) -> Config:
    """The configuration, as it is now. Raises ConfigError."""
    from service.config import Config

    given = options["file"]
    file = given if isinstance(given, Path) else CONFIG if CONFIG.is_file() else None
    return Config.resolve(file, os.environ, {key: value for key, value in options.items() if key != "file"})


def _complain(problem: str) -> None:
    click.echo(f"tureen: {problem}", err=True)


def _stop(error: Exception) -> NoReturn:
    _complain(in_lines(error))
    sys.exit(2)
