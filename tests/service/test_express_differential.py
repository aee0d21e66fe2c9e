"""uvicorn's own HTTP protocol is the oracle: whatever bytes come, in whatever pieces, ours gives the same answers in order.

Both are driven with the same conversation in front of the same app, turn by turn of the loop (``express_oracle``). Where they are
to differ is in ``REFUSED`` (``express_asks``) and ``DIFFERENCES``, with the reason; anything else is a defect of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.service.express_asks import CHUNKED, INFER, LIKE, PLAIN, REFUSED, Ask, ask, chunks
from tests.service.express_oracle import (
    BODY_BYTES,
    BREAK,
    CLOSE,
    COMPANY,
    COOK,
    EOF,
    IDLE_S,
    LEAVE,
    PART,
    READ_ON,
    SETTLE,
    SHUTDOWN,
    STOP,
    Answer,
    House,
    Limited,
    Outcome,
    Send,
    Setting,
    Step,
    Turn,
    Wait,
    house,
)
from tests.service.turning import Clockwork

EXAMPLES: Final = int(os.environ.get("TUREEN_DIFFERENTIAL_EXAMPLES", "120"))

#: Where an answer that both give differs, or the connection's end does; each has a test below.
DIFFERENCES: Final = {
    "idle": "uvicorn waits for ever for a connection's first request, and for its next once any byte has come; ours does not",
    "silence": "uvicorn closes at once what it refuses; ours ends its own side, drops what comes, and closes a little later",
    "refusal": "uvicorn's refusal takes the place of answers that are in work, or stands in the midst of one; ours follows them",
    "parting": "uvicorn's answers have the server's own headers of when they were asked for; ours of when they go out",
    "behind": "uvicorn reads on behind a pipelined request once the app listens: it drops what is in work at a half-closing peer's "
    "end, and has read more when it stops; ours reads on once the answer before is out",
    "one write": "uvicorn writes head and body of an answer apart, so a peer that reads slowly may be left with the head alone",
}


def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in one to four pieces, or one by one."""
    if len(data) < 300 and draw(st.integers(0, 19)) == 0:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=3)) if draw(st.booleans()) else []
    bounds = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in pairwise(bounds) if start < end]


PAUSES: Final = st.sampled_from((None, None, None, Turn(1), Turn(2), Turn(5), SETTLE, COOK, Wait(0.03), Wait(0.3)))
LEFT: Final = {EOF, LEAVE, BREAK}
MOMENTS: Final = st.sampled_from((STOP, READ_ON, SHUTDOWN, PART, EOF, LEAVE, BREAK))


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation. ``exact``: both have come to rest before anything whose effect depends on how far they are, so they give not
    only the same answers but as many. ``last``: the request that is refused, as the last."""

    steps: list[Step]
    asked: list[Ask] = field(repr=False)
    exact: bool
    setting: Setting

    @property
    def bad(self) -> Ask | None:
        """The request that ours refuses."""
        return self.asked[-1] if self.asked and self.asked[-1].refused else None


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Requests in pieces, with pauses and events between them."""
    exact = draw(st.booleans())
    plain = draw(st.booleans())
    asked = draw(st.lists(st.sampled_from(PLAIN if plain else LIKE), max_size=6))
    if draw(st.integers(0, 4)) == 0:
        asked = [*asked, draw(st.sampled_from(list(REFUSED.values())))]
    known = tuple(one.data for one in PLAIN) if draw(st.booleans()) else ()
    setting = Setting(draw(st.sampled_from((0, 0, COMPANY))), known)
    steps: list[Step] = []
    reads = True
    held = b""  # goes out with what follows
    for one in asked:
        if one.refused and held:
            steps.append(Send(held))
            held = b""
        if one.refused and exact:
            steps.append(COOK)
            exact = reads
        for piece in pieces(draw, one.data):
            held += piece
            if one.refused is None and draw(st.integers(0, 3)) == 0:
                continue
            steps.append(Send(held))
            held = b""
            pause = draw(PAUSES)
            if pause is not None:
                steps.append(pause)
            if draw(st.integers(0, 9)) == 0:
                event = draw(MOMENTS if not (exact and asked[-1].refused) else st.sampled_from((STOP, READ_ON)))
                if exact:
                    steps.append(COOK if event == SHUTDOWN else SETTLE)
                    exact = event != PART and (reads or event in (STOP, READ_ON))
                reads = event != STOP and (reads or event == READ_ON)
                steps.append(event)
    if held:
        cut = draw(st.integers(1, len(held)))
        steps.append(Send(held[:cut]))
        if exact:
            steps.append(COOK)
            exact = reads
        steps.append(draw(st.sampled_from((EOF, LEAVE, SHUTDOWN))))
    ended = next((at for at, step in enumerate(steps) if step in (EOF, LEAVE, BREAK)), len(steps))
    after = [step for step in steps[ended + 1 :] if not isinstance(step, Send)]
    return Script([*steps[: ended + 1], *after], asked, exact, setting)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=Clockwork) as running:
        yield running


