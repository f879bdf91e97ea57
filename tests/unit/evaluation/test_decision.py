from __future__ import annotations

import json

import numpy as np
import pytest

from raypipe.evaluation.decision import decide

RNG = np.random.default_rng(4)
Y = (RNG.random(3_000) < 0.4).astype(np.float32)


def _scores(strength: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(Y))
    return 1 / (1 + np.exp(-(strength * (Y - 0.5) + noise)))


def test_a_clearly_better_challenger_is_promoted() -> None:
    decision = decide(Y, _scores(2.0), _scores(1.0, seed=1), {}, seed=0)
    assert decision.promote
    assert decision.rival == "champion"
    assert 0 < decision.low < decision.difference < decision.high


def test_an_equal_challenger_stays_a_candidate() -> None:
    decision = decide(Y, _scores(1.5), _scores(1.5, seed=1), {}, seed=0)
    assert not decision.promote
    assert decision.low < 0 < decision.high
    assert "not better than the champion" in decision.reason


def test_the_champion_itself_is_no_improvement() -> None:
    decision = decide(Y, _scores(1.5), _scores(1.5), {}, seed=0)
    assert not decision.promote
    assert (decision.difference, decision.low, decision.high) == (0, 0, 0)


def test_a_gain_within_the_noise_is_not_enough() -> None:
    few = slice(0, 60)
    decision = decide(Y[few], _scores(1.6)[few], _scores(1.5)[few] + RNG.normal(size=60) * 0.05, {}, seed=0)
    assert not decision.promote


def test_the_first_model_must_beat_the_strongest_baseline() -> None:
    known = {"prior": np.full(len(Y), 0.4), "one_feature": _scores(1.0, seed=1)}
    strong, weak = decide(Y, _scores(1.5), None, known, seed=0), decide(Y, _scores(0.5), None, known, seed=0)
    assert (strong.promote, strong.rival) == (True, "one_feature")
    assert (weak.promote, weak.rival) == (False, "one_feature")
    assert "not above the strongest baseline (one_feature)" in weak.reason


def test_better_than_the_champion_is_not_enough_below_a_baseline() -> None:
    rules = {"prior": np.full(len(Y), 0.4), "one_feature": _scores(2.5, seed=1)}
    decision = decide(Y, _scores(2.0), _scores(1.0, seed=2), rules, seed=0)
    assert not decision.promote
    assert decision.low is not None
    assert decision.low > 0
    assert "better than the champion by more than noise" in decision.reason
    assert "not above the strongest baseline (one_feature" in decision.reason
    rules["one_feature"] = _scores(1.5, seed=1)
    assert decide(Y, _scores(2.0), _scores(1.0, seed=2), rules, seed=0).promote


def test_a_gain_on_few_entities_with_many_rows_each_is_not_enough() -> None:
    # Half of 12 readers gain by the new version and half lose: sure on 3,000 rows, a matter of luck on 12 readers.
    rng = np.random.default_rng(0)
    entities = np.repeat(np.arange(12), len(Y) // 12)
    gain = np.array([0.55, 0.5, 0.4, 0.5, 0.45, 0.3, 0.35, -0.2, -0.3, -0.25, -0.3, -0.4])[entities]
    y = rng.normal(size=len(Y))
    champion, challenger = y + 1.0, y + 1.0 - gain
    by_rows = decide(y, challenger, champion, {}, seed=0, metric="mae")
    by_readers = decide(y, challenger, champion, {}, seed=0, metric="mae", entities=entities)
    assert by_rows.promote
    assert not by_readers.promote
    assert by_rows.difference == by_readers.difference


def test_a_loss_counts_downwards() -> None:
    better, worse = _scores(1.5), 0.5 + 0.1 * (_scores(1.5) - 0.5)
    assert decide(Y, better, worse, {}, seed=0, metric="log_loss").promote
    assert not decide(Y, worse, better, {}, seed=0, metric="log_loss").promote


def test_numbers_are_compared_by_rmse() -> None:
    y = RNG.normal(size=500)
    near, far = y + 0.1 * RNG.normal(size=500), y + RNG.normal(size=500)
    decision = decide(y, near, far, {}, seed=0, metric="rmse")
    assert decision.promote
    assert decision.difference == pytest.approx(0.9, abs=0.1)


def test_a_decision_is_json() -> None:
    assert json.dumps(decide(Y, _scores(1), None, {"prior": np.full(len(Y), 0.4)}, seed=0).to_json())
