"""Fuzzes every parser by coverage: python -m tests.fuzz.run [TARGET ...] [--inputs N] [--jobs J]

Without a target all of them share the N inputs, each as many as its cost allows. What breaks a rule is shrunk and kept in the
corpus, where the ordinary test run replays it, as are inputs that end as none of the corpus did. Exit status 1 where something
broke.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

from tests.fuzz import streams
from tests.fuzz.shrinking import shrink
from tests.fuzz.target import Target, judge
from tests.fuzz.targets import TARGETS

#: Inputs that end in new ways are kept up to so many a run, so many in all, and up to this length (bytes).
MOST_KEPT: Final = 8
MOST_IN_ALL: Final = 60
LONGEST_KEPT: Final = 4096
#: What libFuzzer leaves of an input that ended the process.
ARTIFACTS: Final = ("crash-*", "timeout-*", "oom-*", "leak-*")
#: So often a find is tried with something taken out.
MOST_TRIALS: Final = 300
#: A share of the inputs that no target gets less than.
LEAST: Final = 0.005


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a target. ``broken``: the kept inputs; ``told``: what they break; ``status``: libFuzzer's, 0 if all is well."""

    target: str
    inputs: int
    seconds: float
    kept: int
    broken: list[bytes]
    told: str
    status: int

    @property
    def ok(self) -> bool:
        """Whether no rule was broken, and no input ended the process."""
        return not self.broken and self.status == 0

    def __str__(self) -> str:
        rate = self.inputs / max(self.seconds, 1e-9)
        return (
            f"{self.target:20} {self.inputs:9,} {self.seconds:8.1f} {rate:9,.0f} {self.kept:5} {len(self.broken):6} {self.status:6}"
        )


def fuzz(target: Target, inputs: int) -> Report:
    """So many inputs in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        command = [sys.executable, "-m", "tests.fuzz.driven", target.name, str(inputs), str(folder)]
        begun = monotonic()
        with (folder / "log").open("wb") as log:
            ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        seconds = monotonic() - begun
        done, told = int(_text(folder / "counted") or 0), _text(folder / "told")
        if ended.returncode or not done:
            told += "".join([line for line in (folder / "log").open(errors="replace") if not line.startswith("INFO:")][-40:])
        found = [*_inputs(folder / "broken"), *(data for kind in ARTIFACTS for data in _inputs(folder, kind))]
        broken = [_keep(target, _least(target, data), "broken") for data in found]
        tried, faults = _try(target, _inputs(folder / "taken"))
        kept = _keep_new(target, _inputs(folder / "corpus"))
        return Report(target.name, done, seconds, kept, broken + tried, told + faults, ended.returncode)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _inputs(folder: Path, pattern: str = "*") -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.glob(pattern))]


def _least(target: Target, data: bytes) -> bytes:
    kind = _ended(target, data)
    return shrink(data, lambda less: _ended(target, less) == kind, MOST_TRIALS)


def _ended(target: Target, data: bytes) -> str:
    try:
        return judge(target, data)
    except Exception as error:
        return f"broken by {type(error).__name__}"


def _try(target: Target, found: list[bytes]) -> tuple[list[bytes], str]:
    """The trial of what is taken: what it breaks on, kept, and how."""
    broken, told = [], ""
    for data in found:
        try:
            if target.trial is not None:
                target.trial(data)
        except Exception as error:
            broken.append(_keep(target, data, "broken"))
            told += f"{error}\n"
    if found:
        print(f"{target.name}: {len(found)} of those that were taken have been tried", flush=True)
    return broken, told


def _keep_new(target: Target, found: list[bytes]) -> int:
    """Keeps what ends as nothing kept does, shrunk; the number of such."""
    there = target.kept()
    known = {_ended(target, data) for data in there}
    kept = 0
    for data in sorted(found, key=len):
        outcome = _ended(target, data)
        if outcome not in known and len(data) <= LONGEST_KEPT and kept < min(MOST_KEPT, MOST_IN_ALL - len(there)):
            known.add(outcome)
            _keep(target, _least(target, data))
            kept += 1
    return kept


def _keep(target: Target, data: bytes, kind: str = "new") -> bytes:
    target.corpus.mkdir(parents=True, exist_ok=True)
    (target.corpus / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
    return data


def shares(targets: list[Target], inputs: int) -> dict[str, int]:
    """How many of the inputs each target gets: the more, the less one of its own costs."""
    costs = {target.name: _cost(target) for target in targets}
    whole = sum(1 / cost for cost in costs.values())
    return {name: round(inputs * max(LEAST, 1 / cost / whole)) + 1 for name, cost in costs.items()}


def _cost(target: Target) -> float:
    """Seconds that one input takes, and what libFuzzer takes itself."""
    inputs = target.kept()[:50]
    for data in inputs[:1]:
        _ended(target, data)  # what is made at first use
    begun = perf_counter()
    for data in inputs:
        _ended(target, data)
    return 3e-5 + (perf_counter() - begun) / max(1, len(inputs))


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all (default: 1,000,000)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (default: 1)")
    told = parser.parse_args(arguments)
    if unknown := set(told.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    targets = [TARGETS[name] for name in told.targets or TARGETS]
    wanted = shares(targets, told.inputs)
    print(f"{'target':20} {'inputs':>9} {'seconds':>8} {'a second':>9} {'new':>5} {'broken':>6} {'status':>6}", flush=True)
    reports = []
    os.nice(10)
    with ThreadPoolExecutor(told.jobs) as pool:
        for report in pool.map(lambda target: fuzz(target, wanted[target.name]), targets):
            print(report, flush=True)
            if not report.ok:
                print(report.told, flush=True)
            reports.append(report)
    streams.close()
    print(f"{sum(report.inputs for report in reports):,} inputs, {sum(len(report.broken) for report in reports)} broken")
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
