"""Find the accepted nights that a night is compared with, and how much the nights before differed from theirs."""

from collections import defaultdict
from datetime import timedelta

from raypipe.clickhouse.client import Client
from raypipe.monitor import histograms
from raypipe.monitor.drift import NIGHT, WEEKDAY, Reference
from raypipe.monitor.histograms import Night, Series

# The nights that tell how much is usual, and how many of them have to be there.
USUAL_DAYS, LEAST_NIGHTS = 28, 14
_ACCEPTED = """
SELECT date, argMax((run_id, model_id, model_version), sequence) AS run
FROM raypipe_runs FINAL
WHERE pipeline = {pipeline:String} AND status = 'PUBLISHED' AND date < {date:Date}
GROUP BY date
HAVING date = {week_before:Date} OR date = (
    SELECT max(date) FROM raypipe_runs FINAL
    WHERE pipeline = {pipeline:String} AND status = 'PUBLISHED' AND date < {date:Date}
)
ORDER BY date DESC
"""
_USUAL = """
SELECT reference, column, slice_column, slice_value, max(psi)
FROM raypipe_drift
WHERE pipeline = {pipeline:String} AND date >= {since:Date} AND date < {date:Date} AND psi IS NOT NULL
GROUP BY reference, column, slice_column, slice_value
HAVING count() >= {nights:UInt32}
"""
_RANKED = "SELECT feature_name FROM ml_model_features WHERE model_id = {model:String} ORDER BY feature_rank"


def nights(client: Client, night: Night) -> list[Reference]:
    """Return the last accepted night and the accepted night a week before, each with what is usual against it."""
    week_before = night.date - timedelta(days=7)
    bound = {"pipeline": night.pipeline, "date": night.date}
    accepted = [
        Night(night.pipeline, date, *run) for date, run in client.rows(_ACCEPTED, {**bound, "week_before": week_before})
    ]
    usual: dict[str, dict[Series, float]] = defaultdict(dict)
    since = night.date - timedelta(days=USUAL_DAYS)
    for kind, *series, psi in client.rows(_USUAL, {**bound, "since": since, "nights": LEAST_NIGHTS}):
        usual[kind][Series(*series)] = float(psi)
    read = {item.run_id: histograms.read(client, item) for item in accepted}

    def reference(kind: str, found: list[Night], reason: str) -> Reference:
        if not found:
            return Reference(kind, reason=reason)
        if not read[found[0].run_id]:
            return Reference(kind, found[0].date, reason=f"the run of {found[0].date} kept no histograms")
        first = found[0]
        return Reference(kind, first.date, first.run_id, first.model_version, read[first.run_id], usual[kind])

    same_day = [item for item in accepted if item.date == week_before]
    return [
        reference(NIGHT, accepted[:1], "no reference yet: there is no earlier accepted night"),
        reference(WEEKDAY, same_day, f"no reference yet: there is no accepted night of {week_before}"),
    ]


def ranked_columns(client: Client, model_id: str) -> list[str]:
    """Return the matrix columns of a version, the most important first."""
    return [name for (name,) in client.rows(_RANKED, {"model": model_id})]
