"""A worker's end of the socket to its supervisor: what it is told, and the knowledge that there is somebody to tell it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from service.processes.specification import Answer, Word

#: A worker whose supervisor has died is gone after so long, whatever it does (seconds).
ORPHAN_S: Final = 3.5


class Channel:
    """Reads in a thread of its own, so that a worker learns of its supervisor's end whatever its event loop does.

    Until somebody listens, nothing has been accepted: then any word to stop ends the process at once.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._early: list[Word] = []
        self._listener: tuple[asyncio.AbstractEventLoop, Callable[[Word | None], None]] | None = None
        threading.Thread(target=self._read, name="tureen-channel", daemon=True).start()

    def listen(self, heard: Callable[[Word | None], None]) -> None:
        """From now on each word is told to ``heard``, on the running loop; None is the supervisor's end."""
        with self._lock:
            self._listener = (asyncio.get_running_loop(), heard)
            early, self._early = self._early, []
        for word in early:
            heard(word)

    def say(self, answer: Answer, text: str = "") -> None:
        """Tells the supervisor, unless it is gone."""
        with contextlib.suppress(OSError):
            self._channel.sendall(f"{answer} {text}".rstrip().encode() + b"\n")

    def _read(self) -> None:
        unread = b""
        while True:
            try:
                data = self._channel.recv(4096)
            except OSError:
                data = b""
            if not data:
                break
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):  # a word of another release
                    self._pass_on(Word(line.decode()))
        self._pass_on(None)
        time.sleep(ORPHAN_S)
        os._exit(1)

    def _pass_on(self, word: Word | None) -> None:
        with self._lock:
            if self._listener is None:
                if word is None:
                    os._exit(1)
                if word is not Word.ANNOUNCE:
                    os._exit(0)
                self._early.append(word)
                return
            loop, heard = self._listener
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker ends
            loop.call_soon_threadsafe(heard, word)
