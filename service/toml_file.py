"""Reading a configuration file: what cannot be read is refused by the file's name alone, without its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.toml_text import toml
from service.errors import ConfigError


def read_toml(file: Path, missing: str | None = None) -> dict[str, Any]:
    """What the file holds. ``missing``: what to say where there is none. Raises ConfigError."""
    try:
        return toml(file.read_text(encoding="utf-8"))
    except OSError as error:
        if missing is not None and isinstance(error, FileNotFoundError):
            raise ConfigError(missing) from None
        raise ConfigError(f"{file.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file.name} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{file.name} is not TOML: {error}") from None
