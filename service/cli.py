"""The command `tureen`."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import click
from quart import Quart

from models import LoadError
from models.shelf import State
from service.bind import Bind
from service.commands.models import models
from service.commands.status import status
from service.config import Config
from service.errors import ConfigError

CONFIG = Path("tureen.toml")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tureen")
def main() -> None:
    """Serves ONNX and LightGBM models over HTTP, batched."""


main.add_command(models)
main.add_command(status)


@main.command()
@click.argument("repository", required=False, type=click.Path(path_type=Path))
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file.  [default: tureen.toml, if there]")
@click.option("--name", help="What the model is called, where one is served.  [default: as its file or directory]")
@click.option("--bind", help="Address to listen on.  [default: 127.0.0.1:8000]")
@click.option("--server", type=click.Choice(["hypercorn", "uvicorn"]), help="HTTP server.  [default: hypercorn]")
@click.option("--app", help="module:function, called with the Quart app to add routes and hooks of your own.")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond loopback without authentication.")
def serve(**options: object) -> None:
    """Serve REPOSITORY: a directory of models, or one model's file."""
    begun = time.perf_counter()
    from service import logs, servers
    from service.app import create_app
    from service.context import service_of
    from service.summary import Standing, summary

    config = _configured(options)
    logs.start(config.log)
    try:
        if config.server == "hypercorn":
            servers.hypercorn_settings()  # a mistake in them is told before anything is loaded
        app = create_app(config)
        _extend(app, config.app)
        listening = servers.listen(config)
    except (ConfigError, LoadError) as error:
        _stop(error)
    address = _reachable(config.bind, listening.getsockname()[1])

    def announce() -> None:
        engine = service_of(app).engine
        failed = [entry for entry in engine.registry.index() if entry.state is not State.READY]
        standing = Standing(engine.versions(), failed)
        click.echo(summary(standing, address, config.server, time.perf_counter() - begun))

    servers.run(app, config, listening, announce)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
def demo(directory: Path) -> None:
    """Train the demo models into DIRECTORY: digits, ranker, recommender, fraud."""
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
    from models.registry import Registry
    from service.app import open_repository
    from service.hypercorn_settings import read_hypercorn

    logging.getLogger().addHandler(logging.NullHandler())  # what is wrong is printed below
    logging.captureWarnings(True)
    problems: list[str] = []
    config = _configured(options)
    try:
        if Path("hypercorn.toml").is_file():
            read_hypercorn(Path("hypercorn.toml"))
    except ConfigError as error:
        problems.append(str(error))
    registry: Registry | None = None
    try:
        registry = Registry(open_repository(config))
    except LoadError as error:
        problems.append(str(error))
    for entry in registry.load_all() if registry is not None else ():
        label = f"{entry.name}/{entry.version}" if entry.version is not None else entry.name
        if entry.state is State.READY and not entry.reason:
            click.echo(f"  ok       {label}")
        else:
            problems.append(f"{label}: {entry.reason}")
    if registry is not None:
        registry.close()
    for problem in problems:
        click.echo(f"  PROBLEM  {problem}")
    sys.exit(1 if problems else 0)


def _configured(options: dict[str, object]) -> Config:
    given = options.pop("file")
    file = given if isinstance(given, Path) else CONFIG if CONFIG.is_file() else None
    try:
        return Config.resolve(file, os.environ, options)
    except ConfigError as error:
        _stop(error)


def _extend(app: Quart, name: str | None) -> None:
    """Calls the user's ``module:function`` with the app."""
    if name is None:
        return
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and what it imports is not
        raise ConfigError(f"--app {name}: there is no module {error.name!r}; it is looked for in the working directory") from error
    extend = getattr(module, function_name, None)
    if not callable(extend) or inspect.iscoroutinefunction(extend):
        kind = "async" if callable(extend) else "no function" if extend is None else "not callable"
        raise ConfigError(f"--app {name}: {function_name} is {kind} in {module_name}; expected a plain function that takes the app")
    extend(app)


def _reachable(bind: Bind, port: int) -> str:
    """The address to paste into a client on this machine: one that listens everywhere is reached on loopback."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return str(Bind(everywhere.get(bind.host, bind.host), port))


def _stop(error: Exception) -> NoReturn:
    click.echo(f"tureen: {error}", err=True)
    for detail in getattr(error, "details", ()):
        click.echo(f"  {detail}", err=True)
    sys.exit(2)
