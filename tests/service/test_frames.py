from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.guard.input.frames import Frames

MOST = 1000


def frame(size: int, kind: int = 2, *, final: bool = True, masked: bool = True) -> bytes:
    first, mask = kind | (0x80 if final else 0), 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    else:
        wide = 2 if size < 2**16 else 8
        length = bytes([mask | (126 if wide == 2 else 127)]) + size.to_bytes(wide, "big")
    return bytes([first]) + length + (bytes(4) if masked else b"") + bytes(min(size, 100_000))


def passed(*parts: bytes) -> int:
    frames, total = Frames(MOST), 0
    for part in parts:
        may = frames.judge(part)
        total += may
        if may < len(part):
            break
    return total


def test_a_message_may_have_its_limit_of_bytes_and_not_one_more() -> None:
    data = frame(MOST)
    assert passed(data) == len(data)
    assert passed(frame(MOST + 1)) == 0


@pytest.mark.parametrize("size", [2**16, 2**31, 2**62])
def test_a_frame_that_announces_more_is_refused_with_its_header(size: int) -> None:
    good = frame(10)
    assert passed(good + frame(size)[:14]) == len(good)


def test_a_fragmented_message_counts_whole() -> None:
    parts = [frame(600, final=False), frame(400, 0, final=False)]
    assert passed(*parts, frame(0, 0), frame(MOST)) == sum(map(len, [*parts, frame(0, 0), frame(MOST)]))
    assert passed(*parts, frame(1, 0)) == sum(map(len, parts))


def test_control_frames_amid_a_message_do_not_count() -> None:
    parts = [frame(600, final=False), frame(125, 9), frame(400, 0)]
    assert passed(*parts) == sum(map(len, parts))


@given(st.lists(st.tuples(st.integers(0, 1200), st.sampled_from([0, 1, 2, 8, 9]), st.booleans()), max_size=6), st.integers(1, 40))
def test_how_bytes_fall_into_reads_changes_little_of_what_passes(frames: list[tuple[int, int, bool]], size: int) -> None:
    data = b"".join(frame(length, kind, final=final) for length, kind, final in frames)
    whole = passed(data)
    cut = passed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert whole <= cut <= whole + 14  # of a refused frame no more than its header
