"""Where models lie: ``repository/NAME/VERSION/model.onnx``, with ``NAME/model.toml`` beside the versions. One model may also be
served alone: its directory, with or without versions in it, or its file.

Scanning loads nothing and never raises: what is wrong with a model or a version becomes its ``problem``, one sentence with
the fix. Nothing below the root may be a symlink, so nothing outside it is ever opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from models.errors import LoadError, UnknownModel
from models.manifest import FILE, Manifest, Versions, read_manifest
from models.nearest import nearest
from models.plain_file import NotPlain
from models.stamp import Stamp, stamp_of
from models.vision.labels import FILE as LABELS

PLATFORMS: Mapping[str, str] = MappingProxyType({"model.onnx": "onnxruntime_onnx", "model.txt": "lightgbm", "model.py": "python"})
_SUFFIXES = {**{Path(name).suffix: platform for name, platform in PLATFORMS.items()}, ".bst": "lightgbm"}
# Of a file that lies in a model's directory under a name of its own; a .txt or .py may be anything.
_CERTAIN = (".onnx", ".bst")
_ONE_OF = "model.onnx, model.txt or model.py"
_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_MOST_FILES = 10_000  # in one version's directory


@dataclass(frozen=True, slots=True)
class Source:
    """One version's file, ready to be loaded. ``labels``: the file of its classes' names, its own or the model's."""

    model: str
    version: int
    platform: str
    path: Path
    stamp: Stamp
    labels: Path | None = None


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """One version as found: its source, or why it has none."""

    version: int
    source: Source | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model as found. With a ``problem`` none of it can be served; a version's own problem stops that version alone."""

    name: str
    versions: tuple[VersionEntry, ...] = ()
    manifest: Manifest = field(default_factory=Manifest)
    problem: str | None = None

    @property
    def problems(self) -> list[str]:
        """Everything wrong with the model and its versions."""
        return [p for p in (self.problem, *(version.problem for version in self.versions)) if p is not None]


def wanted(versions: Iterable[int], policy: Versions) -> tuple[int, ...]:
    """Of the versions that exist, those to serve, ascending. A labelled one is always among them: a label must lead somewhere."""
    there = sorted(set(versions))
    if policy.policy == "all":
        return tuple(there)
    chosen = set(there[-policy.latest :] if policy.policy == "latest" else policy.policy) | set(policy.labels.values())
    return tuple(version for version in there if version in chosen)


def valid_name(name: str) -> bool:
    """Whether a model may be called so: 1 to 128 letters, digits, ``.``, ``_`` or ``-``, the first of them no dot."""
    return _NAME.fullmatch(name) is not None


class Repository:
    """A directory of models, or that of one model, which then is called ``name`` or as its directory. Raises LoadError where the
    root is neither."""

    def __init__(self, root: Path, name: str | None = None) -> None:
        self._root = root.resolve()  # the root itself may be reached by a symlink: the operator named it
        self._only: Source | None = None
        if not self._root.is_dir():
            there = "is a file; expected a directory of models" if self._root.exists() else "does not exist"
            raise LoadError(f"the repository {root.name!r} {there}, laid out as NAME/1/model.onnx")
        self._alone = (name or _name_of(self._root.name)) if _is_one_model(self._root) else None

    @classmethod
    def single_file(cls, path: Path, name: str | None = None) -> Repository:
        """A repository of one model with one version, 1, called ``name`` or by the file's stem. Raises LoadError."""
        platform = _SUFFIXES.get(path.suffix.lower())
        if platform is None:
            raise LoadError(f"{path.name!r} is no model file; expected a name that ends in {', '.join(_SUFFIXES)}")
        if not path.is_file():
            raise LoadError(f"the model file {path.name!r} does not exist, or is not a plain file")
        repository = cls.__new__(cls)
        repository._root = path.resolve().parent
        repository._alone = None
        repository._only = Source(name or _name_of(path.stem), 1, platform, path.resolve(), ())
        return repository

    @property
    def root(self) -> Path:
        """The directory, free of symlinks."""
        return self._root

    def scan(self) -> tuple[ModelEntry, ...]:
        """Every model there is now, by name. Loads nothing, never raises."""
        if self._only is not None:
            return (_single(self._only),)
        if self._alone is not None:
            return (_scan_alone(self._root, self._alone),)
        try:
            with os.scandir(self._root) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_model(entry))
        except OSError:
            return ()
        return tuple(_scan_model(self._root / name) for name in names)

    def entry(self, name: str) -> ModelEntry:
        """That model as it lies there now. Raises UnknownModel."""
        if self._only is not None and name == self._only.model:
            return _single(self._only)
        if self._alone is not None and name == self._alone:
            return _scan_alone(self._root, self._alone)
        if self._only is None and self._alone is None and valid_name(name):
            directory = self._root / name
            if directory.is_symlink() or directory.is_dir():
                return _scan_model(directory)
        raise unknown_model(name, (entry.name for entry in self.scan()))


