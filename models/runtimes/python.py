"""Models written in Python: the class in a version's ``model.py``.

The version's directory is a package under a name of its own, so files beside ``model.py`` are imported relatively
(``from .features import age``), two versions never meet in ``sys.modules``, and ``sys.path`` stays as it is. No bytecode is
read or written there: a file that changes within a second would otherwise be taken for the old one.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from inspect import isabstract, iscoroutinefunction
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TypeVar

from models.blame import line_in, told
from models.errors import InferenceError, InvalidInput, LoadError, NotReady
from models.python_model import PythonModel
from models.runtime import Models
from models.runtimes.python_result import checked
from models.signature import Signature
from models.tensor import Array, TensorSpec

log = logging.getLogger(__name__)

_serial = itertools.count(1)
_T = TypeVar("_T")


class PythonRuntime:
    """One instance of a repository's class. ``infer`` gets read-only arrays: they may be another try's, or the caller's."""

    platform = "python"

    def __init__(self, model: PythonModel, package: Package | None = None) -> None:
        self._model = model
        self._package = package
        self.signature, self.notes = _signature_of(model)
        self.pure = bool(model.pure)

    @classmethod
    def load(cls, path: Path, models: Models) -> PythonRuntime:
        """Imports the file, makes its one PythonModel and calls its ``load``. Raises LoadError, naming the line at fault."""
        package = Package(path)
        try:
            kind = _blaming(path, lambda: _class_in(package.import_model()))
            made = _blaming(path, kind)
            _blaming(path, lambda: made.load(path.parent, models))
            return cls(made, package)
        except BaseException:
            package.forget()
            raise

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Calls the model and holds its answer against its own description. Raises InferenceError; InvalidInput, by which the
        model refuses a value, and NotReady pass."""
        frozen = {name: _read_only(array) for name, array in inputs.items()}
        try:
            result: object = self._model.infer(frozen)
        except (InferenceError, InvalidInput, NotReady, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit or a stray CancelledError would take the server's loop with it
            raise InferenceError(f"the model raised {told(error)}") from error
        rows = next(iter(inputs.values())).shape[0] if self.signature.batched else None
        return checked(result, self.signature.outputs, outputs, rows)

    def close(self) -> None:
        """Calls the model's ``close``, then forgets its modules."""
        try:
            self._model.close()
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise InferenceError(f"the model raised {told(error)} while it was closed") from error
        finally:
            if self._package is not None:
                self._package.forget()


class Package(MetaPathFinder):
    """A version's directory as a package with a unique name; while it lives, it finds that package's modules."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = f"tureen_model_{next(_serial)}"

    def import_model(self) -> ModuleType:
        """The module of ``model.py``, run. Whatever it raises passes."""
        top = ModuleType(self._name)
        top.__path__ = [str(self._path.parent)]
        sys.modules[self._name] = top
        # Before the path finder, which would find the same files and leave bytecode beside them.
        sys.meta_path.insert(0, self)
        name = f"{self._name}.model"
        spec = ModuleSpec(name, _Uncached(name, str(self._path)), origin=str(self._path))
        spec.has_location = True
        module = module_from_spec(spec)
        sys.modules[name] = module
        _Uncached(name, str(self._path)).exec_module(module)
        return module

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not path or not fullname.startswith(self._name + "."):
            return None
        finder = FileFinder(path[0], (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Uncached, SOURCE_SUFFIXES))
        return finder.find_spec(fullname, target)

    def forget(self) -> None:
        """Takes the package and all its modules out of the interpreter's tables. Again is harmless."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name == self._name or name.startswith(self._name + ".")]:
            del sys.modules[name]


class _Uncached(SourceFileLoader):
    def path_stats(self, path: str) -> NoReturn:
        raise OSError("no bytecode")  # importlib's word for: neither read nor write any


def _class_in(module: ModuleType) -> type[PythonModel]:
    classes = dict.fromkeys(value for value in vars(module).values() if isinstance(value, type))
    found = [value for value in classes if issubclass(value, PythonModel) and value.__module__ == module.__name__]
    whole = [value for value in found if not isabstract(value)]
    if len(whole) == 1:
        if iscoroutinefunction(whole[0].infer):
            raise LoadError(
                f"model.py's class {whole[0].__name__} has an async infer; it is called from threads, so use a plain def"
            )
        return whole[0]
    if whole:
        names = ", ".join(sorted(value.__name__ for value in whole))
        raise LoadError(f"model.py defines {len(whole)} PythonModel classes, {names}; expected exactly one")
    if found:
        raise LoadError(f"model.py's class {found[0].__name__} has no method infer; define infer(self, inputs)")
    raise LoadError("model.py defines no PythonModel; expected one class derived from models.PythonModel")


def _signature_of(model: PythonModel) -> tuple[Signature, tuple[str, ...]]:
    inputs, outputs = _tensors(model, "inputs"), _tensors(model, "outputs")
    fixed = [spec.name for spec in (*inputs, *outputs) if tuple(spec.shape[:1]) != (-1,)]
    try:
        signature = Signature(inputs, outputs, batched=not fixed)
    except ValueError as error:
        raise LoadError(f"model.py's class {type(model).__name__} describes its tensors wrongly: {error}") from error
    if not fixed:
        return signature, ()
    return signature, (f"runs one request at a time: the first dim of {', '.join(fixed)} is not free, so rows cannot be stacked",)


def _tensors(model: PythonModel, kind: str) -> tuple[TensorSpec, ...]:
    declared: object = getattr(model, kind)
    name = type(model).__name__
    if not isinstance(declared, Sequence) or not all(isinstance(spec, TensorSpec) for spec in declared):
        raise LoadError(
            f"model.py's class {name} has {kind} that are no list of TensorSpec, such as [TensorSpec('x', 'FP32', [-1])]"
        )
    if not declared:
        raise LoadError(
            f"model.py's class {name} describes no {kind}; expected at least one, such as [TensorSpec('x', 'FP32', [-1])]"
        )
    return tuple(declared)


def _blaming(path: Path, step: Callable[[], _T]) -> _T:
    try:
        return step()
    except (LoadError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a file may say sys.exit()
        line = line_in(error, path)
        sentence = f"{path.name} raised {told(error)}" + (f" (line {line})" if line else "")
        if isinstance(error, ModuleNotFoundError) and error.name and (path.parent / f"{error.name}.py").is_file():
            sentence += f"; a file beside {path.name} is imported relatively: from . import {error.name}"
        raise LoadError(sentence) from error


def _read_only(array: Array) -> Array:
    # As cut from a body's bytes it may lie anywhere, and what a model hands it to may be native code that relies on alignment.
    view = array.view() if array.flags.aligned else array.copy()
    view.flags.writeable = False
    return view
