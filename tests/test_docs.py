"""What the documentation says of codes, keys, paths and links is what the code has."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from models.manifest import Manifest
from models.signature import Signature
from models.tensor import TensorSpec
from models.vision.recipe import recipe
from service import create_app
from service.config import Config
from service.connections.hypercorn_settings import DEFAULTS
from service.failures import TABLE
from service.metrics.families import COUNTED, READ

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def toml_of(text: str) -> str:
    """The page's one block of TOML."""
    (block,) = [code for language, code in FENCE.findall(text) if language == "toml"]
    return str(block)


def sections(model: type[BaseModel]) -> dict[str, set[str]]:
    """The keys of each section; those of none under the empty name."""
    found: dict[str, set[str]] = {"": set()}
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)  # a section may be optional
        if isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel):
            found[name] = set(kinds[0].model_fields)
        else:
            found[""].add(name)
    return found


def written(tree: Mapping[str, Any], known: Mapping[str, set[str]]) -> dict[str, set[str]]:
    found = {"": {key for key in tree if key not in known}}
    return found | {name: set(tree[name]) for name in tree if name in known}


def test_every_error_code_is_documented_with_its_status() -> None:
    documented = {
        (int(status), code)
        for status, codes in re.findall(r"^\| (\d{3}) \| ([^|]+) \|", page("http.md"), re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    assert documented == {*TABLE.values(), (500, "internal")}


def test_every_path_of_the_app_is_documented_and_no_other(tmp_path: Path) -> None:
    variables = {
        "<model:name>": "M",
        "<segment:version>": "V",
        "<segment:label>": "L",
        "<segment:asset>": "FILE",
        "<segment:job>": "J",
    }
    served = set()
    for rule in create_app(Config(repository=tmp_path)).url_map.iter_rules():
        path = rule.rule
        for variable, letter in variables.items():
            path = path.replace(variable, letter)
        served |= {(method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    documented = set()
    for method, cell in re.findall(r"^\| `([A-Z]+)` \| (.*?) \| ", page("http.md"), re.MULTILINE):
        for path in re.findall(r"`(/[^`]*)`", cell):
            documented |= {(method, one) for one in expanded(path.replace("\\|", "|"))}
    assert documented == served


def expanded(path: str) -> set[str]:
    """Every path that `/M[/versions/V|/labels/L]` stands for."""
    found = re.search(r"\[([^\]]*)\]", path)
    if found is None:
        return {path}
    choices = ["", *found[1].split("|")]
    return {one for choice in choices for one in expanded(path[: found.start()] + choice + path[found.end() :])}


def test_the_documented_model_toml_has_every_key_with_its_default() -> None:
    text = toml_of(page("models.md"))
    with_all = re.sub(r"^# (\w+ = |\[\w+\])", r"\1", text, flags=re.M)  # those without a default too
    assert written(tomllib.loads(with_all), sections(Manifest)) == sections(Manifest)
    assert Manifest.parse(with_all, model="documented").image is not None
    assert Manifest.parse(text, model="documented") == Manifest()


def test_the_documented_tureen_toml_has_every_key_with_its_default(tmp_path: Path) -> None:
    file = tmp_path / "tureen.toml"
    text = toml_of(page("configuration.md"))
    file.write_text(text)
    assert Config.resolve(file, {}, {}) == Config()
    with_all = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.M))  # those without a default too
    assert written(with_all, sections(Config)) == sections(Config)


@pytest.mark.parametrize("page", ["README.md", "docs/security.md", "docs/deployment.md", "docs/operating.md"])
def test_every_piece_of_a_tureen_toml_is_a_configuration(page: str, tmp_path: Path) -> None:
    file = tmp_path / "tureen.toml"
    for language, piece in FENCE.findall((ROOT / page).read_text()):
        if language == "toml":
            file.write_text(piece)
            Config.resolve(file, {"TUREEN_STORE__STATE_DIR": "state"}, {})


@pytest.mark.parametrize("shape", [(-1, 3, 224, 224), (-1, 224, 224, 3)])
def test_every_piece_of_a_model_toml_on_the_page_of_images_suits_a_classifier(shape: tuple[int, ...]) -> None:
    signature = Signature((TensorSpec("image", "FP32", shape),), (TensorSpec("logits", "FP32", (-1, 1000)),))
    pieces = [piece for language, piece in FENCE.findall(page("images.md")) if language == "toml"]
    assert len(pieces) >= 4
    for piece in pieces:
        image = Manifest.parse(piece, model="documented").image
        assert image is not None
        assert recipe(image, signature).shape == shape[1:]


def test_every_variable_of_the_environment_is_documented() -> None:
    documented = set(re.findall(r"^\| `[^|]*` \| `(TUREEN_\w+)`", page("configuration.md"), re.MULTILINE))
    wanted = {
        "TUREEN_" + (f"{section}__{key}" if section else key).upper()
        for section, names in sections(Config).items()
        for key in names
    }
    assert documented == wanted


def test_every_changed_default_of_hypercorn_is_documented_with_its_value() -> None:
    table = page("configuration.md").partition("## Hypercorn")[2]
    documented = {
        key: tomllib.loads(f"value = {value}")["value"]
        for key, value in re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.MULTILINE)
    }
    assert documented == dict(DEFAULTS)


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    rows = re.findall(r"^\| `(tureen_\w+)` \| (counter|gauge|histogram) \| ([^|]*) \|", page("operating.md"), re.MULTILINE)
    documented = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert documented == {(family.exposed, family.kind, family.labels) for family in (*COUNTED.values(), *READ.values())}


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(there.read_text()), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_python_in_the_pages_is_python(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text()):
        if language == "python":
            compile(code, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
