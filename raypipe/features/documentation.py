"""Document the features of ml_features in ml_model_features, with their ranges on a day."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import date, datetime

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
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
    """Return whether ml_model_features has the features."""
    return bool(client.rows(_KNOWN, {"model_id": MODEL_ID}))


def document(client: Client, day: date, at: datetime) -> int:
    """Write a row per feature, with its range on a day; return the number of rows.

    An event type keeps its row on a day without such events, since the JSON of other days has it.
    """
    statistics = _statistics(client, day)
    known = [str(name) for (name,) in client.rows(_KNOWN, {"model_id": MODEL_ID})]
    records = [*_fixed(statistics), *_by_type(statistics, known)]
    record_features(client, MODEL_ID, records, at)
    return len(records)


def _statistics(client: Client, day: date) -> dict[str, Numbers]:
    sql = statement("statistics").render(features=identifier(USER_FEATURES))
    return {str(name): numbers for name, *numbers in client.rows(sql, {"date": day})}  # type: ignore[misc]


def _fixed(statistics: Mapping[str, Numbers]) -> Iterable[FeatureRecord]:
    for feature in DEFINITIONS:
        kind = "map" if feature.is_map else "number"
        yield _record(feature.name, statistics, feature.description, feature.type, kind)


def _by_type(statistics: Mapping[str, Numbers], known: Iterable[str]) -> Iterable[FeatureRecord]:
    # Known types keep their order: a row's key is its rank, which another type must not take.
    names = dict.fromkeys([*known, *sorted(statistics)])
    for name in names:
        family, dot, event_type = name.partition(".")
        if dot and family in _TYPED:
            yield _record(name, statistics, _TYPED[family].format(event_type), "UInt32", "number")


def _record(name: str, statistics: Mapping[str, Numbers], description: str, data_type: str, kind: str) -> FeatureRecord:
    numbers = statistics.get(name, _NOTHING)
    return FeatureRecord(name, 0.0, *numbers, kind=kind, description=description, default="null", data_type=data_type)
