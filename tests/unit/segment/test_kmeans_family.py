from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.cluster import KMeans as Reference
from sklearn.impute import SimpleImputer
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raypipe.artifact import files
from raypipe.artifact.bins import Bins, ColumnBins
from raypipe.artifact.contract import Contract
from raypipe.artifact.package import Package, pack
from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models.chunks import CHUNK_ROWS
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec
from raypipe.segment.clusters import Centroids, Clusters
from raypipe.segment.kmeans import KMeans
from raypipe.testing.model_suite import ModelSuite

COLUMNS = ("sessions_per_week", "avg_session_duration_sec", "tier=premium")
# Readers who come seldom and briefly, often and briefly, seldom and long, often and long; in units far apart.
PLACES = np.array([[1, 60, 0], [9, 60, 0], [1, 900, 1], [9, 900, 1]], np.float64)
SPREAD = np.array([0.8, 60, 0.1])
SHARES = (0.4, 0.3, 0.2, 0.1)


def readers(rows: int = 2000, seed: int = 1, places: Any = PLACES, shares: Any = SHARES) -> tuple[Matrix, Any]:
    """Rows around places, and the place of each; one value in twenty is missing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(len(places), rows, p=np.array(shares) / sum(shares))
    x = (places[kind] + rng.normal(size=(rows, 3)) * SPREAD).astype(np.float32)
    x[rng.random(rows) < 0.05, 0] = np.nan
    return Matrix(x, np.zeros(rows, np.float32)), kind


def spec(clusters: int = 4, **params: Any) -> FitSpec:
    return FitSpec(COLUMNS, params={"clusters": clusters, **params}, rounds=100, seed=3, threads=1, kind="none")


def fitted(data: Matrix, clusters: int = 4, **params: Any) -> Clusters:
    return KMeans().fit(data, data, spec(clusters, **params))[0]


DATA, KIND = readers()
NIGHT = fitted(DATA)


class TestClusters(ModelSuite):
    family_path = "raypipe.segment.kmeans:KMeans"
    params: ClassVar = {"clusters": 3}

    def test_the_model_learned_the_signal(self) -> None:
        # Clusters know no label; that they find the groups is tested below.
        assert adjusted_rand_score(KIND, NIGHT.assign(DATA.x).numbers) > 0.9


def test_clusters_equal_those_of_scikit_learn() -> None:
    steps = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    z = steps.fit_transform(DATA.x.astype(np.float64))
    reference = Reference(4, n_init=10, random_state=3, max_iter=100).fit(z)
    found = NIGHT.assign(DATA.x)
    assert adjusted_rand_score(reference.labels_, found.numbers) == 1.0
    expected = silhouette_score(z, reference.labels_)
    assert NIGHT.silhouettes(DATA.x).mean() == pytest.approx(expected, abs=1e-6)
    assert NIGHT.silhouettes(DATA.x).shape == (len(DATA),)
    # Another model's clusters, on this one's scale.
    assert NIGHT.silhouettes(DATA.x, np.roll(NIGHT.assign(DATA.x).numbers, 1)).mean() < expected / 2
    assert expected > 0.5


def test_confidence_is_one_on_a_centroid_and_nothing_on_a_border() -> None:
    values = NIGHT.centroids.values
    nearest = values[[0]].astype(np.float32)
    assert NIGHT.predict(nearest) == pytest.approx(1, abs=1e-3)
    scale = np.nanstd(np.where(np.isnan(DATA.x), np.nanmedian(DATA.x, axis=0), DATA.x), axis=0)
    gaps = np.linalg.norm((values[0] - values[1:]) / scale, axis=1)
    border = (values[[0]] + values[[1 + int(gaps.argmin())]]) / 2
    assert NIGHT.predict(border.astype(np.float32)) == pytest.approx(0, abs=1e-3)
    confidence = NIGHT.predict(DATA.x)
    assert 0 <= confidence.min() < 0.5 < 0.9 < confidence.max() <= 1


def test_confidence_follows_its_definition() -> None:
    found = NIGHT.assign(DATA.x)
    x = np.where(np.isnan(DATA.x), np.nanmedian(DATA.x, axis=0), DATA.x).astype(np.float64)
    scale = x.std(axis=0)
    distances = np.sort(np.linalg.norm((x[:, None] - NIGHT.centroids.values[None]) / scale, axis=2), axis=1)
    assert np.allclose(found.confidence, 1 - distances[:, 0] / distances[:, 1], atol=1e-4)
    assert (found.numbers.dtype, found.confidence.dtype) == (np.uint16, np.float32)


def test_one_cluster_is_certain() -> None:
    assert (fitted(DATA, 1).predict(DATA.x) == 1).all()
    assert not fitted(DATA, 1).silhouettes(DATA.x).any()


def test_many_chunks_over_threads_give_the_answers_of_one() -> None:
    x = np.tile(DATA.x, (CHUNK_ROWS // len(DATA.x) + 4, 1))
    alone, together = fitted(DATA), fitted(DATA)
    alone.set_threads(1)
    together.set_threads(3)
    for one, other in zip(alone.assign(x), together.assign(x), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(alone.assign(x).numbers[-len(DATA.x) :], alone.assign(DATA.x).numbers)


def test_clusters_are_numbered_by_size_whatever_the_seed() -> None:
    other, _ = KMeans().fit(DATA, DATA, replace(spec(), seed=99))
    rows = np.bincount(NIGHT.assign(DATA.x).numbers)
    assert (np.diff(rows) < 0).all()
    assert np.array_equal(NIGHT.assign(DATA.x).numbers, other.assign(DATA.x).numbers)


# Numbers from night to night


def test_clusters_keep_their_numbers_when_sizes_turn_around_and_readers_drift() -> None:
    drifted, kind = readers(seed=2, places=PLACES * 1.15 + np.array([0.5, 20, 0]), shares=SHARES[::-1])
    next_night = fitted(drifted)
    matched = next_night.match(NIGHT.centroids)
    first, second = NIGHT.assign(DATA.x).numbers, matched.assign(drifted.x).numbers
    for place in range(4):
        assert np.bincount(first[place == KIND]).argmax() == np.bincount(second[kind == place]).argmax()
    # The control: by size alone, as numbered without a match, they would have changed.
    assert adjusted_rand_score(next_night.assign(drifted.x).numbers, second) == 1.0
    assert (next_night.assign(drifted.x).numbers != second).mean() > 0.5


def test_many_small_steps_keep_the_numbers() -> None:
    model, places = NIGHT, PLACES
    for night in range(8):
        places = places + np.array([0.3, 10, 0])
        data, kind = readers(seed=10 + night, places=places)
        model = fitted(data).match(model.centroids)
    first, last = NIGHT.assign(DATA.x).numbers, model.assign(data.x).numbers
    for place in range(4):
        assert np.bincount(first[place == KIND]).argmax() == np.bincount(last[kind == place]).argmax()


def test_one_cluster_more_leaves_the_others_their_numbers() -> None:
    data, kind = readers(seed=2, places=np.array([*PLACES, [30, 60, 0]]), shares=(*SHARES, 0.5))
    matched = fitted(data, 5).match(NIGHT.centroids)
    first, second = NIGHT.assign(DATA.x).numbers, matched.assign(data.x).numbers
    for place in range(4):
        assert np.bincount(first[place == KIND]).argmax() == np.bincount(second[kind == place]).argmax()
    assert np.bincount(second[kind == 4]).argmax() == 4  # the new ones get the number that nobody had


@pytest.mark.parametrize("gone", range(4))
def test_one_cluster_less_leaves_the_others_their_numbers_and_gives_its_own_to_nobody(gone: int) -> None:
    left = [place for place in range(4) if place != gone]
    data, kind = readers(seed=2, places=PLACES[left], shares=[SHARES[place] for place in left])
    matched = fitted(data, 3).match(NIGHT.centroids)
    first, second = NIGHT.assign(DATA.x).numbers, matched.assign(data.x).numbers
    for at, place in enumerate(left):
        assert np.bincount(first[place == KIND]).argmax() == np.bincount(second[kind == at]).argmax()
    assert np.bincount(first[gone == KIND]).argmax() not in second
    # The night after, those that stay keep theirs; when all are back, nobody has the number of the one that was gone.
    assert set(fitted(data, 3).match(matched.centroids).centroids.numbers) == set(matched.centroids.numbers)
    back = NIGHT.match(matched.centroids, taken=NIGHT.centroids.numbers).centroids.numbers
    assert set(back) == {*matched.centroids.numbers, 4}


def along_a_line(*places: float) -> Clusters:
    """Clusters of one column with these centroids, numbered in this order."""
    several = len(places)
    return Clusters(("x",), [0.0], [0.0], [1.0], np.array(places)[:, None], [1] * several, range(several))


@pytest.mark.parametrize(
    ("before", "after", "numbers"),
    [
        # Two became one and one became two: the half that is nobody's nearest is new, and number 1 is gone.
        ((0, 1, 10), (0.4, 9.5, 11), (0, 2, 3)),
        # One is gone at one end and one is new at the other: nobody moves up by one.
        ((0, 1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4)),
        # All drift together, by less than half of their distance.
        ((0, 1, 2, 3), (0.4, 1.4, 2.4, 3.4), (0, 1, 2, 3)),
    ],
)
def test_a_number_follows_what_is_near_and_nothing_else(
    before: tuple[float, ...], after: tuple[float, ...], numbers: tuple[int, ...]
) -> None:
    assert along_a_line(*after).match(along_a_line(*before).centroids).centroids.numbers == numbers


def test_without_earlier_clusters_the_numbers_are_those_that_nobody_had() -> None:
    assert NIGHT.match(None).centroids.numbers == NIGHT.centroids.numbers == (0, 1, 2, 3)
    assert NIGHT.match(None, taken={0, 2, 5}).centroids.numbers == (1, 3, 4, 6)


def test_when_all_numbers_are_given_new_clusters_are_refused() -> None:
    with pytest.raises(ModelError, match="no numbers left") as refused:
        NIGHT.match(None, taken=range(65_533))
    assert refused.value.next_step
    assert NIGHT.match(None, taken=range(65_532)).centroids.numbers[-1] == 65_535


def test_matching_is_by_column_names_whatever_their_order_and_scale() -> None:
    order = [2, 0, 1]
    turned = Matrix(np.ascontiguousarray(DATA.x[:, order]), DATA.y)
    other, _ = KMeans().fit(turned, turned, replace(spec(), columns=tuple(COLUMNS[at] for at in order), seed=9))
    reversed_numbers = Centroids(COLUMNS, (3, 2, 1, 0), NIGHT.centroids.values)
    matched = other.match(reversed_numbers)
    assert np.array_equal(matched.assign(turned.x).numbers, 3 - NIGHT.assign(DATA.x).numbers)


def test_models_without_a_common_column_cannot_be_matched() -> None:
    with pytest.raises(ModelError, match="matched"):
        NIGHT.match(Centroids(("other",), (0,), np.zeros((1, 1))))


# In words


def test_profiles_say_what_stands_out_in_words_for_people() -> None:
    words = {
        "sessions_per_week": ["reads rarely", "reads often"],
        "avg_session_duration_sec": ["short sessions", "long sessions"],
    }
    named = fitted(DATA, 4, words=words)
    profiles = named.profile()
    assert KMeans().from_files(named.files()).profile() == profiles
    number = int(np.bincount(NIGHT.assign(DATA.x).numbers[KIND == 3]).argmax())
    best = next(profile for profile in profiles if profile.number == number)
    assert best.name == "reads often, long sessions, tier often premium"
    assert best.code == f"segment_{number:02d}"
    sessions = next(trait for trait in best.traits if trait.column == "sessions_per_week")
    assert sessions.value == pytest.approx(9, abs=0.3)
    assert f"{best.rows:,} of 2,000" in best.description
    assert "reads often (+" in best.description
    at = named.values["segment_numbers"].index(number)
    assert named.values["segment_names"][at] == best.name
    assert named.values["segment_codes"][at] == best.code
    assert [profile.number for profile in profiles] == [0, 1, 2, 3]
    assert sum(profile.share for profile in profiles) == pytest.approx(1)
    assert len({profile.name for profile in profiles}) == 4


def test_columns_without_words_are_named_by_themselves() -> None:
    names = ", ".join(profile.name for profile in NIGHT.profile())
    assert "high sessions per week" in names
    assert "low avg session duration sec" in names


def test_a_cluster_in_the_middle_and_twins_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted(DATA, 1).profile()[0].name == "near the average"
    monkeypatch.setattr("raypipe.segment.profiles.TRAITS_IN_NAME", 1)
    twins = [profile.name for profile in fitted(DATA, 12).profile()]
    assert len(set(twins)) == 12


def test_codes_follow_the_numbers_of_the_match() -> None:
    drifted, _ = readers(seed=2, shares=SHARES[::-1])
    earlier = {profile.code: profile.name for profile in NIGHT.profile()}
    assert {profile.code: profile.name for profile in fitted(drifted).match(NIGHT.centroids).profile()} == earlier


# What comes back, and what is refused


def test_a_matched_model_survives_its_files_to_the_last_bit() -> None:
    matched = NIGHT.match(Centroids(COLUMNS, (7, 25_000, 3, 1), NIGHT.centroids.values))
    again = KMeans().from_files(matched.files())
    assert again.files() == matched.files()
    assert sorted(np.unique(again.assign(DATA.x).numbers).tolist()) == [1, 3, 7, 25_000]
    for one, other in zip(matched.assign(DATA.x), again.assign(DATA.x), strict=True):
        assert np.array_equal(one, other)


def test_it_scores_in_a_process_of_its_own_without_scikit_learn(tmp_path: Path) -> None:
    card = ("raypipe.segment.kmeans:KMeans", Contract(("user",), ("String",), (), (), ()))
    package = Package(
        *card, Bins((), ColumnBins((0.5,), (0.5, 0.5, 0.0), (0.25, 0.75), (0,)), 1, {}, {}), 0.5, (), NIGHT
    )
    stored = files.save(str(tmp_path), pack(package, DATA.x, {}))
    program = (
        "import json, sys; from raypipe.artifact.package import load_package;"
        "load_package(sys.argv[1], sys.argv[2], None, only_scores=True);"
        "print(json.dumps(sorted({'sklearn', 'scipy', 'pandas'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program, stored.uri, stored.sha256], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def _changed(**parts: Any) -> bytes:
    return json.dumps({**json.loads(NIGHT.files()["clusters.json"]), **parts}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        NIGHT.files()["clusters.json"][:-40],
        _changed(numbers=[0, 1, 2]),
        _changed(numbers=[0, 1, 2, 2]),
        _changed(numbers=[0, 1, 2, 65_536]),
        _changed(sizes=[10, 10, 10, 0]),
        _changed(scale=[1.0, 0.0, 1.0]),
        _changed(fill=["much", 0, 0]),
        _changed(columns=["one"]),
        _changed(extra=1),
        _changed(numbers=[], centroids=[], sizes=[]),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_files_that_hold_no_clusters_are_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"clusters\.json"):
        KMeans().from_files({"clusters.json": content})


def test_files_without_the_clusters_are_refused() -> None:
    with pytest.raises(ModelError, match=r"no clusters\.json"):
        KMeans().from_files({"model.ubj": b"{"})


def test_a_matrix_of_other_width_is_refused() -> None:
    with pytest.raises(ModelError, match="features"):
        NIGHT.assign(DATA.x[:, :2])


def test_no_rows_get_no_answer() -> None:
    assert [len(part) for part in NIGHT.assign(np.empty((0, 3), np.float32))] == [0, 0]


@pytest.mark.parametrize("rows", [0, 3])
def test_fewer_rows_than_clusters_are_refused(rows: int) -> None:
    few = DATA.take(np.arange(rows))
    with pytest.raises(DataError, match="fewer training rows than clusters"):
        KMeans().fit(few, few, spec(4))


def test_fewer_distinct_rows_than_clusters_give_fewer_clusters() -> None:
    few = Matrix(np.tile(PLACES[:2].astype(np.float32), (20, 1)), np.zeros(40, np.float32))
    model = fitted(few, 4)
    assert len(model.centroids.numbers) == 2
    assert (model.predict(few.x) == 1).all()


def test_columns_that_are_constant_or_all_missing_do_no_harm() -> None:
    idle = np.column_stack([np.full(len(DATA.x), 7.0), np.full(len(DATA.x), np.nan)]).astype(np.float32)
    wide = Matrix(np.column_stack([idle, DATA.x]), DATA.y)
    model, _ = KMeans().fit(wide, wide, replace(spec(), columns=("constant", "never", *COLUMNS)))
    assert adjusted_rand_score(model.assign(wide.x).numbers, NIGHT.assign(DATA.x).numbers) == 1.0
    assert model.importance()[:2] == pytest.approx(0)
    assert not {"constant", "never"} & {trait.column for profile in model.profile() for trait in profile.traits}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "nothing"),
        ({"clusters": 0}, "1 to 256"),
        ({"clusters": "many"}, "'many'"),
        ({"clusters": True}, "True"),
        ({"clusters": 3, "n_clusters": 3}, "set clusters"),
        ({"clusters": 3, "tols": 1}, "tols"),
        ({"clusters": 3, "words": ["few"]}, "['few']"),
        ({"clusters": 3, "words": {"visits": ["few", "many"]}}, "visits"),
        ({"clusters": 3, "words": {"sessions_per_week": "few"}}, "'few'"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        KMeans().fit(DATA, DATA, replace(spec(), params=params))
    assert message in str(caught.value)


def test_a_value_out_of_range_is_refused_with_the_librarys_words() -> None:
    with pytest.raises(ModelError, match="'tol' parameter"):
        KMeans().fit(DATA, DATA, spec(4, tol=-1.0))


def test_clusters_have_no_explanations_and_no_balance() -> None:
    with pytest.raises(ModelError, match="no explanations"):
        NIGHT.explain(DATA.x)
    with pytest.raises(ConfigError, match=r"model\.balance"):
        KMeans().fit(DATA, DATA, replace(spec(), balance="scale_pos_weight"))
