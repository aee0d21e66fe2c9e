"""The script by which Redis spends all that a request falls under, by its own clock: its keys, its arguments and what it says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from service.guard.budgets.budget import Bound, State

_LEGIBLE: Final = re.compile(r"[A-Za-z0-9:._@/+*-]{1,200}")

#: KEYS: one a budget. ARGV: the cost; then for each budget the microseconds that a unit takes to come back, 0 for a quota of the
#: day, and its limit. Gives whether there was enough of all, the second that it is, and how each stood before.
SCRIPT: Final = """
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000000 + tonumber(time[2])
local cost = tonumber(ARGV[1])
local values, enough = {}, 1
for place, key in ipairs(KEYS) do
  local every, limit = tonumber(ARGV[2 * place]), tonumber(ARGV[2 * place + 1])
  local value = tonumber(redis.call('GET', key) or '0') or 0
  if every > 0 then
    value = math.max(0, math.min(value - now, limit * every))
    if value + cost * every > limit * every + every * 0.000001 + 0.5 then enough = 0 end
  elseif cost >= 0 and value + cost > limit then
    enough = 0
  end
  values[place] = value
end
if enough == 1 and cost ~= 0 then
  for place, key in ipairs(KEYS) do
    local every = tonumber(ARGV[2 * place])
    if every > 0 then
      local value = math.max(0, values[place] + cost * every)
      redis.call('SET', key, string.format('%.3f', now + value), 'PX', math.ceil(value / 1000) + 1)
    else
      redis.call('INCRBY', key, string.format('%d', math.max(cost, -values[place])))
      redis.call('EXPIREAT', key, (math.floor(second / 86400) + 1) * 86400)
    end
  end
end
local said = {enough, second}
for place, value in ipairs(values) do said[place + 2] = string.format('%.3f', value) end
return said
"""
SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


def arguments(bounds: Sequence[Bound], cost: float) -> list[str | float]:
    """What goes with the script: how many keys, the keys, and what it calls ARGV."""
    values: list[str | float] = [value for bound in bounds for value in (repr(bound.every_s * 1e6), bound.limit)]
    return [len(bounds), *map(key_of, bounds), cost, *values]


def said(bounds: Sequence[Bound], answer: Sequence[Any]) -> tuple[bool, float, list[State]]:
    """What the script has said: whether there was enough of all, the second that it is, and how each budget stood before."""
    enough, second, *values = answer
    states = [
        State(bound, float(value) / 1e6 if bound.every_s else float(value)) for bound, value in zip(bounds, values, strict=True)
    ]
    return bool(enough), float(second), states


def key_of(bound: Bound) -> str:
    """The key in Redis: what belongs to one caller has one hash tag, so that a cluster keeps it on one machine."""
    what, of, who = [*bound.name.split(" ", 2), "*", "*"][:3]
    return f"tureen:{{{_legible(who)}}}:{_legible(what)}:{_legible(of)}"


def _legible(text: str) -> str:
    """The text where it is short and plain, else its hash: callers choose what stands in a token."""
    if _LEGIBLE.fullmatch(text):
        return text
    return "#" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
