"""Every kept input ends as it should: those that once broke a parser above all."""

from __future__ import annotations

import pytest

from tests.fuzz.target import CORPUS, judge
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_is_taken_or_refused_in_bounded_time_and_memory(name: str) -> None:
    target = TARGETS[name]
    judge(target, b"")  # whatever is made at first use is nobody's memory
    for data in target.kept():
        judge(target, data, memory=True)


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.trial is not None])
def test_what_is_taken_stands_its_trial(name: str) -> None:
    target = TARGETS[name]
    for data in target.kept():
        if target.trial is not None and judge(target, data).startswith("taken"):
            target.trial(data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_an_input_of_its_own(name: str) -> None:
    kept = TARGETS[name].kept()
    assert kept
    assert len(set(kept)) == len(kept)


def test_no_folder_of_the_corpus_is_without_its_parser() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= TARGETS.keys()
