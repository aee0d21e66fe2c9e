"""The directory of what the workers of a server keep together."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("tureen.supervisor")


@contextmanager
def state_directory(wanted: Path | None) -> Iterator[Path | None]:
    """The directory that was asked for, made where it is missing; where none was, a private one of this server's life.

    None where it cannot be made or written to, which is said: the server can do without.
    """
    temporary: Path | None = None
    found: Path | None = None
    try:
        if wanted is None:
            found = temporary = Path(tempfile.mkdtemp(prefix="tureen-"))
        else:
            wanted.mkdir(0o700, parents=True, exist_ok=True)  # what is kept there is its owner's alone
            with tempfile.TemporaryFile(dir=wanted):
                found = wanted.resolve()
    except OSError as error:
        what = "the state directory" if wanted is not None else "a directory for the state of this server"
        log.warning("%s cannot be used (%s): nothing is kept, and each worker is on its own", what, error.strerror)
    try:
        yield found
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
