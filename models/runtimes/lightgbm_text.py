"""The structure of a LightGBM model text, checked before LightGBM's own parser sees it.

That parser trusts its input: a truncated file makes it read past the end, a child index that points back makes a prediction
run for ever, and a file cut between two trees loads without a word with the trees that are left. The text is a header of
``key=value`` lines with the byte size of every tree, then the trees, then ``end of trees`` and what no prediction needs:

    tree                        Tree=0                          end of trees
    version=v4                  num_leaves=3
    num_class=1                 split_feature=2 0               feature_importances: ...
    ...                         left_child=1 -1
    tree_sizes=501 513          right_child=-2 -3               parameters: ...  end of parameters
                                ...                             pandas_categorical:null
    (blank line)                (blank lines)

A child index at or above 0 names a node, below it the leaf ``~index``. Formats: v2 with tree sizes, v3 and v4; source:
LightGBM's ``gbdt_model_text.cpp`` and ``tree.cpp``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from models.errors import LoadError
from models.runtimes.lightgbm_tree import Tree, line_of, text_of

VERSIONS = ("v2", "v3", "v4")


@dataclass(frozen=True, slots=True)
class ModelText:
    """What a model text says of itself. ``objective`` is empty for a custom one; ``pandas_columns`` counts the columns that
    were pandas categories in training."""

    version: str
    objective: str
    classes: int
    features: tuple[str, ...]
    categorical: tuple[str, ...]
    trees: int
    leaves: int
    linear: bool
    averaged: bool
    pandas_columns: int


def read_model_text(data: bytes) -> ModelText:
    """Checks the whole structure. Raises LoadError: one sentence with the tree, the line and the key that is wrong."""
    header, start = _header(data)
    version = header[b"version"].decode("utf-8", "replace")
    if version not in VERSIONS:
        raise LoadError(f"the header's version is {version[:20]!r}, expected one of {', '.join(VERSIONS)}")
    classes = _header_integer(header, b"num_class", minimum=1)
    told = version != "v2" or b"num_tree_per_iteration" in header
    per_iteration = _header_integer(header, b"num_tree_per_iteration", minimum=1) if told else classes
    if per_iteration != classes:
        raise LoadError(f"the header's num_tree_per_iteration is {per_iteration}, expected num_class, which is {classes}")
    _header_integer(header, b"label_index", minimum=-1)
    features = _features(header)
    objective = header.get(b"objective", b"").decode("utf-8", "replace")
    _check_objective(objective, classes)

    sizes = _sizes(header[b"tree_sizes"])
    if len(sizes) % classes:
        raise LoadError(f"tree_sizes lists {len(sizes)} trees, expected a multiple of the {classes} trees of an iteration")
    leaves, linear = 0, False
    position = start
    for index, size in enumerate(sizes):
        tree = Tree(data, index, len(sizes), position, size)
        leaves += tree.check(len(features))
        linear = linear or tree.linear
        position += size
    pandas_columns = _check_tail(data, position, version, len(sizes))
    infos = header[b"feature_infos"].split()
    return ModelText(
        version=version,
        objective=objective,
        classes=classes,
        features=features,
        categorical=tuple(
            name for name, info in zip(features, infos, strict=True) if info != b"none" and not info.startswith(b"[")
        ),
        trees=len(sizes),
        leaves=leaves,
        linear=linear,
        averaged=b"average_output" in header,
        pandas_columns=pandas_columns,
    )


def _header(data: bytes) -> tuple[dict[bytes, bytes], int]:
    """The header's keys and where the first tree starts."""
    first = data[:64].split(b"\n", 1)[0]
    if first == b"tree\r":
        raise LoadError("its line ends are CRLF, expected LF: git or an editor converted them, and its byte sizes no longer fit")
    if first != b"tree":
        raise LoadError("its first line is not 'tree', so it is no LightGBM model text")
    if (nul := data.find(b"\0")) >= 0:
        raise LoadError(f"line {line_of(data, nul)} holds a NUL byte, which no model text has")
    end = data.find(b"\n\n")
    if end < 0:
        raise LoadError("it ends inside the header: the file is cut short")
    header: dict[bytes, bytes] = {}
    for number, line in enumerate(data[:end].split(b"\n")[1:], 2):
        key, equals, value = line.partition(b"=")
        if key in header:
            raise LoadError(f"line {number} repeats the header's {text_of(key)}")
        if (not equals and key != b"average_output") or (b"=" in value and key != b"feature_names"):
            raise LoadError(f"line {number} of the header is {text_of(line)}, expected one key=value")
        header[key] = value
    required = ("version", "num_class", "label_index", "max_feature_idx", "feature_names", "feature_infos", "tree_sizes")
    for name in required:
        if name.encode() not in header:
            raise LoadError(f"the header has no {name}")
    return header, end + 2


