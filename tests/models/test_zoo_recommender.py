from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import InvalidInput
from models.tensor import Array
from models.zoo.recommender import OneModel
from models.zoo.recommender_model import FEATURES, Recommender, features

USERS = 10_000


@pytest.fixture(scope="module")
def recommender(demo: Path) -> Recommender:
    model = Recommender()
    model.load(demo / "recommender" / "1", OneModel(demo / "ranker" / "1" / "model.txt"))
    return model


def ask(recommender: Recommender, *users: int, k: int | None = None) -> tuple[Array, Array]:
    inputs = {"user_id": np.array(users, dtype=np.int64)}
    if k is not None:
        inputs["k"] = np.full(len(users), k, dtype=np.int64)
    answer = recommender.infer(inputs)
    return answer["items"], answer["scores"]


@given(
    users=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, USERS + 3), min_size=1, max_size=12), k=st.integers(1, 100)
)
def test_a_user_gets_in_any_company_what_they_get_alone(recommender: Recommender, users: list[int], k: int) -> None:
    items, scores = ask(recommender, *users, k=k)
    for row, user in enumerate(users):
        alone = ask(recommender, user, k=k)
        assert np.array_equal(items[row], alone[0][0])
        assert np.array_equal(scores[row], alone[1][0])


@given(user=st.integers(0, USERS - 1), k=st.integers(1, 100))
def test_k_different_items_come_best_first(recommender: Recommender, user: int, k: int) -> None:
    items, scores = ask(recommender, user, k=k)
    assert items.shape == scores.shape == (1, k)
    assert items.dtype == np.int64
    assert scores.dtype == np.float32
    assert len(set(items[0].tolist())) == k
    assert (np.diff(scores[0]) <= 0).all()


@given(user=st.integers(0, USERS - 1), k=st.integers(1, 99))
def test_a_smaller_k_is_the_start_of_a_larger(recommender: Recommender, user: int, k: int) -> None:
    assert np.array_equal(ask(recommender, user, k=k)[0], ask(recommender, user, k=100)[0][:, :k])


def test_without_k_ten_items_come(recommender: Recommender) -> None:
    assert np.array_equal(ask(recommender, 3)[0], ask(recommender, 3, k=10)[0])


@pytest.mark.parametrize("k", [0, -1, 101, 2**62, -(2**63)])
def test_a_k_that_cannot_be_served_is_the_callers_mistake(recommender: Recommender, k: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(recommender, 3, 4, k=k)
    (problem,) = caught.value.problems
    assert (problem.path, problem.expected, problem.got) == ("inputs.k.data", "1 to 100", str(k))


@pytest.mark.parametrize("user", [-1, USERS, 2**62, -(2**63)])
def test_a_stranger_gets_the_popular_items(recommender: Recommender, user: int) -> None:
    items, _ = ask(recommender, user, k=100)
    assert set(items[0].tolist()) == set(recommender.tables["candidates"][-1].tolist())


def test_tastes_differ(recommender: Recommender) -> None:
    items, _ = ask(recommender, *range(100))
    assert len({tuple(row) for row in items.tolist()}) > 90


def test_features_follow_their_documented_order(recommender: Recommender) -> None:
    tables, users, items = recommender.tables, np.array([5, 9]), np.array([[1, 2], [3, 4]])
    retrieval = np.array([[0.25, 0.5], [0.75, 1.0]])
    found = features(tables, users, items, retrieval)
    assert found.shape == (2, 2, len(FEATURES))
    price, clicks, rate = tables["item_features"][4].astype(float)
    wanted = {
        "retrieval_score": 1.0,
        "genre_share": tables["user_genres"][9, tables["item_genres"][4, 0]],
        "second_genre_share": tables["user_genres"][9, tables["item_genres"][4, 1]],
        "price_gap": price - tables["user_price"][9],
        "user_log_clicks": tables["user_log_clicks"][9],
        "item_price": price,
        "item_log_clicks": clicks,
        "item_click_rate": rate,
    }
    assert dict(zip(FEATURES, found[1, 1], strict=True)) == pytest.approx(wanted)


def test_the_data_stays_small(demo: Path) -> None:
    assert (demo / "recommender" / "1" / "tables.npz").stat().st_size < 10_000_000


SERVED = """
import sys
from pathlib import Path

for name in ("sklearn", "onnx", "models.zoo"):
    sys.modules[name] = None

import numpy as np

from models.registry import Registry
from models.repository import Repository

registry = Registry(Repository(Path(sys.argv[1])))
registry.load_all()
answer = registry.find("recommender").runtime.infer({"user_id": np.array([3])}, ("items",))
registry.close()
print(answer["items"][0].tolist())
"""


def test_it_is_served_from_its_repository_without_the_training_libraries(demo: Path, recommender: Recommender) -> None:
    command = [sys.executable, "-c", SERVED, str(demo)]
    root = Path(__file__).parents[2]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert answer.stdout.strip() == str(ask(recommender, 3)[0][0].tolist()), answer.stderr
