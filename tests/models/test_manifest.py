from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import LoadError
from models.manifest import LARGEST, Batching, Manifest, read_manifest
from models.nearest import nearest

FULL = """
[batching]
max_rows = 32
window_ms = 5
close = "full"
instances = 2
queue_rows = 99
timeout_ms = 250.5
target_p99_ms = 20
[versions]
policy = [4, 3]
labels = { stable = 3, canary = 4 }
[cache]
ttl_s = 60
[runtime]
threads = 4
providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
[warmup]
calls = 0
"""


def refusal(text: str) -> str:
    with pytest.raises(LoadError) as caught:
        Manifest.parse(text, model="m")
    return str(caught.value)


def test_every_key_has_the_documented_default() -> None:
    manifest = Manifest.parse("", model="m")
    assert manifest == Manifest()
    assert manifest.model_dump() == {
        "batching": {
            "max_rows": 64,
            "window_ms": 2.0,
            "close": "early",
            "instances": 1,
            "queue_rows": 1024,
            "timeout_ms": 1000.0,
            "target_p99_ms": None,
        },
        "versions": {"policy": "latest", "latest": 1, "labels": {}},
        "cache": {"ttl_s": 0.0, "auto": False},
        "runtime": {"threads": 1, "providers": ("CPUExecutionProvider",)},
        "warmup": {"calls": 3},
        "limits": {"requests_per_s": None, "requests_burst": None, "rows_per_s": None, "rows_burst": None},
        "image": None,
    }


def test_every_key_can_be_set() -> None:
    manifest = Manifest.parse(FULL, model="m")
    assert manifest.batching == Batching(
        max_rows=32, window_ms=5.0, close="full", instances=2, queue_rows=99, timeout_ms=250.5, target_p99_ms=20.0
    )
    assert manifest.versions.policy == (3, 4)
    assert manifest.versions.labels == {"stable": 3, "canary": 4}
    assert manifest.cache.ttl_s == 60.0
    assert manifest.runtime.threads == 4
    assert manifest.runtime.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert manifest.warmup.calls == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[batching]\nmax_row = 3", "batching.max_row: unknown key; the nearest known one is batching.max_rows"),
        ("[batchin]\nmax_rows = 3", "batchin: unknown section; the nearest known one is [batching]"),
        ("max_rows = 3", "max_rows: unknown key; the nearest known one is batching.max_rows"),
        ("[batching]\n'a\\nb' = 3\n", "batching.a\\\\nb: unknown key; the nearest known one is batching.max_rows"),
        ("[batching]\nmax_rows = 0", "batching.max_rows: expected a number of at least 1, got 0"),
        ("[batching]\nmax_rows = '8'", "batching.max_rows: expected a whole number, got '8'"),
        ("[batching]\nmax_rows = true", "batching.max_rows: expected a whole number, got True"),
        ("[batching]\nmax_rows = 8.0", "batching.max_rows: expected a whole number, got 8.0"),
        ("[batching]\nwindow_ms = -1", "batching.window_ms: expected a number of at least 0, got -1"),
        ("[batching]\nwindow_ms = nan", "batching.window_ms: expected a finite number, got nan"),
        ("[batching]\nwindow_ms = inf", "batching.window_ms: expected a finite number, got inf"),
        ("[batching]\ntimeout_ms = 0", "batching.timeout_ms: expected a number of more than 0, got 0"),
        ("[batching]\ntarget_p99_ms = 0", "batching.target_p99_ms: expected a number of more than 0, got 0"),
        (
            "[batching]\ntimeout_ms = 20\ntarget_p99_ms = 20",
            "batching.target_p99_ms: expected a number of less than timeout_ms, which is 20, got 20",
        ),
        ("[batching]\nclose = 'soon'", "batching.close: expected 'early' or 'full', got 'soon'"),
        ("[cache]\nttl_s = -0.5", "cache.ttl_s: expected a number of at least 0, got -0.5"),
        ("[runtime]\nthreads = 5000", "runtime.threads: expected a number of at most 1024, got 5000"),
        ("[runtime]\nproviders = 'CPU'", "runtime.providers: expected a list, got 'CPU'"),
        ("[runtime]\nproviders = []", "runtime.providers: expected a list of at least one, got []"),
        ("[runtime]\nproviders = ['']", "runtime.providers.0: expected a string of at least one character, got ''"),
        ("[versions]\nlatest = 0", "versions.latest: expected a number of at least 1, got 0"),
        ("[versions.labels]\nstable = 0", "versions.labels.stable: expected a number of at least 1, got 0"),
        ("[versions.labels]\nstable = '3'", "versions.labels.stable: expected a whole number, got '3'"),
        ("batching = 3", "batching: expected a section of keys, got 3"),
        (
            "[limits]\nrequests_per_s = 1\nrows_burst = 9",
            "limits: expected rows_per_s beside rows_burst, which is how much of it may come at once, "
            "got {'requests_per_s': 1, 'rows_burst': 9}",
        ),
    ],
)
def test_a_refusal_names_model_file_key_what_was_expected_and_what_came(text: str, problem: str) -> None:
    assert refusal(text) == f"model 'm', model.toml: {problem}"


