"""What is installed is what was asked for, in the tested versions, and by hashes: so `make lock` writes `requirements/`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("run", "demo", "tracing", "dev", "build", "uv")
LINE = re.compile(r"([A-Za-z0-9._-]+)==(\S+)(?: ; ([^\\]+?))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
MEND = "run `make lock`"


def locked(name: str) -> Mapping[NormalizedName, str]:
    """The versions of a lock, by normal names."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {canonicalize_name(match[1]): match[2] for match in map(LINE.fullmatch, lines) if match is not None}


def asked() -> Iterator[tuple[str, Requirement]]:
    """Each lock's requirements in pyproject.toml; an extra's lock has the others that it names too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    for text in project["build-system"]["requires"]:
        yield "build", Requirement(text)
    for lock in ("run", "demo", "tracing", "dev"):
        for text in (*project["project"]["dependencies"], *extras.get(lock, ())):
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) != "tureen":
                yield lock, requirement
                continue
            for extra in requirement.extras:
                yield from ((lock, Requirement(inner)) for inner in extras[extra])


@pytest.mark.parametrize("lock", LOCKS)
def test_each_package_has_one_version_and_hashes_and_nothing_else_is_there(lock: str) -> None:
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    packages = [number for number, line in enumerate(lines) if LINE.fullmatch(line)]
    assert packages
    assert [line for line in lines if not (line.startswith("#") or LINE.fullmatch(line) or HASH.fullmatch(line))] == []
    assert all(HASH.fullmatch(lines[number + 1]) for number in packages)
    assert len(packages) == len({LINE.fullmatch(lines[number])[1] for number in packages})  # type: ignore[index]


def test_whatever_pyproject_asks_for_is_locked_in_a_version_that_it_takes() -> None:
    for lock, requirement in asked():
        version = locked(lock).get(canonicalize_name(requirement.name))
        assert version is not None, f"requirements/{lock}.txt has no {requirement.name}; {MEND}"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} in requirements/{lock}.txt; {MEND}"


def test_the_versions_are_those_of_constraints() -> None:
    lines = (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    tested = {canonicalize_name(name): version for name, _, version in lines}
    for lock in LOCKS:
        wrong = {name: version for name, version in locked(lock).items() if tested.get(name, version) != version}
        assert wrong == {}, f"requirements/{lock}.txt is not of constraints.txt; {MEND}"


def test_what_is_developed_with_holds_all_that_is_served_with() -> None:
    dev = locked("dev")
    assert all(locked(lock).items() <= dev.items() for lock in ("run", "demo", "tracing"))


def test_make_the_image_and_the_unit_install_by_hashes_alone() -> None:
    for file in ("Makefile", "deploy/Dockerfile", "docs/deployment.md"):
        text = re.sub(r"\\\n\s*", "", (ROOT / file).read_text())
        for line in re.findall(r"^.*\bpip\b.* install .*$", text, re.MULTILINE):
            for part in line.split("&&"):
                if " install " in part and "apt-get" not in part and not part.startswith(" install --directory "):
                    assert re.search(r"--require-hashes|--no-deps", part), part
