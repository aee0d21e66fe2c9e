"""The gate that every request passes, whichever way it takes: who comes, whether he may, whether he has budget left for it.

    identify 401 -> enter 403, 429 -> everything else, 404 too -> charge 429, once a request's rows are known

So strangers learn of nothing what there is. An inference pays for its first row when it enters, for that is all that most have. The
gate is called on the event loop. It knows no server and no framework, and waits for nobody: where budgets are kept on another
machine, it answers with a future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from math import inf
from time import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from service.errors import Forbidden, Unauthorized
from service.guard.address import Trusted, caller
from service.guard.budgets.budget import Allowance, tighter
from service.guard.budgets.budgets import Budgets
from service.guard.budgets.rules import ADDRESS, NOTHING, Purse
from service.guard.credentials.credential import credential
from service.guard.credentials.keyring import KEY, Keyring
from service.guard.principal import Principal, Scope
from service.sections import Auth, Limits

if TYPE_CHECKING:
    from service.guard.credentials.tokens import Tokens

Headers = Sequence[tuple[bytes, bytes]]

#: Addresses whose principals are kept ready.
_ADDRESSES: Final = 4096
_EVERYTHING: Final = frozenset(Scope)


class Grant(Struct):
    """A caller who has been let in. ``allowance``: what is left of the budget that binds most; None where none does.
    ``paid``: whether a row has been spent that none has been charged for yet."""

    principal: Principal
    purse: Purse = NOTHING
    allowance: Allowance | None = None
    paid: bool = False


class Known:
    """A principal, as of one generation of the keys: ask the gate whether that ``holds`` before relying on it again. ``purse``:
    the principal's for the one model that it asks, once looked up."""

    __slots__ = ("generation", "principal", "purse")

    def __init__(self, principal: Principal, generation: int) -> None:
        self.principal = principal
        self.generation = generation
        self.purse: Purse | None = None


class Gate:
    """``asks``: whether callers have to say who they are. ``immediate``: whether it never answers with a future."""

    def __init__(self, auth: Auth, limits: Limits, keyring: Keyring, tokens: Tokens | None, budgets: Budgets) -> None:
        self.asks = auth.enabled
        self.immediate = budgets.immediate
        self._keyring = keyring
        self._tokens = tokens
        self._budgets = budgets
        self._models = budgets.models
        self._trusted = Trusted(limits.trusted_proxies)
        self._of_address = lru_cache(_ADDRESSES)(self._made)
        self._of_peer = lru_cache(_ADDRESSES)(self._unforwarded)

    @property
    def generation(self) -> int:
        """Rises whenever a principal that was found before may hold no longer."""
        return self._keyring.generation + (0 if self._tokens is None else self._tokens.generation)

    @property
    def forwarded(self) -> bool:
        """Whether a head may say whose it is, by the word of a proxy."""
        return not self.asks and self._trusted.known

    def identify(self, headers: Headers, peer: str) -> Principal:
        """Who sends such headers, in lower case and each as often as it came, from that address. Raises Unauthorized."""
        if not self.asks:
            return self.stranger(headers, peer)
        presented = credential(headers)
        if presented is None:
            raise Unauthorized
        # No key of ours has a dot, and every token has two.
        if self._tokens is not None and b"." in presented:
            return self._tokens.read(presented, time())
        return self._keyring.find(presented, time())

    def known(self, headers: Headers, peer: str) -> Known | Unauthorized:
        """The same for whoever keeps it: a refusal is given, not raised."""
        generation = self.generation
        try:
            return Known(self.identify(headers, peer), generation)
        except Unauthorized as error:
            return error.with_traceback(None)

    def holds(self, known: Known) -> bool:
        """Whether the principal is still one: no key has changed since, and its time is not over."""
        generation = self._keyring.generation if self._tokens is None else self.generation
        expires = known.principal.expires
        return known.generation == generation and (expires == inf or time() < expires)

    def stranger(self, headers: Headers, peer: str) -> Principal:
        """Who comes to what is open to all: an address, and where nobody is asked it may do everything."""
        return self._of_address(caller(headers, peer, self._trusted)) if headers and self._trusted.known else self._of_peer(peer)

    def enter(
        self, principal: Principal, need: Scope | None, model: str | None = None, *, infers: bool = False
    ) -> Grant | asyncio.Future[Grant]:
        """Lets a caller in, for what needs that scope (None: it costs a request, and needs none) and asks that model; for an
        inference a row is paid, too. Raises Forbidden and OverBudget; a future raises OverBudget.
        """
        if need is not None and not principal.may(need, model):
            raise _forbidden(principal, need, model)
        # What a model says of its callers is of those who ask it, not of those who load it.
        purse = self._budgets.purse(principal, None if need is Scope.ADMIN else model)
        return _pay(principal, purse, infers=infers)

    def enter_again(self, known: Known, model: str) -> Grant | asyncio.Future[Grant]:
        """Lets in a principal that holds and has the scope, for another inference of the same model. Raises as ``enter``."""
        purse = known.purse
        if purse is None or purse.limits is not self._models.get(model):
            purse = known.purse = self._budgets.purse(known.principal, model)
        return _pay(known.principal, purse, infers=True)

    def again(self, principal: Principal, need: Scope, model: str) -> Grant:
        """Lets in work that an earlier request of this caller asked for, by what the caller may now; it spends nothing but the rows
        that it is charged for. Raises Unauthorized where the credential holds no longer, Forbidden."""
        if self.asks:
            principal = self._now(principal)
        if not principal.may(need, model):
            raise _forbidden(principal, need, model)
        return Grant(principal, self._budgets.purse(principal, model))

    def charge(self, grant: Grant, rows: int) -> asyncio.Future[None] | None:
        """Spends the rows of a request that are not paid. None: done. Raises OverBudget, and so does a future."""
        purse = grant.purse
        if purse is NOTHING:
            return None
        if grant.paid:
            grant.paid = False
            if rows <= 1:
                return None
            purse.rows(-1)  # all or none: who lacks the rest has paid nothing, and is told of all
        spent = purse.rows(rows)
        if isinstance(spent, asyncio.Future):
            return _charging(spent, grant)
        if spent is not None:
            held = grant.allowance
            if held is None or spent.remaining < held.remaining:
                grant.allowance = spent
        return None

    def _now(self, principal: Principal) -> Principal:
        now = time()
        if principal.name.startswith(KEY):
            return self._keyring.holder(principal.name, now)
        if principal.name.startswith(ADDRESS) or self._tokens is None:
            raise Unauthorized("the work was asked for under an authentication setting that no longer applies")
        if now >= principal.expires:
            raise Unauthorized("the token has expired")
        return principal

    def _unforwarded(self, peer: str) -> Principal:
        return self._of_address(caller((), peer, self._trusted))

    def _made(self, address: str) -> Principal:
        return Principal(f"{ADDRESS}{address}", frozenset() if self.asks else _EVERYTHING)


