"""A client of HTTP/2 over TLS that holds one connection, and looks at what comes event by event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ssl import SSLSocket

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.e2e.http2 import connected
from tests.e2e.served import Server


class Client:
    """One connection; ``h2`` makes what ``flush`` sends. ``window``: what the server may send of an answer unasked (bytes)."""

    def __init__(self, connection: SSLSocket, authority: str, window: int | None) -> None:
        self._connection = connection
        self._authority = authority
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        if window is not None:
            initial = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=initial)
        self.h2.initiate_connection()
        self.flush()

    def begin(self, method: str, path: str, *headers: tuple[str, str], ends: bool = False) -> int:
        """Makes a request's head; the stream's number."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", self._authority)]
        self.h2.send_headers(stream, [*pseudo, *headers], end_stream=ends)
        return stream

    def flush(self) -> None:
        """Sends what was made."""
        self.send(self.h2.data_to_send())

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._connection.sendall(data)

    def events(self) -> Iterator[h2.events.Event]:
        """What comes, until the connection ends."""
        with suppress(ConnectionError):
            while data := self._connection.recv(65536):
                yield from self.h2.receive_data(data)
                self.flush()

    def answer(self, stream: int) -> tuple[int, bytes]:
        """The status and the body of the answer on that stream. Raises EOFError where it does not come whole."""
        status, body = 0, b""
        for event in self.events():
            match event:
                case h2.events.ResponseReceived(stream_id=number, headers=headers) if number == stream:
                    status = int(dict(headers)[b":status"])
                case h2.events.DataReceived(stream_id=number, data=data) if number == stream:
                    body += data
                case h2.events.StreamEnded(stream_id=number) if number == stream:
                    return status, body
                case h2.events.StreamReset(stream_id=number, error_code=code) if number == stream:
                    raise EOFError(f"the stream was reset: {code}")
        raise EOFError("the connection has ended")

    def goodbye(self) -> int | None:
        """The code of the GOAWAY with which the server ends the connection; None where it ends without."""
        for event in self.events():
            if isinstance(event, h2.events.ConnectionTerminated):
                return int(event.error_code or 0)
        return None


@contextmanager
def http2(server: Server, window: int | None = None) -> Iterator[Client]:
    """A connection for the length of a ``with``."""
    with connected(server) as connection:
        yield Client(connection, server.address, window)
