"""Freeze a declared contract: types from the query, vocabularies from the training dates."""

from collections.abc import Mapping, Sequence
from typing import Any

from raypipe.artifact.contract import RESERVED, Contract, FrozenFeature, describe_query, require_columns
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.config.features import Feature
from raypipe.errors import ConfigError, DataError


def freeze(
    client: Client,
    declared: Sequence[Feature],
    keys: Sequence[str],
    carry: Sequence[str],
    features_sql: str,
    fit_parameters: Sequence[Mapping[str, Any]],
    source: str,
    *,
    inputs: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> Contract:
    """Return the contract with the types and vocabularies of the training dates.

    Args:
        declared: the features of the config, in matrix order.
        features_sql: the features query, its `{slice}` filled with a true condition.
        fit_parameters: the bound parameters per training date; vocabularies come from these dates alone.
        inputs: columns that the model reads unchanged, beside the matrix.
        parameters: the bound values to keep with the version.
    """
    types = describe_query(client, features_sql, fit_parameters[0])
    require_columns(types, keys, "key", source)
    require_columns(types, carry, "carried column", source)
    require_columns(types, inputs, "input", source)
    require_columns(types, [feature.name for feature in declared], "feature", source)
    clash = RESERVED & {*keys, *carry, *inputs}
    if clash:
        raise ConfigError(f"{source} uses a column name that raypipe reserves", found=", ".join(sorted(clash)))
    words = _vocabularies(client, [f for f in declared if f.kind == "category"], features_sql, fit_parameters)
    return Contract(
        tuple(keys),
        tuple(types[name] for name in keys),
        tuple(carry),
        tuple(types[name] for name in carry),
        tuple(_frozen(feature, types[feature.name], words.get(feature.name, ())) for feature in declared),
        tuple(inputs),
        tuple(types[name] for name in inputs),
        dict(parameters or {}),
    )


def _frozen(feature: Feature, type_name: str, vocabulary: tuple[str, ...]) -> FrozenFeature:
    category = feature.kind == "category"
    bare = type_name.removeprefix("LowCardinality(").removeprefix("Nullable(")
    if not category and not bare.startswith(("Int", "UInt", "Float", "Decimal", "Bool")):
        raise DataError(
            f"The feature {feature.name!r} is declared as a number, but its column is none",
            found=type_name,
            allowed="a numeric column, or kind: category",
            next_step="cast it in features.sql, or declare `kind: category`",
        )
    return FrozenFeature(
        feature.name,
        feature.kind,
        type_name,
        feature.encode if category else "ordinal",
        vocabulary,
        () if category else tuple(feature.missing),
        feature.default,
        feature.monotone,
    )


def _vocabularies(
    client: Client,
    categories: Sequence[Feature],
    features_sql: str,
    fit_parameters: Sequence[Mapping[str, Any]],
) -> dict[str, tuple[str, ...]]:
    """Return each category's most frequent values over the training dates, in a stable order."""
    if not categories:
        return {}
    counts: dict[str, dict[str, int]] = {feature.name: {} for feature in categories}
    columns = ", ".join(
        # NULL counts as missing; '' may be a value.
        f"sumMapIf([ifNull(toString({identifier(f.name)}), '')], [toUInt64(1)], isNotNull({identifier(f.name)}))"
        for f in categories
    )
    for parameters in fit_parameters:
        (row,) = client.rows(f"SELECT {columns} FROM (\n{features_sql}\n)", parameters)
        for feature, (words, numbers) in zip(categories, row, strict=True):
            known = counts[feature.name]
            for word, number in zip(words, numbers, strict=True):
                known[word] = known.get(word, 0) + number
    return {feature.name: _most_frequent(counts[feature.name], feature) for feature in categories}


def _most_frequent(counts: Mapping[str, int], feature: Feature) -> tuple[str, ...]:
    absent = {str(value) for value in feature.missing}
    ranked = sorted((word for word in counts if word not in absent), key=lambda word: (-counts[word], word))
    if not ranked:
        raise DataError(
            f"The category {feature.name!r} has no value on the training dates",
            next_step="fill its column, or remove it from `features` in the config",
        )
    return tuple(ranked[: feature.vocabulary])
