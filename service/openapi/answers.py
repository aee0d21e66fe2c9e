"""Schemas of what is answered beside inference: health, metadata, states, statistics. Each has more room than it uses now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.live import SECTIONS
from models.manifest import Manifest
from models.shelf import State
from service.jobs.record import State as JobState
from service.openapi import images
from service.openapi.inference import PARAMETERS, any_answer, any_model, any_prediction
from service.openapi.schema import BOOLEAN, COUNT, NUMBER, TEXT, VERSION, Json, array, either, record, ref, said

_TOTAL = record({"count": COUNT, "ns": COUNT}, description="How often, and how long all of it took, in nanoseconds.")
_INDEXED = {
    "name": TEXT,
    "version": VERSION,
    "state": {"enum": [state.value for state in State]},
    "reason": TEXT,
    "changed": said({"type": "object"}, "What was changed of the model while it serves, where anything was."),
}
_PROBLEM = record({"worker": COUNT, "pid": COUNT, "problem": TEXT}, description="Which worker is not ready, and why.")
_SIZED = ("compute_input", "compute_infer", "compute_output")
_TOTALS = ("success", "fail", "queue", *_SIZED, "cache_hit", "cache_miss")
_STATUS = {
    "version": VERSION,
    "state": {"enum": ["AVAILABLE", "LOADING", "UNLOADING", "END"]},
    "status": record({"error_code": TEXT, "error_message": TEXT}),
}
_CONFIG = {
    "name": TEXT,
    "platform": TEXT,
    "backend": TEXT,
    "version_policy": {"type": "object"},
    "max_batch_size": said(COUNT, "Rows of one call; 0 where the model is not batched."),
    "input": array({"type": "object"}),
    "output": array({"type": "object"}),
    "instance_group": array({"type": "object"}),
    "dynamic_batching": record({"max_queue_delay_microseconds": COUNT}),
    **dict.fromkeys(SECTIONS, said({"type": "object"}, "As in model.toml; it may be changed while the model serves.")),
    "changed": said({"type": "object"}, "What was changed of those, over what model.toml says."),
}
_MAYBE: Json = {"type": ["string", "null"]}
_SIDE: Json = {"type": ["integer", "null"], "description": "In pixels; null where the model takes any."}
_IMAGE = record(
    {
        "width": _SIDE,
        "height": _SIDE,
        "channels": TEXT,
        "labels": said(COUNT, "How many it tells apart by name."),
        "images": said(COUNT, "The most in a request."),
        "body_bytes": said(COUNT, "The most of a request."),
        "drawn": said(BOOLEAN, "Whether one can be drawn by hand: small and grey."),
    }
)
_FEATURE_NAMES = said(array(TEXT), "What the values of its last dim are called, in their order, where they have names.")
_CARD = record(
    {
        "name": TEXT,
        "versions": array(record({"version": _MAYBE, "state": TEXT, "reason": TEXT, "labels": array(TEXT)})),
        "platform": said(_MAYBE, "Of the newest version that answers, as all that follows."),
        "newest": _MAYBE,
        "inputs": array(ref("CardTensor")),
        "outputs": array(ref("CardTensor")),
        "requests": said(
            array(record({"form": TEXT, "path": TEXT, "arguments": TEXT})), "What curl is given, but for the address."
        ),
        "image": said(either(_IMAGE, {"type": "null"}), "The images that it takes, where it has a section `[image]`."),
    },
    description="What a model's page shows of it.",
)
_CONFIGURATION: Json = {"type": ["string", "null"], "description": "model.toml's sections as a JSON object, in a string."}
_NULL: Json = {"type": "null"}
_PREDICT, _PREDICTIONS = any_prediction()


def _change() -> Json:
    """The sections that may be changed, by the very rules that model.toml is judged with; null puts back."""
    rules = Manifest.model_json_schema()["$defs"]
    sections: dict[str, Json] = {}
    for section in SECTIONS:
        keys = {key: _or_null(rule) for key, rule in rules[type(getattr(Manifest(), section)).__name__]["properties"].items()}
        sections[section] = either(record(keys, optional=keys, closed=True), _NULL)
    return record(sections, optional=sections, closed=True, description="Keys as in model.toml; null puts one, or a section, back.")


def _or_null(rule: Mapping[str, Any]) -> Json:
    kept = {name: value for name, value in rule.items() if name not in ("default", "title")}
    return kept if "anyOf" in kept else either(kept, _NULL)


SCHEMAS: Mapping[str, Json] = {
    "Live": record({"live": {"const": True}}),
    "Status": record({"status": TEXT}),
    "Ready": record(
        {"ready": BOOLEAN, "problems": array(_PROBLEM)},
        optional=("problems",),
        description="Whether all that is wanted was tried, and what loaded is warm.",
    ),
    "ModelReady": record({"name": TEXT, "ready": BOOLEAN, "problems": array(_PROBLEM)}, optional=("problems",)),
    "Server": record({"name": TEXT, "version": TEXT, "extensions": array(TEXT)}),
    "Tensor": record(
        {
            "name": TEXT,
            "datatype": TEXT,
            "shape": said(array({"type": "integer", "minimum": -1}), "-1 is a free dim."),
            "parameters": record({"feature_names": _FEATURE_NAMES}),
        },
        optional=("parameters",),
    ),
    "CardTensor": record(
        {
            "name": TEXT,
            "datatype": TEXT,
            "shape": array({"type": "integer", "minimum": -1}),
            "optional": BOOLEAN,
            "feature_names": _FEATURE_NAMES,
        }
    ),
    "Model": record(
        {
            "name": TEXT,
            "versions": said(array(VERSION), "Those that answer now."),
            "platform": TEXT,
            "inputs": array(ref("Tensor")),
            "outputs": array(ref("Tensor")),
        }
    ),
    "Card": _CARD,
    "ModelConfig": record(
        _CONFIG,
        optional=("dynamic_batching",),
        description="How it is batched and versioned, in Triton's form, and what of it may be changed.",
    ),
    "ConfigChange": _change(),
    "Total": _TOTAL,
    "Statistics": record({"model_stats": array(ref("VersionStatistics"))}),
    "VersionStatistics": record(
        {
            "name": TEXT,
            "version": VERSION,
            "last_inference": said(COUNT, "Milliseconds since the epoch; 0: never."),
            "inference_count": said(COUNT, "Rows."),
            "execution_count": said(COUNT, "Calls."),
            "inference_stats": record(dict.fromkeys(_TOTALS, ref("Total"))),
            "batch_stats": array(record({"batch_size": COUNT, **dict.fromkeys(_SIZED, ref("Total"))})),
            "tuning": ref("Tuning"),
        },
        optional=("tuning",),
    ),
    "Tuning": record(
        {
            "target_p99_ms": NUMBER,
            "max_rows": said(COUNT, "Rows of a call, at most, now."),
            "window_ms": said(NUMBER, "How long a window may wait, now."),
            "p99_ms": said({"type": ["number", "null"]}, "From being queued to the answer, in the last seconds."),
            "refused": said(COUNT, "Entries that would have been answered too late."),
        },
        description="What a model's target for its latency makes of its batches.",
    ),
    "Index": array(record(_INDEXED, optional=("version", "changed"))),
    "IndexRequest": record({"ready": said(BOOLEAN, "Leave out what does not answer.")}, optional=("ready",)),
    "LoadRequest": record(
        {
            "parameters": record(
                {"config": _CONFIGURATION},
                optional=("config",),
                closed=True,
            )
        },
        optional=("parameters",),
    ),
    "UnloadRequest": record({"parameters": {"type": "object"}}, optional=("parameters",)),
    "Nothing": {"type": "object"},
    "Job": record(
        {
            "id": TEXT,
            "model": TEXT,
            "version": said(TEXT, "Where one was asked for."),
            "label": said(TEXT, "Where one was asked for."),
            "state": {"enum": [state.value for state in JobState if state is not JobState.RECEIVING]},
            "rows": COUNT,
            "done": said(COUNT, "Rows that have their result."),
            "failed": said(COUNT, "Those of them whose result is an error."),
            "created": said(NUMBER, "Seconds since the epoch."),
            "finished": {"type": ["number", "null"], "description": "Seconds since the epoch; null while it is not over."},
            "error": said(TEXT, "Why it failed as a whole."),
            "callback": TEXT,
        },
        optional=("version", "label", "error", "callback"),
    ),
    "Jobs": record({"jobs": array(ref("Job"))}),
    "ModelStatus": record(
        {"name": TEXT, "ready": BOOLEAN, "model_version_status": array(record(_STATUS))}, optional=("name", "ready")
    ),
    "ModelMetadata": record(
        {
            "model_spec": record({"name": TEXT, "signature_name": TEXT, "version": VERSION}),
            "metadata": record({"signature_def": {"type": "object"}}),
        }
    ),
    **PARAMETERS,
    **images.SCHEMAS,
    "InferRequest": any_model(),
    "InferAnswer": any_answer(),
    "PredictRequest": _PREDICT,
    "PredictAnswer": _PREDICTIONS,
    "OpenApi": record({"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}),
}
