"""Test the metrics of classes against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from raypipe.errors import DataError
from raypipe.evaluation.baselines import baselines
from raypipe.evaluation.decision import decide
from raypipe.evaluation.evaluate import evaluate
from raypipe.models.model import Matrix

RNG = np.random.default_rng(11)
NAMES = ("a", "b", "c")
Y = RNG.integers(0, 3, 600).astype(np.float64)
P = RNG.dirichlet((1, 1, 1), 600)
P = (P + 0.6 * np.eye(3)[Y.astype(int)]) / 1.6
EVERYONE = np.ones(600)


def test_metrics_agree_with_scikit_learn() -> None:
    judged = evaluate("classes", Y, P, classes=NAMES, resamples=20)
    predicted = P.argmax(axis=1)
    assert judged["auc"]["value"] == pytest.approx(reference.roc_auc_score(Y, P, multi_class="ovr"))
    assert judged["log_loss"]["value"] == pytest.approx(reference.log_loss(Y, P))
    assert judged["accuracy"]["value"] == pytest.approx(reference.accuracy_score(Y, predicted))
    assert judged["macro_f1"]["value"] == pytest.approx(reference.f1_score(Y, predicted, average="macro"))
    assert judged["confusion"] == reference.confusion_matrix(Y, predicted).tolist()
    assert [entry["name"] for entry in judged["classes"]] == list(NAMES)
    assert judged["auc"]["low"] < judged["auc"]["value"] < judged["auc"]["high"]


def test_a_class_without_a_row_has_no_figures() -> None:
    two = Y < 2
    judged = evaluate("classes", Y[two], P[two], classes=NAMES, resamples=0)
    assert judged["classes"][2]["recall"] is None
    assert judged["classes"][2]["auc"] is None
    assert judged["auc"]["value"] > 0.5


@pytest.mark.parametrize(
    ("y", "message"), [(np.full(600, 7.0), "none of the classes"), (np.zeros(600), "a single class")]
)
def test_labels_that_cannot_be_judged_are_refused(y: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate("classes", y, P, classes=NAMES)


@pytest.mark.parametrize("metric", ["log_loss", "auc", "accuracy", "macro_f1"])
def test_the_better_probabilities_win(metric: str) -> None:
    worse = np.roll(P, 1, axis=0)
    assert decide(Y, P, worse, {}, 1, metric=metric, resamples=50).promote
    assert not decide(Y, worse, P, {}, 1, metric=metric, resamples=50).promote


def test_the_baselines_give_a_probability_per_class() -> None:
    x = np.column_stack([Y + RNG.normal(size=600), RNG.normal(size=600)]).astype(np.float32)
    data = Matrix(x, Y.astype(np.float32))
    known = baselines("classes", data, data, data, ("near", "noise"), resamples=0, classes=NAMES)
    loss = {name: item.evaluation["log_loss"]["value"] for name, item in known.items()}
    assert set(loss) == {"prior", "one_feature", "linear"}
    assert loss["one_feature"] < loss["prior"]
    assert loss["linear"] < loss["prior"]
    assert "near" in known["one_feature"].description
