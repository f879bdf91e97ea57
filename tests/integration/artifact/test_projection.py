"""The compiled projection on a real server equals a computation in NumPy that knows nothing of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from raypipe.artifact.contract import MATRIX, Contract, FrozenFeature, describe_query, matrix
from raypipe.artifact.freeze import freeze
from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, DataError

NAN = float("nan")
# Column, type, and the values of five rows as SQL and as Python; NULL is None.
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "u8": ("UInt8", [0, 1, 2, 254, 255]),
    "i64": ("Int64", [-(2**63), -1, 0, 1, 2**63 - 1]),
    "u64": ("UInt64", [0, 1, 2**24 + 1, 2**53 + 1, 2**64 - 1]),
    "n64": ("Nullable(UInt64)", [None, 0, 1, None, 2**64 - 1]),
    "i256": ("Int256", [0, -1, 10**30, -(10**60), 10**60]),
    "f32": ("Float32", [0.5, NAN, math.inf, -math.inf, -99.9]),
    "f64": ("Float64", [0.1, NAN, math.inf, 1e300, -1e-50]),
    "nf64": ("Nullable(Float64)", [None, NAN, -math.inf, 2.5, -1.0]),
    "dec": (
        "Decimal(18, 4)",
        [Decimal("0"), Decimal("-1.2345"), Decimal("99999999999999.9999"), Decimal("1"), Decimal("-1")],
    ),
    "ndec": ("Nullable(Decimal(18, 4))", [None, Decimal("-1.2345"), Decimal("0.5"), Decimal("1"), Decimal("-1")]),
    "flag": ("Bool", [True, False, True, False, True]),
    "nflag": ("Nullable(Bool)", [True, False, None, False, True]),
    "lc": ("LowCardinality(Nullable(UInt8))", [None, 0, 1, 2, 3]),
    "word": ("String", ["it's", "a\\b", "", "new", "é😀"]),
    "nword": ("Nullable(String)", [None, "it's", "", "new", "a\\b"]),
    "lword": ("LowCardinality(String)", ["it's", "a\\b", "", "new", "it's"]),
    "nlword": ("LowCardinality(Nullable(String))", [None, "it's", "", "new", "a\\b"]),
    "enum": ("Enum8('it\\'s' = 1, 'b' = 2)", ["it's", "b", "b", "it's", "b"]),
    "code": ("UInt16", [7, 10, 100, 7, 8]),
}
WORDS = ("it's", "a\\b", "é😀", "")


def text(value: Any, kind: str) -> str:
    """A value as it stands in INSERT … VALUES."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if "256" in kind or "Decimal" in kind:
        return f"'{value}'"
    return repr(value).lower()


