"""An address is understood as it is written, or refused with how to write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bind import Bind


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:8000", Bind("127.0.0.1", 8000)),
        ("0.0.0.0:80", Bind("0.0.0.0", 80)),
        ("[::1]:8000", Bind("::1", 8000)),
        ("[0:0:0:0:0:0:0:1]:0", Bind("::1", 0)),
        ("localhost:65535", Bind("localhost", 65535)),
        ("model-server.example:8000", Bind("model-server.example", 8000)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, bind: Bind) -> None:
    assert Bind.parse(text) == bind


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "name a host and a port"),
        ("8000", "name a host and a port"),
        ("127.0.0.1", "name a host and a port"),
        ("127.0.0.1:", "name a host and a port"),
        ("127.0.0.1:http", "name a host and a port"),
        ("127.0.0.1:-1", "name a host and a port"),
        ("127.0.0.1:８０", "name a host and a port"),
        ("http://127.0.0.1:8000", "name a host and a port"),
        ("127.0.0.1:8000\n", "name a host and a port"),
        (":8000", "0.0.0.0:8000 for every network"),
        ("127.0.0.1:65536", "the highest is 65535"),
        ("::1:8000", "in brackets, as in"),
        ("[::1::]:8000", "not an IPv6 address"),
        ("[]:8000", "not an IPv6 address"),
        ("127.0.0.256:8000", "not an IPv4 address"),
        ("127.1:8000", "not an IPv4 address"),
        ("my host:8000", "not a host's name"),
        ("-host:8000", "not a host's name"),
        ("unix:/run/tureen.sock", "unix sockets"),
        ("fd://3", "unix sockets"),
    ],
)
def test_what_is_no_address_is_refused_with_how_to_write_one(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        Bind.parse(text)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("LocalHost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.1.5:1", False),
        ("localhost.example:1", False),
        ("localhost.localdomain:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(text: str, loopback: bool) -> None:
    assert Bind.parse(text).loopback is loopback


@given(
    host=st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.just("localhost")), port=st.integers(0, 65535)
)
def test_an_address_written_out_is_read_back(host: str, port: int) -> None:
    bind = Bind(host, port)
    assert Bind.parse(str(bind)) == bind
