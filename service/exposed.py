"""Files with secrets that other users of the machine may read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from service.config import Config


def exposed(config: Config) -> list[str]:
    """A warning for each that the configuration names: a secret that signs tokens, Redis's password."""
    return [
        f"{key}: every user of this machine may read {file}, and so its secret; give it mode 0600, or 0440 in Kubernetes"
        for key, file in _secrets(config)
        if _open_to_others(file)
    ]


def _secrets(config: Config) -> Iterator[tuple[str, Path]]:
    if config.limits.redis_password_file is not None:
        yield "[limits] redis_password_file", config.limits.redis_password_file
    # The other algorithms' keys are public.
    if config.auth.jwt_keys is not None and (config.auth.jwt_algorithm == "HS256" or _symmetric(config.auth.jwt_keys)):
        yield "[auth] jwt_keys", config.auth.jwt_keys


def _symmetric(file: Path) -> bool:
    """Whether a JWKS may hold a secret: a key of the kind that RFC 7518, 6.4, calls so."""
    try:
        with file.open("rb") as opened:
            return b'"oct"' in opened.read(1024 * 1024)
    except OSError:
        return False  # whoever needs it says so


def _open_to_others(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
