"""ONNX models, computed by ONNX Runtime. The only module that imports it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from models.errors import InferenceError, LoadError, ModelError
from models.runtimes import onnx_faults, onnx_file, onnx_tensors
from models.runtimes.onnx_trial import Outcome, try_once, try_rows
from models.signature import Signature
from models.tensor import Array, TensorSpec

_SILENT = 4  # ORT's FATAL: what it would print about a failure travels in the exception
_LARGE_ROW = 1 << 14  # elements: an image of 128 x 128 greys
_MOST_CLASSES_NAMED = 50

Converter = Callable[[Any], Array]


class OnnxRuntime:
    """One loaded ONNX model. ``infer`` may be called from any number of threads: a session's ``run`` is safe for that."""

    platform = "onnxruntime_onnx"
    pure = True

    def __init__(self, session: Any, signature: Signature, notes: Sequence[str], outputs: Mapping[str, Converter]) -> None:
        self._session: Any = session
        self._signature = signature
        self._notes = tuple(notes)
        self._converters = dict(outputs)
        self._texts = tuple(spec.name for spec in signature.inputs if spec.datatype == "BYTES")
        self._bound = any(spec.datatype == "BF16" for spec in (*signature.inputs, *signature.outputs))
        skip = 1 if signature.batched else 0
        self._free_dims = any(-1 in spec.shape[skip:] for spec in signature.inputs)
        # One for all calls: it is only read, and making one costs a small model's call a seventh of its time. Its
        # only_execute_path_to_fetches stays off: ORT keeps that path in the session without a lock, so threads would race.
        self._options = ort.RunOptions()

    @classmethod
    def load(cls, path: Path, *, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)) -> OnnxRuntime:
        """Opens the file and tries it on made-up rows; ``threads`` is what one call may use. Raises LoadError."""
        facts = onnx_file.read(path)
        session = _open(path, threads, providers, keeps=facts.row_elements is not None and facts.row_elements >= _LARGE_ROW)
        try:
            inputs = tuple(_input(arg, facts.shapeless) for arg in session.get_inputs())
            draft = tuple(_output(arg) for arg in session.get_outputs())
            maps = [arg.name for arg in session.get_outputs() if onnx_tensors.is_maps(arg.type)]
            unbatched = Signature(inputs, draft, batched=False)
        except ValueError as error:
            raise LoadError(f"the model's tensors cannot be served ({error}): export it with distinct UTF-8 names") from error
        _check_bfloat16(unbatched)
        texts: dict[str, Converter] = dict.fromkeys(
            (spec.name for spec in draft if spec.datatype == "BYTES"), onnx_tensors.encode_strings
        )
        classes: dict[str, list[int | str]] = {}
        watched: dict[str, Converter] = {name: partial(_watched, classes, name) for name in maps}
        compute = partial(cls(session, unbatched, (), {**texts, **watched})._compute, outputs=unbatched.output_names)

        rows_free = bool(inputs) and all(tuple(spec.shape[:1]) == (-1,) for spec in inputs)
        outcome = try_rows(inputs, compute) if rows_free else try_once(inputs, compute)
        why_not = _why_not_batched(session, inputs, outcome, rows_free)
        certain = not any(-1 in spec.shape[1 if outcome.rows is not None else 0 :] for spec in inputs)
        outputs = tuple(
            TensorSpec(spec.name, spec.datatype, (-1, len(classes.get(spec.name, ())) or -1))
            if spec.name in maps
            else _settled(spec, outcome.shapes.get(spec.name, ()), not why_not, certain)
            for spec in draft
        )
        notes = [*_notes(why_not, outcome, rows_free, facts), *(_about_maps(name, classes.get(name, ())) for name in maps)]
        converters = {**texts, **dict.fromkeys(maps, onnx_tensors.from_maps)}
        return cls(session, Signature(inputs, outputs, batched=not why_not), notes, converters)

    @property
    def signature(self) -> Signature:
        """Tensors under the graph's own names; initializers that a caller could override are not among them."""
        return self._signature

    @property
    def notes(self) -> Sequence[str]:
        """Why the model is not batched, what became of its ZipMap, and the like."""
        return self._notes

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Gives the named outputs only, though the graph computes all. Raises InvalidInput for values it cannot take, or
        InferenceError; `onnx_faults` tells the two apart."""
        try:
            return self._compute(inputs, outputs)
        except ModelError:
            raise
        except Exception as error:
            raise onnx_faults.of_call(error, self._free_dims) from error

    def close(self) -> None:
        """Drops the session; calls under way keep theirs until they end."""
        self._session = None

    def _compute(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        session = self._session
        if session is None:
            raise InferenceError("the model has been closed: ask the repository for it again")
        feed = inputs if type(inputs) is dict else dict(inputs)
        for name, array in feed.items():
            if not array.flags.aligned:  # as cut from a body's bytes; kernels may use instructions that fault on it
                feed = {**feed, name: array.copy()}
        for name in self._texts:
            if name in feed:
                feed = {**feed, name: onnx_tensors.decode_strings(name, feed[name])}
        names = outputs or self._signature.output_names
        values = self._run_bound(session, feed, names) if self._bound else session.run(names, feed, self._options)
        answers = dict(zip(names, values, strict=True))
        for name, convert in self._converters.items():
            if name in answers:
                answers[name] = convert(answers[name])
        return answers

    def _run_bound(self, session: Any, feed: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        """The way for bfloat16, which ONNX Runtime takes from numpy by address only."""
        binding = session.io_binding()
        kept = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in feed.items()}
        for name, array in kept.items():
            if self._signature.by_name[name].datatype == "BF16":
                binding.bind_ortvalue_input(name, onnx_tensors.bfloat16_value(ort.OrtValue, array))
            else:
                binding.bind_cpu_input(name, array)
        for name in names:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding, self._options)
        return [onnx_tensors.from_ort_value(value) for value in binding.get_outputs()]


def _open(path: Path, threads: int, providers: Sequence[str], *, keeps: bool) -> Any:
    """``keeps``: whether memory of one call is kept for the next."""
    wanted = list(dict.fromkeys(providers))
    available = ort.get_available_providers()
    missing = [name for name in wanted if name not in available]
    if missing or not wanted:
        asked = f"has no provider {missing[0]!r}" if missing else "was given no provider"
        raise LoadError(f"this build of ONNX Runtime {asked}: name one or more of {', '.join(available)}")
    ort.set_default_logger_severity(_SILENT)
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Threads that wait by spinning take the cores that parse the next requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # A batcher's shapes vary, and the arena keeps the most that any shape ever took, a memory pattern for each besides.
    # Measured with two threads, an attention model, 150 shapes, then one of 32 x 1,024 tokens: the process kept 289 MB with
    # both, 252 without the arena, 271 with its shrinkage a call, 105 without both; a call at one shape took the same time.
    # Where rows are large and all alike, most is known beforehand, and malloc, which gives large blocks back after each layer to
    # get them empty again, costs more: MobileNetV2's shapes, 16 rows, took 18 ms of CPU a row without the arena, 7 of them the
    # kernel's, and 11 with it.
    options.enable_cpu_mem_arena = keeps
    options.enable_mem_pattern = False
    try:
        # No fallback: it would print, and compute on another provider than the one asked for.
        session = ort.InferenceSession(str(path), options, providers=wanted, enable_fallback=0, read_config_from_model=0)
    except Exception as error:
        raise onnx_faults.of_load(error, ort.__version__) from error
    unusable = [name for name in wanted if name not in session.get_providers()]
    if unusable:
        raise LoadError(f"the provider {unusable[0]!r} could not be started on this machine: check its driver and libraries")
    return session


def _input(arg: Any, shapeless: frozenset[str]) -> TensorSpec:
    kind = onnx_tensors.datatype("input", arg.name, arg.type)
    if arg.name in shapeless:
        raise LoadError(f"input {arg.name!r} has no shape in the graph: export the model with one, free dims being named")
    return TensorSpec(arg.name, kind, _dims(arg))


def _output(arg: Any) -> TensorSpec:
    if onnx_tensors.is_maps(arg.type):
        return TensorSpec(arg.name, "FP32", (-1, -1))
    return TensorSpec(arg.name, onnx_tensors.datatype("output", arg.name, arg.type), _dims(arg))


def _dims(arg: Any) -> tuple[int, ...]:
    """A dim is a number, or its name, or None; old exporters write -1 for free."""
    return tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in arg.shape)


def _check_bfloat16(signature: Signature) -> None:
    kinds = {spec.datatype for spec in signature.inputs}
    if "BYTES" in kinds and "BF16" in kinds | {spec.datatype for spec in signature.outputs}:
        raise LoadError(
            "the model takes strings and has BF16 tensors, which ONNX Runtime cannot mix: cast BF16 to FP32 in the graph"
        )


def _watched(classes: dict[str, list[int | str]], name: str, rows: Sequence[Mapping[Any, float]]) -> Array:
    """``from_maps``, which also remembers whose scores the columns are."""
    classes[name] = sorted(rows[0]) if rows else []
    return onnx_tensors.from_maps(rows)


def _why_not_batched(session: Any, inputs: Sequence[TensorSpec], outcome: Outcome, rows_free: bool) -> str:
    """Empty where requests may share a call."""
    if not inputs:
        return "the model has no inputs"
    if not rows_free:
        spec = next(spec for spec in inputs if tuple(spec.shape[:1]) != (-1,))
        if not spec.shape:
            return f"input {spec.name!r} is a scalar; only inputs whose first dim is free can be stacked"
        return f"input {spec.name!r} has the fixed first dim {spec.shape[0]}; if that is the batch, export it free"
    if outcome.rows is not None:
        return outcome.why_not
    firsts = {arg.shape[0] if arg.shape else None for arg in (*session.get_inputs(), *session.get_outputs())}
    if len(firsts) == 1 and isinstance(next(iter(firsts)), str):
        return ""
    return (
        "it failed on made-up rows, and the first dims of its inputs and outputs do not share a name; "
        "export it with one name for all of them, such as 'batch'"
    )


def _settled(spec: TensorSpec, seen: Sequence[tuple[int, ...]], batched: bool, certain: bool) -> TensorSpec:
    """An output's shape as the trial showed it, where the graph says none (ORT then says []), or says it wrongly.

    ``certain``: every dim of the inputs but the rows was known, so that what was seen is so for all calls.
    """
    shape = list(spec.shape)
    if seen and len(seen[0]) != len(shape):
        shape = list(seen[0]) if certain else [-1] * len(seen[0])
    for axis, dim in enumerate(shape):
        if any(len(other) != len(shape) or other[axis] != dim for other in seen):
            shape[axis] = -1
    return TensorSpec(spec.name, spec.datatype, [-1, *shape[1:]] if batched else shape)


def _notes(why_not: str, outcome: Outcome, rows_free: bool, facts: onnx_file.OnnxFile) -> Iterator[str]:
    if why_not:
        yield f"requests are answered one at a time, not batched: {why_not}"
        return
    if rows_free and outcome.rows is None:
        yield "the model failed on made-up rows; it is batched because the first dims of all its tensors share one name"
    if "DynamicQuantizeLinear" in facts.operators:
        yield (
            "the model quantizes dynamically, by the largest value of each call, so answers differ within its rounding with "
            "what shares a call: quantize it statically if that matters"
        )


def _about_maps(name: str, classes: Sequence[int | str]) -> str:
    named = ", ".join(map(str, classes[:_MOST_CLASSES_NAMED])) + (", …" if len(classes) > _MOST_CLASSES_NAMED else "")
    order = f"the {len(classes)} classes {named}" if classes else "the classes in ascending order"
    return (
        f"output {name!r} is a list of maps (ZipMap), served as a tensor whose columns are {order}; "
        "convert with options={'zipmap': False} in skl2onnx for a faster one"
    )