def _header_integer(header: Mapping[bytes, bytes], key: bytes, minimum: int) -> int:
    value = header.get(key)
    if value is None:
        raise LoadError(f"the header has no {key.decode()}")
    digits = value[1:] if value.startswith(b"-") else value
    if not digits.isdigit() or len(digits) > 9 or int(value) < minimum:
        raise LoadError(f"the header's {key.decode()} is {text_of(value)}, expected a whole number from {minimum}")
    return int(value)


def _features(header: Mapping[bytes, bytes]) -> tuple[str, ...]:
    count = _header_integer(header, b"max_feature_idx", minimum=0) + 1
    # LightGBM separates by the space alone; a name may hold any other blank.
    names = [name for name in header[b"feature_names"].split(b" ") if name]
    for key, found in (("feature_names", len(names)), ("feature_infos", len(header[b"feature_infos"].split()))):
        if found != count:
            raise LoadError(f"the header's {key} lists {found} features, expected {count} (max_feature_idx + 1)")
    return tuple(name.decode("utf-8", "replace") for name in names)


def _check_objective(objective: str, classes: int) -> None:
    words = objective.split()
    if words and words[0] in ("multiclass", "multiclassova") and f"num_class:{classes}" not in words:
        raise LoadError(f"the header's objective is {objective[:60]!r}, expected num_class:{classes} in it, as in num_class")


def _sizes(value: bytes) -> list[int]:
    words = value.split()
    if not all(word.isdigit() and len(word) < 16 for word in words):
        raise LoadError("the header's tree_sizes holds something that is not a size in bytes")
    return list(map(int, words))


def _check_tail(data: bytes, position: int, version: str, trees: int) -> int:
    """What follows the trees; returns the number of pandas columns."""
    tail = data[position:]
    ends = (b"end of trees\n", b"\nfeature importances:\n") if version == "v2" else (b"end of trees\n",)
    if not tail.startswith(ends):
        fault = "has no 'end of trees' behind them: the file is cut short"
        if tail.lstrip(b"\n").startswith(b"Tree="):
            fault = "has more trees than that"
        raise LoadError(f"tree_sizes lists {trees} trees, and the file {fault} (line {line_of(data, position)})")
    if b"\nTree=" in tail:
        raise LoadError(f"the file has another tree behind the {trees} that tree_sizes lists")
    if b"\nparameters:\n" in tail and b"\nend of parameters\n" not in tail:
        raise LoadError("it ends inside the parameters: the file is cut short")
    before, key, value = tail.rpartition(b"\npandas_categorical:")
    if not key:
        return 0
    try:
        categories = json.loads(value)
    except (ValueError, RecursionError):
        categories = False
    if categories is None:
        return 0
    if not isinstance(categories, list) or not all(isinstance(column, list) for column in categories):
        line = line_of(data, position + len(before) + 1)
        raise LoadError(f"its pandas_categorical (line {line}) is not a list of lists: the file is cut short or damaged")
    return len(categories)
