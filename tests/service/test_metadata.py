"""The JSON about server and models is exactly the protocol's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from models import Signature, TensorSpec
from models.shelf import IndexEntry, State
from service.protocol import metadata
from service.protocol.metadata import BatchTotals, ModelStatistics, Total, Tuning

BATCHED = Signature(
    (TensorSpec("pixels", "FP32", [-1, 64]), TensorSpec("note", "BYTES", [-1, 1], optional=True)),
    (TensorSpec("label", "INT64", [-1]), TensorSpec("scores", "BF16", [-1, 10])),
)
SINGLE = Signature((TensorSpec("x", "FP64", [2, -1]),), (TensorSpec("y", "BOOL", []),), batched=False)


def test_the_server_lists_the_extensions_it_is_given() -> None:
    assert metadata.server_metadata("tureen", "0.1.0", ["statistics"]) == {
        "name": "tureen",
        "version": "0.1.0",
        "extensions": ["statistics"],
    }


def test_metadata_names_tensors_with_their_free_dims() -> None:
    assert metadata.model_metadata("digits", [1, 3], "onnxruntime_onnx", BATCHED) == {
        "name": "digits",
        "versions": ["1", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "pixels", "datatype": "FP32", "shape": [-1, 64]},
            {"name": "note", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "scores", "datatype": "BF16", "shape": [-1, 10]},
        ],
    }


def test_metadata_name_the_features_of_a_tensor_that_has_names() -> None:
    named = Signature((TensorSpec("input", "FP64", [-1, 2], feature_names=["age", "income"]),), (TensorSpec("y", "FP64", [-1]),))
    assert metadata.model_metadata("m", [1], "lightgbm", named)["inputs"] == [
        {"name": "input", "datatype": "FP64", "shape": [-1, 2], "parameters": {"feature_names": ["age", "income"]}}
    ]


def test_a_batched_models_config_has_a_batch_size_and_dims_without_rows() -> None:
    assert metadata.model_config("digits", "onnxruntime_onnx", BATCHED, max_rows=64, window_ms=2.0, instances=2, latest=3) == {
        "name": "digits",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 3}},
        "max_batch_size": 64,
        "input": [
            {"name": "pixels", "data_type": "TYPE_FP32", "dims": [64], "optional": False, "is_shape_tensor": False},
            {"name": "note", "data_type": "TYPE_STRING", "dims": [1], "optional": True, "is_shape_tensor": False},
        ],
        "output": [
            {"name": "label", "data_type": "TYPE_INT64", "dims": []},
            {"name": "scores", "data_type": "TYPE_BF16", "dims": [10]},
        ],
        "instance_group": [{"name": "digits_0", "kind": "KIND_CPU", "count": 2}],
        "dynamic_batching": {"max_queue_delay_microseconds": 2000},
    }


def test_an_unbatched_models_config_has_batch_size_0_whole_dims_and_no_batching() -> None:
    config = metadata.model_config("m", "python", SINGLE, max_rows=64, window_ms=2.0)
    assert config["max_batch_size"] == 0
    assert config["input"] == [
        {"name": "x", "data_type": "TYPE_FP64", "dims": [2, -1], "optional": False, "is_shape_tensor": False}
    ]
    assert "dynamic_batching" not in config


def test_the_version_policy_is_latest_all_or_specific() -> None:
    def policy(value: Literal["latest", "all"] | Sequence[int]) -> object:
        config = metadata.model_config("m", "python", SINGLE, max_rows=1, window_ms=0, policy=value)
        return config["version_policy"]

    assert policy("latest") == {"latest": {"num_versions": 1}}
    assert policy("all") == {"all": {}}
    assert policy((3, 4)) == {"specific": {"versions": [3, 4]}}


def test_the_index_omits_a_version_there_is_not() -> None:
    entries = [IndexEntry("a", 1, State.READY), IndexEntry("b", None, State.UNAVAILABLE, "no version")]
    assert metadata.repository_index(entries) == [
        {"name": "a", "version": "1", "state": "READY", "reason": ""},
        {"name": "b", "state": "UNAVAILABLE", "reason": "no version"},
    ]


def test_the_index_of_ready_models_leaves_out_the_others() -> None:
    entries = [IndexEntry("a", 1, State.READY), IndexEntry("b", 1, State.LOADING)]
    assert [entry["name"] for entry in metadata.repository_index(entries, ready=True)] == ["a"]


def test_statistics_give_each_total_its_own_place() -> None:
    names = ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"]
    totals = {name: Total(index, 10 * index) for index, name in enumerate(names, 1)}
    batch = BatchTotals(4, Total(1, 2), Total(1, 3), Total(1, 4))
    model = ModelStatistics(
        "m", "1", last_inference=5, inference_count=6, execution_count=7, batches=(batch,), tuning=None, **totals
    )
    assert metadata.statistics([model]) == {
        "model_stats": [
            {
                "name": "m",
                "version": "1",
                "last_inference": 5,
                "inference_count": 6,
                "execution_count": 7,
                "inference_stats": {name: {"count": index, "ns": 10 * index} for index, name in enumerate(names, 1)},
                "batch_stats": [
                    {
                        "batch_size": 4,
                        "compute_input": {"count": 1, "ns": 2},
                        "compute_infer": {"count": 1, "ns": 3},
                        "compute_output": {"count": 1, "ns": 4},
                    }
                ],
            }
        ]
    }


def test_a_model_with_a_target_tells_what_it_makes_of_its_batches() -> None:
    told = metadata.statistics([ModelStatistics("m", "1", tuning=Tuning(20.0, 32, 1.5, None, 7))])["model_stats"]
    assert isinstance(told, list)
    assert told[0]["tuning"] == {"target_p99_ms": 20.0, "max_rows": 32, "window_ms": 1.5, "p99_ms": None, "refused": 7}
