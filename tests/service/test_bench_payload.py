"""The requests that `tureen bench` makes up, and those that it reads, held against the protocols' own decoders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.signature import Signature
from models.tensor import DTYPES, TensorSpec
from service.commands.bench import payload
from service.commands.bench.payload import Protocol, Unusable
from service.protocol import oip, tfserving
from service.protocol.metadata import model_config

DIMS = st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=3)
SPECS = st.lists(st.tuples(st.sampled_from(sorted(DTYPES)), DIMS, st.booleans()), min_size=1, max_size=3)


def signature(tensors: list[tuple[str, list[int], bool]], batched: bool) -> Signature:
    rows = [-1] if batched else []
    inputs = [
        TensorSpec(f"t{n}", datatype, [*rows, *dims], optional=optional and n > 0)
        for n, (datatype, dims, optional) in enumerate(tensors)
    ]
    return Signature(tuple(inputs), (TensorSpec("y", "FP32", [*rows, 1]),), batched)


def config(model: Signature) -> Any:
    return json.loads(json.dumps(model_config("m", "python", model, max_rows=8, window_ms=1)))


@settings(deadline=None)
@given(SPECS, st.booleans(), st.integers(1, 4), st.sampled_from(["oip", "oip-binary", "tfserving"]), st.integers(0, 99))
def test_what_is_made_up_fits_the_model_in_every_protocol(
    tensors: list[tuple[str, list[int], bool]], batched: bool, rows: int, protocol: Protocol, seed: int
) -> None:
    model = signature(tensors, batched)
    rows = rows if batched else 1
    specs, is_batched = payload.inputs(config(model))
    assert is_batched is batched
    binary_only = any(spec.datatype in ("FP16", "BF16") for spec in model.inputs if not spec.optional)
    if binary_only and protocol != "oip-binary":
        with pytest.raises(Unusable, match="use --protocol oip-binary"):
            payload.made(specs, batched, protocol, rows, 3, seed)
        return
    bodies = payload.made(specs, batched, protocol, rows, 3, seed)
    assert bodies == payload.made(specs, batched, protocol, rows, 3, seed)
    for body in bodies:
        length = None if body.json_length is None else str(body.json_length)
        decode = tfserving.decode if protocol == "tfserving" else oip.decode
        decoded = decode(body.content, model, length)
        assert set(decoded.inputs) == {spec.name for spec in model.inputs if not spec.optional}
        assert not batched or all(len(array) == rows for array in decoded.inputs.values())
        assert body.rows == rows


def test_requests_differ_from_each_other() -> None:
    specs = [payload.Input("x", "FP32", (4,))]
    assert len({body.content for body in payload.made(specs, True, "oip", 1, 64, 1)}) == 64


def test_rows_of_a_model_that_is_not_batched_are_refused() -> None:
    with pytest.raises(Unusable, match="leave out --rows"):
        payload.made([payload.Input("x", "FP32", (3,))], False, "oip", 2, 1, 1)


def test_requests_too_large_to_keep_are_refused() -> None:
    with pytest.raises(Unusable, match="give fewer --rows"):
        payload.made([payload.Input("x", "FP32", (1_000_000,))], True, "oip", 1000, 1, 1)


@pytest.mark.parametrize("told", [{}, {"max_batch_size": 8, "input": 3}, {"max_batch_size": 8, "input": [{"name": "x"}]}])
def test_a_configuration_that_says_nothing_of_inputs_leads_to_data(told: dict[str, Any]) -> None:
    with pytest.raises(Unusable, match="--data"):
        payload.inputs(told)


OIP = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]}]}'
PREDICT = b'{"instances": [[1], [2], [3]]}'


def read(tmp_path: Path, content: bytes, protocol: Protocol = "oip") -> list[payload.Body]:
    file = tmp_path / "requests"
    file.write_bytes(content)
    return payload.read(file, protocol)


def test_a_file_may_hold_one_request_over_several_lines(tmp_path: Path) -> None:
    spread = json.dumps(json.loads(OIP), indent=2).encode()
    assert read(tmp_path, spread) == [payload.Body(spread, 2)]


def test_a_file_may_hold_a_request_a_line_and_empty_lines(tmp_path: Path) -> None:
    found = read(tmp_path, PREDICT + b"\n\n" + b'{"inputs": {"x": [1, 2]}}\n', "tfserving")
    assert [(body.content, body.rows) for body in found] == [(PREDICT, 3), (b'{"inputs": {"x": [1, 2]}}', 2)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty|is no JSON"),
        (b"\n \n", "is empty"),
        (OIP + b"\n{", "line 2, is no JSON"),
        (OIP + b"\n[1]", "line 2, holds no object"),
        (b"[1]", "holds no object"),
        (b"\xff\xfe", "is no JSON"),
    ],
)
def test_a_file_that_holds_no_requests_is_refused_with_the_line(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(Unusable, match=said):
        read(tmp_path, content)


@settings(deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_whatever_a_request_holds_its_rows_are_at_least_one(value: Any) -> None:
    for key in ("inputs", "instances"):
        for protocol in ("oip", "tfserving"):
            assert payload.rows_of({key: value}, protocol) >= 1
