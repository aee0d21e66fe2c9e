"""Schemas of what is answered beside inference: health, metadata, states, statistics. Each has more room than it uses now."""

from __future__ import annotations

from collections.abc import Mapping

from models.shelf import State
from service.openapi.inference import PARAMETERS, any_answer, any_model, any_prediction
from service.openapi.schema import BOOLEAN, COUNT, TEXT, VERSION, Json, array, record, ref, said

_TOTAL = record({"count": COUNT, "ns": COUNT}, description="How often, and how long all of it took, in nanoseconds.")
_INDEXED = {"name": TEXT, "version": VERSION, "state": {"enum": [state.value for state in State]}, "reason": TEXT}
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
}
_CONFIGURATION: Json = {"type": ["string", "null"], "description": "model.toml's sections as a JSON object, in a string."}
_PREDICT, _PREDICTIONS = any_prediction()

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
        {"name": TEXT, "datatype": TEXT, "shape": said(array({"type": "integer", "minimum": -1}), "-1 is a free dim.")}
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
    "ModelConfig": record(
        _CONFIG, optional=("dynamic_batching",), description="How it is batched and versioned, in Triton's form."
    ),
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
        }
    ),
    "Index": array(record(_INDEXED, optional=("version",))),
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
    "InferRequest": any_model(),
    "InferAnswer": any_answer(),
    "PredictRequest": _PREDICT,
    "PredictAnswer": _PREDICTIONS,
    "OpenApi": record({"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}),
}
