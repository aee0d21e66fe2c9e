"""What may stand in the variable parts of our paths."""

from __future__ import annotations

from werkzeug.routing import BaseConverter

from service.routing import NAME


class ModelConverter(BaseConverter):
    """A model's name; nothing that could be a path or hold the colon of a verb."""

    regex = NAME


class SegmentConverter(BaseConverter):
    """A version or label: what it may be is for the engine to say."""

    regex = r"[^/:]+"


CONVERTERS = {"model": ModelConverter, "segment": SegmentConverter}