def unknown_model(name: str, known: Iterable[str]) -> UnknownModel:
    """The error for a name that the repository does not have, with the one it may have meant."""
    meant = nearest(name, known, 0.6)
    return UnknownModel(f"there is no model {name[:128]!r}" + (f"; did you mean {meant!r}?" if meant else ""))


def _scan_alone(directory: Path, name: str) -> ModelEntry:
    """The model whose directory is served by itself: as any other, or a file without versions around it, which is version 1."""
    try:
        found = _bare_files(directory)
    except OSError as error:
        return ModelEntry(name, problem=f"model {name!r} cannot be read: {error.strerror}")
    if not found:
        return _scan_model(directory, name)
    try:
        manifest = read_manifest(directory, model=name)
    except LoadError as error:
        return ModelEntry(name, problem=str(error))
    return ModelEntry(name, (_scan_version(name, 1, directory, found),), manifest)


def _scan_model(directory: Path, called: str | None = None) -> ModelEntry:
    name = called or directory.name
    if not valid_name(name):
        return ModelEntry(name, problem=f"{name[:128]!r} cannot be a model's name; rename it to letters, digits, '.', '_' and '-'")
    if directory.is_symlink():  # never the root of a model served alone, which was resolved
        return ModelEntry(name, problem=f"model {name!r} is a symlink; put the directory itself into the repository")
    try:
        children = sorted(child.name for child in directory.iterdir() if not child.name.startswith("."))
        labels = _labels(directory)
        numbers = [child for child in children if _VERSION.fullmatch(child)]
        versions = tuple(_scan_version(name, int(number), directory / number, labels=labels) for number in numbers)
    except OSError as error:
        return ModelEntry(name, problem=f"model {name!r} cannot be read: {error.strerror}")
    versions = tuple(sorted(versions, key=lambda entry: entry.version))
    problem = None if versions else _no_version(name, children)
    if links := [child for child in children if not _VERSION.fullmatch(child) and (directory / child).is_symlink()]:
        problem = f"model {name!r} has a symlink, {links[0][:80]}; put the file itself there"
    if odd := [child for child in children if child.isdecimal() and not _VERSION.fullmatch(child)]:
        problem = f"model {name!r} has a version directory {odd[0][:40]!r}; expected a positive whole number without leading zeros"
    try:
        manifest = read_manifest(directory, model=name)
    except LoadError as error:
        return ModelEntry(name, versions, problem=str(error))
    return ModelEntry(name, versions, manifest, problem)


def _no_version(name: str, children: list[str]) -> str:
    for child in children:
        if child in PLATFORMS:
            return f"model {name!r} has {child} beside its versions instead of in one; move it to {name}/1/{child}"
    return f"model {name!r} has no version; expected a directory such as {name}/1 that holds {_ONE_OF}"


def _labels(directory: Path) -> Path | None:
    path = directory / LABELS
    return path if os.path.lexists(path) else None


