"""How the process of a worker comes to be: spawned, with one end of a socket pair as all that it inherits.

It imports what every worker needs before it is told what to be, so `tureen serve` spawns the first before it has read its own
configuration. Nothing is imported here that takes time.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

#: Kept from a worker until it can heed them: a terminal sends them to all of its processes.
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that waits to be told what to be. Only it has the other end of ``channel``: each side reads of the other's end."""

    process: subprocess.Popen[bytes]
    channel: socket.socket

    def discard(self) -> None:
        """Ends it; nobody was told of it."""
        self.channel.close()
        self.process.kill()
        self.process.wait()


def spawn() -> Spawned:
    """A new process. Raises OSError where the system has no room for one."""
    ours, theirs = socket.socketpair()
    # Those that come for it now it gets once it has said what to do: none is to kill it half-way through its imports.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process = subprocess.Popen(
            # -P: what lies in the working directory must not stand in for our packages.
            [sys.executable, "-P", "-m", "service.processes.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return Spawned(process, ours)


def has_terminal() -> bool:
    """Whether this process has a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
