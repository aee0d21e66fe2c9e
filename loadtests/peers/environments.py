"""The peers: what each is installed from, in an environment of its own, and how it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

#: The same for all, so that servers are compared and not runtimes.
SHARED = tuple(f"{name}=={version(name)}" for name in ("onnxruntime", "pillow", "numpy"))


@dataclass(frozen=True, slots=True)
class Peer:
    """``beside``: what it needs and does not bring. ``path`` and ``field``: where a photograph is uploaded to.

    ``ready``: what answers 200 once it serves.
    """

    name: str
    release: str
    beside: tuple[str, ...]
    arguments: tuple[str, ...]
    path: str
    field: str
    ready: str

    def install(self, directory: Path) -> Path:
        """Its environment's directory, made where it is not there. Raises CalledProcessError."""
        environment = directory / f"{self.name}-{self.release}"
        wanted = [f"{self.name}=={self.release}", *self.beside, *SHARED]
        installed = environment / "installed"
        if not installed.exists() or installed.read_text(encoding="utf-8").split() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
            subprocess.run([environment / "bin" / "pip", "install", "--quiet", *wanted], check=True)
            installed.write_text("\n".join(wanted), encoding="utf-8")
        return environment.resolve()

    def command(self, environment: Path, port: int) -> Sequence[str]:
        """What serves."""
        return [str(environment / "bin" / "python"), *(argument.format(port=port) for argument in self.arguments)]

    def variables(self, model: Path, port: int, batch: int, workers: int, threads: int) -> Mapping[str, str]:
        """What it is told by its environment."""
        told = {"MODEL": model / "1" / "model.onnx", "PORT": port, "BATCH": batch, "WORKERS": workers, "THREADS": threads}
        quiet = {"BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": str(threads)}
        return os.environ | quiet | {f"PEER_{name}": str(value) for name, value in told.items()}


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "litserve",
            "0.2.19",
            ("python-multipart==0.0.20",),
            ("-m", "loadtests.peers.litserve_app"),
            "/predict",
            "file",
            "/health",
        ),
        Peer(
            "bentoml",
            "1.4.39",
            (),
            ("-m", "bentoml", "serve", "loadtests.peers.bentoml_app:Photographs", "--host", "127.0.0.1", "--port", "{port}"),
            "/classify",
            "images",
            "/readyz",
        ),
    )
}
