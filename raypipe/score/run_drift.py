"""Measure the drift of a run on the counts of its own scoring pass, and write its monitoring rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.bins import Bins, ColumnBins
from raypipe.artifact.contract import Contract
from raypipe.artifact.package import Card, load_card
from raypipe.clickhouse.client import Client
from raypipe.config.monitor import Monitor
from raypipe.monitor import drift, drift_rows, histograms, references
from raypipe.monitor.drift import FIT, WARNING, Comparison, Drift, Limits, Reference, Terms
from raypipe.monitor.histograms import SCORE, Histogram, Night, Series
from raypipe.score import monitoring_row
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest

# The most series of a run.
MOST_SERIES = 1000


def measure(client: Client, limits: Monitor, manifest: Manifest, written: Sequence[Receipt]) -> Drift:
    """Measure a run's drift from its receipts, and write its monitoring rows; a resumed run writes them again."""
    card = load_card(manifest.artifact_uri, manifest.artifact_sha256, client)
    night = Night(manifest.pipeline, manifest.date, manifest.run_id, manifest.model_id, manifest.model_version)
    counted = _summed(card, manifest, written)
    if len(counted) > MOST_SERIES:
        counted = _limited(counted, references.ranked_columns(client, night.model_id))
    histograms.write(client, night, counted)
    compared_with = [*references.nights(client, night), _fit(card, manifest)]
    comparisons = [
        item
        for reference in compared_with
        for item in _compared(card, limits, manifest, counted, _aligned(card, manifest, counted, reference))
    ]
    drift_rows.write(client, night, comparisons, _owners(card.contract))
    alerting = next(reference for reference in compared_with if reference.kind == limits.reference)
    measured = drift.summary(comparisons, alerting, counted.get(Series(SCORE)))
    monitoring_row.write(client, manifest, written, measured)
    return measured


def _summed(card: Card, manifest: Manifest, written: Sequence[Receipt]) -> dict[Series, Histogram]:
    """Return the histograms of a run: over all rows, and by slice in the wide bins."""
    columns = (*card.contract.columns, SCORE)
    bins = [*card.bins.features, card.bins.score]
    receipts = [receipt.histograms for receipt in written]
    sums: dict[Series, Histogram] = {}
    for position, (name, column) in enumerate(zip(columns, bins, strict=True)):
        counts = [[*receipt["features"], receipt["scores"]][position] for receipt in receipts]
        sums[Series(name)] = _histogram(column, np.sum(counts, axis=0))
    widened = [column.widened() for column in bins]
    for slice_column in manifest.slices:
        for value, parts in _values([receipt["slices"][slice_column] for receipt in receipts]).items():
            for position, name in enumerate(columns):
                total = np.sum([part[position] for part in parts], axis=0)
                sums[Series(name, slice_column, value)] = _histogram(widened[position], total)
    return sums


def _values(counted: Sequence[Mapping[str, Any]]) -> dict[str, list[list[list[int]]]]:
    """Return the counts of each value of a slice column, by receipt.

    A receipt that left values out counts for those it has: of the others, it may have left out rows.
    """
    values: dict[str, list[list[list[int]]]] = {}
    for slices in counted:
        for value, counts in slices["values"].items():
            values.setdefault(value, []).append(counts)
    full = [slices["values"].keys() for slices in counted if slices["left_out"]]
    return {value: parts for value, parts in values.items() if all(value in known for known in full)}


def _histogram(bins: ColumnBins, counts: npt.NDArray[Any]) -> Histogram:
    return Histogram(
        np.asarray(counts, dtype=np.float64),
        np.asarray(bins.edges, dtype=np.float32),
        np.asarray(bins.means, dtype=np.float64),
        bins.wide,
    )


def _limited(sums: Mapping[Series, Histogram], ranked: Sequence[str]) -> dict[Series, Histogram]:
    """Keep the first MOST_SERIES: all rows, then the score of the largest slices, then their most important columns."""
    rank = {name: place for place, name in enumerate([SCORE, *ranked])}

    def order(series: Series) -> tuple[bool, int, int, Series]:
        return bool(series.slice_column), rank.get(series.column, len(rank)), -sums[series].rows, series

    return {series: sums[series] for series in sorted(sums, key=order)[:MOST_SERIES]}


