"""What each model is served by: its ``model.toml``, and over it what was changed since it was loaded."""

from __future__ import annotations

import logging

from batching import Policy
from models import LoadError
from models.lease import LoadedVersion
from models.live import Changed, held, overlaid
from models.manifest import Manifest

log = logging.getLogger("tureen.engine")


class Settings:
    """``changed``: of each model that something was changed of, what. It outlives the model's being loaded."""

    def __init__(self) -> None:
        self.changed: dict[str, Changed] = {}

    def of(self, loaded: LoadedVersion) -> Manifest:
        """What a version is served by; its ``model.toml`` alone where that does not go with what was changed."""
        return held(loaded.manifest, self.changed.get(loaded.name, {}), model=loaded.name)

    def judge(self, loaded: LoadedVersion) -> None:
        """Says in the log where what was changed is left out."""
        try:
            overlaid(loaded.manifest, self.changed.get(loaded.name, {}), model=loaded.name)
        except LoadError as error:
            log.error(
                "what was changed of it while it served is left out, as it does not go with what it is loaded with: %s", error
            )

    def put(self, model: str, changed: Changed) -> None:
        """What is changed of a model from now on, in place of what was."""
        if changed:
            self.changed[model] = changed
        else:
            self.changed.pop(model, None)


def policy_of(settings: Manifest) -> Policy:
    """How such a model's batcher behaves."""
    return Policy(**settings.batching.model_dump())