def _scan_version(
    model: str, version: int, directory: Path, bare: list[str] | None = None, labels: Path | None = None
) -> VersionEntry:
    where = f"model {model!r} version {version}"
    if directory.is_symlink():
        return VersionEntry(version, None, f"{where} is a symlink; put the directory itself into the repository")
    if not directory.is_dir():
        return VersionEntry(version, None, f"{where} is a file; expected a directory that holds {_ONE_OF}")
    try:
        found = bare or [name for name in PLATFORMS if os.path.lexists(directory / name)]
        if len(found) != 1:
            came = f"has {' and '.join(found)}" if found else "has no model file"
            return VersionEntry(version, None, f"{where} {came}; expected exactly one of {_ONE_OF}")
        own = _labels(directory)
        stamp = stamp_of(directory, labels if own is None else None)
    except NotPlain as refused:
        return VersionEntry(version, None, f"{where} {refused}")
    except OSError as error:
        return VersionEntry(version, None, f"{where} cannot be read: {error.strerror}")
    if len(stamp) > _MOST_FILES:
        return VersionEntry(version, None, f"{where} has {len(stamp)} files; expected at most {_MOST_FILES}")
    return VersionEntry(version, Source(model, version, _platform(found[0]), directory / found[0], stamp, own or labels))


def require_unchanged(source: Source, *, loaded: bool = False) -> None:
    """Raises LoadError where a version's files are not those that were found, or a link has taken a place on the way to them.

    ``loaded``: it has run, so a Python model may have written beside itself.
    """
    directory = source.path.parent
    try:
        # Found without a symlink on its way, so it has none.
        moved = source.path.resolve(strict=True) != source.path
        for name, size, changed, inode in source.stamp:
            if loaded and source.platform == "python" and name != source.path.name:
                continue
            info = (directory / name).lstat()
            moved |= not stat.S_ISREG(info.st_mode) or (info.st_size, info.st_mtime_ns, info.st_ino) != (size, changed, inode)
    except OSError as error:
        raise LoadError(f"its files cannot be read: {error.strerror}") from error
    if moved:
        raise LoadError("its files were changed while it was loaded; load it again once they are in place")


def _single(only: Source) -> ModelEntry:
    try:
        info = only.path.stat()
    except OSError:
        return ModelEntry(only.model, (VersionEntry(1, None, f"the model file {only.path.name!r} does not exist any more"),))
    stamp = ((only.path.name, info.st_size, info.st_mtime_ns, info.st_ino),)
    return ModelEntry(only.model, (VersionEntry(1, Source(only.model, 1, only.platform, only.path, stamp)),))


def _name_of(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip(".")[:128] or "model"


def _is_model(entry: os.DirEntry[str]) -> bool:
    # Files beside the models, such as a README, are nobody's business; a symlink might be meant as a model.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and entry.is_dir())


def _is_one_model(directory: Path) -> bool:
    """Whether a root is one model's directory; anything else is a repository, be it an empty one."""
    try:
        return bool(
            _bare_files(directory)
            or (directory / FILE).is_file()
            or any(_VERSION.fullmatch(child.name) and _holds_model(child) for child in directory.iterdir())
        )
    except OSError:
        return False


def _bare_files(directory: Path) -> list[str]:
    """Model files that lie in a model's directory itself: by their usual names, else those whose suffix leaves no doubt."""
    if usual := [name for name in PLATFORMS if os.path.lexists(directory / name)]:
        return usual
    children = [child for child in directory.iterdir() if not child.name.startswith(".")]
    if any(child.is_dir() for child in children):
        return []  # files beside models are nobody's business
    return sorted(child.name for child in children if child.suffix.lower() in _CERTAIN)


def _platform(name: str) -> str:
    return _SUFFIXES[Path(name).suffix.lower()]


def _holds_model(directory: Path) -> bool:
    return any((directory / name).is_file() for name in PLATFORMS)
