"""One target driven by atheris in a process of its own: python -m tests.fuzz.driven TARGET INPUTS FOLDER

Our own packages are instrumented as they are imported, so libFuzzer sees which inputs reach something new, and goes on from
them. What breaks a rule is written to FOLDER/broken and does not end the run; a hang or a crash of the process does, and the input
lies in FOLDER as libFuzzer's artifact. FOLDER/counted says how many inputs were judged; FOLDER/taken are
some of those that were taken, for the target's trial.
"""

from __future__ import annotations

import hashlib
import random
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["service", "models"]):
    from tests.fuzz.target import Target, judge
    from tests.fuzz.targets import TARGETS

    if __name__ == "__main__":
        with suppress(Exception):
            TARGETS[sys.argv[1]].parse(b"")  # what is imported at first use is instrumented too

#: Every so many inputs the count is written, and the memory of one is measured.
OFTEN = 500
#: Seconds after which libFuzzer gives an input up.
HANGS_S = 60
#: So many of what is taken are given to a target's trial.
MOST_TRIED = 300


def main(name: str, inputs: int, folder: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    target = TARGETS[name]
    broken, counted = folder / "broken", folder / "counted"
    taken = _made(folder / "taken")
    _made(broken)
    known: set[str] = set()
    count = sampled = 0
    chance = random.Random(1)

    def one(data: bytes) -> None:
        nonlocal count, sampled
        count += 1
        try:
            outcome = judge(target, data, memory=count % OFTEN == 0)
            if target.trial is not None and outcome.startswith("taken"):
                sampled += 1
                slot = sampled if sampled <= MOST_TRIED else chance.randrange(sampled)
                if slot <= MOST_TRIED:  # each that is taken has the same chance to be among the last (Vitter's algorithm R)
                    (taken / str(slot)).write_bytes(data)
        except Exception as error:
            place = where(error)
            if place not in known:
                known.add(place)
                (broken / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
                (broken.parent / "told").open("a").write(f"{place}: {error}"[:2000] + "\n")
        if count % OFTEN == 0 or count >= inputs:
            counted.write_text(str(count))

    arguments = [sys.argv[0], f"-runs={inputs}", f"-max_len={target.longest}", f"-timeout={HANGS_S}", "-rss_limit_mb=2048"]
    arguments += ["-print_final_stats=1", f"-artifact_prefix={folder}/", f"-dict={target.dictionary}"]
    arguments += [str(_made(folder / "corpus")), str(_seeds(target, folder))]
    atheris.Setup(arguments, one, enable_python_coverage=True)
    atheris.Fuzz()


def where(error: BaseException) -> str:
    """The kind of an error and the last place of ours that it came through, so that one defect is told once."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if "/site-packages/" not in f.filename and "/lib/python" not in f.filename
    ]
    ours = [frame for frame in frames if "/tests/" not in frame.filename] or frames
    text = str(error)[:40] if type(error).__name__ == "Broken" else ""
    return f"{type(error).__name__} {text} {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else type(error).__name__


def _seeds(target: Target, folder: Path) -> Path:
    directory = _made(folder / "seeds")
    for number, seed in enumerate(target.kept()):
        (directory / str(number)).write_bytes(seed)
    return directory


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
