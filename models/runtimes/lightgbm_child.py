"""The child process in which a LightGBM model text is tried: python -I -S lightgbm_child.py LIBRARY CPU_SECONDS MEMORY_BYTES

Takes the text on stdin, loads it and asks for one prediction of each of three rows. Exit status 0, and "CLASSES FEATURES" on
stdout: it works. REFUSED, and LightGBM's own words on stdout: it does not load. Anything else: it took the process down.
Nothing but the standard library is imported, so that a trial costs milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import sys

REFUSED = 3
FLOAT64 = 1
ROWS = 3


def main(library: str, cpu_seconds: int, memory_bytes: int) -> int:
    """The exit status."""
    _limit(cpu_seconds, memory_bytes)
    text = sys.stdin.buffer.read()
    # LightGBM prints to stdout and stderr as it likes; only the verdict may reach the parent.
    verdict = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    lightgbm = ctypes.CDLL(library)
    try:
        answer, status = _try(lightgbm, text), 0
    except ValueError as error:
        answer, status = str(error), REFUSED
    os.write(verdict, answer.encode()[:4096])
    return status


def _try(lightgbm: ctypes.CDLL, text: bytes) -> str:
    lightgbm.LGBM_GetLastError.restype = ctypes.c_char_p

    def call(name: str, *arguments: object) -> None:
        if getattr(lightgbm, name)(*arguments):
            raise ValueError(lightgbm.LGBM_GetLastError().decode("utf-8", "replace"))

    handle = ctypes.c_void_p()
    iterations, classes, features = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    call("LGBM_BoosterLoadModelFromString", text, ctypes.byref(iterations), ctypes.byref(handle))
    call("LGBM_BoosterGetNumClasses", handle, ctypes.byref(classes))
    call("LGBM_BoosterGetNumFeature", handle, ctypes.byref(features))
    columns = features.value
    rows = (ctypes.c_double * (ROWS * columns))()
    rows[columns : 2 * columns] = [1e30] * columns
    rows[2 * columns :] = [float("nan")] * columns
    length = ctypes.c_int64()
    results = (ctypes.c_double * (ROWS * classes.value))()
    call(
        "LGBM_BoosterPredictForMat",
        *(handle, rows, FLOAT64, ctypes.c_int32(ROWS), ctypes.c_int32(columns), 1, 0, 0, -1, b"num_threads=1 verbosity=-1"),
        *(ctypes.byref(length), results),
    )
    if length.value != len(results):
        raise ValueError(f"it gave {length.value} numbers for {ROWS} rows of {classes.value} classes")
    call("LGBM_BoosterFree", handle)
    return f"{classes.value} {columns}"


def _limit(cpu_seconds: int, memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows: the parent's own clock has to do
        return
    wishes = ((resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0))
    for kind, wish in wishes:
        hard = resource.getrlimit(kind)[1]
        limit = wish if hard == resource.RLIM_INFINITY else min(wish, hard)
        resource.setrlimit(kind, (limit, hard))


if __name__ == "__main__":
    # Straight out: a process whose heap the model has damaged should not tidy it up.
    os._exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