@pytest.fixture(scope="module")
def served(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    loop = runner.get_loop()
    assert isinstance(loop, Clockwork)
    opened = house(tmp_path_factory.mktemp("repository"), loop)
    yield runner.run(opened.__aenter__())
    runner.run(opened.__aexit__(None, None, None))


def both(runner: asyncio.Runner, served: House, script: Script) -> tuple[Outcome, Outcome]:
    """What uvicorn makes of it, and ours."""
    methods = [one.method for one in script.asked]
    oracle, ours = (runner.run(served.converse(script.steps, methods, ours=mine, setting=script.setting)) for mine in (False, True))
    return oracle, ours


def compare(script: Script, oracle: Outcome, ours: Outcome) -> None:
    """Raises AssertionError where they differ and should not."""
    assert ours.faults == []
    theirs, mine = oracle.answers, ours.answers
    bad = script.bad
    if bad is not None:
        good = len(script.asked) - 1
        theirs, refusing = without_refusal(oracle, 400)
        theirs = list(takewhile(lambda answer: b"HTTP/1.1 400" not in answer.body, theirs))  # see "refusal"
        if refusing or final(theirs) > good or not script.exact:
            mine, refused_too = without_refusal(ours, bad.refused)
            theirs = theirs[: len(mine)]
            assert not script.exact or (refused_too and final(mine) == good)
    if EOF in script.steps:  # see "behind": the one has begun more by then, the other has kept what it had begun
        mine, theirs = mine[: len(theirs)], theirs[: max(1, len(mine))]
    if script.exact:
        assert mine == theirs
        if bad is None:
            assert (ours.closed, ours.rest) == (oracle.closed, oracle.rest)
            if not LEFT & set(script.steps):
                assert ours.counted == oracle.counted
    else:
        assert all(one.unparted == other.unparted for one, other in zip(mine, theirs, strict=False))


def without_refusal(outcome: Outcome, status: int | None) -> tuple[list[Answer], bool]:
    """The answers without the last, where that refuses to read on; whether it does."""
    answers = outcome.answers
    if not answers or answers[-1].status != status or CLOSE not in answers[-1].headers or not outcome.closed:
        return answers, False
    return answers[:-1], True


def final(answers: list[Answer]) -> int:
    """How many of them answer a request."""
    return sum(answer.status >= 200 for answer in answers)


def told(outcome: Outcome) -> str:
    """An outcome in few words."""
    answers = [(answer.status, answer.body[:90], CLOSE in answer.headers) for answer in outcome.answers]
    return f"{answers} rest {outcome.rest!r}, closed {outcome.closed}, {outcome.counted} counted, faults {outcome.faults}"


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(script=scripts())
def test_any_conversation_is_answered_as_uvicorn_answers_it(runner: asyncio.Runner, served: House, script: Script) -> None:
    oracle, ours = both(runner, served, script)
    note("\n".join(["steps:", *map(repr, script.steps), f"exact: {script.exact}, {script.setting.company} others"]))
    note(f"uvicorn: {told(oracle)}")
    note(f"ours: {told(ours)}")
    compare(script, oracle, ours)


def converse(runner: asyncio.Runner, served: House, *steps: Step | Ask, **setting: Any) -> tuple[Outcome, Outcome]:
    """The outcomes of an exact conversation, uvicorn's and ours."""
    asked = [step for step in steps if isinstance(step, Ask)]
    told = [Send(step.data) if isinstance(step, Ask) else step for step in steps]
    return both(runner, served, Script(told, asked, True, Setting(**setting)))


def statuses(outcome: Outcome) -> list[int]:
    """Of its answers."""
    return [answer.status for answer in outcome.answers]


GET, POST = ask("GET /v2"), PLAIN[0]
HALF, REST = Send(POST.data[:100]), Send(POST.data[100:])
KNOWN = (POST.data,)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_alone_and_in_our_words(runner: asyncio.Runner, served: House, name: str) -> None:
    bad = REFUSED[name]
    oracle, ours = converse(runner, served, POST, COOK, bad, COOK, POST)
    assert ours.faults == []
    assert (statuses(ours), ours.closed) == ([200, bad.refused], True)
    assert json.loads(ours.answers[1].body)["code"]
    assert ours.answers != oracle.answers


def test_ours_alone_ends_a_connection_that_never_asks(runner: asyncio.Runner, served: House) -> None:
    oracle, ours = converse(runner, served, Wait(IDLE_S + 1.0))
    assert (oracle.closed, ours.closed) == (False, True)
    oracle, ours = converse(runner, served, POST, COOK, Send(b"\r\n"), Wait(IDLE_S + 1.0))
    assert (oracle.closed, ours.closed) == (False, True)


def test_both_end_a_connection_that_asks_no_more(runner: asyncio.Runner, served: House) -> None:
    for wait, closed in ((IDLE_S - 10.0, False), (IDLE_S + 1.0, True)):
        for before in (GET, POST):
            oracle, ours = converse(runner, served, before, COOK, Wait(wait), known=KNOWN)
            assert oracle.closed == ours.closed == closed


def test_ours_alone_reads_nothing_behind_a_refusal_and_lets_its_client_read_it(runner: asyncio.Runner, served: House) -> None:
    oracle, ours = converse(runner, served, REFUSED["no HTTP"], SETTLE, POST, COOK)
    assert (statuses(oracle), oracle.finished) == ([400], False)
    assert (statuses(ours), ours.finished, ours.counted) == ([400], True, 0)


def test_ours_alone_answers_what_came_before_what_it_refuses(runner: asyncio.Runner, served: House) -> None:
    oracle, ours = converse(runner, served, POST, POST, REFUSED["no HTTP"], COOK)
    assert (statuses(oracle), statuses(ours), ours.closed) == ([400], [200, 200, 400], True)


def test_ours_alone_ends_with_the_answer_that_is_in_work_when_the_server_parts(runner: asyncio.Runner, served: House) -> None:
    oracle, ours = converse(runner, served, POST, SETTLE, PART, COOK)
    assert (oracle.closed, ours.closed) == (False, True)
    oracle, ours = converse(runner, served, PART, POST, COOK)
    assert ours.closed
    assert ours == oracle


def test_ours_alone_answers_a_peer_that_has_ended_behind_a_pipelined_request(runner: asyncio.Runner, served: House) -> None:
    oracle, ours = converse(runner, served, POST, POST, Wait(0.3), SETTLE, EOF, SETTLE, COOK)
    assert (statuses(oracle), statuses(ours)) == ([], [200])
    oracle, ours = converse(runner, served, POST, Wait(0.3), SETTLE, EOF, SETTLE, COOK)
    assert statuses(oracle) == statuses(ours) == []


def test_ours_alone_leaves_no_peer_with_half_an_answer(runner: asyncio.Runner, served: House) -> None:
    wide = Ask(POST.data.replace(b"Host: tureen", b"Host: tureen\r\nX-Request-Id: " + b"i" * 100))
    four: list[Step | Ask] = [wide, COOK] * 4
    oracle, ours = converse(runner, served, STOP, *four, EOF, READ_ON)
    assert ours.rest == b""
    assert ours.answers[: len(oracle.answers)] == oracle.answers


@pytest.mark.parametrize("known", [(), KNOWN], ids=["new", "known"])
@pytest.mark.parametrize(
    ("steps", "answered"),
    [
        ((SHUTDOWN,), 0),
        ((POST, COOK, SHUTDOWN), 1),
        ((Send(b"POST"), SHUTDOWN, Send(POST.data[4:])), 0),
        ((HALF, SHUTDOWN, REST), 1),
        ((POST, SETTLE, SHUTDOWN), 1),
        ((POST, POST, SETTLE, SHUTDOWN), 2),
        ((POST, SETTLE, SHUTDOWN, POST), 1),
        ((POST, COOK, POST, SETTLE, SHUTDOWN), 2),
    ],
)
def test_a_stopping_server_answers_what_it_has_begun_as_uvicorn_does(
    runner: asyncio.Runner, served: House, steps: tuple[Step | Ask, ...], answered: int, known: tuple[bytes, ...]
) -> None:
    oracle, ours = converse(runner, served, *steps, known=known)
    assert ours.faults == []
    assert ours == oracle
    assert (len(ours.answers), ours.closed) == (answered, True)


@pytest.mark.parametrize(("company", "status"), [(2, 200), (3, 503)])
@pytest.mark.parametrize("known", [(), KNOWN], ids=["new", "known"])
def test_the_limit_of_concurrency_is_uvicorns(
    runner: asyncio.Runner, served: House, company: int, status: int, known: tuple[bytes, ...]
) -> None:
    for asked in (POST, GET):
        oracle, ours = converse(runner, served, asked, COOK, company=company, known=known, limited=Limited(4))
        assert ours == oracle
        assert statuses(ours) == [status]


@pytest.mark.parametrize("line", [b"\r\n", b"\r"])
def test_an_empty_line_between_known_requests_is_passed_over_each_time(runner: asyncio.Runner, served: House, line: bytes) -> None:
    steps: list[Step | Ask] = [Send(line), Send(b"\r\n"[len(line) :] + POST.data), COOK]
    oracle, ours = converse(runner, served, *steps * 3, known=KNOWN)
    assert statuses(ours) == [200, 200, 200]
    assert ours == oracle


def test_a_body_over_the_limit_that_was_read_whole_is_refused_at_once_and_its_connection_kept(
    runner: asyncio.Runner, served: House
) -> None:
    large = ask(f"POST {INFER}", chunks(b"x" * BODY_BYTES, b"y"), CHUNKED, sized=False)
    oracle, ours = converse(runner, served, large, COOK, POST, COOK)
    assert statuses(ours) == [413, 200]
    assert ours == oracle
