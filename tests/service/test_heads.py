from __future__ import annotations

import time

import pytest

from service.config import Config
from service.errors import Unauthorized
from service.guard.budgets.budgets import open_budgets
from service.guard.credentials.key import Key, digest, mint
from service.guard.credentials.keyring import Keyring
from service.guard.gate import Gate
from service.guard.principal import Scope
from service.lane.heads import LONGEST, MOST, Head, Heads, judged
from service.processes.place import Place
from service.routing import Target
from service.routing import target as target_of
from service.sections import Auth, Limits

PEER = "192.0.2.1"


def gate(keyring: Keyring | None = None, *proxies: str) -> Gate:
    auth, limits = Auth(api_keys=keyring is not None), Limits(trusted_proxies=proxies)
    return Gate(auth, limits, Keyring() if keyring is None else keyring, None, open_budgets(Config(), Place()))


def key(scope: Scope = Scope.INFER, models: frozenset[str] | None = None, expires: float | None = None) -> tuple[Key, bytes]:
    name, shown = mint()
    return Key(name, "test", digest(shown.encode()), frozenset({scope}), models, expires=expires), shown.encode()


def target() -> Target:
    found = target_of("/v1/models/m:predict")
    if found is None:
        raise AssertionError("the path is an inference path")
    return found


def head(**headers: bytes) -> Head:
    return Head(target(), {name.replace("_", "-").encode(): value for name, value in headers.items()}, 3)


def of(gate: Gate, *headers: tuple[bytes, bytes]) -> Head:
    return judged(gate, target(), headers, 3, PEER)


def test_a_learnt_head_is_known_by_its_bytes_alone() -> None:
    heads = Heads(gate())
    heads.learn(b"POST / HTTP/1.1\r\n\r\n", head())
    assert heads.get(b"POST / HTTP/1.1\r\n\r\n") == head()
    assert heads.get(b"POST / HTTP/1.1\r\nA: 1\r\n\r\n") is None


def test_a_head_that_is_new_each_time_is_not_kept() -> None:
    heads = Heads(gate())
    heads.learn(b"one", head(x_request_id=b"1"))
    heads.learn(b"two", head(traceparent=b"2"))
    assert heads.get(b"one") is None
    assert heads.get(b"two") is None


def test_what_callers_send_does_not_fill_memory() -> None:
    heads = Heads(gate())
    heads.learn(b"x" * (LONGEST + 1), head())
    assert heads.get(b"x" * (LONGEST + 1)) is None
    for number in range(10 * MOST):
        heads.learn(b"%d" % number, head())
    known = [number for number in range(10 * MOST) if heads.get(b"%d" % number)]
    assert 0 < len(known) <= MOST
    assert known[-1] == 10 * MOST - 1


def test_a_head_keeps_whose_credential_it_brought_and_not_the_credential() -> None:
    kept, shown = key()
    asking = gate(Keyring([kept]))
    for made in (of(asking, (b"authorization", b"Bearer " + shown)), of(asking, (b"x-api-key", shown))):
        sender = made.sender(asking, PEER)
        assert not isinstance(sender, Unauthorized)
        assert sender.name == f"key:{kept.id}"
        assert shown not in repr(made).encode()


def test_the_head_of_who_is_refused_is_not_learnt() -> None:
    other, shown = key(models=frozenset({"other"}))
    scraper, scraping = key(Scope.METRICS)
    asking = gate(Keyring([other, scraper]))
    heads = Heads(asking)
    for credential in (b"", b"wrong", shown, scraping):
        heads.learn(b"head", of(asking, *([(b"x-api-key", credential)] if credential else [])))
        assert heads.get(b"head") is None


def test_a_learnt_head_ends_with_any_change_of_the_keys() -> None:
    kept, shown = key()
    ring = Keyring([kept])
    heads = Heads(gate(ring))
    heads.learn(b"head", of(gate(ring), (b"x-api-key", shown)))
    assert heads.get(b"head") is not None
    ring.replace([kept, key()[0]])
    assert heads.get(b"head") is None


def test_a_learnt_head_ends_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, shown = key(expires=time.time() + 100)
    asking = gate(Keyring([kept]))
    heads = Heads(asking)
    heads.learn(b"head", of(asking, (b"x-api-key", shown)))
    assert heads.get(b"head") is not None
    monkeypatch.setattr("service.guard.gate.time", lambda: time.time() + 101)
    assert heads.get(b"head") is None


def test_where_nobody_is_asked_a_head_is_whoever_has_the_connection() -> None:
    made = of(gate())
    names = [str(getattr(made.sender(gate(), peer), "name", "")) for peer in (PEER, "192.0.2.2")]
    assert names == [f"address:{PEER}", "address:192.0.2.2"]


def test_what_a_trusted_proxy_says_of_a_head_counts_on_its_own_connections_alone() -> None:
    open_gate = gate(None, PEER)
    made = of(open_gate, (b"x-forwarded-for", b"198.51.100.7"))
    names = [str(getattr(made.sender(open_gate, peer), "name", "")) for peer in (PEER, "192.0.2.2")]
    assert names == ["address:198.51.100.7", "address:192.0.2.2"]
