"""What a command shows the server it asks: a key or token, from the environment or a file. Never from the command line, which
every process of the machine can read, and shells keep."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

VARIABLE = "TUREEN_API_KEY"
#: Longer ones no server takes in a head (bytes).
LONGEST = 8 * 1024
_TEXT = re.compile(rb"[\x21-\x7e]+")

key_file = click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"A file with the key or token alone.  [default: the variable {VARIABLE}, if set]",
)


def credential(file: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key, that of the file before that of the environment; None where there is neither. Raises click's UsageError."""
    if file is None:
        given = environ.get(VARIABLE, "").encode("utf-8", "surrogateescape")
        return _checked(given, f"the variable {VARIABLE}") if given.strip() else None
    try:
        with file.open("rb") as opened:
            read = opened.read(LONGEST + 1)
    except OSError as error:
        raise click.UsageError(f"the file of --key-file cannot be read: {error.strerror}") from error
    return _checked(read, "the file of --key-file")


def shown(key: str | None, url: str) -> str | None:
    """The key, once its holder was warned where it travels in clear."""
    if key is not None and in_clear(url):
        click.echo(f"tureen: warning: the key travels in clear to {url}; give --url an address with https", err=True)
    return key


def in_clear(url: str) -> bool:
    """Whether what is sent there can be read on its way: by plain HTTP, beyond this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False  # no address at all, which its reader refuses
    if parts.scheme != "http" or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _checked(given: bytes, source: str) -> str:
    """Raises UsageError, which never shows what was given."""
    text = given.strip()
    if len(text) > LONGEST or not _TEXT.fullmatch(text):
        raise click.UsageError(f"{source} holds no key: expected one line of at most {LONGEST} visible ASCII characters")
    return text.decode("ascii")
