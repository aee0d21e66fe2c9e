"""Tureen inside a program of one's own: an ASGI app that any ASGI server runs.

hypercorn --config hypercorn.toml examples.extending.asgi:app
uvicorn examples.extending.asgi:app
"""

from __future__ import annotations

from pathlib import Path

from service import Config, create_app

app = create_app(Config(repository=Path("examples/python_model")))
