from __future__ import annotations

from service.lane.heads import LONGEST, MOST, Head, Heads
from service.routing import Target
from service.routing import target as target_of


def target() -> Target:
    found = target_of("/v1/models/m:predict")
    if found is None:
        raise AssertionError("the path is an inference path")
    return found


def head(**headers: bytes) -> Head:
    return Head(target(), {name.replace("_", "-").encode(): value for name, value in headers.items()}, 3)


def test_a_learnt_head_is_known_by_its_bytes_alone() -> None:
    heads = Heads()
    heads.learn(b"POST / HTTP/1.1\r\n\r\n", head())
    assert heads.get(b"POST / HTTP/1.1\r\n\r\n") == head()
    assert heads.get(b"POST / HTTP/1.1\r\nA: 1\r\n\r\n") is None


def test_a_head_that_is_new_each_time_is_not_kept() -> None:
    heads = Heads()
    heads.learn(b"one", head(x_request_id=b"1"))
    heads.learn(b"two", head(traceparent=b"2"))
    assert heads.get(b"one") is None
    assert heads.get(b"two") is None


def test_what_callers_send_does_not_fill_memory() -> None:
    heads = Heads()
    heads.learn(b"x" * (LONGEST + 1), head())
    assert heads.get(b"x" * (LONGEST + 1)) is None
    for number in range(10 * MOST):
        heads.learn(b"%d" % number, head())
    known = [number for number in range(10 * MOST) if heads.get(b"%d" % number)]
    assert 0 < len(known) <= MOST
    assert known[-1] == 10 * MOST - 1