@pytest.fixture
def table(client: Client) -> Client:
    """A table `t` with a column of every type and a key `k`."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    client.run(
        f"CREATE TABLE t (k UInt32, {columns}) ENGINE = MergeTree ORDER BY k",
        settings={"allow_suspicious_low_cardinality_types": 1},
    )
    rows = [[str(row), *(text(known[row], kind) for kind, known in COLUMNS.values())] for row in range(5)]
    client.run(f"INSERT INTO t VALUES {', '.join(f'({chr(44).join(row)})' for row in rows)}")
    return client


def contract(*features: FrozenFeature) -> Contract:
    return Contract(("k",), ("UInt32",), (), (), features)


def projected(client: Client, *features: FrozenFeature) -> np.ndarray:
    compiled = contract(*features)
    found = client.table(f"{compiled.select('SELECT * FROM t')} ORDER BY k")
    assert found.schema.field(MATRIX).type.value_type == "float"
    return matrix(found.column(MATRIX), len(compiled.columns))


def number(value: Any, kind: str, missing: tuple[Any, ...], default: float | None) -> np.float32:
    """A number's place in the matrix, by the contract's own words."""
    absent = np.float32(NAN if default is None else default)
    same = np.float32 if "Float32" in kind else lambda value: value
    if value is None or any(same(value) == same(sentinel) for sentinel in missing):
        return absent
    with np.errstate(over="ignore"):
        single = np.float32(float(value))
    return single if np.isfinite(single) else absent


NUMBERS = [name for name, (kind, _) in COLUMNS.items() if "String" not in kind and "Enum" not in kind]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_of_every_type_arrives_as_numpy_computes_it(table: Client, name: str) -> None:
    kind, values = COLUMNS[name]
    cases = list(itertools.product([(), (0, 1), (-1,), *[(-1, 2.5), (-99.9,)] * ("Float" in kind)], [None, 0.0, -7.5]))
    features = [FrozenFeature(name, "number", kind, missing=missing, default=default) for missing, default in cases]
    expected = [[number(value, kind, missing, default) for missing, default in cases] for value in values]
    np.testing.assert_array_equal(projected(table, *features), np.array(expected, dtype=np.float32))


CATEGORIES = [name for name in COLUMNS if name not in NUMBERS]


@pytest.mark.parametrize("name", CATEGORIES)
@pytest.mark.parametrize("default", [None, -1.0])
def test_an_ordinal_category_is_its_place_in_the_vocabulary(table: Client, name: str, default: float | None) -> None:
    kind, values = COLUMNS[name]
    found = projected(table, FrozenFeature(name, "category", kind, "ordinal", WORDS, default=default))
    absent = NAN if default is None else default
    expected = [[float(WORDS.index(value)) if value in WORDS else absent] for value in values]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("name", CATEGORIES)
@pytest.mark.parametrize("default", [None, 0.0])
def test_a_onehot_category_marks_the_one_value_and_misses_unseen_ones(
    table: Client, name: str, default: float | None
) -> None:
    kind, values = COLUMNS[name]
    found = projected(table, FrozenFeature(name, "category", kind, "onehot", WORDS, default=default))
    absent = NAN if default is None else default
    expected = [[float(value == word) if value in WORDS else absent for word in WORDS] for value in values]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


def test_a_category_of_numbers_is_known_by_its_text(table: Client) -> None:
    found = projected(table, FrozenFeature("code", "category", "UInt16", "ordinal", ("7", "100")))
    np.testing.assert_array_equal(found[:, 0], np.array([0, NAN, 1, 0, NAN], dtype=np.float32))


def test_features_stand_in_the_declared_order(table: Client) -> None:
    found = projected(
        table,
        FrozenFeature("code", "number", "UInt16"),
        FrozenFeature("word", "category", "String", "onehot", ("it's", "new")),
        FrozenFeature("u8", "number", "UInt8"),
    )
    np.testing.assert_array_equal(found[3], np.array([7, 0, 1, 254], dtype=np.float32))


def test_no_value_of_the_matrix_is_ever_null_or_infinite(table: Client) -> None:
    features = [FrozenFeature(name, "number", COLUMNS[name][0]) for name in NUMBERS]
    types = describe_query(table, contract(*features).select("SELECT * FROM t"), {})
    assert types[MATRIX] == "Array(Float32)"
    assert not np.isinf(projected(table, *features)).any()


@dataclass(frozen=True)
class Declared:
    name: str
    kind: str = "number"
    encode: str = "ordinal"
    vocabulary: int = 10
    missing: tuple[Any, ...] = ()
    default: float | None = None
    monotone: int = 0


def frozen(client: Client, *declared: Declared, sql: str = "SELECT * FROM t", carry: tuple[str, ...] = ()) -> Contract:
    return freeze(client, declared, ["k"], carry, sql, [{}], "churn/features.sql")


def test_freezing_takes_the_types_of_the_query(table: Client) -> None:
    known = frozen(table, *(Declared(name) for name in NUMBERS), carry=("word",))
    assert [feature.type for feature in known.features] == [COLUMNS[name][0] for name in NUMBERS]
    assert (known.key_types, known.carry_types) == (("UInt32",), ("String",))


def test_freezing_takes_the_most_frequent_values_of_the_training_dates_in_a_stable_order(client: Client) -> None:
    client.run("CREATE TABLE t (k UInt32, day Date, word Nullable(String)) ENGINE = Memory")
    client.run(
        "INSERT INTO t VALUES (1, '2026-01-01', 'b'), (2, '2026-01-01', 'a'), (3, '2026-01-02', 'c'),"
        " (4, '2026-01-02', 'c'), (5, '2026-01-02', NULL), (6, '2026-01-02', NULL), (7, '2026-01-01', NULL),"
        " (8, '2026-01-03', 'later'), (9, '2026-01-03', 'later'), (10, '2026-01-03', 'later'), (11, '2026-01-01', '')"
    )
    days = [{"date": "2026-01-01"}, {"date": "2026-01-02"}]
    sql = "SELECT * FROM t WHERE day = {date:Date}"

    def words(**changes: Any) -> tuple[str, ...]:
        declared = replace(Declared("word", "category"), **changes)
        return freeze(client, [declared], ["k"], [], sql, days, "x").features[0].vocabulary

    assert words() == ("c", "", "a", "b")
    assert words(vocabulary=2) == ("c", "")
    assert words(missing=("", "a")) == ("c", "b")


def test_a_category_without_any_value_is_refused(client: Client) -> None:
    client.run("CREATE TABLE t (k UInt32, word Nullable(String)) ENGINE = Memory")
    client.run("INSERT INTO t VALUES (1, NULL)")
    with pytest.raises(DataError, match="'word' has no value"):
        frozen(client, Declared("word", "category"))


def test_a_missing_column_names_the_nearest_ones(table: Client) -> None:
    with pytest.raises(DataError, match="'nwrd'") as refused:
        frozen(table, Declared("nwrd", "category"))
    assert "nword" in str(refused.value.allowed)
    assert "churn/features.sql" in str(refused.value)


@pytest.mark.parametrize("name", ["word", "lword", "enum"])
def test_a_number_that_is_text_is_refused(table: Client, name: str) -> None:
    with pytest.raises(DataError, match="declared a number"):
        frozen(table, Declared(name))


def test_a_column_that_raypipe_needs_itself_is_refused(table: Client) -> None:
    with pytest.raises(ConfigError, match="reserves") as refused:
        frozen(table, Declared("u8"), sql="SELECT *, 1 AS score FROM t", carry=("score",))
    assert refused.value.found == "score"


def test_a_query_that_still_yields_what_was_fitted_passes_and_another_is_refused_with_the_difference(
    table: Client,
) -> None:
    known = frozen(table, Declared("u8"), Declared("word", "category"), carry=("code",))
    known.check(describe_query(table, "SELECT * FROM t", {}))
    changed = "SELECT toUInt64(k) AS k, toInt16(u8) AS u8, code FROM (SELECT k, u8, code FROM t)"
    with pytest.raises(DataError) as refused:
        known.check(describe_query(table, changed, {}))
    assert (
        refused.value.found
        == "k: UInt64 instead of UInt32; u8: Int16 instead of UInt8; word: missing instead of String"
    )
