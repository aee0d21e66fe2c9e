"""Tries a LightGBM model text in a child process, because one that LightGBM stumbles over takes its process down or hangs it."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from models.errors import LoadError
from models.runtimes.lightgbm_child import REFUSED

TIME_LIMIT_S = 10.0
BYTES_A_SECOND = 1_000_000
MEMORY_LIMIT = 4 * 2**30
MEMORY_A_BYTE = 20

CHILD = Path(__file__).with_name("lightgbm_child.py")

# Texts that passed in this process, by digest: the same file is not tried again.
_passed: set[bytes] = set()


def try_model_text(text: bytes, library: Path, *, time_limit_s: float | None = None) -> None:
    """Returns if ``text`` loads and predicts in a child of its own. Raises LoadError saying what became of the child.

    The limit on its time is 10 s and another second for every megabyte, on its memory 4 GiB and 20 times the text.
    """
    digest = hashlib.sha256(text).digest()
    if digest in _passed:
        return
    limit = TIME_LIMIT_S + len(text) / BYTES_A_SECOND if time_limit_s is None else time_limit_s
    status, words = _run(text, library, limit)
    if status == 0:
        _passed.add(digest)
        return
    if status == REFUSED:
        raise LoadError(f"LightGBM refuses it: {plain(words)}")
    if status is None or (status < 0 and _signal_name(-status) == "SIGXCPU"):
        raise LoadError(
            f"it kept LightGBM busy for more than {limit:g} s in a trial; it is damaged or was written by another program"
        )
    how = f"signal {_signal_name(-status)}" if status < 0 else f"exit status {status}"
    raise LoadError(f"it crashed LightGBM in a trial ({how}); it is damaged or was written by another program")


def plain(words: str) -> str:
    """LightGBM's message on one line, without the place in its source where it arose."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words.split()))
    return re.sub(r"\s+at \S+, line \d+\s*\.?", "", line).strip(" .")[:300] or "it gives no reason"


def _run(text: bytes, library: Path, limit_s: float) -> tuple[int | None, str]:
    """The child's exit status, None where its time ran out, and what it said."""
    command = [sys.executable, "-I", "-S", str(CHILD), str(library)]
    command += [str(int(limit_s) + 1), str(MEMORY_LIMIT + MEMORY_A_BYTE * len(text))]
    try:
        # A session of its own: Ctrl-C in the server's terminal says nothing about the model.
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    except OSError as error:
        raise LoadError("the process in which to try it could not be started") from error
    with child:
        try:
            words, _ = child.communicate(text, timeout=limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            return None, ""
        except BaseException:
            child.kill()
            raise
    return child.returncode, words.decode("utf-8", "replace")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
