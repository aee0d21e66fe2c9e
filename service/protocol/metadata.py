"""What the Open Inference Protocol says of server and models beside answering: metadata, configuration, index and statistics.

Every function gives the object that its endpoint sends as JSON. Source: triton-inference-server/server `docs/protocol/`,
extensions model_repository, model_configuration and statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

from models.shelf import IndexEntry, State
from models.signature import Signature
from models.tensor import TensorSpec

Json = dict[str, object]

# What the engine and both lanes serve now; a name enters with the work that makes it true.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)
_CONFIG_TYPES = {"BYTES": "TYPE_STRING"}


@dataclass(frozen=True, slots=True)
class Total:
    """How often something happened, and how long all of it took."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class BatchTotals:
    """The calls of one batch size, in rows."""

    batch_size: int
    compute_input: Total = Total()
    compute_infer: Total = Total()
    compute_output: Total = Total()


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a model's target for its latency makes of its batches now: see `docs/batching.md`. ``p99_ms``: None where nobody was
    answered in the last seconds."""

    target_p99_ms: float
    max_rows: int
    window_ms: float
    p99_ms: float | None
    refused: int


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What one version has done since it was loaded.

    ``last_inference`` is in milliseconds since the epoch, 0 for never. ``inference_count`` counts rows and
    ``execution_count`` calls; of all totals only ``success`` and ``cache_hit`` count answers from the cache.
    """

    name: str
    version: str
    last_inference: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Total = Total()
    fail: Total = Total()
    queue: Total = Total()
    compute_input: Total = Total()
    compute_infer: Total = Total()
    compute_output: Total = Total()
    cache_hit: Total = Total()
    cache_miss: Total = Total()
    batches: tuple[BatchTotals, ...] = ()
    tuning: Tuning | None = None


def server_metadata(name: str, version: str, extensions: Sequence[str] = EXTENSIONS) -> Json:
    """`GET /v2`."""
    return {"name": name, "version": version, "extensions": list(extensions)}


def model_metadata(name: str, versions: Iterable[int | str], platform: str, signature: Signature) -> Json:
    """`GET /v2/models/M`: ``versions`` are those that answer now."""
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": platform,
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }


def model_config(
    name: str,
    platform: str,
    signature: Signature,
    *,
    max_rows: int,
    window_ms: float,
    instances: int = 1,
    policy: Literal["latest", "all"] | Sequence[int] = "latest",
    latest: int = 1,
    sections: Mapping[str, object] = MappingProxyType({}),
) -> Json:
    """`GET /v2/models/M/config`: where the model batches, ``max_batch_size`` is above 0 and the dims leave the rows out.
    ``sections``: what stands there beside Triton's own."""
    config: Json = {
        "name": name,
        "platform": platform,
        "backend": platform.partition("_")[0],
        "version_policy": _version_policy(policy, latest),
        "max_batch_size": max_rows if signature.batched else 0,
        "input": [
            {**_config_tensor(spec, signature.batched), "optional": spec.optional, "is_shape_tensor": False}
            for spec in signature.inputs
        ],
        "output": [_config_tensor(spec, signature.batched) for spec in signature.outputs],
        "instance_group": [{"name": f"{name}_0", "kind": "KIND_CPU", "count": instances}],
    }
    if signature.batched:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": round(window_ms * 1000)}
    return {**config, **sections}


def repository_index(
    entries: Iterable[IndexEntry], ready: bool = False, changed: Mapping[str, object] = MappingProxyType({})
) -> list[Json]:
    """`POST /v2/repository/index`; ``ready`` leaves out what does not answer, ``changed`` is told of its models."""
    return [
        _index_entry(entry) | ({"changed": changed[entry.name]} if entry.name in changed else {})
        for entry in entries
        if entry.state is State.READY or not ready
    ]


def statistics(models: Iterable[ModelStatistics]) -> Json:
    """`GET /v2/models[/M[/versions/V]]/stats`."""
    return {"model_stats": [_statistics(model) for model in models]}


def _tensor(spec: TensorSpec) -> Json:
    named = {"parameters": {"feature_names": list(spec.feature_names)}} if spec.feature_names else {}
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape), **named}


def _config_tensor(spec: TensorSpec, batched: bool) -> Json:
    data_type = _CONFIG_TYPES.get(spec.datatype, f"TYPE_{spec.datatype}")
    return {"name": spec.name, "data_type": data_type, "dims": list(spec.shape[1:] if batched else spec.shape)}


def _index_entry(entry: IndexEntry) -> Json:
    version = {} if entry.version is None else {"version": str(entry.version)}
    return {"name": entry.name, **version, "state": entry.state.value, "reason": entry.reason}


def _version_policy(policy: str | Sequence[int], latest: int) -> Json:
    if policy == "latest":
        return {"latest": {"num_versions": latest}}
    if policy == "all":
        return {"all": {}}
    return {"specific": {"versions": list(policy)}}


def _total(total: Total) -> Json:
    return {"count": total.count, "ns": total.ns}


def _statistics(model: ModelStatistics) -> Json:
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        "inference_stats": {
            "success": _total(model.success),
            "fail": _total(model.fail),
            "queue": _total(model.queue),
            "compute_input": _total(model.compute_input),
            "compute_infer": _total(model.compute_infer),
            "compute_output": _total(model.compute_output),
            "cache_hit": _total(model.cache_hit),
            "cache_miss": _total(model.cache_miss),
        },
        "batch_stats": [
            {
                "batch_size": batch.batch_size,
                "compute_input": _total(batch.compute_input),
                "compute_infer": _total(batch.compute_infer),
                "compute_output": _total(batch.compute_output),
            }
            for batch in model.batches
        ],
        **({} if model.tuning is None else {"tuning": asdict(model.tuning)}),
    }
