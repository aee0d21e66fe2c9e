"""Every parser of ours that reads what others write, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.fuzz import bodies, files, framings, guards, heads, images, streams
from tests.fuzz.target import Target

_ALL = (*bodies.TARGETS, *files.TARGETS, *heads.TARGETS, *guards.TARGETS, *framings.TARGETS, *images.TARGETS, *streams.TARGETS)
TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in _ALL})
