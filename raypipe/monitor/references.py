"""Find the accepted nights that a night is compared with."""

from datetime import timedelta

from raypipe.clickhouse.client import Client
from raypipe.monitor import histograms, moves
from raypipe.monitor.drift import NIGHT, WEEKDAY, Reference
from raypipe.monitor.histograms import Night

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
_RANKED = "SELECT feature_name FROM ml_model_features WHERE model_id = {model:String} ORDER BY feature_rank"


def nights(client: Client, night: Night) -> list[Reference]:
    """Return the last accepted night and the accepted night a week before, each with the usual moves."""
    week_before = night.date - timedelta(days=7)
    bound = {"pipeline": night.pipeline, "date": night.date}
    accepted = [
        Night(night.pipeline, date, *run) for date, run in client.rows(_ACCEPTED, {**bound, "week_before": week_before})
    ]
    usual = moves.usual(client, night)
    read = {item.run_id: histograms.read(client, item) for item in accepted}

    def reference(kind: str, found: list[Night], reason: str) -> Reference:
        if not found:
            return Reference(kind, reason=reason)
        if not read[found[0].run_id]:
            return Reference(kind, found[0].date, reason=f"the run of {found[0].date} kept no histograms")
        first = found[0]
        return Reference(kind, first.date, first.run_id, first.model_version, read[first.run_id], usual)

    same_day = [item for item in accepted if item.date == week_before]
    return [
        reference(NIGHT, accepted[:1], "no reference yet: there is no earlier accepted night"),
        reference(WEEKDAY, same_day, f"no reference yet: there is no accepted night of {week_before}"),
    ]


def ranked_columns(client: Client, model_id: str) -> list[str]:
    """Return the matrix columns of a version, the most important first."""
    return [name for (name,) in client.rows(_RANKED, {"model": model_id})]
