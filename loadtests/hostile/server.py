"""The server under attack: workers with keys, tokens, budgets and limits on, and what it holds of the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from loadtests.run import free_port, serving

TUREEN = str(Path(sys.executable).with_name("tureen"))
WORKERS = 2
SERVER, CLIENTS = {0}, {1}  # cores, where there are two
CONFIG = """
[auth]
api_keys = true
jwt_keys = "{directory}/public.pem"
jwt_algorithm = "RS256"
jwt_issuer = "https://id.example"
jwt_audience = "tureen"

[limits]
address_requests_per_s = 50
address_requests_burst = 100

[store]
state_dir = "{directory}/state"

[log]
level = "warning"
requests = false
"""


@dataclass(frozen=True, slots=True)
class Attacked:
    """The running server. ``key`` may infer, ``directory`` holds what it was configured with and the customer's key."""

    port: int
    pid: int
    directory: Path
    key: str
    private: rsa.RSAPrivateKey
    public_pem: bytes

    @property
    def key_file(self) -> Path:
        """Where the customer reads its key."""
        return self.directory / "customer.key"

    def workers(self) -> list[int]:
        """The processes that serve now."""
        tasks = Path(f"/proc/{self.pid}/task")
        return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]

    def resident(self) -> int:
        """Resident memory of all workers in bytes."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.workers()]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Files and sockets that the workers have open."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.workers())


@contextlib.contextmanager
def attacked(repository: Path, kind: str) -> Iterator[Attacked]:
    """A server of its own, from ready until stopped."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        private = rsa.generate_private_key(65537, 2048)
        public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (directory / "public.pem").write_bytes(public_pem)
        (directory / "private.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        config = directory / "tureen.toml"
        config.write_text(CONFIG.format(directory=directory), encoding="utf-8")
        made = [TUREEN, "keys", "create", "customer", "--scope", "infer", "--config", str(config)]
        key = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
        (directory / "customer.key").write_text(key, encoding="ascii")
        port = free_port()
        command = [TUREEN, "serve", str(repository), "--config", str(config), "--bind", f"127.0.0.1:{port}"]
        command += ["--server", kind, "--workers", str(WORKERS), "--app", "loadtests.hostile.inside:extend"]
        with serving(command, f"http://127.0.0.1:{port}") as process:
            attacked = Attacked(port, process.pid, directory, key, private, public_pem)
            pin([process.pid, *attacked.workers()], SERVER)
            yield attacked


def pin(pids: list[int], cores: set[int]) -> None:
    """Keeps processes, all their threads, to some cores where the machine has these."""
    if cores <= os.sched_getaffinity(0):
        for pid in pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), cores)
