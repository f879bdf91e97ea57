"""Test the refusals of the loaders before a request, and the identity of a batch of predictions."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.retry import Patience
from raypipe.clickhouse.topology import Topology
from raypipe.data.days import as_day
from raypipe.errors import DataError, UsageError
from raypipe.loaders import loaders
from raypipe.loaders.save import save_predictions

DAY = date(2026, 1, 31)


class Offline(Client):
    """A client that keeps what it was given instead of sending it; its locks are always free."""

    def __init__(self) -> None:
        self.endpoint = Endpoint("http://127.0.0.1:1")
        self.topology = Topology()
        self._patience = Patience(None)
        self.saved: dict[str, pa.Table] = {}

    def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[tuple[Any, ...]]:
        return []

    def run(self, sql: str, parameters: Any = None, settings: Any = None) -> None:
        assert "raypipe_lock_" in sql

    def value(self, sql: str, parameters: Any = None, settings: Any = None) -> Any:
        # The lock asks for the last epoch, which is 0.
        rows = self.saved.get(parameters.get("batch"))
        return rows.num_rows if rows else 0

    def insert(self, table: str, data: pa.Table, **options: Any) -> None:
        self.saved[data["batch_id"][0].as_py()] = data

    def table(self, sql: str, parameters: Any = None, settings: Any = None) -> pa.Table:
        raise AssertionError("nothing should be read")


def predictions(**columns: Any) -> pa.Table:
    rows = {
        "company_id": ["c1", "c1"],
        "brand_id": ["b1", "b2"],
        "entity_id": ["u1", "u1"],
        "prediction_probability": [0.25, 0.75],
    }
    return pa.table({name: value for name, value in {**rows, **columns}.items() if value is not None})


def save(client: Offline, rows: pa.Table, **arguments: Any) -> str:
    named = {"model_id": "m1", "prediction_type": "churn", "prediction_date": DAY, **arguments}
    return save_predictions(client, rows, **named)


@pytest.mark.parametrize("text", ["2026-01-32", "yesterday", ""])
def test_text_that_is_no_date_is_refused_with_the_argument_it_came_in(text: str) -> None:
    with pytest.raises(UsageError, match="feature_date"):
        as_day("feature_date", text)


def test_a_moment_is_not_a_day() -> None:
    with pytest.raises(UsageError, match="start"):
        as_day("start", datetime(2026, 1, 31, 23, 30))


def test_a_period_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UsageError, match="before the start"):
        loaders.load_interactions(Offline(), "2026-01-31", "2026-01-30")


@pytest.mark.parametrize("argument", [{"limit": 0}, {"content_days": 0}])
def test_a_number_below_one_is_refused(argument: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(argument))):
        loaders.load_user_features(Offline(), DAY, **argument)


def test_the_same_rows_in_another_order_and_encoding_are_the_same_batch() -> None:
    rows = predictions()
    shuffled = pa.concat_tables([rows.slice(1, 1), rows.slice(0, 1)])
    encoded = shuffled.set_column(2, "entity_id", shuffled["entity_id"].dictionary_encode())
    assert save(Offline(), rows) == save(Offline(), encoded)


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": "m2"},
        {"prediction_type": "conversion"},
        {"prediction_date": date(2026, 2, 1)},
        {"entity_type": "article"},
    ],
)
def test_what_names_the_rows_is_part_of_the_batch(change: dict[str, Any]) -> None:
    assert save(Offline(), predictions()) != save(Offline(), predictions(), **change)


def test_text_moved_from_one_column_to_the_next_is_another_batch() -> None:
    one = predictions(prediction_class=["ab", "c"])
    other = predictions(prediction_class=["a", "bc"])
    assert save(Offline(), one) != save(Offline(), other)


def test_one_changed_probability_makes_another_batch() -> None:
    changed = predictions(prediction_probability=[0.25, 0.7500001])
    assert save(Offline(), predictions()) != save(Offline(), changed)


def test_saving_twice_is_refused_and_names_the_batch() -> None:
    client = Offline()
    batch = save(client, predictions())
    with pytest.raises(UsageError, match=batch):
        save(client, predictions())


def test_a_missing_value_is_the_probability() -> None:
    client = Offline()
    batch = save(client, predictions())
    assert client.saved[batch]["prediction_value"].to_pylist() == [0.25, 0.75]


def test_every_row_gets_an_id_of_its_own() -> None:
    client = Offline()
    batch = save(client, predictions())
    assert len(set(client.saved[batch]["prediction_id"].to_pylist())) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"entity_id": None}, "wrong columns"),
        ({"prediction_probability": None}, "wrong columns"),
        ({"churn": [0.1, 0.2]}, "wrong columns"),
        ({"entity_id": [1, 2]}, "entity_id has the wrong type"),
        ({"prediction_probability": ["0.1", "0.2"]}, "prediction_probability has the wrong type"),
        ({"prediction_probability": [0.5, float("nan")]}, "prediction_probability holds values"),
        ({"prediction_probability": [0.5, 1.01]}, "prediction_probability holds values"),
        ({"prediction_probability": [-0.01, 0.5]}, "prediction_probability holds values"),
        ({"prediction_probability": [0.5, None]}, "prediction_probability holds values"),
        ({"prediction_value": [0.5, float("inf")]}, "prediction_value holds values"),
        ({"prediction_confidence": [0.5, 2.0]}, "prediction_confidence holds values"),
        ({"company_id": ["c1", None]}, "company_id holds values"),
        ({"entity_id": ["u1", ""]}, "entity_id holds values"),
        ({"brand_id": ["b1", "b1"]}, "more than once"),
    ],
)
def test_predictions_that_are_none_are_refused_unsent(columns: dict[str, Any], message: str) -> None:
    client = Offline()
    with pytest.raises(DataError, match=message):
        save(client, predictions(**columns))
    assert not client.saved


def test_a_refusal_names_the_first_wrong_row_and_their_number() -> None:
    with pytest.raises(DataError, match="nan in row 1; 1 rows in all"):
        save(Offline(), predictions(prediction_probability=[0.5, float("nan")]))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(DataError, match="number of rows"):
        save(Offline(), predictions().slice(0, 0))


@pytest.mark.parametrize("name", ["model_id", "prediction_type", "entity_type"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        save(Offline(), predictions(), **{name: ""})
