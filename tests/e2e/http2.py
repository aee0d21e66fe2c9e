"""HTTP/2 over TLS frame by frame: requests as clients' libraries send them, and frames that none would."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame

from tests.e2e.patience import PATIENCE_S
from tests.e2e.served import Server, serving

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: What the last frames of ours say: the second is answered once all before the first has been read, and what came of it sent.
FIRST, LAST = b"is all r", b"ead now?"

Headers = Sequence[tuple[str | bytes, str | bytes]]


@contextmanager
def serving_tls(kitchen: Path, cwd: Path, lane: str = "express", env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A Hypercorn with a certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tureen")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    certificate = made.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (cwd / "key.pem").write_bytes(private)
    (cwd / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (cwd / "hypercorn.toml").write_text('certfile = "cert.pem"\nkeyfile = "key.pem"\n')
    with serving(kitchen, lane=lane, cwd=cwd, env=env) as server:
        yield server


@contextmanager
def connected(server: Server, *protocols: str) -> Iterator[ssl.SSLSocket]:
    """A TLS connection that offers these protocols, HTTP/2 by default."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols) or ["h2"])
    with socket.create_connection((server.host, server.port), PATIENCE_S) as raw, context.wrap_socket(raw) as secure:
        yield secure


@dataclass(slots=True)
class Outcome:
    """What came of frames: the codes of reset streams, the code of a GOAWAY, whether the connection lives."""

    resets: list[int] = field(default_factory=list)
    goaway: int | None = None
    lives: bool = False

    @property
    def refused(self) -> bool:
        """Whether anything was said against them."""
        return bool(self.resets) or self.goaway is not None or not self.lives


def outcome(server: Server, *parts: bytes | Frame, preface: bytes = PREFACE) -> Outcome:
    """Sends frames on a connection of their own, and a ping; says what comes until the ping's answer or the end."""
    found = Outcome()
    with connected(server) as connection, suppress(OSError):
        connection.sendall(preface + SettingsFrame(0).serialize())
        connection.sendall(b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))
        connection.sendall(PingFrame(0, opaque_data=FIRST).serialize())
        for frame in _frames(connection):
            if isinstance(frame, RstStreamFrame):
                found.resets.append(frame.error_code)
            elif isinstance(frame, GoAwayFrame):
                found.goaway = frame.error_code
                break
            elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
                if frame.opaque_data == LAST:
                    found.lives = True
                    break
                if frame.opaque_data == FIRST:
                    connection.sendall(PingFrame(0, opaque_data=LAST).serialize())
    return found


def _frames(connection: ssl.SSLSocket) -> Iterator[Frame]:
    data = b""
    while received := connection.recv(65536):
        data += received
        while len(data) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(data)[:9])
            if len(data) < 9 + length:
                break
            frame.parse_body(memoryview(data)[9 : 9 + length])
            data = data[9 + length :]
            yield frame


def block(headers: Headers) -> bytes:
    """The headers, compressed as by a new client."""
    return Encoder().encode(list(headers))


def exchange(server: Server, *requests: tuple[Headers, bytes | None]) -> list[tuple[int, bytes]]:
    """The status and body of each request, sent at once in streams of one connection; 0 and nothing for a stream that was reset.

    A body of None leaves the stream open.
    """
    config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    client = h2.connection.H2Connection(config)
    client.initiate_connection()
    answers: dict[int, tuple[int, bytes]] = {}
    open_streams: set[int] = set()
    with connected(server) as connection:
        for headers, body in requests:
            stream = client.get_next_available_stream_id()
            client.send_headers(stream, list(headers))
            if body is not None:
                client.send_data(stream, body, end_stream=True)
            answers[stream] = (0, b"")
            open_streams.add(stream)
        connection.sendall(client.data_to_send())
        while open_streams:
            received = connection.recv(65536)
            if not received:
                break
            for event in client.receive_data(received):
                match event:
                    case h2.events.ResponseReceived():
                        (status,) = (int(value) for name, value in event.headers if name == b":status")
                        answers[event.stream_id] = (status, b"")
                    case h2.events.DataReceived():
                        before = answers[event.stream_id]
                        answers[event.stream_id] = (before[0], before[1] + event.data)
                        client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.StreamEnded() | h2.events.StreamReset():
                        open_streams.discard(event.stream_id)
                    case h2.events.ConnectionTerminated():
                        open_streams.clear()
            connection.sendall(client.data_to_send())
    return list(answers.values())
