"""What is to be left out of a captured body is nowhere in it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.capture.redaction import REDACTED, Redaction

SECRET = "5ec2e7"
names = st.sampled_from(["x", "y", "user", "card", "name", "data", "inputs"])
#: Values in which each leaf says that it is secret.
secrets = st.recursive(
    st.sampled_from([f"a {SECRET}", SECRET]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("abc", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


def hidden(value: Any, redacted: frozenset[str], secret: Any) -> Any:
    """The value with the secret in every place that goes by a redacted name."""
    if isinstance(value, dict):
        return {key: secret if key in redacted else hidden(inner, redacted, secret) for key, inner in value.items()}
    return [hidden(inner, redacted, secret) for inner in value] if isinstance(value, list) else value


def of(redaction: Redaction, content: object, nameless: tuple[str, ...] = ()) -> tuple[Any, bool]:
    found = redaction.of(orjson.dumps(content), nameless)
    assert found is not None
    return json.loads(found.body), found.missing


@settings(deadline=None)
@given(st.dictionaries(names, plain), st.frozensets(names, min_size=1), secrets)
def test_nothing_of_a_redacted_field_is_left_and_all_else_is(
    content: dict[str, Any], redacted: frozenset[str], secret: Any
) -> None:
    kept, missing = of(Redaction(redacted), hidden(content, redacted, secret))
    assert SECRET not in json.dumps(kept)
    if not redacted & {"name"}:  # a tensor's name is no value
        blanked = hidden(content, redacted, REDACTED)
        assert missing == (blanked != content) or any(name in json.dumps(content) for name in redacted)


tensors = st.lists(st.tuples(names, plain), min_size=1, max_size=4)


@settings(deadline=None)
@given(tensors, st.frozensets(names, min_size=1), secrets, st.sampled_from(["inputs", "outputs"]))
def test_nothing_of_a_redacted_tensor_is_left(
    tensors: list[tuple[str, Any]], redacted: frozenset[str], secret: Any, key: str
) -> None:
    listed = [
        {
            "name": name,
            "datatype": "BYTES",
            "shape": [1],
            "data": secret if name in redacted else value,
            "parameters": {"p": SECRET},
        }
        if name in redacted
        else {"name": name, "datatype": "BYTES", "shape": [1], "data": value}
        for name, value in tensors
    ]
    kept, _ = of(Redaction(redacted), {key: listed, "id": "i"})
    assert SECRET not in json.dumps(kept)
    if key not in redacted and not redacted & {"name", "data"}:
        assert [one["shape"] for one in kept[key]] == [[1]] * len(tensors)


@settings(deadline=None)
@given(secrets, st.sampled_from(["instances", "inputs", "predictions", "outputs"]))
def test_a_value_without_its_name_goes_with_the_only_tensor(secret: Any, key: str) -> None:
    kept, missing = of(Redaction(["x"]), {key: secret, "signature_name": "serving_default"}, nameless=("x",))
    assert (kept, missing) == ({key: REDACTED, "signature_name": "serving_default"}, True)


def test_a_value_without_its_name_stays_where_another_tensor_is_redacted() -> None:
    assert of(Redaction(["y"]), {"instances": [[1, 2]]}, nameless=("x",)) == ({"instances": [[1, 2]]}, False)


def test_a_key_that_stands_twice_hides_nothing() -> None:
    found = Redaction(["x"]).of(b'{"x": "%b", "x": 1, "a": {"x": "%b"}, "a": 2}' % (SECRET.encode(), SECRET.encode()), ())
    assert found is not None
    assert json.loads(found.body) == {"x": REDACTED, "a": 2}


@pytest.mark.parametrize("body", [b"", b"[1]", b"1", b"\x80", b"{", b'{"a": ' * 2000, b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"])
def test_what_cannot_be_read_is_not_kept(body: bytes) -> None:
    assert Redaction(["x"]).of(body, ()) is None


@settings(deadline=None)
@given(secrets, st.sampled_from(["error", "details", "code", "x"]))
def test_of_an_error_only_its_code_and_name_are_kept(secret: Any, key: str) -> None:
    content = {"error": SECRET, "code": "invalid_input", "request_id": "r1", "details": [{"got": SECRET}], key: secret}
    kept = json.loads(Redaction(["x"]).of_error(orjson.dumps(content)).body)
    assert set(kept) <= {"code", "request_id"}
    assert key == "code" or SECRET not in json.dumps(kept)


def test_without_names_there_is_nothing_to_leave_out() -> None:
    assert not Redaction(())
    assert Redaction(["x"])