@pytest.mark.parametrize("policy", ["'lates'", "[]", "[0]", "[1, true]", "[-3]", "['3']", "3", "[1.0]", "[[1]]"])
def test_a_policy_is_latest_or_all_or_positive_versions(policy: str) -> None:
    assert "versions.policy: expected 'latest', 'all' or a list of positive version numbers" in refusal(
        f"[versions]\npolicy = {policy}"
    )


def test_all_problems_are_told_at_once() -> None:
    told = refusal("[batching]\nmax_rows = 0\nwindow = 3\n[cach]\nttl_s = 1")
    assert told.count("; ") >= 2
    assert all(key in told for key in ("batching.max_rows", "batching.window:", "cach:"))


@pytest.mark.parametrize("text", ["x", "a = " + "[" * 100_000, "a = " + "9" * 5_000, "a = 1\na = 2"])
def test_what_is_not_toml_is_refused_in_one_line(text: str) -> None:
    told = refusal(text)
    assert told.startswith("model 'm', model.toml: not valid TOML: ")
    assert len(told) < 200


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_load_error(text: str) -> None:
    with suppress(LoadError):
        Manifest.parse(text, model="m")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
sections = st.sampled_from([*Manifest.model_fields, "image"])
keys = st.sampled_from(["max_rows", "window_ms", "policy", "labels", "ttl_s", "providers", "calls", "x"])


@given(st.dictionaries(sections, st.dictionaries(keys, json_values, max_size=3) | json_values, max_size=3))
def test_an_override_gives_a_manifest_in_range_or_a_load_error(tree: dict[str, object]) -> None:
    try:
        manifest = Manifest.from_json_overrides(json.dumps(tree), model="m")
    except LoadError:
        return
    assert manifest.batching.max_rows >= 1
    assert 0 <= manifest.batching.window_ms < float("inf")
    assert all(version >= 1 for version in manifest.versions.labels.values())


def test_an_override_replaces_single_keys_of_what_the_file_says() -> None:
    base = Manifest.parse(FULL, model="m")
    manifest = Manifest.from_json_overrides('{"batching": {"max_rows": 7}, "warmup": {"calls": 1}}', model="m", base=base)
    assert manifest.batching == base.batching.model_copy(update={"max_rows": 7})
    assert (manifest.warmup.calls, manifest.versions, manifest.cache) == (1, base.versions, base.cache)


def test_an_override_may_give_a_burst_to_the_rate_of_the_file() -> None:
    base = Manifest.parse("[limits]\nrows_per_s = 8.0", model="m")
    manifest = Manifest.from_json_overrides('{"limits": {"rows_burst": 80}}', model="m", base=base)
    assert (manifest.limits.rows_per_s, manifest.limits.rows_burst) == (8.0, 80)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON: "),
        ("[]", "expected a JSON object"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
        ('{"batching": {"window_ms": NaN}}', "not valid JSON: NaN is not JSON"),
        ('{"max_batch_size": 8}', "max_batch_size: unknown section; the nearest known one is [batching]"),
        ('{"batching": 3}', "batching: expected a section of keys, got 3"),
    ],
)
def test_an_override_that_is_wrong_speaks_of_config(text: str, problem: str) -> None:
    with pytest.raises(LoadError) as caught:
        Manifest.from_json_overrides(text, model="m")
    assert str(caught.value).startswith(f"model 'm', config: {problem}")


def test_a_directory_without_a_file_has_all_defaults(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == Manifest()


def test_the_file_is_read_and_its_model_named_by_the_directory(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "model.toml").write_text(FULL)
    assert read_manifest(tmp_path / "digits") == Manifest.parse(FULL, model="digits")
    (tmp_path / "digits" / "model.toml").write_text("x")
    with pytest.raises(LoadError, match=r"^model 'digits', model\.toml: "):
        read_manifest(tmp_path / "digits")


def test_a_file_that_is_a_link_a_directory_binary_or_huge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.symlink_to("/etc/hostname")
    with pytest.raises(LoadError, match="expected a plain file"):
        read_manifest(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(LoadError, match="expected a plain file"):
        read_manifest(tmp_path)
    path.rmdir()
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(LoadError, match="not UTF-8 text, at byte 5"):
        read_manifest(tmp_path)
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(LoadError, match="expected at most"):
        read_manifest(tmp_path)


def test_nearest_ignores_case_and_keeps_silent_below_its_cutoff() -> None:
    assert nearest("MAX_ROW", ["max_rows", "window_ms"]) == "max_rows"
    assert nearest("zzz", ["max_rows"], cutoff=0.6) is None
    assert nearest("zzz", ["max_rows"]) == "max_rows"
    assert nearest("zzz", []) is None
