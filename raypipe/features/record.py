"""The features of ml_features in ml_model_features: what each is, and its range on a day."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import date, datetime

from raypipe.clickhouse.client import Client
from raypipe.features.catalogue import CONTENT_BY_TYPE, DEFINITIONS, EVENTS_BY_TYPE
from raypipe.features.sources import DOCUMENTED, USER_FEATURES, statement
from raypipe.registry.features import FeatureRecord, record_features

# ml_model_features names a model; these features belong to no version of one.
MODEL_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, "raypipe:ml_features"))
_KNOWN = f"SELECT feature_name FROM {DOCUMENTED} FINAL WHERE model_id = {{model_id:String}} ORDER BY feature_rank"
_TYPED = {
    EVENTS_BY_TYPE: "Events of the type {} in customer_events.",
    CONTENT_BY_TYPE: "Events of the type {} in editorial_content_events.",
}
_NOTHING = (0.0, 0.0, 0.0, 0.0)

Numbers = tuple[float, float, float, float]


def is_documented(client: Client) -> bool:
    """Whether ml_model_features knows the features."""
    return bool(client.rows(_KNOWN, {"model_id": MODEL_ID}))


def document(client: Client, day: date, at: datetime) -> int:
    """Writes a row for every feature, with its range on a day; returns how many.

    An event type keeps its row on a day without such events, since the JSON of other days holds it.
    """
    found = _statistics(client, day)
    records = [*_fixed(found), *_by_type(found, _known(client))]
    record_features(client, MODEL_ID, records, at)
    return len(records)


def _statistics(client: Client, day: date) -> dict[str, Numbers]:
    sql = statement("statistics").render(features=client.topology.everywhere(USER_FEATURES))
    return {str(name): numbers for name, *numbers in client.rows(sql, {"date": day})}  # type: ignore[misc]


def _known(client: Client) -> list[str]:
    return [str(name) for (name,) in client.rows(_KNOWN, {"model_id": MODEL_ID})]


def _fixed(found: Mapping[str, Numbers]) -> Iterable[FeatureRecord]:
    for one in DEFINITIONS:
        yield _record(one.name, found, one.description, one.type, "number" if not one.is_map else "map")


def _by_type(found: Mapping[str, Numbers], known: Iterable[str]) -> Iterable[FeatureRecord]:
    # Those documented earlier first: a row's key is its rank, which another type must not take.
    names = dict.fromkeys([*known, *sorted(found)])
    for name in names:
        family, dot, event_type = name.partition(".")
        if dot and family in _TYPED:
            yield _record(name, found, _TYPED[family].format(event_type), "UInt32", "number")


def _record(name: str, found: Mapping[str, Numbers], description: str, data_type: str, kind: str) -> FeatureRecord:
    numbers = found.get(name, _NOTHING)
    return FeatureRecord(name, 0.0, *numbers, kind=kind, description=description, default="null", data_type=data_type)
