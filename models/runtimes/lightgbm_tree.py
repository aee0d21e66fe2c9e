"""One tree of a LightGBM model text: which fields it has, and the rules they must keep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, isnan
from typing import NoReturn

from models.errors import LoadError

# LightGBM reads no more lines of a tree than this, and ignores the rest.
MAX_FIELDS = 22
CATEGORICAL = 1
# Bit 0: categorical; bit 1: missing values go left; bits 2 and 3: what counts as missing (none, zero, NaN).
MAX_DECISION_TYPE = 0b1011
MAX_UINT32 = 2**32 - 1

# All that a tree is written with. Other blanks would separate numbers for Python, and not for LightGBM.
PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=+-. \n"

INTEGER_STATISTICS = ((b"leaf_count", 0), (b"internal_count", 1))
FLOAT_STATISTICS = ((b"leaf_weight", 0), (b"split_gain", 1), (b"internal_value", 1), (b"internal_weight", 1))


class Tree:
    """One tree's fields, and the rules they must keep."""

    __slots__ = ("_data", "_end", "_fields", "_index", "_start", "_trees", "linear")

    def __init__(self, data: bytes, index: int, trees: int, position: int, size: int) -> None:
        self._data, self._index, self._trees = data, index, trees
        self._start, self._end = position, position + size
        self.linear = False
        block = data[position : position + size]
        if not block.startswith(b"Tree=%d\n" % index):
            fault = "does not start where tree_sizes says" if position < len(data) else "is missing: the file is cut short"
            self._fail("", fault)
        if len(block) < size:
            self._fail("", "is not complete: the file is cut short")
        if strange := block.translate(None, PLAIN):
            self._fail("", f"holds {text_of(strange[:1])}, which no tree has")
        lines = block.split(b"\n")
        end = lines.index(b"", 1) if b"" in lines else 0
        if len(lines) - end < 2 or any(lines[end:]):
            self._fail("", "does not end where tree_sizes says")
        if end - 1 > MAX_FIELDS:
            self._fail("", f"has {end - 1} lines, expected at most {MAX_FIELDS}")
        self._fields: dict[bytes, bytes] = {}
        for line in lines[1:end]:
            key, equals, value = line.partition(b"=")
            if not equals:
                self._fail("", f"holds {text_of(line)}, expected key=value")
            if key in self._fields:
                self._fail(text_of(key), "stands there twice")
            self._fields[key] = value

    def check(self, features: int) -> int:
        """Leaves of the tree, where everything is in order."""
        leaves = self._integer(b"num_leaves", minimum=1)
        categories = self._integer(b"num_cat", minimum=0)
        if categories >= leaves:
            self._fail("num_cat", f"is {categories}, expected fewer than the {leaves} leaves")
        self.linear = b"is_linear" in self._fields and self._integer(b"is_linear", minimum=0) > 0
        self._finite(b"leaf_value", leaves)
        if b"shrinkage" in self._fields:
            self._finite(b"shrinkage", 1)
        if self.linear:
            self._check_linear(leaves, features)
        if leaves == 1:
            return 1  # a constant: LightGBM leaves some of its other fields empty, and reads none
        nodes = leaves - 1
        for node, feature in enumerate(self._integers(b"split_feature", nodes)):
            if not 0 <= feature < features:
                self._fail("split_feature", f"of node {node} is {feature}, expected 0 to {features - 1}")
        self._check_decisions(nodes, categories)
        for name, fewer in INTEGER_STATISTICS:
            if name in self._fields:
                self._integers(name, leaves - fewer)
        for name, fewer in FLOAT_STATISTICS:
            if name in self._fields:
                self._floats(name, leaves - fewer)
        self._check_shape(self._integers(b"left_child", nodes), self._integers(b"right_child", nodes))
        return leaves

    def _check_shape(self, left: Sequence[int], right: Sequence[int]) -> None:
        """Every node but the root, and every leaf, is the child of one node, and all hang together."""
        nodes = len(left)
        children = [*left, *right]
        if sorted(children) != [*range(-nodes - 1, 0), *range(1, nodes)]:
            seen = set[int]()
            for place, child in enumerate(children):
                key, node = ("left_child", place) if place < nodes else ("right_child", place - nodes)
                if not -nodes - 1 <= child < nodes or child == 0:
                    self._fail(key, f"of node {node} is {child}, expected {-nodes - 1} to -1, or 1 to {nodes - 1}")
                if child in seen:
                    what = f"node {child}" if child > 0 else f"leaf {~child}"
                    self._fail(key, f"of node {node} is {child}, but {what} is already the child of another node")
                seen.add(child)
        # LightGBM numbers a node after its parent. Where another program did not, a circle is still to be ruled out.
        if all(child < 0 or child > place % nodes for place, child in enumerate(children)):
            return
        reached, open_nodes = 0, [0]
        while open_nodes:
            node = open_nodes.pop()
            reached += 1
            open_nodes += [child for child in (left[node], right[node]) if child > 0]
        if reached != nodes:
            self._fail("left_child", f"and right_child reach {reached} of {nodes} nodes from the root: the others form a circle")

    def _check_decisions(self, nodes: int, categories: int) -> None:
        # Infinity is what LightGBM writes for "missing or not"; NaN would make every comparison false.
        thresholds = self._floats(b"threshold", nodes)
        if any(map(isnan, thresholds)):
            self._fail("threshold", "holds NaN")
        kinds = self._integers(b"decision_type", nodes) if b"decision_type" in self._fields else [0] * nodes
        for node, kind in enumerate(kinds):
            if not 0 <= kind <= MAX_DECISION_TYPE:
                self._fail("decision_type", f"of node {node} is {kind}, expected 0 to {MAX_DECISION_TYPE}")
            if kind & CATEGORICAL and not (0 <= thresholds[node] < categories and thresholds[node].is_integer()):
                self._fail("threshold", f"of the categorical node {node} is {thresholds[node]:g}, expected 0 to num_cat - 1")
        if categories:
            bounds = self._integers(b"cat_boundaries", categories + 1)
            if bounds[0] != 0 or any(low > high for low, high in pairwise(bounds)):
                self._fail("cat_boundaries", "does not rise from 0")
            words = self._integers(b"cat_threshold", bounds[-1])
            if any(not 0 <= word <= MAX_UINT32 for word in words):
                self._fail("cat_threshold", "holds a number outside 0 to 4294967295")

    def _check_linear(self, leaves: int, features: int) -> None:
        self._finite(b"leaf_const", leaves)
        counts = self._integers(b"num_features", leaves)
        if any(count < 0 for count in counts):
            self._fail("num_features", "holds a number below 0")
        terms = sum(counts)
        if any(not 0 <= feature < features for feature in self._integers(b"leaf_features", terms)):
            self._fail("leaf_features", f"names a feature outside 0 to {features - 1}")
        self._finite(b"leaf_coeff", terms)

    def _words(self, key: bytes, count: int) -> list[bytes]:
        value = self._fields.get(key)
        if value is None:
            self._fail(key.decode(), "is missing")
        words = value.split()
        if len(words) != count:
            self._fail(key.decode(), f"has {len(words)} numbers, expected {count}")
        if b"_" in value:  # Python takes 1_000 for a number, LightGBM does not
            self._fail(key.decode(), "holds something that is not a number")
        return words

    def _integers(self, key: bytes, count: int) -> list[int]:
        try:
            return list(map(int, self._words(key, count)))
        except ValueError:
            self._fail(key.decode(), "holds something that is not a whole number")

    def _floats(self, key: bytes, count: int) -> list[float]:
        try:
            return list(map(float, self._words(key, count)))
        except ValueError:
            self._fail(key.decode(), "holds something that is not a number")

    def _finite(self, key: bytes, count: int) -> list[float]:
        values = self._floats(key, count)
        if not all(map(isfinite, values)):
            self._fail(key.decode(), "holds a number that is not finite")
        return values

    def _integer(self, key: bytes, minimum: int) -> int:
        (value,) = self._integers(key, 1)
        if value < minimum:
            self._fail(key.decode(), f"is {value}, expected at least {minimum}")
        return value

    def _fail(self, key: str, fault: str) -> NoReturn:
        start = self._start
        if key and (found := self._data.find(b"\n" + key.encode() + b"=", start, self._end)) >= 0:
            start = found + 1
        where = f"tree {self._index} of {self._trees} (line {line_of(self._data, start)})"
        raise LoadError(f"{where}: {key} {fault}" if key else f"{where} {fault}")


def line_of(data: bytes, position: int) -> int:
    """The line, from 1, in which that byte stands."""
    return data.count(b"\n", 0, position) + 1


def text_of(value: bytes) -> str:
    """A piece of the file, fit for a message."""
    return repr(value[:40].decode("utf-8", "replace"))