def _pay(principal: Principal, purse: Purse, *, infers: bool) -> Grant | asyncio.Future[Grant]:
    if purse is NOTHING:
        return Grant(principal)
    spent = purse.both(1) if infers else purse.requests(1)
    if isinstance(spent, asyncio.Future):
        return _entering(spent, Grant(principal, purse, None, infers))
    return Grant(principal, purse, spent, infers)


def _entering(spent: asyncio.Future[Allowance | None], grant: Grant) -> asyncio.Future[Grant]:
    entered: asyncio.Future[Grant] = spent.get_loop().create_future()

    def enter(spent: asyncio.Future[Allowance | None]) -> None:
        if _settles(spent, entered):
            grant.allowance = spent.result()
            entered.set_result(grant)

    spent.add_done_callback(enter)
    return entered


def _charging(spent: asyncio.Future[Allowance | None], grant: Grant) -> asyncio.Future[None]:
    charged: asyncio.Future[None] = spent.get_loop().create_future()

    def charge(spent: asyncio.Future[Allowance | None]) -> None:
        if _settles(spent, charged):
            grant.allowance = tighter(grant.allowance, spent.result())
            charged.set_result(None)

    spent.add_done_callback(charge)
    return charged


def _settles(spent: asyncio.Future[Allowance | None], waiting: asyncio.Future[Grant] | asyncio.Future[None]) -> bool:
    """Whether what was asked for came, and somebody waits for it still; what went wrong instead is passed on."""
    error = asyncio.CancelledError() if spent.cancelled() else spent.exception()
    if waiting.done():
        return False
    if error is None:
        return True
    if isinstance(error, asyncio.CancelledError):
        waiting.cancel()
    else:
        waiting.set_exception(error)
    return False


def _forbidden(principal: Principal, need: Scope, model: str | None) -> Forbidden:
    if not principal.may(need):
        return Forbidden(f"the credential is not of the scope {need.value}; ask with one that is")
    # In the same words whether or not there is such a model.
    return Forbidden(f"the credential is not for the model {model!r}; ask with one that is")
