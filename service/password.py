"""Passwords of other machines' services: each stands alone in a file."""

from __future__ import annotations

from pathlib import Path

from service.errors import ConfigError


def password_of(file: Path | None, key: str) -> str | None:
    """The password that a file holds; ``key`` names it. Raises ConfigError."""
    if file is None:
        return None
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{key}: {file} cannot be read: {reason}") from error
    if not password:
        raise ConfigError(f"{key}: {file} is empty; write the password there, alone")
    return password
