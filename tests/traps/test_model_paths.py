"""Model paths: no name and no link leads out of the repository, nothing is fetched, nothing is unpickled."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_graphs import mlp, sum_and_difference, write, write_external

from models.errors import LoadError, UnknownModel
from models.loader import load
from models.manifest import Manifest
from models.repository import Repository, Source, valid_name
from tests.e2e.kitchen import booster, build
from tests.e2e.served import Server, serving

ROOT = Path(__file__).parents[2]
SECRET = "the-secret-of-another-directory"
PYTHON = """
from models import PythonModel, TensorSpec
from pathlib import Path

class M(PythonModel):
    inputs = [TensorSpec("x", "FP64", [-1])]
    outputs = [TensorSpec("y", "FP64", [-1])]

    def load(self, directory, models):
        ACT

    def infer(self, inputs):
        return {"y": inputs["x"]}
"""


def no_models(name: str) -> object:
    raise UnknownModel(name)


def fill(directory: Path) -> Path:
    """A model of each platform, with all that may lie beside it."""
    for name in ("onnx", "external", "lightgbm", "python"):
        (directory / name / "1").mkdir(parents=True)
        (directory / name / "model.toml").write_text("[warmup]\ncalls = 0\n")
        (directory / name / "labels.txt").write_text("cat\ndog\n")
    write(sum_and_difference(), directory / "onnx" / "1")
    write_external(mlp(), directory / "external" / "1")
    booster(trees=2).save_model(directory / "lightgbm" / "1" / "model.txt")
    (directory / "python" / "1" / "model.py").write_text(PYTHON.replace("ACT", "from .helper import VALUE"))
    (directory / "python" / "1" / "helper.py").write_text("VALUE = 1\n")
    return directory


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "repository")


@pytest.fixture
def repository(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "repository")
    shutil.copytree(filled, tmp_path / "elsewhere")
    return tmp_path / "repository"


def source(repository: Path, name: str) -> Source:
    """The one version of a model, found before anything is swapped."""
    (version,) = Repository(repository).entry(name).versions
    assert version.source is not None
    return version.source


def loads(found: Source) -> None:
    load(found, Manifest(), no_models).close()  # type: ignore[arg-type]


# -- no symlink leaves the repository ------------------------------------------------------------------------------------------


LINKS = [
    "onnx", "onnx/1", "onnx/1/model.onnx", "onnx/model.toml", "onnx/labels.txt",
    "external", "external/1", "external/1/model.onnx", "external/1/weights.bin",
    "lightgbm", "lightgbm/1", "lightgbm/1/model.txt", "lightgbm/model.toml",
    "python", "python/1", "python/1/model.py", "python/1/helper.py", "python/labels.txt",
]  # fmt: skip


def link(repository: Path, where: str) -> None:
    """Puts a symlink to the same, elsewhere, in its place."""
    place = repository / where
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    place.symlink_to(repository.parent / "elsewhere" / where)


@pytest.mark.parametrize("where", LINKS)
def test_no_symlink_is_followed_wherever_it_is(repository: Path, where: str) -> None:
    link(repository, where)
    entry = Repository(repository).entry(where.partition("/")[0])
    assert any("symlink" in problem or "symbolic link" in problem for problem in entry.problems)
    assert entry.problem is not None or all(version.source is None for version in entry.versions)
    assert str(repository.parent) not in " ".join(entry.problems)


@pytest.mark.parametrize("where", LINKS)
def test_a_symlink_that_is_put_in_place_between_the_check_and_the_load_is_not_followed(repository: Path, where: str) -> None:
    found = source(repository, where.partition("/")[0])
    loads(found)
    link(repository, where)
    if where.endswith((".toml", "labels.txt")):
        assert Repository(repository).entry(found.model).problem is not None
    else:
        with pytest.raises(LoadError, match=r"changed while it was loaded|symbolic link"):
            loads(found)


@pytest.mark.parametrize("swapped", ["python/1", "python"])
def test_a_symlink_that_is_put_in_place_during_the_load_ends_it(repository: Path, swapped: str) -> None:
    place, away = repository / swapped, repository.parent / "away"
    act = f"Path({str(place)!r}).rename({str(away)!r}); Path({str(place)!r}).symlink_to({str(away)!r})"
    (repository / "python" / "1" / "model.py").write_text(PYTHON.replace("ACT", act))
    with pytest.raises(LoadError, match="changed while it was loaded"):
        loads(source(repository, "python"))


def test_a_file_that_is_replaced_between_the_check_and_the_load_is_not_served(repository: Path) -> None:
    for name, file in (("onnx", "model.onnx"), ("external", "weights.bin"), ("lightgbm", "model.txt"), ("python", "model.py")):
        found = source(repository, name)
        other = repository.parent / "other"
        other.write_bytes((repository / name / "1" / file).read_bytes())
        other.replace(repository / name / "1" / file)
        with pytest.raises(LoadError, match="changed while it was loaded"):
            loads(found)


@pytest.mark.parametrize("location", ["../../../elsewhere/external/1/weights.bin", "/etc/hostname", "http://127.0.0.1/weights.bin"])
def test_weights_of_a_model_are_beside_it_or_nowhere(repository: Path, location: str) -> None:
    graph = mlp()
    weights = graph.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    place = weights.external_data.add()
    place.key, place.value = "location", location
    write(graph, repository / "onnx" / "1")
    with pytest.raises(LoadError, match=r"outside its version's folder|is missing"):
        loads(source(repository, "onnx"))


# -- a strict pattern for names ------------------------------------------------------------------------------------------------


NAMES = [
    "", ".", "..", "...", "../elsewhere/onnx", "/etc", "onnx/1", "onnx/../onnx", "./onnx", "onnx/", "..%2fonnx", "%2e%2e",
    "onnx%00", "onnx\0", "onnx\n", " onnx", "onnx ", "~", "~root", "C:", "onnx\\1", "\\\\host\\share", "file:///etc/passwd",
    "http://127.0.0.1/m", "ｏｎｎｘ", "оnnx", "onnⅹ", "on\u200bnx", "․․", "∕etc", "．．", "é", "e\u0301", "\ufeffonnx",
    "\u202exnno", "①", "٣", "onnx\u0000.txt", "a" * 129, "a" * 100_000, "../" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_name_that_is_none_is_no_model(repository: Path, name: str) -> None:
    with pytest.raises(UnknownModel) as raised:
        Repository(repository).entry(name)
    assert len(str(raised.value)) < 1200


@given(st.text() | st.text("./\\%~:0a"))
def test_no_name_at_all_leads_out_of_the_repository(filled: Path, name: str) -> None:
    try:
        entry = Repository(filled).entry(name)
    except UnknownModel:
        return
    assert valid_name(name)
    for version in entry.versions:
        if version.source is not None:
            assert version.source.path.resolve().is_relative_to(filled.resolve())


# -- what a request may not do: on servers as they run -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=("hypercorn", "uvicorn"))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("server")
    (path / "elsewhere" / "1").mkdir(parents=True)
    (path / "elsewhere" / "1" / "model.py").write_text(f"raise RuntimeError({SECRET!r})")
    with serving(build(path / "repository"), kind=request.param, cwd=path) as made:
        yield made


@pytest.fixture
def unvisited() -> Iterator[str]:
    """The address of somebody who waits to be asked for something, and must not be."""
    with closing(socket.create_server(("127.0.0.1", 0))) as waiting:
        waiting.setblocking(False)
        yield f"http://127.0.0.1:{waiting.getsockname()[1]}/model.onnx"
        with pytest.raises(BlockingIOError):
            waiting.accept()


def test_a_name_in_a_path_leads_out_of_the_repository_in_no_spelling(server: Server) -> None:
    for name in (name for name in NAMES if 0 < len(name) < 2000):
        for spelled in {quote(name, safe=""), quote(quote(name, safe=""), safe="")}:
            for path in (f"/v2/repository/models/{spelled}/load", f"/v2/models/{spelled}/infer"):
                reply = server.post(path, b"{}")
                assert reply.status in (400, 404), path
                assert SECRET not in reply.body.decode()


def test_a_load_fetches_no_url(server: Server, unvisited: str) -> None:
    for path in (quote(unvisited, safe=""), "affine"):
        for parameters in (
            {"config": unvisited},
            {"config": json.dumps({"parameters": {"uri": unvisited}})},
            {"url": unvisited},
            {"file:1/model.onnx": unvisited},
        ):
            reply = server.post(f"/v2/repository/models/{path}/load", {"parameters": parameters})
            assert reply.status in (400, 404)


def test_files_are_not_taken_in_a_load(server: Server) -> None:
    for name in ("file:1/model.onnx", "file:../../elsewhere", "file:"):
        reply = server.post("/v2/repository/models/affine/load", {"parameters": {name: "AAAA"}})
        assert (reply.status, reply.json()["details"][0]["problem"]) == (400, "files are not taken")
    assert not list((server.repository / "affine").glob("**/*AAAA*"))


@pytest.mark.parametrize(
    "section", ["platform", "backend", "runtime.format", "runtime.path", "runtime.loader", "default_model_filename"]
)
def test_a_request_chooses_no_file_and_no_deserializer(server: Server, section: str) -> None:
    head, _, key = section.partition(".")
    config = {head: {key: "python"} if key else "python"}
    reply = server.post("/v2/repository/models/affine/load", {"parameters": {"config": json.dumps(config)}})
    assert (reply.status, reply.json()["code"]) == (400, "load_failed")


class _Bomb:
    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return Path.touch, (self._place,)


@pytest.mark.parametrize(
    "kind",
    ["application/x-python-pickle", "application/python-pickle", "application/x-pickle", "application/octet-stream", "", None],
)
def test_a_pickle_in_a_body_is_bytes_that_are_no_request(server: Server, tmp_path: Path, kind: str | None) -> None:
    place = tmp_path / "unpickled"
    headers = {} if kind is None else {"Content-Type": kind}
    for path in (
        "/v2/models/affine/infer",
        "/v1/models/affine:predict",
        "/v2/repository/models/affine/load",
        "/v2/repository/index",
    ):
        assert server.post(path, pickle.dumps(_Bomb(place)), headers).status in (400, 415)
    assert not place.exists()


@pytest.mark.parametrize("file", ["model.pkl", "model.pickle", "model.joblib", "model.pt", "model.npy", "model.onnx", "model.txt"])
def test_a_pickle_in_the_repository_is_no_model(tmp_path: Path, file: str) -> None:
    place, version = tmp_path / "unpickled", tmp_path / "repository" / "m" / "1"
    version.mkdir(parents=True)
    (version / file).write_bytes(pickle.dumps(_Bomb(place)))
    (found,) = Repository(tmp_path / "repository").entry("m").versions
    if found.source is not None:
        with pytest.raises(LoadError):
            loads(found.source)
    assert not place.exists()


# -- nothing that could: over the source ---------------------------------------------------------------------------------------


UNSAFE = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "yaml",
    "urllib.request",
    "requests",
    "httpx",
    "ftplib",
}
#: Who opens connections at all: the commands that ask a server, to an address that was typed.
SOURCES = sorted(path for package in ("service", "models", "batching") for path in (ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_of_ours_can_unpickle_or_fetch() -> None:
    found = {(path.name, name) for path in SOURCES for name in imported(ast.parse(path.read_text())) if name in UNSAFE}
    assert found == set()
    assert len(SOURCES) > 100


def test_nothing_of_ours_evaluates_text_or_gives_it_to_a_shell() -> None:
    found = []
    for path in SOURCES:
        for name, call in called(ast.parse(path.read_text())):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            shell = given.get("shell")
            if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pty.spawn") or (
                shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False)
            ):
                found.append((path.name, name))
            if name.endswith((".load", ".fromfile")) and name.startswith(("np.", "numpy.")):
                allow = given.get("allow_pickle")
                assert isinstance(allow, ast.Constant), path
                assert allow.value is False, path
    assert found == []