def _fit(card: Card, manifest: Manifest) -> Reference:
    """Return the rows of the fit as a reference."""
    columns = (*card.contract.columns, SCORE)
    whole = {
        Series(name): _histogram(bins, np.asarray(bins.shares) * card.bins.rows)
        for name, bins in zip(columns, (*card.bins.features, card.bins.score), strict=True)
    }
    since = [trend.since for trend in card.bins.trends.values()]
    return Reference(FIT, since[0] if since else None, "", manifest.model_version, whole)


def _aligned(card: Card, manifest: Manifest, counted: Mapping[Series, Histogram], reference: Reference) -> Reference:
    """Return a reference in the bins of the run's version, with its growth up to the run."""
    growths = {}
    if reference.date is not None and _has_grown(reference, manifest):
        trends = card.bins.trends.items()
        growths = {name: trend.growth(manifest.date) - trend.growth(reference.date) for name, trend in trends}
    aligned = {
        series: histogram.in_bins_of(counted[series], growths.get(series.column, 0.0))
        for series, histogram in reference.histograms.items()
        if series in counted
    }
    return replace(reference, histograms=aligned)


def _has_grown(reference: Reference, manifest: Manifest) -> bool:
    """Return whether growth with the calendar counts: a single day of it is small."""
    return reference.kind == FIT or (reference.date is not None and (manifest.date - reference.date).days > 1)


def _compared(
    card: Card, limits: Monitor, manifest: Manifest, counted: Mapping[Series, Histogram], reference: Reference
) -> Iterator[Comparison]:
    """Yield the comparison of every series with a reference."""
    owners = _owners(card.contract)

    def terms(series: Series) -> Terms:
        return Terms(
            _limits(limits, owners[series.column]),
            _not_comparable(card.bins, series, reference, manifest),
            card.bins.groups.get(series.column, math.inf),
        )

    chosen = {
        series: histogram
        for series, histogram in counted.items()
        # The fit has no slices. Without a reference, the score's row says once why there is nothing to compare with.
        if not (reference.kind == FIT and series.slice_column) and not (reference.reason and series != Series(SCORE))
    }
    for result in drift.compare(chosen, reference, terms):
        feature = owners[result.series.column]
        if feature in manifest.unseen and not result.series.slice_column:
            share = manifest.unseen[feature] / manifest.source_rows
            yield _qualified(replace(result, unseen=share, reference_unseen=None), card, manifest, reference)
        else:
            yield _qualified(result, card, manifest, reference)


def _not_comparable(bins: Bins, series: Series, reference: Reference, manifest: Manifest) -> str:
    if series.slice_column and series.column in bins.groups:
        return "groups of rows share its values, and a slice has few of them"
    trend = bins.trends.get(series.column)
    if trend and trend.per_day is None and _has_grown(reference, manifest):
        return "moves with the calendar, and the dates of the fit do not show a steady growth"
    return ""


def _qualified(result: Comparison, card: Card, manifest: Manifest, reference: Reference) -> Comparison:
    """Lower an alert to a warning where another version scored the reference, or where growth was taken off."""
    if result.series.column == SCORE and reference.version not in ("", manifest.model_version):
        note = f"the reference was scored by version {reference.version}"
    elif result.series.column in card.bins.trends and _has_grown(reference, manifest):
        note = "grows with the calendar; compared with its growth since"
    else:
        return result
    status = WARNING if result.status == drift.ALERT else result.status
    return replace(result, status=status, reason="; ".join(filter(None, [result.reason, note])))


def _owners(contract: Contract) -> dict[str, str]:
    """Return the feature of each column."""
    return {**{column: feature.name for feature in contract.features for column in feature.columns}, SCORE: SCORE}


def _limits(limits: Monitor, feature: str) -> Limits:
    own = limits.features.get(feature)
    if own is None:
        return Limits(limits.psi_warning, limits.psi_alert)
    return Limits(own.psi_warning or limits.psi_warning, own.psi_alert or limits.psi_alert, own.ignore)
