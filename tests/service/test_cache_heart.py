"""Requests that are known by heart: as long as their answer's value is kept, and within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.manifest import Cache as Wanted
from service.cache.answers import Answers
from service.cache.flight import Given
from service.cache.heart import LONGEST, Asked, Known
from service.cache.key import Keys
from service.cache.memory import MemoryCache
from service.cache.shelf import MemoryShelf, open_shelf
from service.protocol.infer import Encoded, Infer
from service.sections import Cache

INFER = Infer({"x": np.ones((1, 1))}, 1, ())
ENCODED = Encoded(b'{"y": 2}')
ASKED = Asked("protocol", b'{"x": 1}', None)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Kitchen:
    """A version that has answered one request from a value that is kept."""

    def __init__(self, model: str = "m", most_bytes: int = 1 << 20) -> None:
        self.clock = Clock()
        self.cache, self.heart = MemoryCache(1 << 20, self.clock), MemoryCache(most_bytes, self.clock)
        self.shelf = MemoryShelf(self.cache, self.heart)
        self.answers = Answers(Keys(model, "1", ""), Wanted(ttl_s=60.0), self.shelf, "model 'm' version 1")

    def keep(self, key: bytes = b"key", value: bytes = b"value") -> Given:
        self.shelf.put(key, value, 60.0, self.answers)
        return Given({}, 0.0, 0.0, 0, "early", how="hit", key=key, value=value)

    def learn(self, asked: Asked = ASKED, encoded: Encoded = ENCODED) -> None:
        self.answers.learn(asked, INFER, self.keep(), encoded)


async def test_the_same_words_are_known_and_no_others() -> None:
    kitchen = Kitchen()
    kitchen.learn()
    known = kitchen.answers.recall(ASKED)
    assert known is not None
    assert (known.infer, known.encoded) == (INFER, ENCODED)
    others = [Asked("other", ASKED.body, None), Asked("protocol", b'{"x":1}', None), Asked("protocol", ASKED.body, b"8")]
    assert [kitchen.answers.recall(other) for other in others] == [None] * 3


async def test_what_is_known_is_given_as_a_hit() -> None:
    kitchen = Kitchen()
    kitchen.learn()
    answer = await kitchen.answers.again(Known(INFER, b"key", b"value", ENCODED))
    assert isinstance(answer, Given)
    assert (answer.how, answer.encoded, answer.batch_rows) == ("hit", ENCODED, 0)
    assert kitchen.answers.counts()["hit"] == 1


@pytest.mark.parametrize("ends", ["over", "dropped", "discarded", "replaced", "reconfigured"])
async def test_nothing_is_known_longer_than_its_value_is_kept(ends: str) -> None:
    kitchen = Kitchen()
    kitchen.learn()
    match ends:
        case "over":
            kitchen.clock.now = 60.0
        case "dropped":
            await kitchen.answers.drop()
            assert kitchen.shelf.standing.nbytes == 0
        case "discarded":
            kitchen.shelf.discard(b"key")
        case "replaced":
            kitchen.shelf.put(b"key", b"another", 60.0, kitchen.answers)
        case "reconfigured":
            kitchen.answers.reconfigure(Keys("m", "1", "30"), Wanted(ttl_s=30.0))
    assert kitchen.answers.recall(ASKED) is None


async def test_what_one_version_knows_another_does_not() -> None:
    kitchen = Kitchen()
    kitchen.learn()
    other = Answers(Keys("m", "2", ""), Wanted(ttl_s=60.0), kitchen.shelf, "model 'm' version 2")
    assert other.recall(ASKED) is None


async def test_a_long_answer_is_written_each_time() -> None:
    kitchen = Kitchen()
    kitchen.learn(encoded=Encoded(bytes(LONGEST + 1)))
    assert kitchen.answers.recall(ASKED) is None


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 3000), max_size=60))
async def test_what_is_known_stays_within_its_memory(lengths: list[int]) -> None:
    kitchen = Kitchen(most_bytes=32_000)
    for number, length in enumerate(lengths):
        kitchen.learn(Asked("protocol", b"%d" % number + bytes(length), None))
        assert kitchen.heart.nbytes <= 32_000


def test_the_memory_for_answers_is_shared_with_what_is_known_by_heart() -> None:
    shelf = open_shelf(Cache(max_bytes=1 << 20), None)
    assert isinstance(shelf, MemoryShelf)
    assert shelf.cache.most_bytes == 3 << 18
