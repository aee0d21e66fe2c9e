"""A loaded version, and who uses it: it is closed when it is retired and the last lease on it is gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from models.errors import NotReady
from models.manifest import Manifest
from models.runtime import Runtime
from models.signature import Signature
from models.stamp import Stamp
from models.vision.recipe import Recipe

log = logging.getLogger(__name__)


class Hold:
    """Counts the leases on one runtime, and closes it once: after ``retire``, when none is left."""

    __slots__ = ("_leases", "_lock", "_retired", "_runtime", "closed")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime: Runtime | None = runtime
        self._lock = threading.Lock()
        self._leases = 0
        self._retired = False
        self.closed = False

    def acquire(self) -> bool:
        """Takes a lease, unless the runtime is closed: one that is retired but still in use may be used by others too."""
        with self._lock:
            if self._retired and not self._leases:
                return False
            self._leases += 1
            return True

    def release(self) -> None:
        """Gives a lease back; the last one of a retired runtime closes it, in this thread. RuntimeError if there is none."""
        with self._lock:
            if not self._leases:
                raise RuntimeError("a lease was released that nobody holds")
            self._leases -= 1
            last = self._retired and not self._leases
        if last:
            self._close()

    def retire(self) -> None:
        """No new work: closes the runtime now if nobody uses it, else with the last lease. Again is harmless."""
        with self._lock:
            last = not self._retired and not self._leases
            self._retired = True
        if last:
            self._close()

    def _close(self) -> None:
        runtime, self._runtime = self._runtime, None
        try:
            if runtime is not None:
                runtime.close()
        except Exception:
            # Whoever gave the last lease back has its answer already, and cannot mend this.
            log.exception("a model raised while it was closed")
        finally:
            self.closed = True


@dataclass(frozen=True, slots=True, eq=False)
class LoadedVersion:
    """One version of a model, ready to compute: two are equal when they are one object.

    ``loaded_at`` is in seconds since the epoch, ``load_s`` how long loading and warming took, ``memory_bytes`` what the process
    grew by meanwhile. ``recipe``: how images become its input; None where ``model.toml`` has no ``[image]``.
    """

    name: str
    version: int
    runtime: Runtime
    manifest: Manifest
    notes: tuple[str, ...]
    loaded_at: float
    load_s: float
    memory_bytes: int
    stamp: Stamp = field(repr=False)
    hold: Hold = field(repr=False)
    recipe: Recipe | None = None

    @property
    def platform(self) -> str:
        """The runtime's platform."""
        return self.runtime.platform

    @property
    def signature(self) -> Signature:
        """The tensors it takes and gives."""
        return self.runtime.signature

    @property
    def closed(self) -> bool:
        """Whether it was retired and the last who used it is gone."""
        return self.hold.closed

    def acquire(self) -> bool:
        """Takes a lease; False if the version is closed. While it is held, ``runtime`` stays usable."""
        return self.hold.acquire()

    def release(self) -> None:
        """Gives a lease back; may close the runtime, in this thread; never raises what that raises."""
        self.hold.release()

    @contextmanager
    def lease(self) -> Iterator[LoadedVersion]:
        """Holds a lease for the length of a ``with``. Raises NotReady if the version is closed."""
        if not self.acquire():
            raise NotReady(f"model {self.name!r} version {self.version} was unloaded")
        try:
            yield self
        finally:
            self.release()
