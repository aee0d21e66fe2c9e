"""The log: one JSON object a line whatever is logged, columns for people, and a writer that nothing waits for."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from service.logs import writer as logs
from service.logs.lines import LONGEST, Form, as_json
from service.logs.writer import LogWriter, detached
from service.sections import Log

PATIENCE_S = 20.0


@dataclass
class Written:
    """A log into a file."""

    path: Path
    writer: LogWriter

    @property
    def text(self) -> str:
        assert self.writer.flush(PATIENCE_S)
        return self.path.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@contextmanager
def logging_to(path: Path, form: Literal["auto", "json", "pretty"] = "auto", slot: int | None = 3) -> Iterator[Written]:
    """All that is logged goes there; afterwards ``logging`` is as it was."""
    root = logging.getLogger()
    level = root.level
    with path.open("ab") as file:
        writer = logs.start(Log(format=form, level="debug"), slot, file.fileno())
    try:
        yield Written(path, writer)
    finally:
        logs.stop()
        root.setLevel(level)
        logging.captureWarnings(False)
        structlog.reset_defaults()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Written]:
    with logging_to(tmp_path / "log") as made:
        yield made


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Written]:
    with logging_to(tmp_path / "log", "pretty") as made:
        yield made


log = logging.getLogger("tureen.test")


def test_a_line_has_time_level_logger_event_worker_and_process(told: Written) -> None:
    log.warning("%d of %s", 3, "them")
    (line,) = told.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {"level": "warning", "logger": "tureen.test", "event": "3 of them", "worker": 3, "pid": os.getpid()}


def test_what_comes_with_a_record_is_a_field_and_hides_none_of_the_log(told: Written) -> None:
    log.info("x", extra={"request_id": "r1", "level": "forged", "pid": 1, "color_message": "y"})
    (line,) = told.lines
    assert (line["request_id"], line["level"], line["pid"], "color_message" in line) == ("r1", "info", os.getpid(), False)


def test_a_request_id_bound_to_the_context_is_in_every_line_of_it(told: Written) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r7"):
        log.info("ours")
        structlog.get_logger("mine").info("theirs", rows=3)
    log.info("neither")
    ours, theirs, neither = told.lines
    assert (ours["request_id"], theirs["request_id"], theirs["rows"], "request_id" in neither) == ("r7", "r7", 3, False)


def broken() -> NoReturn:
    raise ZeroDivisionError("the reason")


@pytest.mark.parametrize("named", ["logging", "structlog"])
def test_a_traceback_is_one_field(told: Written, named: str) -> None:
    try:
        broken()
    except ZeroDivisionError:
        (log if named == "logging" else structlog.get_logger("mine")).exception("it failed")
    (line,) = told.lines
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ZeroDivisionError: the reason")
    assert (line["event"], line["level"], "broken()" in line["exception"]) == ("it failed", "error", True)


def test_a_waiting_record_holds_no_frame() -> None:
    try:
        broken()
    except ZeroDivisionError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "%s", ({"a": 1},), (type(error), error, error.__traceback__))
    made = detached(record)
    assert (made.exc_info, made.args, made.msg) == (None, None, "{'a': 1}")


def test_warnings_are_lines(told: Written) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("look out", stacklevel=1)
    (line,) = told.lines
    assert (line["logger"], line["level"], "look out" in line["event"]) == ("py.warnings", "warning", True)


class Rude:
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


def test_whoever_logs_never_fails_with_what_it_logs(told: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [ours for ours in root.handlers if isinstance(ours, logs.LogHandler)])  # pytest's fail
    log.info("%d", "x")
    log.info(Rude())
    log.info("%s", Rude())
    log.info("x", extra={"odd": Rude()})
    log.info("good")
    assert [line["event"] for line in told.lines] == [
        "%d (its arguments do not fit)",
        "Rude (its arguments do not fit)",
        "%s (its arguments do not fit)",
        "a line could not be formatted",
        "good",
    ]


def test_an_endless_message_is_cut(told: Written) -> None:
    log.info("x" * 1_000_000)
    assert len(told.text) < LONGEST + 300


@settings(deadline=None)
@given(st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.binary(), max_size=3))
def test_json_is_one_valid_line_whatever_is_in_it(event: str, value: str, more: dict[str, object]) -> None:
    record = logging.makeLogRecord({"msg": event, "name": "n", "request_id": value, "odd": more, "levelname": "INFO"})
    line = Form(0).of_record(record)
    assert b"\n" not in line
    assert json.loads(line)["event"] == event.rstrip()


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_json_takes_what_is_no_text(text: str) -> None:
    assert isinstance(json.loads(as_json({"a": text, "b": 2**70})), dict)


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_no_control_character_reaches_a_terminal(event: str, key: str, value: str) -> None:
    record = logging.makeLogRecord({"msg": event, "name": "n", "levelname": "INFO", key or "k": value, "odd": {key: value}})
    line = Form(0, pretty=True).of_record(record).decode()
    assert not any(obeyed(letter) for letter in line)


def obeyed(letter: str) -> bool:
    code = ord(letter)
    return code < 0x20 or 0x7F <= code < 0xA0 or code in (0x2028, 0x2029) or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069


def test_columns_are_for_people(shown: Written) -> None:
    try:
        broken()
    except ZeroDivisionError:
        log.exception("from\x1b[31m\n2026 [info] forged", extra={"request_id": "a b"})
    first, *trace = shown.text.splitlines()
    assert "[error" in first
    assert "from\\x1b[31m\\n2026 [info] forged [tureen.test]" in first
    assert "request_id='a b'" in first
    assert (trace[0], trace[-1]) == ("Traceback (most recent call last):", "ZeroDivisionError: the reason")


def test_what_is_no_terminal_gets_json_by_default(told: Written) -> None:
    log.info("x")
    assert told.text.startswith("{")


def test_a_terminal_gets_columns_by_default(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        root = logging.getLogger()
        level = root.level
        writer = logs.start(Log(), 0, theirs)
        log.warning("hello")
        writer.flush(PATIENCE_S)
        logs.stop()
        root.setLevel(level)
        logging.captureWarnings(False)
        assert b"\x1b[" in os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)


# -- what it is written to ---------------------------------------------------------------------------------------------------


def writer_of(fd: int, capacity: int = 16384) -> LogWriter:
    return LogWriter(fd, Form(0), capacity)


def put(writer: LogWriter, *texts: str) -> None:
    for text in texts:
        writer.put((lambda fields: fields[0].encode(), (text,)))


def test_a_pipe_that_nobody_reads_drops_and_the_next_line_says_so() -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    writer = writer_of(theirs, capacity=50)
    os.close(theirs)
    put(writer, *["x" * 200] * 500)
    assert not writer.flush(0.05)
    assert writer.dropped > 0
    with open(ours, "rb") as read, ThreadPoolExecutor(1) as reader:
        lines = reader.submit(read.readlines)
        assert writer.flush(PATIENCE_S)
        put(writer, "after")
        writer.close(PATIENCE_S)
        got = lines.result(PATIENCE_S)
    notices = [json.loads(line) for line in got if line.startswith(b"{")]
    assert sum(notice["lost"] for notice in notices) == writer.dropped
    assert (got[-1], len(got), len(got) - len(notices)) == (b"after\n", writer.written, 501 - writer.dropped)


def test_a_pipe_that_was_closed_costs_the_lines_and_nothing_else() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    writer = writer_of(theirs)
    os.close(theirs)
    put(writer, "a", "b")
    assert writer.flush(PATIENCE_S)
    put(writer, "c")
    assert writer.flush(PATIENCE_S)
    assert (writer.written, writer.dropped) == (0, 3)
    writer.close()


def test_a_full_disk_costs_the_lines_and_nothing_else() -> None:
    with open("/dev/full", "wb") as full:
        writer = writer_of(full.fileno())
    put(writer, "a", "b")
    assert writer.flush(PATIENCE_S)
    assert (writer.written, writer.dropped) == (0, 2)
    writer.close()


def test_after_a_failure_the_first_line_begins_a_line_and_says_what_was_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(logs, "PAUSE_S", 0.0)
    really, left = os.write, [6]

    def filling(fd: int, data: bytes) -> int:
        """A disk with room for 6 bytes, which then is given more."""
        if left and not left[0]:
            left.clear()
            raise OSError(errno.ENOSPC, "No space left on device")
        done = really(fd, data[: left[0]] if left else data)
        if left:
            left[0] -= done
        return done

    with (tmp_path / "log").open("ab") as file:
        writer = writer_of(file.fileno())
    monkeypatch.setattr(os, "write", filling)
    put(writer, "one", "two", "three")
    writer.flush(PATIENCE_S)
    assert (writer.written, writer.dropped) == (1, 2)
    put(writer, "four")
    writer.close(PATIENCE_S)
    one, torn, notice, four = (tmp_path / "log").read_text().splitlines()
    assert (one, torn, four, writer.written) == ("one", "tw", "four", 3)
    told = json.loads(notice)
    assert (told["lost"], told["reason"]) == (2, "they could not be written: No space left on device")


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for() -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, False)
    writer = writer_of(theirs)
    os.close(theirs)
    put(writer, *["x" * 100] * 200)
    with open(ours, "rb") as read:
        assert [read.readline() for _ in range(200)] == [b"x" * 100 + b"\n"] * 200
    writer.close(PATIENCE_S)
    assert writer.dropped == 0


def test_a_descriptor_that_is_not_open_swallows_the_log() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    os.close(theirs)
    writer = writer_of(theirs)
    put(writer, "a")
    writer.close(PATIENCE_S)
    assert writer.dropped == 0


def test_stopping_leaves_logging_as_it_was_and_loses_nothing(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    with logging_to(tmp_path / "log"):
        assert logs.current() is not None
        for number in range(300):
            log.info("%d", number)
    assert (logs.current(), logging.getLogger().handlers) == (None, before)
    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == list(map(str, range(300)))
