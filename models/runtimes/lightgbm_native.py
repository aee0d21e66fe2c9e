"""LightGBM's C API, bound directly: as the installed ``lightgbm`` package brings it, without importing that package.

Importing it costs a second and more where scikit-learn is installed, and ``Booster.predict`` adds some 55 us of Python to
every call. Reference: the docstrings of LightGBM's ``c_api.h``.

**Threads.** LightGBM keeps the number of OpenMP threads in one variable of the process. A prediction reads it twice, once to
size its buffers and once to start its threads, so two calls that want different numbers can write past a buffer. Therefore
LGBM_SetMaxThreads(1): whatever anyone in this process asks for, LightGBM stays on the calling thread, and a model that may
use several threads gives each a block of rows.

**One Booster, no lock.** Building a predictor writes into its Booster (LightGBM issue 6142): where to start and how many
iterations. All calls here ask for the same, all iterations from the first, so they write what stands there. (Contributions
also write the depths of the trees: whoever adds them gives them a Booster of their own.) The single-row predictor has buffers
that calls would share; it is called under the GIL and under its own lock, so one is enough.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from math import log2
from pathlib import Path

import numpy as np

from models.errors import InferenceError, LoadError
from models.runtimes.lightgbm_text import ModelText
from models.runtimes.lightgbm_trial import plain
from models.tensor import Array

FLOAT32, FLOAT64 = 0, 1
NORMAL = 0
ROW_MAJOR = 1
ALL_ITERATIONS = -1
PARAMETERS = b"num_threads=1 verbosity=-1 predict_disable_shape_check=false pred_early_stop=false"

# Work is counted in trees of 31 leaves, walked for one row: about 50 ns each. A call of up to this much, 0.1 ms, keeps the
# GIL: beside a busy thread, letting go of it made a call of 10 us one of 5 ms, the interpreter's switch interval.
HELD_WORK = 2_000
# Up to so many rows the single-row predictor, called row by row, beats LGBM_BoosterPredictForMat, which spends 15 us on
# reading its parameters.
SINGLE_ROWS = 8
# A block of rows worth giving to another thread: about 1 ms.
BLOCK_WORK = 25_000

_log = logging.getLogger(__name__)

_LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


def _log_line(line: bytes) -> None:
    if text := line.decode("utf-8", "replace").strip():
        _log.debug("%s", text)


# LightGBM keeps the pointer: it must outlive every thread that it was registered in.
_LOG_LINE = _LogCallback(_log_line)


def library_path() -> Path:
    """The shared library of the installed ``lightgbm`` package. Raises LoadError."""
    spec = importlib.util.find_spec("lightgbm")
    name = {"win32": "lib_lightgbm.dll", "darwin": "lib_lightgbm.dylib"}.get(sys.platform, "lib_lightgbm.so")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for folder in ("lib", "bin", ""):
            if (path := Path(place, folder, name)).is_file():
                return path
    raise LoadError("the lightgbm package is not installed, and it brings the library that computes the model: install lightgbm")


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.PyDLL]:
    """The library twice: its functions called without the GIL, and with it."""
    path = str(library_path())
    try:
        free, held = ctypes.CDLL(path), ctypes.PyDLL(path)
        free.LGBM_GetLastError.restype = ctypes.c_char_p
        pointer, integer, int32 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int32
        text = ctypes.c_char_p
        free.LGBM_BoosterLoadModelFromString.argtypes = [text, pointer, pointer]
        free.LGBM_BoosterFree.argtypes = [pointer]
        free.LGBM_FastConfigFree.argtypes = [pointer]
        free.LGBM_BoosterGetNumClasses.argtypes = [pointer, pointer]
        free.LGBM_BoosterGetNumFeature.argtypes = [pointer, pointer]
        for library in (free, held):
            library.LGBM_BoosterPredictForMat.argtypes = [
                *(pointer, pointer, integer, int32, int32, integer, integer, integer, integer, text, pointer, pointer)
            ]
        free.LGBM_BoosterPredictForMatSingleRowFastInit.argtypes = [
            *(pointer, integer, integer, integer, integer, int32, text, pointer)
        ]
        held.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [pointer, pointer, pointer, pointer]
        free.LGBM_SetMaxThreads.argtypes = [integer]
        free.LGBM_RegisterLogCallback.argtypes = [_LogCallback]
    except (OSError, AttributeError) as error:
        raise LoadError("the library of the lightgbm package does not fit: install lightgbm 4.6 or newer") from error
    free.LGBM_SetMaxThreads(1)
    return free, held


def _last_error(library: ctypes.CDLL) -> str:
    return plain(library.LGBM_GetLastError().decode("utf-8", "replace"))


def _release(library: ctypes.CDLL, booster: int, fast: list[int]) -> None:
    for config in fast:
        library.LGBM_FastConfigFree(config)
    library.LGBM_BoosterFree(booster)


class NativeBooster:
    """A loaded model. ``predict`` may be called from several threads at once; ``close`` waits for calls under way."""

    def __init__(self, text: bytes, model: ModelText, threads: int) -> None:
        """``text`` has passed its structure check and its trial. Raises LoadError."""
        self._free, held = _libraries()
        # LightGBM keeps its log callback for each thread.
        self._free.LGBM_RegisterLogCallback(_LOG_LINE)
        self._classes, self._features = model.classes, len(model.features)
        booster, iterations = ctypes.c_void_p(), ctypes.c_int()
        self._load("LGBM_BoosterLoadModelFromString", text, ctypes.byref(iterations), ctypes.byref(booster))
        self._booster = booster.value or 0
        self._fast: list[int] = []
        self._release = weakref.finalize(self, _release, self._free, self._booster, self._fast)
        self._release.atexit = False  # a call may still run in a thread of its own then
        if iterations.value * model.classes != model.trees:
            raise LoadError(f"LightGBM found {iterations.value * model.classes} trees in it, expected {model.trees}")
        for what, name, expected in (
            ("classes", "LGBM_BoosterGetNumClasses", self._classes),
            ("features", "LGBM_BoosterGetNumFeature", self._features),
        ):
            number = ctypes.c_int()
            self._load(name, self._booster, ctypes.byref(number))
            if number.value != expected:
                raise LoadError(f"LightGBM found {number.value} {what} in it, expected {expected}")
        for datatype in (FLOAT32, FLOAT64):
            config = ctypes.c_void_p()
            settings = (NORMAL, 0, ALL_ITERATIONS, datatype, self._features, PARAMETERS)
            self._load("LGBM_BoosterPredictForMatSingleRowFastInit", self._booster, *settings, ctypes.byref(config))
            self._fast.append(config.value or 0)
        self._predict = self._free.LGBM_BoosterPredictForMat
        self._predict_held = held.LGBM_BoosterPredictForMat
        self._predict_row = held.LGBM_BoosterPredictForMatSingleRowFast
        self._length = ctypes.c_int64()  # where calls write a length that nobody reads
        mean_leaves = model.leaves / model.trees if model.trees else 1.0
        self._row_work = 1 + model.trees * log2(1 + mean_leaves) / 5 + self._features / 3
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "lightgbm") if threads > 1 else None
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._calls = 0
        self._closed = False

    def predict(self, rows: Array) -> Array:
        """FP64 [rows] or [rows, classes] for [rows, features]; FP32 and FP64 are read as they are. Raises InferenceError."""
        if rows.ndim != 2 or rows.shape[1] != self._features:
            raise InferenceError(f"the model takes rows of {self._features} features, got an array of shape {list(rows.shape)}")
        if rows.dtype == np.float64:
            datatype = FLOAT64
        elif rows.dtype == np.float32:
            datatype = FLOAT32
        else:
            datatype, rows = FLOAT64, rows.astype(np.float64)
        if not (rows.flags.c_contiguous and rows.flags.aligned):
            rows = np.array(rows, order="C")
        count = rows.shape[0]
        results = np.empty(count if self._classes == 1 else (count, self._classes))
        self._enter()
        try:
            work = count * self._row_work
            if work > HELD_WORK:
                if self._pool is None or work < 2 * BLOCK_WORK:
                    self._run(self._predict, datatype, rows, results)
                else:
                    self._run_in_blocks(self._pool, datatype, rows, results)
            elif count > SINGLE_ROWS:
                self._run(self._predict_held, datatype, rows, results)
            else:
                self._run_by_row(datatype, rows, results)
        finally:
            self._leave()
        return results

    def close(self) -> None:
        """Frees the model, once no call runs. A later call raises InferenceError; closing again does nothing."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._calls)
            self._release()
        if self._pool is not None:
            self._pool.shutdown()

    def _enter(self) -> None:
        with self._lock:
            if self._closed:
                raise InferenceError("the model is closed")
            self._calls += 1

    def _leave(self) -> None:
        with self._lock:
            self._calls -= 1
            if self._closed and not self._calls:
                self._idle.notify_all()

    def _run_by_row(self, datatype: int, rows: Array, results: Array) -> None:
        config, length = self._fast[datatype], ctypes.addressof(self._length)
        source, step = rows.ctypes.data, rows.itemsize * self._features
        target, stride = results.ctypes.data, results.itemsize * self._classes
        for row in range(rows.shape[0]):
            if self._predict_row(config, source + row * step, length, target + row * stride):
                raise InferenceError(f"LightGBM failed: {_last_error(self._free)}")

    def _run(self, predict: Callable[..., int], datatype: int, rows: Array, results: Array) -> None:
        count, features = rows.shape
        failed = predict(
            *(self._booster, rows.ctypes.data, datatype, count, features, ROW_MAJOR, NORMAL, 0, ALL_ITERATIONS, PARAMETERS),
            *(ctypes.addressof(self._length), results.ctypes.data),
        )
        if failed:
            raise InferenceError(f"LightGBM failed: {_last_error(self._free)}")

    def _run_in_blocks(self, pool: ThreadPoolExecutor, datatype: int, rows: Array, results: Array) -> None:
        count = rows.shape[0]
        blocks = min(self._threads, count, int(count * self._row_work / BLOCK_WORK))
        bounds = [count * block // blocks for block in range(blocks + 1)]
        others = list(pairwise(bounds))[1:]
        parts = [pool.submit(self._run, self._predict, datatype, rows[start:end], results[start:end]) for start, end in others]
        try:
            self._run(self._predict, datatype, rows[: bounds[1]], results[: bounds[1]])
        finally:
            wait(parts)
        for part in parts:
            part.result()

    def _load(self, name: str, *arguments: object) -> None:
        if getattr(self._free, name)(*arguments):
            raise LoadError(f"LightGBM refuses it: {_last_error(self._free)}")
