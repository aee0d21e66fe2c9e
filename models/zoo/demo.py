"""The demo repository: trained whole beside its place, then moved there, so that an interrupted run leaves nothing half-made.

A stamp in the repository says by which recipe (the trainers' source and the libraries' versions) it was made; where it
matches, nothing is done again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.zoo.trained import Metric, Progress, Report, Trained

STAMP = ".recipe.json"
NAMES = ("digits", "ranker", "recommender", "fraud")
LIBRARIES = ("lightgbm", "numpy", "onnx", "scikit-learn")
# Shares of the whole time, as measured; the ranker's is mostly the shop's, which the recommender then uses as well.
SHARES = {"digits": 0.34, "ranker": 0.36, "recommender": 0.03, "fraud": 0.27}
ABANDONED_S = 3600.0

Train = Callable[[Path, Report], Trained]


class DemoError(ModelError):
    """The demo cannot be built, here or there; the message says how to mend it."""


def build(directory: Path, report: Callable[[Progress], None]) -> list[Trained]:
    """Trains the demo models into the repository ``directory``, or reads how they did if all are there, in NAMES' order.

    Other models in that repository are left alone. Raises DemoError.
    """
    found = complete(directory)
    if found is not None:
        return found
    directory = directory.resolve()
    _check_libraries()
    _check_place(directory)
    try:
        with _workshop(directory) as workshop:
            made = workshop / "made"
            # One thread: matrices this small are slower with more, and the sums' order is then the same on any machine.
            with _one_thread():
                trained = _train(made, report)
            stamp = {"recipe": _recipe(), "models": [asdict(model) for model in trained], "files": _files(made)}
            (made / STAMP).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
            _install(made, directory, workshop / "replaced")
    except OSError as error:
        raise DemoError(f"the demo could not be written to {directory.name!r}: {error.strerror}; name another directory") from error
    return trained


def complete(directory: Path) -> list[Trained] | None:
    """How the models did of a demo that is there, whole and of today's recipe; None otherwise. Files may have been edited."""
    try:
        stamp = json.loads((directory / STAMP).read_text(encoding="utf-8"))
        made_by: Mapping[str, str | None] = stamp["recipe"]
        # Where a library is not installed, as scikit-learn where models are only served, its version makes no difference.
        if any(today is not None and made_by[name] != today for name, today in _recipe().items()):
            return None
        if not stamp["files"] or not all((directory / name).is_file() for name in stamp["files"]):
            return None
        return [_trained(model) for model in stamp["models"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _one_thread() -> AbstractContextManager[object]:
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def _train(made: Path, report: Callable[[Progress], None]) -> list[Trained]:
    # Here, so that a demo which is there costs no import of a training library.
    from models.zoo import digits, fraud, ranker, recommender, shop

    opened = None

    def train_ranker(directory: Path, step: Report) -> Trained:
        nonlocal opened
        step("simulated shop", 0.0)
        opened = shop.opened()
        return ranker.train(directory, opened, lambda what, done: step(what, 0.6 + 0.4 * done))

    def train_recommender(directory: Path, step: Report) -> Trained:
        return recommender.train(directory, made / "ranker", opened or shop.opened(), step)

    trainers: Mapping[str, Train] = {
        "digits": digits.train,
        "ranker": train_ranker,
        "recommender": train_recommender,
        "fraud": fraud.train,
    }
    behind = 0.0
    trained = []
    for name in NAMES:
        started = time.perf_counter()

        def step(what: str, done: float, name: str = name, behind: float = behind) -> None:
            report(Progress(name, what, behind + SHARES[name] * done))

        (made / name).mkdir(parents=True)
        model = trainers[name](made / name, step)
        behind += SHARES[name]
        trained.append(replace(model, seconds=round(time.perf_counter() - started, 2)))
        report(Progress(name, ", ".join(map(str, model.metrics)), min(behind, 1.0)))
    return trained


def _trained(model: Mapping[str, Any]) -> Trained:
    metrics = tuple(Metric(**metric) for metric in model["metrics"])
    return Trained(**{**model, "versions": tuple(model["versions"]), "metrics": metrics})


def _recipe() -> dict[str, str | None]:
    """The trainers' source, hashed, and each library's version, None where it is not installed."""
    digest = sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    recipe: dict[str, str | None] = {"source": digest.hexdigest()}
    for library in LIBRARIES:
        try:
            recipe[library] = version(library)
        except PackageNotFoundError:
            recipe[library] = None
    return recipe


def _check_libraries() -> None:
    missing = [library for library, found in _recipe().items() if found is None]
    if missing:
        raise DemoError(f"training the demo needs {' and '.join(missing)}, not installed here; run: pip install 'tureen[demo]'")


def _check_place(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise DemoError(f"{directory.name!r} is a file; name a directory for the demo")
    taken = [name for name in NAMES if (directory / name).exists()]
    if taken and not (directory / STAMP).exists():
        raise DemoError(f"{directory.name!r} holds a {taken[0]!r} that is not the demo's; name another directory, or an empty one")


@contextmanager
def _workshop(directory: Path) -> Iterator[Path]:
    """A directory beside ``directory``, so that moving from it is one rename; emptied at the end, however that comes."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{directory.name}-making-"
    for left in directory.parent.glob(f"{prefix}*"):
        # From a run that was killed; a younger one may be another's, still at work.
        if time.time() - left.stat().st_mtime > ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
    workshop = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        yield workshop
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _files(made: Path) -> list[str]:
    return sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())


def _install(made: Path, directory: Path, replaced: Path) -> None:
    if not directory.exists() or not any(directory.iterdir()):
        os.replace(made, directory)
        return
    # Others' models are there, or a demo of an older recipe. The stamp goes first, as a claim to the names, and is true
    # last: a run interrupted between leaves whole models, and the next run puts all of them right.
    replaced.mkdir()
    (directory / STAMP).write_text(json.dumps({"recipe": {}}), encoding="utf-8")
    for name in NAMES:
        if (directory / name).exists():
            os.replace(directory / name, replaced / name)
        os.replace(made / name, directory / name)
    os.replace(made / STAMP, directory / STAMP)
