"""Who goes before whom: three lanes, and ageing, so that nobody waits for ever.

An entry's effective priority rises with the time that it has waited, by one lane in each *ageing*, in all lanes alike:

    effective(now) = priority - (now - enqueued) / ageing        the least goes first

Since all rise alike, who is ahead of whom never changes while they wait, and can be said when they come: it is the one whose
*place*, ``enqueued + priority * ageing``, is earlier. A queue in the order of places stays in order; nothing is sorted again.
Source: J. R. Jackson, "Some problems in queueing with dynamic priorities", Naval Research Logistics Quarterly 7 (1960), 235-249.

So a lane is a head start of one ageing over the next, however long the queue is, and inside a lane the places are those of the
arrivals. Nobody who comes more than two ageings later goes before anybody: an entry of low priority waits two ageings and the time
in which a full queue drains, at most. (Were a lane gained in whole steps, all would be in the highest one as soon as everybody
waits for longer than the steps take, and priorities would end just when they are needed.)
"""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """An entry's lane; the lesser goes first."""

    HIGH = -1
    NORMAL = 0
    LOW = 1


#: The usual one, looked up once for all who say nothing else.
NORMAL = Priority.NORMAL


def place_of(priority: Priority, now: float, ageing_s: float) -> float:
    """The place of an entry that comes now: when it would have come, were it of normal priority. A time of the same clock."""
    return now + priority * ageing_s
