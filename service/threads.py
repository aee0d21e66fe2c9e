"""The threads beside a worker's event loop, by what they do."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

#: More threads than this many calls in flight are never needed; they are started one by one, as calls need them.
CALLS: Final = 256
#: How many bodies are decoded at once, on so many cores. Each may take as much memory as the limits let it, and more would be no
#: faster; one alone would make a small body wait for all of a large one. Of those one at a time is inflated: bombs take that
#: memory once.
DECODERS: Final = max(2, min(4, os.cpu_count() or 1))
#: How much less than the loop the threads weigh that inflate (as nice counts): on a core that they share, who waits for an answer
#: goes before who sends what has yet to be unpacked.
LATER: Final = 15


class Threads:
    """``calls`` runs the models' calls, and whatever else must not block the loop. ``decoding`` makes much of large bodies, and has
    ``inflating`` unpack them, which lets go of the interpreter and gives way to everything. ``decoding_large`` decodes the images
    of which no two may be decoded at once. ``control`` loads and unloads, one after the other."""

    def __init__(self) -> None:
        self.calls = ThreadPoolExecutor(CALLS, thread_name_prefix="tureen-call")
        self.decoding = ThreadPoolExecutor(DECODERS, thread_name_prefix="tureen-decode")
        self.decoding_large = ThreadPoolExecutor(1, thread_name_prefix="tureen-decode-large")
        self.inflating = ThreadPoolExecutor(1, thread_name_prefix="tureen-inflate", initializer=_give_way)
        self.control = ThreadPoolExecutor(1, thread_name_prefix="tureen-control")

    def close(self) -> None:
        """Begins nothing more, and waits for nothing."""
        for pool in (self.control, self.decoding, self.decoding_large, self.inflating, self.calls):
            pool.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    """Lets all other threads go before this one, where the system knows threads apart."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + LATER)  # as far as 19, the last
