"""Who is let in, in which order he is refused, and what becomes of those who wait for a budget on another machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from models.manifest import Limits as ModelLimits
from service.errors import ConfigError, Forbidden, OverBudget, Unauthorized
from service.guard.access import INFER, MODEL, OPEN, TABLE, Access, Need, access, access_of, needs
from service.guard.budgets.budget import Allowance, Bound, Left, Spend
from service.guard.budgets.rules import Purse, unbounded
from service.guard.credentials.key import Key, digest, mint
from service.guard.credentials.keyring import Keyring
from service.guard.gate import Gate, Grant, Known
from service.guard.principal import Principal, Scope
from service.guard.stay import Stay
from service.sections import Auth, Limits

PEER = "192.0.2.1"
LEFT = Allowance(Bound("a", "requests_per_s", "requests", 10, 0.1), 9, 1.0)
SPENT = OverBudget("the budget is spent", 1.0)


@dataclass
class Told:
    """Budgets that answer with what they are told to, and remember who spent."""

    requests: Allowance | OverBudget | None = None
    rows: Allowance | OverBudget | None = None
    immediate: bool = True
    models: Mapping[str, ModelLimits] = field(default_factory=dict)
    waiting: list[asyncio.Future[Allowance | None]] = field(default_factory=list)
    spent: list[tuple[str, str, float]] = field(default_factory=list)

    def purse(self, principal: Principal, model: str | None, /) -> Purse:
        name = f"{principal.name} {model}"
        spends = [partial(self._spend, name, unit) for unit in ("requests", "rows", "both")]
        return Purse(principal.budget, None, *spends)

    def open(self, bounds: tuple[Bound, ...]) -> Spend:
        return unbounded

    async def start(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    def _spend(self, name: str, unit: str, cost: float) -> Left:
        self.spent.append((name, unit, cost))
        if not self.immediate:
            self.waiting.append(asyncio.get_running_loop().create_future())
            return self.waiting[-1]
        left = self.rows if unit == "rows" else self.requests
        if isinstance(left, OverBudget):
            raise left
        return left


def made(*scopes: Scope, models: frozenset[str] | None = None, expires: float | None = None) -> tuple[Key, tuple[bytes, bytes]]:
    number, shown = mint()
    key = Key(number, "test", digest(shown.encode()), frozenset(scopes), models, expires=expires)
    return key, (b"x-api-key", shown.encode())


def asking(*keys: Key, budgets: Told | None = None) -> Gate:
    return Gate(Auth(api_keys=True), Limits(), Keyring(keys), None, budgets or Told())


def open_to_all(budgets: Told | None = None, *proxies: str) -> Gate:
    return Gate(Auth(), Limits(trusted_proxies=proxies), Keyring(), None, budgets or Told())


def granted(entered: Grant | asyncio.Future[Grant]) -> Grant:
    assert isinstance(entered, Grant)
    return entered


# -- who -------------------------------------------------------------------------------------------------------------------


def test_where_nobody_is_asked_an_address_may_do_everything() -> None:
    stranger = open_to_all().identify([(b"authorization", b"whatever")], PEER)
    assert stranger.name == f"address:{PEER}"
    assert all(stranger.may(scope, "m") for scope in Scope)


def test_where_somebody_is_asked_a_stranger_may_nothing() -> None:
    stranger = asking().stranger([], PEER)
    assert stranger.name == f"address:{PEER}"
    assert not any(stranger.may(scope) for scope in Scope)


@pytest.mark.parametrize("headers", [[], [(b"x-api-key", b"tur_aaaaaaaaaa_wrong")], [(b"authorization", b"Basic eA==")]])
def test_without_a_key_of_ours_nobody_comes_in(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized):
        asking(made(Scope.ADMIN)[0]).identify(headers, PEER)


def test_two_credentials_are_none() -> None:
    key, header = made(Scope.ADMIN)
    assert asking(key).identify([header], PEER).name == f"key:{key.id}"
    with pytest.raises(Unauthorized):
        asking(key).identify([header, header], PEER)


def test_the_address_is_the_one_that_a_trusted_proxy_saw() -> None:
    forwarded = [(b"x-forwarded-for", b"198.51.100.7")]
    gate = open_to_all(None, PEER)
    assert gate.identify(forwarded, PEER).name == "address:198.51.100.7"
    assert gate.identify(forwarded, "192.0.2.2").name == "address:192.0.2.2"
    assert gate.identify([], PEER).name == f"address:{PEER}"
    assert open_to_all().identify(forwarded, PEER).name == f"address:{PEER}"


def test_what_is_known_ends_with_any_change_of_the_keys_and_with_its_time() -> None:
    key, header = made(Scope.INFER, expires=time.time() + 100)
    ring = Keyring([key])
    gate = Gate(Auth(api_keys=True), Limits(), ring, None, Told())
    known = gate.known([header], PEER)
    assert isinstance(known, Known)
    assert gate.holds(known)
    assert not gate.holds(Known(Principal("jwt:x", frozenset(Scope), expires=time.time() - 1), gate.generation))
    ring.replace([key, made(Scope.INFER)[0]])
    assert not gate.holds(known)


def test_a_refusal_that_is_kept_holds_no_frame() -> None:
    refused = asking().known([], PEER)
    assert isinstance(refused, Unauthorized)
    assert refused.__traceback__ is None


# -- whether he may, and has budget ------------------------------------------------------------------------------------------


@given(
    st.frozensets(st.sampled_from(Scope)),
    st.none() | st.frozensets(st.sampled_from(["a", "b", "absent"])),
    st.none() | st.sampled_from(Scope),
    st.none() | st.sampled_from(["a", "b", "absent", ""]),
    st.booleans(),
)
def test_who_may_not_is_told_so_before_his_budget_is_touched(
    scopes: frozenset[Scope], models: frozenset[str] | None, need: Scope | None, model: str | None, poor: bool
) -> None:
    budgets = Told(SPENT if poor else LEFT)
    principal = Principal("key:k", scopes, models)
    try:
        grant = granted(asking(budgets=budgets).enter(principal, need, model))
    except Forbidden:
        assert need is not None
        assert not principal.may(need, model)
        assert budgets.spent == []
    except OverBudget:
        assert poor
    else:
        assert not poor
        assert need is None or principal.may(need, model)
        assert (grant.principal, grant.allowance) == (principal, LEFT)
        assert len(budgets.spent) == 1


def test_a_refusal_does_not_tell_what_there_is() -> None:
    scoped = Principal("key:k", frozenset({Scope.METRICS}))
    listed = Principal("key:k", frozenset({Scope.INFER}), frozenset({"a"}))
    for principal in (scoped, listed):
        told = set()
        for model in ("there", "gone"):
            with pytest.raises(Forbidden) as refused:
                asking().enter(principal, Scope.INFER, model)
            told.add(str(refused.value).replace(model, "…"))
        assert len(told) == 1


def test_rows_are_spent_by_whom_was_let_in_for_what() -> None:
    budgets = Told(LEFT, replace(LEFT, remaining=3))
    gate = open_to_all(budgets)
    grant = granted(gate.enter(gate.identify([], PEER), Scope.INFER, "m"))
    assert gate.charge(grant, 7) is None
    assert budgets.spent == [(f"address:{PEER} m", "requests", 1), (f"address:{PEER} m", "rows", 7)]
    assert grant.allowance == replace(LEFT, remaining=3)


def test_an_inference_pays_its_first_row_when_it_enters() -> None:
    budgets = Told(LEFT)
    gate = open_to_all(budgets)
    grant = granted(gate.enter(gate.identify([], PEER), Scope.INFER, "m", infers=True))
    assert gate.charge(grant, 1) is None
    assert budgets.spent == [(f"address:{PEER} m", "both", 1)]
    assert gate.charge(grant, 1) is None  # a second one is another's
    assert budgets.spent[1:] == [(f"address:{PEER} m", "rows", 1)]


def test_of_several_rows_all_or_none_are_spent() -> None:
    budgets = Told(LEFT)
    gate = open_to_all(budgets)
    grant = granted(gate.enter(gate.identify([], PEER), Scope.INFER, "m", infers=True))
    assert gate.charge(grant, 7) is None
    assert [(unit, cost) for _, unit, cost in budgets.spent] == [("both", 1), ("rows", -1), ("rows", 7)]


def test_who_is_known_to_be_let_in_enters_as_anybody_and_by_what_his_model_says_now() -> None:
    key, header = made(Scope.INFER)
    models: dict[str, ModelLimits] = {}
    budgets = Told(LEFT, models=models)
    gate = asking(key, budgets=budgets)
    known = gate.known([header], PEER)
    assert isinstance(known, Known)
    again, first = granted(gate.enter_again(known, "m")), granted(gate.enter(known.principal, Scope.INFER, "m", infers=True))
    assert (again.principal, again.allowance, again.paid) == (first.principal, first.allowance, first.paid)
    assert budgets.spent[0] == budgets.spent[1]
    purse = known.purse
    gate.enter_again(known, "m")
    assert known.purse is purse
    models["m"] = ModelLimits(requests_per_s=1.0)
    gate.enter_again(known, "m")
    assert known.purse is not purse


def test_rows_over_the_budget_are_refused() -> None:
    gate = open_to_all(Told(LEFT, SPENT))
    grant = granted(gate.enter(gate.identify([], PEER), Scope.INFER, "m"))
    with pytest.raises(OverBudget):
        gate.charge(grant, 7)


# -- a budget on another machine ---------------------------------------------------------------------------------------------


async def test_who_waits_for_a_budget_is_let_in_once_it_is_there() -> None:
    budgets = Told(immediate=False)
    gate = open_to_all(budgets)
    entered = gate.enter(gate.identify([], PEER), Scope.INFER, "m")
    assert isinstance(entered, asyncio.Future)
    budgets.waiting[0].set_result(LEFT)
    grant = await entered
    assert grant.allowance == LEFT
    charged = gate.charge(grant, 3)
    assert charged is not None
    budgets.waiting[1].set_result(None)
    await charged
    assert grant.allowance == LEFT


@pytest.mark.parametrize("error", [SPENT, RuntimeError("a defect"), asyncio.CancelledError()])
async def test_what_goes_wrong_there_reaches_who_waits(error: BaseException) -> None:
    budgets = Told(immediate=False)
    gate = open_to_all(budgets)
    entered = gate.enter(gate.identify([], PEER), Scope.INFER, "m")
    charged = gate.charge(Grant(gate.identify([], PEER), budgets.purse(gate.identify([], PEER), "m")), 3)
    for waiting in budgets.waiting:
        if isinstance(error, asyncio.CancelledError):
            waiting.cancel()
        else:
            waiting.set_exception(error)
    assert isinstance(entered, asyncio.Future)
    assert charged is not None
    for each in (entered, charged):
        with pytest.raises(type(error)):
            await each


@pytest.mark.parametrize("ends", ["result", "exception", "cancel"])
async def test_who_leaves_while_he_waits_disturbs_nobody(ends: str) -> None:
    budgets = Told(immediate=False)
    gate = open_to_all(budgets)
    entered = gate.enter(gate.identify([], PEER), Scope.INFER, "m")
    assert isinstance(entered, asyncio.Future)
    entered.cancel()
    waiting = budgets.waiting[0]
    assert not waiting.done()  # what is on its way to another machine is not broken off
    if ends == "result":
        waiting.set_result(LEFT)
    elif ends == "exception":
        waiting.set_exception(SPENT)
    else:
        waiting.cancel()
    await asyncio.sleep(0)
    assert entered.cancelled()


# -- staying -----------------------------------------------------------------------------------------------------------------


def test_who_stays_may_do_so_as_long_as_his_key_says_the_same() -> None:
    key, header = made(Scope.INFER)
    ring = Keyring([key])
    gate = Gate(Auth(api_keys=True), Limits(), ring, None, Told())
    stay = Stay(gate, gate.identify([header], PEER), [header], PEER, Scope.INFER, "m")
    assert stay.holds()
    ring.replace([key, made(Scope.INFER)[0]])
    assert stay.holds()
    less = Key(key.id, key.name, key.digest, key.scopes, frozenset({"other"}))
    ring.replace([less])
    assert not stay.holds()
    ring.replace([key])
    assert stay.holds()
    ring.replace([])
    assert not stay.holds()


# -- what routes ask for -----------------------------------------------------------------------------------------------------


def test_a_route_that_says_nothing_asks_for_the_scope_infer() -> None:
    assert access_of("shop.total", lambda: None) == INFER
    assert access_of("shop.gone", None) == INFER


def test_a_view_says_what_it_needs() -> None:
    @needs("infer", model="name")
    def ask(name: str) -> str:
        return name

    assert access_of("shop.ask", ask) == MODEL
    assert access_of("shop.hours", needs("open")(lambda: None)) == OPEN
    assert ask("cart") == "cart"


def test_no_word_of_a_users_changes_a_route_of_ours() -> None:
    view = needs("open")(lambda: None)
    assert all(access_of(endpoint, view) == asked for endpoint, asked in TABLE.items())


@pytest.mark.parametrize("need", get_args(Need))
def test_each_word_is_understood(need: str) -> None:
    assert access(need) == Access(None if need == "open" else Scope(need))


@pytest.mark.parametrize(("need", "model"), [("", None), ("all", None), ("Infer", None), ("open", "name")])
def test_no_other_word_is(need: str, model: str | None) -> None:
    with pytest.raises(ConfigError, match="expected open"):
        access(need, model)
